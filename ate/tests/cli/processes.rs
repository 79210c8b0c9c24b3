//! More than one process on a store, and Ctrl-C.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout};

#[cfg(unix)]
use crate::support::interrupt;
use crate::support::{Ended, Place, documents, json_lines};

/// An import that holds the store open for writing and waits for more input.
struct Writer {
    child: Child,
    input: ChildStdin,
    acks: BufReader<ChildStdout>,
}

impl Writer {
    /// Ten of fifteen records are in when this returns.
    fn start(place: &Place) -> Self {
        let mut child = place.start(&[
            "import",
            "shop",
            "-",
            "--key",
            "id",
            "--per-commit",
            "10",
            "--acks",
        ]);
        let mut input = child.stdin.take().expect("it is piped");
        let acks = BufReader::new(child.stdout.take().expect("it is piped"));
        // Enough that the reader's chunk is full and handed over.
        input
            .write_all(documents(600).as_bytes())
            .expect("it reads");
        input.flush().expect("it reads");
        let mut writer = Self { child, input, acks };
        writer.ack();
        writer
    }

    fn ack(&mut self) -> u64 {
        let mut line = String::new();
        self.acks.read_line(&mut line).expect("an ack");
        let records = line
            .split_whitespace()
            .next_back()
            .and_then(|word| word.parse().ok());
        records.unwrap_or_else(|| panic!("not an ack: {line:?}"))
    }
}

#[test]
fn readers_work_beside_a_writer_and_a_second_writer_is_told() {
    let place = Place::new();
    let writer = Writer::start(&place);
    for args in [
        &["get", "shop", "3"][..],
        &["ls"],
        &["ls", "shop"],
        &["log", "shop"],
        &["history", "shop", "3"],
        &["export", "shop"],
        &["verify"],
        &["info"],
    ] {
        let out = place.good(args);
        assert!(!out.is_empty(), "{args:?}");
    }
    let info = json_lines(&place.good(&["info", "--json"]));
    assert_eq!(info[0]["written_by_another_process"], true);
    for args in [&["put", "shop", "a", "1"][..], &["rm", "shop", "3"]] {
        place
            .ate(args)
            .failed(1, &["open for writing", "wait for the other process"]);
    }
    drop(writer.input);
    let ended = Ended::of(writer.child.wait_with_output().expect("it ends"));
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(place.good(&["export", "shop"]), documents(600));
    let info = json_lines(&place.good(&["info", "--json"]));
    assert_eq!(info[0]["written_by_another_process"], false);
}

#[cfg(unix)]
#[test]
fn the_first_interrupt_ends_an_import_with_everything_acknowledged_in() {
    let place = Place::new();
    let mut writer = Writer::start(&place);
    interrupt(&writer.child);
    let mut acknowledged = 10;
    let mut line = String::new();
    while writer.acks.read_line(&mut line).expect("readable") > 0 {
        acknowledged = line
            .split_whitespace()
            .next_back()
            .and_then(|word| word.parse().ok())
            .expect("an ack");
        line.clear();
    }
    let ended = Ended::of(writer.child.wait_with_output().expect("it ends"));
    drop(writer.input);
    assert_eq!(ended.code, 1, "{ended:?}");
    let says = format!("the first {acknowledged} records of the input are in");
    assert!(
        ended.err.contains("interrupted") && ended.err.contains(&says),
        "{ended:?}"
    );
    assert_eq!(place.good(&["export", "shop"]), documents(acknowledged));
    place.good(&["verify", "--deep"]);
}

#[cfg(unix)]
#[test]
fn a_follower_sees_what_another_process_writes() {
    let place = Place::new();
    place.good(&["put", "universe", "a", "1"]);
    let mut follower = place.start(&["log", "universe", "--follow", "--json"]);
    let mut lines = BufReader::new(follower.stdout.take().expect("it is piped")).lines();
    let mut next = || {
        let line = lines.next().expect("a line").expect("readable");
        json_lines(&line).remove(0)
    };
    let known = json_lines(&place.good(&["log", "universe", "--json"]));
    for commit in &known {
        assert_eq!(next(), *commit);
    }
    place.good(&["put", "universe", "b", "2"]);
    let followed = next();
    assert_eq!(followed["position"], known.len() + 1);
    assert!(followed.to_string().contains("\"b\""), "{followed}");
    interrupt(&follower);
    assert_eq!(follower.wait().expect("it ends").code(), Some(0));
}

#[test]
fn the_log_tells_what_changed() {
    let place = Place::new();
    place.good(&["put", "universe", "a", "1"]);
    place.good(&["put", "universe", "a", "2"]);
    place.good(&["rm", "universe", "a"]);
    let log = place.good(&["log", "universe"]);
    assert!(log.contains("genesis"), "{log}");
    assert!(
        log.contains("update a") && log.contains("remove a"),
        "{log}"
    );
    let log = json_lines(&place.good(&["log", "universe", "--json"]));
    for commit in &log {
        assert!(
            commit["root"].is_string() && commit["head_bytes"].as_u64() > Some(0),
            "{commit}"
        );
    }
}
