//! Commits that count only when others than the sequencer have verified and signed them.
#![cfg(feature = "net")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests over real sockets wait by the clock"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use ate::chain::WitnessError;
use ate::net::{ChainAddress, NodeAddress};
use ate::prelude::*;
use ate::{Chain, CommitError, Durability, ErrorKind, Receipt, ServeOptions, Serving};

#[derive(Serialize, Deserialize, Record, Debug, PartialEq)]
struct Note {
    text: String,
}

fn note(text: &str) -> Note {
    Note { text: text.into() }
}

fn open(dir: &Path) -> Store {
    Store::open(dir).wait().expect("opens")
}

fn serve(store: &Store) -> Serving {
    let options = ServeOptions::on("127.0.0.1:0".parse().expect("an address"));
    store.serve(&options).expect("served")
}

fn at(serving: &Serving) -> NodeAddress {
    serving.address().expect("an address")
}

/// As whoever is not the root of the chain has to name it.
fn address(serving: &Serving, of: &Store) -> String {
    let root = of.identity().id();
    let address = ChainAddress::new(at(serving), Some(root), "notes", None);
    address.expect("an address").to_string()
}

fn put(chain: &Chain, key: &str, durability: Durability) -> Result<Receipt, CommitError> {
    let tx = chain.begin();
    tx.put(key, &note(key)).expect("encodes");
    tx.commit_to(durability).wait()
}

#[test]
fn a_commit_is_witnessed_when_another_node_holds_it_and_has_signed_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let (host, watcher) = (
        open(&dir.path().join("host")),
        open(&dir.path().join("watcher")),
    );
    let (node, witness) = (serve(&host), serve(&watcher));
    let writer = Store::builder(dir.path().join("writer"))
        .witnesses([at(&witness)], 1)
        .open()
        .wait()
        .expect("opens");
    let url = address(&node, &writer);
    let notes = writer.create_chain(&url).wait().expect("planned");
    let receipt = put(&notes, "first", Durability::Server).expect("landed");
    assert_eq!(receipt.durability, Durability::Server);

    let watched = watcher.chain(&url).wait().expect("it follows");
    for name in ["second", "third"] {
        let receipt = put(&notes, name, Durability::Witnessed).expect("witnessed");
        assert_eq!(receipt.durability, Durability::Witnessed);
        // It was there before the answer, not after it.
        assert!(watched.position() >= receipt.position);
    }
    // What the witness holds, another start of it holds still.
    let position = watched.position();
    witness.shut_down().wait();
    drop(watched);
    watcher.close().wait().expect("closes");
    drop(watcher);
    node.shut_down().wait();
    let again = open(&dir.path().join("watcher"));
    let watched = again.chain(&url).wait().expect("it is here");
    assert!(watched.position() >= position);
}

#[test]
fn a_commit_that_nobody_witnessed_stands_all_the_same_and_is_witnessed_later() {
    let dir = tempfile::tempdir().expect("a directory");
    let (host, watcher) = (
        open(&dir.path().join("host")),
        open(&dir.path().join("watcher")),
    );
    let (node, witness) = (serve(&host), serve(&watcher));
    let writer = Store::builder(dir.path().join("writer"))
        .witnesses([at(&witness)], 1)
        .answer_within(Duration::from_secs(2))
        .open()
        .wait()
        .expect("opens");
    let url = address(&node, &writer);
    let notes = writer.create_chain(&url).wait().expect("planned");
    // The witness is there, and has not heard of the chain.
    let error = put(&notes, "first", Durability::Witnessed).expect_err("too few");
    let CommitError::Unwitnessed { receipt, source } = &error else {
        panic!("{error}");
    };
    assert!(
        matches!(
            source,
            WitnessError::TooFew {
                signed: 0,
                needed: 1,
                ..
            }
        ),
        "{source}"
    );
    assert_eq!(receipt.durability, Durability::Server);
    assert_eq!(
        notes.get::<Note>("first").wait().expect("reads").text,
        "first"
    );
    assert_eq!(notes.position(), receipt.position);
    assert_eq!(ate::Error::from(error).kind(), ErrorKind::Unreachable);

    let position = notes.position();
    let _watched = watcher.chain(&url).wait().expect("it follows");
    let begun = Instant::now();
    while let Err(error) = notes.witnessed(position).wait() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{error}");
    }
}

