//! One round: every commit that was taken from the queue is ordered and signed, all are written with one sync, then confirmed or taken back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ate_crypto::{Hash, KeyId};
use ate_log::{AppendError, Cursor, Entry, FrameKind, Placed};

use crate::commit::{COMMIT_HEAD_PARTS, PROOF_HEAD_PARTS};
use crate::error::SubmitError;
use crate::local::Local;
use crate::replay::frame_bytes;

use crate::batch::Batch;
use crate::seal::Sealed;
use crate::slot::Slot;

use super::confirm::confirm;
use super::run::{Run, sign};
use super::{Answers, Committer, Submission, Work};

/// Commits of one chain that go under one proof.
enum Group {
    Own(KeyId, Vec<(Sealed, Arc<Slot>)>),
    Signed(Batch, Vec<Arc<Slot>>),
}

impl Committer {
    /// Orders, signs, writes and confirms: one append and one sync for all. The answers are to be given by the caller.
    pub(super) fn round(self: &Arc<Self>, submissions: Vec<Submission>) -> Answers {
        let mut answers = Vec::with_capacity(submissions.len());
        if let Some(why) = self.poisoned.lock().clone() {
            let slots = submissions.into_iter().flat_map(|item| item.slots);
            answers
                .extend(slots.map(|slot| (slot, Err(SubmitError::Poisoned { why: why.clone() }))));
            return answers;
        }
        let mut runs = self.order(submissions, &mut answers);
        if runs.is_empty() {
            return answers;
        }
        let proofs = sign(&mut runs);
        #[cfg(ate_planted)]
        if ate_crypto::planted("confirm-before-durable") {
            return self.confirm_then_sync(runs, &proofs, answers);
        }
        let written = self.write(&runs, &proofs);
        self.rounds.fetch_add(1, Ordering::Relaxed);
        match written {
            Ok((placed, synced)) => self.confirm(runs, placed, synced, &mut answers),
            Err(error) => self.fail(runs, &error, &mut answers),
        }
        answers
    }

    /// Judges every submission in turn; those of one author in one chain form a run, in the order they came.
    fn order(&self, submissions: Vec<Submission>, answers: &mut Answers) -> Vec<Run> {
        let mut groups: Vec<(Arc<Local>, Group)> = Vec::new();
        for Submission { local, work, slots } in submissions {
            let sealed = match work {
                Work::Own(sealed) => sealed,
                Work::Signed(batch) => {
                    groups.push((local, Group::Signed(batch, slots)));
                    continue;
                }
            };
            let author = sealed.identity().id();
            let item = (
                sealed,
                slots.into_iter().next().expect("one for its commit"),
            );
            // Chains and authors of one round are few; the newest group is the likeliest.
            let group = groups.iter_mut().rev().find_map(|(of, group)| match group {
                Group::Own(id, items) if Arc::ptr_eq(of, &local) && *id == author => Some(items),
                _ => None,
            });
            match group {
                Some(items) => items.push(item),
                None => groups.push((local, Group::Own(author, vec![item]))),
            }
        }
        // A proof covers consecutive commits of its chain, so all groups of one chain are ordered one after the other.
        groups.sort_by_key(|(local, _)| local.chain());
        let now_ms = self.clock.now_ms();
        let mut runs = Vec::new();
        for (local, group) in groups {
            let run = match group {
                Group::Own(author, items) => Run::order(local, author, items, now_ms, answers),
                Group::Signed(batch, slots) => {
                    Run::order_signed(local, batch, slots, now_ms, answers)
                }
            };
            runs.extend((!run.items.is_empty()).then_some(run));
        }
        runs
    }

    /// Appends every proof before the commits it covers, and syncs: the commit point.
    fn write(&self, runs: &[Run], proofs: &[Vec<u8>]) -> Result<(Vec<Placed>, Cursor), WriteError> {
        let placed = self.append(runs, proofs)?;
        #[cfg(ate_planted)]
        if ate_crypto::planted("acknowledge-before-sync") {
            return Ok((placed, self.log.durable()));
        }
        #[cfg(ate_planted)]
        if ate_crypto::planted("destroy-before-the-erasure-is-durable") {
            for run in runs {
                let commits = run
                    .items
                    .iter()
                    .map(|item| (item.seq, &item.placing.commit));
                run.local.destroy_early(commits);
            }
        }
        let synced = self.log.sync().map_err(WriteError::Sync)?;
        Ok((placed, synced))
    }

    fn append(&self, runs: &[Run], proofs: &[Vec<u8>]) -> Result<Vec<Placed>, WriteError> {
        let parts: Vec<Vec<&[u8]>> = runs
            .iter()
            .flat_map(|run| run.items.iter().map(|item| item.placing.parts()))
            .collect();
        let proof_parts: Vec<[&[u8]; 1]> = proofs.iter().map(|proof| [proof.as_slice()]).collect();
        let mut entries = Vec::with_capacity(parts.len() + proofs.len());
        let mut commit_parts = parts.iter();
        for (run, proof) in runs.iter().zip(&proof_parts) {
            let stream = run.local.chain().stream();
            entries.push(Entry {
                kind: FrameKind::Proof,
                stream,
                number: run.items[0].seq,
                head_parts: PROOF_HEAD_PARTS,
                parts: proof,
            });
            for item in &run.items {
                let parts = commit_parts.next().expect("one entry for each commit");
                entries.push(Entry {
                    kind: FrameKind::Commit,
                    stream,
                    number: item.seq,
                    head_parts: COMMIT_HEAD_PARTS,
                    parts,
                });
            }
        }
        let mut placed = Vec::with_capacity(entries.len());
        self.log
            .append(&entries, &mut placed)
            .map_err(WriteError::Append)?;
        Ok(placed)
    }

