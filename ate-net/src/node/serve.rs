//! A connection and its streams: each request is a task of its own, and all end with the connection.

use std::sync::Arc;

use ate_chain::{ChainId, ContentId, Local};
use ate_crypto::{Hash, KeyId};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{debug, info};

use super::{Shared, blocking, calls, code, follow, greet, left, submit};
use crate::error::NetError;
use crate::framed::{CONTROL_BYTES_MAX, FrameReader, FrameWriter, framed};
use crate::host::{Act, Peer, Verdict};
use crate::transport::{Connection, Stream};
use crate::wire::{Kind, RefusalCode, Reply, Request, decode, encode};

/// What a stream of an admitted peer works with.
pub(super) struct Visit {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: Peer,
    pub(super) connection: Arc<dyn Connection>,
    /// Places for servers that it shows.
    pub(super) servers: Semaphore,
    /// Places for paths that it opens.
    pub(super) paths: Arc<Semaphore>,
    /// Places for paths to its servers.
    pub(super) called: Arc<Semaphore>,
}

pub(super) async fn connection(shared: Arc<Shared>, connection: Arc<dyn Connection>) {
    let peer = match greet::greet(&shared, &*connection).await {
        Ok(peer) => peer,
        Err(error) => {
            debug!(%error, address = ?connection.peer(), "no greeting");
            return;
        }
    };
    info!(peer = %peer.who.id(), address = ?peer.address, "connected");
    let limits = &shared.parts.limits;
    let visit = Arc::new(Visit {
        peer,
        connection: connection.clone(),
        servers: Semaphore::new(limits.servers_max),
        paths: Arc::new(Semaphore::new(limits.paths_max)),
        called: Arc::new(Semaphore::new(limits.paths_max)),
        shared,
    });
    let mut streams = JoinSet::new();
    let (code, why) = loop {
        while streams.try_join_next().is_some() {}
        tokio::select! {
            biased;
            () = left(visit.shared.leaving.clone()) => break (code::LEAVING, "the node is shutting down".into()),
            stream = connection.accept() => match stream {
                Ok(stream) => drop(streams.spawn(answer(visit.clone(), stream))),
                Err(error) => break (code::DONE, error.to_string()),
            },
        }
    };
    // Batches that were taken in are answered: every stream ends by itself when the node leaves or the connection has ended.
    while streams.join_next().await.is_some() {}
    connection.close(code, &why);
    info!(peer = %visit.peer.who.id(), %why, "disconnected");
}

async fn answer(visit: Arc<Visit>, stream: Stream) {
    let (writer, mut reader) = framed(stream);
    let limit = visit.shared.parts.limits.ask;
    let asked = tokio::time::timeout(limit, reader.expect(Kind::Request, CONTROL_BYTES_MAX)).await;
    let request = match asked {
        Ok(Ok(request)) => decode::<Request>(&request),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(NetError::TimedOut {
            ms: limit.as_millis() as u64,
        }),
    };
    let done = match request {
        Ok(request) => visit.answer(request, writer, reader).await,
        Err(error) => writer
            .refuse(RefusalCode::Protocol, &error.to_string())
            .await
            .and(Err(error)),
    };
    if let Err(error) = done {
        debug!(peer = %visit.peer.who.id(), %error, "a stream ended early");
    }
}

