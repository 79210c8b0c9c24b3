//! Plans: how bodies of one stored descriptor become values of one known record type.

use std::sync::Arc;

use super::descriptor::Descriptor;
use super::error::{DecodeError, DescriptorError, NewerSchema};
use super::record::Record;
use super::types::{Codec, Type};

pub(crate) mod compile;
pub(crate) mod matching;
pub(crate) mod merge;

/// How to read bodies stored under one descriptor as a record type of this program, and whether they may be rewritten.
///
/// Made once for each pair of descriptors and kept by the caller. Making one costs time in the size of the descriptors;
/// using one costs nothing if they are equal. What makes reading impossible whatever the data ([`Plan::check`]) is found here.
///
/// Fields are matched *by name*, at the top and in everything nested:
///
/// | change | effect |
/// |---|---|
/// | fields or variants in another order | none |
/// | field added | old records get its `default`; an `Option` gets `None`; anything else is an error that names it |
/// | field removed, or not known yet | kept as raw bytes and written back by a rewrite |
/// | … in a *nested* struct | readable; a rewrite is refused with [`NewerSchema`] |
/// | renamed with `was = "old"` | read under either name, by old programs too |
/// | `u8` → `u16` … `u128`, `i8` → … `i128`, `uN` → `i(>N)`, `f32` → `f64`, `T` → `Option<T>` | widened |
/// | variant added | an old program reads all records but those that hold it |
/// | another type, fewer bits, another length of array or tuple | error that names field and both types |
///
/// Names of nested types play no part: what counts is their form.
///
/// ```
/// use ate_view::{Descriptor, Plan, Record, Shape, decode, encode, encode_spliced, to_json};
/// use serde::{Deserialize, Serialize};
///
/// mod old {
///     use ate_view::Record;
///     use serde::{Deserialize, Serialize};
///
///     #[derive(Serialize, Deserialize, Record)]
///     #[record(name = "task", crate = "ate_view")]
///     pub struct Task { pub title: String, pub minutes: u32 }
/// }
///
/// #[derive(Serialize, Deserialize, Record)]
/// #[record(name = "task", crate = "ate_view")]
/// struct Task {
///     #[record(was = "title")]
///     text: String,
///     minutes: u32,
///     #[record(default = State::Open)]
///     state: State,
///     due: Option<u64>,
/// }
///
/// #[derive(Serialize, Deserialize, Shape)]
/// #[shape(crate = "ate_view")]
/// enum State { Open, Closed { by: String } }
///
/// // A new program reads what an old one wrote.
/// let body = encode(&old::Task { title: "paint".into(), minutes: 30 })?;
/// let plan = Plan::of::<Task>(Descriptor::of::<old::Task>());
/// let (mut task, _) = decode::<Task>(&body, &plan)?;
/// assert!(task.text == "paint" && matches!(task.state, State::Open) && task.due.is_none());
///
/// // An old program that updates a record keeps what it does not know.
/// task.state = State::Closed { by: "anna".into() };
/// let body = encode(&task)?;
/// let plan = Plan::of::<old::Task>(Descriptor::of::<Task>());
/// let (mut task, unknown) = decode::<old::Task>(&body, &plan)?;
/// task.minutes = 45;
/// let rewritten = encode_spliced(&task, &unknown)?;
///
/// // Anyone with the descriptor can show it.
/// assert_eq!(
///     to_json(&rewritten.descriptor, &rewritten.body)?,
///     r#"{"text":"paint","minutes":45,"state":{"Closed":{"by":"anna"}},"due":null}"#,
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Limits. Descriptors: 64 KiB, 32 levels of nesting within a field, 1024 fields, 4096 nested types. Values: 256 levels of
/// nesting (options, sequences and structs each count). Elements without bytes (`Vec<()>`): 65,536 and a little more.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(crate) stored: Arc<Descriptor>,
    pub(crate) known: Arc<Descriptor>,
    pub(crate) kind: PlanKind,
}

#[derive(Debug, Clone)]
pub(crate) enum PlanKind {
    /// The descriptors are equal.
    Same,
    /// Fields are matched by name.
    ByName(Arc<ByName>),
    /// No body can be read.
    Broken(DecodeError),
}

#[derive(Debug)]
pub(crate) struct ByName {
    /// For each field of the known type.
    pub(crate) sources: Vec<Source>,
    /// Stored fields that the known type lacks.
    pub(crate) unknown: Vec<usize>,
    /// Steps for pairs of definitions, by [`Step::Named`].
    pub(crate) named: Vec<NamedStep>,
    /// What a rewrite has to do.
    pub(crate) rewrite: Rewrite,
}

/// What a rewrite of a record has to do so that nothing is lost.
#[derive(Debug, Clone)]
pub(crate) enum Rewrite {
    /// Everything stored is known: the known descriptor serves.
    Plain,
    /// Put unknown fields back.
    Splice(Arc<Splice>),
    /// Something nested is unknown.
    Refused(NewerSchema),
    /// The merged descriptor would break a limit.
    Unmergeable(DescriptorError),
}

