//! Witnesses: others who hold a chain on stable storage, have verified it themselves, and sign how far.
//!
//! What a sequencer has acknowledged, one machine has. What a witness has signed besides, somebody else has too, in the same order: a sequencer that loses it, or
//! shows another history afterwards, is found out by whoever holds the two signatures against each other.

use ate_crypto::Identity;

use crate::checkpoint::Checkpoint;
use crate::ids::Position;
use crate::local::Local;
use crate::pending::Pending;

/// Why a position is not witnessed. The commit stands in the chain's order all the same.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WitnessError {
    /// Nobody is named who could.
    #[error("this store names no witnesses of the chain")]
    Unnamed,
    /// Too few signed in time.
    #[error("{signed} of the {needed} witnesses that it takes have signed in time: {why}")]
    TooFew {
        /// Those that did.
        signed: usize,
        /// Those that it takes.
        needed: usize,
        /// What kept the others.
        why: String,
    },
    /// A witness has signed another history: it, or whoever decides the order, tells two stories.
    #[error("the witness {witness} has signed another root for the same number of commits")]
    OtherHistory {
        /// Which one.
        witness: String,
    },
}

impl Local {
    /// Whether anybody is named who can witness commits of this chain: on a replica, if its store names witnesses.
    pub fn has_witnesses(&self) -> bool {
        let replica = self.replica.get();
        replica.is_some_and(|replica| replica.upstream.has_witnesses())
    }

    /// Waits until as many witnesses as it takes have synced the chain up to a position and have signed the root that it has here.
    ///
    /// # Errors
    /// In the answer: [`WitnessError`].
    pub fn witnessed(&self, position: Position) -> Pending<Result<(), WitnessError>> {
        match (self.replica.get(), self.root_at(position)) {
            (Some(replica), Some(root)) => replica.upstream.witness(position, root),
            _ => Pending::ready(Err(WitnessError::Unnamed)),
        }
    }

    /// Signs, as a witness, the root at a position that this store has verified and now holds on stable storage: a checkpoint (docs/format.md, section 5) by the note
    /// keys of `identity`, which need not be listed in the chain. `None` if the chain is not so long here.
    ///
    /// # Errors
    /// [`ate_log::AppendError`] if the log cannot be synced; nothing is signed then.
    pub fn testify(
        &self,
        identity: &Identity,
        position: Position,
    ) -> Result<Option<String>, ate_log::AppendError> {
        if position == Position(0) || position > self.position() {
            return Ok(None);
        }
        let Some(root) = self.root_at(position) else {
            return Ok(None);
        };
        self.log.sync()?;
        let checkpoint = Checkpoint {
            chain: self.chain(),
            size: position.0,
            root,
        };
        Ok(Some(checkpoint.sign(&identity.note_keys())))
    }
}
