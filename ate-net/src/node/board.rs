//! The servers of services that are there now: those of a node's connections, and those of its own process.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ate_chain::ChainId;
use ate_crypto::KeyId;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::calls::{
    Announcement, AnnouncementId, CallPath, Duplex, PathError, Route, ServingPath, memory_duplex,
    streamed,
};
use crate::error::NetError;
use crate::framed::{CONTROL_BYTES_MAX, FrameReader, FrameWriter, framed};
use crate::transport::{Connection, Task};
use crate::wire::{Kind, RefusalCode, Reply, Request, decode, encode};

/// Servers of one service.
const SERVERS_MAX: usize = 64;
/// Servers of one service that one identity shows: others must find room.
const SERVERS_OF_ONE_MAX: usize = 16;
/// Servers of all services of one chain.
const SERVERS_OF_CHAIN_MAX: usize = 1024;
/// Servers of all chains. At 8 KiB of announcement each: 128 MiB.
const SERVERS_OF_ALL_MAX: usize = 16_384;
/// Announcements under which a server is still reached after newer ones.
const NAMES_MAX: usize = 8;
/// Paths that wait to be taken by a server of this process.
const WAITING_MAX: usize = 64;
/// For a server to take a path.
const REACH_WITHIN: Duration = Duration::from_secs(10);

/// Who serves what, by chain and service. As a [`CallPath`] it is the way for callers and servers of this process, both to each other and to those that a
/// [`Node`](crate::Node) brings, which shares the board. Nothing on it is verified: callers do that. Cheap to clone; clones are the same board.
#[derive(Clone, Default)]
pub struct CallBoard(Arc<Mutex<Servers>>);

#[derive(Default)]
struct Servers {
    next: u64,
    count: usize,
    by_chain: HashMap<ChainId, HashMap<String, Vec<Server>>>,
}

struct Server {
    number: u64,
    who: KeyId,
    announcement: Bytes,
    /// The newest first.
    names: Vec<AnnouncementId>,
    way: Way,
}

/// How a server is reached.
#[derive(Clone)]
pub(super) enum Way {
    /// In this process.
    Here(mpsc::Sender<Duplex>),
    /// Over the connection on which it shows itself.
    There {
        connection: Arc<dyn Connection>,
        /// Bounds the paths to all servers of the connection.
        paths: Arc<Semaphore>,
    },
}

/// A server is on the board until this is dropped.
pub(super) struct Shown {
    board: CallBoard,
    chain: ChainId,
    service: String,
    number: u64,
}

impl CallBoard {
    /// A board without servers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Shows a server. The error tells what is full, or that the name is taken: under a name that is in use nobody else can be reached.
    pub(super) fn show(
        &self,
        route: Route,
        announcement: Bytes,
        way: Way,
    ) -> Result<Shown, &'static str> {
        let mut servers = self.0.lock();
        if servers.count >= SERVERS_OF_ALL_MAX {
            return Err("no room for further servers");
        }
        let (number, services) = (servers.next, servers.by_chain.entry(route.chain));
        let services = services.or_default();
        let of_chain: usize = services.values().map(Vec::len).sum();
        let of_service = services.entry(route.service.clone()).or_default();
        let of_one = of_service.iter().filter(|it| it.who == route.who).count();
        if of_chain >= SERVERS_OF_CHAIN_MAX || of_service.len() >= SERVERS_MAX {
            return Err("no room for further servers of this service or chain");
        }
        if of_one >= SERVERS_OF_ONE_MAX {
            return Err("no room for further servers of this identity");
        }
        if of_service.iter().any(|it| it.names.contains(&route.id)) {
            return Err("this announcement is shown already");
        }
        of_service.push(Server {
            number,
            who: route.who,
            announcement,
            names: vec![route.id],
            way,
        });
        servers.next += 1;
        servers.count += 1;
        Ok(Shown {
            board: self.clone(),
            chain: route.chain,
            service: route.service,
            number,
        })
    }

    /// The newest announcements of all servers of a service.
    pub(super) fn shown(&self, chain: ChainId, service: &str) -> Vec<Bytes> {
        let servers = self.0.lock();
        let services = servers.by_chain.get(&chain);
        let of_service = services.and_then(|services| services.get(service));
        let announcement = |server: &Server| server.announcement.clone();
        of_service.map_or_else(Vec::new, |it| it.iter().map(announcement).collect())
    }

    pub(super) fn way(&self, chain: ChainId, service: &str, to: AnnouncementId) -> Option<Way> {
        let servers = self.0.lock();
        let of_service = servers.by_chain.get(&chain)?.get(service)?;
        let server = of_service.iter().find(|it| it.names.contains(&to))?;
        Some(server.way.clone())
    }
}

