//! ate-log
