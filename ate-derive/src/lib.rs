//! ate-derive
