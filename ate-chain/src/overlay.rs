//! What a replica shows above the confirmed state: its own staged commits, opened from the bytes that wait to be sent.
//!
//! Nothing of it is kept anywhere else: when a commit is refused it leaves the state's pending commits, and with that every look-up here.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ate_crypto::{Part, PartAt, PartContext, sha256};

use crate::draft::{Author, parse_meta};
use crate::error::ReadError;
use crate::event::{BodyHash, Change, EventHead};
use crate::ids::{ChainId, CollectionTag, RecordKey, SchemaTag, Version};
use crate::local::{Local, RecordInfo};
use crate::read::Opened;
use crate::rules::PendingRow;
use crate::seal::Placing;
use crate::state::{Found, State};
use crate::table::{Slot, flag};

/// The slot of a record that has no row yet.
pub const NO_SLOT: Slot = Slot::MAX;

impl Local {
    /// Whether staged commits are shown above the confirmed state. One load.
    pub(crate) fn is_overlaid(&self) -> bool {
        self.overlaid.load(Ordering::Acquire)
    }

    /// Puts what is staged on top of the confirmed state again.
    pub(crate) fn renew_overlay(&self, state: &mut State) {
        let confirmed = state.confirmed();
        state.rollback_to(confirmed);
        self.propose_staged(state);
        self.note_overlay(state);
    }

    /// To be called whenever staged commits were put on the state or taken from it, before its lock is given back.
    pub(crate) fn note_overlay(&self, state: &State) {
        let any = state.pending.iter().any(|commit| commit.staged.is_some());
        self.overlaid.store(any, Ordering::Release);
    }

    /// Whether the newest version of a record is staged, not confirmed.
    pub fn is_staged(&self, key: &RecordKey) -> bool {
        self.is_overlaid() && self.with_state(|state| staged_row(state, key).is_some())
    }

    pub(crate) fn staged_record(&self, key: &RecordKey) -> Option<RecordInfo> {
        staged_info(&self.state.read(), key)
    }

    /// Opens the newest content of a record if that is staged.
    pub(crate) fn open_staged(
        &self,
        author: &Author,
        key: &RecordKey,
    ) -> Option<Result<Opened, ReadError>> {
        let (placing, row) = {
            let state = self.state.read();
            let (placing, row) = staged_row(&state, key)?;
            (placing.clone(), row.clone())
        };
        if row.flags & flag::LIVE == 0 || row.flags & flag::CONTENT == 0 {
            let version = Version::staged(placing.commit.head.number, row.event);
            let key = *key;
            return Some(Err(match row.erases {
                true => ReadError::Erased { key, version },
                false => ReadError::NotFound { key },
            }));
        }
        Some(self.open_placed(author, &placing, row.event))
    }

    /// The keys below `parent` in `collection` that staged commits bring into being, in order.
    ///
    /// # Cost
    /// Linear in what is staged.
    pub fn staged_children(&self, parent: &RecordKey, collection: CollectionTag) -> Vec<RecordKey> {
        if !self.is_overlaid() {
            return Vec::new();
        }
        let state = self.state.read();
        let mut keys = Vec::new();
        for commit in state
            .pending
            .iter()
            .filter(|commit| commit.staged.is_some())
        {
            for (key, row) in &commit.rows {
                let is_new = state.table.slot(key).is_none() && !keys.contains(key);
                if is_new && row.parent == *parent && row.collection == collection {
                    keys.push(*key);
                }
            }
        }
        keys
    }

    /// The names below `parent` in `collection` that staged commits give, as far as `author` holds their keys. The records may have ended since.
    ///
    /// # Cost
    /// A decryption for each name that is staged.
    pub fn staged_names(
        &self,
        author: &Author,
        parent: &RecordKey,
        collection: &str,
    ) -> Vec<(RecordKey, String)> {
        if !self.is_overlaid() {
            return Vec::new();
        }
        let placings: Vec<Arc<Placing>> = self.with_state(|state| {
            let commits = state.pending.iter();
            commits.filter_map(|commit| commit.staged.clone()).collect()
        });
        let mut names = Vec::new();
        for placing in placings {
            for (index, event) in (0..).zip(&placing.commit.events) {
                let Change::Create {
                    key, parent: above, ..
                } = &event.head.change
                else {
                    continue;
                };
                if above != parent || event.head.meta.is_none() {
                    continue;
                }
                let meta = self.open_placed_name(author, &placing, index);
                let found = meta.as_deref().and_then(parse_meta);
                if let Some((_, name)) = found.filter(|(of, _)| *of == collection) {
                    names.push((*key, name.to_owned()));
                }
            }
        }
        names
    }

    /// An event of a commit that is staged; `None` if no such commit is.
    pub(crate) fn staged_event(&self, at: Version) -> Option<EventHead> {
        if !self.is_overlaid() {
            return None;
        }
        let state = self.state.read();
        let index = at.seq.checked_sub(state.confirmed())?;
        let placing = state.pending.get(index as usize)?.staged.as_ref()?;
        let event = placing.commit.events.get(at.event as usize)?;
        Some(event.head.clone())
    }

