//! Commits that were refused, kept with their contents until somebody has dealt with them: written again, or said that they may go.

use std::sync::Arc;

use ate_crypto::{Hash, KeyId};

use crate::draft::{Author, parse_meta};
use crate::error::ReadError;
use crate::event::{Change, EventHead};
use crate::ids::{RecordKey, Ref, Version};
use crate::local::Local;
use crate::outbox::Outbox;
use crate::read::Opened;
use crate::seal::Placing;
use crate::settle::{Refusal, Settled};

/// A refused commit in the outbox.
pub(crate) struct Kept {
    placing: Arc<Placing>,
    refusal: Refusal,
    /// The caller of the commit is told, and sees to it.
    pub(crate) is_claimed: bool,
    /// It was given out by [`Local::take_refused`].
    is_taken: bool,
}

impl Kept {
    pub(crate) fn of(placing: Arc<Placing>, refusal: Refusal) -> Self {
        Self {
            placing,
            refusal,
            is_claimed: false,
            is_taken: false,
        }
    }

    pub(crate) fn is_free(&self) -> bool {
        self.refusal.may_retry && !self.is_claimed && !self.is_taken
    }

    fn shown(&self) -> RefusedCommit {
        RefusedCommit {
            placing: self.placing.clone(),
            reason: self.refusal.reason.clone(),
            may_retry: self.refusal.may_retry,
        }
    }
}

/// A commit that was refused, with all that it meant to write. Cheap to clone.
#[derive(Clone)]
pub struct RefusedCommit {
    placing: Arc<Placing>,
    reason: String,
    may_retry: bool,
}

impl RefusedCommit {
    /// Commit id. It never will be in the order.
    #[must_use]
    pub fn id(&self) -> Hash {
        self.placing.commit.id
    }

    /// Who signed it.
    #[must_use]
    pub fn author(&self) -> KeyId {
        self.placing.commit.head.author
    }

    /// Its number in the author's lane.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.placing.commit.head.number
    }

    /// The author's clock when it was sealed, in ms since 1970.
    #[must_use]
    pub fn author_time_ms(&self) -> u64 {
        self.placing.commit.head.author_time_ms
    }

    /// Why it was refused, in words.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether another commit may do what this one meant: it came too late, not without the right to.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        self.may_retry
    }

    /// Its events.
    pub fn events(&self) -> impl Iterator<Item = &EventHead> {
        self.placing.commit.events.iter().map(|event| &event.head)
    }
}

impl std::fmt::Debug for RefusedCommit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RefusedCommit")
            .field("id", &self.id())
            .field("number", &self.number())
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

impl Outbox {
    pub(crate) fn keep(&mut self, kept: Kept) {
        let id = kept.placing.commit.id;
        let is_known = |other: &Kept| other.placing.commit.id == id;
        let is_replaced = self.replaced.iter().any(|(old, _)| *old == id);
        if is_replaced || self.kept.iter().any(is_known) {
            return;
        }
        self.bytes += kept.placing.bytes() as u64;
        self.kept.push(kept);
    }

    /// Lets go of a refused commit; `false` if it is not kept.
    pub(crate) fn forget(&mut self, id: &Hash) -> bool {
        let Some(at) = self
            .kept
            .iter()
            .position(|kept| kept.placing.commit.id == *id)
        else {
            return false;
        };
        let kept = self.kept.remove(at);
        self.bytes = self.bytes.saturating_sub(kept.placing.bytes() as u64);
        true
    }
}

impl Local {
    /// The commits that were refused and that nobody has dealt with, in the order in which they were refused. They outlive the process.
    pub fn refused(&self) -> Vec<RefusedCommit> {
        let Some(replica) = self.replica.get() else {
            return Vec::new();
        };
        let outbox = replica.outbox.lock();
        outbox.kept.iter().map(Kept::shown).collect()
    }

    /// As [`Local::refused`], but only those that may be written again and whose callers do not wait; each is given once, in the order of their lanes.
    pub fn take_refused(&self) -> Vec<RefusedCommit> {
        let Some(replica) = self.replica.get() else {
            return Vec::new();
        };
        let mut outbox = replica.outbox.lock();
        let free = outbox.kept.iter_mut().filter(|kept| kept.is_free());
        let mut taken: Vec<RefusedCommit> = free
            .map(|kept| {
                kept.is_taken = true;
                kept.shown()
            })
            .collect();
        taken.sort_by_key(|commit| (commit.author(), commit.number()));
        taken
    }

    /// Lets [`Local::take_refused`] give again what it has given before and what is still kept.
    pub fn retake_refused(&self) {
        if let Some(replica) = self.replica.get() {
            let mut outbox = replica.outbox.lock();
            outbox
                .kept
                .iter_mut()
                .for_each(|kept| kept.is_taken = false);
        }
    }

    /// Nobody waits for a refused commit any more: it is kept until somebody takes it.
    pub fn release_refused(&self, id: &Hash) {
        if let Some(replica) = self.replica.get() {
            let mut outbox = replica.outbox.lock();
            for kept in &mut outbox.kept {
                kept.is_claimed &= kept.placing.commit.id != *id;
            }
        }
    }

    /// Lets go of a refused commit and its contents; `false` if it is not kept.
    pub fn dismiss_refused(&self, id: &Hash) -> bool {
        let Some(replica) = self.replica.get() else {
            return false;
        };
        let is_kept = replica.outbox.lock().forget(id);
        if is_kept {
            let settled = Settled {
                id: *id,
                refused: None,
            };
            self.note_settled(replica, &settled);
        }
        is_kept
    }

    /// Opens the content that an event of a refused commit would have written.
    ///
    /// # Errors
    /// [`ReadError`]: a key that is not held, or an event without content.
    pub fn open_refused(
        &self,
        author: &Author,
        commit: &RefusedCommit,
        event: u32,
    ) -> Result<Opened, ReadError> {
        self.open_placed(author, &commit.placing, event)
    }

    /// Collection and name that an event of a refused commit gives a record; `None` if it gives none, or its key is not held.
    pub fn refused_name(
        &self,
        author: &Author,
        commit: &RefusedCommit,
        event: u32,
    ) -> Option<(String, String)> {
        let meta = self.open_placed_name(author, &commit.placing, event)?;
        let (collection, name) = parse_meta(&meta)?;
        Some((collection.to_owned(), name.to_owned()))
    }

    /// The confirmed version that a reference in a refused commit means; `None` if there is none, or it is not in the order.
    pub fn refused_base(&self, commit: &RefusedCommit, reference: Ref) -> Option<Version> {
        let end = self.position().0;
        let head = &commit.placing.commit.head;
        self.resolve_ref(head, reference, end).ok().flatten()
    }

    /// Keys of scopes and epochs that a refused commit would have made are none.
    pub(crate) fn forget_keys(&self, placing: &Placing) {
        let keyring = self.keyring(&placing.commit.head.author);
        let Some(keyring) = keyring else { return };
        let head = &placing.commit.head;
        let forget = |scope: &RecordKey| {
            let entry = head.commitments.iter().find(|entry| entry.scope == *scope);
            if let Some(entry) = entry {
                keyring.forget(scope, entry.epoch);
            }
        };
        for event in placing.commit.events.iter().map(|event| &event.head) {
            if let Change::Rotate(rotate) = &event.change {
                keyring.forget(&rotate.scope, rotate.epoch);
            }
            if let Some(key) = event.target().filter(|_| event.read.is_some()) {
                forget(&key);
            }
        }
    }
}
