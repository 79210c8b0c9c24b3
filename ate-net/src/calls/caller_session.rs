//! The caller's side of a session: no clock, no socket, no task.

use std::collections::HashMap;

use ate_crypto::{CallKeys, CallSecret, Hash, Identity, Random};
use bytes::Bytes;
use parking_lot::Mutex;

use super::announcement::Announcement;
use super::error::{Fault, FrameError, SayError};
use super::frame::{CallId, Header, Kind, Parting, SessionId};
use super::limits::{
    CREDIT_CHUNKS, CallLimits, DEADLINE_MS_MAX, Now, SESSION_BYTES_MAX, SESSION_CALLS_MAX,
    SESSION_MS_MAX,
};
use super::opening;

/// What a service said.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answered {
    /// A piece of an answer; more comes.
    Chunk {
        /// The call.
        call: CallId,
        /// The piece.
        body: Bytes,
    },
    /// The last piece: the answer is whole.
    End {
        /// The call.
        call: CallId,
        /// The piece, possibly empty.
        body: Bytes,
    },
    /// The call ends without an answer.
    Failed {
        /// The call.
        call: CallId,
        /// Why.
        fault: Fault,
    },
    /// Something for a call that was cancelled here.
    Late {
        /// The call.
        call: CallId,
    },
    /// The service takes no more calls in this session. Those up to `last_call` are still answered; those behind it were not taken and never will be, so
    /// they may be made again elsewhere; not so if the reason is [`Parting::Clock`].
    Goodbye {
        /// The last call that was taken; 0 for none.
        last_call: CallId,
        /// Why.
        why: Parting,
    },
}

/// A session with one server of a service, as its caller holds it: one signature and one encapsulation, then symmetric keys. All methods may be called from
/// many threads.
///
/// Everything that comes from outside is opened before it changes anything: after an error the session is as it was, and what fits is still taken.
pub struct CallerSession {
    id: SessionId,
    keys: CallKeys,
    /// What remains to derive the keys of a refusal from.
    secret: CallSecret,
    transcript: Hash,
    opened_ticks_ms: u64,
    lifetime_ms: u32,
    limits: CallLimits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last_call: u64,
    sealed_bytes: u64,
    opened_bytes: u64,
    is_over: bool,
    calls: HashMap<u64, Open>,
}

struct Open {
    next: u32,
    allowed: u32,
    credits: u32,
    is_cancelled: bool,
}

impl CallerSession {
    /// Opens a session on a verified announcement; the bytes go first on the path to that server. Requests may follow at once. Costs one signature and one
    /// encapsulation, about 0.25 ms.
    ///
    /// # Errors
    /// [`SayError::Key`] if the announced key cannot keep a secret.
    pub fn open(
        identity: &Identity,
        announcement: &Announcement,
        now: Now,
        random: &dyn Random,
        limits: &CallLimits,
    ) -> Result<(Self, Bytes), SayError> {
        let mut id = [0; 16];
        random.fill(&mut id);
        let id = SessionId(id);
        let lifetime_ms = limits.session_ms.min(SESSION_MS_MAX);
        let (ct, secret) = announcement.key.encapsulate().map_err(|_| SayError::Key)?;
        let opened = opening::sign(identity, announcement, id, now.wall_ms, lifetime_ms, &ct);
        let session = Self {
            id,
            keys: secret.keys(&opened.transcript),
            secret,
            transcript: opened.transcript,
            opened_ticks_ms: now.ticks_ms,
            lifetime_ms,
            limits: *limits,
            state: Mutex::default(),
        };
        Ok((session, opened.bytes.into()))
    }

    /// The name of the session.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Whether another call may be begun.
    #[must_use]
    pub fn is_usable(&self, ticks_ms: u64) -> bool {
        let state = self.state.lock();
        state.may_begin() && self.age_ms(ticks_ms).is_some()
    }

    /// Makes a request that must be answered within `deadline_ms`, at least 1 and at most [`DEADLINE_MS_MAX`]. The number is the call's until it ends.
    ///
    /// # Errors
    /// [`SayError::TooLarge`], [`SayError::Full`]; [`SayError::Over`]: open another session.
    pub fn request(
        &self,
        ticks_ms: u64,
        deadline_ms: u32,
        body: &[u8],
    ) -> Result<(CallId, Bytes), SayError> {
        let max = self.limits.request_bytes_max;
        if body.len() > max {
            return Err(SayError::TooLarge {
                got: body.len(),
                max,
            });
        }
        let sent_ms = self.age_ms(ticks_ms).ok_or(SayError::Over)?;
        let call = {
            let mut state = self.state.lock();
            if !state.may_begin() {
                return Err(SayError::Over);
            }
            if state.calls.len() >= self.limits.session_open_calls_max {
                return Err(SayError::Full);
            }
            state.last_call += 1;
            state.sealed_bytes += body.len() as u64 + 64;
            let call = state.last_call;
            state.calls.insert(call, Open::new());
            call
        };
        let header = Header {
            kind: Kind::Request,
            session: self.id,
            call,
            numbers: [sent_ms, deadline_ms.clamp(1, DEADLINE_MS_MAX)],
        };
        Ok((CallId(call), header.seal(&self.keys.to_service, body)))
    }

