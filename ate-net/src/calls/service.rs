//! A server of a service: announces itself, takes sessions, runs handlers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use ate_chain::{ChainId, Clock};
use ate_crypto::{Identity, Random};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::Clocks;
use super::client::Known;
use super::error::PathError;
use super::frame::{Parting, SessionId};
use super::limits::CallLimits;
use super::path::{CallPath, ServingPath};
use super::sessions::ServiceSessions;
use crate::transport::Task;

mod handling;
mod visit;

pub use handling::{Answers, Handler, IncomingCall, Stopped};

/// Paths beyond the sessions that are kept: those that were just opened, and those that end.
const SPARE_PATHS: usize = 256;
/// How long to wait before a server announces itself again after its path was lost.
const AGAIN: Duration = Duration::from_secs(1);
/// How often it is looked whether all that was taken is answered.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// For the last answers to leave, before somebody ends the connection below them.
const ARRIVE_WITHIN: Duration = Duration::from_millis(100);

/// Who serves what, and whom.
#[derive(Clone)]
#[non_exhaustive]
pub struct ServiceSettings {
    /// Signs announcements.
    pub identity: Identity,
    /// The chain on which it serves.
    pub chain: ChainId,
    /// The name of the service.
    pub service: String,
    /// Which keys may call. Others are told that they are denied.
    pub may_call: Known,
    /// Tells the time to others.
    pub clock: Arc<dyn Clock>,
    /// Draws keys and names of announcements.
    pub random: Arc<dyn Random>,
    /// Limits of this side.
    pub limits: CallLimits,
}

impl ServiceSettings {
    /// Settings with the usual limits.
    #[must_use]
    pub fn new(
        identity: Identity,
        chain: ChainId,
        service: &str,
        may_call: Known,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        Self {
            identity,
            chain,
            service: service.to_owned(),
            may_call,
            clock,
            random,
            limits: CallLimits::default(),
        }
    }
}

/// Starts servers.
#[derive(Debug)]
#[non_exhaustive]
pub enum Service {}

impl Service {
    /// Announces a server and lets `handler` answer from now on, at most `handlers_max` calls at a time. It goes on, over new paths if need be, until the
    /// [`Serving`] is dropped. Must be polled within a tokio runtime with time enabled, which also runs the handlers.
    ///
    /// # Errors
    /// [`PathError`] if the server cannot be announced, or no service can have this name.
    pub fn serve(
        path: Arc<dyn CallPath>,
        settings: ServiceSettings,
        handler: Arc<dyn Handler>,
    ) -> Task<'static, Result<Serving, PathError>> {
        Box::pin(async move {
            let server = Arc::new(Server::new(settings, handler)?);
            let serving = server.announce(&*path).await?;
            let (stop, stopped) = oneshot::channel();
            let attending = tokio::spawn(attend(server.clone(), path, serving, stopped));
            Ok(Serving {
                server,
                stop,
                attending,
            })
        })
    }
}

/// Keeps a server serving. Dropped, the server is no longer announced and takes no more calls; its callers are told, and make what was not taken elsewhere.
/// Handlers that run are run to their end and answered, as long as the runtime lives.
#[must_use = "a server stops when this is dropped"]
pub struct Serving {
    server: Arc<Server>,
    /// Stops when it is dropped.
    stop: oneshot::Sender<()>,
    attending: JoinHandle<()>,
}

impl Serving {
    /// Sessions that callers have open here.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.server.sessions.session_count()
    }

    /// Takes no more calls, and is done when those that were taken are answered and their answers were handed on. What ends calls that nobody answers is
    /// their deadline.
    ///
    /// # Cancel safety
    /// Dropped before it is done, it is as if the [`Serving`] were dropped.
    pub fn finish(self) -> Task<'static, ()> {
        let Self {
            server,
            stop,
            attending,
        } = self;
        drop(stop);
        Box::pin(async move {
            // It fails only if the runtime ends.
            let _ = attending.await;
            while server.paths.available_permits() < server.paths_max() {
                // Those who came meanwhile are told too.
                server.tell(server.sessions.part(Parting::Closing));
                sleep(LOOK_EVERY).await;
            }
            sleep(ARRIVE_WITHIN).await;
        })
    }
}

