//! Values to bodies and back.

use std::any::TypeId;
use std::sync::Arc;

use super::descriptor::{Descriptor, TypeText};
use super::error::{DecodeError, EncodeError, Fault, NewerSchema};
use super::plan::{Piece, Plan, PlanKind, Splice};
use super::record::{FieldReader, FieldWriter, Record};
use super::transcode::{frames, transcode, unknown as unknown_bytes};
use super::types::{Codec, Type, reaches};
use super::unknown::{Unknown, UnknownPart};
use super::walk::{Walker, put_varint};
use crate::json::{self, Json};

/// A body, and the descriptor that tells how to read it.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The plaintext body.
    pub body: Vec<u8>,
    /// Its descriptor: this program's, or one merged with what was stored.
    pub descriptor: Arc<Descriptor>,
}

/// Encodes a value under [`Descriptor::of`] its type.
///
/// The first value of each type (every value in debug builds and of JSON records) is read back before it is returned, so that
/// a type that cannot be read again never reaches a chain.
///
/// # Errors
/// If a field cannot be encoded, or what was encoded could not be read again.
pub fn encode<T: Record>(value: &T) -> Result<Vec<u8>, EncodeError> {
    let body = write(value)?;
    let known = T::known();
    if known.is_unchecked() || cfg!(debug_assertions) || T::CODEC == Codec::Json {
        verify::<T>(&body)?;
        known.set_checked();
    } else if known.is_unbounded::<T>() {
        // Depth is a matter of the value, not of the type.
        verify_shape::<T>(Descriptor::of::<T>(), &body)?;
    }
    Ok(body)
}

/// Encodes a value over a stored record and puts back what the program did not know of it.
///
/// # Errors
/// As [`encode`]; `EncodeError::NewerSchema` if something nested would be lost.
pub fn encode_spliced<T: Record>(value: &T, unknown: &Unknown) -> Result<Encoded, EncodeError> {
    unknown.check()?;
    let body = encode(value)?;
    let (body, descriptor) = match unknown.0.as_deref() {
        Some(UnknownPart::Fields { splice, bytes }) => {
            (splice_fields::<T>(&body, splice, bytes)?, &splice.merged)
        }
        Some(UnknownPart::Members(members)) => {
            (splice_members(body, members), Descriptor::of::<T>())
        }
        _ => (body, Descriptor::of::<T>()),
    };
    Ok(Encoded {
        body,
        descriptor: Arc::clone(descriptor),
    })
}

/// Checks that a value can be encoded and read back as the same value.
///
/// This is what finds a type that postcard cannot read back (`serde(untagged)`, `serde_json::Value`), and a `Shape` that does
/// not say what `Serialize` does. Opaque fields need only decode.
///
/// # Errors
/// What is wrong, with type and field.
pub fn check_round_trip<T: Record>(value: &T) -> Result<(), EncodeError> {
    verify::<T>(&write(value)?)
}

/// Decodes a stored body by a plan that was made for `T` ([`Plan::of`]).
///
/// With equal descriptors this is a straight decode; otherwise the body is transcoded by name.
///
/// # Errors
/// If the plan is broken or the body does not fit its descriptor. The error names record and field.
pub fn decode<T: Record>(body: &[u8], plan: &Plan) -> Result<(T, Unknown), DecodeError> {
    check_known::<T>(plan)?;
    match &plan.kind {
        PlanKind::Same => {
            let value = read::<T>(body)?;
            let unknown = if T::CODEC == Codec::Json {
                unknown_members(&value, body)?
            } else {
                Unknown::default()
            };
            Ok((value, unknown))
        }
        PlanKind::ByName(by_name) => {
            let transcoded = transcode(plan, by_name, body)?;
            if T::known().is_unbounded::<T>() {
                guard_slots::<T>(&transcoded)?;
            }
            let mut reader =
                FieldReader::of_slots(&plan.known, &transcoded.slots, &transcoded.scratch);
            let value = T::decode_fields(&mut reader)?;
            Ok((
                value,
                Unknown::of(&by_name.rewrite, T::NAME, transcoded.unknown),
            ))
        }
        PlanKind::Broken(error) => Err(error.clone()),
    }
}

