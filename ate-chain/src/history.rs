//! The versions of a record, walked back from the newest through what each supersedes.

use std::ops::ControlFlow;

use ate_crypto::KeyId;

use crate::error::ReadError;
use crate::event::{Change, EventHead};
use crate::head::CommitHead;
use crate::ids::{Position, RecordKey, Ref, Version};
use crate::local::Local;

/// Whether the content of a version can be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Kept {
    /// It is there, or it never had any.
    Yes,
    /// The record was erased since, or by this very version.
    Erased,
    /// It was superseded before the chain's horizon.
    Dropped,
}

/// One version of a record in its history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HistoryEntry {
    /// Where it was written.
    pub version: Version,
    /// Whether the record existed from then on.
    pub live: bool,
    /// Who wrote it.
    pub author: KeyId,
    /// The sequencer's time.
    pub order_time_ms: u64,
    /// Bytes of the sealed content.
    pub content_bytes: u32,
    /// Whether the content can be had.
    pub kept: Kept,
    /// The version before it.
    pub supersedes: Ref,
}

impl Local {
    /// The confirmed versions of a record, newest first, down to its creation. That a version existed stays known when its content is gone.
    ///
    /// # Errors
    /// [`ReadError`]; a record that never existed is not found.
    ///
    /// # Cost
    /// One commit read back for each version.
    pub fn history(
        &self,
        key: &RecordKey,
        mut visit: impl FnMut(&HistoryEntry) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let mut at = self
            .confirmed_record(key)
            .ok_or(ReadError::NotFound { key: *key })?
            .version;
        let (erased_before, horizon) =
            self.with_state(|state| (state.erased_before(key), state.gone.horizon));
        let mut successor = None;
        loop {
            let info = self.commit_at(at.seq)?;
            let event = info
                .events
                .get(at.event as usize)
                .filter(|event| event.target() == Some(*key));
            let event = event.ok_or(ReadError::NotFound { key: *key })?;
            let erases = matches!(event.change, Change::Erase { .. });
            let kept = if erases {
                Kept::Erased
            } else if event.content.is_none() && event.meta.is_none() {
                Kept::Yes
            } else if erased_before.is_some_and(|before| at.seq < before) {
                Kept::Erased
            } else if successor.is_some_and(|next: u64| next < horizon.0) {
                Kept::Dropped
            } else {
                Kept::Yes
            };
            let entry = HistoryEntry {
                version: at,
                live: !erases && !matches!(event.change, Change::Remove { .. }),
                author: info.head.author,
                order_time_ms: info.order_time_ms,
                content_bytes: event.content.map_or(0, |content| content.bytes),
                kept,
                supersedes: event.change.supersedes(),
            };
            if visit(&entry).is_break() {
                return Ok(());
            }
            successor = Some(at.seq);
            match self.resolve_ref(&info.head, entry.supersedes, at.seq)? {
                Some(version) => at = version,
                None => return Ok(()),
            }
        }
    }

    /// The version that commit `seq` with this head refers to.
    pub(crate) fn resolve_ref(
        &self,
        head: &CommitHead,
        reference: Ref,
        seq: u64,
    ) -> Result<Option<Version>, ReadError> {
        Ok(match reference {
            Ref::Absent => None,
            Ref::At(version) => Some(version),
            Ref::Lane { number, event } => Some(Version {
                seq: self.lane_commit(head, number, seq)?,
                event,
            }),
        })
    }

    /// The newest commit below `end` that bears `number` in the lane of `head`.
    fn lane_commit(&self, head: &CommitHead, number: u64, end: u64) -> Result<u64, ReadError> {
        self.with_state(|state| {
            let (author, lane) = (
                state.authors.find(&head.author)?,
                state.lane_ids.find(&head.lane)?,
            );
            state
                .commits
                .get(..end as usize)?
                .iter()
                .rposition(|row| row.author == author && row.lane == lane && row.number == number)
        })
        .map(|seq| seq as u64)
        .ok_or(ReadError::NotFound {
            key: RecordKey::ROOT,
        })
    }

    /// One event, proved through its commit.
    pub(crate) fn event_at(&self, at: Version) -> Result<EventHead, ReadError> {
        if let Some(event) = self.staged_event(at) {
            return Ok(event);
        }
        let info = self.commit_at(at.seq)?;
        info.events
            .into_iter()
            .nth(at.event as usize)
            .ok_or(ReadError::NotFound {
                key: RecordKey::ROOT,
            })
    }

    /// The version of a record that stood at `position`; `None` if it did not exist then. Its content may be gone.
    ///
    /// # Errors
    /// As [`Local::history`].
    pub fn version_at(
        &self,
        key: &RecordKey,
        position: Position,
    ) -> Result<Option<Version>, ReadError> {
        let entry = self.entry_at(key, position)?;
        Ok(entry.filter(|entry| entry.live).map(|entry| entry.version))
    }

    /// What stood of a record at `position`, be it the end of it; `None` if it had never existed then.
    ///
    /// # Errors
    /// As [`Local::history`].
    pub fn entry_at(
        &self,
        key: &RecordKey,
        position: Position,
    ) -> Result<Option<HistoryEntry>, ReadError> {
        let mut found = None;
        match self.history(key, |entry| {
            if entry.version.seq >= position.0 {
                return ControlFlow::Continue(());
            }
            found = Some(*entry);
            ControlFlow::Break(())
        }) {
            Ok(()) => Ok(found),
            Err(ReadError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
