//! A connection and its streams: each request is a task of its own, and all end with the connection.

use std::sync::Arc;
use std::time::Duration;

use ate_chain::{ChainId, ContentId, Local, Position};
use ate_crypto::{Hash, KeyId};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, info};

use super::budget::Share;
use super::{Shared, blocking, calls, code, follow, greet, left, measure, submit, witness};
use crate::error::NetError;
use crate::framed::{CONTROL_BYTES_MAX, FrameReader, FrameWriter, framed};
use crate::gate::Place;
use crate::host::{Act, Peer, Verdict};
use crate::limits::{LimitHit, LimitKind, Permit};
use crate::metrics::{RequestEnd, RequestKind};
use crate::transport::{Connection, Stream};
use crate::wire::{Kind, RefusalCode, Reply, Request, decode, encode};

/// A message that is not counted against what may be on its way: frames of small commits, answers, standings.
const SMALL_BYTES: usize = 16 << 10;
/// Longest that a peer which sends or takes too much is left alone.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What a stream of an admitted peer works with.
pub(super) struct Visit {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: Peer,
    /// Who the peer is, as far as limits go.
    pub(super) id: KeyId,
    pub(super) batches: Share,
    sending: Share,
    working: Semaphore,
    pub(super) connection: Arc<dyn Connection>,
    /// Places for servers that it shows.
    pub(super) servers: Semaphore,
    /// Places for paths that it opens.
    pub(super) paths: Arc<Semaphore>,
    /// Places for paths to its servers.
    pub(super) called: Arc<Semaphore>,
}

/// What a connection holds of the node's places: the handshake's until the peer has said who it is, unless the listener holds that.
pub(super) type Places = (Option<Place>, Place);

pub(super) async fn connection(
    shared: Arc<Shared>,
    connection: Arc<dyn Connection>,
    (handshake, _place): Places,
) {
    let metrics = shared.gate.metrics.clone();
    let _open = metrics.connections_open.enter();
    let peer = match greet::greet(&shared, &*connection).await {
        Ok(peer) => peer,
        Err(error) => {
            debug!(%error, address = ?connection.peer(), "no greeting");
            return;
        }
    };
    drop(handshake);
    info!(peer = %peer.who.id(), address = ?peer.address, "connected");
    let visit = Arc::new(Visit::new(shared, peer, connection.clone()));
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
    info!(peer = %visit.id, %why, "disconnected");
}

async fn answer(visit: Arc<Visit>, stream: Stream) {
    let (writer, mut reader) = framed(stream);
    let limit = visit.shared.parts.limits.ask;
    let asked = tokio::time::timeout(limit, reader.expect(Kind::Request, CONTROL_BYTES_MAX)).await;
    let request = match asked {
        Ok(Ok(request)) => visit.asked(&request),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(NetError::TimedOut {
            ms: limit.as_millis() as u64,
        }),
    };
    let begun = Instant::now();
    let (kind, done) = match request {
        Ok(request) => {
            let kind = measure::kind_of(&request);
            (kind, visit.answer(request, writer, reader).await)
        }
        Err(error) => {
            let code = match &error {
                NetError::Refused { code, .. } => *code,
                _ => RefusalCode::Protocol,
            };
            let told = visit.refuse(writer, code, &error.to_string()).await;
            (RequestKind::Other, told.and(Err(error)))
        }
    };
    let metrics = &visit.shared.gate.metrics;
    let end = match &done {
        Ok(end) => *end,
        Err(error) => measure::ended(error),
    };
    metrics.requests.add(kind, end, 1);
    if !matches!(
        kind,
        RequestKind::Follow | RequestKind::Submit | RequestKind::Call | RequestKind::Serve
    ) {
        let ms = begun.elapsed().as_millis();
        metrics
            .request_ms
            .record(u64::try_from(ms).unwrap_or(u64::MAX));
    }
    if let Err(error) = done {
        debug!(peer = %visit.id, %error, "a stream ended early");
    }
}

impl Visit {
    fn new(shared: Arc<Shared>, peer: Peer, connection: Arc<dyn Connection>) -> Self {
        let limits = &shared.parts.limits;
        let largest = limits.batch_bytes_max.saturating_add(1 << 20);
        let batches = limits.batches_bytes_per_connection.max(largest);
        let sending = limits.sending_bytes_per_connection.max(largest);
        let working = limits.working_per_connection;
        Self {
            id: peer.who.id(),
            batches: Share::new(
                &shared.batches,
                batches,
                |metrics| &metrics.receive_buffer_bytes,
                &shared.gate.metrics,
            ),
            sending: Share::new(
                &shared.sending,
                sending,
                |metrics| &metrics.send_buffer_bytes,
                &shared.gate.metrics,
            ),
            working: Semaphore::new(working.clamp(1, Semaphore::MAX_PERMITS)),
            servers: Semaphore::new(limits.servers_max),
            paths: Arc::new(Semaphore::new(limits.paths_max)),
            called: Arc::new(Semaphore::new(limits.paths_max)),
            connection,
            peer,
            shared,
        }
    }

