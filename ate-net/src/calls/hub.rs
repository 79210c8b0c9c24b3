//! A [`CallPath`] in memory: for tests, and for callers and servers in one process.

use std::collections::HashMap;
use std::sync::Arc;

use ate_chain::ChainId;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::announcement::AnnouncementId;
use super::error::PathError;
use super::path::{CallPath, Duplex, FrameSink, FrameSource, ServingPath};
use crate::transport::Task;

/// Frames that a path holds in each direction.
const FRAMES_MAX: usize = 64;
/// Paths that wait to be accepted.
const WAITING_MAX: usize = 64;
/// Announcements under which a server is still reached after newer ones.
const NAMES_MAX: usize = 8;

/// Forwards between callers and servers of one process. It sees names, announcements and opaque frames. Cheap to clone.
#[derive(Clone, Default)]
pub struct MemoryHub(Arc<Mutex<Servers>>);

#[derive(Default)]
struct Servers {
    next: u64,
    by_service: HashMap<(ChainId, String), Vec<Server>>,
}

struct Server {
    number: u64,
    announcement: Bytes,
    names: Vec<AnnouncementId>,
    paths: mpsc::Sender<Duplex>,
}

impl MemoryHub {
    /// A hub without servers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl CallPath for MemoryHub {
    fn announcements<'a>(
        &'a self,
        chain: ChainId,
        service: &'a str,
    ) -> Task<'a, Result<Vec<Bytes>, PathError>> {
        Box::pin(async move {
            let servers = self.0.lock();
            let servers = servers.by_service.get(&(chain, service.to_owned()));
            let shown = |server: &Server| server.announcement.clone();
            Ok(servers.map_or_else(Vec::new, |servers| servers.iter().map(shown).collect()))
        })
    }

    fn open<'a>(
        &'a self,
        chain: ChainId,
        service: &'a str,
        to: AnnouncementId,
    ) -> Task<'a, Result<Duplex, PathError>> {
        Box::pin(async move {
            let gone = || PathError::new("the server is gone");
            let paths = {
                let servers = self.0.lock();
                let servers = servers.by_service.get(&(chain, service.to_owned()));
                let mut servers = servers.into_iter().flatten();
                let server = servers.find(|server| server.names.contains(&to));
                server.ok_or_else(gone)?.paths.clone()
            };
            let (caller, server) = memory_duplex();
            paths.send(server).await.map_err(|_| gone())?;
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
        Box::pin(async move {
            let (paths, accepted) = mpsc::channel(WAITING_MAX);
            let mut servers = self.0.lock();
            servers.next += 1;
            let serving = MemoryServing {
                hub: self.clone(),
                place: (chain, service.to_owned()),
                number: servers.next,
                accepted: tokio::sync::Mutex::new(accepted),
            };
            let server = Server {
                number: servers.next,
                announcement,
                names: vec![id],
                paths,
            };
            let place = serving.place.clone();
            servers.by_service.entry(place).or_default().push(server);
            Ok(Box::new(serving) as Box<dyn ServingPath>)
        })
    }
}

struct MemoryServing {
    hub: MemoryHub,
    place: (ChainId, String),
    number: u64,
    accepted: tokio::sync::Mutex<mpsc::Receiver<Duplex>>,
}

impl ServingPath for MemoryServing {
    fn renew(&self, id: AnnouncementId, announcement: Bytes) -> Task<'_, Result<(), PathError>> {
        Box::pin(async move {
            let mut servers = self.hub.0.lock();
            let servers = servers.by_service.get_mut(&self.place);
            let mut servers = servers.into_iter().flatten();
            if let Some(server) = servers.find(|server| server.number == self.number) {
                server.announcement = announcement;
                server.names.truncate(NAMES_MAX - 1);
                server.names.insert(0, id);
            }
            Ok(())
        })
    }

    fn accept(&self) -> Task<'_, Option<Duplex>> {
        Box::pin(async move { self.accepted.lock().await.recv().await })
    }
}

impl Drop for MemoryServing {
    fn drop(&mut self) {
        let mut servers = self.hub.0.lock();
        if let Some(list) = servers.by_service.get_mut(&self.place) {
            list.retain(|server| server.number != self.number);
            if list.is_empty() {
                servers.by_service.remove(&self.place);
            }
        }
    }
}

/// Both ends of a path in memory.
#[must_use]
pub fn memory_duplex() -> (Duplex, Duplex) {
    let (to_server, at_server) = mpsc::channel(FRAMES_MAX);
    let (to_caller, at_caller) = mpsc::channel(FRAMES_MAX);
    (end(to_server, at_caller), end(to_caller, at_server))
}

fn end(send: mpsc::Sender<Bytes>, receive: mpsc::Receiver<Bytes>) -> Duplex {
    Duplex {
        send: Box::new(MemorySink(send)),
        receive: Box::new(MemorySource(receive)),
    }
}

struct MemorySink(mpsc::Sender<Bytes>);

impl FrameSink for MemorySink {
    fn send(&mut self, frame: Bytes) -> Task<'_, Result<(), PathError>> {
        Box::pin(async move {
            let sent = self.0.send(frame).await;
            sent.map_err(|_| PathError::new("the path has ended"))
        })
    }
}

struct MemorySource(mpsc::Receiver<Bytes>);

impl FrameSource for MemorySource {
    fn receive(&mut self) -> Task<'_, Result<Option<Bytes>, PathError>> {
        Box::pin(async move { Ok(self.0.recv().await) })
    }
}
