//! The chains that a store holds: found by id in one step, loaded by one caller while the others wait, and let go when nobody uses them.
//!
//! **At most one state of a chain is ever alive**, else both would order commits and the chain would fork. This holds by three rules. A state is made
//! only under the chain's entry [`Entry::Loading`], or under a fresh id of its own. That entry is made only where there is none, or where there is
//! [`Entry::Gone`], whose [`WeakChain`] is asked first. An entry is taken away only after its chain was seen to be gone. Everything that can commit
//! (handles, transactions, commits on their way) holds the state, so a chain that is gone has all of it in the log, where the next load finds it.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;

use ate_chain::ChainId;
use ate_view::{Chain, WeakChain};
use parking_lot::{Condvar, Mutex};

use crate::error::Error;

/// Chains looked at one by one when another is opened, to see whether their bytes are within the budget.
const COUNTED_MAX: usize = 64;

/// How many idle chains stay, and how large they may be together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) idle_max: usize,
    pub(crate) idle_bytes_max: usize,
}

/// The chains that a store holds.
pub(crate) struct Chains {
    table: Mutex<Table>,
    /// A chain was loaded, or could not be.
    loaded: Condvar,
    limits: Limits,
}

#[derive(Default)]
struct Table {
    entries: HashMap<ChainId, Entry>,
    /// Chains of the own root that were begun here, by name, until the store's list has them.
    begun: HashMap<Box<str>, ChainId>,
    /// How often one was taken out of `begun`: its name may stand in the list since.
    listed: u64,
    /// Counts uses: the measure of how long ago a chain was used.
    uses: u64,
    /// Chains opened since the last look.
    opened: usize,
}

enum Entry {
    /// One caller loads it.
    Loading,
    Open {
        chain: Chain,
        used: u64,
    },
    /// It was let go; somebody may still have it.
    Gone {
        name: Box<str>,
        chain: WeakChain,
    },
}

/// What came of beginning a chain.
pub(crate) enum Begun {
    Chain(Chain),
    /// It was begun before, and is held or on its way.
    Held(ChainId),
    /// The list of chains may know the name meanwhile.
    LookAgain,
}

/// Whether idle chains should go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pressure {
    None,
    /// A look at all chains is due.
    Due,
    /// It was due long ago.
    Late,
}

