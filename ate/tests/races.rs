//! Many threads and tasks at once: nothing is lost, nothing waits for ever, no runtime is needed and any will do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use ate::prelude::*;
use ate::{Identity, Seed};

#[derive(Serialize, Deserialize, Record, PartialEq, Debug)]
struct Counter {
    value: u64,
    by: u64,
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn counter(value: u64, by: u64) -> Counter {
    Counter { value, by }
}

#[test]
fn the_last_of_two_blind_writers_wins() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("race").wait()?;
    thread::scope(|scope| {
        for by in 0..2 {
            let chain = chain.clone();
            scope.spawn(move || {
                for value in 0..500 {
                    chain
                        .put("x", counter(value, by))
                        .wait()
                        .expect("a blind write has no conflict");
                    if value % 10 == by {
                        // Gone or not: the other's put follows either way.
                        drop(chain.remove::<Counter>("x").wait());
                    }
                }
            });
        }
    });
    let last = chain.put("x", counter(1, 2)).wait()?;
    assert_eq!(chain.get(&last).wait()?.by, 2);
    let history = chain.history::<Counter>("x")?;
    assert_eq!(history.iter().filter(|entry| entry.live).count(), 1001);
    Ok(())
}

#[test]
fn updates_add_up() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("race").wait()?;
    let (a, b) = (
        chain.add(counter(0, 0)).wait()?.key(),
        chain.add(counter(4000, 0)).wait()?.key(),
    );
    thread::scope(|scope| {
        for thread in 0..8 {
            let chain = chain.clone();
            scope.spawn(move || {
                for _ in 0..50 {
                    if thread % 2 == 0 {
                        chain
                            .update(a, |c| c.value += 1)
                            .wait()
                            .expect("tried again until it fits");
                    } else {
                        chain
                            .transact(move |tx| async move {
                                tx.update(a, |c| c.value += 2).await?;
                                tx.update(b, |c| c.value -= 2).await?;
                                Ok(())
                            })
                            .wait()
                            .expect("tried again until it fits");
                    }
                }
            });
        }
    });
    assert_eq!(chain.get(a).wait()?.value, 4 * 50 + 4 * 50 * 2);
    assert_eq!(chain.get(b).wait()?.value, 4000 - 4 * 50 * 2);
    Ok(())
}

macro_rules! types {
    ($($name:ident)*) => {
        $(#[derive(Serialize, Deserialize, Record)] struct $name { $name: u64 })*
        fn write_all(chain: &Chain, number: u64) {
            $(chain.add($name { $name: number }).wait().expect("schemas are nobody's conflict");)*
        }
        fn count_all(chain: &Chain) -> Vec<usize> {
            vec![$(chain.all::<$name>().len()),*]
        }
    };
}

#[allow(
    non_camel_case_types,
    non_snake_case,
    reason = "one word for type and field"
)]
mod many {
    use ate::prelude::*;
    types! { t0 t1 t2 t3 t4 t5 t6 t7 t8 t9 }
    pub(super) fn write(chain: &Chain, number: u64) {
        write_all(chain, number);
    }
    pub(super) fn count(chain: &Chain) -> Vec<usize> {
        count_all(chain)
    }
}

#[test]
fn schemas_defined_by_everybody_at_once() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("race").wait()?;
    let bob = Identity::from_seed(&Seed::from_bytes([7; 32]));
    let root = Key::<Counter>::from_raw(ate::RecordKey::ROOT);
    chain.add(counter(0, 0)).wait()?;
    let tx = chain.begin();
    tx.grant(root, bob.who())?;
    tx.set_writers(
        root.raw(),
        &[bob.who().clone(), store.identity().who().clone()],
    )?;
    tx.commit().wait()?;
    thread::scope(|scope| {
        for thread in 0..8 {
            let chain = if thread % 2 == 0 {
                chain.clone()
            } else {
                chain.as_identity(&bob)
            };
            scope.spawn(move || many::write(&chain, thread));
        }
    });
    assert_eq!(many::count(&chain), [8; 10]);
    assert_eq!(many::count(&chain.as_identity(&bob)), [8; 10]);
    Ok(())
}

#[test]
fn sessions_made_while_others_write_miss_nothing() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("race").wait()?;
    chain.put("n-start", counter(0, 0)).wait()?;
    let root = Key::<Counter>::from_raw(ate::RecordKey::ROOT);
    let identities: Vec<Identity> = (1..=12)
        .map(|n| Identity::from_seed(&Seed::from_bytes([n; 32])))
        .collect();
    for identity in &identities {
        let tx = chain.begin();
        tx.grant(root, identity.who())?;
        tx.commit().wait()?;
    }
    let writer = {
        let chain = chain.clone();
        thread::spawn(move || {
            for number in 0..300 {
                chain
                    .put(format!("n{number}"), counter(number, 0))
                    .wait()
                    .expect("one writer");
                chain.add(counter(number, 1)).wait().expect("one writer");
            }
        })
    };
    let sessions: Vec<Chain> = identities
        .iter()
        .map(|identity| {
            let session = chain.as_identity(identity);
            // Twice at once: both get it whole.
            thread::scope(|scope| {
                for _ in 0..2 {
                    let session = chain.as_identity(identity);
                    scope.spawn(move || assert!(session.get::<Counter>("n-start").wait().is_ok()));
                }
            });
            session
        })
        .collect();
    writer.join().map_err(|_| "the writer failed")?;
    for session in &sessions {
        assert_eq!(session.names("n")?.len(), 301);
        assert_eq!(session.all::<Counter>().len(), 300);
        assert_eq!(session.get::<Counter>("n299").wait()?.value, 299);
    }
    Ok(())
}

