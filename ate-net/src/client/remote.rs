//! A replica's way to the node that orders its chain.

use std::sync::{Arc, Weak};

use ate_chain::{
    ChainId, Contents, FetchError, Local, OpenError, Pending, Position, Upstream, Wanted,
    WitnessError,
};
use ate_crypto::Hash;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::link::Link;
use super::{fetch, follow, submit, witness};
use crate::node::blocking;
use crate::promise::promise;
use crate::transport::signal::Signal;

/// How a replica stands to its node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct RemoteStatus {
    /// Commits that the node has, as it said last.
    pub node_size: Option<u64>,
    /// Commits here of which the node has said the same root.
    pub agreed: u64,
    /// Commits here for which the node has signed the same root.
    pub proven: u64,
    /// What keeps the replica from following, if anything does. It is tried again.
    pub trouble: Option<String>,
    /// What the node shows does not fit what it showed or signed before, or does not verify. The replica follows it no more.
    pub diverged: Option<String>,
}

/// A chain that follows a node. Held by the chain itself too: dropping this changes nothing, and holding it keeps the link.
#[derive(Clone)]
pub struct Remote(pub(super) Arc<Shared>);

/// A [`Remote`] that keeps neither the replica's tasks nor its link alive.
#[derive(Clone)]
pub struct WeakRemote(Weak<Shared>);

impl WeakRemote {
    /// `None` once the replica is gone.
    #[must_use]
    pub fn upgrade(&self) -> Option<Remote> {
        self.0.upgrade().map(Remote)
    }
}

pub(super) struct Shared {
    pub(super) link: Arc<Link>,
    pub(super) chain: ChainId,
    pub(super) contents: Contents,
    pub(super) status: Mutex<RemoteStatus>,
    /// Something is to be sent.
    pub(super) send: Notify,
    /// Something is to be synced.
    stage: Notify,
    /// The node has news of the chain, or might have.
    pub(super) look: Notify,
    pub(super) witnesses: witness::Links,
}

/// What the chain holds: with it the tasks end.
struct Handle {
    shared: Arc<Shared>,
    stop: Arc<Signal<bool>>,
}

impl Remote {
    /// How the replica stands.
    #[must_use]
    pub fn status(&self) -> RemoteStatus {
        self.0.status.lock().clone()
    }

    /// Notes that the node has said, by other means, how many commits it has: what is still to come can be told then. Nothing rests on it.
    pub fn said(&self, size: u64) {
        self.0.note(|status| {
            status.node_size = Some(status.node_size.unwrap_or(0).max(size));
        });
    }

    /// For whoever keeps a list of replicas.
    #[must_use]
    pub fn downgrade(&self) -> WeakRemote {
        WeakRemote(Arc::downgrade(&self.0))
    }

    /// The link that it uses.
    #[must_use]
    pub fn link(&self) -> &Arc<Link> {
        &self.0.link
    }
}

impl Link {
    /// Makes a chain a replica that follows this node, from now on and as long as the chain lives. With [`Contents::Lazy`], contents are fetched when they are read.
    ///
    /// # Errors
    /// As [`Local::follow`].
    pub fn follow(
        self: &Arc<Self>,
        local: &Arc<Local>,
        contents: Contents,
    ) -> Result<Remote, OpenError> {
        let shared = Arc::new(Shared {
            link: self.clone(),
            chain: local.chain(),
            contents,
            status: Mutex::default(),
            send: Notify::new(),
            stage: Notify::new(),
            look: Notify::new(),
            witnesses: witness::Links::default(),
        });
        let stopped = Arc::new(Signal::new(false));
        local.follow(Arc::new(Handle {
            shared: shared.clone(),
            stop: stopped.clone(),
        }))?;
        let weak = Arc::downgrade(local);
        let runtime = &self.client.runtime;
        runtime.spawn(until(
            stopped.clone(),
            follow::follow(shared.clone(), weak.clone()),
        ));
        runtime.spawn(until(
            stopped.clone(),
            submit::submit(shared.clone(), weak.clone()),
        ));
        runtime.spawn(until(stopped, stage(shared.clone(), weak)));
        shared.send.notify_one();
        Ok(Remote(shared))
    }
}

impl Upstream for Handle {
    fn wake(&self) {
        self.shared.send.notify_one();
        self.shared.stage.notify_one();
    }

    fn fetch(&self, wanted: Vec<Wanted>) -> Pending<Result<Vec<Option<Vec<u8>>>, FetchError>> {
        let ended = || FetchError::Unreachable {
            why: "the client has ended".into(),
        };
        let (promise, pending) = promise(move || Err(ended()));
        let shared = self.shared.clone();
        self.shared.link.client.runtime.spawn(async move {
            promise.keep(fetch::fetch(&shared, &wanted).await);
        });
        pending
    }

    fn has_witnesses(&self) -> bool {
        !self.shared.link.client.witnesses.lock().nodes.is_empty()
    }

    fn witness(&self, position: Position, root: Hash) -> Pending<Result<(), WitnessError>> {
        let ended = || WitnessError::TooFew {
            signed: 0,
            needed: 1,
            why: "the client has ended".to_owned(),
        };
        let (promise, pending) = promise(move || Err(ended()));
        let shared = self.shared.clone();
        self.shared.link.client.runtime.spawn(async move {
            promise.keep(witness::witness(&shared, position, root).await);
        });
        pending
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.change(|stop| !std::mem::replace(stop, true));
    }
}

impl Shared {
    pub(super) fn note(&self, change: impl FnOnce(&mut RemoteStatus)) {
        change(&mut self.status.lock());
    }
}

/// Makes staged commits durable here, whether or not the node can be reached.
async fn stage(shared: Arc<Shared>, weak: Weak<Local>) {
    loop {
        shared.stage.notified().await;
        let Some(local) = weak.upgrade() else { return };
        // A log that fails refuses what comes next, and says so to whoever writes.
        if let Err(error) = blocking(|| local.sync_staged()) {
            shared.note(|status| status.trouble = Some(error.to_string()));
        }
    }
}

async fn until(stopped: Arc<Signal<bool>>, work: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = stopped.until(|stopped| stopped.then_some(())) => {}
        () = work => {}
    }
}
