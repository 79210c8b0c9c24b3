//! ate
fn main() {}
