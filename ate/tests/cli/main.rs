//! The executable `ate` as its users meet it: arguments in; exit code, standard output, standard error and files out.
#![cfg(feature = "cli")]

mod backup;
#[cfg(unix)]
mod calls;
mod captured;
mod damaged;
mod demo;
mod documents;
mod handshake;
mod help;
mod identity;
mod import;
mod network;
mod node;
mod nodes;
mod processes;
mod proxy;
mod random;
mod ruin;
mod support;
mod upkeep;
mod verify;
mod watch;
