//! Commands on chains of a node.

use std::io::{BufRead as _, BufReader};
use std::time::Duration;

use crate::node::{Client, Node, copy_dir};
#[cfg(unix)]
use crate::support::interrupt;
use crate::support::{Place, documents, json_lines};

#[test]
fn what_one_process_writes_at_a_node_another_reads() {
    let place = Place::new();
    let node = Node::start(&place, &[]);
    let a = Client::new(&place, "a", &node.url);
    let put = a.ate(&["put", "notes", "greeting", "{\"hi\": 1}"]);
    assert_eq!(put.code, 0, "{put:?}");
    assert!(put.err.contains("created an identity"), "{put:?}");
    let b = a.twin("b");
    assert_eq!(b.good(&["get", "notes", "greeting"]), "{\"hi\": 1}\n");
    b.good(&["put", "notes", "second", "2"]);
    assert_eq!(a.good(&["ls", "notes"]), "greeting\nsecond\n");
    assert_eq!(a.good(&["ls"]), "notes\n");
    assert_eq!(a.good(&["history", "notes", "second"]).lines().count(), 1);
    b.good(&["rm", "notes", "second"]);
    b.good(&["erase", "notes", "greeting", "--yes"]);
    assert_eq!(a.good(&["ls", "notes"]), "");
    a.good(&["compact", "notes", "--before", "2"]);
    a.good(&["scrub"]);
    assert_eq!(a.good(&["log", "notes"]), b.good(&["log", "notes"]));
    assert_eq!(a.good(&["verify", "notes"]), b.good(&["verify", "notes"]));
}

#[test]
fn an_import_at_a_node_is_exported_elsewhere_and_may_be_repeated() {
    let place = Place::new();
    let node = Node::start(&place, &[]);
    let a = Client::new(&place, "a", &node.url);
    let file = place.file("input.ndjson", documents(300));
    let import = ["import", "shop", &file, "--key", "id", "--per-commit", "40"];
    a.good(&import);
    let b = a.twin("b");
    assert_eq!(b.good(&["export", "shop"]), documents(300));
    let again = json_lines(&b.good(&[&import[..], &["--json"]].concat()));
    assert_eq!(again[0]["written"], 0);
}

#[test]
fn a_chain_that_is_not_there_is_not_made_by_reading() {
    let place = Place::new();
    let node = Node::start(&place, &[]);
    let a = Client::new(&place, "a", &node.url);
    for args in [
        &["get", "typo", "x"][..],
        &["ls", "typo"],
        &["rm", "typo", "x"],
        &["replicate", "typo", "--once"],
    ] {
        a.ate(args).failed(1, &["no chain `typo`"]);
    }
    assert_eq!(a.good(&["ls"]), "");
    a.ate(&["get", "ate://127.0.0.1/x", "y"])
        .failed(2, &["not the name of a chain", "--url"]);
    let bad = Client::new(&place, "a", "http://127.0.0.1:1");
    bad.ate(&["ls"])
        .failed(2, &["does not begin with `ate://`"]);
}

#[test]
fn without_its_node_a_chain_is_read_and_a_commit_waits_until_the_node_is_back() {
    let place = Place::new();
    let mut node = Node::start(&place, &[]);
    let a = Client::new(&place, "a", &node.url);
    a.good(&["put", "notes", "greeting", "1"]);
    let b = a.twin("b");
    b.good(&["get", "notes", "greeting"]);
    node.kill();
    let read = a.ate(&["get", "notes", "greeting", "--wait", "0.3"]);
    assert_eq!((read.code, &*read.out), (0, "1\n"), "{read:?}");
    assert!(read.err.contains("this is what is here"), "{read:?}");
    a.ate(&["put", "notes", "later", "2", "--wait", "0.3"])
        .failed(5, &["staged", "`ate status notes`"]);
    // The store that wrote it sees it already.
    assert_eq!(a.good(&["ls", "notes", "--wait", "0"]), "greeting\nlater\n");
    let status = json_lines(&a.good(&["status", "--json", "--wait", "0.3"]));
    assert_eq!(
        status[0]["staged"].as_array().map(Vec::len),
        Some(1),
        "{status:?}"
    );
    assert_eq!(status[0]["staged"][0]["durable"], true);
    assert_eq!(status[0]["in_sync"], false);
    assert_eq!(status[0]["link"], "down");
    let unknown = Client::new(&place, "c", &node.url);
    unknown
        .ate(&["get", "notes", "greeting", "--wait", "0.3"])
        .failed(1, &["cannot be reached", "ate serve"]);

    let node = Node::again(&place, node.place);
    a.good(&["replicate", "notes", "--once"]);
    let status = json_lines(&a.good(&["status", "notes", "--json"]));
    assert_eq!(
        status[0]["staged"].as_array().map(Vec::len),
        Some(0),
        "{status:?}"
    );
    assert_eq!(status[0]["in_sync_signed"], true, "{status:?}");
    assert!(a.good(&["status"]).contains("in sync, signed"));
    assert_eq!(b.good(&["get", "notes", "later"]), "2\n");
    drop(node);
}

