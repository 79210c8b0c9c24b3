//! `Record`: a type that can stand in a chain by itself, and how its fields are written and read one by one.

use std::ops::Range;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::descriptor::{Descriptor, Known};
use super::error::{DecodeError, EncodeError, postcard_reason};
use super::shape::{Shape, Types};
use super::types::{Codec, Field};
use super::walk::{Input, put_varint};
use crate::json::JsonError;

/// A type whose values are records of a chain. Derived, never written by hand.
///
/// The derive and its attributes are documented at [`macro@crate::Record`]. The name is stored with every record and is meant
/// to stay.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use ate_view::{Descriptor, Record, Shape};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Record)]
/// #[record(name = "order", crate = "ate_view")]      // `crate` only for those who use ate-view without ate
/// struct Order {
///     customer: String,
///     lines: Vec<Line>,
///     #[record(default = State::Open)]               // for records that were written before there was a state
///     state: State,
///     #[record(was = "comment")]                     // what the field was called before
///     note: Option<String>,                          // an option needs no default
///     labels: BTreeMap<String, String>,
///     #[record(opaque = "sum-1")]                    // a type that cannot describe itself: name its bytes
///     sum: foreign::Decimal,
/// }
///
/// #[derive(Serialize, Deserialize, Shape)]           // whatever stands inside a record
/// #[shape(crate = "ate_view")]
/// struct Line { article: u64, pieces: u32 }
///
/// #[derive(Serialize, Deserialize, Shape)]
/// #[shape(crate = "ate_view")]
/// enum State { Open, Sent { at: u64 } }
/// # mod foreign {
/// #     #[derive(serde::Serialize, serde::Deserialize)]
/// #     pub struct Decimal(i64);
/// # }
///
/// assert_eq!(Order::NAME, "order");
/// assert_eq!(Descriptor::of::<Order>().fields().len(), 6);
/// ```
///
/// What is inside must have a shape:
/// ```compile_fail,E0277
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Plain(u8);
///
/// #[derive(serde::Serialize, serde::Deserialize, ate_view::Record)]
/// #[record(crate = "ate_view")]
/// struct Holder { plain: Plain }
/// ```
/// Attributes of serde that postcard cannot bear are refused:
/// ```compile_fail
/// #[derive(serde::Serialize, serde::Deserialize, ate_view::Record)]
/// #[record(crate = "ate_view")]
/// struct Sparse { #[serde(skip_serializing_if = "Option::is_none")] note: Option<u8> }
/// ```
/// … unless the record is a document:
/// ```
/// #[derive(serde::Serialize, serde::Deserialize, ate_view::Record)]
/// #[record(codec = "json", crate = "ate_view")]
/// struct Sparse { #[serde(skip_serializing_if = "Option::is_none")] note: Option<u8> }
/// ```
/// A record type has one name, so it has no parameters, and indexes are yet to come:
/// ```compile_fail
/// #[derive(serde::Serialize, serde::Deserialize, ate_view::Record)]
/// #[record(crate = "ate_view")]
/// struct Generic<T> { value: T }
/// ```
/// ```compile_fail
/// #[derive(serde::Serialize, serde::Deserialize, ate_view::Record)]
/// #[record(crate = "ate_view")]
/// struct Indexed { #[record(index)] value: u8 }
/// ```
/// A record that is no `Deserialize` could not be read:
/// ```compile_fail,E0277
/// #[derive(serde::Serialize, ate_view::Record)]
/// #[record(crate = "ate_view")]
/// struct WriteOnly { value: u8 }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a record type",
    note = "derive it: `#[derive(Serialize, Deserialize, Record)]`"
)]
pub trait Record: Shape + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The stable name of the type.
    const NAME: &'static str;

    /// How bodies are encoded.
    const CODEC: Codec;

    /// The static that holds the type's descriptor.
    #[doc(hidden)]
    fn known() -> &'static Known;

    /// The fields in the order of the body.
    #[doc(hidden)]
    fn fields(types: &mut Types) -> Vec<Field>;

    /// Writes the fields in that order.
    #[doc(hidden)]
    fn encode_fields(&self, writer: &mut FieldWriter) -> Result<(), EncodeError>;

    /// Reads the fields in that order.
    #[doc(hidden)]
    fn decode_fields(reader: &mut FieldReader<'_>) -> Result<Self, DecodeError>;
}

/// Takes the fields of a record, in order, and frames each.
#[derive(Debug)]
pub struct FieldWriter {
    record: &'static str,
    out: Vec<u8>,
}

impl FieldWriter {
    pub(crate) fn new(record: &'static str) -> Self {
        // Most records are small; growing from nothing would cost more than the fields.
        Self {
            record,
            out: Vec::with_capacity(256),
        }
    }

    pub(crate) fn into_body(self) -> Vec<u8> {
        self.out
    }

