//! Typed calls between members of a chain: sealed from the caller to the service, whoever forwards them.
//!
//! Requests, answers and errors are plain postcard: the types of both sides must agree, a field more or less is an error or, worse, is read as another. A
//! request that may change is an enum of its versions. A recursive type is decoded as deep as its bytes say: do not take one from callers that are not
//! trusted.
//!
//! Services whose requests and answers are [`Json`](crate::Json) need no common types: [`Calls::call_json`], [`Calls::serve_json`], and `ate call` and `ate answer`
//! in a shell.
//!
//! ```
//! use ate::calls::{Call, ChainCalls, Request};
//! use ate::prelude::*;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Ping(u32);
//!
//! impl Request for Ping {
//!     type Answer = u32;
//!     type Error = ();
//!     const NAME: &'static str = "ping";
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let store = Store::in_memory()?;
//!     let chain = store.chain("office").wait()?; // or "ate://KEY@host:4433/office", to call others who follow it
//!     let _serving = chain.serve(|call: Call<Ping>| async move { Ok(call.0 + 1) }).wait()?;
//!     assert_eq!(chain.call(Ping(6)).wait(), Ok(7));
//!     Ok(())
//! }
//! ```

use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use ate_net::calls::{
    Answers, CallLimits, CallOptions, Caller, CallerSettings, Fault, IncomingCall, Known, Service,
    ServiceSettings, Serving, SessionId,
};
use ate_view::Chain;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ambient::{SystemClock, SystemRandom};
use crate::crypto::Who;
pub use answering::Answering;
pub(crate) use answering::Home;
pub use ate_net::calls::{CallPath, MemoryHub, Retry, Stopped};
pub use chain::ChainCalls;
pub(crate) use chain::Companion;
pub use error::CallError;
pub use json::{JsonAnswers, JsonCalling, JsonFeed, NextJson};
pub use streaming::{AnswerItems, Feed, NextItem, StreamCalling, StreamingRequest};

mod answering;
mod chain;
mod error;
#[cfg(feature = "stream")]
mod items;
mod json;
mod streaming;

/// How long a call may take unless it says otherwise.
pub const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// A request that has one answer. [`NAME`](Request::NAME) is the name of its service.
pub trait Request: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What it is answered with.
    type Answer: Serialize + DeserializeOwned + Send + 'static;
    /// The service's own errors.
    type Error: Serialize + DeserializeOwned + Send + 'static;
    /// The name of the service: 1 to 128 bytes without control characters. Nodes see it.
    const NAME: &'static str;
}

/// The calls of one identity on one chain. Cheap to clone; clones share their sessions.
///
/// Who may serve, and who may call, are those whose key the chain knows: its root and everybody who was introduced to it.
#[derive(Clone)]
pub struct Calls {
    home: Home,
    caller: Caller,
    path: Arc<dyn CallPath>,
    chain: Chain,
    handlers_max: usize,
}

impl Calls {
    /// Calls as the identity of `chain`, over `path`.
    #[must_use]
    pub fn over(path: Arc<dyn CallPath>, chain: &Chain) -> Self {
        Self::at(Home::of(None), path, chain)
    }

    pub(crate) fn at(home: Home, path: Arc<dyn CallPath>, chain: &Chain) -> Self {
        let caller = Self::caller(&home, &path, chain);
        Self::with(home, path, caller, chain)
    }

    /// A caller with sessions of its own. It does not hold the chain: whoever calls does.
    fn caller(home: &Home, path: &Arc<dyn CallPath>, chain: &Chain) -> Caller {
        let settings = CallerSettings::new(
            chain.identity().clone(),
            chain.id(),
            known_while_open(chain),
            Arc::new(SystemClock),
            Arc::new(SystemRandom),
        );
        home.entered(|| Caller::new(path.clone(), settings))
    }

    fn with(home: Home, path: Arc<dyn CallPath>, caller: Caller, chain: &Chain) -> Self {
        Self {
            home,
            caller,
            path,
            chain: chain.clone(),
            handlers_max: CallLimits::default().handlers_max,
        }
    }

    /// How many calls each service that is served from here on answers at one time; 256 unless said otherwise, at least one. Up to 4096 more wait, 64 MiB of
    /// requests at most; others are told that there is no room.
    #[must_use]
    pub fn handlers_max(mut self, calls: usize) -> Self {
        self.handlers_max = calls.max(1);
        self
    }

