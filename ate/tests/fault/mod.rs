//! What the fault tests share: a scripted run over a store, and an oracle that knows what was acknowledged and what may be there.
#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ate::chain::{Clock, SubmitError};
use ate::crypto::SeededRandom;
use ate::log::Storage;
use ate::prelude::*;
use ate::{CommitError, Depth, Error, Hash, Identity, Json, Seed, Transaction};

/// The typed record of the script.
#[derive(Serialize, Deserialize, Record, Clone, PartialEq, Debug)]
pub(crate) struct Account {
    pub(crate) email: String,
    pub(crate) balance: i64,
}

/// What a chain shows: documents by their name, accounts by their address.
pub(crate) type Content = BTreeMap<String, String>;

/// A clock that moves one millisecond at each look.
struct Ticks(AtomicU64);

impl Clock for Ticks {
    fn now_ms(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// Who acts, and where randomness comes from.
pub(crate) struct World {
    pub(crate) anna: Identity,
    pub(crate) bob: Identity,
    seed: AtomicU64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            anna: Identity::from_seed(&Seed::from_bytes([1; 32])),
            bob: Identity::from_seed(&Seed::from_bytes([2; 32])),
            seed: AtomicU64::new(1),
        }
    }

    /// Opens a store over `storage` as Anna.
    pub(crate) fn open(&self, storage: Arc<dyn Storage>) -> Result<Store, Error> {
        self.builder(storage).open().wait()
    }

    /// What [`World::open`] opens, for further wishes.
    pub(crate) fn builder(&self, storage: Arc<dyn Storage>) -> ate::StoreBuilder {
        let seed = self.seed.fetch_add(1, Ordering::Relaxed);
        Store::builder("never-touched")
            .identity(self.anna.clone())
            .storage(storage)
            .clock(Arc::new(Ticks(AtomicU64::new(1_700_000_000_000))))
            .random(Arc::new(SeededRandom::new(seed)))
    }

    /// Every run draws the same numbers again.
    pub(crate) fn rewind(&self) {
        self.seed.store(1, Ordering::Relaxed);
    }
}

/// One state that a chain may be found in.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) content: Content,
    /// Whether Bob reads the document `plan`.
    pub(crate) bob_reads: bool,
    /// The root of an acknowledged state.
    pub(crate) root: Option<Hash>,
}

/// What a chain may hold: state `n` stands at position `n + 1`, because the genesis commit is the first.
#[derive(Clone, Debug)]
pub(crate) struct ChainOracle {
    pub(crate) states: Vec<State>,
    /// How many states are acknowledged; 0 if the chain need not be there.
    pub(crate) acknowledged: usize,
}

impl ChainOracle {
    fn new() -> Self {
        let genesis = State {
            content: Content::new(),
            bob_reads: false,
            root: None,
        };
        Self {
            states: vec![genesis],
            acknowledged: 0,
        }
    }
}

/// What the script knows of all chains.
#[derive(Clone, Default, Debug)]
pub(crate) struct Oracle {
    pub(crate) chains: BTreeMap<String, ChainOracle>,
    pub(crate) commits_acknowledged: u64,
}

/// A running script.
pub(crate) struct Session<'w> {
    pub(crate) world: &'w World,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) store: Option<Store>,
    pub(crate) oracle: Oracle,
}