impl Chains {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            table: Mutex::default(),
            loaded: Condvar::new(),
            limits,
        }
    }

    /// The chain `id`: the one that is held, or what `load` makes. `load` is given the way back to one that was let go, and must make none while that
    /// leads anywhere. It runs without a lock; callers for the same chain wait for it, others do not.
    pub(crate) fn open(
        &self,
        id: ChainId,
        load: impl FnOnce(Option<&WeakChain>) -> Result<Chain, Error>,
    ) -> Result<Chain, Error> {
        let mut table = self.table.lock();
        let before = loop {
            let now = table.use_now();
            match table.entries.get_mut(&id) {
                Some(Entry::Open { chain, used }) => {
                    *used = now;
                    return Ok(chain.clone());
                }
                Some(Entry::Loading) => self.loaded.wait(&mut table),
                Some(Entry::Gone { .. }) | None => {
                    break table.entries.insert(id, Entry::Loading);
                }
            }
        };
        drop(table);
        let mut turn = Turn {
            chains: self,
            id,
            then: before,
        };
        let weak = match &turn.then {
            Some(Entry::Gone { chain, .. }) => Some(chain),
            _ => None,
        };
        let chain = load(weak)?;
        turn.then = Some(Entry::Open {
            chain: chain.clone(),
            used: 0,
        });
        Ok(chain)
    }

    /// How many chains were listed that had been begun here: to be asked before the list is searched for a name, and given to [`Chains::begin`].
    pub(crate) fn listed(&self) -> u64 {
        self.table.lock().listed
    }

    /// The chain `name` of the own root that was begun here, or else what `plan` makes, which must be new. `listed` tells since when the list of chains is
    /// known not to have it.
    pub(crate) fn begin(
        &self,
        name: &str,
        listed: u64,
        plan: impl FnOnce() -> Result<Chain, Error>,
    ) -> Result<Begun, Error> {
        let known = |table: &Table| table.begun.get(name).copied();
        let mut id = known(&self.table.lock());
        if id.is_none() {
            // Outside the lock: it takes a key encapsulation. Whoever comes second throws its plan away.
            let chain = plan()?;
            let mut table = self.table.lock();
            if table.listed != listed {
                return Ok(Begun::LookAgain);
            }
            id = known(&table);
            if id.is_none() {
                let used = table.use_now();
                table.begun.insert(name.into(), chain.id());
                let open = Entry::Open {
                    chain: chain.clone(),
                    used,
                };
                table.entries.insert(chain.id(), open);
                table.opened += 1;
                return Ok(Begun::Chain(chain));
            }
        }
        let mut table = self.table.lock();
        match id.filter(|id| !table.is_gone(id)) {
            Some(id) => Ok(Begun::Held(id)),
            // What it wrote is listed, and if it wrote nothing its name is free.
            None => {
                id.iter().for_each(|id| table.forget(id, name));
                Ok(Begun::LookAgain)
            }
        }
    }

    /// Whether enough was opened for a look at all chains to be worth it.
    pub(crate) fn pressure(&self) -> Pressure {
        let table = self.table.lock();
        let spare = (self.limits.idle_max / 8)
            .max(table.entries.len() / 64)
            .max(1);
        if table.opened >= spare + self.limits.idle_max.max(COUNTED_MAX) {
            return Pressure::Late;
        }
        let is_full = table.opened >= spare && table.entries.len() > self.limits.idle_max;
        // A few large ones.
        let is_large = || {
            let open = table.entries.values().filter_map(Entry::chain);
            let idle = open.filter(|chain| chain.is_idle());
            idle.map(Chain::memory_bytes).sum::<usize>() > self.limits.idle_bytes_max
        };
        let is_counted = table.entries.len() <= COUNTED_MAX || table.opened >= spare;
        if table.opened > 0 && (is_full || is_counted && is_large()) {
            Pressure::Due
        } else {
            Pressure::None
        }
    }

    /// The idle chains over the budget, first those that were used least recently. A little more than needed, so that the next few find room.
    pub(crate) fn surplus(&self) -> Vec<ChainId> {
        let mut table = self.table.lock();
        table.opened = 0;
        let now = table.use_now();
        let (mut idle, mut gone) = (Vec::new(), Vec::new());
        for (id, entry) in &mut table.entries {
            match entry {
                Entry::Open { chain, used } if chain.is_idle() => {
                    idle.push((*used, *id, chain.memory_bytes()));
                }
                Entry::Open { used, .. } => *used = now,
                Entry::Gone { name, chain } if chain.is_gone() => gone.push((*id, name.clone())),
                Entry::Gone { .. } | Entry::Loading => {}
            }
        }
        gone.iter().for_each(|(id, name)| table.forget(id, name));
        drop(table);
        let mut count = idle.len();
        let mut bytes: usize = idle.iter().map(|(.., bytes)| bytes).sum();
        let goal = |got: usize, max: usize| if got > max { max - max / 8 } else { max };
        let goal = (
            goal(count, self.limits.idle_max),
            goal(bytes, self.limits.idle_bytes_max),
        );
        idle.sort_unstable();
        let goes = |(_, _, own_bytes): &(u64, ChainId, usize)| {
            let goes = count > goal.0 || bytes > goal.1;
            (count, bytes) = (count - 1, bytes - own_bytes);
            goes
        };
        idle.into_iter()
            .take_while(goes)
            .map(|(_, id, _)| id)
            .collect()
    }

    /// Lets a chain go if it is still idle. `before` is called first, without a lock, and may put the chain to rest.
    pub(crate) fn let_go(&self, id: &ChainId, before: impl FnOnce(&Chain)) {
        let chain = match self.table.lock().entries.get(id) {
            Some(Entry::Open { chain, .. }) if chain.is_idle() => chain.clone(),
            _ => return,
        };
        before(&chain);
        let (chain, name) = {
            let mut table = self.table.lock();
            // The entry's handle is the only one left from here on, unless somebody has asked for the chain meanwhile.
            drop(chain);
            let Place::Occupied(mut place) = table.entries.entry(*id) else {
                return;
            };
            let (weak, name) = match place.get() {
                Entry::Open { chain, .. } if chain.is_idle() => {
                    (chain.downgrade(), Box::<str>::from(chain.name()))
                }
                _ => return,
            };
            let gone = Entry::Gone {
                name: name.clone(),
                chain: weak,
            };
            (place.insert(gone), name)
        };
        // Without the lock: a large state takes its time to be freed.
        drop(chain);
        let mut table = self.table.lock();
        if table.is_gone(id) {
            table.forget(id, &name);
        }
    }

    /// A chain, if it is open.
    #[cfg(feature = "net")]
    pub(crate) fn if_open(&self, id: &ChainId) -> Option<Chain> {
        let table = self.table.lock();
        table.entries.get(id).and_then(Entry::chain).cloned()
    }

    /// Every chain that is open.
    pub(crate) fn open_now(&self) -> Vec<Chain> {
        let table = self.table.lock();
        table
            .entries
            .values()
            .filter_map(Entry::chain)
            .cloned()
            .collect()
    }

    /// Every chain that is open, for work that takes its time: only the one at hand counts as in use.
    pub(crate) fn open_one_by_one(&self) -> impl Iterator<Item = Chain> + '_ {
        let ids: Vec<ChainId> = self.table.lock().entries.keys().copied().collect();
        ids.into_iter().filter_map(|id| {
            let table = self.table.lock();
            table.entries.get(&id).and_then(Entry::chain).cloned()
        })
    }

    /// Waits for the commits that nobody waits for, of every chain.
    pub(crate) fn settle(&self) {
        self.open_now().iter().for_each(Chain::settle);
        self.let_go_but_alive().iter().for_each(WeakChain::settle);
    }

    /// Ends the subscriptions of every chain.
    pub(crate) fn end_subscriptions(&self) {
        self.open_now().iter().for_each(Chain::end_subscriptions);
        self.let_go_but_alive()
            .iter()
            .for_each(WeakChain::end_subscriptions);
    }

    fn let_go_but_alive(&self) -> Vec<WeakChain> {
        let left = |entry: &Entry| match entry {
            Entry::Gone { chain, .. } => Some(chain.clone()),
            _ => None,
        };
        self.table
            .lock()
            .entries
            .values()
            .filter_map(left)
            .collect()
    }

    /// Whether more chains are open than may be idle.
    pub(crate) fn is_over(&self) -> bool {
        self.open_count() > self.limits.idle_max
    }

    /// How many chains are open, in use or idle.
    pub(crate) fn open_count(&self) -> usize {
        let table = self.table.lock();
        table.entries.values().filter_map(Entry::chain).count()
    }
}

