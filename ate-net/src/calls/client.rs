//! Calls as their callers make them: many at once over one session with each server.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ate_chain::{ChainId, Clock};
use ate_crypto::{Identity, KeyId, Random};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use super::Clocks;
use super::error::CallFailure;
use super::limits::{CallLimits, is_service_name};
use super::path::CallPath;
use crate::transport::Task;
use link::Ended;
use pool::{Pool, Tried};

mod link;
mod pool;
mod stream;

pub use stream::AnswerStream;

/// Whether a key may serve, or call: a look into the chain, or a list of pinned keys. Cheap: it is asked before any signature is checked.
pub type Known = Arc<dyn Fn(&KeyId) -> bool + Send + Sync>;

/// Whether a call is made again when it is not known whether it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Retry {
    /// Only if it certainly was not done.
    #[default]
    WhenSafe,
    /// Also if the server vanished in the middle: for requests that may be done twice.
    Always,
}

/// How a call is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallOptions {
    /// By when it must be answered, from now; the service is told. At most one day.
    pub within: Duration,
    /// Whether it is made again.
    pub retry: Retry,
}

impl CallOptions {
    /// Answered within this time, made again only when that is safe.
    #[must_use]
    pub const fn within(within: Duration) -> Self {
        Self {
            within,
            retry: Retry::WhenSafe,
        }
    }

    /// With this rule for calls whose outcome is not known.
    #[must_use]
    pub const fn retry(self, retry: Retry) -> Self {
        Self { retry, ..self }
    }
}

/// Who calls, and what it believes.
#[derive(Clone)]
#[non_exhaustive]
pub struct CallerSettings {
    /// Signs the openings of sessions.
    pub identity: Identity,
    /// The chain on which services are looked for.
    pub chain: ChainId,
    /// Which keys may serve. What a node says is never enough.
    pub may_serve: Known,
    /// Tells the time to others.
    pub clock: Arc<dyn Clock>,
    /// Draws names of sessions.
    pub random: Arc<dyn Random>,
    /// Limits of this side.
    pub limits: CallLimits,
}

impl CallerSettings {
    /// Settings with the usual limits.
    #[must_use]
    pub fn new(
        identity: Identity,
        chain: ChainId,
        may_serve: Known,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        Self {
            identity,
            chain,
            may_serve,
            clock,
            random,
            limits: CallLimits::default(),
        }
    }
}

/// Calls services of one chain. Cheap to clone; the clones share their sessions. Calls are spread: each goes to the server with the fewest open calls of
/// this caller, in turn among equals.
///
/// Its futures must be polled within a tokio runtime with time enabled.
#[derive(Clone)]
pub struct Caller(Arc<Inner>);

struct Inner {
    path: Arc<dyn CallPath>,
    settings: CallerSettings,
    clocks: Clocks,
    pools: Mutex<HashMap<String, Arc<Pool>>>,
}

impl Caller {
    /// A caller over `path`. Nothing is opened before the first call.
    #[must_use]
    pub fn new(path: Arc<dyn CallPath>, settings: CallerSettings) -> Self {
        let clocks = Clocks::new(settings.clock.clone());
        Self(Arc::new(Inner {
            path,
            settings,
            clocks,
            pools: Mutex::default(),
        }))
    }

    /// Makes a call and collects its answer, of at most `answer_bytes_max`.
    ///
    /// # Errors
    /// [`CallFailure`]; its variants tell whether the call may have been done.
    ///
    /// # Cancel safety
    /// Dropping the future takes the call back; the handler may have run, in part or whole.
    pub fn call(
        &self,
        service: &str,
        body: Bytes,
        options: CallOptions,
    ) -> Task<'static, Result<Bytes, CallFailure>> {
        let started = self.stream(service, body, options);
        let max = self.0.settings.limits.answer_bytes_max;
        Box::pin(async move {
            let mut stream = started.await?;
            let mut whole: Vec<u8> = Vec::new();
            let mut only: Option<Bytes> = None;
            while let Some(piece) = stream.next().await? {
                if whole.len() + only.as_ref().map_or(0, Bytes::len) + piece.len() > max {
                    return Err(CallFailure::TooLarge);
                }
                // Most answers are one piece, which is not copied.
                match only.take() {
                    None if whole.is_empty() => only = Some(piece),
                    first => {
                        whole.extend_from_slice(&first.unwrap_or_default());
                        whole.extend_from_slice(&piece);
                    }
                }
            }
            Ok(only.unwrap_or_else(|| whole.into()))
        })
    }

    /// Makes a call whose answer comes in pieces; returns when the first of them, or the end, is there.
    ///
    /// # Errors
    /// As [`Caller::call`]. After the first piece a call is never made again.
    ///
    /// # Cancel safety
    /// As [`Caller::call`]; dropping the stream takes the call back too.
    pub fn stream(
        &self,
        service: &str,
        body: Bytes,
        options: CallOptions,
    ) -> Task<'static, Result<AnswerStream, CallFailure>> {
        let caller = self.clone();
        let service = service.to_owned();
        Box::pin(async move {
            let deadline = Instant::now() + options.within;
            let started = caller.start(&service, &body, options.retry, deadline);
            let started = timeout_at(deadline, started).await;
            started.unwrap_or(Err(CallFailure::Deadline))
        })
    }

    async fn start(
        &self,
        service: &str,
        body: &Bytes,
        retry: Retry,
        deadline: Instant,
    ) -> Result<AnswerStream, CallFailure> {
        let pool = self.pool(service)?;
        let mut tried = Tried::default();
        let mut last = CallFailure::Unreachable {
            why: "no server that may serve announces itself".to_owned(),
        };
        for _ in 0..self.0.settings.limits.attempts_max.max(1) {
            let Some(chosen) = pool.choose(&self.0, &mut tried).await? else {
                return Err(last);
            };
            let begun = match chosen.link(&self.0).await {
                Ok(link) => link.begin(&self.0.clocks, body, deadline, chosen).await,
                Err(ended) => Err(ended),
            };
            let first = match begun {
                Ok(mut stream) => stream.first().await.map(|()| stream),
                Err(ended) => Err(ended),
            };
            last = match first {
                Ok(stream) => return Ok(stream),
                Err(Ended::Lost) if retry == Retry::Always => CallFailure::Unknown,
                // The same server will take it in another session.
                Err(Ended::Again(failure)) => {
                    tried.forgive();
                    failure
                }
                Err(Ended::Elsewhere(failure)) => failure,
                Err(ended) => return Err(ended.into_failure()),
            };
        }
        Err(last)
    }

    fn pool(&self, service: &str) -> Result<Arc<Pool>, CallFailure> {
        if !is_service_name(service) {
            return Err(CallFailure::Unreachable {
                why: "no service can have this name".to_owned(),
            });
        }
        let mut pools = self.0.pools.lock();
        if let Some(pool) = pools.get(service) {
            return Ok(pool.clone());
        }
        let pool = Arc::new(Pool::new(service));
        pools.insert(service.to_owned(), pool.clone());
        Ok(pool)
    }
}
