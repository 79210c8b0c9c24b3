//! `Store`: a directory, or memory, opened by this process.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ate_chain::{ChainId, Depth, DirectoryEntry, Local, OpenError, Pending, Position, Proved};
use ate_crypto::{Hash, Identity, KeyId};
use ate_log::{FileLog, Least, Location, Pace, Reclaimed, Scrubbed};
use ate_view::Chain;

use crate::builder::StoreBuilder;
use crate::error::Error;
use crate::inner::StoreInner;
use crate::upkeep::UpkeepCounts;

const FORMAT: u32 = 1;

/// A directory, or memory, opened by this process: a log, the chains in it, and the identity that acts. Cheap to clone; the last clone closes it.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<StoreInner>,
    _closer: Arc<Closer>,
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
    /// Chains whose state is in memory, in use or idle.
    pub open_chains: usize,
    /// What upkeep has done since the store was opened.
    pub upkeep: UpkeepCounts,
}

impl Store {
    pub(crate) fn over(inner: StoreInner) -> Self {
        let inner = Arc::new(inner);
        #[cfg(feature = "net")]
        inner.this.get_or_init(|| Arc::downgrade(&inner));
        inner.begin_upkeep();
        Self {
            _closer: Arc::new(Closer(inner.clone())),
            inner,
        }
    }

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
    ///
    /// # At a node (feature `net`)
    /// `ate://KEY@host:port/NAME` is the chain of that name with the own identity as its root, `…/ROOT/NAME` another's. It must exist there: nothing is created by a
    /// typo, see [`Store::create_chain`]. The answer comes when all that the node has was verified here, the first time; later at once, whether or not the node can be
    /// reached.
    pub fn chain(&self, name: &str) -> Pending<Result<Chain, Error>> {
        #[cfg(feature = "net")]
        if is_address(name) {
            return self
                .inner
                .remote_chain(name, crate::network::Want::Existing);
        }
        Pending::ready(self.inner.chain(name))
    }

    /// As [`Store::chain`], and makes a chain that is not there, also at a node: it is planned in memory, and its first commit founds it.
    ///
    /// # Errors
    /// As [`Store::chain`].
    pub fn create_chain(&self, name: &str) -> Pending<Result<Chain, Error>> {
        #[cfg(feature = "net")]
        if is_address(name) {
            return self.inner.remote_chain(name, crate::network::Want::Create);
        }
        Pending::ready(self.inner.chain(name))
    }

    /// How a chain stands to the node that it follows; `None` if it follows none.
    #[cfg(feature = "net")]
    #[must_use]
    pub fn replica_status(&self, chain: &Chain) -> Option<crate::network::ReplicaStatus> {
        self.inner.replica_status(chain)
    }

    /// Opens a chain that exists, by name or id.
    ///
    /// # Errors
    /// [`Error::NoChain`]; as [`Store::chain`].
    pub fn existing_chain(&self, name: &str) -> Pending<Result<Chain, Error>> {
        #[cfg(feature = "net")]
        if is_address(name) {
            return self
                .inner
                .remote_chain(name, crate::network::Want::Existing);
        }
        Pending::ready(self.inner.existing_chain(name))
    }

    /// The chains of this store, in order of birth.
    ///
    /// # Errors
    /// [`Error::Chain`] if the log cannot be read.
    pub fn chains(&self) -> Result<Vec<ChainInfo>, Error> {
        let info = |entry: DirectoryEntry| ChainInfo {
            name: entry.name.into(),
            id: entry.chain,
            root: entry.root,
        };
        let listed = self.inner.listed()?;
        Ok(listed.directory.entries().map(info).collect())
    }

    /// Who is acting.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// Whether the identity was made when this store was opened.
    #[must_use]
    pub fn is_new_identity(&self) -> bool {
        self.inner.is_new_identity
    }

    /// The directory; `None` in memory.
    #[must_use]
    pub fn dir(&self) -> Option<&Path> {
        self.inner.dir.as_deref()
    }

