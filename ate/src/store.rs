//! `Store`: a directory, or memory, opened by this process.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ate_chain::{
    ChainId, Clock, Committer, Depth, Directory, DirectoryEntry, Local, OpenError, Pending,
    Position, Proved, Rest,
};
use ate_crypto::{Hash, Identity, KeyId, Random, sealed_file};
use ate_log::{DamagedRange, Location, Log};
use ate_view::Chain;
use parking_lot::Mutex;

use crate::builder::StoreBuilder;
use crate::error::Error;

/// Snapshots are written at close if at least this much of the log would have to be replayed.
const REPLAY_BYTES_MAX: u64 = 64 << 10;
const DIRECTORY: &str = "directory";
const FORMAT: u32 = 1;

/// A directory, or memory, opened by this process: a log, the chains in it, and the identity that acts. Cheap to clone; the last clone closes it.
#[derive(Clone)]
pub struct Store(pub(crate) Arc<StoreInner>);

pub(crate) struct StoreInner {
    pub(crate) dir: Option<PathBuf>,
    pub(crate) identity: Identity,
    pub(crate) is_new_identity: bool,
    pub(crate) log: Arc<dyn Log>,
    /// What is damaged, if the store was opened in spite of it.
    pub(crate) damage: Option<Vec<DamagedRange>>,
    pub(crate) committer: Arc<Committer>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) cache_bytes: usize,
    pub(crate) chains: Mutex<Vec<OpenChain>>,
    pub(crate) directory: Mutex<Directory>,
    pub(crate) notes: Mutex<Vec<String>>,
    pub(crate) closed: Mutex<bool>,
}

/// A chain that this store holds open.
pub(crate) struct OpenChain {
    chain: Chain,
    root: KeyId,
    /// Where the log stood when its state was last put to rest.
    rested: Location,
}

/// A chain of a store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChainInfo {
    /// Name.
    pub name: String,
    /// Id.
    pub id: ChainId,
    /// Root key.
    pub root: KeyId,
}

/// What a verification proved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verified {
    /// Counts.
    pub proved: Proved,
    /// The state that was reached.
    pub position: Position,
    /// Its Merkle root.
    pub root: Hash,
}

/// Facts about an open store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreInfo {
    /// Directory; `None` in memory.
    pub dir: Option<PathBuf>,
    /// Who is acting.
    pub identity: KeyId,
    /// Version of the format.
    pub format: u32,
    /// Bytes of all files of the log, preallocated space included.
    pub disk_bytes: u64,
    /// Everything before this place of the log is on stable storage.
    pub durable: Location,
    /// Whether this process writes.
    pub writer: bool,
    /// Syncs and commits of this process so far.
    pub syncs: u64,
    /// Commits of this process so far.
    pub commits: u64,
}

impl Store {
    /// Opens a store directory for writing; makes it, and an identity, on first use.
    ///
    /// # Errors
    /// [`Error`]; see [`StoreBuilder::open`].
    pub fn open(dir: impl Into<PathBuf>) -> Pending<Result<Self, Error>> {
        Self::builder(dir).open()
    }

    /// A store in memory, with an identity of its own. Everything is gone when it is dropped.
    ///
    /// # Errors
    /// None at present; the type leaves room.
    pub fn in_memory() -> Result<Self, Error> {
        StoreBuilder::in_memory().open().wait()
    }

    /// What to open and how.
    #[must_use]
    pub fn builder(dir: impl Into<PathBuf>) -> StoreBuilder {
        StoreBuilder::new(dir.into())
    }

    /// Opens the chain `name` of the own root. One that is absent is planned in memory and written with its first commit.
    ///
    /// # Errors
    /// [`Error::Chain`] if the chain does not verify; [`Error::ChainName`].
    ///
    /// # Cost
    /// What was written since the chain was last put to rest is replayed and proved on the calling thread.
    pub fn chain(&self, name: &str) -> Pending<Result<Chain, Error>> {
        Pending::ready(self.chain_now(name))
    }

    /// Opens a chain that exists, by name or id.
    ///
    /// # Errors
    /// [`Error::NoChain`]; as [`Store::chain`].
    pub fn existing_chain(&self, name: &str) -> Pending<Result<Chain, Error>> {
        Pending::ready(self.find(name).and_then(|found| {
            found.map_or_else(
                || {
                    Err(Error::NoChain {
                        name: name.to_owned(),
                    })
                },
                |entry| self.open_entry(&entry),
            )
        }))
    }

    /// The chains of this store, in order of birth.
    ///
    /// # Errors
    /// [`Error::Chain`] if the log cannot be read.
    pub fn chains(&self) -> Result<Vec<ChainInfo>, Error> {
        let mut directory = self.0.directory.lock();
        self.0.log.refresh()?;
        directory.update(&*self.0.log)?;
        let info = |entry: &DirectoryEntry| ChainInfo {
            name: entry.name.to_string(),
            id: entry.chain,
            root: entry.root,
        };
        Ok(directory.entries().iter().map(info).collect())
    }