impl Entry {
    const fn chain(&self) -> Option<&Chain> {
        match self {
            Self::Open { chain, .. } => Some(chain),
            _ => None,
        }
    }
}

impl Table {
    fn use_now(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }

    /// Whether nothing is left of a chain that was let go.
    fn is_gone(&self, id: &ChainId) -> bool {
        match self.entries.get(id) {
            None => true,
            Some(Entry::Gone { chain, .. }) => chain.is_gone(),
            Some(_) => false,
        }
    }

    /// Takes a chain out that is gone.
    fn forget(&mut self, id: &ChainId, name: &str) {
        self.entries.remove(id);
        if self.begun.get(name) == Some(id) {
            self.begun.remove(name);
            self.listed += 1;
        }
    }
}

/// A caller's turn to load a chain.
struct Turn<'a> {
    chains: &'a Chains,
    id: ChainId,
    /// What stands in the table after it: the chain, or what stood there before.
    then: Option<Entry>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut table = self.chains.table.lock();
        match self.then.take() {
            Some(Entry::Open { chain, .. }) => {
                let used = table.use_now();
                table.entries.insert(self.id, Entry::Open { chain, used });
                table.opened += 1;
            }
            Some(gone) => drop(table.entries.insert(self.id, gone)),
            None => drop(table.entries.remove(&self.id)),
        }
        self.chains.loaded.notify_all();
    }
}
