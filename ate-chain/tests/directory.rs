//! The chains of a log by name, each once, whatever stands in the log.
#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test fails as the test does"
)]

mod common;

use std::sync::Arc;

use ate_chain::{Directory, DirectoryEntry, Local, RecordKey};
use ate_log::{Log, MemLog};
use common::*;

fn found(log: &dyn Log) -> Vec<String> {
    let mut directory = Directory::new(log);
    directory.update(log).unwrap();
    directory
        .entries()
        .iter()
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