#[test]
fn without_witnesses_nothing_is_written_that_should_be_witnessed() {
    let dir = tempfile::tempdir().expect("a directory");
    let host = open(&dir.path().join("host"));
    let node = serve(&host);
    let writer = open(&dir.path().join("writer"));
    let url = address(&node, &writer);
    let notes = writer.create_chain(&url).wait().expect("planned");
    let refused = put(&notes, "first", Durability::Witnessed);
    assert!(
        matches!(
            refused,
            Err(CommitError::Durability {
                asked: Durability::Witnessed,
                reached: Durability::Server,
            })
        ),
        "{refused:?}"
    );
    assert!(notes.get::<Note>("first").wait().is_err());
    // A key that nobody named is no witness.
    let nobody = NodeAddress::new("127.0.0.1", 4433, None).expect("an address");
    let builder = Store::builder(dir.path().join("other")).witnesses([nobody], 1);
    let other = builder.open().wait().expect("opens");
    let error = other.chain(&url).wait().expect_err("no key");
    assert!(error.to_string().contains("named with its key"), "{error}");
}

/// A node that was restored from a copy and given to others shows them another history than it shows us.
#[test]
fn a_witness_of_another_history_is_heard() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name);
    let root = open(&path("root")).identity().clone();
    let url = {
        let host = open(&path("host"));
        let node = serve(&host);
        let device = Store::builder(path("device")).identity(root.clone());
        let device = device.open().wait().expect("opens");
        let url = address(&node, &device);
        let notes = device.create_chain(&url).wait().expect("planned");
        put(&notes, "first", Durability::Server).expect("landed");
        device.close().wait().expect("closes");
        node.shut_down().wait();
        host.close().wait().expect("closes");
        url
    };
    drop(url);
    std::fs::create_dir(path("fork")).expect("a directory");
    for file in std::fs::read_dir(path("host")).expect("a directory") {
        let file = file.expect("an entry");
        std::fs::copy(file.path(), path("fork").join(file.file_name())).expect("copied");
    }
    let (host, fork) = (open(&path("host")), open(&path("fork")));
    let (node, forked) = (serve(&host), serve(&fork));
    let device = |name: &str, of: &Serving| {
        let builder = Store::builder(path(name)).identity(root.clone());
        let builder = builder.witnesses([at(&forked)], 1);
        let store = builder.open().wait().expect("opens");
        let notes = store.chain(&address(of, &store)).wait().expect("follows");
        (store, notes)
    };
    let (_one, ours) = device("one", &node);
    let (_two, theirs) = device("two", &forked);
    assert_eq!(ours.id(), theirs.id());
    // Whoever follows the fork finds it consistent, and it witnesses itself.
    put(&theirs, "theirs", Durability::Witnessed).expect("of the same history");
    let error = put(&ours, "ours", Durability::Witnessed).expect_err("another history");
    assert!(
        matches!(
            &error,
            CommitError::Unwitnessed {
                source: WitnessError::OtherHistory { .. },
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(ate::Error::from(error).kind(), ErrorKind::Damaged);
}

/// What `ate replicate` has fetched, `ate serve` over the same directory witnesses: a replica that is asked for follows.
#[test]
fn a_store_that_is_served_follows_what_it_witnesses() {
    let dir = tempfile::tempdir().expect("a directory");
    let host = open(&dir.path().join("host"));
    let node = serve(&host);
    let url = {
        let writer = open(&dir.path().join("writer"));
        let url = address(&node, &writer);
        let notes = writer.create_chain(&url).wait().expect("planned");
        put(&notes, "first", Durability::Server).expect("landed");
        let watcher = open(&dir.path().join("watcher"));
        watcher.chain(&url).wait().expect("it follows");
        watcher.close().wait().expect("closes");
        writer.close().wait().expect("closes");
        url
    };
    let watcher = open(&dir.path().join("watcher"));
    let witness = serve(&watcher);
    let writer = Store::builder(dir.path().join("writer"))
        .witnesses([at(&witness)], 1)
        .open()
        .wait()
        .expect("opens");
    let notes = writer.chain(&url).wait().expect("it is here");
    let receipt = put(&notes, "second", Durability::Witnessed).expect("witnessed");
    assert_eq!(receipt.durability, Durability::Witnessed);
}
