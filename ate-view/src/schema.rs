//! Schemas: what a record type looks like, in the chain beside the data, and how one program reads what another wrote.
//!
//! Every record names the [`Descriptor`] under which it was written. Its body is the fields in order, each as a length and the
//! field's postcard bytes; so a field can be found, skipped and shown without the program that wrote it ([`to_json`]).
//! What changes a type may go through is told at [`Plan`].
//!
//! In reading order: `types` and `shape` describe Rust types, `descriptor` makes them bytes, `record` writes and reads fields,
//! `walk` reads past values of described types, `plan` compares two descriptors, `transcode` runs what came of it, `codec` is
//! the way in.

mod codec;
mod descriptor;
mod digest;
mod error;
mod plan;
mod record;
mod shape;
mod show;
mod transcode;
mod types;
mod unknown;
mod walk;

#[cfg(test)]
mod tests;

pub use codec::{Encoded, check_round_trip, decode, encode, encode_spliced, unknown_of};
pub use descriptor::{
    DESCRIPTOR_BYTES_MAX, Descriptor, FIELDS_MAX, Known, SCHEMA_NAME_BYTES_MAX, TYPE_DEPTH_MAX,
    TYPES_MAX,
};
pub use digest::Hash;
pub use error::{DecodeError, DescriptorError, EncodeError, NewerSchema};
pub use plan::Plan;
pub use record::{FieldReader, FieldWriter, Record};
pub use shape::{Shape, Types, default_bytes};
pub use show::to_json;
pub use types::{Codec, Definition, DefinitionKind, Field, Payload, Type, Variant};
pub use unknown::Unknown;
