//! A link: a connection to one node that is made again whenever it breaks.

use std::sync::Arc;
use std::time::Duration;

use ate_chain::{ChainId, Pending};
use ate_crypto::{Hash, KeyId};
use tokio::sync::watch;

use super::Inner;
use super::session::Session;
use crate::error::NetError;
use crate::node::code;
use crate::promise::promise;
use crate::transport::{Endpoint, TransportError};
use crate::wire::{RefusalCode, Reply, Request};

/// First pause before connecting again; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A connection to a node, as long as somebody holds this.
pub struct Link {
    pub(crate) client: Arc<Inner>,
    pub(crate) endpoint: Endpoint,
    state: watch::Receiver<State>,
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
        let (tell, state) = watch::channel(State::Down {
            why: None,
            verdict: None,
        });
        let connecting = connect(client.clone(), endpoint.clone(), tell);
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
        match &*self.state.borrow() {
            State::Up(_) => LinkState::Up,
            State::Down { why, .. } => LinkState::Down { why: why.clone() },
        }
    }

    /// The connection, when there is one: at once, or whenever the node answers.
    pub(crate) async fn up(&self) -> Result<Arc<Session>, NetError> {
        let mut state = self.state.clone();
        let up = state.wait_for(|state| matches!(state, State::Up(_))).await;
        match up.as_deref() {
            Ok(State::Up(session)) => Ok(session.clone()),
            _ => Err(TransportError::Closed.into()),
        }
    }

    /// The connection, within a time. If the node cannot be reached, the error says why; if somebody answers who is not meant, or says no, it comes at once.
    pub(crate) async fn up_within(&self, limit: Duration) -> Result<Arc<Session>, NetError> {
        let mut state = self.state.clone();
        let is_final = |state: &State| !matches!(state, State::Down { verdict: None, .. });
        match tokio::time::timeout(limit, state.wait_for(is_final)).await {
            Ok(Ok(state)) => match &*state {
                State::Up(session) => Ok(session.clone()),
                State::Down {
                    verdict: Some(verdict),
                    ..
                } => Err(verdict.error()),
                State::Down { .. } => Err(TransportError::Closed.into()),
            },
            Ok(Err(_)) => Err(TransportError::Closed.into()),
            Err(_) => {
                let why = match self.state() {
                    LinkState::Down { why: Some(why) } => why,
                    _ => format!("no answer within {} ms", limit.as_millis()),
                };
                Err(NetError::Transport(TransportError::Unreachable {
                    to: format!("{}:{}", self.endpoint.host, self.endpoint.port),
                    why,
                }))
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
            let session = link.up_within(limit).await?;
            match session.ask(&request).await? {
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
            let session = link.up_within(limit).await?;
            let begun = tokio::time::Instant::now();
            match session.ask(&Request::Ping).await? {
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
        if let State::Up(session) = &*self.state.borrow() {
            session.connection.close(0, "done");
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.end();
    }
}

async fn connect(client: Arc<Inner>, endpoint: Endpoint, tell: watch::Sender<State>) {
    let mut pause = PAUSE;
    loop {
        let mut verdict = None;
        let why = match Session::connect(&*client.transport, &client.identity, &endpoint).await {
            Ok(session) => {
                pause = PAUSE;
                let session = Arc::new(session);
                tell.send_replace(State::Up(session.clone()));
                session.connection.closed().await.to_string()
            }
            Err(error) => {
                verdict = Verdict::of(&error);
                error.to_string()
            }
        };
        tracing::debug!(host = %endpoint.host, port = endpoint.port, %why, "not connected");
        tell.send_replace(State::Down {
            why: Some(why),
            verdict,
        });
        tokio::time::sleep(jittered(&client, pause)).await;
        pause = (2 * pause).min(PAUSE_MAX);
    }
}

/// Between half of it and all of it, so that clients of a node that went away do not come back all at once.
fn jittered(client: &Inner, pause: Duration) -> Duration {
    let mut byte = [0];
    client.random.fill(&mut byte);
    pause / 2 + (pause / 2) * u32::from(byte[0]) / 255
}
