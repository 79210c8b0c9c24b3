//! `put`, `get`, `ls`, `rm`, `history`, and what they refuse.

use ate::prelude::*;

use crate::support::{Ended, Place, json_lines};

#[derive(Debug, Clone, Serialize, Deserialize, Record)]
#[record(name = "world")]
struct World {
    commandment: String,
}

/// Puts a typed record as a program does.
fn put_typed(place: &Place, name: &str) {
    let store = Store::open(place.store()).wait().expect("the store opens");
    let chain = store.chain("universe").wait().expect("the chain opens");
    let world = World {
        commandment: "Hello".into(),
    };
    chain
        .put(name, world)
        .wait()
        .expect("the record is written");
    store.close().wait().expect("the store closes");
}

#[test]
fn the_first_put_creates_and_says_what_to_take_care_of() {
    let place = Place::new();
    let put = place.ate(&["put", "universe", "greeting", r#"{"hi": 1}"#]);
    assert_eq!((put.code, put.out.as_str()), (0, ""), "{put:?}");
    for part in [
        "created chain `universe`",
        "created an identity in",
        "loses",
        "export --yes",
    ] {
        assert!(put.err.contains(part), "`{part}` is not in {put:?}");
    }
    let second = place.ate(&["put", "universe", "greeting", r#"{"hi": 2}"#]);
    assert_eq!(second.code, 0);
    assert!(!second.err.contains("created"), "{second:?}");
}

#[test]
fn a_document_comes_back_byte_for_byte() {
    let place = Place::new();
    let text = "{ \"b\" : 1.50,\n  \"a\":[1e3,-0,\"\\u00e9\"] }";
    place.good(&["put", "universe", "odd", text]);
    assert_eq!(place.good(&["get", "universe", "odd"]), format!("{text}\n"));
    let shown = json_lines(&place.good(&["get", "universe", "odd", "--json"]));
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0]["type"], "json");
    assert_eq!(shown[0]["name"], "odd");
    assert_eq!(shown[0]["value"]["b"], 1.5);
    assert!(
        place
            .good(&["get", "universe", "odd", "--json"])
            .contains("1.50")
    );
}

#[test]
fn put_reads_standard_input() {
    let place = Place::new();
    let text = "{\n\t\"a\": 1\n}\n";
    assert_eq!(place.ate_with(&["put", "universe", "a"], text).code, 0);
    assert_eq!(place.good(&["get", "universe", "a"]), text);
    let again = place.ate_with(&["put", "universe", "a", "--if-absent"], text);
    again.failed(4, &["exists"]);
    place.good(&["put", "universe", "n", "-1.5e3"]);
    assert_eq!(place.good(&["get", "universe", "n"]), "-1.5e3\n");
}

#[test]
fn conditions_are_kept() {
    let place = Place::new();
    place.good(&["put", "universe", "a", "1", "--if-absent"]);
    place
        .ate(&["put", "universe", "a", "2", "--if-absent"])
        .failed(4, &["`a`", "`universe`", "exists"]);
    let version = version_of(&place, "a");
    place.good(&["put", "universe", "a", "2", "--if-version", &version]);
    place
        .ate(&["put", "universe", "a", "3", "--if-version", &version])
        .failed(4, &["`a`", &version]);
    assert_eq!(place.good(&["get", "universe", "a"]), "2\n");
    let usage = place.ate(&["put", "universe", "a", "3", "--if-version", "new"]);
    assert_eq!(usage.code, 2);
    assert!(usage.err.contains("COMMIT.EVENT"), "{usage:?}");
}

fn version_of(place: &Place, name: &str) -> String {
    let shown = json_lines(&place.good(&["get", "universe", name, "--json"]));
    shown[0]["version"].as_str().expect("a version").to_owned()
}

#[test]
fn typed_records_are_shown_and_not_overwritten() {
    let place = Place::new();
    put_typed(&place, "deep/thought");
    assert_eq!(
        place.good(&["get", "universe", "deep/thought"]),
        "{\"commandment\":\"Hello\"}\n"
    );
    place
        .ate(&["put", "universe", "deep/thought", "{}"])
        .failed(4, &["`deep/thought`", "`world`"]);
    let lines = place.file("lines", "{\"id\": \"deep/thought\"}\n");
    place
        .ate(&["import", "universe", &lines, "--key", "id"])
        .failed(4, &["line 1", "`world`", "nothing was written"]);
    let long = place.good(&["ls", "universe", "--long"]);
    assert!(
        long.contains("world") && long.contains("deep/thought"),
        "{long}"
    );
}

#[test]
fn removed_records_keep_their_history() {
    let place = Place::new();
    place.good(&["put", "universe", "a", "1"]);
    let position = position(&place);
    place.good(&["put", "universe", "a", "2"]);
    let removed = place.ate(&["rm", "universe", "a"]);
    assert_eq!((removed.code, removed.out.as_str()), (0, ""), "{removed:?}");
    place
        .ate(&["get", "universe", "a"])
        .failed(1, &["`a`", "`universe`", "ate ls universe"]);
    place.ate(&["rm", "universe", "a"]).failed(1, &["`a`"]);
    assert_eq!(
        place.good(&["get", "universe", "a", "--at", &position]),
        "1\n"
    );
    place
        .ate(&["get", "universe", "a", "--at", "99"])
        .failed(1, &["no position 99"]);
    let history = json_lines(&place.good(&["history", "universe", "a", "--json"]));
    let live: Vec<_> = history.iter().map(|entry| entry["live"].clone()).collect();
    assert_eq!(live, [false, true, true]);
    assert_eq!(place.good(&["history", "universe", "a"]).lines().count(), 3);
    place
        .ate(&["history", "universe", "never"])
        .failed(1, &["`never`"]);
    place.good(&["put", "universe", "a", "3"]);
    assert_eq!(place.good(&["get", "universe", "a"]), "3\n");
}

fn position(place: &Place) -> String {
    let log = json_lines(&place.good(&["log", "universe", "--json"]));
    let last = log.last().expect("a commit");
    last["position"].to_string()
}

#[test]
fn names_are_listed_by_prefix() {
    let place = Place::new();
    for name in ["b/2", "a/1", "b/1"] {
        place.good(&["put", "universe", name, "{}"]);
    }
    place.good(&["put", "shop", "x", "{}"]);
    assert_eq!(place.good(&["ls"]), "universe\nshop\n");
    assert_eq!(place.good(&["ls", "universe"]), "a/1\nb/1\nb/2\n");
    assert_eq!(place.good(&["ls", "universe", "b/"]), "b/1\nb/2\n");
    assert_eq!(place.good(&["ls", "universe", "c"]), "");
    let chains = json_lines(&place.good(&["ls", "--json"]));
    let id = chains[0]["id"].as_str().expect("an id");
    assert_eq!(
        place.good(&["ls", id, "a"]),
        "a/1\n",
        "a chain may be named by its id"
    );
}

#[test]
fn what_is_not_there_is_named() {
    let place = Place::new();
    for args in [
        &["get", "universe", "a"][..],
        &["ls"],
        &["log", "universe"],
        &["export", "universe"],
        &["verify"],
        &["info"],
        &["identity", "show"],
        &["rm", "universe", "a"],
    ] {
        place.ate(args).failed(1, &["no store in"]);
        assert!(!place.store().exists(), "{args:?} made a directory");
    }
    place.good(&["put", "universe", "a", "1"]);
    for args in [
        &["get", "univers", "a"][..],
        &["ls", "univers"],
        &["log", "univers"],
        &["export", "univers"],
        &["verify", "univers"],
        &["history", "univers", "a"],
        &["rm", "univers", "a"],
    ] {
        place.ate(args).failed(1, &["no chain `univers`", "ate ls"]);
    }
    assert_eq!(place.good(&["ls"]), "universe\n", "reading created a chain");
}

#[test]
fn bad_documents_leave_nothing_behind() {
    let place = Place::new();
    place
        .ate(&["put", "universe", "a", "{\"a\": }"])
        .failed(1, &["not acceptable JSON", "column 7"]);
    place
        .ate(&["put", "universe", "a", "{\"a\":1,\"a\":2}"])
        .failed(1, &["duplicate"]);
    place
        .ate_with(&["put", "universe", "a"], [b'"', 0xff, b'"'])
        .failed(1, &["UTF-8"]);
    let deep = "[".repeat(200) + &"]".repeat(200);
    place
        .ate(&["put", "universe", "a", &deep])
        .failed(1, &["128"]);
    let mut large = vec![b' '; (16 << 20) + 1];
    large[0] = b'1';
    place
        .ate_with(&["put", "universe", "a"], large)
        .failed(1, &["16 MiB"]);
    place
        .ate(&["put", "universe", "", "1"])
        .failed(2, &["name"]);
    place
        .ate(&["put", "universe", "a\nb", "1"])
        .failed(2, &["control"]);
    assert!(!place.store().exists());
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_an_error() {
    let place = Place::new();
    place.good(&["put", "universe", "a", "1"]);
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("it exists");
    let output = place
        .command(&["export", "universe"])
        .stdout(full)
        .output()
        .expect("the command runs");
    Ended::of(output).failed(1, &["cannot write to standard output"]);
}

#[test]
fn a_directory_that_is_a_file_is_said_to_be_one() {
    let place = Place::new();
    let file = place.file("file", "hello");
    for args in [&["ls"][..], &["put", "universe", "a", "1"], &["info"]] {
        let run = place
            .command_in(file.as_ref(), args)
            .output()
            .expect("the command runs");
        Ended::of(run).failed(1, &["not a directory"]);
    }
    assert_eq!(std::fs::read(&file).expect("it is still there"), b"hello");
}

#[test]
fn errors_are_json_when_json_is_asked_for() {
    let place = Place::new();
    let ended = place.ate(&["get", "universe", "a", "--json"]);
    assert_eq!((ended.code, ended.out.as_str()), (1, ""));
    let error = json_lines(&ended.err);
    assert_eq!(error[0]["exit"], 1);
    assert_eq!(error[0]["kind"], "failed");
    assert!(error[0]["next"].is_string());
}

#[test]
fn writes_answer_in_json() {
    let place = Place::new();
    let put = json_lines(&place.good(&["put", "universe", "a", "1", "--json"]));
    assert_eq!(put[0]["name"], "a");
    assert!(put[0]["position"].is_u64() && put[0]["version"].is_string());
    assert_eq!(put[0]["version"], version_of(&place, "a").as_str());
    let removed = json_lines(&place.good(&["rm", "universe", "a", "--json"]));
    assert!(removed[0]["root"].is_string());
}

#[test]
fn erase_asks_to_be_meant_and_leaves_nothing_to_read() {
    let place = Place::new();
    for value in ["1", "2"] {
        place.good(&["put", "universe", "secret", value]);
    }
    place.good(&["put", "universe", "other", "3"]);
    let unmeant = place.ate(&["erase", "universe", "secret"]);
    assert_eq!(unmeant.code, 2, "{unmeant:?}");
    assert!(unmeant.err.contains("--yes"), "{unmeant:?}");
    assert_eq!(place.good(&["get", "universe", "secret"]), "2\n");
    let erased = place.ate(&["erase", "universe", "secret", "--yes"]);
    assert_eq!((erased.code, erased.out.as_str()), (0, ""), "{erased:?}");
    assert!(erased.err.contains("erased"), "{erased:?}");
    for args in [
        ["get", "universe", "secret"].as_slice(),
        &["get", "universe", "secret", "--at", "2"],
        &["erase", "universe", "secret", "--yes"],
    ] {
        let gone = place.ate(args);
        assert_eq!(gone.code, 1, "{gone:?}");
        assert!(gone.err.contains("was erased"), "{gone:?}");
    }
    assert_eq!(place.good(&["ls", "universe"]), "other\n");
    let history = place.good(&["history", "universe", "secret"]);
    assert_eq!(history.matches("bytes erased").count(), 2, "{history}");
    assert_eq!(history.matches("  erased").count(), 1, "{history}");
    let log = place.good(&["log", "universe"]);
    assert!(log.contains("erase ") && !log.contains("secret"), "{log}");
    place.good(&["verify", "--deep"]);
    // The name can be used again.
    place.good(&["put", "universe", "secret", "4"]);
    assert_eq!(place.good(&["get", "universe", "secret"]), "4\n");
    let never = place.ate(&["erase", "universe", "never", "--yes"]);
    assert_eq!(never.code, 1, "{never:?}");
}
