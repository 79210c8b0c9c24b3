//! Checkpoints: the size and root of a chain, signed by its sequencer as a C2SP note. Whoever kept one notices when history is rewritten.

use ate_crypto::{Hash, Identity, NoteKeys, NoteVerifier};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::CheckpointError;
use crate::ids::{ChainId, Position};
use crate::local::Local;

/// What a checkpoint says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// Chain.
    pub chain: ChainId,
    /// Commits.
    pub size: u64,
    /// Merkle root over them.
    pub root: Hash,
}

impl Checkpoint {
    /// The note's origin, which is also the name of its keys.
    pub fn origin(chain: &ChainId) -> String {
        format!("ate/{chain}")
    }

    /// The text that is signed.
    pub fn body(&self) -> String {
        format!(
            "{}\n{}\n{}\n",
            Self::origin(&self.chain),
            self.size,
            STANDARD.encode(self.root.0)
        )
    }

    /// The note with both signatures of these keys.
    pub(crate) fn sign(&self, keys: &NoteKeys) -> String {
        keys.sign_note(&Self::origin(&self.chain), &self.body())
    }

    /// Reads a note that one of `keys` (Ed25519 ‖ ML-DSA-65) must have signed, with both halves.
    ///
    /// # Errors
    /// [`CheckpointError::Note`] or [`CheckpointError::Body`].
    pub fn verify(
        note: &str,
        chain: &ChainId,
        keys: &[impl AsRef<[u8]>],
    ) -> Result<Self, CheckpointError> {
        let origin = Self::origin(chain);
        let verified = keys
            .iter()
            .filter_map(|key| {
                NoteVerifier::from_bytes(key.as_ref())
                    .ok()?
                    .verify_note(note, &origin)
                    .ok()
            })
            .next();
        let body = verified.ok_or(CheckpointError::Note)?;
        let mut lines = body.split_terminator('\n');
        let mut parse = || {
            (lines.next()? == origin).then_some(())?;
            let size = lines.next()?;
            let root: [u8; 32] = STANDARD.decode(lines.next()?).ok()?.try_into().ok()?;
            let checkpoint = Self {
                chain: *chain,
                size: size.parse().ok()?,
                root: Hash(root),
            };
            // One way to write it: no leading zeros, no extension lines.
            (lines.next().is_none() && checkpoint.body() == body).then_some(checkpoint)
        };
        parse().ok_or(CheckpointError::Body)
    }
}

impl Local {
    /// Signs the confirmed state with the sequencer's note keys; `None` before the first commit or if `identity` is not a sequencer of this chain.
    pub fn checkpoint(&self, identity: &Identity) -> Option<String> {
        let keys = identity.note_keys();
        let listed = self
            .genesis()?
            .note_keys
            .iter()
            .any(|key| **key == keys.public_bytes()[..]);
        let position = self.position();
        let checkpoint = Checkpoint {
            chain: self.chain(),
            size: position.0,
            root: self.root_at(position)?,
        };
        listed.then(|| checkpoint.sign(&keys))
    }

    /// Holds a checkpoint that was kept against the chain as it is now.
    ///
    /// # Errors
    /// [`CheckpointError::Root`] if the chain is shorter than it was, or has another past.
    pub fn check(&self, note: &str) -> Result<Checkpoint, CheckpointError> {
        let genesis = self.genesis().ok_or(CheckpointError::Note)?;
        let checkpoint = Checkpoint::verify(note, &self.chain(), &genesis.note_keys)?;
        match self.root_at(Position(checkpoint.size)) {
            Some(root) if root == checkpoint.root => Ok(checkpoint),
            actual => Err(CheckpointError::Root {
                size: checkpoint.size,
                claimed: checkpoint.root,
                actual,
            }),
        }
    }
}
