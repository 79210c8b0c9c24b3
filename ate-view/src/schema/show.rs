//! Any stored record as JSON, from its descriptor alone.

use std::collections::HashSet;
use std::fmt::Write as _;

use super::descriptor::Descriptor;
use super::error::{DecodeError, Fault};
use super::transcode::frames;
use super::types::{Codec, DefinitionKind, Field, Payload, Type, reaches};
use super::walk::{Input, Walker, character, document, option, text, unzigzag, variant};
use crate::json;

/// Shows a stored body of any program as one JSON document.
///
/// Structs and variants with fields are objects, sequences and tuples arrays, a variant without data its name, maps with text
/// keys objects (if no key repeats) and other maps arrays of pairs, `None` and `()` are `null`, numbers keep all digits,
/// what JSON has no number for is `"NaN"`, `"Infinity"` or `"-Infinity"`. An opaque field is `{"opaque":"name","hex":"…"}`,
/// and so is a field that holds something opaque deeper inside, since nobody can tell where that ends.
/// The result depends on the arguments alone.
///
/// # Errors
/// If the body does not fit the descriptor, or the text would be over 1 MiB plus 256 times the body.
pub fn to_json(descriptor: &Descriptor, body: &[u8]) -> Result<String, DecodeError> {
    let record = descriptor.name();
    if descriptor.codec == Codec::Json {
        let text = json::check_bytes(body).map_err(|source| DecodeError::Document {
            record: record.into(),
            source,
        })?;
        return Ok(text.to_owned());
    }
    let frames = frames(record, descriptor.fields.len(), body)?;
    let mut shower = Shower {
        walker: Walker::new(&descriptor.definitions, body.len()),
        out: String::from("{"),
        limit: (1 << 20) + 256 * body.len(),
    };
    for (index, (field, frame)) in descriptor.fields.iter().zip(frames).enumerate() {
        shower.member(index, &field.name);
        shower.field(field, frame).map_err(|fault| match fault {
            Fault::Large => DecodeError::TooLarge {
                record: record.into(),
            },
            fault => fault.in_field(record, &field.name),
        })?;
    }
    shower.out.push('}');
    Ok(shower.out)
}

struct Shower<'d> {
    walker: Walker<'d>,
    out: String,
    limit: usize,
}

impl<'d> Shower<'d> {
    fn quoted(&mut self, text: &str) {
        self.out
            .push_str(&serde_json::to_string(text).expect("every string has a JSON form"));
    }

    fn display(&mut self, value: impl std::fmt::Display) {
        write!(self.out, "{value}").expect("a string takes everything");
    }

    fn comma(&mut self, index: usize) {
        if index > 0 {
            self.out.push(',');
        }
    }

    fn member(&mut self, index: usize, name: &str) {
        self.comma(index);
        self.quoted(name);
        self.out.push(':');
    }

    fn field(&mut self, field: &Field, frame: &[u8]) -> Result<(), Fault> {
        let mut opaque = None;
        reaches(&field.ty, self.walker.definitions, &mut |ty| match ty {
            Type::Opaque(name) => {
                opaque = Some(name.clone());
                true
            }
            _ => false,
        });
        if let Some(name) = opaque {
            self.out.push_str("{\"opaque\":");
            self.quoted(&name);
            self.out.push_str(",\"hex\":\"");
            frame
                .iter()
                .for_each(|byte| self.display(format_args!("{byte:02x}")));
            self.out.push_str("\"}");
            return Ok(());
        }
        let mut input = Input::new(frame);
        self.value(&field.ty, &mut input, 0)?;
        input.end()
    }

    fn value(&mut self, ty: &Type, input: &mut Input<'_>, depth: u32) -> Result<(), Fault> {
        let depth = self.walker.enter(depth)?;
        if self.out.len() > self.limit {
            return Err(Fault::Large);
        }
        match ty {
            Type::Unit => self.out.push_str("null"),
            Type::Bool => match input.byte()? {
                0 => self.out.push_str("false"),
                1 => self.out.push_str("true"),
                _ => return Err(Fault::Bool),
            },
            Type::U8 => self.display(input.byte()?),
            Type::U16 => self.display(input.varint(16)?),
            Type::U32 => self.display(input.varint(32)?),
            Type::U64 => self.display(input.varint(64)?),
            Type::U128 => self.display(input.varint(128)?),
            Type::I8 => self.display(input.byte()? as i8),
            Type::I16 => self.display(unzigzag(input.varint(16)?)),
            Type::I32 => self.display(unzigzag(input.varint(32)?)),
            Type::I64 => self.display(unzigzag(input.varint(64)?)),
            Type::I128 => self.display(unzigzag(input.varint(128)?)),
            Type::F32 => {
                let value = f32::from_le_bytes(input.take(4)?.try_into().map_err(|_| Fault::End)?);
                // Through its own shortest form: as f64 it would grow digits.
                self.float(value.into(), serde_json::to_string(&value));
            }
            Type::F64 => {
                let value = f64::from_le_bytes(input.take(8)?.try_into().map_err(|_| Fault::End)?);
                self.float(value, serde_json::to_string(&value));
            }
            Type::Char => {
                let mut buffer = [0; 4];
                let text = character(input)?.encode_utf8(&mut buffer);
                self.quoted(text);
            }
            Type::String => self.quoted(text(input)?),
            Type::Json => self.out.push_str(document(input)?),
            Type::Option(inner) => {
                if option(input)? {
                    self.value(inner, input, depth)?;
                } else {
                    self.out.push_str("null");
                }
            }
            Type::List(inner) | Type::Set(inner) => {
                let count = input.length()?;
                self.elements(inner, count, input, depth)?;
            }
            Type::Array(count, inner) => self.elements(inner, *count, input, depth)?,
            Type::Map(pair) => self.map(pair, input, depth)?,
            Type::Tuple(types) => self.tuple(types, input, depth)?,
            Type::Named(index) => self.definition(*index, input, depth)?,
            Type::Opaque(_) => return Err(Fault::Opaque),
        }
        Ok(())
    }

