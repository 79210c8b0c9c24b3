//! Calls end to end: what is taken, what is refused, and what a forwarder can do about it.

mod bounds;
mod driving;
mod hostile;
mod layout;
mod protocol;
mod support;
mod tampering;
