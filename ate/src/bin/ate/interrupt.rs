//! The first Ctrl-C asks a command to end after the commit in flight; the second ends it at once.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::Code;
use crate::output::say;

static ASKED: AtomicBool = AtomicBool::new(false);

/// Takes over Ctrl-C (and the request to terminate) from here on. Until then they end the process as ever, so a command
/// calls this when it is about to write.
pub(crate) fn listen() {
    listen_to("ending after the commit in flight");
}

/// As [`listen`], for a command that ends otherwise.
pub(crate) fn listen_to(ending: &'static str) {
    listen_with(ending, || {
        say("ate: ended at once; whether the last commit is in shows the next `ate log`");
    });
}

/// As [`listen_to`], for a command that has something to do or to say when it is ended at once.
pub(crate) fn listen_with(ending: &'static str, at_once: fn()) {
    let handler = move || {
        if ASKED.swap(true, Ordering::Relaxed) {
            at_once();
            std::process::exit(Code::Unknown.number().into());
        }
        say(format_args!("ate: {ending}; again to end at once"));
    };
    // It fails only if a handler was set before; then that one does the same.
    let _ = ctrlc::set_handler(handler);
}

/// Whether it is time to end.
pub(crate) fn is_asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}
