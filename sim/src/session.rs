//! A store in use: every commit is entered into the oracle before it is handed over, and its answer after.

use std::sync::Arc;

use ate::chain::SubmitError;
use ate::log::Storage;
use ate::prelude::*;
use ate::{CommitError, Error, Json, Transaction};

use crate::oracle::{Access, Oracle, State, Stop, accounts};
use crate::world::{Account, World};

/// How a step ended.
pub type Outcome<T = ()> = Result<T, Stop>;

/// Records of one commit, by name: their new value, or `None` for their end. What has an `@` in its name is an account, and its value a number.
pub type Changes = Vec<(String, Option<String>)>;

/// A store in use, and what is known of it.
pub struct Session {
    /// Who acts.
    pub world: Arc<World>,
    /// Where the store lies.
    pub storage: Arc<dyn Storage>,
    /// `None` while it is closed.
    pub store: Option<Store>,
    /// What was promised.
    pub oracle: Oracle,
}

impl Session {
    /// Nothing is opened yet.
    #[must_use]
    pub fn new(world: Arc<World>, storage: Arc<dyn Storage>) -> Self {
        Self {
            world,
            storage,
            store: None,
            oracle: Oracle::default(),
        }
    }

    /// Opens the store.
    ///
    /// # Errors
    /// Those of the store.
    pub fn open(&mut self) -> Outcome {
        self.store = Some(self.world.open(self.storage.clone())?);
        Ok(())
    }

    /// Closes it with a goodbye.
    ///
    /// # Errors
    /// Those of the store.
    ///
    /// # Panics
    /// If it is not open.
    pub fn close(&mut self) -> Outcome {
        let store = self.store.take().expect("the store is open");
        Ok(store.close().wait()?)
    }

    /// The open store.
    ///
    /// # Panics
    /// If it is not open.
    #[must_use]
    pub fn store(&self) -> &Store {
        self.store.as_ref().expect("the store is open")
    }

    /// A chain of it.
    ///
    /// # Errors
    /// Those of the store.
    pub fn chain(&self, name: &str) -> Outcome<Chain> {
        Ok(self.store().chain(name).wait()?)
    }

    /// Commits to several chains, all handed over before the first is waited for, so that they share a round.
    ///
    /// # Errors
    /// The first one; the others are answered all the same.
    pub fn commits(&mut self, changes: Vec<(&str, Changes)>) -> Outcome {
        let mut staged = Vec::new();
        for (name, changes) in changes {
            let chain = self.chain(name)?;
            let transaction = chain.begin();
            stage(&chain, &transaction, &changes)?;
            staged.push((chain, transaction, changes));
        }
        // Nothing is handed over before everything is staged: a commit whose answer nobody takes is written all the same.
        let mut waiting = Vec::new();
        for (chain, transaction, changes) in staged {
            let position = self
                .oracle
                .attempt(chain.name(), |state| apply(state, changes));
            waiting.push((chain, position, transaction.commit()));
        }
        let mut outcome = Ok(());
        for (chain, position, pending) in waiting {
            let answer = self.oracle.answer(&chain, position, pending.wait());
            outcome = outcome.and(answer);
        }
        outcome
    }

    /// One commit to one chain.
    ///
    /// # Errors
    /// Its own.
    pub fn commit(&mut self, chain: &str, changes: Changes) -> Outcome {
        self.commits(vec![(chain, changes)])
    }

    /// A new document that Bob may read and write.
    ///
    /// # Errors
    /// Its own.
    pub fn write_shared(&mut self, chain: &str, name: &str, text: String) -> Outcome {
        let chain = self.chain(chain)?;
        let bob = self.world.bob.who().clone();
        let write = chain
            .put(name, json(&text))
            .readable_by([&bob])
            .writable_by([&bob]);
        let position = self.oracle.attempt(chain.name(), |state| {
            state.content.insert(name.to_owned(), text.into());
            state.bob.insert(name.to_owned(), Access::Both);
        });
        self.oracle.answer(&chain, position, write.wait())
    }

    /// Bob changes a document that he may write.
    ///
    /// # Errors
    /// Its own.
    pub fn write_as_bob(&mut self, chain: &str, name: &str, text: String) -> Outcome {
        let chain = self.chain(chain)?;
        // By its key: names below the root are for those who read there.
        let key = chain.key_of::<Json>(name).ok_or_else(|| not_found(name))?;
        let write = chain.as_identity(&self.world.bob).put(key, json(&text));
        let position = self.oracle.attempt(chain.name(), |state| {
            state.content.insert(name.to_owned(), text.into());
        });
        self.oracle.answer(&chain, position, write.wait())
    }

