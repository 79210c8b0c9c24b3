//! The service's side of one session: no clock, no socket, no task.

use std::collections::HashMap;

use ate_crypto::{CallKeys, Who};
use bytes::Bytes;
use parking_lot::Mutex;

use super::error::{Fault, FrameError, SayError};
use super::frame::{CallId, Header, Kind, Parting, Sealed, SessionId};
use super::limits::{
    CALL_WINDOW, CHUNK_BYTES_MAX, CREDIT_CHUNKS, CallLimits, DEADLINE_MS_MAX, LATE_MS_MAX,
    SESSION_BYTES_MAX,
};

const WINDOW_WORDS: usize = (CALL_WINDOW / 64) as usize;

/// What a caller said.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Asked {
    /// A request, the first and only time.
    Request {
        /// The call.
        call: CallId,
        /// When it must be answered, by the ticks of this process.
        deadline_ticks_ms: u64,
        /// The request.
        body: Bytes,
    },
    /// A request that is not to be handled; this answers it.
    Refused {
        /// The call.
        call: CallId,
        /// The answer.
        answer: Bytes,
    },
    /// The caller took a call back. It still is to be ended, by [`ServiceSession::fail`].
    Cancelled {
        /// The call.
        call: CallId,
    },
    /// The caller wants more of an answer.
    More {
        /// The call.
        call: CallId,
    },
    /// Something for a call that has ended, or a request after the goodbye.
    Late,
}

/// A session with one caller, as a service holds it. All methods may be called from many threads.
pub struct ServiceSession {
    pub(super) id: SessionId,
    pub(super) caller: Who,
    pub(super) keys: CallKeys,
    pub(super) opened_ticks_ms: u64,
    pub(super) expires_ticks_ms: u64,
    pub(super) limits: CallLimits,
    pub(super) state: Mutex<State>,
}

pub(super) struct State {
    /// The newest call number taken, and the ones before it: bit `n % CALL_WINDOW` of number `n`.
    highest: u64,
    window: [u64; WINDOW_WORDS],
    calls: HashMap<u64, Running>,
    has_parted: bool,
    bytes: u64,
    used_ticks_ms: u64,
}

struct Running {
    next: u32,
    allowed: u32,
    credits: u32,
}

impl ServiceSession {
    /// The name of the session.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Who calls: it signed the opening of this session.
    #[must_use]
    pub fn caller(&self) -> &Who {
        &self.caller
    }

    /// When it takes no more calls, by the ticks of this process.
    #[must_use]
    pub fn expires_ticks_ms(&self) -> u64 {
        self.expires_ticks_ms
    }

    /// Takes what came from the caller.
    ///
    /// # Errors
    /// [`FrameError`]: whoever forwards has changed, repeated, reordered or made something up. Nothing was changed by it.
    pub fn receive(&self, ticks_ms: u64, frame: &[u8]) -> Result<Asked, FrameError> {
        let (header, sealed) = Header::decode(frame)?;
        if header.session != self.id {
            return Err(FrameError::Elsewhere { what: "session" });
        }
        match header.kind {
            Kind::Request => self.request(ticks_ms, &header, &sealed),
            Kind::Cancel | Kind::Credit => self.control(&header, &sealed),
            _ => Err(FrameError::Forged),
        }
    }

    fn request(
        &self,
        ticks_ms: u64,
        header: &Header,
        sealed: &Sealed<'_>,
    ) -> Result<Asked, FrameError> {
        if ticks_ms > self.expires_ticks_ms.saturating_add(LATE_MS_MAX) {
            return Err(FrameError::Expired);
        }
        let mut state = self.state.lock();
        if state.has_parted {
            return Ok(Asked::Late);
        }
        state.is_fresh(header.call)?;
        if state.bytes.saturating_add(sealed.len() as u64) > 2 * SESSION_BYTES_MAX {
            return Err(FrameError::Limit {
                what: "bytes of a session",
            });
        }
        let body = header.open(&self.keys.to_service, sealed)?;
        let [sent_ms, left_ms] = header.numbers;
        if !(1..=DEADLINE_MS_MAX).contains(&left_ms) {
            return Err(FrameError::Malformed {
                what: "no such deadline",
            });
        }
        state.take(header.call);
        state.bytes += sealed.len() as u64;
        state.used_ticks_ms = ticks_ms;
        let call = CallId(header.call);
        let is_full = state.calls.len() >= self.limits.session_open_calls_max;
        let deadline_ticks_ms = self.deadline(ticks_ms, sent_ms, left_ms);
        let fault = if body.len() > self.limits.request_bytes_max {
            Fault::TooLarge
        } else if is_full {
            Fault::Unavailable
        } else if deadline_ticks_ms <= ticks_ms {
            Fault::Deadline
        } else {
            state.calls.insert(call.0, Running::new());
            return Ok(Asked::Request {
                call,
                deadline_ticks_ms,
                body: body.into(),
            });
        };
        let answer = self.say(Kind::Failed, call.0, 0, &fault.encode());
        Ok(Asked::Refused { call, answer })
    }

