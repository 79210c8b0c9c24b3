//! Bodies that are gone for good: of erased records, and below the horizon.
//!
//! What an event declares gone is refused to readers from the moment it is confirmed, whatever the disk still holds. Destroying the bytes comes after:
//! [`Local::finish_erasures`] finds them through the record's history and hands their places to the log. Until it succeeded the erasure stays due, across
//! openings too, and destroying twice does no harm.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use ate_log::{FrameKind, FullSpeed, Least, Scan, Span};

use crate::bodies::body_places;
use crate::commit::PART_HEADS;
use crate::error::{EraseError, ReadError};
use crate::ids::{ChainId, Position, RecordKey, Version};
use crate::local::Local;
use crate::replica::{ContentId, FetchError};
use crate::state::State;
use crate::table::{Row, Slot, flag};

/// Bodies that need not be there any more, as the confirmed commits say.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Gone {
    /// Contents of versions whose successor stands below it are dropped.
    pub(crate) horizon: Position,
    /// The commit that erased a record last: all its bodies from before are gone.
    pub(crate) erased: BTreeMap<Slot, u64>,
    /// Erased records whose bytes may still be there.
    pub(crate) due: BTreeSet<Slot>,
}

impl Gone {
    /// Commit `seq` erased the record.
    pub(crate) fn erase(&mut self, slot: Slot, seq: u64) {
        self.erased.insert(slot, seq);
        self.due.insert(slot);
    }

    /// The commit that erased a record last.
    pub(crate) fn erased_before(&self, row: &Row, slot: Slot) -> Option<u64> {
        if row.is(flag::ERASED) {
            self.erased.get(&slot).copied()
        } else {
            None
        }
    }
}

impl State {
    /// Number of the commit that erased a record last.
    pub(crate) fn erased_before(&self, key: &RecordKey) -> Option<u64> {
        let slot = self.table.slot(key)?;
        self.gone.erased_before(self.table.row(slot), slot)
    }
}

/// The snapshot that a chain's state at rest is kept under. It holds names, so an erasure removes it.
#[must_use]
pub fn rest_name(chain: &ChainId) -> String {
    format!("chain-{chain}")
}

/// An erasure whose bytes are to be destroyed.
struct Due {
    slot: Slot,
    key: RecordKey,
    /// Commit of the erasure.
    before: u64,
    /// Where the walk back begins.
    newest: Version,
}

impl Local {
    /// Contents that were superseded before this position are not kept.
    pub fn horizon(&self) -> Position {
        self.with_state(|state| state.gone.horizon)
    }

    /// Whether erased bodies wait to be destroyed.
    pub fn has_due_erasures(&self) -> bool {
        self.with_state(|state| !state.gone.due.is_empty())
    }

    /// Destroys the bytes of all erased records, durably, and the state at rest with their names; how many records. To be called after an erasure was
    /// committed, and once after opening. Does nothing for a store that is open for reading.
    ///
    /// # Errors
    /// [`EraseError`]; the erasures stay due. Calling it again is safe.
    ///
    /// # Cost
    /// Every commit that holds a version of an erased record is read back once, then the log rewrites what holds their bytes. Blocks; commits and readers go
    /// on meanwhile.
    pub fn finish_erasures(&self) -> Result<u64, EraseError> {
        if !self.log.writable() {
            return Ok(0);
        }
        // Whoever comes meanwhile finds its erasure done, or does it.
        let _turn = self.erasing.lock();
        let due = self.with_state(due);
        if due.is_empty() {
            return Ok(0);
        }
        let spans = self.spans_of(&due)?;
        #[cfg(ate_planted)]
        let spans = if ate_crypto::planted("keep-what-was-erased") {
            Vec::new()
        } else {
            spans
        };
        self.log.erase(&spans, Least::ANY, &mut FullSpeed)?;
        self.forget_rest()?;
        let mut state = self.state.write();
        for due in &due {
            // One that was erased again meanwhile has more to lose.
            if state.gone.erased.get(&due.slot) == Some(&due.before) {
                state.gone.due.remove(&due.slot);
            }
        }
        Ok(due.len() as u64)
    }

