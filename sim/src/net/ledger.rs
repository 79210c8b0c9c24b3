//! What was handed over, and what was said of it: the memory of a run that no crash takes.

use std::collections::BTreeMap;

use ate::chain::{ChainId, Committed, RecordKey, Ref, Reject, StagedInfo, SubmitError};
use ate::crypto::{Hash, KeyId};

/// What a commit does to a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// It holds this now.
    Put(String, String),
    /// It is gone.
    Remove(String),
    /// Nothing that the run looks at.
    Beside,
}

impl Change {
    /// The note that it changes.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Put(name, _) | Self::Remove(name) => Some(name),
            Self::Beside => None,
        }
    }
}

/// A commit as its device hands it over.
#[derive(Clone, Debug)]
pub(super) struct Handed {
    pub(super) chain: usize,
    pub(super) device: usize,
    pub(super) change: Change,
    /// What it takes the place of.
    pub(super) base: Ref,
    /// Commits of the chain that the device has.
    pub(super) seen: u64,
}

/// What the caller was told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Told {
    Landed(u64),
    Refused(String),
    /// Refused because its lane had come past it. That says nothing about why it was passed over: the answer that said so was lost with its connection.
    PassedOver,
}

/// A commit.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) chain: usize,
    pub(super) device: usize,
    pub(super) author: KeyId,
    /// In its author's lane of the device.
    pub(super) number: u64,
    /// Counts all commits of the run.
    pub(super) order: u64,
    pub(super) change: Change,
    pub(super) base: Ref,
    seen: u64,
    /// Connections that its device had opened by then.
    connections: u64,
    /// Its device has lost its power since.
    is_before_a_loss: bool,
    pub(super) told: Option<Told>,
    /// It was on the device's disk when that was looked at last.
    pub(super) is_durable: bool,
    /// Somebody waits for the answer. Nobody does after a crash.
    pub(super) is_awaited: bool,
    /// Its device crashed and did not have it on its disk: it may have been sent, and land whenever it likes.
    pub(super) is_lost: bool,
}

/// A chain of the run.
pub(super) struct Founded {
    pub(super) chain: ChainId,
    /// The record below which everybody writes.
    pub(super) shared: RecordKey,
}

#[derive(Default)]
pub(super) struct Ledger {
    pub(super) chains: Vec<Founded>,
    pub(super) commits: BTreeMap<Hash, Entry>,
    /// Lane numbers that were used.
    numbers: BTreeMap<(usize, usize, KeyId, u64), Hash>,
    order: u64,
    /// Connections that were opened, by device.
    connections: BTreeMap<usize, u64>,
    /// The first promise that an answer broke.
    pub(super) broken: Option<(&'static str, String)>,
    pub(super) landed: u64,
    pub(super) refused: u64,
}

impl Ledger {
    /// A device dials.
    pub(super) fn connect(&mut self, device: usize) {
        *self.connections.entry(device).or_default() += 1;
    }

    fn connections_of(&self, device: usize) -> u64 {
        self.connections.get(&device).copied().unwrap_or(0)
    }

    /// A commit was staged.
    pub(super) fn stage(&mut self, staged: &StagedInfo, handed: Handed, is_awaited: bool) {
        let Handed {
            chain,
            device,
            change,
            base,
            seen,
        } = handed;
        self.order += 1;
        let number = (chain, device, staged.author, staged.number);
        let before = self.numbers.insert(number, staged.id);
        // It may have been sent, though the device has lost it: nobody there knows.
        if before.is_some_and(|before| before != staged.id) {
            let what = format!("device {device} used number {} twice", staged.number);
            self.broken.get_or_insert(("numbers", what));
        }
        let entry = Entry {
            chain,
            device,
            author: staged.author,
            number: staged.number,
            order: self.order,
            change,
            base,
            seen,
            connections: self.connections_of(device),
            is_before_a_loss: false,
            told: None,
            is_durable: staged.is_durable,
            is_awaited,
            is_lost: false,
        };
        self.commits.insert(staged.id, entry);
    }

    /// The commit that has written what a commit takes the place of, in a chain of this order.
    pub(super) fn base_of(&self, entry: &Entry, order: &[Hash]) -> Option<Hash> {
        match entry.base {
            Ref::Absent => None,
            Ref::At(version) => order.get(version.seq as usize).copied(),
            Ref::Lane { number, .. } => {
                let place = (entry.chain, entry.device, entry.author, number);
                self.numbers.get(&place).copied()
            }
        }
    }