type Outcome = Result<(), Error>;
type Change = Vec<(&'static str, Option<String>)>;

/// A document of about `bytes` bytes that is unlike any other.
pub(crate) fn text(label: u64, bytes: usize) -> String {
    let mut body = String::with_capacity(bytes + 64);
    let mut word = label.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while body.len() < bytes {
        word = word.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(label);
        body.push_str(&format!("{word:016x}"));
    }
    format!(r#"{{"label": {label}, "body": "{body}"}}"#)
}

impl<'w> Session<'w> {
    pub(crate) fn new(world: &'w World, storage: Arc<dyn Storage>) -> Self {
        world.rewind();
        Self {
            world,
            storage,
            store: None,
            oracle: Oracle::default(),
        }
    }

    fn open(&mut self) -> Outcome {
        self.store = Some(self.world.open(self.storage.clone())?);
        Ok(())
    }

    fn close(&mut self) -> Outcome {
        self.store.take().expect("the store is open").close().wait()
    }

    fn chain(&self, name: &str) -> Result<Chain, Error> {
        self.store
            .as_ref()
            .expect("the store is open")
            .chain(name)
            .wait()
    }

    /// The state that the next commit of `chain` leads to.
    fn attempt(&mut self, chain: &str, change: impl FnOnce(&mut State)) -> usize {
        let oracle = self
            .oracle
            .chains
            .entry(chain.to_owned())
            .or_insert_with(ChainOracle::new);
        let mut state = oracle.states.last().expect("there is a genesis").clone();
        state.root = None;
        change(&mut state);
        oracle.states.push(state);
        oracle.states.len()
    }

    /// Takes the answer of the commit that was to lead to `position`.
    fn answer<T>(
        &mut self,
        chain: &Chain,
        position: usize,
        answer: Result<T, CommitError>,
    ) -> Outcome {
        let oracle = self
            .oracle
            .chains
            .get_mut(chain.name())
            .expect("attempted before");
        match answer {
            Ok(_) => {
                let root = chain.root_at(Position(position as u64));
                assert!(
                    root.is_some(),
                    "acknowledged, but not at position {position} of {}",
                    chain.name()
                );
                oracle.states[position - 1].root = root;
                oracle.acknowledged = position;
                self.oracle.commits_acknowledged += 1;
                Ok(())
            }
            Err(error) => {
                // Only an unknown outcome may be found later; every other error says that nothing was written.
                if !matches!(error, CommitError::Unknown { .. }) {
                    oracle.states.truncate(position - 1);
                }
                Err(error.into())
            }
        }
    }

    fn stage(transaction: &Transaction, change: &Change) -> Result<(), CommitError> {
        for (name, value) in change {
            match value {
                _ if name.contains('@') => {
                    let balance = value
                        .as_deref()
                        .and_then(|text| text.parse().ok())
                        .unwrap_or(0);
                    transaction.add(&Account {
                        email: (*name).to_owned(),
                        balance,
                    })?;
                }
                Some(text) => {
                    transaction.put(
                        *name,
                        &Json::new(text.as_str()).expect("the script writes JSON"),
                    )?;
                }
                None => transaction.remove::<Json>(*name)?,
            }
        }
        Ok(())
    }

    /// Commits to several chains, all handed over before the first is waited for, so that they share a round.
    fn commits(&mut self, changes: Vec<(&str, Change)>) -> Outcome {
        let mut staged = Vec::new();
        for (name, change) in changes {
            let chain = self.chain(name)?;
            let transaction = chain.begin();
            Self::stage(&transaction, &change)?;
            staged.push((chain, transaction, change));
        }
        // Nothing is handed over before everything is staged: a commit whose answer nobody takes is written all the same.
        let mut waiting = Vec::new();
        for (chain, transaction, change) in staged {
            let position = self.attempt(chain.name(), |state| apply(state, &change));
            waiting.push((chain, position, transaction.commit()));
        }
        let mut outcome = Ok(());
        for (chain, position, pending) in waiting {
            let answer = pending.wait();
            outcome = self.answer(&chain, position, answer).and(outcome);
        }
        outcome
    }

    fn commit(&mut self, chain: &str, change: Change) -> Outcome {
        self.commits(vec![(chain, change)])
    }

    /// The whole story; ends at the first error, with the store as it is then.
    pub(crate) fn run(&mut self) -> Outcome {
        self.open()?;
        self.commit("bank", vec![("settings", Some(text(1, 30)))])?;
        self.commit(
            "bank",
            vec![
                ("anna@example.org", Some("10".into())),
                ("ben@example.org", Some("-3".into())),
            ],
        )?;
        self.commits(vec![
            ("bank", vec![("settings", Some(text(2, 300)))]),
            (
                "vault",
                vec![("plan", Some(text(3, 700))), ("note", Some(text(4, 20)))],
            ),
            ("bank", vec![("limits", Some(text(5, 20)))]),
        ])?;
        self.share_and_write_as_bob()?;
        self.commit(
            "bank",
            vec![("settings", None), ("theme", Some(text(6, 1500)))],
        )?;
        // Large enough that closing writes snapshots.
        self.commits(vec![
            ("bank", vec![("large", Some(text(7, 70_000)))]),
            ("vault", vec![("note", Some(text(8, 10)))]),
        ])?;
        self.close()?;

        self.open()?;
        self.commit("vault", vec![("note", None)])?;
        self.commits(vec![
            ("log", vec![("a", Some(text(9, 5)))]),
            ("vault", vec![("note", Some(text(10, 900)))]),
            ("log", vec![("b", Some(text(11, 5)))]),
            ("bank", vec![("carl@example.org", Some("7".into()))]),
        ])?;
        self.unshare()?;
        self.commit("log", vec![("a", Some(text(12, 40)))])?;
        self.close()?;

        self.open()?;
        self.commit("bank", vec![("settings", Some(text(13, 30)))])?;
        // Gone without a goodbye of the program's; dropping closes.
        self.store = None;
        Ok(())
    }

    /// Bob may read `plan`, and writes in a record that both may change.
    fn share_and_write_as_bob(&mut self) -> Outcome {
        let chain = self.chain("vault")?;
        let bob = self.world.bob.clone();
        let position = self.attempt("vault", |state| state.bob_reads = true);
        let answer = chain.share::<Json>("plan", bob.who()).wait();
        self.answer(&chain, position, answer)?;

        let shared = text(20, 50);
        let value = Json::new(shared.as_str()).expect("the script writes JSON");
        let position = self.attempt("vault", |state| {
            state.content.insert("shared".into(), shared);
        });
        let write = chain
            .put("shared", value)
            .readable_by([bob.who()])
            .writable_by([bob.who()]);
        self.answer(&chain, position, write.wait())?;

        let from_bob = text(21, 60);
        let value = Json::new(from_bob.as_str()).expect("the script writes JSON");
        let position = self.attempt("vault", |state| {
            state.content.insert("shared".into(), from_bob);
        });
        // By its key: names below the root are for those who read there.
        let key = chain.key_of::<Json>("shared").expect("just written");
        let answer = chain.as_identity(&bob).put(key, value).wait();
        self.answer(&chain, position, answer)
    }

    /// A new key for `plan`, which Bob does not get, and a new text under it.
    fn unshare(&mut self) -> Outcome {
        let chain = self.chain("vault")?;
        let position = self.attempt("vault", |_| {});
        let answer = chain.unshare::<Json>("plan", &[]).wait();
        self.answer(&chain, position, answer)?;
        let secret = text(22, 80);
        let value = Json::new(secret.as_str()).expect("the script writes JSON");
        let position = self.attempt("vault", |state| {
            state.content.insert("plan".into(), secret);
            state.bob_reads = false;
        });
        let answer = chain.put("plan", value).wait();
        self.answer(&chain, position, answer)
    }
}

fn apply(state: &mut State, change: &Change) {
    for (name, value) in change {
        match value {
            Some(value) => state.content.insert((*name).to_owned(), value.clone()),
            None => state.content.remove(*name),
        };
    }
}

/// Everything that a chain shows now.
pub(crate) fn content(chain: &Chain) -> Result<Content, Error> {
    let mut content = Content::new();
    for entry in chain.names("")? {
        let document = chain.get::<Json>(entry.name.as_str()).wait()?;
        content.insert(entry.name, document.as_str().to_owned());
    }
    for key in chain.all::<Account>() {
        let account = chain.get(key).wait()?;
        content.insert(account.email.clone(), account.balance.to_string());
    }
    Ok(content)
}

/// The named documents of a chain as they stood at `position`.
pub(crate) fn documents_at(chain: &Chain, position: usize) -> Result<Content, Error> {
    let view = chain.as_of(Position(position as u64));
    let mut content = Content::new();
    for entry in view.names("")? {
        let document = view.get::<Json>(entry.name.as_str()).wait()?;
        content.insert(entry.name, document.as_str().to_owned());
    }
    Ok(content)
}

impl Oracle {
    /// A chain `after` was tried, and acknowledged or refused.
    pub(crate) fn after(&mut self, is_acknowledged: bool) {
        let mut chain = ChainOracle::new();
        if is_acknowledged {
            let text = r#"{"after": "the failure"}"#.to_owned();
            let content = Content::from([("after".to_owned(), text)]);
            chain.states.push(State {
                content,
                bob_reads: false,
                root: None,
            });
            chain.acknowledged = 2;
        }
        self.chains.insert("after".to_owned(), chain);
    }

    /// Compares every chain of an opened store with what was acknowledged and attempted.
    ///
    /// Every acknowledged commit is there with its content and its root, none is there in part, and the whole verifies.
    pub(crate) fn judge(&self, world: &World, store: &Store, context: &str) {
        let found: Vec<String> = store
            .chains()
            .unwrap_or_else(|error| panic!("{context}: {error:?}"))
            .into_iter()
            .map(|chain| chain.name)
            .collect();
        for name in &found {
            assert!(
                self.chains.contains_key(name),
                "{context}: nobody ever wrote a chain `{name}`"
            );
        }
        for (name, oracle) in &self.chains {
            let context = format!("{context}: chain {name}");
            if !found.contains(name) {
                assert_eq!(
                    oracle.acknowledged, 0,
                    "{context}: an acknowledged chain is gone"
                );
                continue;
            }
            let chain = store
                .existing_chain(name)
                .wait()
                .unwrap_or_else(|error| panic!("{context}: {error:?}"));
            oracle.judge(world, store, &chain, &context);
        }
    }
}

impl ChainOracle {
    fn judge(&self, world: &World, store: &Store, chain: &Chain, context: &str) {
        let position = chain.position().0 as usize;
        assert!(
            position >= self.acknowledged,
            "{context}: ends at {position}, but {} is acknowledged",
            self.acknowledged
        );
        assert!(
            position <= self.states.len(),
            "{context}: {position} is more than was ever attempted"
        );
        let state = &self.states[position - 1];
        let shown =
            content(chain).unwrap_or_else(|error| panic!("{context}: at {position}: {error:?}"));
        assert_eq!(shown, state.content, "{context}: content at {position}");
        if let Some(plan) = state.content.get("plan") {
            let key = chain.key_of::<Json>("plan").expect("it is in the content");
            let as_bob = chain.as_identity(&world.bob).get(key).wait();
            assert_eq!(
                as_bob.is_ok(),
                state.bob_reads,
                "{context}: what Bob reads at {position}: {as_bob:?}"
            );
            assert!(
                as_bob.is_err() || as_bob.is_ok_and(|read| read.as_str() == plan),
                "{context}"
            );
        }
        for (number, past) in self.states[..self.acknowledged].iter().enumerate() {
            if let Some(root) = past.root {
                assert_eq!(
                    chain.root_at(Position(number as u64 + 1)),
                    Some(root),
                    "{context}: root at {}",
                    number + 1
                );
            }
        }
        let middle = self.acknowledged.div_ceil(2);
        if middle > 0 {
            let past = documents_at(chain, middle)
                .unwrap_or_else(|error| panic!("{context}: at {middle}: {error:?}"));
            let mut expected = self.states[middle - 1].content.clone();
            expected.retain(|name, _| !name.contains('@'));
            assert_eq!(past, expected, "{context}: content as of {middle}");
        }
        let verified = store
            .verify(&chain.id(), Depth::Deep, |_| {})
            .unwrap_or_else(|error| panic!("{context}: {error:?}"));
        assert_eq!(
            (verified.position, verified.root),
            (chain.position(), chain.root()),
            "{context}"
        );
    }
}

/// Whether an error says that the disk was full and nothing was written.
pub(crate) fn is_full(error: &Error) -> bool {
    matches!(
        error,
        Error::Commit(CommitError::Store(SubmitError::Full { .. }))
    )
}
