//! What to open, and what it takes from outside.

use std::path::PathBuf;
use std::sync::Arc;

use ate_chain::{Clock, Committer, Pending, Spawn};
use ate_crypto::{Identity, Random, Seed};
use ate_log::{DamagedRange, FileLog, FileStorage, Log, LogOptions, MemLog, OpenError, Storage};
use ate_view::ValueCache;
use parking_lot::Mutex;

use crate::ambient::{StoreThread, SystemClock, SystemRandom};
use crate::chains::{Chains, Limits};
use crate::error::Error;
use crate::inner::StoreInner;
use crate::keystore::Keystore;
use crate::maintenance::Maintenance;
use crate::rest::Listed;
use crate::store::Store;
use crate::upkeep::{Upkeep, UpkeepState};

/// Default budget for decoded values of a store.
pub const CACHE_BYTES: usize = 64 << 20;

/// Default number of chains that stay in memory while nobody uses them.
pub const OPEN_CHAINS_MAX: usize = 1024;

/// Default for how much of a chain a load replays before its state is kept.
pub const REPLAY_BYTES_MAX: u64 = 64 << 10;

/// Default memory for chains that nobody uses.
pub const IDLE_BYTES_MAX: usize = 256 << 20;

/// What to open and how. `Store::builder(dir).open()` is `Store::open(dir)`.
pub struct StoreBuilder {
    dir: Option<PathBuf>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    passphrase: Option<String>,
    identity: Option<Identity>,
    storage: Option<Arc<dyn Storage>>,
    read_only: bool,
    salvage: bool,
    must_exist: bool,
    cache_bytes: usize,
    log_options: LogOptions,
    is_single_threaded: bool,
    limits: Limits,
    replay_bytes_max: u64,
    has_thread: bool,
    upkeep: Upkeep,
    #[cfg(feature = "net")]
    net: crate::network::NetOptions,
}