    /// Bob gets to read a document that stands there.
    ///
    /// # Errors
    /// Its own.
    pub fn share(&mut self, chain: &str, name: &str) -> Outcome {
        let chain = self.chain(chain)?;
        let pending = chain.share::<Json>(name, self.world.bob.who());
        let position = self.oracle.attempt(chain.name(), |state| {
            state.bob.insert(name.to_owned(), Access::Reads);
        });
        self.oracle.answer(&chain, position, pending.wait())
    }

    /// A new key for a document, which Bob does not get: what stands there he reads, what comes he does not.
    ///
    /// # Errors
    /// Its own.
    pub fn unshare(&mut self, chain: &str, name: &str) -> Outcome {
        let chain = self.chain(chain)?;
        let pending = chain.unshare::<Json>(name, &[]);
        let position = self.oracle.attempt(chain.name(), |state| {
            state.bob.insert(name.to_owned(), Access::UntilChanged);
        });
        self.oracle.answer(&chain, position, pending.wait())
    }

    /// Erases a document: its end, and the end of everything that it ever held.
    ///
    /// # Errors
    /// Its own.
    pub fn erase(&mut self, chain: &str, name: &str) -> Outcome {
        let chain = self.chain(chain)?;
        let write = chain.erase::<Json>(name);
        let position = self.oracle.attempt(chain.name(), |_| {});
        self.oracle.amend(chain.name(), |state| {
            state.content.remove(name);
            state.bob.remove(name);
            state.erased.insert(name.to_owned(), position);
        });
        self.oracle.answer(&chain, position, write.wait())
    }

    /// Lets go what was superseded before a position.
    ///
    /// # Errors
    /// Its own.
    pub fn set_horizon(&mut self, chain: &str, horizon: usize) -> Outcome {
        let chain = self.chain(chain)?;
        let write = chain.set_horizon(Position(horizon as u64));
        let position = self
            .oracle
            .attempt(chain.name(), |state| state.horizon = horizon);
        self.oracle.answer(&chain, position, write.wait())
    }

    /// Adds to the balance of an account, by reading, changing and writing.
    ///
    /// # Errors
    /// Its own.
    pub fn deposit(&mut self, chain: &str, email: &str, amount: i64) -> Outcome {
        let chain = self.chain(chain)?;
        let (key, account) = find_account(&chain, email)?;
        let balance = account.balance + amount;
        let pending = chain.update(key, move |account| account.balance += amount);
        let position = self.oracle.attempt(chain.name(), |state| {
            state
                .content
                .insert(email.to_owned(), balance.to_string().into());
        });
        self.oracle.answer(&chain, position, pending.wait())
    }
}

/// A document of a run.
///
/// # Panics
/// If it is no JSON: runs write nothing else.
#[must_use]
pub fn json(text: &str) -> Json {
    Json::new(text).expect("runs write JSON")
}

fn not_found(name: &str) -> Error {
    ate::ReadError::NotFound {
        name: name.to_owned(),
    }
    .into()
}

fn find_account(chain: &Chain, email: &str) -> Outcome<(Key<Account>, Account)> {
    for key in accounts(chain)? {
        let account = chain.get(key).wait()?;
        if account.email == email {
            return Ok((key, Account::clone(&account)));
        }
    }
    Err(not_found(email).into())
}

fn stage(chain: &Chain, transaction: &Transaction, changes: &Changes) -> Outcome {
    for (name, value) in changes {
        match value {
            Some(balance) if name.contains('@') => {
                let balance = balance.parse().expect("runs write numbers");
                transaction.add(&Account {
                    email: name.clone(),
                    balance,
                })?;
            }
            Some(text) => {
                transaction.put(name.as_str(), &json(text))?;
            }
            None if name.contains('@') => {
                let (key, _) = find_account(chain, name)?;
                transaction.remove::<Account>(key)?;
            }
            None => transaction.remove::<Json>(name.as_str())?,
        }
    }
    Ok(())
}

fn apply(state: &mut State, changes: Changes) {
    for (name, value) in changes {
        match value {
            Some(value) => {
                if let Some(access) = state.bob.get_mut(&name)
                    && *access == Access::UntilChanged
                {
                    *access = Access::Nothing;
                }
                state.content.insert(name, value.into());
            }
            None => {
                state.content.remove(&name);
                state.bob.remove(&name);
            }
        }
    }
}

/// Whether an error says that the disk was full and nothing was written.
#[must_use]
pub fn is_full(error: &Error) -> bool {
    matches!(
        error,
        Error::Commit(CommitError::Store(SubmitError::Full { .. }))
    )
}
