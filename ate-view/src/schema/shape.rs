//! `Shape`: how a Rust type tells what its bytes look like.

use std::any::TypeId;
use std::collections::HashMap;

use serde::Serialize;

use super::types::{DefaultBytes, Definition, DefinitionKind, Field, Payload, Type, Variant};

mod std_types;

/// A type that can describe its own stored form, deeply.
///
/// Derived for structs and enums; the types of std have it. A foreign type is wrapped by the field attribute
/// `#[shape(opaque = "name-1")]` (`#[record(opaque = …)]` in a record): its bytes are then stored as they are, under a name
/// that changes whenever their meaning does.
///
/// A hand-written implementation must describe exactly what the type's `Serialize` writes through postcard. The first write
/// of each record type checks that (see [`crate::check_round_trip`]).
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not describe its stored form",
    label = "no `Shape` for this type",
    note = "derive `Shape` for it, or give the field a name for its bytes: `#[record(opaque = \"name-1\")]` (`#[shape(opaque = …)]` outside of records)"
)]
pub trait Shape: 'static {
    /// The type's description; structs and enums are entered into `types` and referred to by index.
    fn shape(types: &mut Types) -> Type;
}

/// Collects the structs and enums that a record mentions, in the order of their first mention.
#[derive(Default)]
pub struct Types {
    indexes: HashMap<TypeId, u32>,
    define: Vec<fn(&mut Self) -> Definition>,
}

impl Types {
    /// A reference to the definition of `T`, which `define` gives. It runs later and once, so recursive types end.
    pub fn named<T: ?Sized + 'static>(&mut self, define: fn(&mut Self) -> Definition) -> Type {
        let next = u32::try_from(self.define.len()).unwrap_or(u32::MAX);
        let index = *self.indexes.entry(TypeId::of::<T>()).or_insert_with(|| {
            self.define.push(define);
            next
        });
        Type::Named(index)
    }

    /// Runs what was put off by [`Types::named`]. The order of the result is the canonical one.
    pub(crate) fn into_definitions(mut self) -> Vec<Definition> {
        let mut definitions = Vec::new();
        while let Some(define) = self.define.get(definitions.len()).copied() {
            definitions.push(define(&mut self));
        }
        definitions
    }
}

impl Field {
    /// A field of type `T`.
    #[must_use]
    pub fn of<T: Shape + ?Sized>(types: &mut Types, name: &str) -> Self {
        Self::with_type(name, T::shape(types))
    }

    /// A field whose bytes are only known by `opaque`.
    #[must_use]
    pub fn opaque(name: &str, opaque: &str) -> Self {
        Self::with_type(name, Type::Opaque(opaque.into()))
    }

    fn with_type(name: &str, ty: Type) -> Self {
        Self {
            name: name.into(),
            was: Vec::new(),
            ty,
            has_default: false,
            default: None,
        }
    }

    /// Names under which older programs stored the field.
    #[must_use]
    pub fn renamed_from(mut self, names: &[&str]) -> Self {
        self.was.extend(names.iter().map(|name| Box::from(*name)));
        self
    }

    /// The value that stands in for a missing one, postcard-encoded; see [`default_bytes`].
    #[must_use]
    pub fn or_default(mut self, bytes: DefaultBytes) -> Self {
        self.has_default = true;
        self.default = Some(bytes);
        self
    }
}

impl Definition {
    /// A struct with named fields, or with none.
    #[must_use]
    pub fn of_fields(name: &str, fields: Vec<Field>) -> Self {
        Self {
            name: name.into(),
            kind: DefinitionKind::Struct(fields),
        }
    }

    /// A struct with fields by position.
    #[must_use]
    pub fn of_tuple(name: &str, types: Vec<Type>) -> Self {
        Self {
            name: name.into(),
            kind: DefinitionKind::Tuple(types),
        }
    }

    /// An enum.
    #[must_use]
    pub fn of_variants(name: &str, variants: Vec<Variant>) -> Self {
        Self {
            name: name.into(),
            kind: DefinitionKind::Enum(variants),
        }
    }
}

impl Variant {
    /// A variant, with the names that it had before.
    #[must_use]
    pub fn of(name: &str, was: &[&str], payload: Payload) -> Self {
        Self {
            name: name.into(),
            was: was.iter().map(|name| Box::from(*name)).collect(),
            payload,
        }
    }
}

/// The postcard bytes of a default value, for [`Field::or_default`].
#[must_use]
pub fn default_bytes<T: Serialize + ?Sized>(value: &T) -> Option<Vec<u8>> {
    postcard::to_stdvec(value).ok()
}
