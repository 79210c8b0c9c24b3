//! Typed keys, and what may be used as one.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use ate_chain::RecordKey;

use crate::dao::Dao;
use crate::error::KeyError;

/// The key of a record of type `T`: 16 bytes, `Copy`.
///
/// The type is the program's claim. It is checked against the stored schema when the record is read.
pub struct Key<T> {
    raw: RecordKey,
    record: PhantomData<fn() -> T>,
}

impl<T> Key<T> {
    /// A key for a raw record key.
    #[must_use]
    pub const fn from_raw(raw: RecordKey) -> Self {
        Self {
            raw,
            record: PhantomData,
        }
    }

    /// The raw record key.
    #[must_use]
    pub const fn raw(&self) -> RecordKey {
        self.raw
    }
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Key<T> {}

impl<T> PartialEq for Key<T> {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}

impl<T> Eq for Key<T> {}

impl<T> Hash for Key<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.raw.hash(state);
    }
}

impl<T> fmt::Display for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}

impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.raw)
    }
}

impl<T> FromStr for Key<T> {
    type Err = KeyError;

    /// Reads 32 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut raw = RecordKey::default();
        if text.len() != 32 || !text.is_ascii() {
            return Err(KeyError);
        }
        for (byte, digits) in raw.0.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| KeyError)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| KeyError)?;
        }
        Ok(Self::from_raw(raw))
    }
}

/// What names a record: its key, or its name below the root record.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Target {
    /// A key.
    Key(RecordKey),
    /// A name below the root record.
    Name(String),
}

/// Everything that can stand where the key of a `T` is expected: a [`Key`], a [`Dao`], a name.
pub trait IntoKey<T> {
    /// The record meant.
    fn into_target(self) -> Target;
}

impl<T> IntoKey<T> for Target {
    fn into_target(self) -> Target {
        self
    }
}

impl<T> IntoKey<T> for Key<T> {
    fn into_target(self) -> Target {
        Target::Key(self.raw)
    }
}

impl<T> IntoKey<T> for &Key<T> {
    fn into_target(self) -> Target {
        Target::Key(self.raw)
    }
}

impl<T> IntoKey<T> for &Dao<T> {
    fn into_target(self) -> Target {
        Target::Key(self.key().raw)
    }
}

impl<T> IntoKey<T> for &str {
    fn into_target(self) -> Target {
        Target::Name(self.to_owned())
    }
}

impl<T> IntoKey<T> for String {
    fn into_target(self) -> Target {
        Target::Name(self)
    }
}

impl<T> IntoKey<T> for &String {
    fn into_target(self) -> Target {
        Target::Name(self.clone())
    }
}

impl From<&str> for Target {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<String> for Target {
    fn from(name: String) -> Self {
        Self::Name(name)
    }
}

impl From<&String> for Target {
    fn from(name: &String) -> Self {
        Self::Name(name.clone())
    }
}

impl From<RecordKey> for Target {
    fn from(key: RecordKey) -> Self {
        Self::Key(key)
    }
}

impl<T> From<Key<T>> for Target {
    fn from(key: Key<T>) -> Self {
        Self::Key(key.raw)
    }
}

impl<T> From<&Dao<T>> for Target {
    fn from(dao: &Dao<T>) -> Self {
        Self::Key(dao.key().raw)
    }
}