    /// Appends one field.
    ///
    /// # Errors
    /// If the value's `Serialize` fails under postcard.
    pub fn field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        // Most fields are short: leave one byte for the length and move the field if that is not enough.
        let start = self.out.len();
        self.out.push(0);
        postcard::serialize_with_flavor(value, Append(&mut self.out)).map_err(|error| {
            EncodeError::Field {
                record: self.record.into(),
                field: name.into(),
                reason: postcard_reason(&error).into(),
            }
        })?;
        let length = self.out.len() - start - 1;
        if length < 0x80 {
            self.out[start] = length as u8;
        } else {
            let mut prefix = Vec::with_capacity(10);
            put_varint(&mut prefix, length as u128);
            self.out.splice(start..=start, prefix);
        }
        Ok(())
    }

    /// Writes the whole value as a JSON document.
    ///
    /// # Errors
    /// If the value's `Serialize` fails under `serde_json`.
    pub fn document<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        serde_json::to_writer(&mut self.out, value).map_err(|error| EncodeError::Document {
            record: self.record.into(),
            reason: error.to_string().into(),
        })
    }

    /// Writes text that already is a JSON document.
    pub(crate) fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }
}

/// Lets postcard write behind what is already there.
struct Append<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Append<'_> {
    type Output = ();

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Where the postcard bytes of one field of the reading type stand.
#[derive(Debug)]
pub(crate) enum Slot<'a> {
    /// In the stored body, as they are.
    Stored(&'a [u8]),
    /// In the scratch buffer, transcoded or from a default.
    Scratch(Range<usize>),
}

/// Gives the fields of a record, in order.
#[derive(Debug)]
pub struct FieldReader<'a> {
    known: &'a Descriptor,
    source: Source<'a>,
    next: usize,
}

#[derive(Debug)]
enum Source<'a> {
    Body(Input<'a>),
    Slots {
        slots: &'a [Slot<'a>],
        scratch: &'a [u8],
    },
}

impl<'a> FieldReader<'a> {
    /// Reads a body that was written under `known`.
    pub(crate) const fn of_body(known: &'a Descriptor, body: &'a [u8]) -> Self {
        Self {
            known,
            source: Source::Body(Input::new(body)),
            next: 0,
        }
    }

    /// Reads fields that were brought into the form of `known`, one slot each.
    pub(crate) const fn of_slots(
        known: &'a Descriptor,
        slots: &'a [Slot<'a>],
        scratch: &'a [u8],
    ) -> Self {
        Self {
            known,
            source: Source::Slots { slots, scratch },
            next: 0,
        }
    }

    /// Reads the next field.
    ///
    /// # Errors
    /// If its bytes do not fit `T`; the error names the field.
    #[inline]
    pub fn field<T: DeserializeOwned>(&mut self) -> Result<T, DecodeError> {
        let bytes = match &mut self.source {
            Source::Body(input) => match input.frame() {
                Ok(bytes) => bytes,
                Err(fault) => return Err(fault.in_framing(&self.known.name)),
            },
            Source::Slots { slots, scratch } => slots[self.next].bytes(scratch),
        };
        self.next += 1;
        match postcard::take_from_bytes(bytes) {
            Ok((value, [])) => Ok(value),
            Ok(_) => Err(self.damaged("bytes are left over")),
            Err(error) => Err(self.damaged(postcard_reason(&error))),
        }
    }

    #[cold]
    fn damaged(&self, reason: &str) -> DecodeError {
        let field = self
            .known
            .fields
            .get(self.next - 1)
            .map_or("?", |field| field.name());
        DecodeError::Damaged {
            record: self.known.name.clone(),
            field: field.into(),
            reason: reason.into(),
        }
    }

    /// Reads the whole body as a JSON document.
    ///
    /// # Errors
    /// If it is no acceptable document, or does not fit `T`.
    pub fn document<T: DeserializeOwned>(&mut self) -> Result<T, DecodeError> {
        let text = self.text()?;
        serde_json::from_str(text).map_err(|error| DecodeError::Document {
            record: self.known.name.clone(),
            source: JsonError::from_serde(text, &error),
        })
    }

    /// Reads the whole body as the text of a valid JSON document.
    pub(crate) fn text(&mut self) -> Result<&'a str, DecodeError> {
        let body = match &mut self.source {
            Source::Body(input) => std::mem::take(&mut input.rest),
            Source::Slots { .. } => &[],
        };
        crate::json::check_bytes(body).map_err(|source| DecodeError::Document {
            record: self.known.name.clone(),
            source,
        })
    }

    /// Checks that nothing of the body is left.
    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        match &self.source {
            Source::Body(input) => input
                .end()
                .map_err(|fault| fault.in_framing(&self.known.name)),
            Source::Slots { .. } => Ok(()),
        }
    }
}

impl<'a> Slot<'a> {
    /// The field's bytes.
    pub(crate) fn bytes(&self, scratch: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Stored(bytes) => bytes,
            Self::Scratch(range) => &scratch[range.clone()],
        }
    }
}
