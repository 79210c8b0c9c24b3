//! One session with one server, and the tasks that move its frames.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::super::Clocks;
use super::super::announcement::Announcement;
use super::super::caller_session::{Answered, CallerSession};
use super::super::error::{CallFailure, Fault, SayError};
use super::super::frame::{CallId, Parting};
use super::super::limits::DEADLINE_MS_MAX;
use super::super::path::{FrameSink, FrameSource};
use super::Inner;
use super::pool::Chosen;
use super::stream::AnswerStream;

/// Frames that wait to be written.
const QUEUE_MAX: usize = 64;

/// How a call ends without an answer, as seen by whoever may make it again.
pub(super) enum Ended {
    /// It is over.
    Failure(CallFailure),
    /// Certainly not done, and this server has no room: another may.
    Elsewhere(CallFailure),
    /// Certainly not done: another session will do.
    Again(CallFailure),
    /// The path ended after the request left.
    Lost,
}

impl Ended {
    pub(super) fn into_failure(self) -> CallFailure {
        match self {
            Self::Failure(failure) | Self::Elsewhere(failure) | Self::Again(failure) => failure,
            Self::Lost => CallFailure::Unknown,
        }
    }
}

/// What the reader tells a call.
pub(super) enum Event {
    Chunk(Bytes),
    End(Bytes),
    Ended(Ended),
}

/// A session and the way to its server. Dropping it ends the path.
pub(super) struct Link {
    shared: Arc<Shared>,
    out: mpsc::Sender<Outgoing>,
    room: Arc<Semaphore>,
    /// Held by whoever numbers a request, until it is queued.
    order: Mutex<()>,
    /// Ends the reader when it is dropped.
    _end: oneshot::Sender<Infallible>,
}

struct Shared {
    session: CallerSession,
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    waiting: HashMap<CallId, Waiting>,
    is_lost: bool,
    parted: Option<(CallId, Parting)>,
}

struct Waiting {
    /// Bounded by the chunks that were asked for.
    events: mpsc::UnboundedSender<Event>,
    has_left: Arc<AtomicBool>,
}

struct Outgoing {
    frame: Bytes,
    has_left: Option<Arc<AtomicBool>>,
}

fn unreachable(why: &str) -> CallFailure {
    CallFailure::Unreachable {
        why: why.to_owned(),
    }
}

impl Link {
    pub(super) async fn open(
        caller: &Inner,
        announcement: &Announcement,
    ) -> Result<Arc<Self>, Ended> {
        let settings = &caller.settings;
        let duplex = caller
            .path
            .open(settings.chain, &announcement.service, announcement.id)
            .await
            .map_err(|error| Ended::Elsewhere(CallFailure::Unreachable { why: error.why }))?;
        let (session, opening) = CallerSession::open(
            &settings.identity,
            announcement,
            caller.clocks.now(),
            &*settings.random,
            &settings.limits,
        )
        .map_err(|error| Ended::Elsewhere(unreachable(&error.to_string())))?;
        let shared = Arc::new(Shared {
            session,
            calls: Mutex::default(),
        });
        let (out, queue) = mpsc::channel(QUEUE_MAX);
        let (end, ended) = oneshot::channel();
        tokio::spawn(write(shared.clone(), duplex.send, opening, queue));
        tokio::spawn(read(shared.clone(), duplex.receive, ended));
        Ok(Arc::new(Self {
            shared,
            out,
            room: Arc::new(Semaphore::new(settings.limits.session_open_calls_max)),
            order: Mutex::default(),
            _end: end,
        }))
    }

    pub(super) fn is_usable(&self, clocks: &Clocks) -> bool {
        let calls = self.shared.calls.lock();
        !calls.is_lost && calls.parted.is_none() && self.shared.session.is_usable(clocks.ticks_ms())
    }

    /// Puts a request on its way.
    pub(super) async fn begin(
        self: Arc<Self>,
        clocks: &Clocks,
        body: &[u8],
        deadline: Instant,
        chosen: Chosen,
    ) -> Result<AnswerStream, Ended> {
        let room = self.room.clone().acquire_owned().await;
        let room = room.map_err(|_| self.why_over())?;
        let place = self.out.reserve().await.map_err(|_| self.why_over())?;
        let left = deadline.saturating_duration_since(Instant::now());
        let left_ms = u32::try_from(left.as_millis()).unwrap_or(DEADLINE_MS_MAX);
        let session = &self.shared.session;
        // Numbers are given and queued in one order: one that came a thousand behind would be taken for a repetition, and the path be cut.
        let _order = self.order.lock();
        let (call, frame) = session
            .request(clocks.ticks_ms(), left_ms, body)
            .map_err(|error| match error {
                SayError::TooLarge { .. } => Ended::Failure(CallFailure::TooLarge),
                SayError::Full => Ended::Elsewhere(CallFailure::Unavailable),
                _ => self.why_over(),
            })?;
        let (events, arrives) = mpsc::unbounded_channel();
        let has_left = Arc::new(AtomicBool::new(false));
        {
            let mut calls = self.shared.calls.lock();
            if calls.is_lost || calls.parted.is_some() {
                session.forget(call);
                return Err(calls.why_over());
            }
            let has_left = has_left.clone();
            calls.waiting.insert(call, Waiting { events, has_left });
        }
        let has_left = Some(has_left);
        place.send(Outgoing { frame, has_left });
        Ok(AnswerStream::new(
            self.clone(),
            call,
            arrives,
            deadline,
            (chosen, room),
        ))
    }