    /// Who is acting.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// Whether the identity was made when this store was opened.
    #[must_use]
    pub fn is_new_identity(&self) -> bool {
        self.0.is_new_identity
    }

    /// The directory; `None` in memory.
    #[must_use]
    pub fn dir(&self) -> Option<&Path> {
        self.0.dir.as_deref()
    }

    /// What was noticed and mended while opening: snapshots that did not fit and were rebuilt.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        self.0.notes.lock().clone()
    }

    /// Proves a chain again from its genesis, from the log alone.
    ///
    /// # Errors
    /// [`Error::Chain`] with the place of the first thing that does not hold; also if the chain is shorter than a state that this store sealed.
    pub fn verify(
        &self,
        chain: &ChainId,
        depth: Depth,
        progress: impl FnMut(&Proved),
    ) -> Result<Verified, Error> {
        self.0.log.refresh()?;
        let verified = Local::verify(&*self.0.log, *chain, depth, progress);
        let (proved, position, root) = verified.map_err(|error| {
            let at = match &error {
                OpenError::Damaged { at, .. } | OpenError::Invalid { at, .. } => Some(*at),
                _ => None,
            };
            // A gap shows behind the damage that made it.
            let cause = at.and_then(|at| self.0.explains(chain, Some(at)));
            cause.unwrap_or_else(|| error.into())
        })?;
        if let Some((rest, _)) = self.0.rest(*chain)
            && rest.position() > position
        {
            if let Some(cause) = self.0.explains(chain, None) {
                return Err(cause);
            }
            return Err(OpenError::RolledBack {
                chain: *chain,
                found: position.0,
                sealed: rest.position().0,
            }
            .into());
        }
        Ok(Verified {
            proved,
            position,
            root,
        })
    }

    /// Facts about the store.
    #[must_use]
    pub fn info(&self) -> StoreInfo {
        let (syncs, commits) = self.0.committer.counts();
        StoreInfo {
            dir: self.0.dir.clone(),
            identity: self.0.identity.id(),
            format: FORMAT,
            disk_bytes: self.0.log.disk_bytes(),
            durable: self.0.log.durable(),
            writer: self.0.log.writable(),
            syncs,
            commits,
        }
    }

    /// Writes what is queued, puts the chains to rest and closes the log. Later writes are refused, reads go on: so it is for chains that outlive the last
    /// clone of their store, too. Blocks the calling thread.
    ///
    /// # Errors
    /// [`Error::Close`]: what was acknowledged is durable all the same.
    pub fn close(&self) -> Pending<Result<(), Error>> {
        Pending::ready(self.0.close())
    }

    fn chain_now(&self, name: &str) -> Result<Chain, Error> {
        if let Some(entry) = self.find(name)? {
            return self.open_entry(&entry);
        }
        let good = !name.is_empty()
            && name.len() <= ate_chain::CHAIN_NAME_BYTES_MAX
            && !name.chars().any(char::is_control);
        if !good {
            return Err(Error::ChainName {
                name: name.chars().take(64).collect(),
            });
        }
        if !self.0.log.writable() {
            return Err(Error::NoChain {
                name: name.to_owned(),
            });
        }
        let mut chains = self.0.chains.lock();
        // New, or written since the directory was read.
        if let Some(open) = chains
            .iter()
            .find(|open| open.chain.name() == name && open.root == self.0.identity.id())
        {
            return Ok(open.chain.clone());
        }
        let local = Local::create(&self.0.committer, name, &self.0.identity)?;
        let chain = Chain::over(
            local,
            name,
            &self.0.identity,
            self.0.clock.clone(),
            self.0.cache_bytes,
        );
        chains.push(OpenChain {
            chain: chain.clone(),
            root: self.0.identity.id(),
            rested: self.0.log.start(),
        });
        Ok(chain)
    }

    /// The chain that a name or id means: the own root's chain first, else the only one of that name.
    fn find(&self, name: &str) -> Result<Option<DirectoryEntry>, Error> {
        let mut directory = self.0.directory.lock();
        self.0.log.refresh()?;
        directory.update(&*self.0.log)?;
        let entries = directory.entries();
        if let Ok(id) = name.parse::<Hash>()
            && let Some(entry) = entries.iter().find(|entry| entry.chain.0 == id)
        {
            return Ok(Some(entry.clone()));
        }
        let own = self.0.identity.id();
        let named: Vec<&DirectoryEntry> = entries
            .iter()
            .filter(|entry| *entry.name == *name)
            .collect();
        match (
            named.iter().find(|entry| entry.root == own),
            named.as_slice(),
        ) {
            (Some(entry), _) => Ok(Some((*entry).clone())),
            (None, []) => Ok(None),
            (None, [entry]) => Ok(Some((*entry).clone())),
            (None, several) => {
                let ids: Vec<String> = several
                    .iter()
                    .map(|entry| entry.chain.to_string())
                    .collect();
                Err(Error::AmbiguousChain {
                    name: name.to_owned(),
                    ids: ids.join(", "),
                })
            }
        }
    }

    fn open_entry(&self, entry: &DirectoryEntry) -> Result<Chain, Error> {
        let mut chains = self.0.chains.lock();
        if let Some(open) = chains.iter().find(|open| open.chain.id() == entry.chain) {
            return Ok(open.chain.clone());
        }
        let (rest, names) = self.0.rest(entry.chain).unzip();
        let rested = rest
            .as_ref()
            .map_or_else(|| self.0.log.start(), Rest::cursor);
        let is_rested = rest.is_some();
        let mut chain = self.chain_at(entry, rest, names);
        if self.0.damage.is_none() {
            chain.local().load()?;
        } else if let Err(error) = chain.local().load_proven() {
            // A snapshot may rest on what is damaged now; the log may still prove a part.
            if !is_rested {
                return Err(error.into());
            }
            chain = self.chain_at(entry, None, None);
            chain.local().load_proven()?;
        }
        chains.push(OpenChain {
            chain: chain.clone(),
            root: entry.root,
            rested,
        });
        Ok(chain)
    }

    /// A chain that is still to be loaded.
    fn chain_at(
        &self,
        entry: &DirectoryEntry,
        rest: Option<Rest>,
        names: Option<Vec<u8>>,
    ) -> Chain {
        let local = Local::at(&self.0.committer, entry.chain, rest);
        let chain = Chain::over(
            local,
            &entry.name,
            &self.0.identity,
            self.0.clock.clone(),
            self.0.cache_bytes,
        );
        if let Some(names) = names
            && !chain.restore_names(&names)
        {
            self.0.note(format!(
                "the names of chain {} did not fit and are read anew",
                entry.chain
            ));
        }
        chain
    }
}