    fn float(&mut self, value: f64, finite: serde_json::Result<String>) {
        match finite {
            Ok(text) if value.is_finite() => self.out.push_str(&text),
            _ if value.is_nan() => self.out.push_str("\"NaN\""),
            _ if value > 0.0 => self.out.push_str("\"Infinity\""),
            _ => self.out.push_str("\"-Infinity\""),
        }
    }

    fn elements(
        &mut self,
        inner: &Type,
        count: u64,
        input: &mut Input<'_>,
        depth: u32,
    ) -> Result<(), Fault> {
        self.out.push('[');
        for index in 0..count {
            if index > 0 {
                self.out.push(',');
            }
            self.value(inner, input, depth)?;
        }
        self.out.push(']');
        Ok(())
    }

    fn map(&mut self, pair: &(Type, Type), input: &mut Input<'_>, depth: u32) -> Result<(), Fault> {
        let count = input.length()?;
        let is_object =
            pair.0 == Type::String && self.has_distinct_keys(&pair.1, count, *input, depth)?;
        self.out.push(if is_object { '{' } else { '[' });
        for index in 0..count {
            if index > 0 {
                self.out.push(',');
            }
            if is_object {
                self.quoted(text(input)?);
                self.out.push(':');
                self.value(&pair.1, input, depth)?;
            } else {
                self.out.push('[');
                self.value(&pair.0, input, depth)?;
                self.out.push(',');
                self.value(&pair.1, input, depth)?;
                self.out.push(']');
            }
        }
        self.out.push(if is_object { '}' } else { ']' });
        Ok(())
    }

    fn has_distinct_keys(
        &mut self,
        value: &Type,
        count: u64,
        mut input: Input<'_>,
        depth: u32,
    ) -> Result<bool, Fault> {
        let mut seen = HashSet::new();
        for _ in 0..count {
            if !seen.insert(text(&mut input)?) {
                return Ok(false);
            }
            self.walker.skip(value, &mut input, depth)?;
        }
        Ok(true)
    }

    fn tuple(&mut self, types: &[Type], input: &mut Input<'_>, depth: u32) -> Result<(), Fault> {
        self.out.push('[');
        for (index, ty) in types.iter().enumerate() {
            self.comma(index);
            self.value(ty, input, depth)?;
        }
        self.out.push(']');
        Ok(())
    }

    /// One value stands for itself, as serde writes newtypes.
    fn positional(
        &mut self,
        types: &[Type],
        input: &mut Input<'_>,
        depth: u32,
    ) -> Result<(), Fault> {
        match types {
            [only] => self.value(only, input, depth),
            types => self.tuple(types, input, depth),
        }
    }

    fn fields(&mut self, fields: &[Field], input: &mut Input<'_>, depth: u32) -> Result<(), Fault> {
        self.out.push('{');
        for (index, field) in fields.iter().enumerate() {
            self.member(index, &field.name);
            self.value(&field.ty, input, depth)?;
        }
        self.out.push('}');
        Ok(())
    }

    fn definition(&mut self, index: u32, input: &mut Input<'_>, depth: u32) -> Result<(), Fault> {
        match &self.walker.definition(index)?.kind {
            DefinitionKind::Struct(fields) => self.fields(fields, input, depth),
            DefinitionKind::Tuple(types) => self.positional(types, input, depth),
            DefinitionKind::Enum(variants) => {
                let variant = variants.get(variant(input)?).ok_or(Fault::Variant)?;
                if variant.payload == Payload::Unit {
                    self.quoted(&variant.name);
                    return Ok(());
                }
                self.out.push('{');
                self.member(0, &variant.name);
                match &variant.payload {
                    Payload::Unit => {}
                    Payload::Tuple(types) => self.positional(types, input, depth)?,
                    Payload::Struct(fields) => self.fields(fields, input, depth)?,
                }
                self.out.push('}');
                Ok(())
            }
        }
    }
}
