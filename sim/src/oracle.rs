//! What may be found: every state that a chain was led to, and how many of them are acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ate::prelude::*;
use ate::{CommitError, Error, Hash, Json, ReadError};

use crate::invariants::{self, Violation};
use crate::world::Account;

/// What a chain shows: documents by their name, accounts by their address.
pub type Content = BTreeMap<String, Arc<str>>;

/// What Bob may do with a document that was shared with him.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Read and write.
    Both,
    /// Read only.
    Reads,
    /// Read what stands there; its scope has a new key by now, which he does not have.
    UntilChanged,
    /// Nothing any more.
    Nothing,
}

/// One state that a chain may be found in.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// All records.
    pub content: Content,
    /// Documents that Bob was let to.
    pub bob: BTreeMap<String, Access>,
    /// Documents that were erased, with the position that the last erasure of the name led to: what they held before is gone.
    pub erased: BTreeMap<String, usize>,
    /// Contents that were superseded before this position may be gone.
    pub horizon: usize,
    /// The Merkle root, once it was seen in a store that had acknowledged or found this state.
    pub root: Option<Hash>,
}

/// What a chain may hold: state `n` stands at position `n + 1`, because the genesis commit is the first.
#[derive(Clone, Debug)]
pub struct ChainOracle {
    /// All states, each led to by one commit.
    pub states: Vec<State>,
    /// How many of them are acknowledged; 0 if the chain need not be there.
    pub acknowledged: usize,
}

/// What is known of all chains of a store.
#[derive(Clone, Default, Debug)]
pub struct Oracle {
    /// By name.
    pub chains: BTreeMap<String, ChainOracle>,
    /// Commits that were answered with success.
    pub commits: u64,
}

impl Default for ChainOracle {
    fn default() -> Self {
        Self {
            states: vec![State::default()],
            acknowledged: 0,
        }
    }
}

impl ChainOracle {
    /// The state that the next commit starts from.
    #[must_use]
    pub fn newest(&self) -> &State {
        self.states.last().expect("there is a genesis")
    }
}

impl Oracle {
    /// Enters the state that the next commit of `chain` leads to; its position.
    pub fn attempt(&mut self, chain: &str, change: impl FnOnce(&mut State)) -> usize {
        let oracle = self.chains.entry(chain.to_owned()).or_default();
        let mut state = oracle.newest().clone();
        state.root = None;
        change(&mut state);
        oracle.states.push(state);
        oracle.states.len()
    }

    /// Changes the state that was attempted last.
    pub fn amend(&mut self, chain: &str, change: impl FnOnce(&mut State)) {
        let oracle = self.chains.get_mut(chain).expect("attempted before");
        change(oracle.states.last_mut().expect("just attempted"));
    }

    /// Takes the answer of the commit that was to lead to `position`.
    ///
    /// # Errors
    /// The commit's own, or a broken promise.
    pub fn answer<T>(
        &mut self,
        chain: &Chain,
        position: usize,
        answer: Result<T, CommitError>,
    ) -> Result<(), Stop> {
        let oracle = self.chains.get_mut(chain.name()).expect("attempted before");
        match answer {
            Ok(_) => {
                let root = chain.root_at(Position(position as u64));
                if root.is_none() {
                    return Err(invariants::DURABLE
                        .broken(format!(
                            "acknowledged, but not at position {position} of {}",
                            chain.name()
                        ))
                        .into());
                }
                oracle.states[position - 1].root = root;
                oracle.acknowledged = position;
                self.commits += 1;
                Ok(())
            }
            // Committed all the same; only the bytes are still there.
            Err(error @ CommitError::NotDestroyed { .. }) => {
                oracle.states[position - 1].root = chain.root_at(Position(position as u64));
                oracle.acknowledged = position;
                self.commits += 1;
                Err(Error::from(error).into())
            }
            Err(error) => {
                // Only an unknown outcome may be found later; every other error says that nothing was written.
                if !matches!(error, CommitError::Unknown { .. }) {
                    oracle.states.truncate(position - 1);
                }
                Err(Error::from(error).into())
            }
        }
    }

