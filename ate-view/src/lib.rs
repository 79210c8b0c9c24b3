//! ate-view
