//! The servers of one service, as one caller knows them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::super::announcement::{Announcement, AnnouncementId, Route};
use super::super::error::CallFailure;
use super::Inner;
use super::link::{Ended, Link};

/// How long a list of servers is used before it is asked for again.
const FRESH: Duration = Duration::from_secs(10);
/// Announcements of one service that are looked at.
const SERVERS_MAX: usize = 64;

pub(super) struct Pool {
    service: String,
    list: Mutex<List>,
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct List {
    servers: Vec<Arc<Server>>,
    fetched: Option<Instant>,
    turn: usize,
}

/// A server that announced itself, and the session with it, if there is one.
pub(super) struct Server {
    announcement: Announcement,
    link: tokio::sync::Mutex<Option<Arc<Link>>>,
    open_calls: AtomicUsize,
}

/// A server that was chosen for a call; counted until this is dropped.
pub(super) struct Chosen(Arc<Server>);

/// Servers that a call need not try again.
#[derive(Default)]
pub(super) struct Tried {
    ids: Vec<AnnouncementId>,
    has_asked: bool,
}

impl Tried {
    /// The last one may be tried again.
    pub(super) fn forgive(&mut self) {
        self.ids.pop();
    }
}

impl Pool {
    pub(super) fn new(service: &str) -> Self {
        Self {
            service: service.to_owned(),
            list: Mutex::default(),
            asking: tokio::sync::Mutex::new(()),
        }
    }

    /// A server that was not tried; `None` if there is none, after asking once more.
    pub(super) async fn choose(
        &self,
        caller: &Inner,
        tried: &mut Tried,
    ) -> Result<Option<Chosen>, CallFailure> {
        let fetched = self.list.lock().fetched;
        if fetched.is_none_or(|at| at.elapsed() >= FRESH) {
            tried.has_asked = true;
            self.ask(caller, fetched).await?;
        }
        if let Some(chosen) = self.least(caller, tried) {
            return Ok(Some(chosen));
        }
        if std::mem::replace(&mut tried.has_asked, true) {
            return Ok(None);
        }
        self.ask(caller, fetched).await?;
        Ok(self.least(caller, tried))
    }

    /// The server with the fewest open calls, in turn among equals.
    fn least(&self, caller: &Inner, tried: &mut Tried) -> Option<Chosen> {
        let now_ms = caller.clocks.now().wall_ms;
        let mut list = self.list.lock();
        let count = list.servers.len();
        list.turn = list.turn.wrapping_add(1);
        let turn = list.turn;
        let in_turn = (0..count).map(|at| &list.servers[(turn.wrapping_add(at)) % count]);
        let server = in_turn
            .filter(|server| !tried.ids.contains(&server.announcement.id))
            .filter(|server| server.announcement.holds_at(now_ms))
            .min_by_key(|server| server.open_calls.load(Ordering::Relaxed))?;
        tried.ids.push(server.announcement.id);
        server.open_calls.fetch_add(1, Ordering::Relaxed);
        Some(Chosen(server.clone()))
    }

    /// Asks the path for announcements, once for all who wait, and keeps those that hold.
    async fn ask(&self, caller: &Inner, known: Option<Instant>) -> Result<(), CallFailure> {
        let _one_asks = self.asking.lock().await;
        if self.list.lock().fetched != known {
            return Ok(());
        }
        let settings = &caller.settings;
        let announced = caller
            .path
            .announcements(settings.chain, &self.service)
            .await
            .map_err(|error| CallFailure::Unreachable { why: error.why })?;
        let now_ms = caller.clocks.now().wall_ms;
        let old = std::mem::take(&mut self.list.lock().servers);
        let mut servers: Vec<Arc<Server>> = Vec::new();
        for bytes in announced.iter().take(SERVERS_MAX) {
            let Ok(Route { id, .. }) = Announcement::route(bytes) else {
                continue;
            };
            if servers.iter().any(|server| server.announcement.id == id) {
                continue;
            }
            if let Some(server) = old.iter().find(|server| server.announcement.id == id) {
                servers.push(server.clone());
                continue;
            }
            let (chain, may_serve) = (settings.chain, &*settings.may_serve);
            match Announcement::verify(bytes, chain, &self.service, now_ms, may_serve) {
                Ok(announcement) => servers.push(Arc::new(Server::new(announcement))),
                Err(error) => {
                    tracing::debug!(service = self.service, %error, "announcement refused")
                }
            }
        }
        let mut list = self.list.lock();
        list.servers = servers;
        list.fetched = Some(Instant::now());
        Ok(())
    }
}

impl Server {
    fn new(announcement: Announcement) -> Self {
        Self {
            announcement,
            link: tokio::sync::Mutex::new(None),
            open_calls: AtomicUsize::new(0),
        }
    }
}

impl Chosen {
    /// The session with this server, opened if there is none that takes calls.
    pub(super) async fn link(&self, caller: &Inner) -> Result<Arc<Link>, Ended> {
        let mut slot = self.0.link.lock().await;
        if let Some(link) = slot.as_ref().filter(|link| link.is_usable(&caller.clocks)) {
            return Ok(link.clone());
        }
        *slot = None;
        let link = Link::open(caller, &self.0.announcement).await?;
        *slot = Some(link.clone());
        Ok(link)
    }
}

impl Drop for Chosen {
    fn drop(&mut self) {
        self.0.open_calls.fetch_sub(1, Ordering::Relaxed);
    }
}