impl StoreInner {
    /// The position of the sealed state of a chain.
    pub(crate) fn sealed_position(&self, chain: ChainId) -> Option<u64> {
        self.rest(chain).map(|(rest, _)| rest.position().0)
    }

    /// The sealed state of a chain with its names, if there is one that fits.
    fn rest(&self, chain: ChainId) -> Option<(Rest, Vec<u8>)> {
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

    /// Reads the list of chains that was kept, if it fits.
    pub(crate) fn restore_directory(&self) {
        let Some(bytes) = self.log.snapshot_get(DIRECTORY).ok().flatten() else {
            return;
        };
        let decoded = self
            .unseal(DIRECTORY, bytes)
            .and_then(|plain| Directory::decode(&plain).ok());
        match decoded.filter(|directory| directory.cursor() <= self.log.durable()) {
            Some(directory) => *self.directory.lock() = directory,
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

    fn note(&self, note: String) {
        let mut notes = self.notes.lock();
        if !notes.contains(&note) {
            notes.push(note);
        }
    }

    /// Puts every chain to rest for which a replay would be long.
    fn put_to_rest(&self) -> Result<(), Error> {
        let now = self.log.durable();
        let mut any = false;
        for open in self.chains.lock().iter_mut() {
            let behind = if now.file == open.rested.file {
                u64::from(now.offset.saturating_sub(open.rested.offset))
            } else {
                u64::MAX
            };
            if open.chain.is_new() || behind < REPLAY_BYTES_MAX {
                continue;
            }
            let names = || open.chain.names_at_rest();
            let Some((state, names)) = open.chain.local().at_rest(names) else {
                self.note(format!(
                    "no snapshot of chain {} was written: commits were under way",
                    open.chain.id()
                ));
                continue;
            };
            let mut plain =
                Vec::with_capacity(sealed_file::sealed_bytes(8 + state.len() + names.len()));
            plain.extend_from_slice(&(state.len() as u64).to_le_bytes());
            plain.extend_from_slice(&state);
            plain.extend_from_slice(&names);
            self.put(&rest_name(&open.chain.id()), plain)?;
            open.rested = now;
            any = true;
        }
        if any {
            let mut directory = self.directory.lock();
            directory.update(&*self.log)?;
            let plain = directory.encode();
            drop(directory);
            self.put(DIRECTORY, plain)?;
        }
        Ok(())
    }

    pub(crate) fn close(&self) -> Result<(), Error> {
        let mut closed = self.closed.lock();
        if *closed {
            return Ok(());
        }
        *closed = true;
        let chains: Vec<Chain> = self
            .chains
            .lock()
            .iter()
            .map(|open| open.chain.clone())
            .collect();
        chains.iter().for_each(Chain::settle);
        self.committer.close();
        if !self.log.writable() {
            return Ok(());
        }
        // A snapshot is a cache: that it could not be written takes nothing away, and memory has no use for one.
        if self.dir.is_some()
            && let Err(error) = self.put_to_rest()
        {
            self.note(format!("no snapshot was written: {error}"));
        }
        Ok(self.log.close()?)
    }
}

impl Drop for StoreInner {
    /// Everything acknowledged is durable already; this makes the next opening fast.
    fn drop(&mut self) {
        drop(self.close());
    }
}

fn rest_name(chain: &ChainId) -> String {
    format!("chain-{chain}")
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("dir", &self.0.dir)
            .field("identity", &self.0.identity.id())
            .finish_non_exhaustive()
    }
}
