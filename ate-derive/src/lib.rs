//! `#[derive(Record)]` and `#[derive(Shape)]`: what a type's stored form looks like, told by the type itself.
//!
//! The macros only write what a person could write; everything that runs is in `ate-view`, where the rules of reading and
//! rewriting are documented with examples. This crate holds the macros because a proc-macro crate can hold nothing else.
//!
//! # Which types
//! | | `Record` | `Shape` |
//! |---|---|---|
//! | struct with named fields | stored field by field | yes |
//! | unit struct, tuple struct, enum | stored as one field named `value` | yes |
//! | generic | refused | yes, each type parameter must have `Shape`; lifetimes are refused |
//!
//! `Record` implies `Shape`, so a record may stand inside another. Both want serde's `Serialize` and `Deserialize` derived.
//!
//! # Attributes of the type
//! | attribute | meaning |
//! |---|---|
//! | `#[record(name = "account")]` | the stored name; without it, the type's name in snake case. Renaming the type is then a change of the stored name, so types that are meant to stay should have one |
//! | `#[record(codec = "json")]` | the body is one JSON document, for types that only a self-describing format can hold (`serde(flatten)`, `serde(untagged)`, `serde_json::Value`) |
//! | `#[record(crate = "ate_view")]`, `#[shape(crate = "…")]` | where the library is; without it `::ate` |
//! | `#[shape(opaque = "name-1")]` | the whole type is opaque, see below |
//!
//! # Attributes of fields and variants
//! | attribute | meaning |
//! |---|---|
//! | `was = "old"` | a name that it had before; may be repeated. Fields and variants |
//! | `default`, `default = expr` | stands in for a value that was not stored: `Default::default()`, or the expression |
//! | `opaque = "name-1"` | the field's type cannot describe itself: its bytes are stored as postcard makes them, under this name. Change the name when the meaning of the bytes changes. Nothing but its own code checks such bytes, so it must not be a type that contains itself |
//!
//! They are written `#[record(…)]` or, the same, `#[shape(…)]`.
//!
//! # Attributes of serde
//! | attribute | effect |
//! |---|---|
//! | `rename`, `rename_all`, `rename_all_fields` | honoured: the stored name is serde's, so that shown records look like the program's own JSON. Adding one later is a rename: say `was` |
//! | `alias` | honoured as `was` |
//! | `default` on a field or a struct | honoured as `default` |
//! | `skip` on a field | honoured: not stored, read as its default |
//! | `with`, `serialize_with`, `deserialize_with` | need `opaque` beside them |
//! | `flatten`, `skip_serializing_if`, `skip_serializing`, `skip_deserializing`, `tag`, `content`, `untagged`, `other`, `from`, `try_from`, `into`, `remote`, `skip` on a variant | refused, unless `codec = "json"`: postcard could write them but not read them back, or the shape could not be known |
//!
//! Indexes, children and versions (`index`, `child`, `version`, `from`) are not part of this release; using one is an error
//! that says so.

mod attributes;
mod case;
mod expand;
mod model;
#[cfg(test)]
mod tests;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a type a record type of a chain. See the crate's documentation for the attributes.
#[proc_macro_derive(Record, attributes(record, shape))]
pub fn derive_record(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::record(&input)
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}

/// Lets a type stand inside records. See the crate's documentation for the attributes.
#[proc_macro_derive(Shape, attributes(shape))]
pub fn derive_shape(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::shape(&input)
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}
