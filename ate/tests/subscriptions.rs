//! Subscriptions: each change in order, exactly once, without a gap, and nothing of what is not granted.

use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use ate::log::{FullSpeed, LogOptions, MemStorage};
use ate::prelude::*;
use ate::{AnyRecord, Identity, Json, RecordKey, Seed, Subscription, Version};

#[derive(Serialize, Deserialize, Record, PartialEq, Debug)]
struct Note {
    text: String,
}

#[derive(Serialize, Deserialize, Record, PartialEq, Debug)]
struct Count {
    count: u64,
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn note(text: &str) -> Note {
    Note { text: text.into() }
}

/// What a change is, in a few letters.
fn told(change: &Change<Note>) -> String {
    match change {
        Change::Put(dao) => dao.text.clone(),
        Change::Removed { .. } => "removed".into(),
        Change::Erased { .. } => "erased".into(),
        Change::Dropped { .. } => "dropped".into(),
        Change::Lagged { behind } => format!("lagged {behind}"),
        other => format!("{other:?}"),
    }
}

/// All that is there now.
fn rest(feed: &mut Subscription<Note>) -> Result<Vec<String>, ate::Error> {
    let mut all = Vec::new();
    while let Some(change) = feed.try_next()? {
        all.push(told(&change));
    }
    Ok(all)
}

#[test]
fn every_change_comes_as_it_was_in_order_and_once() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("notes").wait()?;
    let mut live = chain.subscribe::<Note>();
    assert!(live.try_next()?.is_none());
    chain.put("a", note("a1")).wait()?;
    let before = chain.position();
    chain.put("a", note("a2")).wait()?;
    chain.add(Count { count: 1 }).wait()?;
    let transaction = chain.begin();
    transaction.put("b", &note("b1"))?;
    transaction.put("c", &note("c1"))?;
    transaction.commit().wait()?;
    chain.remove::<Note>("a").wait()?;
    // Of another type meanwhile, and back: what was removed was a note.
    chain.put("a", Count { count: 2 }).wait()?;
    chain.remove::<Count>("a").wait()?;
    chain.put("a", note("a3")).wait()?;
    let expected = ["a1", "a2", "b1", "c1", "removed", "a3"];
    assert_eq!(rest(&mut live)?, expected);
    assert!(live.try_next()?.is_none(), "once");

    let mut again = chain.subscribe::<Note>().from(Position(0));
    let mut versions: Vec<Version> = Vec::new();
    while let Some(change) = again.try_next()? {
        versions.extend(change.version());
    }
    assert!(versions.is_sorted() && versions.len() == 6, "{versions:?}");
    let mut later = chain.subscribe::<Note>().from(before);
    assert_eq!(rest(&mut later)?, expected[1..]);
    // From the middle of a commit.
    let mut behind = chain.subscribe::<Note>().after(versions[2]);
    assert_eq!(rest(&mut behind)?, expected[3..]);
    assert_eq!(
        rest(&mut chain.subscribe().from(Position(0)).from_now())?.len(),
        0
    );
    Ok(())
}