    /// What was noticed and mended while opening: snapshots that did not fit and were rebuilt.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        self.inner.notes.lock().clone()
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
        self.inner.log.refresh()?;
        let verified = Local::verify(&*self.inner.log, *chain, depth, progress);
        let (proved, position, root) = verified.map_err(|error| {
            let at = match &error {
                OpenError::Damaged { at, .. } | OpenError::Invalid { at, .. } => Some(*at),
                _ => None,
            };
            // A gap shows behind the damage that made it.
            let cause = at.and_then(|at| self.inner.explains(chain, Some(at)));
            cause.unwrap_or_else(|| error.into())
        })?;
        if proved.apart > 0 && self.inner.replica_address(chain).is_none() {
            return Err(OpenError::Damaged {
                chain: *chain,
                seq: position.0,
                at: self.inner.log.start(),
                why: "contents are missing that nothing erased, and the chain is no replica",
            }
            .into());
        }
        if let Some((rest, _)) = self.inner.rest(*chain)
            && rest.position() > position
        {
            if let Some(cause) = self.inner.explains(chain, None) {
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

    /// The log, if it is in files.
    pub(crate) fn files(&self) -> Option<&FileLog> {
        self.inner.files.as_deref()
    }

    /// Facts about the store.
    #[must_use]
    pub fn info(&self) -> StoreInfo {
        let (syncs, commits) = self.inner.committer.counts();
        StoreInfo {
            dir: self.inner.dir.clone(),
            identity: self.inner.identity.id(),
            format: FORMAT,
            disk_bytes: self.inner.log.disk_bytes(),
            durable: self.inner.log.durable(),
            writer: self.inner.log.writable(),
            syncs,
            commits,
            open_chains: self.inner.chains.open_count(),
            upkeep: self.inner.upkeep.counts.lock().clone(),
        }
    }

    /// Finishes the erasures of a chain and gives back the contents below its horizon (`Chain::set_horizon`). Sealed files are written anew without them; what
    /// stands in segments that are not sealed yet is sealed for it. Blocks the calling thread; commits and reads go on.
    ///
    /// # Errors
    /// [`Error`]: nothing is half gone, and it can be called again.
    pub fn compact(
        &self,
        chain: &Chain,
        least: Least,
        pace: &mut dyn Pace,
    ) -> Result<Reclaimed, Error> {
        self.inner.compact(chain.local(), least, pace)
    }

    /// Seals everything that was written so far: a new segment is begun, and the others are sorted by chain into files that never change. The store does that
    /// by itself with segments that are full. Returns how many were sealed.
    ///
    /// # Errors
    /// [`Error`]: a segment is sealed or it is not, and the log goes on.
    pub fn seal(&self, pace: &mut dyn Pace) -> Result<u64, Error> {
        self.inner.log.roll()?;
        let mut sealed = 0;
        while self.inner.log.seal(pace)? {
            sealed += 1;
        }
        Ok(sealed)
    }

    /// Reads everything and checks every checksum. What was found stands in [`StoreInfo::upkeep`]. Blocks the calling thread; commits and reads go on.
    /// [`Store::verify`] proves chains on top of that.
    ///
    /// # Errors
    /// [`Error`] if the disk does not give what it has; damage is none.
    pub fn scrub(&self, pace: &mut dyn Pace) -> Result<Scrubbed, Error> {
        self.inner.log.refresh()?;
        self.inner.scrub(pace)
    }

    /// Writes what is queued, puts the chains to rest and closes the log. Later writes are refused, reads go on: so it is for chains that outlive the last
    /// clone of their store, too. Blocks the calling thread.
    ///
    /// # Errors
    /// [`Error::Close`]: what was acknowledged is durable all the same.
    pub fn close(&self) -> Pending<Result<(), Error>> {
        Pending::ready(self.inner.close())
    }
}

#[cfg(feature = "net")]
fn is_address(name: &str) -> bool {
    name.starts_with("ate://")
}

/// Closes a store with its last handle. The thread of the store holds the store as well, but no handle.
struct Closer(Arc<StoreInner>);

impl Drop for Closer {
    /// Everything acknowledged is durable already; this makes the next opening fast.
    fn drop(&mut self) {
        drop(self.0.close());
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("dir", &self.inner.dir)
            .field("identity", &self.inner.identity.id())
            .finish_non_exhaustive()
    }
}
