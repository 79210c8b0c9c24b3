//! Many chains in one store: idle ones are let go and come back as they were, and no chain is ever in memory twice.

use std::collections::BTreeMap;
use std::future::IntoFuture as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use ate::chain::Clock;
use ate::crypto::SeededRandom;
use ate::log::MemStorage;
use ate::prelude::*;
use ate::{Depth, Hash, Identity, Json, Pending, Seed, StoreBuilder};

type Outcome = Result<(), Box<dyn std::error::Error>>;

struct Ticks(AtomicU64);

impl Clock for Ticks {
    fn now_ms(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// A store of which everything repeats.
fn builder(storage: &MemStorage) -> StoreBuilder {
    Store::builder("in memory")
        .storage(Arc::new(storage.clone()))
        .identity(Identity::from_seed(&Seed::from_bytes([7; 32])))
        .clock(Arc::new(Ticks(AtomicU64::new(1_700_000_000_000))))
        .random(Arc::new(SeededRandom::new(7)))
        .without_maintenance()
        // Some chains come back from a snapshot, others by replay.
        .replay_bytes_max(16 << 10)
}

struct Mix(u64);

impl Mix {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }
}

/// What a chain must show.
#[derive(Default)]
struct Model {
    named: BTreeMap<String, u64>,
    position: u64,
    root: Hash,
}

fn name(chain: usize) -> String {
    format!("chain-{chain}")
}

fn json(value: u64) -> Result<Json, Box<dyn std::error::Error>> {
    Ok(Json::new(value.to_string())?)
}

fn check(chain: &Chain, model: &Model) -> Outcome {
    assert_eq!(chain.position().0, model.position, "{chain:?}");
    assert_eq!(chain.root(), model.root, "{chain:?}");
    let names = chain.names("")?;
    assert_eq!(names.len(), model.named.len(), "{chain:?}");
    for (entry, (name, value)) in names.iter().zip(&model.named) {
        assert_eq!(&*entry.name, name);
        assert_eq!(
            chain.get::<Json>(name.as_str()).wait()?.to_string(),
            value.to_string()
        );
    }
    Ok(())
}

const CHAINS: usize = 2000;
const IDLE_MAX: usize = 50;
const STEPS: usize = 1500;

#[test]
fn chains_come_back_as_they_were() -> Outcome {
    let storage = MemStorage::new();
    let store = builder(&storage).open_chains_max(IDLE_MAX).open().wait()?;
    let mut models: Vec<Model> = (0..CHAINS).map(|_| Model::default()).collect();
    // Born in batches: one signature and one sync for each.
    for batch in (0..CHAINS).collect::<Vec<_>>().chunks(250) {
        let mut answers = Vec::new();
        for &number in batch {
            let chain = store.chain(&name(number)).wait()?;
            answers.push((
                number,
                chain.put("born", json(number as u64)?).into_future(),
            ));
        }
        for (number, answer) in answers {
            answer.wait()?;
            models[number].named.insert("born".into(), number as u64);
        }
    }
    assert!(store.info().syncs <= 8, "{:?}", store.info());
    for (number, model) in models.iter_mut().enumerate() {
        let chain = store.chain(&name(number)).wait()?;
        (model.position, model.root) = (chain.position().0, chain.root());
        check(&chain, model)?;
    }
    assert!(store.info().open_chains <= IDLE_MAX + IDLE_MAX / 8 + CHAINS / 64);
    assert_eq!(store.chains()?.len(), CHAINS);

    let mut mix = Mix(1);
    let mut held: Vec<(usize, Chain)> = Vec::new();
    for step in 0..STEPS {
        // A few are asked for all the time, most hardly ever.
        let span = if mix.below(3) == 0 { 20 } else { CHAINS };
        let number = mix.below(span);
        let chain = store.chain(&name(number)).wait()?;
        let model = &mut models[number];
        check(&chain, model)?;
        let key = format!("n{}", mix.below(4));
        let receipt = if model.named.contains_key(&key) && mix.below(2) == 0 {
            model.named.remove(&key);
            chain.remove::<Json>(key.as_str()).wait()?;
            None
        } else {
            model.named.insert(key.clone(), step as u64);
            let tx = chain.begin();
            tx.put(key.as_str(), &json(step as u64)?)?;
            Some(tx.commit().wait()?)
        };
        model.position += 1;
        model.root = chain.root();
        assert!(receipt.is_none_or(|receipt| receipt.position.0 == model.position));
        if mix.below(8) == 0 {
            held.push((number, chain));
        }
        if held.len() > 10 {
            let (number, chain) = held.remove(mix.below(held.len()));
            check(&chain, &models[number])?;
        }
        let open = store.info().open_chains;
        assert!(open <= IDLE_MAX + IDLE_MAX / 8 + 32 + held.len(), "{open}");
    }
    drop(held);
    store.close().wait()?;
    drop(store);

    let store = builder(&storage).open_chains_max(IDLE_MAX).open().wait()?;
    assert_eq!(store.notes(), Vec::<String>::new());
    for number in (0..20).chain((20..CHAINS).step_by(97)) {
        let chain = store.chain(&name(number)).wait()?;
        check(&chain, &models[number])?;
        let verified = store.verify(&chain.id(), Depth::Deep, |_| {})?;
        assert_eq!(verified.root, models[number].root);
    }
    Ok(())
}

/// Every chain is let go whenever nobody has it, while threads write to few of them: one that were in memory twice would be written twice at one
/// position, and not verify.
#[test]
fn no_chain_is_ever_in_memory_twice() -> Outcome {
    const THREADS: usize = 4;
    const ROUNDS: usize = 150;
    const FEW: usize = 3;
    let storage = MemStorage::new();
    let store = builder(&storage).open_chains_max(0).open().wait()?;
    let counts = || -> Vec<AtomicU64> { (0..FEW).map(|_| AtomicU64::new(0)).collect() };
    let (sent, answered) = (counts(), counts());
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, sent, answered) = (&store, &sent, &answered);
            scope.spawn(move || {
                let mut mix = Mix(thread as u64);
                for round in 0..ROUNDS {
                    let number = mix.below(FEW);
                    let least = answered[number].load(Ordering::SeqCst);
                    let chain = store.chain(&name(number)).wait().expect("it opens");
                    assert!(chain.record_count() >= least, "what was answered is there");
                    let value =
                        Json::new(format!("{}", thread * ROUNDS + round)).expect("a number");
                    let write = chain.add(value).into_future();
                    drop(chain);
                    sent[number].fetch_add(1, Ordering::SeqCst);
                    // Somebody waits for it, or nobody.
                    if mix.below(2) == 0 {
                        write.wait().expect("memory takes it");
                        answered[number].fetch_add(1, Ordering::SeqCst);
                    } else {
                        drop(write);
                    }
                }
            });
        }
    });
    assert_eq!(store.chains()?.len(), FEW, "each was begun once");
    store.close().wait()?;
    drop(store);
    let store = builder(&storage).open().wait()?;
    assert_eq!(store.notes(), Vec::<String>::new());
    for (number, sent) in sent.iter().enumerate() {
        let chain = store.chain(&name(number)).wait()?;
        let sent = sent.load(Ordering::SeqCst);
        assert_eq!(
            chain.all::<Json>().len() as u64,
            sent,
            "none lost, none doubled"
        );
        let verified = store.verify(&chain.id(), Depth::Deep, |_| {})?;
        assert_eq!(verified.position.0, sent + 1);
    }
    Ok(())
}

