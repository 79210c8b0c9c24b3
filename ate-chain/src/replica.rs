//! What a store keeps of a chain whose order is decided elsewhere, beside the chain itself.
//!
//! The *side stream* of the store's log holds what the chain's own frames do not: commits that are staged, what became of them, and contents that were fetched.
//! It is local: nobody else sees it, and a store that loses it loses no commit that somebody has acknowledged.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use ate_crypto::Hash;
use ate_log::{Entry, FrameKind, Location, PartBytes, Placed, Scan, Span, StreamId};
use parking_lot::Mutex;

use crate::batch::Batch;
use crate::codec::Reader;
use crate::error::{OpenError, ReadError};
use crate::flight::Flights;
use crate::ids::{ChainId, Position, Version};
use crate::local::Local;
use crate::outbox::{Outbox, STAGED_BYTES_MAX};
use crate::pending::Pending;
use crate::settle::Settled;
use crate::witness::WitnessError;

/// The way to whoever decides a chain's order. Its owner sends what is staged, takes in what is shown, and lives as long as it likes: a chain whose upstream is
/// silent can be read and written on.
pub trait Upstream: Send + Sync {
    /// There is something new to send ([`Local::unsent`]) and to sync ([`Local::sync_staged`]). Must not block.
    fn wake(&self);

    /// Fetches sealed contents: one answer for each, `None` where it is not there either. They are checked by whoever asks, but what is longer than it was signed
    /// is not to be taken into memory. Must not block; ends by itself, also if nobody can be reached.
    fn fetch(&self, wanted: Vec<Wanted>) -> Pending<Result<Vec<Option<Vec<u8>>>, FetchError>>;

    /// Whether [`Upstream::witness`] has anybody to ask.
    fn has_witnesses(&self) -> bool {
        false
    }

    /// Waits until as many witnesses as it takes have signed this root of the first `position` commits. Must not block; ends by itself.
    fn witness(&self, position: Position, root: Hash) -> Pending<Result<(), WitnessError>> {
        let _ = (position, root);
        Pending::ready(Err(WitnessError::Unnamed))
    }
}

/// A content, by the place of its event.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ContentId {
    /// Number of the commit.
    pub seq: u64,
    /// Index of the event in it.
    pub event: u32,
}

impl ContentId {
    /// The content that a version of a record has, if it has any.
    #[must_use]
    pub const fn of(version: Version) -> Self {
        Self {
            seq: version.seq,
            event: version.event,
        }
    }
}

/// A content to be fetched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Which.
    pub content: ContentId,
    /// Bytes that it has, sealed, as its author signed: an answer of another length is a forgery.
    pub bytes: u32,
}

/// Why a content was not fetched.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// It was not asked for yet: [`Local::fetch`] does.
    #[error("it was not fetched yet")]
    NotFetched,
    /// Nobody who has it can be asked now.
    #[error(
        "the content is not held here, and its node cannot be reached: {why}; it can be read as soon as the node can, or offline if it was prefetched before"
    )]
    Unreachable {
        /// Why.
        why: String,
    },
    /// Whoever was asked does not give it to this identity, or not now.
    #[error("the content is not held here, and its node does not give it: {why}")]
    Refused {
        /// Its words.
        why: String,
    },
    /// It came, and the store's own log did not take it.
    #[error("the content came, and the store's log did not take it: {why}")]
    NotKept {
        /// Why.
        why: String,
    },
    /// Whoever was asked does not have it.
    #[error("the content is not held here, and its node does not have it")]
    NotThere,
    /// What came is not what was signed.
    #[error("the node gave other bytes than those that were signed")]
    Forged,
}

/// The part of a chain that makes it a replica.
pub(crate) struct Replica {
    pub(crate) upstream: Arc<dyn Upstream>,
    pub(crate) side: StreamId,
    /// Locked after the state, never before.
    pub(crate) outbox: Mutex<Outbox>,
    /// Held by whoever makes staged commits durable. Locked before the outbox.
    pub(crate) syncing: Mutex<()>,
    /// Most bytes that may be staged, or refused and kept.
    pub(crate) staged_bytes_max: AtomicU64,
    /// Where contents stand that were fetched.
    pub(crate) fetched: Mutex<HashMap<ContentId, Span>>,
    /// Contents that are being fetched.
    pub(crate) flights: Flights,
}

pub(crate) type ReplicaCell = OnceLock<Replica>;

/// The stream of what a replica keeps beside a chain.
fn side_stream(chain: &ChainId) -> StreamId {
    StreamId(ate_crypto::tagged("ATE-side-v1", &[&chain.0.0]).0)
}

