//! Peers that mean harm: whatever they write, hold back or never read, memory stays bounded, nothing panics, and good peers are served.
#![allow(unreachable_pub, reason = "a test program with several files")]

#[path = "../common/mod.rs"]
mod common;
mod greeting;
mod node;
mod raw;
mod requests;
mod submitting;