    /// Opens the content of an event of a commit that has no place in the order.
    pub(crate) fn open_placed(
        &self,
        author: &Author,
        placing: &Placing,
        index: u32,
    ) -> Result<Opened, ReadError> {
        let head = &placing.commit.head;
        let event = placing.commit.events.get(index as usize);
        let absent = ReadError::NotFound {
            key: event
                .and_then(|event| event.head.target())
                .unwrap_or(RecordKey::ROOT),
        };
        let Some((event, signed)) = event.and_then(|event| Some((event, event.head.content?)))
        else {
            return Err(absent);
        };
        let schema = match &event.head.change {
            Change::Create { schema, .. } | Change::Update { schema, .. } => *schema,
            _ => SchemaTag::default(),
        };
        let sealed = placing.content(index).ok_or(absent)?;
        let (scope, content) =
            self.open_part(author, placing, index, Part::Content, signed, sealed)?;
        Ok(Opened {
            version: Version::staged(head.number, index),
            schema,
            scope,
            author: head.author,
            order_time_ms: head.author_time_ms,
            content,
        })
    }

    /// The meta of an event of a commit that has no place in the order; `None` if it has none, or its key is not held.
    pub(crate) fn open_placed_name(
        &self,
        author: &Author,
        placing: &Placing,
        index: u32,
    ) -> Option<Vec<u8>> {
        let signed = placing.commit.events.get(index as usize)?.head.meta?;
        let sealed = placing.meta(index)?;
        let opened = self.open_part(author, placing, index, Part::Meta, signed, sealed);
        opened.ok().map(|(_, meta)| meta)
    }

    /// Opens a sealed part, under whichever of the commit's keys is held and fits: which of its scopes a part belongs to, its bytes do not say.
    fn open_part(
        &self,
        author: &Author,
        placing: &Placing,
        index: u32,
        part: Part,
        signed: BodyHash,
        sealed: &[u8],
    ) -> Result<(RecordKey, Vec<u8>), ReadError> {
        let (commit, key) = (&placing.commit, RecordKey::ROOT);
        let event = &commit.events[index as usize];
        let prefix = placing
            .heads
            .get(event.start as usize..(event.start + event.prefix) as usize)
            .ok_or(ReadError::NotFound { key })?;
        if sha256(&[sealed]) != signed.hash {
            return Err(ReadError::NotFound { key });
        }
        let is_genesis = matches!(commit.events[0].head.change, Change::Genesis(_));
        let chain = match is_genesis {
            true => ChainId::UNBORN,
            false => self.chain(),
        };
        let (at, mut ad) = (PartAt { event: index, part }, Vec::new());
        PartContext {
            chain: &chain.0,
            author: &commit.head.author,
            salt: &commit.head.salt,
        }
        .ad(at, prefix, &mut ad);
        let mut last = ReadError::NotFound { key };
        for entry in &commit.head.commitments {
            let read = match author.keyring.read_key(self, &entry.scope, entry.epoch) {
                Ok(read) => read,
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            if read.commitment(&commit.head.salt) != entry.commitment {
                continue;
            }
            let key = read.seal_key(&commit.head.salt);
            if let Ok(plaintext) = key.open(at, &ad, &mut sealed.to_vec()) {
                return Ok((entry.scope, plaintext.to_vec()));
            }
        }
        Err(last)
    }
}

impl Placing {
    /// The sealed content of an event.
    fn content(&self, index: u32) -> Option<&[u8]> {
        let before = self.commit.events.get(..index as usize)?;
        let skipped = before.iter().filter(|event| event.head.content.is_some());
        let at = skipped.count();
        let start: usize = self
            .content_bytes
            .get(..at)?
            .iter()
            .map(|&bytes| bytes as usize)
            .sum();
        self.contents
            .get(start..start + *self.content_bytes.get(at)? as usize)
    }

    /// The sealed name of an event.
    fn meta(&self, index: u32) -> Option<&[u8]> {
        let before = self.commit.events.get(..index as usize)?;
        let skipped = before.iter().filter_map(|event| event.head.meta);
        let start: usize = skipped.map(|meta| meta.bytes as usize).sum();
        let meta = self.commit.events.get(index as usize)?.head.meta?;
        self.metas.get(start..start + meta.bytes as usize)
    }
}

/// The newest staged row of a record, with its commit.
fn staged_row<'s>(state: &'s State, key: &RecordKey) -> Option<(&'s Arc<Placing>, &'s PendingRow)> {
    match state.find(key)? {
        Found::Pending(commit, _, row) => Some((commit.staged.as_ref()?, row)),
        Found::Confirmed(_) => None,
    }
}

/// A record as staged commits leave it; `None` if they leave it alone.
pub(crate) fn staged_info(state: &State, key: &RecordKey) -> Option<RecordInfo> {
    let (placing, row) = staged_row(state, key)?;
    Some(RecordInfo {
        key: *key,
        slot: state.table.slot(key).unwrap_or(NO_SLOT),
        version: Version::staged(placing.commit.head.number, row.event),
        live: row.flags & flag::LIVE != 0,
        erased: row.erases,
        schema: row.schema,
        parent: row.parent,
        scope_head: row.flags & flag::SCOPE != 0,
        sealed: row.sealed,
    })
}
