//! One path of one caller, from its opening to its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};
use tokio::time::{sleep_until, timeout};

use super::super::error::Fault;
use super::super::frame::{CallId, Parting};
use super::super::path::{Duplex, FrameSink, FrameSource};
use super::super::service_session::{Asked, ServiceSession};
use super::handling::{CallState, Waiting, run};
use super::{Exit, Server};

/// How long a path may stand before its opening has come.
const OPENING_WAIT: Duration = Duration::from_secs(10);
/// How long a frame may wait for its reader before the path is cut.
const READER_WAIT: Duration = Duration::from_secs(30);
/// Frames that wait to be written.
const QUEUE_MAX: usize = 64;

/// A session with its path, as its calls see it.
pub(super) struct Visit {
    pub(super) server: Arc<Server>,
    pub(super) session: Arc<ServiceSession>,
    pub(super) out: mpsc::Sender<Bytes>,
    pub(super) running: Mutex<HashMap<CallId, Arc<CallState>>>,
    /// A call has ended.
    pub(super) done: Notify,
}

/// Takes the opening of a path, then its requests, until it ends.
///
/// The room is given back when all that was said is written.
pub(super) async fn attend(server: Arc<Server>, duplex: Duplex, room: OwnedSemaphorePermit) {
    let Duplex {
        mut send,
        mut receive,
    } = duplex;
    let Ok(Ok(Some(opening))) = timeout(OPENING_WAIT, receive.receive()).await else {
        return;
    };
    let may_call = server.settings.may_call.clone();
    let accepted = match server
        .sessions
        .accept(server.clocks.now(), &opening, &*may_call)
    {
        Ok(accepted) => accepted,
        Err(refused) => {
            tracing::debug!(service = server.settings.service, why = %refused.why, "a session was refused");
            if let Some(answer) = refused.answer {
                // Nobody is served worse if this does not arrive.
                let _ = timeout(READER_WAIT, send.send(answer)).await;
                linger(&mut *receive).await;
            }
            return;
        }
    };
    server.tell(accepted.evicted);
    let (out, queue) = mpsc::channel(QUEUE_MAX);
    let (leave, cut) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    tokio::spawn(write(send, queue, cut.clone(), room));
    let session = accepted.session;
    let exit = Exit {
        out: out.clone(),
        leave: leave.clone(),
    };
    server.visits.lock().insert(session.id(), exit);
    let visit = Arc::new(Visit {
        server: server.clone(),
        session,
        out,
        running: Mutex::default(),
        done: Notify::new(),
    });
    visit.attend(&mut *receive, &leave, &cut).await;
    // The caller is gone, or was answered: what still runs is for nobody.
    visit.running.lock().values().for_each(|call| call.cancel());
    server.visits.lock().remove(&visit.session.id());
    server.sessions.close(&visit.session.id());
}

/// Lets a refusal arrive: the caller reads it and ends the path.
async fn linger(receive: &mut dyn FrameSource) {
    let ended = async { while let Ok(Some(_)) = receive.receive().await {} };
    let _ = timeout(OPENING_WAIT, ended).await;
}

impl Visit {
    async fn attend(self: &Arc<Self>, receive: &mut dyn FrameSource, leave: &Notify, cut: &Notify) {
        let clocks = &self.server.clocks;
        let expires = clocks.start + Duration::from_millis(self.session.expires_ticks_ms());
        let mut is_leaving = false;
        loop {
            if is_leaving && self.session.open_calls() == 0 {
                return;
            }
            tokio::select! {
                () = cut.notified() => return,
                () = leave.notified() => is_leaving = true,
                () = sleep_until(expires), if !is_leaving => {
                    is_leaving = true;
                    if let Some(goodbye) = self.session.goodbye(Parting::Expired) {
                        let _ = self.out.try_send(goodbye);
                    }
                }
                () = self.done.notified(), if is_leaving => {}
                frame = receive.receive() => {
                    let Ok(Some(frame)) = frame else { return };
                    match self.session.receive(clocks.ticks_ms(), &frame) {
                        Ok(asked) => if self.heed(asked).await.is_none() { return },
                        Err(error) => {
                            tracing::warn!(session = ?self.session.id(), %error, "a path was cut");
                            return;
                        }
                    }
                }
            }
        }
    }

    /// `None` if the path cannot be written any more.
    async fn heed(self: &Arc<Self>, asked: Asked) -> Option<()> {
        match asked {
            Asked::Request {
                call,
                deadline_ticks_ms,
                body,
            } => self.take(call, deadline_ticks_ms, body).await,
            Asked::Refused { answer, .. } => self.out.send(answer).await.ok(),
            Asked::Cancelled { call } => {
                if let Some(state) = self.running.lock().get(&call) {
                    state.cancel();
                }
                Some(())
            }
            Asked::More { call } => {
                if let Some(state) = self.running.lock().get(&call) {
                    state.more.notify_one();
                }
                Some(())
            }
            Asked::Late => Some(()),
        }
    }

    async fn take(self: &Arc<Self>, call: CallId, deadline_ms: u64, body: Bytes) -> Option<()> {
        let Some(waiting) = Waiting::count(&self.server, body.len()) else {
            let place = self.out.reserve().await.ok()?;
            if let Ok(answer) = self.session.fail(call, &Fault::Unavailable) {
                place.send(answer);
            }
            return Some(());
        };
        let deadline = self.server.clocks.start + Duration::from_millis(deadline_ms);
        let state = Arc::new(CallState::new(deadline));
        self.running.lock().insert(call, state.clone());
        tokio::spawn(run(self.clone(), call, state, body, waiting));
        Some(())
    }
}

impl Waiting {
    /// Counts a request, if there is room for it to wait.
    fn count(server: &Arc<Server>, bytes: usize) -> Option<Self> {
        let limits = &server.settings.limits;
        let requests = server.waiting.fetch_add(1, Ordering::Relaxed);
        let before = server.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let counted = Self::new(server.clone(), bytes);
        let fits = requests < limits.waiting_max + limits.handlers_max
            && before.saturating_add(bytes) <= limits.waiting_bytes_max;
        fits.then_some(counted)
    }
}

async fn write(
    mut sink: Box<dyn FrameSink>,
    mut queue: mpsc::Receiver<Bytes>,
    cut: Arc<Notify>,
    _room: OwnedSemaphorePermit,
) {
    while let Some(frame) = queue.recv().await {
        if !matches!(timeout(READER_WAIT, sink.send(frame)).await, Ok(Ok(()))) {
            cut.notify_one();
            return;
        }
    }
}
