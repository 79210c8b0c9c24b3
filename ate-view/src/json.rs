//! JSON documents: checked once, kept byte for byte.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::schema::{
    Codec, DecodeError, EncodeError, Field, FieldReader, FieldWriter, Known, Record, Shape, Type,
    Types,
};

mod diff;
mod scan;

pub(crate) use diff::lost;
use scan::{Scanner, Stop};

/// Nesting of arrays and objects, at most.
pub const JSON_DEPTH_MAX: u32 = 128;

/// A JSON document (RFC 8259) as its text: number text, member order and white space are kept.
///
/// Accepted are documents of one value in UTF-8 with at most [`JSON_DEPTH_MAX`] levels of nesting, without repeated member
/// names (compared after unescaping) and without escaped lone surrogates; so every reader understands the same thing.
///
/// As a record it is the type `json`, whose body is the text. As a field of another record it is a string that shows as JSON.
///
/// ```
/// use ate_view::Json;
/// let json: Json = r#"{"id": 1.50, "name": "anna"}"#.parse()?;
/// assert_eq!(json.as_str(), r#"{"id": 1.50, "name": "anna"}"#);
/// assert_eq!(json.field_text("name")?, "anna");
/// assert!(r#"{"a": 1, "\u0061": 2}"#.parse::<Json>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Json(Box<str>);

impl Json {
    /// Checks a document and keeps it. Cost: one pass.
    ///
    /// # Errors
    /// Where and why it is not acceptable.
    pub fn new(text: impl Into<Box<str>>) -> Result<Self, JsonError> {
        let text = text.into();
        check(&text)?;
        Ok(Self(text))
    }

    /// As [`Json::new`], from bytes that need not be UTF-8.
    ///
    /// # Errors
    /// As [`Json::new`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, JsonError> {
        check_bytes(bytes).map(|text| Self(text.into()))
    }

    /// The text as it was given.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        &self.0
    }

    /// The text of a top-level member, for use in a key: of a string its content, of an integer its digits.
    ///
    /// # Errors
    /// If the document is no object, has no such member, or the member is something else.
    pub fn field_text(&self, name: &str) -> Result<String, FieldTextError> {
        if !self.0.trim_start().starts_with('{') {
            return Err(FieldTextError::NotAnObject);
        }
        let mut found = None;
        Scanner::new(&self.0)
            .members(&mut |member| {
                if member.name == name {
                    found = Some(member.value);
                }
            })
            .expect("the document was checked");
        let value = found.ok_or_else(|| FieldTextError::Missing { name: name.into() })?;
        let is_integer = value
            .strip_prefix('-')
            .unwrap_or(value)
            .bytes()
            .all(|byte| byte.is_ascii_digit());
        if value.starts_with('"') {
            Ok(Scanner::new(value)
                .string()
                .expect("the document was checked")
                .into_owned())
        } else if is_integer {
            Ok(value.to_owned())
        } else {
            let found = match value.as_bytes().first() {
                Some(b'{') => "an object",
                Some(b'[') => "an array",
                Some(b't' | b'f') => "a bool",
                Some(b'n') => "null",
                _ => "a number that is no integer",
            };
            Err(FieldTextError::NotAKey {
                name: name.into(),
                found,
            })
        }
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Json {
    type Err = JsonError;

    fn from_str(text: &str) -> Result<Self, JsonError> {
        Self::new(text)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            let raw: &RawValue = serde_json::from_str(&self.0).map_err(S::Error::custom)?;
            raw.serialize(serializer)
        } else {
            serializer.serialize_str(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text: Box<str> = if deserializer.is_human_readable() {
            Box::<RawValue>::deserialize(deserializer)?.into()
        } else {
            Box::deserialize(deserializer)?
        };
        Self::new(text).map_err(D::Error::custom)
    }
}

impl Shape for Json {
    fn shape(_: &mut Types) -> Type {
        Type::Json
    }
}

impl Record for Json {
    const NAME: &'static str = "json";
    const CODEC: Codec = Codec::Json;

    fn known() -> &'static Known {
        static KNOWN: Known = Known::new();
        &KNOWN
    }

    fn fields(_: &mut Types) -> Vec<Field> {
        Vec::new()
    }

    fn encode_fields(&self, writer: &mut FieldWriter) -> Result<(), EncodeError> {
        writer.text(&self.0);
        Ok(())
    }

    fn decode_fields(reader: &mut FieldReader<'_>) -> Result<Self, DecodeError> {
        reader.text().map(|text| Self(text.into()))
    }
}

/// Why a text is no acceptable JSON document, and where.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}, column {column} (byte {offset}): {fault}")]
pub struct JsonError {
    /// Line, from 1.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
    /// Offset in bytes, from 0.
    pub offset: u64,
    /// What is wrong there.
    pub fault: JsonFault,
}

/// What is wrong with a JSON document.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum JsonFault {
    /// The text ends inside a value.
    #[error("the text ends too early")]
    End,
    /// Something else was expected here.
    #[error("expected {expected}, found {found:?}")]
    Unexpected {
        /// What could stand here.
        expected: &'static str,
        /// What does.
        found: char,
    },
    /// Bytes that are no UTF-8.
    #[error("not UTF-8")]
    Utf8,
    /// A control character that is not escaped.
    #[error("a control character inside a string")]
    Control,
    /// A backslash before something that it cannot escape.
    #[error("unknown escape")]
    Escape,
    /// Half of an escaped surrogate pair.
    #[error("a lone surrogate")]
    Surrogate,
    /// A number against the grammar.
    #[error("a malformed number")]
    Number,
    /// A member name for the second time.
    #[error("duplicate member {name:?}")]
    Duplicate {
        /// The name, unescaped.
        name: Box<str>,
    },
    /// More than [`JSON_DEPTH_MAX`] levels.
    #[error("nested more than {JSON_DEPTH_MAX} levels deep")]
    Deep,
    /// Something stands behind the value.
    #[error("something stands behind the value")]
    Trailing,
    /// The document does not fit the record type.
    #[error("{reason}")]
    Type {
        /// What the type said.
        reason: Box<str>,
    },
}

