//! One call, from its request to its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ate_crypto::Who;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::super::error::{Fault, SayError};
use super::super::frame::{CallId, SessionId};
use super::super::limits::CHUNK_BYTES_MAX;
use super::Server;
use super::visit::Visit;
use crate::transport::Task;

/// Answers calls. Functions `async fn(IncomingCall, Answers) -> Result<Bytes, Fault>` are handlers.
///
/// What is returned ends the answer, behind the pieces that were sent before. The future is dropped when the caller takes the call back or its deadline goes
/// by; work that must go on belongs to a task of its own.
pub trait Handler: Send + Sync + 'static {
    /// Answers one call.
    fn handle(&self, call: IncomingCall, answers: Answers) -> Task<'static, Result<Bytes, Fault>>;
}

impl<F, A> Handler for F
where
    F: Fn(IncomingCall, Answers) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Bytes, Fault>> + Send + 'static,
{
    fn handle(&self, call: IncomingCall, answers: Answers) -> Task<'static, Result<Bytes, Fault>> {
        Box::pin(self(call, answers))
    }
}

/// A request as a handler gets it: its caller is verified. Cheap to clone.
#[derive(Clone)]
pub struct IncomingCall {
    caller: Who,
    session: SessionId,
    body: Bytes,
    state: Arc<CallState>,
}

impl IncomingCall {
    /// Who calls: it signed the opening of the session.
    #[must_use]
    pub fn caller(&self) -> &Who {
        &self.caller
    }

    /// The session in which it came.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The request.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The time that is left; zero when it is over.
    #[must_use]
    pub fn deadline_left(&self) -> Duration {
        self.state
            .deadline
            .saturating_duration_since(Instant::now())
    }

    /// Whether nobody waits for the answer any more. For work that was handed to a thread: the handler itself is dropped.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.state.is_cancelled.load(Ordering::Acquire) || self.deadline_left().is_zero()
    }
}

/// What a call and its session know of each other.
pub(super) struct CallState {
    deadline: Instant,
    is_cancelled: AtomicBool,
    cancelled: Notify,
    /// The caller wants more of the answer.
    pub(super) more: Notify,
    /// Numbers of an answer are given and queued in one order.
    order: Mutex<()>,
}

impl CallState {
    pub(super) fn new(deadline: Instant) -> Self {
        Self {
            deadline,
            is_cancelled: AtomicBool::new(false),
            cancelled: Notify::new(),
            more: Notify::new(),
            order: Mutex::new(()),
        }
    }

    pub(super) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Release);
        self.cancelled.notify_one();
    }
}

/// A request that is waiting or handled; counted until this is dropped.
pub(super) struct Waiting {
    server: Arc<Server>,
    bytes: usize,
}

impl Waiting {
    pub(super) fn new(server: Arc<Server>, bytes: usize) -> Self {
        Self { server, bytes }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.server.waiting.fetch_sub(1, Ordering::Relaxed);
        self.server
            .waiting_bytes
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Why a piece of an answer was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Stopped {
    /// The call has ended: taken back, answered, or its path is gone.
    #[error("the call has ended")]
    Ended,
    /// The piece is larger than [`CHUNK_BYTES_MAX`].
    #[error("a piece of an answer is too large")]
    TooLarge,
}

/// Sends an answer in pieces, before the handler returns its end.
pub struct Answers {
    visit: Arc<Visit>,
    call: CallId,
    state: Arc<CallState>,
}

impl Answers {
    /// Sends a piece of at most [`CHUNK_BYTES_MAX`], waiting until the caller has taken enough of those before.
    ///
    /// # Errors
    /// [`Stopped`].
    ///
    /// # Cancel safety
    /// The piece is sent or not.
    pub fn send(&mut self, piece: Bytes) -> Task<'_, Result<(), Stopped>> {
        Box::pin(async move {
            loop {
                let place = self.visit.out.reserve().await;
                let place = place.map_err(|_| Stopped::Ended)?;
                let order = self.state.order.lock();
                match self.visit.session.chunk(self.call, &piece) {
                    Ok(frame) => {
                        place.send(frame);
                        return Ok(());
                    }
                    Err(SayError::NoCredit) => {}
                    Err(SayError::TooLarge { .. }) => return Err(Stopped::TooLarge),
                    Err(_) => return Err(Stopped::Ended),
                }
                drop(order);
                drop(place);
                self.state.more.notified().await;
            }
        })
    }

    /// Sends all of a body but its last piece, which is returned.
    async fn send_large(&mut self, mut body: Bytes) -> Result<Bytes, Fault> {
        while body.len() > CHUNK_BYTES_MAX {
            let piece = body.split_to(CHUNK_BYTES_MAX);
            self.send(piece).await.map_err(|_| Fault::Cancelled)?;
        }
        Ok(body)
    }
}

/// Waits for a handler's turn, lets it answer, and ends the call, whatever happens.
pub(super) async fn run(
    visit: Arc<Visit>,
    call: CallId,
    state: Arc<CallState>,
    body: Bytes,
    waiting: Waiting,
) {
    let mut ending = Ending {
        visit: visit.clone(),
        call,
        state: state.clone(),
        is_answered: false,
    };
    let answered = answer(&visit, call, &state, body);
    let result = tokio::select! {
        biased;
        () = state.cancelled.notified() => Err(Fault::Cancelled),
        () = sleep_until(state.deadline) => Err(Fault::Deadline),
        result = answered => result,
    };
    // Whoever still holds the call learns that nobody waits.
    state.is_cancelled.store(true, Ordering::Release);
    ending.finish(result).await;
    drop(waiting);
}

async fn answer(
    visit: &Arc<Visit>,
    call: CallId,
    state: &Arc<CallState>,
    body: Bytes,
) -> Result<Bytes, Fault> {
    let server = &visit.server;
    let turn = server.handlers.acquire().await;
    let _turn = turn.map_err(|_| Fault::Unavailable)?;
    let incoming = IncomingCall {
        caller: visit.session.caller().clone(),
        session: visit.session.id(),
        body,
        state: state.clone(),
    };
    let answers = || Answers {
        visit: visit.clone(),
        call,
        state: state.clone(),
    };
    let body = server.handler.handle(incoming, answers()).await?;
    answers().send_large(body).await
}

/// Ends a call once; also if its handler panics.
struct Ending {
    visit: Arc<Visit>,
    call: CallId,
    state: Arc<CallState>,
    is_answered: bool,
}

impl Ending {
    async fn finish(&mut self, result: Result<Bytes, Fault>) {
        let Ok(place) = self.visit.out.reserve().await else {
            return;
        };
        self.is_answered = true;
        let _order = self.state.order.lock();
        let frame = match result {
            Ok(body) => self.visit.session.end(self.call, &body),
            Err(fault) => self.visit.session.fail(self.call, &fault),
        };
        match frame {
            Ok(frame) => place.send(frame),
            // A handler's error that is too large to be told.
            Err(SayError::TooLarge { .. }) => {
                if let Ok(frame) = self.visit.session.fail(self.call, &Fault::TooLarge) {
                    place.send(frame);
                }
            }
            Err(_) => {}
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if !self.is_answered
            && let Ok(frame) = self.visit.session.fail(self.call, &Fault::Broken)
        {
            let _order = self.state.order.lock();
            // If the queue is full the caller's deadline tells it.
            let _ = self.visit.out.try_send(frame);
        }
        self.visit.running.lock().remove(&self.call);
        self.visit.done.notify_one();
    }
}
