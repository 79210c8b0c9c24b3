//! Tests that need commits which no draft would make.

mod decoders;
mod erasure;
mod false_grants;
mod rules;
pub(crate) mod world;