    /// Makes every commit of a round that is durable visible; `placed` are the places of its frames, in the order of [`Committer::write`].
    fn confirm(&self, runs: Vec<Run>, placed: Vec<Placed>, synced: Cursor, answers: &mut Answers) {
        let mut placed = placed.into_iter();
        for run in runs {
            if run.is_own() {
                run.local.set_link(&run.author, run.leaf);
            }
            let proof = placed.next().expect("one place for each frame");
            let bytes = frame_bytes(proof.frame, proof.next);
            run.local.read_to.lock().pass(proof.next, bytes);
            let born = run.items[0].seq == 0;
            for item in run.items {
                let at = placed.next().expect("one place for each frame");
                let committed = confirm(&run.local, item.placing, item.seq, &at);
                self.commits.fetch_add(1, Ordering::Relaxed);
                answers.extend(item.slot.map(|slot| (slot, Ok(committed))));
            }
            // Before the run lets go of the chain: whoever finds it gone finds it listed.
            if let Some(entry) = run.local.entry().filter(|_| born) {
                self.born.lock().chains.push(entry);
            }
        }
        self.born.lock().to = synced;
    }

    /// A planted bug: readers see commits that may never become durable.
    #[cfg(ate_planted)]
    fn confirm_then_sync(&self, runs: Vec<Run>, proofs: &[Vec<u8>], answers: Answers) -> Answers {
        let placed = match self.append(&runs, proofs) {
            Ok(placed) => placed,
            Err(error) => {
                let mut answers = answers;
                self.fail(runs, &error, &mut answers);
                return answers;
            }
        };
        let ids: Vec<Hash> = runs
            .iter()
            .flat_map(|run| run.items.iter().filter(|item| item.slot.is_some()))
            .map(|item| item.placing.commit.id)
            .collect();
        let mut confirmed = Answers::new();
        self.confirm(runs, placed, self.log.durable(), &mut confirmed);
        if let Err(error) = self.log.sync() {
            let error = WriteError::Sync(error);
            let why = error.source().to_string();
            *self.poisoned.lock() = Some(why.clone());
            self.is_poisoned.store(true, Ordering::Release);
            for ((_, answer), id) in confirmed.iter_mut().zip(ids) {
                *answer = Err(error.answer(id, &why));
            }
        }
        let mut answers = answers;
        answers.extend(confirmed);
        answers
    }

    /// Takes every commit of a failed round back.
    fn fail(&self, runs: Vec<Run>, error: &WriteError, answers: &mut Answers) {
        let why = error.source().to_string();
        if error.poisons() {
            *self.poisoned.lock() = Some(why.clone());
            self.is_poisoned.store(true, Ordering::Release);
        }
        for run in runs {
            let mut state = run.local.state.write();
            let confirmed = state.confirmed();
            state.rollback_to(confirmed);
            drop(state);
            for item in run.items {
                for (scope, epoch) in &item.made {
                    run.keyring
                        .iter()
                        .for_each(|keyring| keyring.forget(scope, *epoch));
                }
                let answer = error.answer(item.placing.commit.id, &why);
                answers.extend(item.slot.map(|slot| (slot, Err(answer))));
            }
        }
    }
}

/// Which step of a write failed.
enum WriteError {
    Append(AppendError),
    Sync(AppendError),
}

impl WriteError {
    fn source(&self) -> &AppendError {
        match self {
            Self::Append(error) | Self::Sync(error) => error,
        }
    }

    /// Whether nobody can tell any more what is in the log. An append that was refused left it as it was.
    fn poisons(&self) -> bool {
        !matches!(
            self,
            Self::Append(
                AppendError::DiskFull { .. }
                    | AppendError::FrameTooLarge { .. }
                    | AppendError::TooManyParts { .. }
                    | AppendError::GroupTooLarge { .. }
                    | AppendError::ReadOnly
                    | AppendError::Closed
            )
        )
    }

    fn answer(&self, commit: Hash, why: &str) -> SubmitError {
        let why = why.to_owned();
        match self {
            Self::Append(AppendError::DiskFull { .. }) => SubmitError::Full { why },
            Self::Append(AppendError::Poisoned { .. }) => SubmitError::Poisoned { why },
            Self::Append(AppendError::ReadOnly) => SubmitError::ReadOnly,
            Self::Append(AppendError::Closed) => SubmitError::Closed,
            _ if self.poisons() => SubmitError::Unknown { commit, why },
            _ => SubmitError::TooLarge { why },
        }
    }
}
