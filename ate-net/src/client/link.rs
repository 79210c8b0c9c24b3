//! A link: a connection to one node that is made again whenever it breaks.

use std::sync::Arc;
use std::time::Duration;

use ate_chain::{ChainId, Pending};
use ate_crypto::{Hash, KeyId};
use tokio::time::Instant;

use super::Inner;
use super::session::Session;
use crate::error::NetError;
use crate::node::code;
use crate::promise::promise;
use crate::transport::signal::Signal;
use crate::transport::{Endpoint, TransportError};
use crate::wire::{RefusalCode, Reply, Request};

/// First pause before connecting again; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A connection to a node, as long as somebody holds this.
pub struct Link {
    pub(crate) client: Arc<Inner>,
    pub(crate) endpoint: Endpoint,
    state: Arc<Signal<State>>,
    connecting: tokio::task::JoinHandle<()>,
}

#[derive(Clone)]
enum State {
    Down {
        why: Option<String>,
        /// It is no matter of time.
        verdict: Option<Verdict>,
    },
    Up(Arc<Session>),
}

/// An answer of whoever was dialled that another attempt will hardly change.
#[derive(Clone)]
enum Verdict {
    WrongNode { to: String },
    Refused { code: RefusalCode, why: String },
}

impl Verdict {
    fn of(error: &NetError) -> Option<Self> {
        match error {
            NetError::Transport(TransportError::WrongNode { to }) => {
                Some(Self::WrongNode { to: to.clone() })
            }
            NetError::Refused {
                code: code @ (RefusalCode::Denied | RefusalCode::Version),
                why,
            } => Some(Self::Refused {
                code: *code,
                why: why.clone(),
            }),
            // The end of the connection may come before the words.
            NetError::Transport(TransportError::ClosedByPeer {
                code: code::DENIED,
                why,
            }) => Some(Self::Refused {
                code: RefusalCode::Denied,
                why: why.clone(),
            }),
            _ => None,
        }
    }

    fn error(&self) -> NetError {
        match self {
            Self::WrongNode { to } => TransportError::WrongNode { to: to.clone() }.into(),
            Self::Refused { code, why } => NetError::Refused {
                code: *code,
                why: why.clone(),
            },
        }
    }
}

/// Whether a node can be spoken with.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LinkState {
    /// Yes.
    Up,
    /// Not now; it is tried again by itself.
    Down {
        /// Why; `None` before the first attempt has ended.
        why: Option<String>,
    },
}

/// A chain as a node knows it. Nothing of it is proven.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// Its id.
    pub chain: ChainId,
    /// Commits.
    pub size: u64,
    /// Merkle root.
    pub root: Hash,
}

impl Link {
    pub(super) fn start(client: &Arc<Inner>, endpoint: &Endpoint) -> Self {
        let state = Arc::new(Signal::new(State::Down {
            why: None,
            verdict: None,
        }));
        let connecting = connect(client.clone(), endpoint.clone(), state.clone());
        Self {
            connecting: client.runtime.spawn(connecting),
            client: client.clone(),
            endpoint: endpoint.clone(),
            state,
        }
    }

    /// Where it leads.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether the node can be spoken with now.
    #[must_use]
    pub fn state(&self) -> LinkState {
        match &*self.state.lock() {
            State::Up(_) => LinkState::Up,
            State::Down { why, .. } => LinkState::Down { why: why.clone() },
        }
    }

    /// The connection, when there is one: at once, or whenever the node answers.
    pub(crate) async fn up(&self) -> Arc<Session> {
        let up = |state: &State| match state {
            State::Up(session) => Some(session.clone()),
            State::Down { .. } => None,
        };
        self.state.until(up).await
    }

    /// The connection, within a time. If the node cannot be reached, the error says why; if somebody answers who is not meant, or says no, it comes at once.
    pub(crate) async fn up_within(&self, limit: Duration) -> Result<Arc<Session>, NetError> {
        self.another(None, Instant::now() + limit).await
    }

    /// The connection, unless it is the one that has just failed.
    async fn another(
        &self,
        failed: Option<&Arc<Session>>,
        until: Instant,
    ) -> Result<Arc<Session>, NetError> {
        let final_state = |state: &State| match state {
            State::Up(session) if failed.is_some_and(|failed| Arc::ptr_eq(failed, session)) => None,
            State::Up(session) => Some(Ok(session.clone())),
            State::Down { verdict, .. } => verdict.as_ref().map(|verdict| Err(verdict.error())),
        };
        match tokio::time::timeout_at(until, self.state.until(final_state)).await {
            Ok(ended) => ended,
            Err(_) => Err(self.unreachable()),
        }
    }

    /// What to say when time is over.
    pub(super) fn unreachable(&self) -> NetError {
        let why = match self.state() {
            LinkState::Down { why: Some(why) } => why,
            _ => "no answer in time".to_owned(),
        };
        NetError::Transport(TransportError::Unreachable {
            to: self.endpoint.to_string(),
            why,
        })
    }

