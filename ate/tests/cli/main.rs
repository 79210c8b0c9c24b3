//! The executable `ate` as its users meet it: arguments in; exit code, standard output, standard error and files out.
#![cfg(feature = "cli")]

mod backup;
mod damaged;
mod demo;
mod documents;
mod help;
mod identity;
mod import;
mod nodes;
mod processes;
mod support;
mod upkeep;
mod verify;
mod watch;