    /// A planted bug: what commits erase that may never become durable.
    #[cfg(ate_planted)]
    pub(crate) fn destroy_early<'a>(
        &self,
        commits: impl Iterator<Item = (u64, &'a crate::commit::Commit<crate::commit::Verified>)>,
    ) {
        let mut early = Vec::new();
        for (seq, commit) in commits {
            for event in &commit.events {
                let crate::event::Change::Erase { key, .. } = &event.head.change else {
                    continue;
                };
                let newest = self.with_state(|state| {
                    let slot = state.table.slot(key)?;
                    let row = state.table.row(slot);
                    Some((slot, row.seq, row.event))
                });
                early.extend(newest.map(|(slot, at, event)| Due {
                    slot,
                    key: *key,
                    before: seq,
                    newest: Version {
                        seq: at.into(),
                        event: event.into(),
                    },
                }));
            }
        }
        if let Ok(spans) = self.spans_of(&early) {
            drop(self.log.erase(&spans, Least::ANY, &mut FullSpeed));
        }
    }

    /// Where a content stands that was fetched apart from its commit.
    fn apart_span(&self, seq: u64, event: u32, head: &crate::event::EventHead) -> Option<Span> {
        let at = self.fetched(&ContentId { seq, event })?;
        Some(Span {
            at,
            bytes: head.content?.bytes,
        })
    }