    /// A request that may be asked twice, with one reply, within a time. That the connection breaks is no answer: it is asked again over the next one.
    async fn ask_within(&self, request: &Request, limit: Duration) -> Result<Reply, NetError> {
        let until = Instant::now() + limit;
        let mut failed: Option<Arc<Session>> = None;
        loop {
            let session = self.another(failed.as_ref(), until).await?;
            match tokio::time::timeout_at(until, session.ask(request)).await {
                Err(_) => return Err(self.unreachable()),
                Ok(Err(NetError::Transport(
                    TransportError::Broken { .. }
                    | TransportError::Closed
                    | TransportError::ClosedByPeer { .. },
                ))) => failed = Some(session),
                Ok(answer) => return answer,
            }
        }
    }

    /// The chain that a name means at the node; an error within `limit` if it cannot be reached.
    ///
    /// # Errors
    /// In the answer: [`NetError`]. [`NetError::Refused`] with [`RefusalCode::Absent`](crate::RefusalCode::Absent) if it is not there, or not for this identity.
    pub fn find(
        self: &Arc<Self>,
        name: &str,
        root: Option<KeyId>,
        limit: Duration,
    ) -> Pending<Result<Found, NetError>> {
        let request = Request::Find {
            name: name.into(),
            root: root.map(|root| root.0),
        };
        let link = self.clone();
        self.run(async move {
            match link.ask_within(&request, limit).await? {
                Reply::Found { chain, size, root } => Ok(Found {
                    chain: ChainId(Hash(chain)),
                    size,
                    root: Hash(root),
                }),
                _ => Err(NetError::Protocol {
                    what: "a Find is answered by a Found",
                }),
            }
        })
    }

    /// The node's note key: to be listed in the genesis of a chain whose checkpoints it is to sign.
    ///
    /// # Errors
    /// In the answer: [`NetError`] if it cannot be reached within `limit`.
    pub fn note_key(self: &Arc<Self>, limit: Duration) -> Pending<Result<Vec<u8>, NetError>> {
        let link = self.clone();
        self.run(async move { Ok(link.up_within(limit).await?.note_key.to_vec()) })
    }

    /// Time until the node has answered.
    ///
    /// # Errors
    /// In the answer: [`NetError`].
    pub fn ping(self: &Arc<Self>, limit: Duration) -> Pending<Result<Duration, NetError>> {
        let link = self.clone();
        self.run(async move {
            let until = Instant::now() + limit;
            let session = link.another(None, until).await?;
            let begun = Instant::now();
            let answer = tokio::time::timeout_at(until, session.ask(&Request::Ping)).await;
            match answer.unwrap_or_else(|_| Err(link.unreachable()))? {
                Reply::Pong => Ok(begun.elapsed()),
                _ => Err(NetError::Protocol {
                    what: "a Ping is answered by a Pong",
                }),
            }
        })
    }

    /// Runs on the client's runtime, for whoever waits without one.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, NetError>> + Send + 'static,
    ) -> Pending<Result<T, NetError>> {
        let (promise, pending) = promise(|| Err(TransportError::Closed.into()));
        self.client
            .runtime
            .spawn(async move { promise.keep(work.await) });
        pending
    }
}

impl Link {
    /// Connects no more, and ends the connection.
    pub(super) fn end(&self) {
        self.connecting.abort();
        if let State::Up(session) = &*self.state.lock() {
            session.connection.close(0, "done");
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.end();
    }
}

async fn connect(client: Arc<Inner>, endpoint: Endpoint, tell: Arc<Signal<State>>) {
    let mut pause = PAUSE;
    loop {
        let mut verdict = None;
        let why = match Session::connect(&*client.transport, &client.identity, &endpoint).await {
            Ok(session) => {
                pause = PAUSE;
                let session = Arc::new(session);
                set(&tell, State::Up(session.clone()));
                session.connection.closed().await.to_string()
            }
            Err(error) => {
                verdict = Verdict::of(&error);
                error.to_string()
            }
        };
        tracing::debug!(host = %endpoint.host, port = endpoint.port, %why, "not connected");
        let down = State::Down {
            why: Some(why),
            verdict,
        };
        set(&tell, down);
        tokio::time::sleep(jittered(&client, pause)).await;
        pause = (2 * pause).min(PAUSE_MAX);
    }
}

fn set(state: &Signal<State>, to: State) {
    state.change(|state| {
        *state = to;
        true
    });
}

/// Between half of it and all of it, so that clients of a node that went away do not come back all at once.
fn jittered(client: &Inner, pause: Duration) -> Duration {
    let mut byte = [0];
    client.random.fill(&mut byte);
    pause / 2 + (pause / 2) * u32::from(byte[0]) / 255
}