/// What [`decode`] would report as unknown, without the value: for a `put` over a stored record.
///
/// # Errors
/// As [`decode`], as far as they show.
pub fn unknown_of<T: Record>(body: &[u8], plan: &Plan) -> Result<Unknown, DecodeError> {
    check_known::<T>(plan)?;
    match &plan.kind {
        PlanKind::Same if T::CODEC == Codec::Json => unknown_members(&read::<T>(body)?, body),
        PlanKind::Same => Ok(Unknown::default()),
        PlanKind::ByName(by_name) => {
            let frames = frames(T::NAME, plan.stored.fields.len(), body)?;
            Ok(Unknown::of(
                &by_name.rewrite,
                T::NAME,
                unknown_bytes(by_name, &frames),
            ))
        }
        PlanKind::Broken(error) => Err(error.clone()),
    }
}

#[inline]
fn check_known<T: Record>(plan: &Plan) -> Result<(), DecodeError> {
    let known = Descriptor::of::<T>();
    if Arc::ptr_eq(known, &plan.known) || *known == plan.known {
        return Ok(());
    }
    Err(DecodeError::OtherRecord {
        stored: plan.known.name.clone(),
        known: T::NAME.into(),
    })
}

fn write<T: Record>(value: &T) -> Result<Vec<u8>, EncodeError> {
    let mut writer = FieldWriter::new(T::NAME);
    value.encode_fields(&mut writer)?;
    Ok(writer.into_body())
}

