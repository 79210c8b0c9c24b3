//! What stands behind all handles of a store: finding, opening and letting go of chains.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ate_chain::{ChainId, Clock, Committer, DirectoryEntry, Local, Rest};
use ate_crypto::{Hash, Identity, Random};
use ate_log::{AppendError, DamagedRange, FileLog, Log};
use ate_view::{Chain, ValueCache, WeakChain};
use parking_lot::{Mutex, MutexGuard};

use crate::chains::{Begun, Chains, Pressure};
use crate::error::Error;
use crate::maintenance::{Job, Maintenance, Next, Pacing, Work};
use crate::replicas::Replicas;
use crate::rest::Listed;
use crate::upkeep::UpkeepState;

/// How soon chains are looked at again while more are open than may be idle: handles are dropped without a word.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

pub(crate) struct StoreInner {
    pub(crate) dir: Option<PathBuf>,
    pub(crate) identity: Identity,
    pub(crate) is_new_identity: bool,
    pub(crate) log: Arc<dyn Log>,
    /// The same log, if it is in files.
    pub(crate) files: Option<Arc<FileLog>>,
    /// What is damaged, if the store was opened in spite of it.
    pub(crate) damage: Option<Vec<DamagedRange>>,
    pub(crate) committer: Arc<Committer>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) cache: ValueCache,
    pub(crate) chains: Chains,
    pub(crate) replay_bytes_max: u64,
    pub(crate) listed: Mutex<Listed>,
    /// Whether it was opened for writing, whatever became of the log since.
    pub(crate) is_writer: bool,
    pub(crate) maintenance: Maintenance,
    pub(crate) upkeep: UpkeepState,
    /// Held by whoever lets idle chains go.
    pub(crate) evicting: Mutex<()>,
    pub(crate) notes: Mutex<Vec<String>>,
    pub(crate) replicas: Mutex<Replicas>,
    #[cfg(feature = "net")]
    pub(crate) net_options: crate::network::NetOptions,
    #[cfg(feature = "net")]
    pub(crate) net: Mutex<Option<Arc<crate::network::Net>>>,
    /// Servers of this process, and of the peers of the nodes that serve this store.
    #[cfg(feature = "net")]
    pub(crate) board: ate_net::CallBoard,
    /// The way to this from its chains.
    #[cfg(feature = "net")]
    pub(crate) this: std::sync::OnceLock<std::sync::Weak<Self>>,
    pub(crate) closed: Mutex<bool>,
}

impl StoreInner {
    /// The chain `name` of the own root, or the only one of that name; else a new one.
    pub(crate) fn chain(self: &Arc<Self>, name: &str) -> Result<Chain, Error> {
        let chain = loop {
            // Before the list is searched, see `Chains::begin`.
            let listed = self.chains.listed();
            if let Some(entry) = self.find(name)? {
                break self.open_entry(&entry)?;
            }
            self.may_begin(name)?;
            match self.chains.begin(name, listed, || self.plan(name))? {
                Begun::Chain(chain) => break chain,
                Begun::Held(id) => {
                    let none = || Error::NoChain {
                        name: name.to_owned(),
                    };
                    let held = |weak: Option<&WeakChain>| {
                        weak.and_then(|weak| self.upgrade(weak, name))
                            .ok_or_else(none)
                    };
                    // It may go at this very moment: then the next turn finds it in the list, or its name free.
                    if let Ok(chain) = self.chains.open(id, held) {
                        break chain;
                    }
                }
                Begun::LookAgain => {}
            }
        };
        self.make_room();
        self.erase_what_is_due(&chain);
        Ok(chain)
    }

    pub(crate) fn existing_chain(self: &Arc<Self>, name: &str) -> Result<Chain, Error> {
        let entry = self.find(name)?.ok_or_else(|| Error::NoChain {
            name: name.to_owned(),
        })?;
        let chain = self.open_entry(&entry)?;
        self.make_room();
        self.erase_what_is_due(&chain);
        Ok(chain)
    }