#[test]
fn filters_let_through_what_they_name() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("notes").wait()?;
    let from = |feed: Subscription<Note>| feed.from(Position(0));
    let mut by_name = from(chain.subscribe()).record("in/a");
    let mut by_prefix = from(chain.subscribe()).prefix("in/");
    assert!(by_name.try_next()?.is_none() && by_prefix.try_next()?.is_none());
    let parent = chain.put("parent", note("parent")).wait()?;
    let mut children = from(chain.subscribe()).children(&parent, "lines");
    chain.put("in/a", note("1")).wait()?;
    chain.put("out/a", note("2")).wait()?;
    chain.push(&parent, "lines", note("3")).wait()?;
    chain.push(&parent, "other", note("4")).wait()?;
    chain.push(&parent, "lines", Count { count: 5 }).wait()?;
    chain.put("in/b", note("6")).wait()?;
    chain.add(note("7")).wait()?;
    chain.put("in/a", note("8")).wait()?;
    chain.remove::<Note>("in/b").wait()?;
    assert_eq!(rest(&mut by_name)?, ["1", "8"]);
    assert_eq!(rest(&mut by_prefix)?, ["1", "6", "8", "removed"]);
    assert_eq!(rest(&mut children)?, ["3"]);
    let key = chain.key_of::<Note>("in/a").ok_or("it stands")?;
    assert_eq!(rest(&mut from(chain.subscribe()).record(key))?, ["1", "8"]);

    let any = || chain.subscribe_any().from(Position(0));
    let types = |mut feed: Subscription<AnyRecord>| {
        let mut types = Vec::new();
        while let Some(change) = feed.try_next().expect("readable") {
            if let Change::Put(record) = change {
                types.push(record.document().expect("readable").type_name);
            }
        }
        types
    };
    let all = types(any());
    assert_eq!(all.len(), 9, "{all:?}");
    assert_eq!(types(any().of_type("count")), ["count"]);
    chain.put("doc", Json::new("{\"a\": 1}")?).wait()?;
    assert_eq!(types(any().of_type("json")), ["json"]);
    let mut feed = any().record("doc");
    match feed.next().wait()? {
        Some(Change::Put(record)) => assert_eq!(record.document()?.json, "{\"a\": 1}"),
        other => panic!("{other:?}"),
    }
    Ok(())
}

#[test]
fn a_time_is_a_place_to_begin() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("notes").wait()?;
    chain.put("a", note("1")).wait()?;
    std::thread::sleep(Duration::from_millis(3));
    let second = chain.put("a", note("2")).wait()?.order_time_ms();
    let from = |ms| chain.subscribe::<Note>().from_time(ms);
    assert_eq!(rest(&mut from(second))?, ["2"]);
    assert_eq!(rest(&mut from(0))?, ["1", "2"]);
    assert_eq!(rest(&mut from(second + 1))?.len(), 0);
    Ok(())
}

#[test]
fn what_is_gone_is_said_to_be_gone() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("notes").wait()?;
    chain.put("in/a", note("a1")).wait()?;
    chain.put("in/a", note("a2")).wait()?;
    chain.put("in/b", note("b1")).wait()?;
    let mut live = chain.subscribe::<Note>();
    chain.put("in/b", note("b2")).wait()?;
    let horizon = chain.position();
    chain.set_horizon(horizon).wait()?;
    chain.erase::<Note>("in/a").wait()?;
    chain.put("in/b", note("b3")).wait()?;
    let all = ["erased", "erased", "dropped", "b2", "erased", "b3"];
    let from_start = || chain.subscribe::<Note>().from(Position(0));
    assert_eq!(rest(&mut from_start())?, all);
    assert_eq!(rest(&mut from_start().prefix("in/"))?, all);
    assert_eq!(rest(&mut live)?, all[3..]);
    let erased = from_start().record(chain.key_of::<Note>("in/b").ok_or("it stands")?);
    assert_eq!(rest(&mut { erased })?, ["dropped", "b2", "b3"]);
    Ok(())
}

#[test]
fn nothing_is_seen_of_what_is_not_granted() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("vault").wait()?;
    let bob = Identity::from_seed(&Seed::from_bytes([7; 32]));
    chain.put("own", note("own")).wait()?;
    let bobs = chain.as_identity(&bob);
    let mut feed = bobs.subscribe::<Note>().from(Position(0));
    let mut any = bobs.subscribe_any().from(Position(0));
    let mut prefix = bobs.subscribe::<Note>().from(Position(0)).prefix("");
    assert_eq!(rest(&mut feed)?.len() + rest(&mut prefix)?.len(), 0);
    assert!(any.try_next()?.is_none());
    chain.put("own", note("again")).wait()?;
    let shared = chain.add(note("shared")).readable_by([bob.who()]).wait()?;
    chain.remove::<Note>("own").wait()?;
    chain.put(&shared, note("shared again")).wait()?;
    assert_eq!(rest(&mut feed)?, ["shared", "shared again"]);
    assert_eq!(rest(&mut prefix)?.len(), 0);
    let mut keys = Vec::new();
    while let Some(change) = any.try_next()? {
        keys.extend(change.key().map(|key| key.raw()));
    }
    assert_eq!(keys, [shared.key().raw(); 2]);
    // What comes after the grant is seen by those who went on.
    chain
        .share::<Note>(Key::from_raw(RecordKey::ROOT), bob.who())
        .wait()?;
    chain.put("own", note("open")).wait()?;
    assert_eq!(rest(&mut feed)?, ["open"]);
    assert_eq!(rest(&mut prefix)?, ["open"]);
    Ok(())
}