/// A straight decode.
fn read<T: Record>(body: &[u8]) -> Result<T, DecodeError> {
    if T::known().is_unbounded::<T>() {
        guard::<T>(body)?;
    }
    let mut reader = FieldReader::of_body(Descriptor::of::<T>(), body);
    let value = T::decode_fields(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

/// Walks a body before serde sees it: serde knows no limit of depth.
fn guard<T: Record>(body: &[u8]) -> Result<(), DecodeError> {
    let known = Descriptor::of::<T>();
    let frames = frames(T::NAME, known.fields.len(), body)?;
    guard_frames::<T>(body.len(), &frames)
}

fn guard_slots<T: Record>(
    transcoded: &super::transcode::Transcoded<'_>,
) -> Result<(), DecodeError> {
    let frames: Vec<&[u8]> = transcoded
        .slots
        .iter()
        .map(|slot| slot.bytes(&transcoded.scratch))
        .collect();
    guard_frames::<T>(frames.iter().map(|frame| frame.len()).sum(), &frames)
}

fn guard_frames<T: Record>(bytes: usize, frames: &[&[u8]]) -> Result<(), DecodeError> {
    let known = Descriptor::of::<T>();
    let mut walker = Walker::new(&known.definitions, bytes);
    for (field, frame) in known.fields.iter().zip(frames) {
        match walker.check(&field.ty, frame) {
            // What is opaque guards itself.
            Ok(()) | Err(Fault::Opaque) => {}
            Err(fault) => return Err(fault.in_field(T::NAME, &field.name)),
        }
    }
    Ok(())
}

/// Checks that what was just encoded can be read, and is then the same.
fn verify<T: Record>(body: &[u8]) -> Result<(), EncodeError> {
    let record = || Box::from(T::NAME);
    let known = Descriptor::of::<T>();
    if T::known().is_unchecked() {
        Descriptor::from_bytes(known.as_bytes()).map_err(|source| EncodeError::Descriptor {
            record: record(),
            source,
        })?;
    }
    if T::CODEC == Codec::Json {
        json::check_bytes(body).map_err(|error| EncodeError::Document {
            record: record(),
            reason: error.to_string().into(),
        })?;
    } else {
        verify_shape::<T>(known, body)?;
    }
    let unreadable = |source| EncodeError::Unreadable {
        record: record(),
        source,
    };
    let again = write(&read::<T>(body).map_err(unreadable)?)?;
    if T::CODEC == Codec::Json {
        // The members of a hash map come in another order each time.
        if again.len() == body.len() {
            return Ok(());
        }
        return Err(EncodeError::Document {
            record: record(),
            reason: "it reads back as another document".into(),
        });
    }
    let count = known.fields.len();
    let before = frames(T::NAME, count, body).map_err(unreadable)?;
    let after = frames(T::NAME, count, &again).map_err(unreadable)?;
    for ((field, before), after) in known.fields.iter().zip(before).zip(after) {
        let contains =
            |found: fn(&Type) -> bool| reaches(&field.ty, &known.definitions, &mut |ty| found(ty));
        // The order of a hash map is another each time, and an opaque value may have several encodings.
        let is_same = contains(|ty| matches!(ty, Type::Opaque(_)))
            || before.len() == after.len()
                && contains(|ty| matches!(ty, Type::Map(_) | Type::Set(_)))
            || before == after;
        if !is_same {
            return Err(EncodeError::Changed {
                record: record(),
                field: field.name.clone(),
            });
        }
    }
    Ok(())
}

/// Checks that every field is encoded as its type says.
fn verify_shape<T: Record>(known: &Descriptor, body: &[u8]) -> Result<(), EncodeError> {
    let frames =
        frames(T::NAME, known.fields.len(), body).map_err(|source| EncodeError::Unreadable {
            record: T::NAME.into(),
            source,
        })?;
    let mut walker = Walker::new(&known.definitions, body.len());
    for (field, frame) in known.fields.iter().zip(frames) {
        match walker.check(&field.ty, frame) {
            Ok(()) | Err(Fault::Opaque) => {}
            Err(fault) => {
                return Err(EncodeError::ShapeMismatch {
                    record: T::NAME.into(),
                    field: field.name.clone(),
                    shape: TypeText(&field.ty, &known.definitions).to_string().into(),
                    reason: fault.to_string().into(),
                });
            }
        }
    }
    Ok(())
}

fn splice_fields<T: Record>(
    body: &[u8],
    splice: &Splice,
    unknown: &[Box<[u8]>],
) -> Result<Vec<u8>, EncodeError> {
    let frames = frames(T::NAME, Descriptor::of::<T>().fields.len(), body).map_err(|source| {
        EncodeError::Unreadable {
            record: T::NAME.into(),
            source,
        }
    })?;
    let mut out =
        Vec::with_capacity(body.len() + unknown.iter().map(|bytes| bytes.len() + 2).sum::<usize>());
    for piece in &splice.pieces {
        let bytes: &[u8] = match *piece {
            Piece::Known(index) => frames[index],
            Piece::Unknown(index) => &unknown[index],
        };
        put_varint(&mut out, bytes.len() as u128);
        out.extend_from_slice(bytes);
    }
    Ok(out)
}

/// Compares a document with what its value serialises to: what is missing there is unknown to the type.
fn unknown_members<T: Record>(value: &T, body: &[u8]) -> Result<Unknown, DecodeError> {
    if TypeId::of::<T>() == TypeId::of::<Json>() {
        return Ok(Unknown::default());
    }
    let damaged = |reason: String| DecodeError::Framing {
        record: T::NAME.into(),
        reason: reason.into(),
    };
    let again = write(value).map_err(|error| damaged(error.to_string()))?;
    let stored = json::check_bytes(body).map_err(|error| damaged(error.to_string()))?;
    let known = json::check_bytes(&again).map_err(|error| damaged(error.to_string()))?;
    let lost = json::lost(stored, known).map_err(|error| damaged(error.to_string()))?;
    Ok(match (lost.nested, lost.members) {
        (Some(field), _) => {
            let id = Descriptor::of::<T>().id();
            Unknown::part(UnknownPart::Nested(NewerSchema {
                record: T::NAME.into(),
                field: field.into(),
                stored: id,
                known: id,
            }))
        }
        (None, members) if members.is_empty() => Unknown::default(),
        (None, members) => Unknown::part(UnknownPart::Members(members)),
    })
}

/// Appends members to the object that `body` is.
fn splice_members(mut body: Vec<u8>, members: &[Box<str>]) -> Vec<u8> {
    // What serde_json writes ends in the brace, and is an object: only objects have unknown members.
    let is_empty = body.len() <= 2;
    body.pop();
    for (index, member) in members.iter().enumerate() {
        if index > 0 || !is_empty {
            body.push(b',');
        }
        body.extend_from_slice(member.as_bytes());
    }
    body.push(b'}');
    body
}