/// A member cannot serve in a key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FieldTextError {
    /// The document is no object.
    #[error("the document is not an object")]
    NotAnObject,
    /// There is no member of that name.
    #[error("the document has no member {name:?}")]
    Missing {
        /// The name.
        name: Box<str>,
    },
    /// The member is neither string nor integer.
    #[error("member {name:?} is {found}, not a string or an integer")]
    NotAKey {
        /// The name.
        name: Box<str>,
        /// What it is.
        found: &'static str,
    },
}

impl JsonError {
    fn at(text: &[u8], offset: usize, fault: JsonFault) -> Self {
        let before = &text[..offset.min(text.len())];
        let line_start = before
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        Self {
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count() as u64,
            // Continuation bytes do not begin a character.
            column: 1 + before[line_start..]
                .iter()
                .filter(|byte| **byte & 0xc0 != 0x80)
                .count() as u64,
            offset: before.len() as u64,
            fault,
        }
    }

    fn stopped(text: &str, stop: Stop) -> Self {
        Self::at(text.as_bytes(), stop.offset, stop.fault)
    }

    /// What `serde_json` says about a document that does not fit a type.
    pub(crate) fn from_serde(text: &str, error: &serde_json::Error) -> Self {
        let line_start = match error.line().checked_sub(2) {
            Some(newline) => text
                .match_indices('\n')
                .nth(newline)
                .map_or(0, |(at, _)| at + 1),
            None => 0,
        };
        let full = error.to_string();
        let reason = full
            .rsplit_once(" at line ")
            .map_or(&*full, |(reason, _)| reason);
        Self::at(
            text.as_bytes(),
            line_start + error.column().saturating_sub(1),
            JsonFault::Type {
                reason: reason.into(),
            },
        )
    }
}

/// Checks a document.
pub(crate) fn check(text: &str) -> Result<(), JsonError> {
    Scanner::new(text)
        .document()
        .map_err(|stop| JsonError::stopped(text, stop))
}

/// Checks a document in bytes and gives its text.
pub(crate) fn check_bytes(bytes: &[u8]) -> Result<&str, JsonError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| JsonError::at(bytes, error.valid_up_to(), JsonFault::Utf8))?;
    check(text)?;
    Ok(text)
}

#[cfg(test)]
mod tests;