impl StoreBuilder {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self {
            dir: Some(dir),
            ..Self::in_memory()
        }
    }

    pub(crate) fn in_memory() -> Self {
        Self {
            dir: None,
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            passphrase: None,
            identity: None,
            storage: None,
            read_only: false,
            salvage: false,
            must_exist: false,
            cache_bytes: CACHE_BYTES,
            log_options: LogOptions::default(),
            is_single_threaded: false,
            limits: Limits {
                idle_max: OPEN_CHAINS_MAX,
                idle_bytes_max: IDLE_BYTES_MAX,
            },
            replay_bytes_max: REPLAY_BYTES_MAX,
            has_thread: true,
            upkeep: Upkeep::default(),
            #[cfg(feature = "net")]
            net: crate::network::NetOptions::default(),
        }
    }

    /// Another clock than the system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Another source of randomness than the system's. Predictable randomness makes everything readable: tests only.
    #[must_use]
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = random;
        self
    }

    /// Opens a sealed identity, or seals a new one.
    #[must_use]
    pub fn passphrase(mut self, passphrase: impl Into<String>) -> Self {
        self.passphrase = Some(passphrase.into());
        self
    }

    /// Acts as this identity instead of the one in the directory; none is made or read then.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Keeps the log in another [`Storage`] than the directory's files.
    #[must_use]
    pub fn storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = Some(storage);
        self
    }

    /// Opens for reading: beside a writer, or alone. Nothing is made or changed.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self.must_exist = true;
        self
    }

    /// Opens for reading even if the log is damaged, anywhere: each chain is shown up to its last commit that is proven, and those that stand elsewhere
    /// whole. [`Store::damage`] says what is damaged, [`Store::missing`] what that means for a chain. Nothing is made or changed.
    ///
    /// # Cost
    /// Opening reads the whole log.
    #[must_use]
    pub fn salvage(mut self) -> Self {
        self.salvage = true;
        self.read_only()
    }

    /// Fails if there is no store yet, instead of making one.
    #[must_use]
    pub fn must_exist(mut self) -> Self {
        self.must_exist = true;
        self
    }

    /// Budget in bytes for decoded values: one for all chains and identities of this store, whichever use it most. A value of more than a 64th of it is not
    /// kept.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Other sizes of the log's files than the default ones, which are right for disks: tests want small ones. The identity of a new log is drawn from
    /// the store's randomness all the same.
    #[must_use]
    pub fn log_options(mut self, options: LogOptions) -> Self {
        self.log_options = options;
        self
    }

    /// No thread of the store's own at all: as [`StoreBuilder::without_maintenance`], and a commit that nobody waits for is written by whoever polls or drops
    /// it. Simulations repeat themselves that way.
    #[must_use]
    pub fn single_threaded(mut self) -> Self {
        self.is_single_threaded = true;
        self.has_thread = false;
        self
    }

    /// How many chains stay in memory while nobody uses them; those used least recently are let go and come back from their snapshot and the log.
    /// A chain is in use while a handle, transaction, view or commit of it is alive: those stay, however many they are.
    ///
    /// It is looked at while chains are opened, so up to an eighth more may stay, and those whose handles were dropped last.
    #[must_use]
    pub fn open_chains_max(mut self, chains: usize) -> Self {
        self.limits.idle_max = chains;
        self
    }

    /// Memory for chains that nobody uses, without decoded values: about 100 bytes a record, 140 a commit, and names. As [`StoreBuilder::open_chains_max`].
    #[must_use]
    pub fn idle_bytes_max(mut self, bytes: usize) -> Self {
        self.limits.idle_bytes_max = bytes;
        self
    }

    /// How many bytes of a chain's own may be left to replay when it is let go or the store is closed; a chain with more is put to rest in a snapshot, a file
    /// of its own. Small chains have none.
    #[must_use]
    pub fn replay_bytes_max(mut self, bytes: u64) -> Self {
        self.replay_bytes_max = bytes;
        self
    }

    /// Without a thread for what a store does by itself: idle chains are let go by whoever opens another one, the list of chains is kept at close. For tests
    /// that must repeat, and for processes that may have no thread.
    #[must_use]
    pub fn without_maintenance(mut self) -> Self {
        self.has_thread = false;
        self
    }

    /// What the store does to its files by itself, and how fast.
    #[must_use]
    pub fn upkeep(mut self, upkeep: Upkeep) -> Self {
        self.upkeep = upkeep;
        self
    }

    /// Another way to reach nodes than QUIC: in memory, simulated, or one's own. Within a tokio runtime the store's network runs there, with that runtime's time.
    #[cfg(feature = "net")]
    #[must_use]
    pub fn transport(mut self, transport: Arc<dyn ate_net::Transport>) -> Self {
        self.net.transport = Some(transport);
        self
    }

    /// Replicas hold the heads and names of their chains; contents are fetched when they are read, and kept.
    #[cfg(feature = "net")]
    #[must_use]
    pub fn lazy_contents(mut self) -> Self {
        self.net.contents = ate_chain::Contents::Lazy;
        self
    }

    /// How long a node may take to answer when a chain is opened that is not here yet: 10 seconds unless this says otherwise.
    #[cfg(feature = "net")]
    #[must_use]
    pub fn answer_within(mut self, limit: std::time::Duration) -> Self {
        self.net.answer_within = limit;
        self
    }

    /// Names the nodes that are to witness commits of replicas ([`ate_view::Durability::Witnessed`]), and how many of them it takes. A witness is a node that follows
    /// the chain and answers for it, run by somebody who is independent of the node that orders it. Each address must name the node's key.
    #[cfg(feature = "net")]
    #[must_use]
    pub fn witnesses(
        mut self,
        nodes: impl IntoIterator<Item = ate_net::NodeAddress>,
        needed: usize,
    ) -> Self {
        self.net.witnesses = nodes.into_iter().collect();
        self.net.witnesses_needed = needed.max(1);
        self
    }

    /// Opens the store on the calling thread.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`](crate::ErrorKind::Locked) beside another writer, `Denied` without the passphrase, `Damaged` with the place of the damage,
    /// `NewerSchema` for a newer format, `NotFound` if it must exist. At most an empty directory and an identity have been made then.
    pub fn open(self) -> Pending<Result<Store, Error>> {
        Pending::ready(self.open_now())
    }

    fn open_now(self) -> Result<Store, Error> {
        let (identity, is_new_identity) = self.find_identity()?;
        let OpenLog {
            log,
            files,
            store,
            damage,
        } = self.open_log()?;
        let thread: Option<Box<dyn Spawn>> = if self.is_single_threaded {
            None
        } else {
            Some(Box::new(StoreThread))
        };
        let committer = Committer::new(
            log.clone(),
            self.clock.clone(),
            self.random.clone(),
            thread,
            store,
        );
        let is_writer = log.writable();
        let spawn = || Box::new(StoreThread) as Box<dyn Spawn>;
        let inner = StoreInner {
            dir: self.dir,
            identity,
            is_new_identity,
            listed: Mutex::new(Listed::new(&*log)),
            is_writer,
            maintenance: Maintenance::new(self.has_thread.then(spawn)),
            upkeep: UpkeepState::new(self.upkeep),
            evicting: Mutex::default(),
            damage,
            log,
            files,
            committer,
            clock: self.clock,
            random: self.random,
            cache: ValueCache::new(self.cache_bytes),
            chains: Chains::new(self.limits),
            replay_bytes_max: self.replay_bytes_max,
            notes: Mutex::default(),
            replicas: Mutex::default(),
            #[cfg(feature = "net")]
            net_options: self.net,
            #[cfg(feature = "net")]
            net: Mutex::new(None),
            #[cfg(feature = "net")]
            board: ate_net::CallBoard::new(),
            #[cfg(feature = "net")]
            this: std::sync::OnceLock::new(),
            closed: Mutex::new(false),
        };
        inner.restore_directory();
        inner.restore_replicas();
        Ok(Store::over(inner))
    }

    fn find_identity(&self) -> Result<(Identity, bool), Error> {
        if let Some(identity) = &self.identity {
            return Ok((identity.clone(), false));
        }
        let Some(dir) = self.dir.as_ref().filter(|_| self.storage.is_none()) else {
            return Ok((Identity::from_seed(&Seed::generate(&*self.random)), true));
        };
        let keystore = Keystore::in_dir(dir);
        if keystore.exists() {
            return Ok((keystore.identity(self.passphrase.as_deref())?, false));
        }
        let none = || Error::NoIdentity {
            path: keystore.path().to_owned(),
        };
        // A log without its identity is somebody's loss: a new identity could neither read nor continue it.
        match FileLog::open_reader(Arc::new(FileStorage::new(dir))) {
            Err(OpenError::NotFound { .. } | OpenError::NotADirectory { .. })
                if !self.must_exist => {}
            Err(error @ OpenError::Unfinished { .. }) => return Err(error.into()),
            // Damaged or newer, it is a log all the same.
            _ => return Err(none()),
        }
        let seed = Seed::generate(&*self.random);
        match keystore.create(&seed, self.passphrase.as_deref(), &*self.random) {
            Ok(()) => Ok((Identity::from_seed(&seed), true)),
            // Another process was faster: it is its identity then.
            Err(Error::IdentityExists { .. }) => {
                Ok((keystore.identity(self.passphrase.as_deref())?, false))
            }
            Err(error) => Err(error),
        }
    }

    fn open_log(&self) -> Result<OpenLog, Error> {
        let mut id = [0; 16];
        self.random.fill(&mut id);
        let storage: Arc<dyn Storage> = match (&self.storage, &self.dir) {
            (Some(storage), _) => storage.clone(),
            (None, Some(dir)) => Arc::new(FileStorage::new(dir)),
            (None, None) => {
                return Ok(OpenLog {
                    log: Arc::new(MemLog::new()),
                    files: None,
                    store: id,
                    damage: None,
                });
            }
        };
        let log = if self.salvage {
            FileLog::open_damaged(storage)?
        } else if self.read_only {
            FileLog::open_reader(storage)?
        } else {
            if self.must_exist {
                drop(FileLog::open_reader(storage.clone())?);
            }
            let options = LogOptions {
                log_id: id,
                ..self.log_options
            };
            FileLog::open(storage, options)?
        };
        let log = Arc::new(log);
        // Not the log's identity: a restored store goes on with the log of another. A directory that was copied by other means is a fork of this store.
        let store = log.store_id();
        #[cfg(ate_planted)]
        let store = if ate_crypto::planted("reuse-lanes-after-restore") {
            log.log_id()
        } else {
            store
        };
        Ok(OpenLog {
            store,
            damage: self.salvage.then(|| log.damage().to_vec()),
            files: Some(log.clone()),
            log,
        })
    }
}

/// A log with what the store has to know of it.
struct OpenLog {
    log: Arc<dyn Log>,
    /// The same, if it is in files.
    files: Option<Arc<FileLog>>,
    store: [u8; 16],
    /// `None` if the log had to be undamaged to be opened.
    damage: Option<Vec<DamagedRange>>,
}
