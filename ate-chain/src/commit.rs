//! A commit as it travels and as it stands in a log, before and after its own bytes were checked.
//!
//! [`Commit<Unverified>`] is what a log or a peer hands over. Only [`Commit::verify`] and the sealing of an own draft make a [`Commit<Verified>`], and
//! only that is judged by the rules; so nothing unverified can reach the state.

use std::borrow::Cow;
use std::marker::PhantomData;

use ate_crypto::merkle::{RootBuilder, leaf_hash};
use ate_crypto::{Hash, Part, sha256};

use crate::codec::Reader;
use crate::error::FormatError;
use crate::event::EventHead;
use crate::head::{CommitHead, commit_id};
use crate::ids::ChainId;

/// Marker: bytes that decode, nothing more.
#[derive(Clone)]
pub(crate) enum Unverified {}
/// Marker: the commit id is computed, the event heads hash to the events root, and every body to the hash in its head.
#[derive(Clone)]
pub(crate) enum Verified {}

/// One event with its place in the commit.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) head: EventHead,
    /// Leaf hash of the head's bytes.
    pub(crate) hash: Hash,
    /// First byte of the head, counted from the start of frame part 0.
    pub(crate) start: u32,
    /// Bytes of the head.
    pub(crate) bytes: u32,
    /// Bytes of the head before its body hashes.
    pub(crate) prefix: u32,
}

/// A commit with its events decoded; bodies stay where they are.
#[derive(Clone)]
pub(crate) struct Commit<State> {
    pub(crate) id: Hash,
    pub(crate) head: CommitHead,
    pub(crate) events: Vec<Event>,
    pub(crate) order_time_ms: u64,
    state: PhantomData<State>,
}

/// Where the parts of a commit frame begin: 0 heads, 1 metas, 2.. contents.
pub(crate) const PART_HEADS: usize = 0;
pub(crate) const PART_METAS: usize = 1;
pub(crate) const PART_CONTENTS: usize = 2;
/// Parts of a commit frame that are heads to the log: heads and metas.
pub(crate) const COMMIT_HEAD_PARTS: u8 = PART_CONTENTS as u8;
/// Parts of a proof frame that are heads to the log: all of it.
pub(crate) const PROOF_HEAD_PARTS: u8 = 1;

/// Where the contents of a commit are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Contents {
    /// In the commit's frame.
    InFrame,
    /// A replica keeps those that it has apart from the frame, and asks for the others when they are read.
    Apart,
}

/// A content as the log gives it.
pub(crate) enum Stored<'a> {
    /// Not with the commit: its hash is checked when it comes.
    Apart,
    /// Its bytes.
    Here(Cow<'a, [u8]>),
    /// Nothing but its length: not looked at, or destroyed.
    Absent {
        /// Bytes that it has, or had.
        bytes: u32,
    },
}

impl Stored<'_> {
    fn bytes(&self) -> u64 {
        match self {
            Self::Here(bytes) => bytes.len() as u64,
            Self::Absent { bytes } => (*bytes).into(),
            Self::Apart => 0,
        }
    }
}

/// A sealed part that is not in the log: event index and which of its parts.
pub(crate) type MissingPart = (u32, Part);

impl Commit<Unverified> {
    /// Decodes frame part 0.
    pub(crate) fn decode(chain: &ChainId, heads: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(heads);
        let order_time_ms = reader.u64()?;
        let head_bytes = reader.bytes(heads.len())?;
        let head = CommitHead::decode(head_bytes)?;
        let mut events = Vec::with_capacity((head.event_count as usize).min(heads.len() / 16));
        for _ in 0..head.event_count {
            let bytes = reader.bytes(heads.len())?;
            let start = reader.offset() - bytes.len();
            let (event, prefix) = EventHead::decode(bytes)?;
            events.push(Event {
                head: event,
                hash: leaf_hash(bytes),
                start: start as u32,
                bytes: bytes.len() as u32,
                prefix: prefix as u32,
            });
        }
        reader.finish()?;
        Ok(Self {
            id: commit_id(chain, head_bytes),
            head,
            events,
            order_time_ms,
            state: PhantomData,
        })
    }

    /// Checks the events root, that every body has its place, and, if asked to, every body hash.
    ///
    /// `content` yields the content parts in event order. The parts that were to be checked and are not there come back: whether they may be missing, the
    /// chain says later.
    ///
    /// # Errors
    /// The check that failed.
    pub(crate) fn verify<'a>(
        self,
        metas: &[u8],
        mut content: impl FnMut() -> Option<Stored<'a>>,
        check_bodies: bool,
    ) -> Result<(Commit<Verified>, Vec<MissingPart>), &'static str> {
        #[cfg(ate_planted)]
        let check_bodies = check_bodies && !ate_crypto::planted("skip-body-hash");
        let mut root = RootBuilder::default();
        self.events.iter().for_each(|event| root.push(event.hash));
        let is_root = root.root() == self.head.events_root;
        #[cfg(ate_planted)]
        let is_root = is_root || ate_crypto::planted("skip-root-check");
        if !is_root {
            return Err("events do not hash to the signed root");
        }
        let (mut metas, mut missing) = (Reader::new(metas), Vec::new());
        for (event, index) in self.events.iter().zip(0..) {
            if let Some(meta) = &event.head.meta {
                let bytes = metas
                    .take(meta.bytes as usize)
                    .map_err(|_| "a sealed name is missing")?;
                if check_bodies && sha256(&[bytes]) != meta.hash {
                    // An erased name was overwritten: the part that it stood in is kept for the sake of the others.
                    if bytes.iter().any(|byte| *byte != 0) {
                        return Err("a sealed name does not match its signed hash");
                    }
                    missing.push((index, Part::Meta));
                }
            }
            if let Some(signed) = &event.head.content {
                let stored = content().ok_or("a body is missing")?;
                let holds = matches!(stored, Stored::Apart)
                    || stored.bytes() == u64::from(signed.bytes)
                        && match &stored {
                            Stored::Here(bytes) => !check_bodies || sha256(&[bytes]) == signed.hash,
                            Stored::Absent { .. } | Stored::Apart => true,
                        };
                if !holds {
                    return Err("a body does not match its signed hash");
                }
                if check_bodies && matches!(stored, Stored::Absent { .. }) {
                    missing.push((index, Part::Content));
                }
            }
        }
        if !metas.is_empty() || content().is_some() {
            return Err("a body that no event announces");
        }
        Ok((self.trust(), missing))
    }

    fn trust(self) -> Commit<Verified> {
        let Self {
            id,
            head,
            events,
            order_time_ms,
            state: _,
        } = self;
        Commit {
            id,
            head,
            events,
            order_time_ms,
            state: PhantomData,
        }
    }
}

impl Commit<Verified> {
    /// A commit whose hashes this process computed itself while sealing it.
    pub(crate) fn sealed_here(
        id: Hash,
        head: CommitHead,
        events: Vec<Event>,
        order_time_ms: u64,
    ) -> Self {
        Self {
            id,
            head,
            events,
            order_time_ms,
            state: PhantomData,
        }
    }
}

/// Bytes of frame part 0 before the first event head.
pub(crate) fn encode_part_head(order_time_ms: u64, head: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&order_time_ms.to_le_bytes());
    crate::codec::put_bytes(out, head);
}