#[test]
fn lag_is_said_once_and_loses_nothing() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("notes").wait()?;
    let mut feed = chain.subscribe::<Note>().lag_max(3);
    let put = |text: &str| chain.put("a", note(text)).wait().map(drop);
    put("0")?;
    assert_eq!(rest(&mut feed)?, ["0"], "within bounds");
    for text in ["1", "2", "3", "4"] {
        put(text)?;
    }
    assert_eq!(rest(&mut feed)?, ["lagged 4", "1", "2", "3", "4"]);
    put("5")?;
    assert_eq!(rest(&mut feed)?, ["5"]);
    for text in ["6", "7", "8", "9"] {
        put(text)?;
    }
    assert_eq!(rest(&mut feed)?, ["lagged 4", "6", "7", "8", "9"]);
    Ok(())
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_dropped_answer_takes_no_change_with_it() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("notes").wait()?;
    let mut feed = chain.subscribe::<Note>();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut context = Context::from_waker(&waker);
    {
        let mut waiting = pin!(feed.next());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        chain.put("a", note("1")).wait()?;
        assert_eq!(woken.0.load(Ordering::SeqCst), 1, "told at once");
        // Dropped although there is something.
    }
    drop(feed.next());
    let mut waiting = pin!(feed.next());
    match waiting.as_mut().poll(&mut context) {
        Poll::Ready(Ok(Some(change))) => assert_eq!(told(&change), "1"),
        other => panic!("{other:?}"),
    }
    assert!(feed.try_next()?.is_none());
    Ok(())
}

#[test]
fn the_end_of_the_store_ends_the_feed_behind_the_last_change() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("notes").wait()?;
    let mut feed = chain.subscribe::<Note>();
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        while let Some(change) = feed.next().wait().expect("readable") {
            all.push(told(&change));
        }
        all
    });
    chain.put("a", note("1")).wait()?;
    chain.put("a", note("2")).wait()?;
    store.close().wait()?;
    assert_eq!(reader.join().expect("it ends"), ["1", "2"]);
    Ok(())
}

#[tokio::test]
async fn writers_never_wait_and_every_reader_gets_all() -> Outcome {
    const WRITERS: u64 = 4;
    const EACH: u64 = 150;
    let store = Store::in_memory()?;
    let chain = store.chain("notes").await?;
    chain.put("first", Count { count: 0 }).await?;
    let from = chain.position();
    // It never reads, and costs nobody anything.
    let mut never = chain.subscribe::<Count>().from(from);
    let readers: Vec<_> = (0..6)
        .map(|_| {
            let mut feed = chain.subscribe::<Count>().from(from);
            tokio::spawn(async move {
                let mut all = Vec::new();
                while all.len() < (WRITERS * EACH) as usize {
                    if let Ok(Some(Change::Put(dao))) = feed.next().await {
                        all.push((dao.version(), dao.count));
                    }
                }
                all
            })
        })
        .collect();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let chain = chain.clone();
            std::thread::spawn(move || {
                for count in 0..EACH {
                    let count = Count {
                        count: writer * EACH + count,
                    };
                    chain.add(count).wait().expect("written");
                }
            })
        })
        .collect();
    let mut seen = Vec::new();
    for reader in readers {
        seen.push(reader.await?);
    }
    for writer in writers {
        writer.join().expect("it ends");
    }
    for all in &seen {
        assert_eq!(*all, seen[0], "all see the same");
    }
    assert!(seen[0].is_sorted_by(|one, next| one.0 < next.0));
    let mut counts: Vec<u64> = seen[0].iter().map(|(_, count)| *count).collect();
    counts.sort_unstable();
    assert!(
        counts.into_iter().eq(0..WRITERS * EACH),
        "none lost or doubled"
    );
    assert!(matches!(never.try_next()?, Some(Change::Put(_))));
    Ok(())
}

