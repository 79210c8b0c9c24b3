//! The pages of a served store: how it does, without a name, a key or a content.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ate_net::{
    HttpLimits, HttpServer, Metrics, NetError, Pages, RemoteStatus, TransportError, WeakRemote,
};
use tokio::task::JoinHandle;

use crate::error::Error;
use crate::inner::StoreInner;

/// Answers until it is dropped.
pub(super) struct Paging {
    pub(super) local: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    inner: Arc<StoreInner>,
    metrics: Arc<Metrics>,
    is_leaving: AtomicBool,
}

impl Paging {
    /// Answers at an address, within the runtime of the caller.
    pub(super) fn start(
        at: SocketAddr,
        inner: Arc<StoreInner>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Error> {
        let server = HttpServer::bind(at, HttpLimits::default()).map_err(|error| {
            Error::Net(NetError::Transport(TransportError::Unusable {
                why: format!("no pages at {at}: {error}"),
            }))
        })?;
        let local = server.local();
        let state = Arc::new(State {
            inner,
            metrics,
            is_leaving: AtomicBool::new(false),
        });
        let pages = state.clone();
        let task = tokio::spawn(async move {
            if let Err(error) = server.run(pages).await {
                tracing::error!(%error, "the pages are not answered any more");
            }
        });
        Ok(Self { local, state, task })
    }

    /// It takes no more requests: whoever watches sends them elsewhere.
    pub(super) fn leave(&self) {
        self.state.is_leaving.store(true, Ordering::Relaxed);
    }
}

impl Drop for Paging {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    /// What this store follows of others.
    fn count_replicas(&self) {
        let Some(net) = self.inner.net.lock().clone() else {
            return;
        };
        let remotes: Vec<_> = net.remotes.lock().values().cloned().collect();
        let lag = |status: RemoteStatus| {
            let size = status.node_size.unwrap_or(0);
            size.saturating_sub(status.agreed)
        };
        let live = remotes.iter().filter_map(WeakRemote::upgrade);
        let lag = live.map(|remote| lag(remote.status())).sum();
        self.metrics.replica_lag_commits.set(lag);
        let accused = net.accused.load(Ordering::Relaxed);
        let told = self.metrics.equivocations.value();
        self.metrics.equivocations.add(accused.saturating_sub(told));
    }
}

impl Pages for State {
    fn metrics(&self) -> String {
        let open = self.inner.chains.open_count();
        self.metrics.chains_open.set(open as u64);
        if let Ok(listed) = self.inner.listed() {
            let hosted = listed.directory.len();
            self.metrics.chains_hosted.set(hosted as u64);
        }
        self.count_replicas();
        self.metrics.disk_bytes.set(self.inner.log.disk_bytes());
        self.metrics.render()
    }

    fn health(&self) -> Result<(), String> {
        if self.inner.log.writable() {
            Ok(())
        } else {
            Err("the log takes no more commits: a write failed, or it was closed".to_owned())
        }
    }

    fn ready(&self) -> Result<(), String> {
        if self.is_leaving.load(Ordering::Relaxed) {
            return Err("it is shutting down".to_owned());
        }
        self.health()
    }
}