#[test]
fn only_those_who_are_allowed_connect_and_a_wrong_key_is_told() {
    let place = Place::new();
    let a = Client::new(&place, "a", "");
    a.good(&["put", "own", "x", "1"]);
    let id = json_lines(&a.good(&["identity", "show", "--json"]))[0]["id"].clone();
    let key = id.as_str().expect("a key").to_owned();
    let node = Node::start(&place, &["--allow", &key]);
    let a = Client::new(&place, "a", &node.url);
    a.good(&["put", "notes", "x", "1"]);
    let other = Client::new(&place, "other", &node.url);
    other
        .ate(&["put", "notes", "x", "1"])
        .failed(1, &["may not connect", "--allow"]);
    let (_, at) = node.url.split_once('@').expect("an address");
    let wrong = Client::new(&place, "wrong", &format!("ate://{}@{at}", "1".repeat(64)));
    wrong
        .ate(&["get", "notes", "x"])
        .failed(1, &["another key", "first line"]);
    let none = Client::new(&place, "none", &format!("ate://{at}"));
    none.ate(&["get", "notes", "x"])
        .failed(1, &["FIRST USE", "first line", "may not connect"]);
}

#[test]
fn who_was_granted_nothing_learns_neither_names_nor_contents() {
    const NAME: &str = "name-of-a-secret-record";
    const CONTENT: &str = "content-of-a-secret-record";
    let place = Place::new();
    let node = Node::start(&place, &[]);
    let a = Client::new(&place, "a", &node.url);
    a.good(&["put", "notes", NAME, &format!("{{\"it\": \"{CONTENT}\"}}")]);
    let id = json_lines(&a.good(&["identity", "show", "--json"]))[0]["id"].clone();
    let chain = format!("{}/notes", id.as_str().expect("a key"));
    let stranger = Client::new(&place, "stranger", &node.url);
    let mut said = String::new();
    for args in [
        &["ls", &chain][..],
        &["get", &chain, NAME],
        &["export", &chain],
        &["log", &chain],
        &["log", &chain, "--json"],
        &["history", &chain, NAME],
        &["verify", &chain],
        &["status"],
    ] {
        let ended = stranger.ate(args);
        assert!(
            !ended.out.contains(CONTENT) && !ended.err.contains(CONTENT),
            "{ended:?}"
        );
        // What it guessed itself it may be told again, that it does not find it.
        let guessed = args.contains(&NAME);
        assert!(!ended.out.contains(NAME), "{ended:?}");
        assert!(guessed || !ended.err.contains(NAME), "{ended:?}");
        said += &ended.out;
    }
    let denied = stranger.ate(&["put", &chain, "mine", "1"]);
    assert_ne!(denied.code, 0, "{denied:?}");
    for dir in [&stranger.dir, node.dir()] {
        for file in files(dir) {
            let bytes = std::fs::read(&file).expect("readable");
            for secret in [NAME, CONTENT] {
                let is_there = bytes
                    .windows(secret.len())
                    .any(|part| part == secret.as_bytes());
                assert!(!is_there, "{secret} stands in {}", file.display());
            }
        }
    }
    assert_eq!(a.good(&["ls", "notes"]), format!("{NAME}\n"), "{said}");
}

