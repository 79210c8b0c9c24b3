//! ate-crypto
