//! Tests that need commits which no draft would make.

mod decoders;
mod rules;
mod world;