/// A commit whose chain was let go by everybody is neither lost nor doubled.
#[test]
fn what_is_under_way_keeps_its_chain() -> Outcome {
    let storage = MemStorage::new();
    let store = builder(&storage).open_chains_max(0).open().wait()?;
    let mut answers: Vec<Pending<_>> = Vec::new();
    for round in 0..50u64 {
        // Nothing is written before the first answer is waited for, and every chain is let go by then if it can be.
        let chain = store.chain("under way").wait()?;
        answers.push(chain.add(json(round)?).into_future());
        drop(chain);
        store.chain("other").wait()?;
    }
    for answer in answers {
        answer.wait()?;
    }
    let chain = store.chain("under way").wait()?;
    assert_eq!(chain.all::<Json>().len(), 50);
    assert_eq!(store.chains()?.len(), 1, "it was begun once");
    let id = chain.id();
    drop(chain);
    // Of the chain nothing but its state is held: it comes back around that.
    let local = store.chain("under way").wait()?.local().clone();
    store.chain("other").wait()?;
    let chain = store.chain("under way").wait()?;
    assert!(Arc::ptr_eq(&local, chain.local()));
    assert_eq!(chain.all::<Json>().len(), 50);
    chain.add(json(50)?).wait()?;
    assert_eq!((chain.id(), chain.all::<Json>().len()), (id, 51));
    // A view, a transaction and another identity each keep it, too.
    let view = chain.view();
    drop(chain);
    store.chain("other").wait()?;
    assert!(Arc::ptr_eq(
        &local,
        store.chain("under way").wait()?.local()
    ));
    assert_eq!(view.position(), local.position());
    Ok(())
}

/// Waits for what the store's thread does by itself.
fn wait_until(mut is_done: impl FnMut() -> bool) {
    while !is_done() {
        thread::yield_now();
    }
}

#[test]
fn the_thread_of_the_store_lets_chains_go_and_keeps_their_list() -> Outcome {
    const NEW_CHAINS: usize = 1030;
    let dir = tempfile::tempdir()?;
    let store = Store::builder(dir.path())
        .open_chains_max(16)
        .open()
        .wait()?;
    for batch in (0..NEW_CHAINS).collect::<Vec<_>>().chunks(200) {
        let mut answers = Vec::new();
        for &number in batch {
            let chain = store.chain(&name(number)).wait()?;
            answers.push(chain.put("born", json(1)?).into_future());
        }
        for answer in answers {
            answer.wait()?;
        }
    }
    store.chain(&name(0)).wait()?;
    wait_until(|| store.info().open_chains <= 16);
    wait_until(|| dir.path().join("snapshot-directory").exists());

    // The power goes: what a copy has, a store that was never closed has.
    let crashed = tempfile::tempdir()?;
    for file in std::fs::read_dir(dir.path())? {
        let file = file?;
        std::fs::copy(file.path(), crashed.path().join(file.file_name()))?;
    }
    let again = Store::open(crashed.path()).wait()?;
    assert_eq!(again.notes(), Vec::<String>::new());
    assert_eq!(again.chains()?, store.chains()?);
    assert_eq!(again.chains()?.len(), NEW_CHAINS);
    let chain = again.chain(&name(NEW_CHAINS - 1)).wait()?;
    assert_eq!(chain.position().0, 2);
    Ok(())
}
