//! No salt seals two commits: one key stream over two bodies would give both away, and no other check would notice.

use std::collections::BTreeMap;

use ate::prelude::*;
use ate::{Error, Hash};

use super::{SALTS, Violation};
use crate::oracle::Stop;

/// All salts that a run has seen, in all lives of its store, with the commit that each belongs to.
#[derive(Debug, Default)]
pub struct Salts {
    seen: BTreeMap<[u8; 32], Hash>,
    /// How far each chain was looked at, and the root there.
    looked: BTreeMap<String, (u64, Hash)>,
}

impl Salts {
    /// Looks at the commits of every chain that are new.
    ///
    /// # Errors
    /// A salt that was used before; errors of reading.
    pub fn look(&mut self, store: &Store) -> Result<(), Stop> {
        for info in store.chains()? {
            let chain = store.existing_chain(&info.name).wait()?;
            let from = match self.looked.get(&info.name) {
                Some((position, root)) if chain.root_at(Position(*position)) == Some(*root) => {
                    *position
                }
                // What was looked at is gone, and something else may stand in its place.
                _ => 0,
            };
            for seq in from..chain.position().0 {
                self.take(&info.name, &chain, seq)?;
            }
            self.looked
                .insert(info.name, (chain.position().0, chain.root()));
        }
        Ok(())
    }

    fn take(&mut self, name: &str, chain: &Chain, seq: u64) -> Result<(), Stop> {
        let commit = chain.commit(seq).map_err(Error::from)?;
        let salt = commit.head.salt.0;
        let broken = |seen: String| -> Violation { SALTS.broken(seen) };
        if salt == [0; 32] {
            return Err(broken(format!("commit {seq} of {name} has none")).into());
        }
        match self.seen.insert(salt, commit.id) {
            Some(other) if other != commit.id => {
                Err(broken(format!("commit {seq} of {name} has the salt of {other}")).into())
            }
            _ => Ok(()),
        }
    }

    /// How many there were.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether nothing was looked at.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }
}
