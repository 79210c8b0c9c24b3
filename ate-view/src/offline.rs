//! Offline: what waits to be ordered, what became of it, and what to do when somebody else was faster.

use ate_chain::{
    Change, CommitOutcome, Pending, Position, RecordKey, RefusedCommit, StagedInfo, WitnessError,
};
use ate_crypto::Hash;

use crate::chain::Chain;
use crate::error::ReadError;
use crate::key::IntoKey;
use crate::merge::{Merge, Merged, Typed};
use crate::schema::Record;

/// One record that a refused commit was to write or to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RefusedRecord {
    /// Record.
    pub key: RecordKey,
    /// Whether it was to be written, not ended.
    pub is_written: bool,
}

impl Chain {
    /// The commits of this store that wait to be ordered elsewhere, in order. None on a chain that is ordered here.
    #[must_use]
    pub fn staged(&self) -> Vec<StagedInfo> {
        self.local().staged()
    }

    /// Waits until as many of the store's witnesses as it takes have synced the chain up to a position, and have signed the root that it has here. What a receipt or
    /// a subscription says the position of, somebody besides the sequencer has then.
    ///
    /// # Errors
    /// In the answer: [`WitnessError`]. Nothing is lost by it, and it may be asked again.
    pub fn witnessed(&self, position: Position) -> Pending<Result<(), WitnessError>> {
        self.local().witnessed(position)
    }

    /// What is known of a commit, by its id: also of one whose outcome was unknown, once the chain has been followed further.
    ///
    /// # Cost
    /// Linear in the chain's commits: a hash for each.
    #[must_use]
    pub fn outcome(&self, commit: &Hash) -> CommitOutcome {
        self.local().outcome(commit)
    }

    /// Says how records of type `T` are merged when a commit that this identity staged meets another one and nobody waits for it any more: its caller went away,
    /// or it was staged by an earlier process. Takes the place of an earlier hook for that type. Refused commits that are kept are tried at once.
    ///
    /// The hook is given what both began with, what the refused commit was to leave, and what stands there now; it may run several times, and on any thread that takes in what
    /// the node shows: it must not wait for the chain, nor hold a handle of it, which would keep the chain open for ever. It is asked only where both have changed the record, and differently. Without a hook, or if it says
    /// [`Merged::Refuse`], the commit is kept: see [`Chain::refused`].
    ///
    /// Whoever waits for a commit gets the conflict instead ([`crate::CommitError::Conflict`]).
    pub fn on_conflict<T: Record>(
        &self,
        hook: impl Fn(Merge<'_, T>) -> Merged<T> + Send + Sync + 'static,
    ) {
        let mut hooks = self.session.hooks.write();
        hooks.retain(|(name, _)| *name != T::NAME);
        hooks.push((T::NAME, Typed::<T, _>::of(hook)));
        drop(hooks);
        self.merge_refused();
    }

    /// Tries again to merge and write the refused commits that are kept: when contents that it takes are here now, or keys.
    pub fn merge_refused(&self) {
        self.local().retake_refused();
        self.session.shared.resolve_refused();
    }

    /// The commits that were refused, were not written again by a merge hook, and whose callers do not wait; with reasons and contents, until
    /// [`Chain::dismiss_refused`]. They outlive the process, and count among the bytes that may be staged.
    #[must_use]
    pub fn refused(&self) -> Vec<RefusedCommit> {
        self.local().refused()
    }

    /// The records that a refused commit was to write or end, schema definitions left out.
    #[must_use]
    pub fn refused_records(&self, commit: &RefusedCommit) -> Vec<RefusedRecord> {
        let events = commit.events().filter(|event| !event.defines);
        let records = events.filter_map(|event| {
            let is_written = !matches!(event.change, Change::Remove { .. } | Change::Erase { .. });
            let key = event.target()?;
            Some(RefusedRecord { key, is_written })
        });
        records.collect()
    }

    /// What a refused commit was to write into a record.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if it was to write nothing there or is not kept any more; as [`Chain::get`].
    pub fn refused_value<T: Record>(
        &self,
        commit: &Hash,
        key: impl IntoKey<T>,
    ) -> Result<T, ReadError> {
        let key = self.session.resolve(&key.into_target())?;
        let found = self.session.refused_commit(commit).and_then(|commit| {
            let mut events = commit.events();
            let index = events.position(|event| event.target() == Some(key))?;
            drop(events);
            Some((commit, index as u32))
        });
        let (commit, index) = found.ok_or_else(|| ReadError::NotFound {
            name: key.to_string(),
        })?;
        self.session.refused_content(&commit, index, key)
    }

    /// Lets go of a refused commit and its contents for good; `false` if it is not kept.
    pub fn dismiss_refused(&self, commit: &Hash) -> bool {
        self.local().dismiss_refused(commit)
    }
}
