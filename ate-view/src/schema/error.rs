//! What can go wrong between stored bytes and a typed value.

use thiserror::Error;

use super::digest::Hash;
use super::types::Codec;
use crate::json::JsonError;

/// A stored body cannot be read as the wanted record type. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The record is of another type.
    #[error("a `{stored}` stands here, not a `{known}`")]
    OtherRecord {
        /// Name of the stored type.
        stored: Box<str>,
        /// Name of the type asked for.
        known: Box<str>,
    },
    /// The record's type went through a breaking change.
    #[error("`{record}` is stored in version {stored}, this program knows version {known}")]
    OtherVersion {
        /// Name of the record type.
        record: Box<str>,
        /// Version of the writer.
        stored: u32,
        /// Version of this program.
        known: u32,
    },
    /// The body is encoded in another way.
    #[error("`{record}` is stored as {stored}, this program reads {known}")]
    OtherCodec {
        /// Name of the record type.
        record: Box<str>,
        /// Codec of the writer.
        stored: Codec,
        /// Codec of this program.
        known: Codec,
    },
    /// A field that this program needs was not stored, and it has no default.
    #[error("field `{field}: {expected}` of `{record}` is not stored and has no default")]
    MissingField {
        /// Name of the record type.
        record: Box<str>,
        /// Path of the field.
        field: Box<str>,
        /// Type of the field in this program.
        expected: Box<str>,
    },
    /// A field changed its type in a way that no rule covers.
    #[error("field `{field}` of `{record}` is stored as {stored}, which cannot be read as {known}")]
    Incompatible {
        /// Name of the record type.
        record: Box<str>,
        /// Path of the field.
        field: Box<str>,
        /// Stored type.
        stored: Box<str>,
        /// Type in this program.
        known: Box<str>,
    },
    /// The value is a variant that this program does not know.
    #[error(
        "field `{field}` of `{record}` holds the variant `{variant}`, which this program does not know"
    )]
    UnknownVariant {
        /// Name of the record type.
        record: Box<str>,
        /// Path of the enum.
        field: Box<str>,
        /// Name of the variant.
        variant: Box<str>,
    },
    /// Something changed beside an opaque value, whose end nobody but its own code can find.
    #[error(
        "field `{field}` of `{record}` changed around `opaque {opaque}`, which cannot be skipped"
    )]
    BehindOpaque {
        /// Name of the record type.
        record: Box<str>,
        /// Path of the opaque value.
        field: Box<str>,
        /// Its name.
        opaque: Box<str>,
    },
    /// The bytes of a field do not fit its type.
    #[error("field `{field}` of `{record}` does not fit its type: {reason}")]
    Damaged {
        /// Name of the record type.
        record: Box<str>,
        /// Name of the field.
        field: Box<str>,
        /// What is wrong.
        reason: Box<str>,
    },
    /// The body is not cut into the fields that its descriptor names.
    #[error("the body of `{record}` is not framed as its descriptor says: {reason}")]
    Framing {
        /// Name of the record type.
        record: Box<str>,
        /// What is wrong.
        reason: Box<str>,
    },
    /// The body should be a JSON document and is not, or does not fit the type.
    #[error("the body of `{record}` is not the JSON that it should be")]
    Document {
        /// Name of the record type.
        record: Box<str>,
        /// Where and why.
        source: JsonError,
    },
    /// Showing the record would take more text than is allowed.
    #[error("`{record}` is too large to be shown")]
    TooLarge {
        /// Name of the record type.
        record: Box<str>,
    },
}

/// A value cannot be turned into a body that would be readable later. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The field's `Serialize` failed.
    #[error("field `{field}` of `{record}` cannot be encoded: {reason}")]
    Field {
        /// Name of the record type.
        record: Box<str>,
        /// Name of the field.
        field: Box<str>,
        /// What postcard said.
        reason: Box<str>,
    },
    /// What was encoded cannot be decoded again, so it must not be stored.
    #[error("`{record}` could be written but never read again")]
    Unreadable {
        /// Name of the record type.
        record: Box<str>,
        /// The field and what is wrong with it.
        source: DecodeError,
    },
    /// The encoded field is not what the type's `Shape` says.
    #[error("field `{field}` of `{record}` is not encoded as its shape `{shape}` says: {reason}")]
    ShapeMismatch {
        /// Name of the record type.
        record: Box<str>,
        /// Name of the field.
        field: Box<str>,
        /// The described type.
        shape: Box<str>,
        /// What is wrong.
        reason: Box<str>,
    },
    /// The decoded value encodes to other bytes: something would be lost silently.
    #[error("field `{field}` of `{record}` reads back as another value")]
    Changed {
        /// Name of the record type.
        record: Box<str>,
        /// Name of the field.
        field: Box<str>,
    },
    /// The type is beyond what a descriptor may hold.
    #[error("the type `{record}` cannot be described")]
    Descriptor {
        /// Name of the record type.
        record: Box<str>,
        /// The limit or rule.
        source: DescriptorError,
    },
    /// A JSON record does not serialise to an acceptable document.
    #[error("`{record}` is no JSON document that can be stored: {reason}")]
    Document {
        /// Name of the record type.
        record: Box<str>,
        /// What is wrong.
        reason: Box<str>,
    },
    /// The stored record holds more than this program understands.
    #[error(transparent)]
    NewerSchema(#[from] NewerSchema),
}

