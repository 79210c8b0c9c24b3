//! Stores that reach each other over QUIC on the loopback interface: one hosts, others write and read, and all may be closed and opened at any time.
#![cfg(feature = "net")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests over real sockets wait by the clock"
)]

use std::time::{Duration, Instant};

use ate::prelude::*;
use ate::{Chain, ErrorKind, ServeOptions, Serving};

#[derive(Serialize, Deserialize, Record, Debug, PartialEq)]
struct Note {
    text: String,
}

fn note(text: &str) -> Note {
    Note { text: text.into() }
}

fn serve(store: &Store) -> Serving {
    let options = ServeOptions::on("127.0.0.1:0".parse().expect("an address"));
    store.serve(&options).expect("served")
}

fn address(serving: &Serving, chain: &str) -> String {
    format!("{}/{chain}", serving.address().expect("an address"))
}

/// Waits until a chain has come to a position: the other side's commits come by themselves.
fn reaches(chain: &Chain, position: u64) {
    let begun = Instant::now();
    while chain.position().0 < position {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{:?}",
            chain.position()
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn what_is_written_in_one_store_is_read_in_another_through_a_third() {
    let dir = tempfile::tempdir().expect("a directory");
    let host = Store::open(dir.path().join("host")).wait().expect("opens");
    let serving = serve(&host);
    let url = address(&serving, "notes");

    let writer = Store::open(dir.path().join("writer"))
        .wait()
        .expect("opens");
    let missing = writer.chain(&url).wait();
    assert_eq!(
        missing.err().map(|error| error.kind()),
        Some(ErrorKind::NotFound)
    );
    let notes = writer.create_chain(&url).wait().expect("planned");
    let first = notes.put("first", note("hello")).wait().expect("landed");
    assert_eq!(first.text, "hello");
    assert_eq!(
        notes.get::<Note>("first").wait().expect("reads").text,
        "hello"
    );
    let status = writer.replica_status(&notes).expect("a replica");
    assert_eq!(status.remote.diverged, None);

    // Another store of the same identity.
    let words = writer.identity().clone();
    let reader = Store::builder(dir.path().join("reader"))
        .identity(words)
        .open()
        .wait()
        .expect("opens");
    let copy = reader.chain(&url).wait().expect("follows");
    assert_eq!(
        copy.get::<Note>("first").wait().expect("reads").text,
        "hello"
    );
    notes.put("second", note("live")).wait().expect("landed");
    reaches(&copy, notes.position().0);
    assert_eq!(
        copy.get::<Note>("second").wait().expect("reads").text,
        "live"
    );
    copy.put("third", note("back")).wait().expect("landed");
    reaches(&notes, copy.position().0);
    assert_eq!(
        notes.get::<Note>("third").wait().expect("reads").text,
        "back"
    );
    assert_eq!(notes.root(), copy.root());

    // The host holds all of it, and can read none.
    let hosted = host
        .existing_chain(&notes.id().to_string())
        .wait()
        .expect("there");
    assert_eq!(hosted.root(), notes.root());
    assert!(hosted.get::<Note>("first").wait().is_err());
    serving.shut_down().wait();
}

#[test]
fn a_replica_is_opened_and_read_without_its_node_and_catches_up_when_it_is_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let host = Store::open(dir.path().join("host")).wait().expect("opens");
    let serving = serve(&host);
    let url = address(&serving, "notes");
    let port = serving.address().expect("an address").port();
    {
        let writer = Store::open(dir.path().join("writer"))
            .wait()
            .expect("opens");
        let notes = writer.create_chain(&url).wait().expect("planned");
        notes.put("first", note("hello")).wait().expect("landed");
        writer.close().wait().expect("closes");
    }
    serving.shut_down().wait();

    let writer = Store::open(dir.path().join("writer"))
        .wait()
        .expect("opens");
    let notes = writer.chain(&url).wait().expect("it is here");
    assert_eq!(
        notes.get::<Note>("first").wait().expect("reads").text,
        "hello"
    );
    let waiting = notes.put("second", note("offline")).into_future();
    std::thread::sleep(Duration::from_millis(50));

    let options = ServeOptions::on(format!("127.0.0.1:{port}").parse().expect("an address"));
    let begun = Instant::now();
    // The system may take a moment to give the port back.
    let serving = loop {
        match host.serve(&options) {
            Ok(serving) => break serving,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(20), "{error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    waiting.wait().expect("landed");
    assert_eq!(
        notes.get::<Note>("second").wait().expect("reads").text,
        "offline"
    );
    assert_eq!(notes.local().staged(), []);
    serving.shut_down().wait();
}

/// A store that has opened replicas of many nodes in its life holds connections for those alone that it has open.
#[test]
fn with_the_last_replica_of_a_node_goes_the_connection_to_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let host = Store::open(dir.path().join("host")).wait().expect("opens");
    let serving = serve(&host);
    let connections = || serving.metrics().connections_open.value();
    let store = Store::builder(dir.path().join("writer")).open_chains_max(0);
    let writer = store.open().wait().expect("opens");
    let notes = writer
        .create_chain(&address(&serving, "notes"))
        .wait()
        .expect("planned");
    notes.put("first", note("hello")).wait().expect("landed");
    assert_eq!(connections(), 1);
    drop(notes);
    let begun = Instant::now();
    while connections() > 0 {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "the connection stays"
        );
        // Opening another chain is what lets idle ones go.
        writer.chain("another").wait().expect("a local one");
        std::thread::sleep(Duration::from_millis(10));
    }
    // It comes back with the replica.
    let again = writer.chain(&address(&serving, "notes")).wait();
    let again = again.expect("it is here");
    again.put("second", note("back")).wait().expect("landed");
    assert_eq!(connections(), 1);
}

/// Where the machine has IPv6: an address in brackets, and a client that reaches both kinds over its one socket.
#[test]
#[expect(clippy::print_stderr, reason = "what was not checked is told")]
fn a_node_is_reached_over_ipv6_where_there_is_any() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        eprintln!("NOT CHECKED: this machine has no IPv6");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let host = Store::open(dir.path().join("host")).wait().expect("opens");
    let options = ServeOptions::on("[::1]:0".parse().expect("an address"));
    let serving = host.serve(&options).expect("served");
    let url = address(&serving, "notes");
    assert!(url.contains("@[::1]:"), "{url}");
    let writer = Store::open(dir.path().join("writer"))
        .wait()
        .expect("opens");
    let notes = writer.create_chain(&url).wait().expect("planned");
    notes.put("first", note("hello")).wait().expect("landed");
    let status = writer.replica_status(&notes).expect("a replica");
    assert_eq!(status.node.host, "::1");

    let other = Store::open(dir.path().join("other")).wait().expect("opens");
    let serving = serve(&other);
    let notes = writer.create_chain(&address(&serving, "notes")).wait();
    let notes = notes.expect("planned");
    notes
        .put("first", note("over IPv4"))
        .wait()
        .expect("landed");
}