impl Local {
    /// Makes the chain a replica: commits go to `upstream` from now on, and nobody orders them here. To be called once, after [`Local::load`] where the log has the
    /// chain, and before anything is committed. Staged commits of an earlier opening are proposed again.
    ///
    /// # Errors
    /// The log's. The chain is not to be used.
    ///
    /// # Cost
    /// Linear in what the store keeps beside the chain.
    pub fn follow(&self, upstream: Arc<dyn Upstream>) -> Result<(), OpenError> {
        let side = side_stream(&self.chain());
        let mut fetched = HashMap::new();
        let mut outbox = Outbox::default();
        let mut failed = None;
        let scan = Scan::from(self.log.start()).of(side);
        self.log.scan(
            scan,
            &mut |frame| match self.beside(&frame, &mut outbox, &mut fetched) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            },
        )?;
        if let Some(error) = failed {
            return Err(error);
        }
        let replica = Replica {
            upstream,
            side,
            outbox: Mutex::new(outbox),
            syncing: Mutex::default(),
            staged_bytes_max: AtomicU64::new(STAGED_BYTES_MAX),
            fetched: Mutex::new(fetched),
            flights: Flights::default(),
        };
        if self.replica.set(replica).is_err() {
            return Err(OpenError::Damaged {
                chain: self.chain(),
                seq: self.position().0,
                at: self.log.start(),
                why: "the chain follows somebody already",
            });
        }
        let mut state = self.state.write();
        self.renew_overlay(&mut state);
        drop(state);
        self.settle_landed();
        Ok(())
    }

    /// Takes one frame of the side stream.
    fn beside(
        &self,
        frame: &ate_log::Frame<'_>,
        outbox: &mut Outbox,
        fetched: &mut HashMap<ContentId, Span>,
    ) -> Result<(), OpenError> {
        let damaged = || OpenError::Damaged {
            chain: self.chain(),
            seq: self.position().0,
            at: frame.at,
            why: "what is kept beside the chain does not decode",
        };
        let (at, part) = frame.parts().last().ok_or_else(damaged)?;
        match frame.kind {
            FrameKind::Body => {
                let mut reader = Reader::new(frame.part(0).ok_or_else(damaged)?);
                let event = reader.varint32().map_err(|_| damaged())?;
                let content = ContentId {
                    seq: frame.number,
                    event,
                };
                // Erased: it is as if it had not come.
                if !matches!(part, PartBytes::Erased { .. }) {
                    let bytes = part.len();
                    fetched.insert(content, Span { at, bytes });
                }
            }
            // Erased: it was settled, and its bytes given back.
            FrameKind::Staged if matches!(part, PartBytes::Erased { .. }) => {}
            FrameKind::Staged => {
                let mut bytes = vec![0; part.len() as usize];
                self.log.read_body(at, &mut bytes)?;
                let batch = Batch::decode(self.chain(), &bytes).map_err(|_| damaged())?;
                #[cfg(ate_planted)]
                if ate_crypto::planted("forget-what-was-staged") {
                    return Ok(());
                }
                let ids = frame.part(0).filter(|_| frame.parts().count() == 2);
                let replaces = ids.ok_or_else(damaged)?.chunks_exact(64).map(|pair| {
                    let (old, new) = pair.split_at(32);
                    let hash = |bytes: &[u8]| {
                        let mut hash = Hash::ZERO;
                        hash.0.copy_from_slice(bytes);
                        hash
                    };
                    (hash(old), hash(new))
                });
                outbox.restore(batch, replaces.collect());
            }
            FrameKind::Settled => {
                let bytes = frame.part(0).ok_or_else(damaged)?;
                outbox.note(Settled::decode(bytes).map_err(|_| damaged())?);
            }
            _ => return Err(damaged()),
        }
        Ok(())
    }

    /// Whether somebody else decides the order of this chain.
    pub fn is_replica(&self) -> bool {
        self.replica.get().is_some()
    }

    /// Appends a frame to the side stream. Not synced.
    pub(crate) fn append_beside(
        &self,
        replica: &Replica,
        kind: FrameKind,
        number: u64,
        head_parts: u8,
        parts: &[&[u8]],
    ) -> Result<Placed, ate_log::AppendError> {
        let mut placed = Vec::with_capacity(1);
        let entry = Entry {
            kind,
            stream: replica.side,
            number,
            head_parts,
            parts,
        };
        self.log.append(&[entry], &mut placed)?;
        Ok(placed[0])
    }

    /// Where a content stands that is not in its commit's frame.
    ///
    /// # Errors
    /// [`ReadError::Elsewhere`] if it is not here.
    pub(crate) fn content_apart(&self, content: ContentId) -> Result<Location, ReadError> {
        self.fetched(&content).ok_or(ReadError::Elsewhere {
            content,
            source: FetchError::NotFetched,
        })
    }

    /// Where a content stands that was fetched.
    pub(crate) fn fetched(&self, id: &ContentId) -> Option<Location> {
        let fetched = self.replica.get()?.fetched.lock();
        fetched.get(id).map(|span| span.at)
    }
}
