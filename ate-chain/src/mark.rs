//! Marks: places in a chain that this store remembers for its consumers. They are no commits and leave the store with nobody.
//!
//! A mark stands in a snapshot of the log, named `consumer-` and a hash, in these bytes: `ATEmark1` ‖ chain (32) ‖ owner (32) ‖ root after the commits
//! before the place (32) ‖ commit (8, little-endian) ‖ event (4) ‖ name ‖ SHA-256 of all that (32). What does not fit, for whatever reason, counts as absent:
//! a consumer without a mark begins where it says, so the worst is that it sees again what it has seen.

use ate_crypto::{Hash, KeyId, sha256};

use crate::codec::Reader;
use crate::error::MarkError;
use crate::ids::{Position, Version};
use crate::local::Local;

const MAGIC: &[u8; 8] = b"ATEmark1";
const PREFIX: &str = "consumer-";
/// Longest name of a mark in bytes.
pub const MARK_NAME_BYTES_MAX: usize = 1024;

/// A place in a chain under a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// Its name; it stands in the store in clear.
    pub name: String,
    /// The first change that was not done: everything before it was.
    pub next: Version,
}

impl Local {
    /// Remembers a place under `owner` and `name`, in the place of the one before. Durable on return.
    ///
    /// # Errors
    /// [`MarkError`]: the store is open for reading only, or the disk failed; the mark is the old one or the new one.
    ///
    /// # Cost
    /// One small file, replaced and synced.
    ///
    /// # Panics
    /// If the name is longer than [`MARK_NAME_BYTES_MAX`].
    pub fn keep_mark(&self, owner: &KeyId, name: &str, next: Version) -> Result<(), MarkError> {
        assert!(
            name.len() <= MARK_NAME_BYTES_MAX,
            "names are checked before"
        );
        let root = self.root_at(Position(next.seq)).unwrap_or(Hash::ZERO);
        let mut bytes = Vec::with_capacity(160 + name.len());
        bytes.extend_from_slice(MAGIC);
        for hash in [&self.chain().0.0, &owner.0, &root.0] {
            bytes.extend_from_slice(hash);
        }
        bytes.extend_from_slice(&next.seq.to_le_bytes());
        bytes.extend_from_slice(&next.event.to_le_bytes());
        bytes.extend_from_slice(name.as_bytes());
        let sum = sha256(&[&bytes]);
        bytes.extend_from_slice(&sum.0);
        Ok(self
            .log
            .snapshot_put(&self.mark_file(owner, name), &bytes)?)
    }

    /// The place that was remembered, if there is one that fits this chain as it stands.
    ///
    /// # Errors
    /// [`MarkError`]: the disk failed.
    pub fn mark(&self, owner: &KeyId, name: &str) -> Result<Option<Version>, MarkError> {
        let bytes = self.log.snapshot_get(&self.mark_file(owner, name))?;
        let mark = bytes.and_then(|bytes| self.read_mark(owner, &bytes));
        Ok(mark.filter(|mark| mark.name == name).map(|mark| mark.next))
    }

    /// All places of `owner` in this chain, by name.
    ///
    /// # Errors
    /// As [`Local::mark`].
    ///
    /// # Cost
    /// Reads the marks of all chains of the store.
    pub fn marks(&self, owner: &KeyId) -> Result<Vec<Mark>, MarkError> {
        let mut marks = Vec::new();
        for file in self.log.snapshot_names()? {
            if file.starts_with(PREFIX)
                && let Some(bytes) = self.log.snapshot_get(&file)?
            {
                marks.extend(self.read_mark(owner, &bytes));
            }
        }
        marks.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(marks)
    }

    /// Forgets a place; that there is none is no error.
    ///
    /// # Errors
    /// [`MarkError`]: it may be there or not.
    pub fn remove_mark(&self, owner: &KeyId, name: &str) -> Result<(), MarkError> {
        Ok(self.log.snapshot_remove(&self.mark_file(owner, name))?)
    }

    fn mark_file(&self, owner: &KeyId, name: &str) -> String {
        let hash = sha256(&[MAGIC, &self.chain().0.0, &owner.0, name.as_bytes()]);
        let digits = hash.0.iter().map(|byte| format!("{byte:02x}"));
        PREFIX
            .chars()
            .chain(digits.collect::<String>().chars())
            .collect()
    }

    fn read_mark(&self, owner: &KeyId, bytes: &[u8]) -> Option<Mark> {
        let (bytes, sum) = bytes.split_last_chunk::<32>()?;
        if sha256(&[bytes]).0 != *sum {
            return None;
        }
        let mut reader = Reader::new(bytes);
        let is_ours = reader.array().ok()? == *MAGIC
            && reader.array().ok()? == self.chain().0.0
            && reader.array().ok()? == owner.0;
        let root = Hash(reader.array().ok()?);
        let next = Version {
            seq: u64::from_le_bytes(reader.array().ok()?),
            event: u32::from_le_bytes(reader.array().ok()?),
        };
        let name = std::str::from_utf8(bytes.get(reader.offset()..)?).ok()?;
        // A place that the chain has not reached, or on another history, is none.
        let fits = is_ours && self.root_at(Position(next.seq)) == Some(root);
        fits.then(|| Mark {
            name: name.to_owned(),
            next,
        })
    }
}
