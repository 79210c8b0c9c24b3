//! What a descriptor is made of: types, fields, definitions.

use std::fmt;

/// Encodes the default value of a field, or gives `None` if it cannot be encoded. Known to the running program only.
pub(crate) type DefaultBytes = fn() -> Option<Vec<u8>>;

/// How the body of a record is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// The fields in order, each `varint length ‖ postcard`.
    Fields,
    /// One JSON document as text; the descriptor names no fields.
    Json,
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fields => "fields",
            Self::Json => "json",
        })
    }
}

/// The type of a value, as far as its bytes are concerned.
///
/// The wire form of each is the one that postcard gives it. `usize` and `isize` are 64 bits wide.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Type {
    /// Nothing: `()`, `PhantomData`, a unit struct has a definition of its own.
    Unit,
    /// `bool`, one byte.
    Bool,
    /// `u8`, one byte.
    U8,
    /// `u16`, varint.
    U16,
    /// `u32`, varint.
    U32,
    /// `u64` and `usize`, varint.
    U64,
    /// `u128`, varint.
    U128,
    /// `i8`, one byte.
    I8,
    /// `i16`, zigzag varint.
    I16,
    /// `i32`, zigzag varint.
    I32,
    /// `i64` and `isize`, zigzag varint.
    I64,
    /// `i128`, zigzag varint.
    I128,
    /// `f32`, four bytes, little-endian.
    F32,
    /// `f64`, eight bytes, little-endian.
    F64,
    /// `char`, as a string of one character.
    Char,
    /// Text: varint length and UTF-8.
    String,
    /// A string that is one JSON document ([`crate::Json`]).
    Json,
    /// `Option`: one byte, then the value if it is 1.
    Option(Box<Self>),
    /// A sequence: varint count, then the elements.
    List(Box<Self>),
    /// A sequence without order and repetition.
    Set(Box<Self>),
    /// Pairs of key and value: varint count, then the pairs.
    Map(Box<(Self, Self)>),
    /// `[T; N]`: the elements without a count.
    Array(u64, Box<Self>),
    /// A tuple of one or more.
    Tuple(Vec<Self>),
    /// A struct or enum: index into the definitions of the descriptor.
    Named(u32),
    /// A type whose bytes only the program that wrote them can read.
    Opaque(Box<str>),
}

/// One named field of a record, a struct or a variant.
///
/// Equality leaves out the value of the default: it is no part of the stored descriptor, only whether there is one.
#[derive(Clone)]
pub struct Field {
    pub(crate) name: Box<str>,
    pub(crate) was: Vec<Box<str>>,
    pub(crate) ty: Type,
    pub(crate) has_default: bool,
    pub(crate) default: Option<DefaultBytes>,
}

impl Field {
    /// The name under which the field is stored.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The names that the field had before.
    pub fn was(&self) -> impl Iterator<Item = &str> {
        self.was.iter().map(AsRef::as_ref)
    }

    /// The type of the field.
    #[must_use]
    pub const fn ty(&self) -> &Type {
        &self.ty
    }

    /// Whether the writing program had a default for a missing value.
    #[must_use]
    pub const fn has_default(&self) -> bool {
        self.has_default
    }
}

impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.was == other.was
            && self.ty == other.ty
            && self.has_default == other.has_default
    }
}

impl Eq for Field {}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Field")
            .field("name", &self.name)
            .field("was", &self.was)
            .field("ty", &self.ty)
            .field("has_default", &self.has_default)
            .finish()
    }
}

/// A struct or enum that stands inside a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    pub(crate) name: Box<str>,
    pub(crate) kind: DefinitionKind,
}

/// The content of a [`Definition`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DefinitionKind {
    /// Named fields, none for a unit struct.
    Struct(Vec<Field>),
    /// Fields by position.
    Tuple(Vec<Type>),
    /// One of several variants, by index as an unsigned varint.
    Enum(Vec<Variant>),
}

/// One variant of an enum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    pub(crate) name: Box<str>,
    pub(crate) was: Vec<Box<str>>,
    pub(crate) payload: Payload,
}

/// What a variant carries.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Payload {
    /// Nothing.
    Unit,
    /// Values by position, one or more.
    Tuple(Vec<Type>),
    /// Named fields.
    Struct(Vec<Field>),
}

impl Definition {
    /// The name of the type in the program that wrote it; it plays no part in matching.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Fields or variants.
    #[must_use]
    pub const fn kind(&self) -> &DefinitionKind {
        &self.kind
    }

    /// Calls `visit` with every type that this definition mentions, in the order of the encoding.
    pub(crate) fn visit_types<'a>(&'a self, visit: &mut dyn FnMut(&'a Type)) {
        match &self.kind {
            DefinitionKind::Struct(fields) => fields.iter().for_each(|field| visit(&field.ty)),
            DefinitionKind::Tuple(types) => types.iter().for_each(visit),
            DefinitionKind::Enum(variants) => {
                for variant in variants {
                    match &variant.payload {
                        Payload::Unit => {}
                        Payload::Tuple(types) => types.iter().for_each(&mut *visit),
                        Payload::Struct(fields) => fields.iter().for_each(|field| visit(&field.ty)),
                    }
                }
            }
        }
    }
}

impl Variant {
    /// The name by which the variant is matched.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the variant carries.
    #[must_use]
    pub const fn payload(&self) -> &Payload {
        &self.payload
    }
}

impl Type {
    /// The types directly inside this one.
    pub(crate) fn children(&self) -> impl Iterator<Item = &Self> {
        let (one, two, many): (Option<&Self>, Option<&Self>, &[Self]) = match self {
            Self::Option(inner) | Self::List(inner) | Self::Set(inner) | Self::Array(_, inner) => {
                (Some(inner), None, &[])
            }
            Self::Map(pair) => (Some(&pair.0), Some(&pair.1), &[]),
            Self::Tuple(types) => (None, None, types),
            _ => (None, None, &[]),
        };
        one.into_iter().chain(two).chain(many)
    }
}

/// Visits every type that can be reached from `start`, through definitions as well, each definition once.
/// Stops with `true` as soon as `found` says so. Needs no recursion: descriptors come from strangers.
pub(crate) fn reaches(
    start: &Type,
    definitions: &[Definition],
    found: &mut dyn FnMut(&Type) -> bool,
) -> bool {
    let mut seen = vec![false; definitions.len()];
    let mut stack = vec![start];
    while let Some(ty) = stack.pop() {
        if found(ty) {
            return true;
        }
        if let Type::Named(index) = ty {
            let index = *index as usize;
            if let (Some(flag), Some(definition)) = (seen.get_mut(index), definitions.get(index))
                && !std::mem::replace(flag, true)
            {
                definition.visit_types(&mut |ty| stack.push(ty));
            }
        }
        stack.extend(ty.children());
    }
    false
}
