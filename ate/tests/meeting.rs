//! Meeting a node for the first time, and what a served store tells of itself.
#![cfg(feature = "net")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests over real sockets wait by the clock"
)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ate::prelude::*;
use ate::{ServeOptions, Serving};

#[derive(Serialize, Deserialize, Record, Debug, PartialEq)]
struct Note {
    text: String,
}

fn note(text: &str) -> Note {
    Note { text: text.into() }
}

/// Serves, on a port that the system may have to give back first.
fn serve(store: &Store, port: u16) -> Serving {
    let mut options = ServeOptions::on(SocketAddr::from(([127, 0, 0, 1], port)));
    options.pages = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let begun = Instant::now();
    loop {
        match store.serve(&options) {
            Ok(serving) => return serving,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(20), "{error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn get(at: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(at).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

#[test]
fn a_node_that_nobody_named_is_met_aloud_and_another_in_its_place_is_an_error() {
    let dir = tempfile::tempdir().expect("a directory");
    let open = |name: &str| Store::open(dir.path().join(name)).wait().expect("opens");
    let host = open("host");
    let serving = serve(&host, 0);
    let port = serving.address().expect("an address").port();
    let (first, shown) = (open("first"), serving.id());

    let url = format!("ate://127.0.0.1:{port}/notes");
    let notes = first.create_chain(&url).wait().expect("planned");
    let told = first.notes();
    let words = told.iter().find(|note| note.contains("FIRST USE"));
    let words = words.expect("a person is told");
    assert!(words.contains(&shown.to_string()), "{words}");
    notes.put("first", note("hello")).wait().expect("landed");
    // Now it is known: no word is lost on it.
    let again = first.chain(&url).wait().expect("there");
    assert_eq!(again.id(), notes.id());
    assert_eq!(first.notes(), told);
    drop((notes, again));
    serving.shut_down().wait();

    let other = open("other");
    let serving = serve(&other, port);
    let url = format!("ate://127.0.0.1:{port}/others");
    let refused = first.create_chain(&url).wait().expect_err("another node");
    let words = refused.to_string();
    assert!(
        words.contains(&shown.to_string()) || words.contains("another key"),
        "{words}"
    );
    // An address that names the new key contradicts what is known, and says both.
    let named = format!("{}/others", serving.address().expect("an address"));
    let refused = first.create_chain(&named).wait().expect_err("it changed");
    let words = refused.to_string();
    for key in [shown, serving.id()] {
        assert!(words.contains(&key.to_string()), "{words}");
    }
    serving.shut_down().wait();
}

#[test]
fn a_served_store_tells_how_it_does_and_names_nobody() {
    let dir = tempfile::tempdir().expect("a directory");
    let host = Store::open(dir.path().join("host")).wait().expect("opens");
    let serving = serve(&host, 0);
    let pages = serving.pages().expect("pages");
    assert!(get(pages, "/health").starts_with("HTTP/1.1 200"));
    assert!(get(pages, "/ready").starts_with("HTTP/1.1 200"));

    let writer = Store::open(dir.path().join("writer"))
        .wait()
        .expect("opens");
    let url = format!("{}/secret-name", serving.address().expect("an address"));
    let notes = writer.create_chain(&url).wait().expect("planned");
    notes.put("first", note("hello")).wait().expect("landed");
    let metrics = get(pages, "/metrics");
    for line in [
        "ate_connections_open 1",
        "ate_chains_hosted 1",
        "ate_handshakes_total{end=\"completed\"} 1",
        "ate_follow_streams 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert!(
        !metrics.contains("ate_commits_accepted_total 0"),
        "{metrics}"
    );
    assert!(!metrics.contains("secret-name"));
    assert!(!metrics.contains(&writer.identity().id().to_string()));
    drop(notes);
    serving.shut_down().wait();
    let begun = Instant::now();
    while TcpStream::connect(pages).is_ok() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "it still answers"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}