    /// The earlier of: what is left, counted from now; what is left, counted from when the caller's clock says that it was sent. So a request that somebody
    /// held back does not run long after its caller gave it up.
    fn deadline(&self, ticks_ms: u64, sent_ms: u32, left_ms: u32) -> u64 {
        let left = u64::from(left_ms);
        let sent = self.opened_ticks_ms + u64::from(sent_ms) + LATE_MS_MAX;
        ticks_ms.saturating_add(left).min(sent + left)
    }

    fn control(&self, header: &Header, sealed: &Sealed<'_>) -> Result<Asked, FrameError> {
        header.open(&self.keys.to_service, sealed)?;
        let call = CallId(header.call);
        let mut state = self.state.lock();
        let Some(running) = state.calls.get_mut(&call.0) else {
            return Ok(Asked::Late);
        };
        if header.kind == Kind::Cancel {
            return Ok(Asked::Cancelled { call });
        }
        let [index, allowed] = header.numbers;
        if index <= running.credits {
            return Err(FrameError::Replayed);
        }
        running.credits = index;
        running.allowed = running.allowed.max(allowed);
        Ok(Asked::More { call })
    }

    /// A piece of an answer; more comes.
    ///
    /// # Errors
    /// [`SayError::NoCredit`]: wait for [`Asked::More`]. [`SayError::TooLarge`] above [`CHUNK_BYTES_MAX`]. [`SayError::NoCall`], [`SayError::Over`].
    pub fn chunk(&self, call: CallId, body: &[u8]) -> Result<Bytes, SayError> {
        check_chunk(body)?;
        let index = {
            let mut state = self.state.lock();
            state.spend(body.len())?;
            let running = state.calls.get_mut(&call.0).ok_or(SayError::NoCall)?;
            if running.next >= running.allowed {
                return Err(SayError::NoCredit);
            }
            running.next += 1;
            running.next - 1
        };
        Ok(self.say(Kind::Chunk, call.0, index, body))
    }

    /// The last piece of an answer.
    ///
    /// # Errors
    /// [`SayError::TooLarge`] above [`CHUNK_BYTES_MAX`]; the call is still open then. [`SayError::NoCall`], [`SayError::Over`].
    pub fn end(&self, call: CallId, body: &[u8]) -> Result<Bytes, SayError> {
        check_chunk(body)?;
        self.finish(Kind::End, call, body)
    }

    /// Ends a call without an answer.
    ///
    /// # Errors
    /// [`SayError::TooLarge`] for a handler's error of [`CHUNK_BYTES_MAX`] or more; the call is still open then. [`SayError::NoCall`], [`SayError::Over`].
    pub fn fail(&self, call: CallId, fault: &Fault) -> Result<Bytes, SayError> {
        let body = fault.encode();
        check_chunk(&body)?;
        self.finish(Kind::Failed, call, &body)
    }

    fn finish(&self, kind: Kind, call: CallId, body: &[u8]) -> Result<Bytes, SayError> {
        let index = {
            let mut state = self.state.lock();
            state.spend(body.len())?;
            state.calls.remove(&call.0).ok_or(SayError::NoCall)?.next
        };
        Ok(self.say(kind, call.0, index, body))
    }

    /// Takes no more calls; those that were taken are still to be answered. `None` if goodbye was said before.
    pub fn goodbye(&self, why: Parting) -> Option<Bytes> {
        let last_call = {
            let mut state = self.state.lock();
            if std::mem::replace(&mut state.has_parted, true) {
                return None;
            }
            state.highest
        };
        let header = Header {
            kind: Kind::Goodbye,
            session: self.id,
            call: last_call,
            numbers: [0; 2],
        };
        Some(header.seal(&self.keys.to_caller, &[why.id()]))
    }