struct Server {
    sessions: ServiceSessions,
    settings: ServiceSettings,
    clocks: Clocks,
    handler: Arc<dyn Handler>,
    /// Permits of handlers that run.
    handlers: Arc<Semaphore>,
    paths: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_bytes: AtomicUsize,
    visits: Mutex<HashMap<SessionId, Exit>>,
}

/// How to tell a session that it ends.
struct Exit {
    out: mpsc::Sender<Bytes>,
    leave: Arc<Notify>,
}

impl Server {
    fn new(settings: ServiceSettings, handler: Arc<dyn Handler>) -> Result<Self, PathError> {
        let limits = settings.limits;
        let sessions = ServiceSessions::new(
            &settings.identity,
            settings.chain,
            &settings.service,
            &limits,
        )
        .map_err(|error| PathError::new(error.to_string()))?;
        Ok(Self {
            sessions,
            clocks: Clocks::new(settings.clock.clone()),
            handler,
            handlers: Arc::new(Semaphore::new(limits.handlers_max)),
            paths: Arc::new(Semaphore::new(paths_max(&limits))),
            waiting: AtomicUsize::new(0),
            waiting_bytes: AtomicUsize::new(0),
            visits: Mutex::default(),
            settings,
        })
    }

    fn paths_max(&self) -> usize {
        paths_max(&self.settings.limits)
    }

    async fn announce(&self, path: &dyn CallPath) -> Result<Box<dyn ServingPath>, PathError> {
        let (id, bytes) = self
            .sessions
            .announce(self.clocks.now(), &*self.settings.random);
        path.serve(self.settings.chain, &self.settings.service, id, bytes)
            .await
    }

    /// Tells sessions that they end. What does not fit their queues is not told: the end of the path tells it too.
    fn tell(&self, partings: Vec<(SessionId, Bytes)>) {
        let visits = self.visits.lock();
        for (session, goodbye) in partings {
            if let Some(exit) = visits.get(&session) {
                let _ = exit.out.try_send(goodbye);
                exit.leave.notify_one();
            }
        }
    }
}

fn paths_max(limits: &CallLimits) -> usize {
    limits.sessions_max.saturating_add(SPARE_PATHS)
}

/// Takes paths until it is stopped.
async fn attend(
    server: Arc<Server>,
    path: Arc<dyn CallPath>,
    serving: Box<dyn ServingPath>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut serving = Some(serving);
    let half = Duration::from_millis(server.settings.limits.announcement_ms / 2);
    let mut renew_at = Instant::now() + half;
    loop {
        let Some(current) = &serving else {
            tokio::select! {
                _ = &mut stopped => break,
                () = sleep(AGAIN) => {}
            }
            renew_at = Instant::now() + half;
            serving = server.announce(&*path).await.ok();
            continue;
        };
        tokio::select! {
            _ = &mut stopped => break,
            () = sleep_until(renew_at) => {
                let (id, bytes) = server.sessions.announce(server.clocks.now(), &*server.settings.random);
                renew_at = Instant::now() + half;
                if current.renew(id, bytes).await.is_err() {
                    serving = None;
                }
            }
            accepted = current.accept() => match (accepted, server.paths.clone().try_acquire_owned()) {
                (Some(duplex), Ok(room)) => drop(tokio::spawn(visit::attend(server.clone(), duplex, room))),
                // Dropping the path is the answer when there is no room even to refuse.
                (Some(_), Err(_)) => {}
                (None, _) => serving = None,
            }
        }
    }
    // First nobody finds it any more, then those who did are told.
    drop(serving);
    server.tell(server.sessions.part(Parting::Closing));
}