    /// Why a request did not leave.
    fn why_over(&self) -> Ended {
        self.shared.calls.lock().why_over()
    }

    /// Asks for more of an answer.
    pub(super) async fn credit(&self, call: CallId, chunks: u32) {
        // A path that has ended shows elsewhere.
        if let Ok(place) = self.out.reserve().await
            && let Some(frame) = self.shared.session.credit(call, chunks)
        {
            place.send(Outgoing {
                frame,
                has_left: None,
            });
        }
    }

    /// Takes a call back, as far as the queue has room: otherwise the deadline ends it.
    pub(super) fn cancel(&self, call: CallId) {
        self.shared.calls.lock().waiting.remove(&call);
        if let Ok(place) = self.out.try_reserve()
            && let Some(frame) = self.shared.session.cancel(call)
        {
            place.send(Outgoing {
                frame,
                has_left: None,
            });
        }
    }
}

impl Shared {
    /// Tells a call what came for it.
    fn tell(&self, answered: Answered) {
        let mut calls = self.calls.lock();
        let (call, event) = match answered {
            Answered::Chunk { call, body } => {
                if let Some(waiting) = calls.waiting.get(&call) {
                    // Whoever dropped its stream has taken the call back.
                    let _ = waiting.events.send(Event::Chunk(body));
                }
                return;
            }
            Answered::End { call, body } => (call, Event::End(body)),
            Answered::Failed { call, fault } => (call, Event::Ended(of_fault(fault))),
            Answered::Late { .. } => return,
            Answered::Goodbye { last_call, why } => {
                if why == Parting::Clock {
                    tracing::warn!(
                        "a server says that its clock and the one here are too far apart"
                    );
                }
                return calls.part(last_call, why);
            }
        };
        if let Some(waiting) = calls.waiting.remove(&call) {
            let _ = waiting.events.send(event);
        }
    }

    /// The path has ended: what has left may have been done.
    fn lose(&self) {
        let mut calls = self.calls.lock();
        calls.is_lost = true;
        for (_, waiting) in calls.waiting.drain() {
            let ended = if waiting.has_left.load(Ordering::Acquire) {
                Ended::Lost
            } else {
                Ended::Elsewhere(unreachable("the path ended"))
            };
            let _ = waiting.events.send(Event::Ended(ended));
        }
    }
}

impl Calls {
    /// Why a request did not leave.
    fn why_over(&self) -> Ended {
        match self.parted {
            Some((_, Parting::Clock)) => {
                let why = "the clocks of caller and server are too far apart";
                Ended::Elsewhere(unreachable(why))
            }
            Some((_, why)) => of_parting(why),
            None => Ended::Again(unreachable("the session is over")),
        }
    }

    fn part(&mut self, last_call: CallId, why: Parting) {
        self.parted = Some((last_call, why));
        let not_taken: Vec<CallId> = self.waiting.keys().copied().collect();
        for call in not_taken.into_iter().filter(|call| *call > last_call) {
            if let Some(waiting) = self.waiting.remove(&call) {
                let _ = waiting.events.send(Event::Ended(of_parting(why)));
            }
        }
    }
}

fn of_parting(why: Parting) -> Ended {
    match why {
        Parting::Denied => Ended::Failure(CallFailure::Denied),
        Parting::Busy => Ended::Elsewhere(CallFailure::Unavailable),
        Parting::Expired | Parting::Evicted => {
            Ended::Again(unreachable("the server ended the session"))
        }
        Parting::Closing => Ended::Elsewhere(unreachable("the server stops")),
        // An opening that was taken long ago, played again, gets this answer too.
        Parting::Clock => Ended::Lost,
    }
}

fn of_fault(fault: Fault) -> Ended {
    Ended::Failure(match fault {
        Fault::Handler(body) => CallFailure::Handler(body),
        Fault::Denied => CallFailure::Denied,
        Fault::Deadline => CallFailure::Deadline,
        Fault::Unavailable => return Ended::Elsewhere(CallFailure::Unavailable),
        Fault::TooLarge => CallFailure::TooLarge,
        Fault::BadRequest => CallFailure::BadRequest,
        // Nobody here took it back, or the handler broke.
        Fault::Cancelled | Fault::Broken => CallFailure::Unknown,
    })
}

async fn write(
    shared: Arc<Shared>,
    mut sink: Box<dyn FrameSink>,
    opening: Bytes,
    mut queue: mpsc::Receiver<Outgoing>,
) {
    let mut next = Some(Outgoing {
        frame: opening,
        has_left: None,
    });
    while let Some(outgoing) = next {
        if let Some(has_left) = outgoing.has_left {
            has_left.store(true, Ordering::Release);
        }
        if sink.send(outgoing.frame).await.is_err() {
            return shared.lose();
        }
        next = queue.recv().await;
    }
}

async fn read(
    shared: Arc<Shared>,
    mut source: Box<dyn FrameSource>,
    mut ended: oneshot::Receiver<Infallible>,
) {
    loop {
        let frame = tokio::select! {
            frame = source.receive() => frame,
            _ = &mut ended => break,
        };
        let Ok(Some(frame)) = frame else { break };
        match shared.session.receive(&frame) {
            Ok(answered) => shared.tell(answered),
            Err(error) => {
                // Only a forwarder makes this: nothing that it brings can be relied on.
                tracing::warn!(session = ?shared.session.id(), %error, "a path was cut");
                break;
            }
        }
    }
    shared.lose();
}
