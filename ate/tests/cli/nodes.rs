//! Whom a store knows, as a person sees and changes it.

use crate::support::{Place, json_lines};

const ONE: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const TWO: &str = "2222222222222222222222222222222222222222222222222222222222222222";

#[test]
fn a_pinned_node_is_listed_and_can_be_forgotten() {
    let place = Place::new();
    assert_eq!(place.good(&["nodes", "ls"]), "");
    let pinned = place.ate(&[
        "nodes",
        "pin",
        &format!("ate://{ONE}@DB.example"),
        "--note",
        "by phone",
    ]);
    assert_eq!(pinned.code, 0, "{pinned:?}");
    assert!(
        pinned.err.contains("pinned db.example:4433"),
        "{}",
        pinned.err
    );
    let listed = place.good(&["nodes", "ls"]);
    assert!(
        listed.starts_with(&format!("db.example:4433  {ONE}  2")),
        "{listed}"
    );
    assert!(listed.ends_with("Z  by phone\n"), "{listed}");
    let again = place.ate(&["nodes", "pin", &format!("ate://{TWO}@db.example")]);
    assert!(
        again.err.contains(ONE),
        "it says what was replaced: {}",
        again.err
    );
    let shown = json_lines(&place.good(&["nodes", "ls", "--json"]));
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0]["address"], "db.example:4433");
    assert_eq!(shown[0]["node"], TWO);
    assert_eq!(shown[0]["note"], "pinned");
    place.good(&["nodes", "forget", "db.example"]);
    let gone = place.ate(&["nodes", "forget", "db.example:4433"]);
    assert_eq!(gone.code, 1, "{gone:?}");
    assert!(gone.err.contains("next: `ate nodes ls`"), "{}", gone.err);
}

#[test]
fn a_name_is_pinned_to_its_chain() {
    let place = Place::new();
    place.good(&["put", "universe", "a", "1"]);
    let url = format!("ate://{ONE}@h/my%20shop?id={TWO}");
    let pinned = place.ate(&["nodes", "pin", &url]);
    assert_eq!(pinned.code, 0, "{pinned:?}");
    assert!(
        pinned
            .err
            .contains(&format!("pinned `my shop` to chain {TWO}")),
        "{}",
        pinned.err
    );
    let identity = json_lines(&place.good(&["identity", "show", "--json"]));
    let shown = json_lines(&place.good(&["nodes", "ls", "--names", "--json"]));
    assert_eq!(shown.len(), 2);
    assert_eq!(shown[1]["name"], "my shop");
    assert_eq!(
        shown[1]["root"], identity[0]["id"],
        "without a root it is the own one"
    );
    assert_eq!(shown[1]["chain"], TWO);
    place.good(&["nodes", "forget", "ate://h/my%20shop"]);
    assert_eq!(
        json_lines(&place.good(&["nodes", "ls", "--names", "--json"])).len(),
        1
    );
}

#[test]
fn an_address_that_makes_no_sense_is_usage_with_a_remedy() {
    let place = Place::new();
    for (address, remedy) in [
        ("ate://h:0", "1 to 65535"),
        ("ate://xyz@h", "64 hex digits"),
        ("http://h", "ate://NODE@host:port"),
        ("ate://h/a b", "encoded form"),
    ] {
        let refused = place.ate(&["nodes", "pin", address]);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.err.contains(remedy), "{}", refused.err);
    }
    let refused = place.ate(&["nodes", "pin", "ate://h"]);
    assert!(refused.err.contains("names no key"), "{refused:?}");
    let refused = place.ate(&["nodes", "pin", "ate://h/c"]);
    assert_eq!(refused.code, 2, "{refused:?}");
}

#[test]
fn a_damaged_list_is_told_with_its_line() {
    let place = Place::new();
    place.good(&["nodes", "pin", &format!("ate://{ONE}@h")]);
    let file = place.store().join("known-nodes");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("h:4433", "h:x")).unwrap();
    for args in [
        &["nodes", "ls"][..],
        &["nodes", "forget", "h"],
        &["nodes", "pin", &format!("ate://{ONE}@g")],
    ] {
        let ended = place.ate(args);
        assert_eq!(ended.code, 3, "{ended:?}");
        assert!(
            ended.err.contains("known-nodes is damaged in line 2"),
            "{}",
            ended.err
        );
        assert!(ended.err.contains("next: mend that line"), "{}", ended.err);
    }
    // A store reads and writes its own chains all the same.
    place.good(&["put", "universe", "a", "1"]);
    place.good(&["get", "universe", "a"]);
}

#[test]
fn the_log_level_is_checked() {
    let place = Place::new();
    let refused = place.ate(&["ls", "--log-level", "loud"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(
        refused.err.contains("`loud` is no level") && refused.err.contains("--log-level"),
        "{}",
        refused.err
    );
    place.good(&[
        "nodes",
        "ls",
        "--log-level",
        "debug",
        "--log-format",
        "json",
    ]);
}