    /// A call; `.await` it or `.wait()` for it.
    pub fn call<R: Request>(&self, request: R) -> Calling<R> {
        let caller = (self.caller.clone(), self.chain.clone());
        Calling::new(self.home.clone(), Ok(caller), request)
    }

    /// A call whose answer comes item by item.
    pub fn stream<R: StreamingRequest>(&self, request: R) -> StreamCalling<R> {
        let caller = (self.caller.clone(), self.chain.clone());
        StreamCalling::new(self.home.clone(), Ok(caller), request)
    }

    /// Answers requests of one kind until the guard is dropped, together with all others who serve them. `handler` runs on the library's own threads, many
    /// times at once; its future is dropped when the caller gives the call up or the deadline goes by.
    ///
    /// # Errors
    /// [`CallError::Unreachable`] if nobody can be told.
    pub fn serve<R, H, F>(
        &self,
        handler: H,
    ) -> Answering<'static, Result<Served, CallError<Infallible>>>
    where
        R: Request,
        H: Fn(Call<R>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<R::Answer, R::Error>> + Send + 'static,
    {
        let (home, handler) = (self.home.clone(), Arc::new(handler));
        self.serve_bytes(R::NAME, move |incoming: IncomingCall, _: Answers| {
            let (home, handler) = (home.clone(), handler.clone());
            async move {
                let call = Call::<R>::decode(home, incoming)?;
                match handler(call).await {
                    Ok(answer) => encode::<_, Infallible>(&answer).map_err(|_| Fault::Broken),
                    Err(error) => Err(own_fault(&error)),
                }
            }
        })
    }

    /// Answers requests with many items: `handler` sends them through its [`Feed`] and returns when that was all.
    ///
    /// # Errors
    /// As [`Calls::serve`].
    pub fn serve_streaming<R, H, F>(
        &self,
        handler: H,
    ) -> Answering<'static, Result<Served, CallError<Infallible>>>
    where
        R: StreamingRequest,
        H: Fn(Call<R>, Feed<R>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), R::Error>> + Send + 'static,
    {
        let (home, handler) = (self.home.clone(), Arc::new(handler));
        self.serve_bytes(R::NAME, move |incoming: IncomingCall, answers: Answers| {
            let (home, handler) = (home.clone(), handler.clone());
            async move {
                let call = Call::<R>::decode(home, incoming)?;
                let ended = handler(call, Feed::new(answers)).await;
                ended.map_err(|error| own_fault(&error))?;
                Ok(bytes::Bytes::new())
            }
        })
    }

    fn serve_bytes(
        &self,
        service: &str,
        handler: impl ate_net::calls::Handler,
    ) -> Answering<'static, Result<Served, CallError<Infallible>>> {
        let mut settings = ServiceSettings::new(
            self.chain.identity().clone(),
            self.chain.id(),
            service,
            known_to(&self.chain),
            Arc::new(SystemClock),
            Arc::new(SystemRandom),
        );
        settings.limits.handlers_max = self.handlers_max;
        let served = Service::serve(self.path.clone(), settings, Arc::new(handler));
        let home = self.home.clone();
        Answering::new(&self.home, async move {
            let serving = served.await;
            serving
                .map(|serving| Served { home, serving })
                .map_err(|error| CallError::Unreachable { why: error.why })
        })
    }
}

/// Everybody whose key the chain knows, and its own identity, which a chain that was never written to does not know yet.
fn known_to(chain: &Chain) -> Known {
    let chain = chain.clone();
    Arc::new(move |key| chain.local().knows(key) || chain.identity().id() == *key)
}

/// As [`known_to`], without holding the chain.
fn known_while_open(chain: &Chain) -> Known {
    let (local, own) = (Arc::downgrade(chain.local()), chain.identity().id());
    Arc::new(move |key| own == *key || local.upgrade().is_some_and(|local| local.knows(key)))
}

/// Keeps serving. Dropped, no more calls are taken; those that were taken are answered.
#[must_use = "serving stops when this is dropped"]
pub struct Served {
    home: Home,
    serving: Serving,
}