#[derive(Debug)]
pub(crate) struct Splice {
    /// The descriptor of what is written.
    pub(crate) merged: Arc<Descriptor>,
    /// Its fields.
    pub(crate) pieces: Vec<Piece>,
}

/// Where a field of a spliced body comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Index into the fields of the known type.
    Known(usize),
    /// Index into the unknown fields.
    Unknown(usize),
}

/// Where a field of the known type comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A stored field of the same form.
    Copy(usize),
    /// A stored field that must be rewritten.
    Step(usize, Step),
    /// Not stored.
    Absent(Absent),
}

/// What stands in for a value that is not stored.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Absent {
    /// The program's default.
    Default(super::types::DefaultBytes),
    /// `None`.
    None,
    /// A value without bytes.
    Empty,
}

/// One step of a transcoding: reads a value of the stored type, writes one of the known type.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// A value whose two forms are equal and that holds no other.
    Leaf(Type),
    /// An integer of `from` read, of `to` written.
    Widen {
        from: Integer,
        to: Integer,
    },
    F32ToF64,
    /// `T` to `Option<T>`.
    Some(Box<Self>),
    Option(Box<Self>),
    Many(Box<Self>),
    Pairs(Box<(Self, Self)>),
    Array(u64, Box<Self>),
    Each(Vec<Self>),
    Named(usize),
}

/// Width and sign of an integer type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Integer {
    pub(crate) bits: u32,
    pub(crate) is_signed: bool,
}

#[derive(Debug)]
pub(crate) enum NamedStep {
    Struct(StructStep),
    Tuple(Vec<Step>),
    /// By index of the stored variant.
    Enum(Vec<VariantStep>),
}

#[derive(Debug)]
pub(crate) struct StructStep {
    /// Types of the stored fields, to find their ends.
    pub(crate) stored: Vec<Type>,
    /// For each known field; never `Source::Copy`.
    pub(crate) sources: Vec<Source>,
}

#[derive(Debug)]
pub(crate) enum VariantStep {
    Unknown { field: Box<str>, variant: Box<str> },
    Known { index: u32, payload: PayloadStep },
}

#[derive(Debug)]
pub(crate) enum PayloadStep {
    Unit,
    Tuple(Vec<Step>),
    Struct(StructStep),
}

impl Plan {
    /// A plan for reading `stored` as `known`, which is a descriptor of this program ([`Descriptor::of`]).
    #[must_use]
    pub fn new(stored: &Arc<Descriptor>, known: &Arc<Descriptor>) -> Self {
        let kind = if stored == known {
            PlanKind::Same
        } else {
            Self::by_name(stored, known)
        };
        Self {
            stored: Arc::clone(stored),
            known: Arc::clone(known),
            kind,
        }
    }

    /// A plan for reading `stored` as `T`.
    #[must_use]
    pub fn of<T: Record>(stored: &Arc<Descriptor>) -> Self {
        Self::new(stored, Descriptor::of::<T>())
    }

    fn by_name(stored: &Descriptor, known: &Descriptor) -> PlanKind {
        let record = known.name.clone();
        if stored.name != known.name {
            return PlanKind::Broken(DecodeError::OtherRecord {
                stored: stored.name.clone(),
                known: record,
            });
        }
        if stored.version != known.version {
            return PlanKind::Broken(DecodeError::OtherVersion {
                record,
                stored: stored.version,
                known: known.version,
            });
        }
        if stored.codec != known.codec || known.codec != Codec::Fields {
            return PlanKind::Broken(DecodeError::OtherCodec {
                record,
                stored: stored.codec,
                known: known.codec,
            });
        }
        match compile::by_name(stored, known) {
            Ok(by_name) => PlanKind::ByName(Arc::new(by_name)),
            Err(error) => PlanKind::Broken(error),
        }
    }

    /// The descriptor that bodies are stored under.
    #[must_use]
    pub const fn stored(&self) -> &Arc<Descriptor> {
        &self.stored
    }

    /// The descriptor of the reading type.
    #[must_use]
    pub const fn known(&self) -> &Arc<Descriptor> {
        &self.known
    }

    /// Whether bodies can be read at all. A body may still hold what only data can show, as an unknown variant.
    ///
    /// # Errors
    /// The error that every [`crate::decode`] with this plan gives.
    pub fn check(&self) -> Result<(), &DecodeError> {
        match &self.kind {
            PlanKind::Broken(error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether records of the stored descriptor may be rewritten by this program. A record whose type holds something
    /// *nested* that this program does not know can be read but not rewritten; unknown top-level fields are kept and put back.
    ///
    /// JSON documents are judged one by one: see [`crate::Unknown::check`].
    ///
    /// # Errors
    /// `NewerSchema` with the path of the first unknown thing.
    pub fn check_rewrite(&self) -> Result<(), &NewerSchema> {
        match &self.kind {
            PlanKind::ByName(by_name) => match &by_name.rewrite {
                Rewrite::Refused(newer) => Err(newer),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