    /// A caller was answered.
    pub(super) fn answer(&mut self, id: &Hash, answer: &Result<Committed, SubmitError>) {
        let is_after_a_loss =
            self.is_passed_by_a_lost_one(id, answer) || self.is_behind_what_was_lost(id, answer);
        let Some(entry) = self.commits.get(id) else {
            return;
        };
        let is_asked_again = self.connections_of(entry.device) > entry.connections;
        let Some(entry) = self.commits.get_mut(id) else {
            return;
        };
        let told = match answer {
            Ok(committed) => {
                self.landed += 1;
                Told::Landed(committed.seq)
            }
            Err(SubmitError::Rejected(reason)) => {
                self.refused += 1;
                let is_explained = is_after_a_loss
                    || matches!(reason, Reject::Conflict { .. } | Reject::NoRecord { .. });
                match reason {
                    // Whoever asks on one connection alone hears the first answer.
                    Reject::Spent { .. } if !is_explained && is_asked_again => Told::PassedOver,
                    _ => {
                        if !is_explained {
                            let what = format!("commit {id} of device {}: {reason}", entry.device);
                            self.broken.get_or_insert(("refusals", what));
                        }
                        Told::Refused(reason.to_string())
                    }
                }
            }
            // Its disk failed; what became of the commit is seen after the next start.
            Err(SubmitError::Unknown { .. }) => {
                entry.is_awaited = false;
                return;
            }
            Err(error) => {
                let what = format!("commit {id} of device {}: {error:?}", entry.device);
                self.broken.get_or_insert(("outcomes", what));
                return;
            }
        };
        entry.told = Some(told);
    }

    /// Whether a commit was refused because one that its device had lost in a crash came with a higher number: the next process cannot know which were used.
    fn is_passed_by_a_lost_one(&self, id: &Hash, answer: &Result<Committed, SubmitError>) -> bool {
        let (Some(entry), Err(SubmitError::Rejected(Reject::Spent { number, last }))) =
            (self.commits.get(id), answer)
        else {
            return false;
        };
        let place = |number| (entry.chain, entry.device, entry.author, number);
        // A range must not end before it begins.
        let later = self.numbers.range(place(number.saturating_add(1))..);
        let mut between = later.take_while(|(at, _)| **at <= place(*last));
        between.any(|(_, other)| self.commits[other].is_lost)
    }

    /// Whether a commit had seen less than one before it in its lane, because its device has lost with its power what it had received in between.
    fn is_behind_what_was_lost(&self, id: &Hash, answer: &Result<Committed, SubmitError>) -> bool {
        let (Some(entry), Err(SubmitError::Rejected(Reject::Behind { seen }))) =
            (self.commits.get(id), answer)
        else {
            return false;
        };
        let of_lane = |other: &&Entry| {
            (other.chain, other.device, other.author) == (entry.chain, entry.device, entry.author)
        };
        let may_have_landed = |other: &&Entry| matches!(other.told, None | Some(Told::Landed(_)));
        let before = self.commits.values().filter(of_lane);
        let mut before = before.filter(|other| other.order < entry.order);
        entry.seen == *seen
            && before.any(|other| {
                other.is_before_a_loss && other.seen > entry.seen && may_have_landed(&other)
            })
    }

    /// Commits whose callers still wait.
    pub(super) fn awaited(&self) -> usize {
        let commits = self.commits.values();
        commits
            .filter(|entry| entry.is_awaited && entry.told.is_none())
            .count()
    }

    /// What the device had not made durable may be gone.
    pub(super) fn lose_power(&mut self, device: usize) {
        let of_device = self.commits.values_mut();
        of_device
            .filter(|entry| entry.device == device)
            .for_each(|entry| entry.is_before_a_loss = true);
    }

    /// The device is gone, with everybody who waited there.
    pub(super) fn forget_callers(&mut self, device: usize) {
        for entry in self.commits.values_mut() {
            if entry.device == device {
                entry.is_awaited = false;
                entry.is_lost |= entry.told.is_none() && !entry.is_durable;
            }
        }
    }
}
