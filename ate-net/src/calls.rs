//! Calls: requests and answers between members of a chain, sealed end to end, through a node that can neither read nor make them.
//!
//! A *server* of a *service* shows a signed [`Announcement`] with a fresh key. A *caller* that believes the signing key opens a *session* on it: one
//! signature and one encapsulation, from which a key for each direction comes. Then requests and answers are sealed frames, each at a place of its own.
//! [`CallerSession`], [`ServiceSessions`] and [`ServiceSession`] are these rules without a socket, clock or task; [`Caller`] and [`Service`] drive them over
//! a [`CallPath`]. The bytes are told in `docs/calls.md`.
//!
//! # Invariants
//! 1. **A request is taken at most once**: openings are remembered for as long as they would be believed, call numbers within a session are a window.
//! 2. **What arrives is what was said there**: session, direction, call, number and kind are authenticated with every frame. A forwarder can refuse and delay;
//!    it cannot read, change, swap, repeat, reorder within a call, turn back, or cut an answer short without it being seen.
//! 3. **Whoever answers holds the announced key; whoever asks signed the opening.** A node can be neither.
//! 4. **Everything is bounded**: frames, sessions, openings remembered, open calls, waiting requests and their bytes, chunks in flight ([`CallLimits`]).
//! 5. **An outcome that is not known is said to be unknown.** A call is made again by itself only if the service said, sealed, that it was not taken, or the
//!    request never left.
//!
//! A forwarder sees who calls whom, names of services, sizes, times, kinds and numbers of frames.

mod announcement;
mod caller_session;
mod client;
mod codec;
mod error;
mod frame;
mod hub;
mod limits;
mod opening;
mod path;
mod service;
mod service_session;
mod sessions;
mod streamed;

pub use announcement::{ANNOUNCEMENT_BYTES_MAX, Announcement, AnnouncementId, Route};
pub use caller_session::{Answered, CallerSession};
pub use client::{AnswerStream, CallOptions, Caller, CallerSettings, Known, Retry};
pub use error::{CallFailure, Fault, FrameError, PathError, SayError};
pub use frame::{CallId, Parting, SessionId};
pub use hub::{MemoryHub, memory_duplex};
pub use limits::{
    ANNOUNCEMENT_MS_MAX, CALL_WINDOW, CHUNK_BYTES_MAX, CREDIT_CHUNKS, CallLimits, DEADLINE_MS_MAX,
    FRAME_BYTES_MAX, LATE_MS_MAX, Now, REQUEST_BYTES_MAX, SERVICE_NAME_BYTES_MAX,
    SESSION_BYTES_MAX, SESSION_CALLS_MAX, SESSION_MS_MAX, SKEW_MS_MAX,
};
pub use opening::OPENING_BYTES_MAX;
pub use path::{CallPath, Duplex, FrameSink, FrameSource, ServingPath};
pub use service::{Answers, Handler, IncomingCall, Service, ServiceSettings, Serving, Stopped};
pub use service_session::{Asked, ServiceSession};
pub use sessions::{Accepted, NotAccepted, NotAcceptedWhy, ServiceSessions};
pub(crate) use streamed::streamed;

/// `T(tag) ‖ parts`: what a signature covers.
fn labelled(tag: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(8192);
    out.push(u8::try_from(tag.len()).expect("a tag is short"));
    out.extend_from_slice(tag.as_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// Both clocks of a process: `wall` from the [`Clock`](ate_chain::Clock) that was given, ticks from the runtime.
#[derive(Clone)]
struct Clocks {
    wall: std::sync::Arc<dyn ate_chain::Clock>,
    start: tokio::time::Instant,
}

impl Clocks {
    fn new(wall: std::sync::Arc<dyn ate_chain::Clock>) -> Self {
        Self {
            wall,
            start: tokio::time::Instant::now(),
        }
    }

    fn ticks_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn now(&self) -> Now {
        Now {
            wall_ms: self.wall.now_ms(),
            ticks_ms: self.ticks_ms(),
        }
    }
}
