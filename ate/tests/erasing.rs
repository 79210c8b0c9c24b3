//! Erasing: what every session, view and file of a store still tells of a record that was erased, and what it does not.

use std::fs;
use std::path::Path;

use ate::prelude::*;
use ate::{CommitError, Depth, Error, ErrorKind, Identity, Json, ReadError, Seed};

#[derive(Serialize, Deserialize, Record, PartialEq, Debug, Clone)]
struct Note {
    text: String,
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn note(text: impl Into<String>) -> Note {
    Note { text: text.into() }
}

fn names(chain: &Chain) -> Result<Vec<String>, Error> {
    let entries = chain.names("")?;
    Ok(entries.into_iter().map(|entry| entry.name).collect())
}

fn kind<T: std::fmt::Debug>(read: Result<T, ReadError>) -> Option<ErrorKind> {
    read.err().map(|error| Error::from(error).kind())
}

/// Snapshots of chains in a store's directory.
fn snapshots(dir: &Path) -> Result<usize, std::io::Error> {
    let mut count = 0;
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        count += usize::from(name.contains("chain-"));
    }
    Ok(count)
}

#[test]
fn an_erased_record_is_gone_from_every_session_cache_and_view() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("notes").wait()?;
    let friend = Identity::from_seed(&Seed::from_bytes([7; 32]));
    chain.put("a", note("first")).wait()?;
    let before = chain.view();
    let key = chain.put("a", note("second")).wait()?.key();
    chain.put("b", note("stays")).wait()?;
    let transaction = chain.begin();
    transaction.introduce(friend.who())?;
    transaction.grant::<Note>(Key::from_raw(ate::RecordKey::ROOT), friend.who())?;
    transaction.commit().wait()?;
    let other = chain.as_identity(&friend);
    // Both sessions hold value and name.
    for session in [&chain, &other] {
        assert_eq!(session.get::<Note>("a").wait()?.text, "second");
        assert!(session.peek::<Note>(key).is_some());
        assert_eq!(names(session)?, ["a", "b"]);
    }
    let position = chain.position();
    chain.erase::<Note>("a").wait()?;
    assert!(!chain.local().has_due_erasures());
    for session in [&chain, &other] {
        assert!(session.peek::<Note>(key).is_none());
        assert_eq!(names(session)?, ["b"]);
        assert_eq!(session.name_of(&key.raw()), None);
        let read = session.get::<Note>("a").wait();
        assert!(matches!(&read, Err(ReadError::Erased { name }) if name == "a"));
        assert_eq!(kind(session.get::<Note>(key).wait()), Some(ErrorKind::Gone));
        // It stood there: that much is told.
        let then = session.as_of(position);
        assert!(then.contains::<Note>(key)?);
        assert_eq!(kind(then.get::<Note>("a").wait()), Some(ErrorKind::Gone));
        assert_eq!(kind(then.document(key.raw())), Some(ErrorKind::Gone));
        assert!(then.names("")?.iter().all(|entry| entry.name == "b"));
        assert!(!session.contains::<Note>("a"));
        assert_eq!(session.get::<Note>("b").wait()?.text, "stays");
    }
    assert_eq!(kind(before.get::<Note>("a").wait()), Some(ErrorKind::Gone));
    assert_eq!(
        kind(chain.as_of(Position(1)).get::<Note>("a").wait()),
        Some(ErrorKind::NotFound)
    );
    assert_eq!(chain.history::<Note>("a")?.len(), 3);
    Ok(())
}

#[test]
fn a_name_is_free_again_and_its_new_record_owes_nothing_to_the_old() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("notes").wait()?;
    chain.put("a", note("old")).wait()?;
    chain.erase::<Note>("a").wait()?;
    let erased = chain.position();
    chain.put("a", note("new")).wait()?;
    assert_eq!(names(&chain)?, ["a"]);
    chain
        .update::<Note>("a", |note| note.text.push('!'))
        .wait()?;
    assert_eq!(chain.get::<Note>("a").wait()?.text, "new!");
    assert_eq!(
        chain
            .as_of(Position(erased.0 + 1))
            .get::<Note>("a")
            .wait()?
            .text,
        "new"
    );
    let then = chain.as_of(erased).get::<Note>("a").wait();
    assert_eq!(kind(then), Some(ErrorKind::Gone));
    chain.remove::<Note>("a").wait()?;
    assert_eq!(
        kind(chain.get::<Note>("a").wait()),
        Some(ErrorKind::NotFound)
    );
    // What was only removed can still be erased.
    chain.erase::<Note>("a").wait()?;
    let then = chain.as_of(Position(erased.0 + 1)).get::<Note>("a").wait();
    assert_eq!(kind(then), Some(ErrorKind::Gone));
    Ok(())
}

#[test]
fn a_transaction_erases_a_record_and_does_nothing_else_to_it() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("notes").wait()?;
    let key = chain.put("a", note("text")).wait()?.key();
    let parent = chain.add(note("parent")).wait()?.key();

    let transaction = chain.begin();
    transaction.put("a", &note("other"))?;
    transaction.erase::<Note>("a")?;
    transaction.erase::<Note>(key)?;
    let gone = transaction.get::<Note>("a").wait();
    assert!(matches!(gone, Err(ReadError::Erased { .. })));
    let again = transaction.put("a", &note("again"));
    assert!(
        matches!(again, Err(CommitError::Staged { .. })),
        "{again:?}"
    );
    let changed = transaction.update::<Note>("a", |_| {}).wait();
    assert!(changed.is_err());
    assert!(transaction.remove::<Note>("a").is_err());
    transaction.erase::<Note>(parent)?;
    assert!(
        transaction
            .push::<Note, _>(parent, "parts", &note("part"))
            .is_err()
    );
    // What exists in the transaction alone was never written.
    let fresh = transaction.add(&note("fresh"))?;
    transaction.erase::<Note>(fresh)?;
    transaction.put("b", &note("beside"))?;
    let receipt = transaction.commit().wait()?;
    let events = chain.commit(receipt.position.0 - 1)?.events;
    assert_eq!(events.len(), 3);
    assert!(!chain.local().has_due_erasures());

    let erased = chain.erase::<Note>("a").wait();
    assert!(
        matches!(erased, Err(CommitError::Read(ReadError::Erased { .. }))),
        "{erased:?}"
    );
    let never = chain.erase::<Note>("never").wait();
    assert!(
        matches!(never, Err(CommitError::Read(ReadError::NotFound { .. }))),
        "{never:?}"
    );
    Ok(())
}