    /// Takes everything that a store shows as acknowledged, for a run that begins with it.
    ///
    /// # Errors
    /// Those of reading.
    pub fn learn(&mut self, store: &Store) -> Result<(), Error> {
        for info in store.chains()? {
            let chain = store.existing_chain(&info.name).wait()?;
            let mut known = ChainOracle {
                states: Vec::new(),
                acknowledged: chain.position().0 as usize,
            };
            for position in 1..=known.acknowledged {
                // What is not kept of the past is not known either.
                known.states.push(State {
                    content: past(&chain, position)?.shown,
                    root: chain.root_at(Position(position as u64)),
                    ..State::default()
                });
            }
            self.chains.insert(info.name, known);
        }
        Ok(())
    }

    /// Takes what an opened store has found as the truth from now on: it is durable, and what is not there is gone.
    pub fn settle(&mut self, store: &Store) -> Result<(), Error> {
        let mut found = BTreeMap::new();
        for info in store.chains()? {
            let chain = store.existing_chain(&info.name).wait()?;
            found.insert(info.name, chain);
        }
        self.chains.retain(|name, _| found.contains_key(name));
        for (name, chain) in found {
            let oracle = self.chains.get_mut(&name).expect("judged before");
            let position = chain.position().0 as usize;
            oracle.states.truncate(position);
            oracle.acknowledged = position;
            for (state, at) in oracle.states.iter_mut().zip(1..) {
                if state.root.is_none() {
                    state.root = chain.root_at(Position(at));
                }
            }
        }
        Ok(())
    }
}

/// Why a step of a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// The store says so, and may be right.
    #[error(transparent)]
    Store(#[from] Error),
    /// It cannot be right.
    #[error(transparent)]
    Broken(#[from] Violation),
}

impl From<CommitError> for Stop {
    fn from(error: CommitError) -> Self {
        Self::Store(error.into())
    }
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Store(error.into())
    }
}

/// The accounts of a chain. `Chain::all` would take an error for an empty list.
///
/// # Errors
/// Those of reading.
pub fn accounts(chain: &Chain) -> Result<Vec<Key<Account>>, Error> {
    let root = Key::from_raw(ate::RecordKey::ROOT);
    Ok(chain.children::<Account, Account>(root, Account::NAME)?)
}

/// Everything that a chain shows now.
///
/// # Errors
/// Those of reading.
pub fn content(chain: &Chain) -> Result<Content, Error> {
    let mut content = Content::new();
    for entry in chain.names("")? {
        let document = chain.get::<Json>(entry.name.as_str()).wait()?;
        content.insert(entry.name, document.as_str().into());
    }
    for key in accounts(chain)? {
        let account = chain.get(key).wait()?;
        content.insert(account.email.clone(), account.balance.to_string().into());
    }
    Ok(content)
}

/// What a chain shows of an earlier position.
#[derive(Debug, Default)]
pub struct Past {
    /// What is there.
    pub shown: Content,
    /// Documents whose content at that position is not kept.
    pub dropped: BTreeSet<String>,
    /// Documents that are listed, because their name is in use again, and whose content of that position was erased.
    pub erased: BTreeSet<String>,
    /// How many accounts, which have no other name than their content, are not kept.
    pub dropped_accounts: usize,
}

/// Everything that a chain shows of `position`.
///
/// # Errors
/// Those of reading.
pub fn past(chain: &Chain, position: usize) -> Result<Past, Error> {
    let view = chain.as_of(Position(position as u64));
    let mut past = Past::default();
    for entry in view.names("")? {
        match view.get::<Json>(entry.name.as_str()).wait() {
            Ok(document) => {
                past.shown.insert(entry.name, document.as_str().into());
            }
            Err(ReadError::Dropped { .. }) => {
                past.dropped.insert(entry.name);
            }
            Err(ReadError::Erased { .. }) => {
                past.erased.insert(entry.name);
            }
            Err(error) => return Err(error.into()),
        }
    }
    for key in view.all::<Account>()? {
        match view.get(key).wait() {
            Ok(account) => {
                let balance = account.balance.to_string();
                past.shown.insert(account.email.clone(), balance.into());
            }
            Err(ReadError::Dropped { .. }) => past.dropped_accounts += 1,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(past)
}

/// Everything that a chain showed at `position`, of which nothing may be gone.
///
/// # Errors
/// Those of reading.
pub fn content_at(chain: &Chain, position: usize) -> Result<Content, Error> {
    let past = past(chain, position)?;
    if let Some(name) = past.dropped.into_iter().next() {
        let horizon = chain.horizon();
        return Err(ReadError::Dropped { name, horizon }.into());
    }
    Ok(past.shown)
}