    /// A crash may have come between an erasure and its work.
    fn erase_what_is_due(self: &Arc<Self>, chain: &Chain) {
        let is_due = self.is_writer && chain.local().has_due_erasures();
        if is_due && !self.maintenance.call(self, Job::Erase) {
            self.finish_erasures();
        }
    }

    /// The list of chains, with all that the log holds now.
    pub(crate) fn listed(&self) -> Result<MutexGuard<'_, Listed>, Error> {
        let mut listed = self.listed.lock();
        if self.is_writer {
            listed.directory.follow(&self.committer)?;
        } else {
            self.log.refresh()?;
            listed.directory.update(&*self.log)?;
        }
        Ok(listed)
    }

    fn may_begin(&self, name: &str) -> Result<(), Error> {
        let good = !name.is_empty()
            && name.len() <= ate_chain::CHAIN_NAME_BYTES_MAX
            && !name.chars().any(char::is_control);
        if !good {
            return Err(Error::ChainName {
                name: name.chars().take(64).collect(),
            });
        }
        if self.log.writable() {
            return Ok(());
        }
        // A log that has failed takes no new chain and says so; a reader has none of that name.
        match self.log.sync() {
            Err(error @ AppendError::Poisoned { .. }) => Err(error.into()),
            _ => Err(Error::NoChain {
                name: name.to_owned(),
            }),
        }
    }

    fn plan(&self, name: &str) -> Result<Chain, Error> {
        let local = Local::create(&self.committer, name, &self.identity)?;
        Ok(self.over(local, name))
    }

    pub(crate) fn over(&self, local: Arc<Local>, name: &str) -> Chain {
        self.accompanied(Chain::over(
            local,
            name,
            &self.identity,
            self.clock.clone(),
            &self.cache,
        ))
    }

    /// A chain that finds the way to this store's network.
    fn accompanied(&self, chain: Chain) -> Chain {
        #[cfg(feature = "net")]
        if let Some(store) = self.this.get() {
            crate::calls::Companion::beside(&chain, store);
        }
        chain
    }

    pub(crate) fn upgrade(&self, weak: &WeakChain, name: &str) -> Option<Chain> {
        let chain = weak.upgrade(name, &self.identity, &self.clock, &self.cache)?;
        Some(self.accompanied(chain))
    }

    /// The chain that a name or id means: the own root's chain first, else the only one of that name.
    fn find(self: &Arc<Self>, name: &str) -> Result<Option<DirectoryEntry>, Error> {
        let listed = self.listed()?;
        let by_id = name.parse::<Hash>().ok();
        let by_id = by_id.and_then(|id| listed.directory.by_id(&ChainId(id)));
        let named = match &by_id {
            Some(_) => Vec::new(),
            None => listed.directory.named(name),
        };
        let is_due = self.is_writer && listed.is_due();
        drop(listed);
        if is_due {
            // Without a thread it is kept at close.
            self.maintenance.call(self, Job::KeepDirectory);
        }
        if by_id.is_some() {
            return Ok(by_id);
        }
        let own = self.identity.id();
        match (
            named.iter().find(|entry| entry.root == own),
            named.as_slice(),
        ) {
            (Some(entry), _) => Ok(Some(entry.clone())),
            (None, []) => Ok(None),
            (None, [entry]) => Ok(Some(entry.clone())),
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

    pub(crate) fn open_entry(&self, entry: &DirectoryEntry) -> Result<Chain, Error> {
        self.chains.open(entry.chain, |weak| {
            match weak.and_then(|weak| self.upgrade(weak, &entry.name)) {
                Some(chain) => Ok(chain),
                None => self.load(entry),
            }
        })
    }

    fn load(&self, entry: &DirectoryEntry) -> Result<Chain, Error> {
        let (rest, names) = self.rest(entry.chain).unzip();
        let is_rested = rest.is_some();
        let mut chain = self.chain_at(entry, rest, names);
        if self.damage.is_none() {
            chain.local().load()?;
        } else if let Err(error) = chain.local().load_proven() {
            // A snapshot may rest on what is damaged now; the log may still prove a part.
            if !is_rested {
                return Err(error.into());
            }
            chain = self.chain_at(entry, None, None);
            chain.local().load_proven()?;
        }
        self.follow_if_replica(&chain)?;
        Ok(chain)
    }

    /// A replica of which the log may have nothing yet. It does not follow yet.
    #[cfg(feature = "net")]
    pub(crate) fn load_replica(&self, id: ChainId, name: &str) -> Result<Chain, Error> {
        let entry = DirectoryEntry {
            chain: id,
            name: name.into(),
            root: self.identity.id(),
        };
        let (rest, names) = self.rest(id).unzip();
        let chain = self.chain_at(&entry, rest, names);
        match chain.local().load() {
            Ok(()) | Err(ate_chain::OpenError::NotFound { .. }) => Ok(chain),
            Err(error) => Err(error.into()),
        }
    }

    /// A chain that is still to be loaded.
    fn chain_at(
        &self,
        entry: &DirectoryEntry,
        rest: Option<Rest>,
        names: Option<Vec<u8>>,
    ) -> Chain {
        let local = Local::at(&self.committer, entry.chain, rest);
        let chain = self.over(local, &entry.name);
        if let Some(names) = names
            && !chain.restore_names(&names)
        {
            self.note(format!(
                "the names of chain {} did not fit and are read anew",
                entry.chain
            ));
        }
        chain
    }

    /// Lets idle chains go if it is time: on the store's thread, or here if there is none or it falls behind.
    pub(crate) fn make_room(self: &Arc<Self>) {
        match self.chains.pressure() {
            Pressure::None => {}
            Pressure::Due if self.maintenance.call(self, Job::EvictIdle) => {}
            Pressure::Due | Pressure::Late => self.evict_idle(&mut Pacing::unlimited()),
        }
    }

    /// Lets the idle chains go that are over the budget; one thread at a time.
    fn evict_idle(&self, pacing: &mut Pacing<'_>) {
        let Some(_evicting) = self.evicting.try_lock() else {
            return;
        };
        for id in self.chains.surplus() {
            let mut bytes = 0;
            self.chains.let_go(&id, |chain| {
                self.finish_erasures_of(chain);
                // It comes back all the same without, only slower.
                if self.keeps_rest() && chain.local().replay_bytes() > self.replay_bytes_max {
                    match self.put_to_rest(chain) {
                        Ok(written) => bytes = written,
                        Err(error) => self.note(format!("no snapshot was written: {error}")),
                    }
                }
            });
            if pacing.did(bytes).is_break() {
                return;
            }
        }
    }

    pub(crate) fn note(&self, note: String) {
        let mut notes = self.notes.lock();
        if !notes.contains(&note) {
            notes.push(note);
        }
    }

    pub(crate) fn close(&self) -> Result<(), Error> {
        let mut closed = self.closed.lock();
        if *closed {
            return Ok(());
        }
        *closed = true;
        self.maintenance.stop();
        self.chains.settle();
        #[cfg(feature = "net")]
        self.end_net();
        self.committer.close();
        self.chains.end_subscriptions();
        if !self.log.writable() {
            return Ok(());
        }
        self.finish_erasures();
        // A snapshot is a cache: that it could not be written takes nothing away, and memory has no use for one.
        if self.keeps_rest()
            && let Err(error) = self.put_all_to_rest()
        {
            self.note(format!("no snapshot was written: {error}"));
        }
        Ok(self.log.close()?)
    }
}

impl Work for StoreInner {
    fn perform(&self, job: Job, pacing: &mut Pacing<'_>) -> Next {
        match job {
            Job::EvictIdle => {
                self.evict_idle(pacing);
                if self.chains.is_over() {
                    return Next::After(LOOK_AGAIN);
                }
            }
            Job::KeepDirectory => {
                if let Err(error) = self.keep_directory() {
                    self.note(format!("the list of chains was not written: {error}"));
                }
            }
            Job::Seal => return self.seal(pacing),
            Job::Erase => return self.finish_erasures(),
            Job::Compact => return self.compact_open(pacing),
            Job::Scrub => return self.scrub_slowly(pacing),
        }
        Next::WhenCalled
    }
}
