//! The chains of a log by name, each once, whatever stands in the log.
#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test fails as the test does"
)]

mod common;

use std::sync::Arc;

use ate_chain::{Committer, Directory, DirectoryEntry, Local, RecordKey};
use ate_log::{Log, MemLog};
use common::*;

fn found(log: &dyn Log) -> Vec<String> {
    let mut directory = Directory::new(log);
    directory.update(log).unwrap();
    directory
        .entries()
        .map(|entry| entry.name.to_string())
        .collect()
}

#[test]
fn each_chain_is_found_once_and_only_under_its_own_id() {
    let log = Arc::new(MemLog::new());
    let committer = committer(log.clone(), 1);
    let mut directory = Directory::new(&*log);
    for name in ["one", "two", "two"] {
        let local = Local::create(&committer, name, &identity(1)).unwrap();
        write(&local.author(&identity(1)), |draft| {
            define(draft, RecordKey::ROOT);
        });
        // Noted at birth, met again by the next look at the log.
        let entry = DirectoryEntry {
            chain: local.chain(),
            name: name.into(),
            root: identity(1).id(),
        };
        directory.note(entry.clone());
        directory.note(entry);
        directory.update(&*log).unwrap();
    }
    assert_eq!(directory.entries().len(), 3);
    assert_eq!(directory.cursor(), log.durable());
    assert_eq!(found(&*log), ["one", "two", "two"]);
    assert_eq!(Directory::decode(&directory.encode()).unwrap(), directory);

    // By id, and by name in order of birth.
    let entries: Vec<DirectoryEntry> = directory.entries().collect();
    for entry in &entries {
        assert_eq!(directory.by_id(&entry.chain).as_ref(), Some(entry));
    }
    assert_eq!(directory.named("one"), entries[..1]);
    assert_eq!(directory.named("two"), entries[1..]);
    assert!(directory.named("three").is_empty());

    // A genesis that stands twice, in the stream of another chain, or not to be decoded.
    let mut hostile = frames(&*log);
    let genesis = hostile[1].clone();
    let mut elsewhere = genesis.clone();
    elsewhere.stream.0[0] ^= 1;
    let mut broken = genesis.clone();
    broken.parts[0].truncate(100);
    hostile.extend([genesis, elsewhere, broken]);
    let (log, _) = rebuilt(&hostile);
    assert_eq!(found(&*log), ["one", "two", "two"]);
}

#[test]
fn a_writer_knows_its_own_chains_without_reading_them() {
    let log = Arc::new(MemLog::new());
    let begin = |committer: &Arc<Committer>, name: &str| {
        let local = Local::create(committer, name, &identity(1)).unwrap();
        write(&local.author(&identity(1)), |draft| {
            define(draft, RecordKey::ROOT);
        });
    };
    begin(&committer(log.clone(), 1), "before");
    let committer = committer(log.clone(), 1);
    let mut directory = Directory::new(&*log);
    for name in ["one", "two"] {
        begin(&committer, name);
        directory.follow(&committer).unwrap();
        directory.follow(&committer).unwrap();
        let mut read = Directory::new(&*log);
        read.update(&*log).unwrap();
        assert_eq!(directory, read, "nothing is missing before the cursor");
    }
    assert_eq!(directory.len(), 3);
    // Planned, it is not there yet.
    let planned = Local::create(&committer, "planned", &identity(1)).unwrap();
    directory.follow(&committer).unwrap();
    assert_eq!(directory.by_id(&planned.chain()), None);
}

#[test]
fn a_chain_takes_less_than_two_hundred_bytes() {
    let mut directory = Directory::new(&MemLog::new());
    let root = identity(1).id();
    for number in 0..20_000u32 {
        let hash = ate_crypto::sha256(&[&number.to_le_bytes()]);
        directory.note(DirectoryEntry {
            chain: ate_chain::ChainId(hash),
            name: format!("customer-{number:07}").into(),
            root,
        });
        // Also where the tables have just grown.
        if number > 1000 {
            assert!(
                directory.memory_bytes() <= 200 * directory.len(),
                "{number}"
            );
        }
    }
}