    /// Calls that are open.
    #[must_use]
    pub fn open_calls(&self) -> usize {
        self.state.lock().calls.len()
    }

    /// When a request came last, and whether calls are open.
    pub(super) fn use_of(&self) -> (u64, bool) {
        let state = self.state.lock();
        (state.used_ticks_ms, !state.calls.is_empty())
    }

    fn say(&self, kind: Kind, call: u64, index: u32, body: &[u8]) -> Bytes {
        let header = Header {
            kind,
            session: self.id,
            call,
            numbers: [index, 0],
        };
        header.seal(&self.keys.to_caller, body)
    }
}

impl State {
    pub(super) fn new(ticks_ms: u64) -> Self {
        Self {
            highest: 0,
            window: [0; WINDOW_WORDS],
            calls: HashMap::new(),
            has_parted: false,
            bytes: 0,
            used_ticks_ms: ticks_ms,
        }
    }

    /// Whether a call number was never taken and is not too far behind to know.
    fn is_fresh(&self, call: u64) -> Result<(), FrameError> {
        if call > self.highest {
            return Ok(());
        }
        let (word, bit) = place(call);
        if self.highest - call >= CALL_WINDOW || self.window[word] & bit != 0 {
            return Err(FrameError::Replayed);
        }
        Ok(())
    }

    fn take(&mut self, call: u64) {
        if call > self.highest {
            // Numbers that are passed over take the places of numbers that leave the window.
            if call - self.highest >= CALL_WINDOW {
                self.window = [0; WINDOW_WORDS];
            } else {
                for passed in self.highest + 1..call {
                    let (word, bit) = place(passed);
                    self.window[word] &= !bit;
                }
            }
            self.highest = call;
        }
        let (word, bit) = place(call);
        self.window[word] |= bit;
    }

    fn spend(&mut self, bytes: usize) -> Result<(), SayError> {
        if self.bytes > 4 * SESSION_BYTES_MAX {
            return Err(SayError::Over);
        }
        self.bytes += bytes as u64 + 64;
        Ok(())
    }
}

impl Running {
    const fn new() -> Self {
        Self {
            next: 0,
            allowed: CREDIT_CHUNKS,
            credits: 1,
        }
    }
}

fn check_chunk(body: &[u8]) -> Result<(), SayError> {
    if body.len() > CHUNK_BYTES_MAX {
        return Err(SayError::TooLarge {
            got: body.len(),
            max: CHUNK_BYTES_MAX,
        });
    }
    Ok(())
}

fn place(call: u64) -> (usize, u64) {
    let at = call % CALL_WINDOW;
    ((at / 64) as usize, 1 << (at % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_taken_once_in_any_order_within_the_window() {
        let mut state = State::new(0);
        let mut taken = std::collections::HashSet::new();
        let mut number = 1u64;
        for _ in 0..20_000 {
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            // From some way beyond the far end of the window to a little ahead.
            let ahead = (number >> 33) % 1500;
            let call = (state.highest + 100).saturating_sub(ahead).max(1);
            let too_old = state.highest.saturating_sub(call) >= CALL_WINDOW;
            let fresh = state.is_fresh(call).is_ok();
            assert_eq!(fresh, !too_old && !taken.contains(&call), "call {call}");
            if fresh {
                state.take(call);
                taken.insert(call);
            }
        }
        assert!(taken.len() > 1000);
    }

    #[test]
    fn a_leap_forgets_no_number_that_is_still_in_the_window() {
        let mut state = State::new(0);
        for call in [1, 5, 5 + CALL_WINDOW - 1] {
            state.is_fresh(call).unwrap();
            state.take(call);
        }
        assert_eq!(state.is_fresh(5), Err(FrameError::Replayed));
        assert_eq!(
            state.is_fresh(1),
            Err(FrameError::Replayed),
            "too far behind"
        );
        state.is_fresh(6).unwrap();
        state.take(5 + 3 * CALL_WINDOW);
        assert_eq!(state.is_fresh(5 + CALL_WINDOW), Err(FrameError::Replayed));
        state.is_fresh(5 + 3 * CALL_WINDOW - 1).unwrap();
    }
}