#[test]
fn two_handles_of_a_new_chain_are_one_chain() -> Outcome {
    let store = Store::in_memory()?;
    for round in 0..50 {
        let name = format!("chain-{round}");
        thread::scope(|scope| {
            for by in 0..4 {
                let (store, name) = (store.clone(), name.clone());
                scope.spawn(move || {
                    let chain = store.chain(&name).wait().expect("opens");
                    chain.add(counter(0, by)).wait().expect("writes");
                });
            }
        });
        assert_eq!(store.chain(&name).wait()?.all::<Counter>().len(), 4);
    }
    assert_eq!(store.chains()?.len(), 50);
    Ok(())
}

#[test]
fn dropped_answers_take_nothing_back() -> Outcome {
    let dir = tempfile::tempdir()?;
    {
        let store = Store::open(dir.path()).wait()?;
        let chain = store.chain("dropped").wait()?;
        for number in 0..100 {
            let tx = chain.begin();
            tx.put(format!("n{number}"), &counter(number, 0))?;
            drop(tx.commit());
        }
        store.close().wait()?;
    }
    let store = Store::open(dir.path()).wait()?;
    let chain = store.chain("dropped").wait()?;
    assert_eq!(chain.names("n")?.len(), 100);
    Ok(())
}

async fn tasks(chain: Chain, count: u64) -> Result<u64, ate::Error> {
    let done = Arc::new(AtomicU64::new(0));
    let shared = chain.add(counter(0, 0)).await?.key();
    let mut tasks = Vec::new();
    for number in 0..count {
        let (chain, done) = (chain.clone(), done.clone());
        tasks.push(tokio::spawn(async move {
            let dao = chain.put(format!("n{number}"), counter(number, 1)).await?;
            if number % 10 == 0 {
                chain.update(shared, |c| c.value += 1).await?;
            }
            assert_eq!(chain.get(&dao).await?.value, number);
            done.fetch_add(1, Ordering::Relaxed);
            Ok::<(), ate::Error>(())
        }));
    }
    for task in tasks {
        task.await.expect("no task panics")?;
    }
    assert_eq!(chain.get(shared).await?.value, count / 10);
    Ok(done.load(Ordering::Relaxed))
}

#[test]
fn a_thousand_tasks_on_many_threads() -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .build()?;
    let store = Store::in_memory()?;
    let chain = store.chain("tasks").wait()?;
    assert_eq!(runtime.block_on(tasks(chain.clone(), 1000))?, 1000);
    assert_eq!(chain.names("n")?.len(), 1000);
    let info = store.info();
    assert!(
        info.syncs < info.commits,
        "tasks that wait at the same moment share a sync: {info:?}"
    );
    Ok(())
}

#[test]
fn a_thousand_tasks_on_one_thread() -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let dir = tempfile::tempdir()?;
    let store = Store::open(dir.path()).wait()?;
    let chain = store.chain("tasks").wait()?;
    assert_eq!(runtime.block_on(tasks(chain, 1000))?, 1000);
    Ok(())
}

#[test]
fn one_name_from_a_hundred_tasks() -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .build()?;
    let store = Store::in_memory()?;
    let chain = store.chain("tasks").wait()?;
    runtime.block_on(async {
        let writes = (0..100).map(|by| {
            let chain = chain.clone();
            tokio::spawn(async move { chain.put("same", counter(0, by)).await.map(drop) })
        });
        for write in writes.collect::<Vec<_>>() {
            write.await.expect("no task panics")?;
        }
        Ok::<(), ate::Error>(())
    })?;
    assert_eq!(chain.history::<Counter>("same")?.len(), 100);
    Ok(())
}

#[test]
fn readers_never_see_an_older_value_than_was_acknowledged() -> Outcome {
    let dir = tempfile::tempdir()?;
    // A cache of two or three values a shard: what is read is evicted all the time.
    let store = Store::builder(dir.path())
        .cache_bytes(64 * 600)
        .open()
        .wait()?;
    let chain = store.chain("cache").wait()?;
    let keys: Vec<Key<Counter>> = (0..200)
        .map(|n| chain.add(counter(0, n)).wait().map(|dao| dao.key()))
        .collect::<Result<_, _>>()?;
    let acknowledged: Vec<AtomicU64> = keys.iter().map(|_| AtomicU64::new(0)).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            for value in 1..=10 {
                let tx = chain.begin();
                for (by, key) in keys.iter().enumerate() {
                    tx.put(key, &counter(value, by as u64)).expect("stands");
                }
                tx.commit().wait().expect("one writer");
                acknowledged
                    .iter()
                    .for_each(|seen| seen.store(value, Ordering::SeqCst));
            }
        });
        for _ in 0..3 {
            scope.spawn(|| {
                while acknowledged[0].load(Ordering::SeqCst) < 10 {
                    for (by, key) in keys.iter().enumerate() {
                        let least = acknowledged[by].load(Ordering::SeqCst);
                        let dao = chain.get(key).wait().expect("stands");
                        assert!(dao.value >= least && dao.by == by as u64);
                        if let Some(peeked) = chain.peek(key) {
                            assert!(peeked.value >= dao.value, "peek never goes back");
                        }
                    }
                }
            });
        }
    });
    assert!(chain.cache_bytes() <= 64 * 600);
    assert!(
        keys.iter()
            .all(|key| chain.get(key).wait().is_ok_and(|dao| dao.value == 10))
    );
    Ok(())
}