/// The stored record can be read, but rewriting it would drop what this program does not know.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{record}` was written by a newer program: `{field}` is unknown here and would be lost (stored schema {stored}, known {known})"
)]
pub struct NewerSchema {
    /// Name of the record type.
    pub record: Box<str>,
    /// Path of the first thing that this program does not know.
    pub field: Box<str>,
    /// Id of the stored descriptor.
    pub stored: Hash,
    /// Id of this program's descriptor.
    pub known: Hash,
}

/// Bytes are not a descriptor, or not the canonical encoding of one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DescriptorError {
    /// The encoding is of a version that this program does not know.
    #[error("descriptor version {got} is not known")]
    UnknownVersion {
        /// The version byte.
        got: u8,
    },
    /// A limit is exceeded.
    #[error("{what} {got} is over the limit of {limit}")]
    Limit {
        /// What is limited.
        what: &'static str,
        /// The value met.
        got: u64,
        /// The largest value allowed.
        limit: u64,
    },
    /// The bytes break the encoding's rules.
    #[error("bad descriptor at byte {offset}: {reason}")]
    Malformed {
        /// Where, from the start of the encoding.
        offset: u64,
        /// Which rule.
        reason: &'static str,
    },
}

/// Why a walk over bytes stopped. Internal; turned into [`DecodeError`] where field and record are known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Fault {
    #[error("the bytes end too early")]
    End,
    #[error("bytes are left over")]
    Trailing,
    #[error("a number is not well encoded")]
    Varint,
    #[error("a bool is neither 0 nor 1")]
    Bool,
    #[error("an option is neither 0 nor 1")]
    Option,
    #[error("a character is not one character")]
    Char,
    #[error("text is not UTF-8")]
    Utf8,
    #[error("an enum has no variant of that number")]
    Variant,
    #[error("an embedded document is not JSON: {0}")]
    Json(JsonError),
    #[error("values are nested too deeply")]
    Deep,
    #[error("too many values for so few bytes")]
    Complex,
    #[error("the result is too large")]
    Large,
    #[error("an opaque value cannot be skipped")]
    Opaque,
    #[error("a default value cannot be encoded")]
    Default,
    #[error("the type refers to a definition that does not exist")]
    Definition,
    #[error("unknown variant")]
    UnknownVariant { field: Box<str>, variant: Box<str> },
}

impl Fault {
    /// The error for a fault in the top-level field `field`.
    pub(crate) fn in_field(self, record: &str, field: &str) -> DecodeError {
        match self {
            Self::UnknownVariant { field, variant } => DecodeError::UnknownVariant {
                record: record.into(),
                field,
                variant,
            },
            fault => DecodeError::Damaged {
                record: record.into(),
                field: field.into(),
                reason: fault.to_string().into(),
            },
        }
    }

    /// The error for a fault between fields.
    pub(crate) fn in_framing(self, record: &str) -> DecodeError {
        DecodeError::Framing {
            record: record.into(),
            reason: self.to_string().into(),
        }
    }
}

/// What postcard says, in the words of this crate.
pub(crate) fn postcard_reason(error: &postcard::Error) -> &'static str {
    match error {
        postcard::Error::WontImplement | postcard::Error::NotYetImplemented => {
            "the type needs a self-describing format, which postcard is not"
        }
        postcard::Error::SerializeSeqLengthUnknown => {
            "a sequence does not know its length (as with `flatten`)"
        }
        postcard::Error::DeserializeUnexpectedEnd => "the bytes end too early",
        postcard::Error::DeserializeBadVarint => "a number is not well encoded",
        postcard::Error::DeserializeBadBool => "a bool is neither 0 nor 1",
        postcard::Error::DeserializeBadChar => "a character is not one character",
        postcard::Error::DeserializeBadUtf8 => "text is not UTF-8",
        postcard::Error::DeserializeBadOption => "an option is neither 0 nor 1",
        postcard::Error::DeserializeBadEnum => "an enum has no variant of that number",
        postcard::Error::SerdeSerCustom | postcard::Error::CollectStrError => {
            "its `Serialize` refused the value"
        }
        postcard::Error::SerdeDeCustom => "its `Deserialize` refused the value",
        _ => "not well encoded",
    }
}
