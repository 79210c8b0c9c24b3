//! Identities, both sides of a session, and a hub that can be told to misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ate_chain::{ChainId, Clock};
use ate_crypto::{Hash, Identity, KeyId, Seed, SeededRandom};
use ate_net::Task;
use ate_net::calls::{
    Accepted, Announcement, AnnouncementId, Answers, CallLimits, CallOptions, CallPath, Caller,
    CallerSession, CallerSettings, Duplex, Fault, Handler, IncomingCall, Known, MemoryHub,
    NotAccepted, Now, PathError, Service, ServiceSession, ServiceSessions, ServiceSettings,
    Serving, ServingPath, memory_duplex,
};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

pub(crate) const CHAIN: ChainId = ChainId(Hash([7; 32]));
pub(crate) const SERVICE: &str = "ping";
pub(crate) const START_MS: u64 = 1_700_000_000_000;

pub(crate) fn identity(number: u64) -> Identity {
    Identity::from_seed(&Seed::generate(&SeededRandom::new(number)))
}

pub(crate) fn now(after_ms: u64) -> Now {
    let mut now = Now {
        wall_ms: START_MS,
        ticks_ms: 1000,
    };
    now.wall_ms += after_ms;
    now.ticks_ms += after_ms;
    now
}

/// One server and one caller without anything between them.
pub(crate) struct Sides {
    pub(crate) sessions: ServiceSessions,
    pub(crate) announced: Bytes,
    pub(crate) announcement: Announcement,
    pub(crate) caller: Identity,
    pub(crate) limits: CallLimits,
    pub(crate) random: SeededRandom,
}

impl Sides {
    pub(crate) fn new() -> Self {
        Self::with(CallLimits::default())
    }

    pub(crate) fn with(limits: CallLimits) -> Self {
        let random = SeededRandom::new(9);
        let sessions = ServiceSessions::new(&identity(1), CHAIN, SERVICE, &limits)
            .expect("a name of a service");
        let (_, announced) = sessions.announce(now(0), &random);
        let announcement = Announcement::verify(&announced, CHAIN, SERVICE, START_MS, &|_| true)
            .expect("its own announcement");
        Self {
            sessions,
            announced,
            announcement,
            caller: identity(2),
            limits,
            random,
        }
    }

    /// A session as its caller holds it, and the opening.
    pub(crate) fn opening(&self, now: Now) -> (CallerSession, Bytes) {
        self.opening_of(&self.caller, now)
    }

    pub(crate) fn opening_of(&self, caller: &Identity, now: Now) -> (CallerSession, Bytes) {
        CallerSession::open(caller, &self.announcement, now, &self.random, &self.limits)
            .expect("a usable key")
    }

    pub(crate) fn accept(&self, now: Now, opening: &[u8]) -> Result<Accepted, NotAccepted> {
        self.sessions.accept(now, opening, &|_| true)
    }

    /// Both ends of an open session.
    pub(crate) fn open(&self) -> (CallerSession, Arc<ServiceSession>) {
        let (caller, opening) = self.opening(now(0));
        let accepted = self.accept(now(0), &opening).expect("accepted");
        (caller, accepted.session)
    }
}

/// The runtime's clock, told as wall time: stands still when the runtime's does.
pub(crate) struct RuntimeClock(tokio::time::Instant);

impl RuntimeClock {
    pub(crate) fn shared() -> Arc<dyn Clock> {
        Arc::new(Self(tokio::time::Instant::now()))
    }
}

impl Clock for RuntimeClock {
    fn now_ms(&self) -> u64 {
        START_MS + u64::try_from(self.0.elapsed().as_millis()).expect("a short test")
    }
}

/// A key that is known.
pub(crate) fn only(identities: &[&Identity]) -> Known {
    let ids: Vec<KeyId> = identities.iter().map(|identity| identity.id()).collect();
    Arc::new(move |id| ids.contains(id))
}