    /// A request that came, if there is a share left for it.
    fn asked(&self, bytes: &[u8]) -> Result<Request, NetError> {
        let gate = &self.shared.gate;
        gate.metrics.received_bytes.add(bytes.len() as u64);
        let counted = gate.limiter.request(self.id, gate.now_ms());
        counted.map_err(|hit| busy(gate.hit(hit)))?;
        decode(bytes)
    }

    async fn answer(
        self: &Arc<Self>,
        request: Request,
        mut writer: FrameWriter,
        reader: FrameReader,
    ) -> Result<RequestEnd, NetError> {
        let chain_of = |chain: [u8; 32]| ChainId(Hash(chain));
        match request {
            Request::Hello(_) => {
                self.misplaced(writer, "a Hello comes first, and once")
                    .await
            }
            Request::Ping => {
                let pong = encode(&Reply::Pong);
                self.send(&mut writer, Kind::Reply, &pong).await?;
                done(writer)
            }
            Request::Find { name, root } => match self.find(&name, root.map(KeyId)).await? {
                Some(local) => {
                    let found = encode(&found(&local));
                    self.send(&mut writer, Kind::Reply, &found).await?;
                    done(writer)
                }
                None => self.absent(writer).await,
            },
            Request::Follow { chain, from, lazy } => {
                let follow = (chain_of(chain), from, lazy);
                self.follow(follow, writer, reader).await
            }
            Request::Submit { chain } => {
                submit::submit(self.clone(), chain_of(chain), writer, reader).await
            }
            Request::Fetch { chain, wanted } => match self.readable(chain_of(chain)).await? {
                Some(local) => self.fetch(&local, &wanted, writer).await,
                None => self.absent(writer).await,
            },
            Request::Standing { chain } => match self.readable(chain_of(chain)).await? {
                Some(local) => {
                    let note = follow::Note::Signed;
                    let standing = self.work(|| follow::standing(self, &local, note)).await;
                    let standing = encode(&standing);
                    self.send(&mut writer, Kind::Standing, &standing).await?;
                    done(writer)
                }
                None => self.absent(writer).await,
            },
            Request::Witness { chain, size } => match self.readable(chain_of(chain)).await? {
                Some(local) => witness::witness(self, &local, Position(size), writer).await,
                None => self.absent(writer).await,
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
            Request::Called { .. } => self.misplaced(writer, "nodes call servers").await,
        }
    }

    async fn misplaced(&self, writer: FrameWriter, why: &str) -> Result<RequestEnd, NetError> {
        self.refuse(writer, RefusalCode::Protocol, why).await
    }

    async fn follow(
        &self,
        (chain, from, lazy): (ChainId, u64, bool),
        writer: FrameWriter,
        reader: FrameReader,
    ) -> Result<RequestEnd, NetError> {
        let _stays = match self.stays() {
            Ok(stays) => stays,
            Err(hit) => return self.refuse(writer, RefusalCode::Busy, &hit).await,
        };
        match self.readable(chain).await? {
            Some(local) => follow::follow(self, &local, from, lazy, writer, reader).await,
            None => self.absent(writer).await,
        }
    }

    /// A place for a stream that stays.
    pub(super) fn stays(&self) -> Result<Permit<KeyId>, String> {
        let gate = &self.shared.gate;
        let taken = gate.limiter.stream(self.id);
        taken.map_err(|hit| gate.hit(hit).to_string())
    }

    /// Does what may block or takes long, when it is this connection's turn: so many requests cannot take all threads, nor the turns of others.
    pub(super) async fn work<T>(&self, work: impl FnOnce() -> T) -> T {
        // Neither is ever closed; without a turn it is done all the same.
        let _own = self.working.acquire().await;
        let _all = self.shared.working.acquire().await;
        blocking(work)
    }

    /// As [`work`](Self::work) for what certainly takes no longer than to hand the other tasks of this thread over first.
    pub(super) async fn little<T>(&self, work: impl FnOnce() -> T) -> T {
        let _own = self.working.acquire().await;
        let _all = self.shared.working.acquire().await;
        work()
    }

    /// Sends within the time that a peer has for a message.
    pub(super) async fn send(
        &self,
        writer: &mut FrameWriter,
        kind: Kind,
        payload: &[u8],
    ) -> Result<(), NetError> {
        let limit = self.shared.parts.limits.write;
        let sent = tokio::time::timeout(limit, async {
            let mut held = self.sending.nothing();
            if payload.len() > SMALL_BYTES {
                held.grow(payload.len()).await?;
            }
            writer.send(kind, payload).await
        });
        let Ok(sent) = sent.await else {
            return Err(NetError::TimedOut {
                ms: limit.as_millis() as u64,
            });
        };
        sent?;
        let (gate, bytes) = (&self.shared.gate, payload.len() as u64);
        gate.metrics.sent_bytes.add(bytes);
        let wait = gate.limiter.sent(self.id, bytes, gate.now_ms());
        self.pause(LimitKind::BytesOut, wait).await;
        Ok(())
    }

    /// Leaves a peer alone that is over its limit.
    pub(super) async fn pause(&self, limit: LimitKind, wait_ms: u64) {
        if wait_ms > 0 {
            self.shared.gate.hit(LimitHit {
                limit,
                retry_ms: Some(wait_ms),
            });
            tokio::time::sleep(Duration::from_millis(wait_ms).min(PAUSE_MAX)).await;
        }
    }

    /// Says no, within the time that a peer has for a message.
    pub(super) async fn refuse(
        &self,
        writer: FrameWriter,
        code: RefusalCode,
        why: &str,
    ) -> Result<RequestEnd, NetError> {
        let limit = self.shared.parts.limits.write;
        let told = tokio::time::timeout(limit, writer.refuse(code, why)).await;
        told.unwrap_or(Err(NetError::TimedOut {
            ms: limit.as_millis() as u64,
        }))?;
        Ok(measure::refused(code))
    }

    /// One answer for what is not here and what is not for this peer.
    pub(super) async fn absent(&self, writer: FrameWriter) -> Result<RequestEnd, NetError> {
        let why = "there is no such chain here, or it is not for this identity";
        self.refuse(writer, RefusalCode::Absent, why).await
    }

    pub(super) fn judge(&self, act: Act<'_>) -> Verdict {
        self.shared.parts.admission.judge(&self.peer, act)
    }

    async fn find(&self, name: &str, root: Option<KeyId>) -> Result<Option<Arc<Local>>, NetError> {
        let host = &self.shared.parts.host;
        let found = self.work(|| host.find(name, root)).await;
        match found.map_err(NetError::Store)? {
            Some(chain) => self.readable(chain).await,
            None => Ok(None),
        }
    }

    /// The chain, if it is here and this peer may read it.
    pub(super) async fn readable(&self, chain: ChainId) -> Result<Option<Arc<Local>>, NetError> {
        if self.judge(Act::Read { chain }) != Verdict::Admit {
            return Ok(None);
        }
        let host = &self.shared.parts.host;
        self.work(|| host.open(chain))
            .await
            .map_err(NetError::Store)
    }

    async fn fetch(
        &self,
        local: &Local,
        wanted: &[(u64, u32)],
        mut writer: FrameWriter,
    ) -> Result<RequestEnd, NetError> {
        if wanted.len() > self.shared.parts.limits.fetch_max {
            let why = "too many contents at once";
            return self.refuse(writer, RefusalCode::Busy, why).await;
        }
        let mut contents = local.sealed_contents();
        for &(seq, event) in wanted {
            let content = ContentId { seq, event };
            let mut payload = vec![0];
            if let Some(sealed) = self.work(|| contents.read(content)).await? {
                payload[0] = 1;
                payload.extend_from_slice(&sealed);
            }
            self.send(&mut writer, Kind::Content, &payload).await?;
        }
        done(writer)
    }
}

pub(super) fn done(mut writer: FrameWriter) -> Result<RequestEnd, NetError> {
    writer.finish()?;
    Ok(RequestEnd::Done)
}

/// A limit that was hit, as the peer hears of it.
pub(super) fn busy(hit: LimitHit) -> NetError {
    NetError::Refused {
        code: RefusalCode::Busy,
        why: hit.to_string(),
    }
}

/// Where a chain stands, for whoever asked for it by name.
fn found(local: &Local) -> Reply {
    let position = local.position();
    Reply::Found {
        chain: local.chain().0.0,
        size: position.0,
        root: local.root_at(position).unwrap_or_default().0,
    }
}
