//! The commits of a chain in order, each matched with the verified chain.

use std::ops::ControlFlow;

use ate_log::{Cursor, FrameKind, Location, Scan};

use crate::commit::{Commit, PART_HEADS, Unverified};
use crate::error::ReadError;
use crate::event::{BodyHash, EventHead};
use crate::local::Local;
use crate::read::CommitInfo;

/// Fewer commits than this are read one by one.
const SCAN_COMMITS_MIN: u64 = 8;
/// So are those of a chain that stand so far apart: most of what a scan reads would belong to others.
const SCAN_GAP_BYTES_MAX: u64 = 64 << 10;

impl Local {
    /// Shows the confirmed commits `[from, end)` in order until `visit` breaks; the number of the first that was not shown. Commits that are not confirmed yet
    /// are not shown.
    ///
    /// # Errors
    /// The log's; a commit that does not match the chain's leaf is damaged. Those before it were shown.
    ///
    /// # Cost
    /// One pass over the heads: some 5 µs for a commit of one record, no body is touched. Few commits are read one by one.
    pub fn visit_commits(
        &self,
        from: u64,
        end: u64,
        mut visit: impl FnMut(CommitInfo) -> ControlFlow<()>,
    ) -> Result<u64, ReadError> {
        let end = end.min(self.position().0);
        if from >= end {
            return Ok(from);
        }
        let (first, gap) = self.with_state(|state| {
            let (first, last) = (
                state.commits[from as usize],
                state.commits[end as usize - 1],
            );
            let bytes = (first.file == last.file)
                .then(|| u64::from(last.frame.saturating_sub(first.frame)));
            (first, bytes.map_or(0, |bytes| bytes / (end - from)))
        });
        if end - from < SCAN_COMMITS_MIN || gap > SCAN_GAP_BYTES_MAX {
            for seq in from..end {
                if visit(self.commit_at(seq)?).is_break() {
                    return Ok(seq + 1);
                }
            }
            return Ok(end);
        }
        let (mut next, mut failed, mut is_over) = (from, None, false);
        let start = Location {
            file: first.file,
            offset: first.frame,
        };
        let scan = Scan::from(start).of(self.chain().stream());
        let behind = self.log.scan(scan, &mut |frame| {
            if frame.kind != FrameKind::Commit || frame.number < next {
                return ControlFlow::Continue(());
            }
            let heads = frame.part(PART_HEADS);
            let commit = heads
                .filter(|_| frame.number == next)
                .and_then(|heads| self.proved(next, heads).zip(Some(heads.len() as u64)));
            let Some((commit, head_bytes)) = commit else {
                failed = Some(ReadError::Damaged {
                    at: frame.at,
                    why: "a commit does not match the chain's leaf",
                });
                return ControlFlow::Break(());
            };
            next += 1;
            let going = visit(shown(next - 1, head_bytes, commit));
            is_over = going.is_break() || next == end;
            if is_over {
                ControlFlow::Break(())
            } else {
                going
            }
        })?;
        match failed {
            Some(error) => Err(error),
            None if is_over => Ok(next),
            None => self.visit_unsynced(next, end, behind, visit),
        }
    }

    /// Shows commits behind the durable end of the log, which no scan shows: a replica's are visible before they are synced.
    fn visit_unsynced(
        &self,
        from: u64,
        end: u64,
        durable: Cursor,
        mut visit: impl FnMut(CommitInfo) -> ControlFlow<()>,
    ) -> Result<u64, ReadError> {
        for seq in from..end {
            let row = self.with_state(|state| state.commits[seq as usize]);
            let at = Location {
                file: row.file,
                offset: row.frame,
            };
            if at < durable {
                return Err(ReadError::Damaged {
                    at,
                    why: "the log does not hold this commit",
                });
            }
            if visit(self.commit_at(seq)?).is_break() {
                return Ok(seq + 1);
            }
        }
        Ok(end)
    }
}

fn shown(seq: u64, head_bytes: u64, commit: Commit<Unverified>) -> CommitInfo {
    let sum = |body: fn(&EventHead) -> Option<BodyHash>| {
        let bodies = commit.events.iter().filter_map(|event| body(&event.head));
        bodies.map(|body| u64::from(body.bytes)).sum::<u64>()
    };
    let (meta_bytes, content_bytes) = (sum(|head| head.meta), sum(|head| head.content));
    CommitInfo {
        seq,
        id: commit.id,
        order_time_ms: commit.order_time_ms,
        head_bytes,
        meta_bytes,
        content_bytes,
        head: commit.head,
        events: commit.events.into_iter().map(|event| event.head).collect(),
    }
}