/// Servers and callers over one path.
pub(crate) struct World {
    pub(crate) path: Arc<dyn CallPath>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: CallLimits,
    /// Seeds that were given out.
    seeds: AtomicU64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::over(Arc::new(MemoryHub::new()))
    }

    pub(crate) fn over(path: Arc<dyn CallPath>) -> Self {
        Self {
            path,
            clock: RuntimeClock::shared(),
            limits: CallLimits::default(),
            seeds: AtomicU64::new(100),
        }
    }

    fn random(&self) -> Arc<SeededRandom> {
        let seed = self.seeds.fetch_add(1, Ordering::Relaxed);
        Arc::new(SeededRandom::new(seed))
    }

    pub(crate) async fn serve(&self, number: u64, handler: impl Handler) -> Serving {
        let mut settings = ServiceSettings::new(
            identity(number),
            CHAIN,
            SERVICE,
            only(&[&identity(2)]),
            self.clock.clone(),
            self.random(),
        );
        settings.limits = self.limits;
        let serving = Service::serve(self.path.clone(), settings, Arc::new(handler));
        serving.await.expect("served")
    }

    pub(crate) fn caller(&self, number: u64) -> Caller {
        let mut settings = CallerSettings::new(
            identity(number),
            CHAIN,
            only(&[&identity(1), &identity(11), &identity(12)]),
            self.clock.clone(),
            self.random(),
        );
        settings.limits = self.limits;
        Caller::new(self.path.clone(), settings)
    }
}

pub(crate) fn within(seconds: u64) -> CallOptions {
    CallOptions::within(Duration::from_secs(seconds))
}

/// Answers with what was asked.
pub(crate) async fn echo(call: IncomingCall, _: Answers) -> Result<Bytes, Fault> {
    Ok(call.body().clone())
}

/// Which way a frame goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Toward {
    Service,
    Caller,
}

/// What becomes of a frame; the number counts the frames of the path in this direction.
pub(crate) type Forward = Arc<dyn Fn(Toward, usize, Bytes) -> Vec<Bytes> + Send + Sync>;

/// A hub whose forwarding is decided by a test. It keeps all that it saw.
pub(crate) struct Tap {
    hub: MemoryHub,
    forward: Forward,
    pub(crate) seen: Arc<Mutex<Vec<(Toward, Bytes)>>>,
    cut: watch::Sender<u64>,
    pub(crate) is_closed: AtomicBool,
    /// Announcements that it shows in addition.
    pub(crate) also: Mutex<Vec<Bytes>>,
}

impl Tap {
    pub(crate) fn new(
        forward: impl Fn(Toward, usize, Bytes) -> Vec<Bytes> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            hub: MemoryHub::new(),
            forward: Arc::new(forward),
            seen: Arc::default(),
            cut: watch::Sender::new(0),
            is_closed: AtomicBool::new(false),
            also: Mutex::default(),
        })
    }

    /// Ends all paths, as when the other side's machine is gone.
    pub(crate) fn cut(&self) {
        self.cut.send_modify(|times| *times += 1);
    }

    fn pipe(&self, from: Duplex, to: Duplex) {
        let directions = [
            (Toward::Service, from.receive, to.send),
            (Toward::Caller, to.receive, from.send),
        ];
        for (toward, mut source, mut sink) in directions {
            let (forward, seen) = (self.forward.clone(), self.seen.clone());
            let mut cut = self.cut.subscribe();
            tokio::spawn(async move {
                for number in 0.. {
                    let frame = tokio::select! {
                        frame = source.receive() => frame,
                        _ = cut.changed() => return,
                    };
                    let Ok(Some(frame)) = frame else { return };
                    seen.lock().push((toward, frame.clone()));
                    for frame in forward(toward, number, frame) {
                        if sink.send(frame).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    }
}

/// The same hub behind another handle.
pub(crate) struct Tapped(pub(crate) Arc<Tap>);

impl CallPath for Tapped {
    fn announcements<'a>(
        &'a self,
        chain: ChainId,
        service: &'a str,
    ) -> Task<'a, Result<Vec<Bytes>, PathError>> {
        Box::pin(async move {
            let mut shown = self.0.also.lock().clone();
            shown.extend(self.0.hub.announcements(chain, service).await?);
            Ok(shown)
        })
    }

    fn open<'a>(
        &'a self,
        chain: ChainId,
        service: &'a str,
        to: AnnouncementId,
    ) -> Task<'a, Result<Duplex, PathError>> {
        Box::pin(async move {
            if self.0.is_closed.load(Ordering::Relaxed) {
                return Err(PathError::new("closed by the test"));
            }
            let server = self.0.hub.open(chain, service, to).await?;
            let (caller, inner) = memory_duplex();
            self.0.pipe(inner, server);
            Ok(caller)
        })
    }

    fn serve<'a>(
        &'a self,
        chain: ChainId,
        service: &'a str,
        id: AnnouncementId,
        announcement: Bytes,
    ) -> Task<'a, Result<Box<dyn ServingPath>, PathError>> {
        self.0.hub.serve(chain, service, id, announcement)
    }
}