#[test]
fn a_poll_passes_over_what_concerns_nobody_in_pieces() -> Outcome {
    const COMMITS: u64 = 5000;
    let store = Store::in_memory()?;
    let chain = store.chain("notes").wait()?;
    let from = chain.position();
    let waiting: Vec<_> = (0..COMMITS)
        .map(|count| {
            let transaction = chain.begin();
            transaction
                .add(&Count { count })
                .map(|_| transaction.commit())
        })
        .collect::<Result<_, _>>()?;
    for commit in waiting {
        commit.wait()?;
    }
    chain.put("one", note("1")).wait()?;
    assert!(chain.position().0 > COMMITS, "each is a commit");
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut context = Context::from_waker(&waker);
    let mut feed = chain.subscribe::<Note>().from(from);
    let mut next = pin!(feed.next());
    for polls in 1.. {
        match next.as_mut().poll(&mut context) {
            Poll::Pending => assert_eq!(woken.0.load(Ordering::SeqCst), polls, "it goes on"),
            Poll::Ready(change) => {
                assert!(matches!(change?, Some(Change::Put(dao)) if dao.text == "1"));
                assert!(polls > 1, "others run in between");
                return Ok(());
            }
        }
    }
    Ok(())
}

#[test]
fn chains_that_share_sealed_files_and_erasures_are_told_apart() -> Outcome {
    const EACH: u64 = 300;
    let storage = Arc::new(MemStorage::new());
    let options = LogOptions {
        segment_bytes_min: 64 << 10,
        segment_bytes_max: 64 << 10,
        ..LogOptions::default()
    };
    let open = || {
        Store::builder("nowhere")
            .storage(storage.clone())
            .identity(Identity::from_seed(&Seed::from_bytes([3; 32])))
            .log_options(options)
            .without_maintenance()
            .open()
            .wait()
    };
    let store = open()?;
    let chains = [store.chain("one").wait()?, store.chain("two").wait()?];
    for count in 0..EACH {
        for (chain, add) in chains.iter().zip([0, 1000]) {
            chain.add(Count { count: count + add }).wait()?;
        }
    }
    assert!(store.seal(&mut FullSpeed)? > 0, "files were sealed");
    chains[0].put("a", note("gone")).wait()?;
    chains[0].erase::<Note>("a").wait()?;
    let all = |chain: &Chain| -> Result<Vec<u64>, ate::Error> {
        let mut feed = chain.subscribe::<Count>().from(Position(0));
        let mut all = Vec::new();
        while let Some(change) = feed.try_next()? {
            if let Change::Put(dao) = change {
                all.push(dao.count);
            }
        }
        Ok(all)
    };
    for chain in &chains {
        assert_eq!(all(chain)?.len(), EACH as usize);
    }
    drop(chains);
    store.close().wait()?;
    drop(store);
    let store = open()?;
    assert!(all(&store.chain("one").wait()?)?.into_iter().eq(0..EACH));
    let two = store.chain("two").wait()?;
    assert!(all(&two)?.into_iter().eq(1000..1000 + EACH));
    let one = store.chain("one").wait()?;
    let mut notes = one.subscribe::<Note>().from(Position(0));
    assert_eq!(rest(&mut notes)?, ["erased", "erased"]);
    Ok(())
}
