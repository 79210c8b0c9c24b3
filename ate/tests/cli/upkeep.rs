//! `compact` and `scrub`: space comes back, what is current stays, damage is found.

use crate::support::{Place, json_lines};

/// Documents of 4 kB under the same names, other content each time.
fn import(place: &Place, round: usize) {
    let line = |id: usize| {
        let text = format!("{round}-{id}-").repeat(600);
        format!("{{\"id\": {id}, \"text\": \"{text}\"}}\n")
    };
    let lines: String = (0..100).map(line).collect();
    let file = place.file("lines", lines);
    place.good(&["import", "shop", &file, "--key", "id", "--per-commit", "50"]);
}

fn bytes_of_bodies(place: &Place) -> u64 {
    let files = std::fs::read_dir(place.store()).expect("the store is a directory");
    files
        .map(|file| file.expect("readable"))
        .filter(|file| file.file_name().to_string_lossy().starts_with("bodies-"))
        .map(|file| file.metadata().expect("readable").len())
        .sum()
}

#[test]
fn what_was_replaced_before_the_horizon_goes_and_what_is_current_stays() {
    let place = Place::new();
    for round in 0..4 {
        import(&place, round);
    }
    let exported = place.good(&["export", "shop"]);
    place.good(&["compact"]);
    let sealed = bytes_of_bodies(&place);
    assert!(sealed > 900_000, "four times 240 kB: {sealed}");
    let position = json_lines(&place.good(&["verify", "--json"]))[0]["position"].to_string();
    place
        .ate(&["compact", "shop", "--before", "99999"])
        .failed(2, &["the chain ends at position"]);
    let shown = json_lines(&place.good(&["compact", "shop", "--before", &position, "--json"]));
    assert_eq!(shown[0]["dropped"], 300, "{shown:?}");
    let left = bytes_of_bodies(&place);
    assert!(left < sealed / 3, "{left} of {sealed} bytes are left");
    assert_eq!(place.good(&["export", "shop"]), exported);
    place.good(&["verify", "--deep"]);
    place.good(&["scrub"]);
    let again = json_lines(&place.good(&["compact", "--json"]));
    assert_eq!(again[0]["bytes_returned"], 0, "{again:?}");
    let old = place.ate(&["get", "shop", "7", "--at", "3"]);
    assert!(
        old.code != 0 && old.err.contains("superseded before position"),
        "{old:?}"
    );
    let wrong = place.ate(&["compact", "--older-than", "soon"]);
    assert_eq!(wrong.code, 2, "{wrong:?}");
    assert!(
        wrong.err.contains("is not a number followed by"),
        "{wrong:?}"
    );
}

#[test]
fn an_erased_document_leaves_the_disk() {
    let place = Place::new();
    import(&place, 0);
    place
        .ate_with(&["put", "shop", "secret"], "\"the plums in the icebox\"")
        .good();
    place.good(&["erase", "shop", "secret", "--yes"]);
    place.good(&["verify", "--deep"]);
    let verified = json_lines(&place.good(&["verify", "--json"]));
    assert_eq!(
        verified[0]["erased"], 2,
        "its name and its content: {verified:?}"
    );
    let gone = place.ate(&["get", "shop", "secret"]);
    assert_eq!(gone.code, 1, "{gone:?}");
}

#[test]
fn scrub_names_every_damaged_place() {
    let place = Place::new();
    import(&place, 0);
    place.good(&["compact"]);
    place.good(&["scrub", "--rate", "1000"]);
    let bodies = place.store().join("bodies-00000001-00-0001.seg");
    let mut bytes = std::fs::read(&bodies).expect("there are sealed bodies");
    let (first, last) = (bytes.len() / 10, bytes.len() * 9 / 10);
    bytes[first] ^= 1;
    bytes[last] ^= 1;
    std::fs::write(&bodies, &bytes).expect("writable");
    let ended = place.ate(&["scrub"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.out.contains("2 places"), "{ended:?}");
    assert_eq!(ended.err.matches("in segment 1").count(), 2, "{ended:?}");
    assert!(ended.err.contains("repair --from"), "{ended:?}");
}