impl Served {
    /// Sessions that callers have open.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.serving.session_count()
    }

    /// Takes no more calls, and is done when those that were taken are answered: for who then ends the process or the store. What ends calls that nobody
    /// answers is their deadline.
    ///
    /// # Cancel safety
    /// Dropped before it is done, it is as if the guard were dropped.
    pub fn finish(self) -> Answering<'static, ()> {
        Answering::new(&self.home, self.serving.finish())
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Served({} sessions)", self.session_count())
    }
}

/// A request that was received. It derefs to the request.
pub struct Call<R> {
    home: Home,
    request: R,
    session: CallSession,
    incoming: IncomingCall,
}

/// Who is acting in a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallSession {
    who: Who,
    id: SessionId,
}

impl CallSession {
    /// The verified identity of the caller.
    #[must_use]
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// Which session it is: the same for calls that came in the same one.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }
}

impl<R: DeserializeOwned> Call<R> {
    fn decode(home: Home, incoming: IncomingCall) -> Result<Self, Fault> {
        let request = decode(incoming.body()).ok_or(Fault::BadRequest)?;
        let session = CallSession {
            who: incoming.caller().clone(),
            id: incoming.session(),
        };
        Ok(Self {
            home,
            request,
            session,
            incoming,
        })
    }
}

impl<R> Call<R> {
    /// Who is acting.
    #[must_use]
    pub fn session(&self) -> &CallSession {
        &self.session
    }

    /// The verified identity of the caller: it signed the session in which this came.
    #[must_use]
    pub fn caller(&self) -> &Who {
        &self.session.who
    }

    /// The time that is left; zero when it is over.
    #[must_use]
    pub fn deadline_left(&self) -> Duration {
        self.home.entered(|| self.incoming.deadline_left())
    }

    /// Whether nobody waits for the answer any more, for work that was handed to another thread.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.home.entered(|| self.incoming.is_cancelled())
    }

    /// The request alone.
    #[must_use]
    pub fn into_request(self) -> R {
        self.request
    }
}

impl<R> Deref for Call<R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.request
    }
}

/// Who calls and the chain, held until the call is made; or why nobody can.
type Ready = Result<(Caller, Chain), String>;

/// A call that is about to be made.
#[must_use = "a call is not made until it is awaited or waited for"]
pub struct Calling<R> {
    home: Home,
    caller: Ready,
    request: R,
    options: CallOptions,
}

impl<R: Request> Calling<R> {
    fn new(home: Home, caller: Ready, request: R) -> Self {
        Self {
            home,
            caller,
            request,
            options: CallOptions::within(CALL_DEADLINE),
        }
    }

    /// By when it must be answered, from when it is made; 30 s if nothing is said, at most one day.
    pub fn deadline(mut self, within: Duration) -> Self {
        self.options.within = within;
        self
    }

    /// Whether it may be made again when it is not known whether it was done.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.options = self.options.retry(retry);
        self
    }

    /// Makes the call and blocks until it is answered.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn wait(self) -> Result<R::Answer, CallError<R::Error>> {
        self.into_future().wait()
    }
}

impl<R: Request> IntoFuture for Calling<R> {
    type Output = Result<R::Answer, CallError<R::Error>>;
    type IntoFuture = Answering<'static, Self::Output>;

    /// # Cancel safety
    /// Dropping the future takes the call back; the handler may have run.
    fn into_future(self) -> Self::IntoFuture {
        let home = self.home.clone();
        Answering::new(&home, async move {
            let body = encode(&self.request)?;
            let (caller, _held) = self.caller.map_err(|why| CallError::Unreachable { why })?;
            let answer = caller.call(R::NAME, body, self.options).await;
            let answer = answer.map_err(CallError::of)?;
            decode(&answer).ok_or(CallError::BadAnswer)
        })
    }
}

fn encode<T: Serialize, E>(value: &T) -> Result<bytes::Bytes, CallError<E>> {
    let encoded = postcard::to_stdvec(value);
    encoded
        .map(bytes::Bytes::from)
        .map_err(|error| CallError::Encode {
            why: error.to_string(),
        })
}

/// All bytes, or nothing.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes(bytes).ok()?;
    rest.is_empty().then_some(value)
}

fn own_fault<E: Serialize>(error: &E) -> Fault {
    encode::<E, Infallible>(error).map_or(Fault::Broken, Fault::Handler)
}

/// Stands for a type without holding one.
type Of<R> = PhantomData<fn() -> R>;