    /// Takes a call back; `None` if it has ended or was taken back before. What still comes for it is [`Answered::Late`].
    pub fn cancel(&self, call: CallId) -> Option<Bytes> {
        let mut state = self.state.lock();
        let open = state.calls.get_mut(&call.0)?;
        if std::mem::replace(&mut open.is_cancelled, true) {
            return None;
        }
        let header = Header {
            kind: Kind::Cancel,
            session: self.id,
            call: call.0,
            numbers: [0; 2],
        };
        Some(header.seal(&self.keys.to_service, &[]))
    }

    /// Forgets a call whose request never left.
    pub fn forget(&self, call: CallId) {
        self.state.lock().calls.remove(&call.0);
    }

    /// Asks for `chunks` more pieces of an answer than were asked for so far; [`CREDIT_CHUNKS`] are at the beginning. `None` if the call has ended or the
    /// numbers are used up.
    pub fn credit(&self, call: CallId, chunks: u32) -> Option<Bytes> {
        let mut state = self.state.lock();
        let open = state.calls.get_mut(&call.0)?;
        open.allowed = open.allowed.checked_add(chunks)?;
        open.credits = open.credits.checked_add(1)?;
        let header = Header {
            kind: Kind::Credit,
            session: self.id,
            call: call.0,
            numbers: [open.credits, open.allowed],
        };
        Some(header.seal(&self.keys.to_service, &[]))
    }

    /// Takes what came from the service.
    ///
    /// # Errors
    /// [`FrameError`]: whoever forwards has changed, repeated, reordered, swapped or made something up. Nothing was changed by it.
    pub fn receive(&self, frame: &[u8]) -> Result<Answered, FrameError> {
        let (header, sealed) = Header::decode(frame)?;
        if header.session != self.id {
            return Err(FrameError::Elsewhere { what: "session" });
        }
        let mut state = self.state.lock();
        match header.kind {
            Kind::Chunk | Kind::End | Kind::Failed => {}
            Kind::Goodbye | Kind::Refused => return self.part(&mut state, &header, &sealed),
            Kind::Request | Kind::Cancel | Kind::Credit => return Err(FrameError::Forged),
        }
        let open = state.calls.get(&header.call).ok_or(FrameError::NoCall)?;
        let index = header.numbers[0];
        if index != open.next {
            return Err(FrameError::Replayed);
        }
        if header.kind == Kind::Chunk && index >= open.allowed {
            return Err(FrameError::Limit {
                what: "chunks that were asked for",
            });
        }
        let body = header.open(&self.keys.to_caller, &sealed)?;
        let fault = match header.kind {
            Kind::Failed => Some(Fault::decode(&body)?),
            _ => None,
        };
        state.opened_bytes += body.len() as u64 + 64;
        Ok(state.advance(&header, body.into(), fault))
    }

    fn part(
        &self,
        state: &mut State,
        header: &Header,
        sealed: &super::frame::Sealed<'_>,
    ) -> Result<Answered, FrameError> {
        if state.is_over {
            return Err(FrameError::Replayed);
        }
        let why = if header.kind == Kind::Goodbye {
            let body = header.open(&self.keys.to_caller, sealed)?;
            Parting::of(u32::from(body[0]))?
        } else {
            let why = Parting::of(header.numbers[0])?;
            let keys = self
                .secret
                .keys(&opening::refusal(&self.transcript, why.id()));
            header.open(&keys.to_caller, sealed)?;
            why
        };
        state.is_over = true;
        state.calls.retain(|call, _| *call <= header.call);
        Ok(Answered::Goodbye {
            last_call: CallId(header.call),
            why,
        })
    }

    /// Milliseconds since the opening; `None` when the time of the session is over.
    fn age_ms(&self, ticks_ms: u64) -> Option<u32> {
        let age = ticks_ms.saturating_sub(self.opened_ticks_ms);
        u32::try_from(age)
            .ok()
            .filter(|age| *age < self.lifetime_ms)
    }
}

impl State {
    fn may_begin(&self) -> bool {
        !self.is_over
            && self.last_call < SESSION_CALLS_MAX
            && self.sealed_bytes < SESSION_BYTES_MAX
            && self.opened_bytes < SESSION_BYTES_MAX
    }

    /// Counts an opened piece of an answer.
    fn advance(&mut self, header: &Header, body: Bytes, fault: Option<Fault>) -> Answered {
        let call = CallId(header.call);
        let is_cancelled = self.calls.get_mut(&call.0).is_some_and(|open| {
            open.next += 1;
            open.is_cancelled
        });
        if header.kind != Kind::Chunk {
            self.calls.remove(&call.0);
        }
        match (fault, header.kind) {
            _ if is_cancelled => Answered::Late { call },
            (Some(fault), _) => Answered::Failed { call, fault },
            (None, Kind::Chunk) => Answered::Chunk { call, body },
            (None, _) => Answered::End { call, body },
        }
    }
}

impl Open {
    const fn new() -> Self {
        Self {
            next: 0,
            allowed: CREDIT_CHUNKS,
            // The two places before belong to the request and its cancellation.
            credits: 1,
            is_cancelled: false,
        }
    }
}
