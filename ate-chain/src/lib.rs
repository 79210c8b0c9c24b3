//! ate-chain
