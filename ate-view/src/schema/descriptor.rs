//! Descriptors: what a record type looked like to the program that wrote it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::digest::{Hash, sha256};
use super::error::DescriptorError;
use super::record::Record;
use super::shape::Types;
use super::types::{Codec, Definition, DefinitionKind, Field, Type, reaches};

mod encoding;
pub(crate) mod text;
pub(crate) use text::TypeText;

/// Bytes of an encoded descriptor, at most.
pub const DESCRIPTOR_BYTES_MAX: usize = 64 * 1024;
/// Nesting of one type inside another within one field, at most; structs and enums begin anew.
pub const TYPE_DEPTH_MAX: u32 = 32;
/// Fields of a record, a struct, a tuple or a variant, and variants of an enum, at most.
pub const FIELDS_MAX: u64 = 1024;
/// Structs and enums in a descriptor, at most.
pub const TYPES_MAX: u64 = 4096;
/// Bytes of a name, at most.
pub const SCHEMA_NAME_BYTES_MAX: u64 = 255;

/// A deep description of a record type: name, version, codec, fields with names and types, and every struct and enum inside.
///
/// It has one canonical encoding (docs/format.md, 7.2), and its id is the SHA-256 of that. Two descriptors are equal if their
/// encodings are. Descriptors of this program come from [`Descriptor::of`], stored ones from [`Descriptor::from_bytes`].
#[derive(Clone)]
pub struct Descriptor {
    pub(crate) name: Box<str>,
    pub(crate) version: u32,
    pub(crate) codec: Codec,
    pub(crate) fields: Vec<Field>,
    pub(crate) definitions: Vec<Definition>,
    bytes: Box<[u8]>,
    id: Hash,
}

impl Descriptor {
    /// The descriptor of `T`, made once per type.
    #[must_use]
    pub fn of<T: Record>() -> &'static Arc<Self> {
        T::known().descriptor::<T>()
    }

    pub(crate) fn new(
        name: &str,
        version: u32,
        codec: Codec,
        fields: Vec<Field>,
        definitions: Vec<Definition>,
    ) -> Self {
        let mut descriptor = Self {
            name: name.into(),
            version,
            codec,
            fields,
            definitions,
            bytes: Box::default(),
            id: Hash([0; 32]),
        };
        descriptor.bytes = encoding::encode(&descriptor).into();
        descriptor.id = sha256(&[&descriptor.bytes]);
        descriptor
    }

    /// Reads an encoded descriptor; strict, since it may come from a stranger.
    ///
    /// # Errors
    /// If the bytes are not the canonical encoding of a descriptor within the limits of this module.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DescriptorError> {
        let mut descriptor = encoding::decode(bytes)?;
        descriptor.bytes = bytes.into();
        descriptor.id = sha256(&[bytes]);
        Ok(descriptor)
    }

    /// The canonical encoding.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the encoding.
    #[must_use]
    pub const fn id(&self) -> Hash {
        self.id
    }

    /// The stable name of the record type.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts breaking changes; 1 so far.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// How bodies are encoded.
    #[must_use]
    pub const fn codec(&self) -> Codec {
        self.codec
    }

    /// The fields in the order of the body; none for JSON documents.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The structs and enums that [`Type::Named`] refers to.
    #[must_use]
    pub fn definitions(&self) -> &[Definition] {
        &self.definitions
    }

    /// Whether decoding by serde alone could run away: the type contains itself, or sequences of elements without bytes.
    /// Bodies of such types are walked first.
    pub(crate) fn is_unbounded(&self) -> bool {
        let recursive = |index: usize| {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let mut found = false;
            self.definitions[index as usize].visit_types(&mut |ty| {
                found =
                    found || reaches(ty, &self.definitions, &mut |ty| *ty == Type::Named(index));
            });
            found
        };
        let empty_elements = |ty: &Type| match ty {
            Type::List(inner) | Type::Set(inner) => !self.has_bytes(inner, 0),
            Type::Map(pair) => !self.has_bytes(&pair.0, 0) && !self.has_bytes(&pair.1, 0),
            _ => false,
        };
        (0..self.definitions.len()).any(recursive)
            || self
                .fields
                .iter()
                .any(|field| reaches(&field.ty, &self.definitions, &mut |ty| empty_elements(ty)))
    }

    /// Whether every value of the type takes at least one byte. May answer no when in doubt.
    fn has_bytes(&self, ty: &Type, depth: u32) -> bool {
        match ty {
            _ if depth > TYPE_DEPTH_MAX => false,
            Type::Unit | Type::Opaque(_) => false,
            Type::Array(count, inner) => *count > 0 && self.has_bytes(inner, depth + 1),
            Type::Tuple(types) => types.iter().any(|ty| self.has_bytes(ty, depth + 1)),
            Type::Named(index) => match self.definitions.get(*index as usize).map(Definition::kind)
            {
                Some(DefinitionKind::Struct(fields)) => fields
                    .iter()
                    .any(|field| self.has_bytes(&field.ty, depth + 1)),
                Some(DefinitionKind::Tuple(types)) => {
                    types.iter().any(|ty| self.has_bytes(ty, depth + 1))
                }
                Some(DefinitionKind::Enum(_)) => true,
                None => false,
            },
            _ => true,
        }
    }
}

impl PartialEq for Descriptor {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Descriptor {}

impl fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Descriptor({}, {})", self.id, self)
    }
}

/// What a program knows of one of its own record types: a static in the code that the derive writes.
#[derive(Debug)]
pub struct Known {
    cell: OnceLock<KnownRecord>,
    checked: AtomicBool,
}

#[derive(Debug)]
struct KnownRecord {
    descriptor: Arc<Descriptor>,
    unbounded: bool,
}

impl Known {
    /// Nothing known yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "made in statics only")]
    pub const fn new() -> Self {
        Self {
            cell: OnceLock::new(),
            checked: AtomicBool::new(false),
        }
    }

    fn get<T: Record>(&'static self) -> &'static KnownRecord {
        self.cell.get_or_init(|| {
            let mut types = Types::default();
            let fields = T::fields(&mut types);
            let descriptor =
                Descriptor::new(T::NAME, 1, T::CODEC, fields, types.into_definitions());
            KnownRecord {
                unbounded: descriptor.is_unbounded(),
                descriptor: Arc::new(descriptor),
            }
        })
    }

    pub(crate) fn descriptor<T: Record>(&'static self) -> &'static Arc<Descriptor> {
        &self.get::<T>().descriptor
    }

    pub(crate) fn is_unbounded<T: Record>(&'static self) -> bool {
        self.get::<T>().unbounded
    }

    /// True until [`Known::set_checked`].
    pub(crate) fn is_unchecked(&self) -> bool {
        !self.checked.load(Ordering::Relaxed)
    }

    pub(crate) fn set_checked(&self) {
        self.checked.store(true, Ordering::Relaxed);
    }
}