#[test]
fn an_erasure_follows_other_writers_unless_the_record_was_read() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("notes").wait()?;
    for name in ["a", "b", "c"] {
        chain.put(name, note(name)).wait()?;
    }
    let (blind, reading) = (chain.begin(), chain.begin());
    blind.erase::<Note>("a")?;
    blind.erase::<Note>("c")?;
    reading.get::<Note>("b").wait()?;
    reading.erase::<Note>("b")?;
    chain.put("a", note("newer")).wait()?;
    chain.put("b", note("newer")).wait()?;
    // Removed meanwhile: what it held is erased all the same.
    chain.remove::<Note>("c").wait()?;
    blind.commit().wait()?;
    assert!(matches!(
        chain.get::<Note>("a").wait(),
        Err(ReadError::Erased { .. })
    ));
    assert!(matches!(
        chain.get::<Note>("c").wait(),
        Err(ReadError::Erased { .. })
    ));
    let Err(CommitError::Conflict(conflict)) = reading.commit().wait() else {
        panic!("the record was read before somebody changed it");
    };
    let again = conflict.into_transaction();
    again.erase::<Note>("b")?;
    again.commit().wait()?;
    assert!(matches!(
        chain.get::<Note>("b").wait(),
        Err(ReadError::Erased { .. })
    ));
    Ok(())
}

#[test]
fn a_horizon_keeps_its_own_view_whole_and_drops_what_was_before() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("notes").wait()?;
    chain.put("a", note("first")).wait()?;
    let early = chain.position();
    chain.put("a", note("second")).wait()?;
    let horizon = chain.position();
    chain.put("a", note("third")).wait()?;
    chain.set_horizon(horizon).wait()?;
    assert_eq!(chain.horizon(), horizon);
    let read = chain.as_of(early).get::<Note>("a").wait();
    assert!(
        matches!(read, Err(ReadError::Dropped { horizon: said, .. }) if said == horizon),
        "{read:?}"
    );
    assert_eq!(kind(read), Some(ErrorKind::Gone));
    assert_eq!(chain.as_of(horizon).get::<Note>("a").wait()?.text, "second");
    assert_eq!(chain.get::<Note>("a").wait()?.text, "third");
    for position in [horizon, Position(1_000)] {
        let refused = chain.set_horizon(position).wait();
        assert!(
            matches!(refused, Err(CommitError::Rejected { .. })),
            "{refused:?}"
        );
    }
    Ok(())
}

#[test]
fn no_file_of_the_store_brings_the_name_back() -> Outcome {
    let dir = tempfile::tempdir()?;
    let filling = "x".repeat(3000);
    {
        let store = Store::open(dir.path()).wait()?;
        let chain = store.chain("notes").wait()?;
        for number in 0..40 {
            chain.put(format!("n{number}"), note(&filling)).wait()?;
        }
        store.close().wait()?;
    }
    assert_eq!(snapshots(dir.path())?, 1, "the names are at rest");
    {
        let store = Store::open(dir.path()).wait()?;
        let chain = store.chain("notes").wait()?;
        chain.erase::<Note>("n7").wait()?;
        assert_eq!(snapshots(dir.path())?, 0, "nothing at rest has the name");
        store.close().wait()?;
    }
    assert_eq!(
        snapshots(dir.path())?,
        1,
        "little was written, but there was none left"
    );
    for from_log in [false, true] {
        if from_log {
            for entry in fs::read_dir(dir.path())? {
                let path = entry?.path();
                if path.to_string_lossy().contains("chain-") {
                    fs::remove_file(path)?;
                }
            }
        }
        let store = Store::builder(dir.path()).read_only().open().wait()?;
        let chain = store.existing_chain("notes").wait()?;
        let found = names(&chain)?;
        assert!(found.len() == 39 && !found.contains(&"n7".to_owned()));
        assert_eq!(kind(chain.document::<Json>("n7")), Some(ErrorKind::Gone));
        assert_eq!(chain.local().has_due_erasures(), from_log);
        let verified = store.verify(&chain.id(), Depth::Deep, |_| {})?;
        assert_eq!(verified.position, chain.position());
    }
    Ok(())
}

#[test]
fn an_erasure_that_nobody_waited_for_is_finished_at_the_close() -> Outcome {
    let dir = tempfile::tempdir()?;
    let store = Store::open(dir.path()).wait()?;
    let chain = store.chain("notes").wait()?;
    chain.put("a", note("text")).wait()?;
    let transaction = chain.begin();
    transaction.erase::<Note>("a")?;
    drop(transaction.commit());
    store.close().wait()?;
    assert_eq!(kind(chain.get::<Note>("a").wait()), Some(ErrorKind::Gone));
    assert!(!chain.local().has_due_erasures());
    Ok(())
}
