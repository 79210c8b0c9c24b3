//! `identity`: save, restore, seal.

use crate::support::{Ended, Place, json_lines};

fn put(place: &Place) {
    place.good(&["put", "universe", "a", "1"]);
}

/// With a passphrase in the environment.
fn with(place: &Place, passphrase: &str, args: &[&str]) -> Ended {
    let output = place
        .command(args)
        .env("ATE_PASSPHRASE", passphrase)
        .output()
        .expect("the command runs");
    Ended::of(output)
}

#[test]
fn the_words_restore_the_identity() {
    let place = Place::new();
    put(&place);
    place
        .ate(&["identity", "export"])
        .failed(2, &["--yes", "secret"]);
    let words = place.good(&["identity", "export", "--yes"]);
    assert_eq!(words.split_whitespace().count(), 24);
    place
        .ate_with(&["identity", "import", "-"], &words)
        .failed(4, &["already"]);
    let shown = place.good(&["identity", "show"]);
    let other = Place::new();
    assert_eq!(other.ate_with(&["identity", "import", "-"], &words).code, 0);
    let restored = other.good(&["identity", "show", "--json"]);
    let id = json_lines(&restored)[0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert!(shown.contains(&id), "{shown} {id}");
    // The restored identity reads what the first one wrote.
    let log = place.store();
    std::fs::copy(other.store().join("identity"), log.join("identity")).expect("it can be copied");
    assert_eq!(place.good(&["get", "universe", "a"]), "1\n");
}

#[test]
fn wrong_words_are_refused() {
    let place = Place::new();
    for words in [
        "",
        "abandon abandon",
        &"zoo ".repeat(24),
        &"kryptonite ".repeat(24),
    ] {
        place
            .ate_with(&["identity", "import", "-"], words)
            .failed(1, &["words"]);
    }
    assert!(!place.store().join("identity").exists());
}

#[test]
fn a_passphrase_seals_and_unseals() {
    let place = Place::new();
    put(&place);
    place
        .ate(&["identity", "passphrase", "set"])
        .failed(1, &["ATE_PASSPHRASE"]);
    assert_eq!(
        with(&place, "correct horse", &["identity", "passphrase", "set"]).code,
        0
    );
    place
        .ate(&["get", "universe", "a"])
        .failed(1, &["passphrase", "ATE_PASSPHRASE"]);
    with(&place, "wrong", &["get", "universe", "a"]).failed(1, &["passphrase"]);
    assert_eq!(
        with(&place, "correct horse", &["get", "universe", "a"]).good(),
        "1\n"
    );
    let file = place.file("secret", "correct horse\n");
    assert_eq!(
        place.good(&["get", "universe", "a", "--passphrase-file", &file]),
        "1\n"
    );
    // Changed: the old one as ever, the new one from a file.
    let new = place.file("new", "battery staple");
    let change = [
        "identity",
        "passphrase",
        "set",
        "--new-passphrase-file",
        &new,
    ];
    with(&place, "wrong", &change).failed(1, &["passphrase"]);
    assert_eq!(with(&place, "correct horse", &change).code, 0);
    with(&place, "correct horse", &["get", "universe", "a"]).failed(1, &["passphrase"]);
    with(&place, "wrong", &["identity", "passphrase", "clear"]).failed(1, &["passphrase"]);
    assert_eq!(
        with(
            &place,
            "battery staple",
            &["identity", "passphrase", "clear"]
        )
        .code,
        0
    );
    assert_eq!(place.good(&["get", "universe", "a"]), "1\n");
}

#[test]
fn a_store_can_begin_sealed() {
    let place = Place::new();
    assert_eq!(
        with(&place, "correct horse", &["put", "universe", "a", "1"]).code,
        0
    );
    place.ate(&["ls"]).failed(1, &["passphrase"]);
    let shown = json_lines(&with(&place, "correct horse", &["identity", "show", "--json"]).good());
    assert_eq!(shown[0]["sealed"], true);
}

#[cfg(unix)]
#[test]
fn only_the_owner_reads_the_identity() {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |place: &Place| {
        let metadata = std::fs::metadata(place.store().join("identity")).expect("it is there");
        metadata.permissions().mode() & 0o777
    };
    let place = Place::new();
    put(&place);
    assert_eq!(mode(&place), 0o600);
    assert_eq!(
        with(&place, "correct horse", &["identity", "passphrase", "set"]).code,
        0
    );
    assert_eq!(mode(&place), 0o600);
}

#[test]
fn a_lost_identity_is_named_and_not_replaced() {
    let place = Place::new();
    put(&place);
    let words = place.good(&["identity", "export", "--yes"]);
    std::fs::remove_file(place.store().join("identity")).expect("it can be removed");
    for args in [
        &["get", "universe", "a"][..],
        &["put", "universe", "a", "2"],
    ] {
        place
            .ate(args)
            .failed(1, &["has lost its identity", "identity import -"]);
    }
    assert_eq!(place.ate_with(&["identity", "import", "-"], &words).code, 0);
    assert_eq!(place.good(&["get", "universe", "a"]), "1\n");
}
