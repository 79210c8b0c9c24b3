//! Calls over a link: a [`CallPath`] to whoever is at the same node, and the paths that the node opens to servers of this side.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ate_chain::ChainId;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::link::Link;
use super::session::Session;
use crate::calls::{AnnouncementId, CallPath, Duplex, PathError, ServingPath, streamed};
use crate::error::NetError;
use crate::framed::{CONTROL_BYTES_MAX, FrameReader, FrameWriter, framed};
use crate::transport::{Connection, Stream, Task};
use crate::wire::{Kind, RefusalCode, Reply, Request, decode, encode};

/// How long to wait for a link that is down: whoever calls hears of it while there is time for something else.
const UP_WITHIN: Duration = Duration::from_secs(3);
/// For the node to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// For the node to say whom it calls, on a stream that it opened.
const CALLED_WITHIN: Duration = Duration::from_secs(10);
/// Streams of the node that have not said yet whom they call.
const OPENING_MAX: usize = 64;
/// Paths that wait to be taken by a server.
const WAITING_MAX: usize = 64;
/// Announcements under which a server is still reached after newer ones.
const NAMES_MAX: usize = 8;
/// Announcements that are taken from a node.
const ANNOUNCEMENTS_MAX: usize = 256;

impl CallPath for Link {
    fn announcements<'a>(
        &'a self,
        chain: ChainId,
        service: &'a str,
    ) -> Task<'a, Result<Vec<Bytes>, PathError>> {
        let request = Request::Announcements {
            chain: chain.0.0,
            service: service.to_owned(),
        };
        Box::pin(async move {
            let session = self.session().await?;
            let asked = timeout(ANSWER_WITHIN, announcements(&session, &request)).await;
            self.in_words(in_time(asked))
        })
    }

    fn open<'a>(
        &'a self,
        chain: ChainId,
        service: &'a str,
        to: AnnouncementId,
    ) -> Task<'a, Result<Duplex, PathError>> {
        let request = Request::Call {
            chain: chain.0.0,
            service: service.to_owned(),
            to: to.0,
        };
        Box::pin(async move {
            let session = self.session().await?;
            let opened = timeout(ANSWER_WITHIN, ready(&session, &request)).await;
            let (writer, reader) = self.in_words(in_time(opened))?;
            Ok(streamed(writer, reader, None))
        })
    }

    /// Ends with the connection; [`Service`](crate::calls::Service) then announces the server again, over the next one.
    fn serve<'a>(
        &'a self,
        _: ChainId,
        _: &'a str,
        id: AnnouncementId,
        announcement: Bytes,
    ) -> Task<'a, Result<Box<dyn ServingPath>, PathError>> {
        Box::pin(async move {
            let session = self.session().await?;
            let (paths, accepted) = mpsc::channel(WAITING_MAX);
            // Before the node hears of it, since it may call at once.
            let door = Door {
                doors: session.doors.clone(),
                paths,
                names: Mutex::default(),
            };
            door.answer_to(id);
            let request = Request::Serve { announcement };
            let shown = timeout(ANSWER_WITHIN, ready(&session, &request)).await;
            let (writer, reader) = self.in_words(in_time(shown))?;
            Ok(Box::new(ServingThere {
                door,
                writer: tokio::sync::Mutex::new(writer),
                accepting: tokio::sync::Mutex::new((accepted, reader)),
                _session: session,
            }) as Box<dyn ServingPath>)
        })
    }
}

impl Link {
    async fn session(&self) -> Result<Arc<Session>, PathError> {
        self.in_words(self.up_within(UP_WITHIN).await)
    }

    fn in_words<T>(&self, done: Result<T, NetError>) -> Result<T, PathError> {
        done.map_err(|error| PathError::new(format!("the node at {}: {error}", self.endpoint)))
    }
}

fn in_time<T>(
    done: Result<Result<T, NetError>, tokio::time::error::Elapsed>,
) -> Result<T, NetError> {
    done.unwrap_or(Err(NetError::TimedOut {
        ms: ANSWER_WITHIN.as_millis() as u64,
    }))
}

async fn announcements(session: &Session, request: &Request) -> Result<Vec<Bytes>, NetError> {
    let (mut writer, mut reader) = session.request(request).await?;
    writer.finish()?;
    let mut all = Vec::new();
    while let Some((kind, reply)) = reader.next(CONTROL_BYTES_MAX).await? {
        let (Kind::Reply, Reply::Announcements(some)) = (kind, decode(&reply)?) else {
            return Err(NetError::Protocol {
                what: "who asks for announcements gets announcements",
            });
        };
        // Of their own, so that none keeps the message in which it came.
        all.extend(some.iter().map(|it| Bytes::copy_from_slice(it)));
        if all.len() >= ANNOUNCEMENTS_MAX {
            break;
        }
    }
    Ok(all)
}

