//! Snapshots: chains at rest and the list of chains, sealed under the store's own key. All of it is a cache.

use ate_chain::{ChainId, Directory, Rest, rest_name};
use ate_crypto::sealed_file;
use ate_log::Log;
use ate_view::Chain;

use crate::error::Error;
use crate::inner::StoreInner;

/// The list of chains is kept again after so many new ones, or an eighth of those it holds: what is written stays linear in what is listed.
const NEW_CHAINS_MAX: usize = 1024;
/// ... or so many segments of the log, for which reading it through would take seconds.
const NEW_SEGMENTS_MAX: u32 = 8;
const DIRECTORY: &str = "directory";

/// The list of chains, and how much of it was kept.
pub(crate) struct Listed {
    pub(crate) directory: Directory,
    kept_chains: usize,
    kept_to: ate_log::Cursor,
}

impl Listed {
    pub(crate) fn new(log: &dyn Log) -> Self {
        Self::kept(Directory::new(log))
    }

    fn kept(directory: Directory) -> Self {
        Self {
            kept_chains: directory.len(),
            kept_to: directory.cursor(),
            directory,
        }
    }

    /// Whether so much is new that it should be kept again.
    pub(crate) fn is_due(&self) -> bool {
        let new = self.directory.len() - self.kept_chains;
        let segments = self.directory.cursor().file - self.kept_to.file;
        new >= NEW_CHAINS_MAX.max(self.kept_chains / 8) || segments >= NEW_SEGMENTS_MAX
    }

    /// Whether a load without it would read much of the log through.
    fn is_worth_it(&self, replay_bytes_max: u64) -> bool {
        let (kept, now) = (self.kept_to, self.directory.cursor());
        now.file != kept.file || u64::from(now.offset - kept.offset) > replay_bytes_max
    }
}

impl StoreInner {
    /// Whether snapshots are written: memory has no use for them, and a reader may not.
    pub(crate) fn keeps_rest(&self) -> bool {
        self.dir.is_some() && self.log.writable()
    }

    /// The position of the sealed state of a chain.
    pub(crate) fn sealed_position(&self, chain: ChainId) -> Option<u64> {
        self.rest(chain).map(|(rest, _)| rest.position().0)
    }

    /// The sealed state of a chain with its names, if there is one that fits.
    pub(crate) fn rest(&self, chain: ChainId) -> Option<(Rest, Vec<u8>)> {
        let name = rest_name(&chain);
        let bytes = self.log.snapshot_get(&name).ok().flatten()?;
        let opened = self.unseal(&name, bytes).and_then(|plain| {
            let (length, rest) = plain.split_first_chunk::<8>()?;
            let (state, names) =
                rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
            Some((Rest::decode(chain, state).ok()?, names.to_vec()))
        });
        if opened.is_none() {
            self.note(format!(
                "the snapshot of chain {chain} did not fit and is rebuilt"
            ));
        }
        opened
    }

    /// Keeps the state of a chain; how many bytes were written: none while commits are under way.
    pub(crate) fn put_to_rest(&self, chain: &Chain) -> Result<u64, Error> {
        chain
            .local()
            .between_erasures(|| self.put_to_rest_now(chain))
    }

    fn put_to_rest_now(&self, chain: &Chain) -> Result<u64, Error> {
        if chain.local().is_replica() {
            // What was shown to it may not be durable here, and a state at rest must not be ahead of the log.
            self.log.sync()?;
        }
        // Asked first: what is written meanwhile is replayed though the snapshot may have it.
        let replayed = chain.local().replay_bytes();
        let Some((state, names)) = chain.local().at_rest(|| chain.names_at_rest()) else {
            self.note(format!(
                "no snapshot of chain {} was written: commits were under way",
                chain.id()
            ));
            return Ok(0);
        };
        let mut plain =
            Vec::with_capacity(sealed_file::sealed_bytes(8 + state.len() + names.len()));
        plain.extend_from_slice(&(state.len() as u64).to_le_bytes());
        plain.extend_from_slice(&state);
        plain.extend_from_slice(&names);
        let bytes = plain.len() as u64;
        self.put(&rest_name(&chain.id()), plain)?;
        chain.local().rested(replayed);
        chain.local().has_rest();
        Ok(bytes)
    }

    /// Puts every chain to rest for which a replay would be long, and keeps the list of chains.
    pub(crate) fn put_all_to_rest(&self) -> Result<(), Error> {
        for chain in self.chains.open_now() {
            // An erasure took away what there was: the next opening would replay everything.
            let is_due =
                chain.local().replay_bytes() > self.replay_bytes_max || chain.local().lost_rest();
            if !chain.is_new() && is_due {
                self.put_to_rest(&chain)?;
            }
        }
        let is_worth_it = self.listed()?.is_worth_it(self.replay_bytes_max);
        if is_worth_it {
            self.keep_directory()?;
        }
        Ok(())
    }

    /// Keeps the list of chains as it is now.
    pub(crate) fn keep_directory(&self) -> Result<(), Error> {
        if !self.keeps_rest() {
            return Ok(());
        }
        let listed = self.listed()?;
        let (chains, to) = (listed.directory.len(), listed.directory.cursor());
        let plain = listed.directory.encode();
        drop(listed);
        self.put(DIRECTORY, plain)?;
        let mut listed = self.listed.lock();
        (listed.kept_chains, listed.kept_to) = (chains, to);
        Ok(())
    }

    /// Reads the list of chains that was kept, if it fits.
    pub(crate) fn restore_directory(&self) {
        let Some(bytes) = self.log.snapshot_get(DIRECTORY).ok().flatten() else {
            return;
        };
        let decoded = self
            .unseal(DIRECTORY, bytes)
            .and_then(|plain| Directory::decode(&plain).ok());
        match decoded.filter(|directory| directory.cursor() <= self.log.durable()) {
            Some(directory) => *self.listed.lock() = Listed::kept(directory),
            None => self.note("the list of chains did not fit and is rebuilt".to_owned()),
        }
    }

    fn unseal(&self, name: &str, mut bytes: Vec<u8>) -> Option<Vec<u8>> {
        sealed_file::open_in_place(&self.identity.store_key(), name.as_bytes(), &mut bytes).ok()?;
        Some(bytes)
    }

    fn put(&self, name: &str, mut plain: Vec<u8>) -> Result<(), Error> {
        sealed_file::seal_in_place(
            &self.identity.store_key(),
            name.as_bytes(),
            &*self.random,
            &mut plain,
        );
        Ok(self.log.snapshot_put(name, &plain)?)
    }
}