pub(crate) fn files(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[cfg(unix)]
#[test]
fn a_copy_is_kept_up_to_date_and_read_beside_the_process_that_keeps_it() {
    let place = Place::new();
    let mut node = Node::start(&place, &[]);
    let a = Client::new(&place, "a", &node.url);
    a.good(&["put", "notes", "one", "1"]);
    let b = a.twin("b");
    let mut keeper = b.start(&["replicate", "notes", "--json"]);
    let mut lines = BufReader::new(keeper.child().stdout.take().expect("piped")).lines();
    let mut until = |standing: &str| loop {
        let line = lines.next().expect("a line").expect("readable");
        let shown = json_lines(&line).remove(0);
        if shown["standing"] == standing {
            return shown;
        }
    };
    until("in_sync");
    a.good(&["put", "notes", "two", "2"]);
    for _ in 0..400 {
        let read = b.ate(&["get", "notes", "two"]);
        assert!(read.err.contains("another process"), "{read:?}");
        if read.code == 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    assert_eq!(b.good(&["get", "notes", "two"]), "2\n");
    let status = json_lines(&b.good(&["status", "--json"]));
    assert_eq!(status[0]["link"], "unknown");
    b.ate(&["put", "notes", "three", "3"])
        .failed(1, &["open for writing", "wait for the other process"]);
    b.ate(&["get", "others", "x"])
        .failed(1, &["no copy of chain `others`"]);
    assert_eq!(node.terminate(), Some(0));
    until("unreached");
    interrupt(keeper.child());
    let ended = keeper.ended();
    assert_eq!(ended.code, 0, "{ended:?}");
    let log = std::fs::read_to_string(place.path("node.log")).expect("a log");
    assert!(log.contains("INFO") && log.contains("shut down"), "{log}");
}

#[test]
fn a_watch_shows_what_comes_through_the_node() {
    let place = Place::new();
    let node = Node::start(&place, &[]);
    let a = Client::new(&place, "a", &node.url);
    a.good(&["put", "notes", "one", "1"]);
    let b = a.twin("b");
    let watch = b.start(&["watch", "notes", "--from", "0", "--count", "2", "--json"]);
    a.good(&["put", "notes", "two", "2"]);
    let seen = json_lines(&watch.ended().good());
    let names: Vec<_> = seen
        .iter()
        .filter_map(|change| change["name"].as_str())
        .collect();
    assert_eq!(names, ["one", "two"]);
}

#[test]
fn contents_that_were_left_at_the_node_are_fetched_when_they_are_read() {
    let place = Place::new();
    let mut node = Node::start(&place, &[]);
    let a = Client::new(&place, "a", &node.url);
    a.good(&["put", "notes", "one", "\"first content\""]);
    a.good(&["put", "notes", "two", "\"second content\""]);
    let b = a.twin("b");
    b.good(&["replicate", "notes", "--lazy", "--once"]);
    assert_eq!(b.good(&["get", "notes", "one"]), "\"first content\"\n");
    node.kill();
    // What was read once is here.
    assert_eq!(
        b.here(&["get", "notes", "one"]).good(),
        "\"first content\"\n"
    );
    b.here(&["get", "notes", "two", "--wait", "0.3"])
        .failed(1, &["not held here"]);
}

#[cfg(unix)]
#[test]
fn a_node_that_went_back_is_found_out_and_the_evidence_kept() {
    let place = Place::new();
    let mut node = Node::start(&place, &[]);
    let a = Client::new(&place, "a", &node.url);
    a.good(&["put", "notes", "one", "1"]);
    assert_eq!(node.terminate(), Some(0));
    let old = place.path("old");
    copy_dir(node.dir(), &old);
    let mut node = Node::again(&place, node.place);
    a.good(&["put", "notes", "two", "2"]);
    let shown = json_lines(&a.good(&["replicate", "notes", "--once", "--json"]));
    assert_eq!(shown.last().expect("a line")["signed"], true, "{shown:?}");
    assert_eq!(node.terminate(), Some(0));
    node.put_back(&old);
    let node = Node::again(&place, node.place);
    a.ate(&["get", "notes", "two"])
        .failed(4, &["another history", "evidence"]);
    a.ate(&["put", "notes", "three", "3"])
        .failed(4, &["another history", "evidence"]);
    let status = json_lines(&a.good(&["status", "--json"]));
    assert!(status[0]["diverged"].is_string(), "{status:?}");
    let evidence = status[0]["evidence"].as_str().expect("a file");
    assert!(std::fs::read_to_string(evidence).is_ok_and(|text| text.contains("ate")));
    // What was proven is still here.
    let read = place.command_in(&a.dir, &["get", "notes", "one"]).output();
    assert_eq!(
        crate::support::Ended::of(read.expect("it runs")).good(),
        "1\n"
    );
    drop(node);
}
