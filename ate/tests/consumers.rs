//! Durable consumers: at least once across crashes, nothing skipped, and a place that is nobody else's.

use std::sync::Arc;
use std::time::Duration;

use ate::log::{Loss, LossyStorage, Storage};
use ate::prelude::*;
use ate::{Error, ErrorKind, Identity, Seed, SubscribeError, Subscription};

#[derive(Serialize, Deserialize, Record, PartialEq, Debug)]
struct Count {
    count: u64,
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

const LONG: Duration = Duration::from_secs(3600);

fn open(storage: Arc<dyn Storage>) -> Result<(Store, Chain), Error> {
    let identity = Identity::from_seed(&Seed::from_bytes([3; 32]));
    let store = Store::builder("nowhere")
        .storage(storage)
        .identity(identity)
        .open()
        .wait()?;
    let chain = store.chain("counts").wait()?;
    Ok((store, chain))
}

fn put(chain: &Chain, counts: impl IntoIterator<Item = u64>) -> Result<(), Error> {
    for count in counts {
        chain.put("count", Count { count }).wait()?;
    }
    Ok(())
}

fn next(feed: &mut Subscription<Count>) -> Result<Option<u64>, SubscribeError> {
    Ok(match feed.try_next()? {
        Some(Change::Put(dao)) => Some(dao.count),
        Some(other) => panic!("{other:?}"),
        None => None,
    })
}

fn rest(feed: &mut Subscription<Count>) -> Result<Vec<u64>, SubscribeError> {
    let mut all = Vec::new();
    while let Some(count) = next(feed)? {
        all.push(count);
    }
    Ok(all)
}

/// A consumer of everything that keeps its place only when it is told to.
fn mailer(chain: &Chain) -> Subscription<Count> {
    let feed = chain.subscribe::<Count>().from(Position(0));
    feed.named("mailer").keep_every(u64::MAX, LONG)
}

#[test]
fn a_consumer_goes_on_where_it_was_after_a_reopening() -> Outcome {
    let storage = Arc::new(LossyStorage::new());
    let (store, chain) = open(storage.clone())?;
    put(&chain, 0..4)?;
    let mut feed = mailer(&chain);
    assert_eq!(next(&mut feed)?, Some(0));
    assert_eq!(next(&mut feed)?, Some(1));
    // The second was handed out and never acknowledged.
    drop(feed);
    let mut feed = mailer(&chain);
    assert_eq!(next(&mut feed)?, Some(1));
    feed.ack().wait()?;
    drop((feed, chain));
    store.close().wait()?;
    drop(store);

    let (store, chain) = open(storage.clone())?;
    let mut feed = mailer(&chain);
    assert_eq!(rest(&mut feed)?, [2, 3]);
    // Closed while it runs: what it had done is kept.
    store.close().wait()?;
    assert!(feed.next().wait()?.is_none());
    drop((feed, chain, store));
    let (_store, chain) = open(storage)?;
    let mut feed = mailer(&chain);
    put(&chain, [4])?;
    assert_eq!(rest(&mut feed)?, [4]);
    Ok(())
}

#[test]
fn a_crash_between_delivery_and_acknowledgement_brings_it_again() -> Outcome {
    let storage = Arc::new(LossyStorage::new());
    let (_store, chain) = open(storage.clone())?;
    put(&chain, 0..6)?;
    let mut feed = mailer(&chain);
    for (count, acknowledged) in [(0, true), (1, false), (2, true), (3, false), (4, false)] {
        assert_eq!(next(&mut feed)?, Some(count));
        if acknowledged {
            feed.ack().wait()?;
        }
    }
    // Whatever the disk loses that was not synced: at least what was not acknowledged comes, and nothing that was.
    for loss in [Loss::Everything, Loss::Nothing, Loss::Names, Loss::Writes] {
        let found = Arc::new(LossyStorage::from_image(storage.image_after_cut(loss)));
        let (_store, chain) = open(found)?;
        assert_eq!(rest(&mut mailer(&chain))?, [3, 4, 5], "{loss:?}");
    }
    Ok(())
}

#[test]
fn a_crash_in_the_middle_of_keeping_a_place_never_skips_a_change() -> Outcome {
    // Power is cut at every call of the storage from the first change on.
    for cut in 1.. {
        let storage = Arc::new(LossyStorage::new());
        let (store, chain) = open(storage.clone())?;
        put(&chain, 0..5)?;
        let mut feed = mailer(&chain).keep_every(1, LONG);
        storage.cut_at(storage.calls() + cut);
        let mut done = 0;
        // The place of a change is kept when the next one is asked for.
        while !storage.is_cut()
            && let Ok(Some(count)) = next(&mut feed)
        {
            assert_eq!(count, done);
            done += 1;
        }
        let is_cut = storage.is_cut();
        for loss in [Loss::Everything, Loss::Nothing, Loss::Names] {
            let found = Arc::new(LossyStorage::from_image(storage.image_after_cut(loss)));
            let (_store, chain) = open(found)?;
            let again = rest(&mut mailer(&chain))?;
            let first = 5 - again.len() as u64;
            assert!(again.iter().copied().eq(first..5), "{again:?}");
            assert!(first <= done, "cut {cut}, {loss:?}: {first} of {done}");
        }
        drop((feed, chain, store));
        if !is_cut {
            assert!(cut > 10, "places were kept");
            return Ok(());
        }
    }
    Ok(())
}

#[test]
fn a_place_is_kept_after_so_many_changes_without_being_asked_for() -> Outcome {
    let storage = Arc::new(LossyStorage::new());
    let (_store, chain) = open(storage.clone())?;
    put(&chain, 0..7)?;
    let mut feed = mailer(&chain).keep_every(3, LONG);
    let begun = storage.calls();
    assert_eq!(next(&mut feed)?, Some(0));
    let started = storage.calls();
    assert!(
        started > begun,
        "a new name is kept before anything is done"
    );
    for count in 1..3 {
        assert_eq!(next(&mut feed)?, Some(count));
    }
    assert_eq!(storage.calls(), started, "two are acknowledged");
    assert_eq!(next(&mut feed)?, Some(3));
    assert!(storage.calls() > started, "three are");
    let image = storage.image_after_cut(Loss::Everything);
    let (_store, chain) = open(Arc::new(LossyStorage::from_image(image)))?;
    assert_eq!(rest(&mut mailer(&chain))?, [3, 4, 5, 6]);
    Ok(())
}

#[test]
fn a_new_name_without_a_change_loses_nothing_that_follows() -> Outcome {
    let storage = Arc::new(LossyStorage::new());
    let (_store, chain) = open(storage.clone())?;
    put(&chain, 0..2)?;
    // From now on; it is started and never gets anything.
    let mut feed = chain.subscribe::<Count>().named("late");
    assert_eq!(next(&mut feed)?, None);
    put(&chain, 2..4)?;
    let image = storage.image_after_cut(Loss::Everything);
    let (_store, chain) = open(Arc::new(LossyStorage::from_image(image)))?;
    let mut feed = chain.subscribe::<Count>().named("late");
    assert_eq!(rest(&mut feed)?, [2, 3]);
    Ok(())
}

#[test]
fn a_name_runs_once_and_is_the_identitys_and_the_chains_own() -> Outcome {
    let (store, chain) = open(Arc::new(LossyStorage::new()))?;
    put(&chain, 0..3)?;
    let mut feed = mailer(&chain);
    assert_eq!(next(&mut feed)?, Some(0));
    let refused = next(&mut mailer(&chain));
    assert!(
        matches!(&refused, Err(SubscribeError::Running { name }) if name == "mailer"),
        "{refused:?}"
    );
    let kind = refused.err().map(|error| Error::from(error).kind());
    assert_eq!(kind, Some(ErrorKind::Conflict));
    feed.ack().wait()?;
    let other = store.chain("other").wait()?;
    put(&other, [7])?;
    assert_eq!(rest(&mut mailer(&other))?, [7]);
    let bob = Identity::from_seed(&Seed::from_bytes([7; 32]));
    let bobs = chain.as_identity(&bob);
    assert_eq!(rest(&mut mailer(&bobs))?.len(), 0, "nothing is granted");
    assert_eq!(bobs.consumers()?.len(), 1);

    let known = chain.consumers()?;
    assert_eq!(known.len(), 1);
    assert!(
        known[0].is_running && known[0].name == "mailer",
        "{known:?}"
    );
    assert_eq!(known[0].behind, 2);
    assert!(chain.remove_consumer("mailer").is_err(), "it runs");
    assert_eq!(rest(&mut feed)?, [1, 2]);
    drop(feed);
    assert!(!chain.consumers()?[0].is_running);
    assert_eq!(rest(&mut mailer(&chain))?.len(), 0);
    chain.remove_consumer("mailer")?;
    chain.remove_consumer("mailer")?;
    assert_eq!(chain.consumers()?.len(), 0);
    assert_eq!(rest(&mut mailer(&chain))?, [0, 1, 2], "it begins anew");
    for name in ["", "a\nb"] {
        let refused = next(&mut chain.subscribe::<Count>().named(name));
        assert!(
            matches!(refused, Err(SubscribeError::Read(_))),
            "{refused:?}"
        );
    }
    Ok(())
}

#[test]
fn a_place_that_does_not_fit_is_none() -> Outcome {
    let dir = tempfile::tempdir()?;
    let store = Store::open(dir.path()).wait()?;
    let chain = store.chain("counts").wait()?;
    put(&chain, 0..3)?;
    assert_eq!(rest(&mut mailer(&chain))?, [0, 1, 2]);
    let file = std::fs::read_dir(dir.path())?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().contains("consumer-"))
        .ok_or("the place is kept")?;
    let good = std::fs::read(&file)?;
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&file, bad)?;
        assert_eq!(chain.consumers()?.len(), 0, "byte {at}");
    }
    std::fs::write(&file, &good[..good.len() - 1])?;
    assert_eq!(rest(&mut mailer(&chain))?, [0, 1, 2]);
    Ok(())
}

#[test]
fn a_store_that_is_open_for_reading_keeps_no_place_but_has_a_feed() -> Outcome {
    let dir = tempfile::tempdir()?;
    let store = Store::open(dir.path()).wait()?;
    let chain = store.chain("counts").wait()?;
    put(&chain, 0..2)?;
    let reader = Store::builder(dir.path()).read_only().open().wait()?;
    let seen = reader.existing_chain("counts").wait()?;
    let refused = next(&mut mailer(&seen)).err().map(Error::from);
    assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::Denied));
    let mut feed = seen.subscribe::<Count>();
    assert_eq!(next(&mut feed)?, None);
    put(&chain, 2..4)?;
    assert_eq!(next(&mut feed)?, None, "nobody looked");
    let waiting = feed.next();
    let waiter = std::thread::spawn(move || waiting.wait());
    // It may or may not wait yet: it gets the change either way.
    seen.catch_up()?;
    let change = waiter.join().expect("it ends")?;
    assert!(matches!(change, Some(Change::Put(dao)) if dao.count == 2));
    assert_eq!(rest(&mut feed)?, [3]);
    Ok(())
}