    /// Removes the state at rest, which holds names sealed for this store alone.
    fn forget_rest(&self) -> Result<(), EraseError> {
        let name = rest_name(&self.chain());
        let names = self.log.snapshot_names().map_err(ReadError::from)?;
        if names.contains(&name) {
            self.log.snapshot_remove(&name).map_err(EraseError::Rest)?;
            self.rest_removed.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Does `work` while no erasure is finished. Whoever keeps a state at rest takes and stores it within: an erasure that came between would leave the names
    /// that it destroys in what is stored after it.
    pub fn between_erasures<T>(&self, work: impl FnOnce() -> T) -> T {
        let _turn = self.erasing.lock();
        work()
    }

    /// Whether an erasure removed the state at rest and none was kept since.
    pub fn lost_rest(&self) -> bool {
        self.rest_removed.load(Ordering::Acquire)
    }

    /// Notes that a state at rest was kept under [`rest_name`].
    pub fn has_rest(&self) {
        self.rest_removed.store(false, Ordering::Release);
    }

    /// Names and contents of all versions before each erasure. Commits are read from the newest to the oldest, each once however many records it concerns.
    fn spans_of(&self, due: &[Due]) -> Result<Vec<Span>, ReadError> {
        let mut steps: BTreeMap<u64, Vec<(u32, &Due)>> = BTreeMap::new();
        for due in due {
            let newest = due.newest;
            steps
                .entry(newest.seq)
                .or_default()
                .push((newest.event, due));
        }
        let mut spans = Vec::new();
        while let Some((seq, here)) = steps.pop_last() {
            let info = self.commit_at(seq)?;
            let row = self.with_state(|state| state.commits[seq as usize]);
            let places = body_places(&row, info.events.iter());
            for (index, due) in here {
                let event = info
                    .events
                    .get(index as usize)
                    .filter(|event| event.target() == Some(due.key))
                    .ok_or(ReadError::NotFound { key: due.key })?;
                if seq < due.before {
                    let bodies = places[index as usize];
                    let apart = self.apart_span(seq, index, event);
                    spans.extend(
                        [bodies.meta, bodies.content.or(apart)]
                            .into_iter()
                            .flatten(),
                    );
                }
                let before = self.resolve_ref(&info.head, event.change.supersedes(), seq)?;
                if let Some(version) = before {
                    steps
                        .entry(version.seq)
                        .or_default()
                        .push((version.event, due));
                }
            }
        }
        Ok(spans)
    }

    /// Where the contents stand that may be dropped under `horizon`, which counts as far as the chain's own horizon reaches: those of versions whose successor
    /// stands below it. Names, heads and newest versions are not among them.
    ///
    /// # Errors
    /// The log's; damage is an error here too.
    ///
    /// # Cost
    /// One scan of the heads below the horizon, and an entry in memory for each record that had content there.
    pub fn superseded_below(&self, horizon: Position) -> Result<Vec<Span>, ReadError> {
        let (end, stream) = (horizon.min(self.horizon()).0, self.chain().stream());
        let (mut newest, mut spans) = (HashMap::new(), Vec::new());
        let mut failed = None;
        let scan = Scan::from(self.log.start()).of(stream);
        self.log.scan(scan, &mut |frame| {
            if frame.kind != FrameKind::Commit {
                return ControlFlow::Continue(());
            }
            if frame.number >= end {
                return ControlFlow::Break(());
            }
            let heads = frame.part(PART_HEADS).unwrap_or_default();
            let Some(commit) = self.proved(frame.number, heads) else {
                failed = Some(ReadError::Damaged {
                    at: frame.at,
                    why: "a commit does not match the chain's leaf",
                });
                return ControlFlow::Break(());
            };
            let row = self.with_state(|state| state.commits[frame.number as usize]);
            let events = commit.events.iter().map(|event| &event.head);
            let places = body_places(&row, events.clone());
            for ((event, places), index) in events.zip(places).zip(0..) {
                let apart = self.apart_span(frame.number, index, event);
                let superseded = match (event.target(), places.content.or(apart)) {
                    (Some(key), Some(content)) => newest.insert(key, content),
                    (Some(key), None) => newest.remove(&key),
                    (None, _) => None,
                };
                spans.extend(superseded);
            }
            ControlFlow::Continue(())
        })?;
        failed.map_or(Ok(spans), Err)
    }

    /// A version of a record is one whose content is kept.
    ///
    /// # Errors
    /// [`ReadError::Erased`], [`ReadError::Dropped`]; as [`Local::history`], which is walked back only for a version from before the horizon.
    pub(crate) fn check_kept(&self, key: &RecordKey, version: Version) -> Result<(), ReadError> {
        let key = *key;
        let (erased_before, horizon, newest) = self.with_state(|state| {
            let newest = state.table.slot(&key).map(|slot| state.table.row(slot).seq);
            (
                state.erased_before(&key),
                state.gone.horizon,
                newest.map_or(version.seq, u64::from),
            )
        });
        #[cfg(ate_planted)]
        if ate_crypto::planted("show-what-was-erased") {
            return Ok(());
        }
        // The erasure itself is a version without a body.
        if erased_before.is_some_and(|before| version.seq <= before) {
            return Err(ReadError::Erased { key, version });
        }
        // Whatever followed a version stands behind it.
        if version.seq >= horizon.0 || version.seq == newest {
            return Ok(());
        }
        let dropped = newest < horizon.0 || {
            let mut successor = newest;
            self.history(&key, |entry| {
                if entry.version.seq <= version.seq {
                    return ControlFlow::Break(());
                }
                successor = entry.version.seq;
                ControlFlow::Continue(())
            })?;
            successor < horizon.0
        };
        if dropped {
            Err(ReadError::Dropped {
                key,
                version,
                horizon,
            })
        } else {
            Ok(())
        }
    }

    /// Why a body cannot be had: what was destroyed while it was read, or by a writer that a live reader has not followed yet, is no damage.
    pub(crate) fn explain(&self, key: &RecordKey, version: Version, error: ReadError) -> ReadError {
        if !matches!(error, ReadError::Damaged { .. } | ReadError::Log(_)) {
            return error;
        }
        if !self.log.writable() {
            drop(self.catch_up());
        }
        match (self.check_kept(key, version), error) {
            (Err(gone @ (ReadError::Erased { .. } | ReadError::Dropped { .. })), _) => gone,
            // What was fetched may be given back at any time.
            (_, ReadError::Log(ate_log::ReadError::Erased { at }))
                if self.was_given_back(version, at) =>
            {
                ReadError::Elsewhere {
                    content: ContentId::of(version),
                    source: FetchError::NotFetched,
                }
            }
            (_, ReadError::Log(ate_log::ReadError::Erased { at })) => ReadError::Damaged {
                at,
                why: "a body is missing that nothing erased",
            },
            (_, error) => error,
        }
    }
}

fn due(state: &State) -> Vec<Due> {
    let due = state.gone.due.iter().filter_map(|&slot| {
        let row = state.table.row(slot);
        Some(Due {
            slot,
            key: row.key,
            before: *state.gone.erased.get(&slot)?,
            newest: Version {
                seq: row.seq.into(),
                event: row.event.into(),
            },
        })
    });
    due.collect()
}

#[cfg(test)]
mod tests;
