//! ate