impl Visit {
    async fn answer(
        self: &Arc<Self>,
        request: Request,
        mut writer: FrameWriter,
        reader: FrameReader,
    ) -> Result<(), NetError> {
        let chain_of = |chain: [u8; 32]| ChainId(Hash(chain));
        match request {
            Request::Hello(_) => {
                let why = "a Hello comes first, and once";
                writer.refuse(RefusalCode::Protocol, why).await
            }
            Request::Ping => {
                self.send(&mut writer, Kind::Reply, &encode(&Reply::Pong))
                    .await?;
                writer.finish()
            }
            Request::Find { name, root } => match blocking(|| self.find(&name, root.map(KeyId)))? {
                Some(local) => {
                    let position = local.position();
                    let found = Reply::Found {
                        chain: local.chain().0.0,
                        size: position.0,
                        root: local.root_at(position).unwrap_or_default().0,
                    };
                    self.send(&mut writer, Kind::Reply, &encode(&found)).await?;
                    writer.finish()
                }
                None => absent(writer).await,
            },
            Request::Follow { chain, from, lazy } => match self.readable(chain_of(chain))? {
                Some(local) => follow::follow(self, &local, from, lazy, writer, reader).await,
                None => absent(writer).await,
            },
            Request::Submit { chain } => {
                submit::submit(self.clone(), chain_of(chain), writer, reader).await
            }
            Request::Fetch { chain, wanted } => match self.readable(chain_of(chain))? {
                Some(local) => self.fetch(&local, &wanted, writer).await,
                None => absent(writer).await,
            },
            Request::Standing { chain } => match self.readable(chain_of(chain))? {
                Some(local) => {
                    let standing =
                        blocking(|| follow::standing(self, &local, follow::Note::Signed));
                    self.send(&mut writer, Kind::Standing, &encode(&standing))
                        .await?;
                    writer.finish()
                }
                None => absent(writer).await,
            },
            Request::Announcements { chain, service } => {
                calls::announcements(self, chain, &service, writer).await
            }
            Request::Serve { announcement } => {
                calls::serve(self, announcement, writer, reader).await
            }
            Request::Call { chain, service, to } => {
                calls::call(self, (chain, service, to), writer, reader).await
            }
            Request::Called { .. } => {
                let why = "a node calls servers, not the other way round";
                writer.refuse(RefusalCode::Protocol, why).await
            }
        }
    }

    /// Sends within the time that a peer has for a message.
    pub(super) async fn send(
        &self,
        writer: &mut FrameWriter,
        kind: Kind,
        payload: &[u8],
    ) -> Result<(), NetError> {
        let limit = self.shared.parts.limits.write;
        match tokio::time::timeout(limit, writer.send(kind, payload)).await {
            Ok(sent) => sent,
            Err(_) => Err(NetError::TimedOut {
                ms: limit.as_millis() as u64,
            }),
        }
    }

    pub(super) fn judge(&self, act: Act<'_>) -> Verdict {
        self.shared.parts.admission.judge(&self.peer, act)
    }

    fn find(&self, name: &str, root: Option<KeyId>) -> Result<Option<Arc<Local>>, NetError> {
        let found = self
            .shared
            .parts
            .host
            .find(name, root)
            .map_err(NetError::Store)?;
        match found {
            Some(chain) => self.readable(chain),
            None => Ok(None),
        }
    }

    /// The chain, if it is here and this peer may read it.
    pub(super) fn readable(&self, chain: ChainId) -> Result<Option<Arc<Local>>, NetError> {
        if self.judge(Act::Read { chain }) != Verdict::Admit {
            return Ok(None);
        }
        blocking(|| self.shared.parts.host.open(chain)).map_err(NetError::Store)
    }

    async fn fetch(
        &self,
        local: &Local,
        wanted: &[(u64, u32)],
        mut writer: FrameWriter,
    ) -> Result<(), NetError> {
        if wanted.len() > self.shared.parts.limits.fetch_max {
            return writer
                .refuse(RefusalCode::Busy, "too many contents at once")
                .await;
        }
        let mut contents = local.sealed_contents();
        for &(seq, event) in wanted {
            let content = ContentId { seq, event };
            let mut payload = vec![0];
            if let Some(sealed) = blocking(|| contents.read(content))? {
                payload[0] = 1;
                payload.extend_from_slice(&sealed);
            }
            self.send(&mut writer, Kind::Content, &payload).await?;
        }
        writer.finish()
    }
}

/// One answer for what is not here and what is not for this peer.
pub(super) async fn absent(writer: FrameWriter) -> Result<(), NetError> {
    let why = "there is no such chain here, or it is not for this identity";
    writer.refuse(RefusalCode::Absent, why).await
}