/// A stream whose request the node has taken.
async fn ready(
    session: &Session,
    request: &Request,
) -> Result<(FrameWriter, FrameReader), NetError> {
    let (writer, mut reader) = session.request(request).await?;
    match decode(&reader.expect(Kind::Reply, CONTROL_BYTES_MAX).await?)? {
        Reply::Ready => Ok((writer, reader)),
        _ => Err(NetError::Protocol {
            what: "a Call and a Serve are answered by a Ready",
        }),
    }
}

/// Where paths go that the node opens, by the announcement that was called.
#[derive(Default)]
pub(super) struct Doors(Mutex<HashMap<AnnouncementId, mpsc::Sender<Duplex>>>);

/// The names under which one server is called, until it is dropped.
struct Door {
    doors: Arc<Doors>,
    paths: mpsc::Sender<Duplex>,
    /// The newest first.
    names: Mutex<Vec<AnnouncementId>>,
}

impl Door {
    fn answer_to(&self, id: AnnouncementId) {
        let mut names = self.names.lock();
        let mut doors = self.doors.0.lock();
        names.insert(0, id);
        doors.insert(id, self.paths.clone());
        while names.len() > NAMES_MAX {
            names.pop().map(|old| doors.remove(&old));
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let mut doors = self.doors.0.lock();
        for name in self.names.lock().drain(..) {
            doors.remove(&name);
        }
    }
}

struct ServingThere {
    door: Door,
    writer: tokio::sync::Mutex<FrameWriter>,
    accepting: tokio::sync::Mutex<(mpsc::Receiver<Duplex>, FrameReader)>,
    _session: Arc<Session>,
}

impl ServingPath for ServingThere {
    fn renew(&self, id: AnnouncementId, announcement: Bytes) -> Task<'_, Result<(), PathError>> {
        Box::pin(async move {
            self.door.answer_to(id);
            let request = encode(&Request::Serve { announcement });
            let mut writer = self.writer.lock().await;
            let sent = timeout(ANSWER_WITHIN, writer.send(Kind::Request, &request)).await;
            in_time(sent).map_err(|error| PathError::new(error.to_string()))
        })
    }

    fn accept(&self) -> Task<'_, Option<Duplex>> {
        Box::pin(async move {
            let mut accepting = self.accepting.lock().await;
            let (paths, reader) = &mut *accepting;
            tokio::select! {
                biased;
                path = paths.recv() => path,
                // The node says nothing on this stream but that it ends.
                _ = reader.next(CONTROL_BYTES_MAX) => None,
            }
        })
    }
}

/// Takes the streams that the node opens, until the connection ends.
pub(super) async fn accept(connection: Arc<dyn Connection>, doors: Arc<Doors>) {
    let places = Arc::new(Semaphore::new(OPENING_MAX));
    while let Ok(place) = places.clone().acquire_owned().await {
        let Ok(stream) = connection.accept().await else {
            return;
        };
        let doors = doors.clone();
        tokio::spawn(async move {
            match timeout(CALLED_WITHIN, called(&doors, stream)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a path was not taken"),
                Err(_) => tracing::debug!("the node opened a stream and said nothing"),
            }
            drop(place);
        });
    }
}

async fn called(doors: &Doors, stream: Stream) -> Result<(), NetError> {
    let (mut writer, mut reader) = framed(stream);
    let request = reader.expect(Kind::Request, CONTROL_BYTES_MAX).await?;
    let Request::Called { to } = decode(&request)? else {
        return Err(NetError::Protocol {
            what: "a node opens streams to call servers alone",
        });
    };
    let paths = doors.0.lock().get(&AnnouncementId(to)).cloned();
    let Some(paths) = paths else {
        let why = "the server is gone";
        return writer.refuse(RefusalCode::Absent, why).await;
    };
    let Ok(path) = paths.try_reserve() else {
        let why = "the server has no room for further paths";
        return writer.refuse(RefusalCode::Busy, why).await;
    };
    writer.send(Kind::Reply, &encode(&Reply::Ready)).await?;
    path.send(streamed(writer, reader, None));
    Ok(())
}
