//! Tests that need commits which no draft would make.

mod decoders;
mod false_grants;
mod rules;
mod world;
