//! `ate watch`: changes in order, from a place on, beside a writer, and under a name that is remembered.

#[cfg(unix)]
use std::io::{BufRead as _, BufReader};

#[cfg(unix)]
use crate::support::interrupt;
use crate::support::{Place, json_lines};

/// A chain with five changes of three records.
fn story() -> Place {
    let place = Place::new();
    place.good(&["put", "universe", "in/a", "1"]);
    place.good(&["put", "universe", "out", "2"]);
    place.good(&["put", "universe", "in/a", "{\n\"three\": 3}"]);
    place.good(&["put", "universe", "in/b", "4"]);
    place.good(&["rm", "universe", "in/a"]);
    place
}

#[test]
fn changes_come_in_order_as_they_were() {
    let place = story();
    let watch = |more: &[&str]| {
        let args = [&["watch", "universe", "--from", "0"], more].concat();
        place.good(&args)
    };
    let text = watch(&["--count", "5"]);
    let ends: Vec<&str> = text.lines().map(|line| &line[36..]).collect();
    assert_eq!(
        ends,
        [
            "put         in/a  1",
            "put         out  2",
            "put         in/a  { \"three\": 3}",
            "put         in/b  4",
            "removed     in/a",
        ],
        "{text}"
    );
    let json = json_lines(&watch(&["--json", "--count", "4", "--prefix", "in/"]));
    assert_eq!(json.len(), 4);
    assert_eq!(json[1]["value"]["three"], 3);
    assert_eq!(json[1]["type"], "json");
    assert_eq!(
        (&json[3]["change"], &json[3]["name"]),
        (&"removed".into(), &"in/a".into())
    );
    let positions: Vec<_> = json.iter().map(|line| line["position"].as_u64()).collect();
    assert!(positions.is_sorted(), "{positions:?}");
    let key = json[0]["key"].as_str().expect("a key");
    for record in ["in/a", key] {
        let of_one = watch(&["--record", record, "--count", "3"]);
        assert_eq!(of_one.lines().count(), 3, "{of_one}");
    }
    let from = positions[1].expect("a number").to_string();
    let later = place.good(&["watch", "universe", "--from", &from, "--count", "2"]);
    assert!(
        later.contains("in/b") && !later.contains("three"),
        "{later}"
    );
}

#[test]
fn a_name_goes_on_where_it_ended() {
    let place = story();
    let as_mailer = |count: &str, from: &str| {
        let args = ["watch", "universe", "--as", "mailer", "--from", from];
        place.good(&[&args[..], &["--count", count]].concat())
    };
    assert!(as_mailer("2", "0").ends_with("out  2\n"));
    let then = as_mailer("3", "0");
    assert!(
        then.contains("three") && then.ends_with("removed     in/a\n"),
        "{then}"
    );
    place.good(&["put", "universe", "new", "6"]);
    let new = as_mailer("1", "now");
    assert!(new.ends_with("new  6\n"), "{new}");
    place
        .ate(&["watch", "nothing", "--as", "mailer", "--count", "1"])
        .failed(1, &["no chain `nothing`"]);
}

#[cfg(unix)]
#[test]
fn a_watcher_sees_what_another_process_writes_and_ends_when_it_is_told() {
    let place = story();
    let mut watcher = place.start(&["watch", "universe", "--from", "0", "--type", "json"]);
    let mut lines = BufReader::new(watcher.stdout.take().expect("it is piped")).lines();
    let mut next = || lines.next().expect("a line").expect("readable");
    for _ in 0..5 {
        next();
    }
    place.good(&["put", "universe", "live", "7"]);
    let line = next();
    assert!(line.ends_with("put         live  7"), "{line}");
    interrupt(&watcher);
    assert_eq!(watcher.wait().expect("it ends").code(), Some(0));
}

#[test]
fn what_makes_no_sense_to_watch_is_usage() {
    let place = Place::new();
    for more in [
        &["--from", "yesterday"][..],
        &["--count", "0"],
        &["--prefix", "a", "--record", "b"],
    ] {
        let ended = place.ate(&[&["watch", "universe"], more].concat());
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{ended:?}");
    }
}