impl Shown {
    /// Shows a newer announcement of the same server.
    pub(super) fn renew(&self, route: Route, announcement: Bytes) -> Result<(), &'static str> {
        if (route.chain, &route.service) != (self.chain, &self.service) {
            return Err("the announcement is one of another service");
        }
        let mut servers = self.board.0.lock();
        let services = servers.by_chain.get_mut(&self.chain);
        let Some(of_service) = services.and_then(|it| it.get_mut(&self.service)) else {
            return Ok(());
        };
        if of_service.iter().any(|it| it.names.contains(&route.id)) {
            return Err("this announcement is shown already");
        }
        let mut of_service = of_service.iter_mut();
        if let Some(server) = of_service.find(|server| server.number == self.number) {
            if server.who != route.who {
                return Err("the announcement is one of another identity");
            }
            server.announcement = announcement;
            server.names.truncate(NAMES_MAX - 1);
            server.names.insert(0, route.id);
        }
        Ok(())
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let mut gone = None;
        let mut servers = self.board.0.lock();
        let Some(services) = servers.by_chain.get_mut(&self.chain) else {
            return;
        };
        if let Some(of_service) = services.get_mut(&self.service) {
            let at = of_service.iter().position(|it| it.number == self.number);
            gone = at.map(|at| of_service.remove(at));
            if of_service.is_empty() {
                services.remove(&self.service);
            }
        }
        if services.is_empty() {
            servers.by_chain.remove(&self.chain);
        }
        servers.count -= usize::from(gone.is_some());
        // What ends with a connection ends outside of the lock.
        drop(servers);
        drop(gone);
    }
}

/// Opens a path to a server on the server's own connection.
pub(super) async fn reach(
    connection: &dyn Connection,
    paths: &Arc<Semaphore>,
    to: AnnouncementId,
) -> Result<(FrameWriter, FrameReader, OwnedSemaphorePermit), NetError> {
    let place = paths.clone().try_acquire_owned();
    let place = place.map_err(|_| NetError::Refused {
        code: RefusalCode::Busy,
        why: "the server has no room for further paths".to_owned(),
    })?;
    let reached = tokio::time::timeout(REACH_WITHIN, async {
        let (mut writer, mut reader) = framed(connection.open().await?);
        let called = Request::Called { to: to.0 };
        writer.send(Kind::Request, &encode(&called)).await?;
        match decode(&reader.expect(Kind::Reply, CONTROL_BYTES_MAX).await?)? {
            Reply::Ready => Ok((writer, reader)),
            _ => Err(NetError::Protocol {
                what: "a Called is answered by a Ready",
            }),
        }
    });
    let (writer, reader) = reached.await.unwrap_or(Err(NetError::TimedOut {
        ms: REACH_WITHIN.as_millis() as u64,
    }))?;
    Ok((writer, reader, place))
}

impl CallPath for CallBoard {
    fn announcements<'a>(
        &'a self,
        chain: ChainId,
        service: &'a str,
    ) -> Task<'a, Result<Vec<Bytes>, PathError>> {
        Box::pin(async move { Ok(self.shown(chain, service)) })
    }

    fn open<'a>(
        &'a self,
        chain: ChainId,
        service: &'a str,
        to: AnnouncementId,
    ) -> Task<'a, Result<Duplex, PathError>> {
        Box::pin(async move {
            let gone = || PathError::new("the server is gone");
            match self.way(chain, service, to).ok_or_else(gone)? {
                Way::Here(paths) => {
                    let (caller, server) = memory_duplex();
                    paths.send(server).await.map_err(|_| gone())?;
                    Ok(caller)
                }
                Way::There { connection, paths } => {
                    let reached = reach(&*connection, &paths, to).await;
                    let (writer, reader, place) =
                        reached.map_err(|error| PathError::new(error.to_string()))?;
                    Ok(streamed(writer, reader, Some(place)))
                }
            }
        })
    }

    fn serve<'a>(
        &'a self,
        _: ChainId,
        _: &'a str,
        _: AnnouncementId,
        announcement: Bytes,
    ) -> Task<'a, Result<Box<dyn ServingPath>, PathError>> {
        Box::pin(async move {
            let (paths, accepted) = mpsc::channel(WAITING_MAX);
            let route = route(&announcement)?;
            let shown = self.show(route, announcement, Way::Here(paths));
            Ok(Box::new(ServingHere {
                shown: shown.map_err(PathError::new)?,
                accepted: tokio::sync::Mutex::new(accepted),
            }) as Box<dyn ServingPath>)
        })
    }
}

fn route(announcement: &[u8]) -> Result<Route, PathError> {
    Announcement::route(announcement).map_err(|error| PathError::new(error.to_string()))
}

struct ServingHere {
    shown: Shown,
    accepted: tokio::sync::Mutex<mpsc::Receiver<Duplex>>,
}

impl ServingPath for ServingHere {
    fn renew(&self, _: AnnouncementId, announcement: Bytes) -> Task<'_, Result<(), PathError>> {
        Box::pin(async move {
            let renewed = self.shown.renew(route(&announcement)?, announcement);
            renewed.map_err(PathError::new)
        })
    }

    fn accept(&self) -> Task<'_, Option<Duplex>> {
        Box::pin(async move { self.accepted.lock().await.recv().await })
    }
}
