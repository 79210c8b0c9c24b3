//! `backup` and `restore`.

use crate::support::{Place, documents, json_lines};

fn import(place: &Place, name: &str, count: usize) {
    let file = place.file("lines", documents(count));
    place.good(&["import", name, &file, "--key", "id", "--per-commit", "50"]);
}

#[test]
fn a_store_comes_back_from_its_backup() {
    let place = Place::new();
    import(&place, "shop", 300);
    let first = place.ate(&["backup", "copy"]);
    assert!(
        first.err.contains("identity is NOT in the backup"),
        "{first:?}"
    );
    let text = first.good();
    for says in [
        "copy: a backup to file",
        "copied",
        "kept        0 files",
        "shop",
        "position",
    ] {
        assert!(text.contains(says), "`{says}` is not in {text}");
    }
    place.good(&["put", "shop", "later", "1"]);
    let second = json_lines(&place.good(&["backup", "copy", "--json"]));
    let position = second[0]["chains"][0]["position"].clone();
    assert!(position.as_u64() > Some(6), "{second:?}");

    let restored = place.ate(&["--dir", "new", "restore", "copy"]);
    assert!(
        restored.err.contains("there is no identity in new"),
        "{restored:?}"
    );
    assert!(
        restored
            .good()
            .contains("every chain and every body verified")
    );
    place
        .ate(&["--dir", "new", "get", "shop", "later"])
        .failed(1, &["lost its identity"]);

    let words = place.good(&["identity", "export", "--yes"]);
    let import = ["--dir", "new", "identity", "import", "-"];
    place.ate_with(&import, words).good();
    assert_eq!(place.good(&["--dir", "new", "get", "shop", "later"]), "1\n");
    place.good(&["--dir", "new", "put", "shop", "new", "2"]);
    place.good(&["--dir", "new", "verify", "--deep"]);

    let identity = place.store().join("identity");
    let identity = identity.to_str().expect("UTF-8");
    let args = [
        "--dir",
        "other",
        "restore",
        "copy",
        "--identity",
        identity,
        "--json",
    ];
    let shown = json_lines(&place.good(&args));
    assert_eq!(shown[0]["chains"][0]["position"], position);
    assert_eq!(
        place.good(&["--dir", "other", "export", "shop"]),
        place.good(&["export", "shop"])
    );
}

#[test]
fn a_store_is_never_overwritten() {
    let place = Place::new();
    import(&place, "shop", 50);
    place.good(&["backup", "copy", "--with-identity"]);
    place.good(&["--dir", "copy", "get", "shop", "1"]);
    place
        .ate(&["--dir", "copy", "put", "shop", "x", "1"])
        .failed(1, &["is a backup"]);
    place
        .ate(&["restore", "copy"])
        .failed(4, &["same history as the backup"]);
    place.good(&["put", "shop", "later", "1"]);
    place
        .ate(&["restore", "copy"])
        .failed(4, &["newer than the backup"]);
    place.good(&["--dir", "stranger", "put", "shop", "x", "1"]);
    place
        .ate(&["--dir", "stranger", "backup", "copy"])
        .failed(4, &["backup of another store"]);
    place
        .ate(&["--dir", "stranger", "restore", "copy"])
        .failed(4, &["holds a store"]);
    let data = place.store();
    place
        .ate(&["--dir", "stranger", "backup", data.to_str().expect("UTF-8")])
        .failed(4, &["holds a store"]);
    place
        .ate(&["--dir", "nowhere", "backup", "copy"])
        .failed(1, &["no store in nowhere"]);
    place
        .ate(&["--dir", "new", "restore", "nowhere"])
        .failed(1, &["no backup in nowhere"]);
}

#[test]
fn damage_in_a_backup_is_named_and_makes_no_store() {
    let place = Place::new();
    import(&place, "shop", 200);
    place.good(&["backup", "copy"]);
    let path = place.path("copy").join("log-00000001.seg");
    let mut bytes = std::fs::read(&path).expect("readable");
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).expect("writable");
    let ended = place.ate(&["--dir", "new", "restore", "copy"]);
    ended.failed(3, &["log-00000001.seg", "missing or damaged"]);
    place
        .ate(&["--dir", "new", "put", "shop", "x", "1"])
        .failed(1, &["was not finished"]);
    std::fs::remove_file(&path).expect("removable");
    place.good(&["backup", "copy"]);
    place.good(&["--dir", "new", "restore", "copy"]);
}

#[test]
fn a_damaged_store_is_mended_from_its_backup() {
    let place = Place::new();
    import(&place, "shop", 300);
    place.good(&["backup", "copy"]);
    let exported = place.good(&["export", "shop"]);
    let path = place.store().join("log-00000001.seg");
    let mut bytes = std::fs::read(&path).expect("readable");
    for part in [3, 5] {
        let at = bytes.len() * part / 10;
        bytes[at] ^= 1;
    }
    std::fs::write(&path, &bytes).expect("writable");
    assert_eq!(place.ate(&["verify"]).code, 3);
    let text = place.good(&["repair", "--from", "copy"]);
    for says in [
        "mended      log-00000001.seg",
        "kept        damaged-log-00000001.seg",
        "verified    shop to position",
    ] {
        assert!(text.contains(says), "`{says}` is not in {text}");
    }
    assert_eq!(place.good(&["export", "shop"]), exported);
    place.good(&["put", "shop", "later", "1"]);
    place.good(&["verify", "--deep"]);
    let again = place.good(&["repair", "--from", "copy", "--discard"]);
    assert!(again.contains("nothing was mended"), "{again}");
    assert!(
        again.contains("discarded   damaged-log-00000001.seg"),
        "{again}"
    );

    // What was written after the backup is in no other copy.
    let mut bytes = std::fs::read(&path).expect("readable");
    let at = bytes.len() - 300;
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).expect("writable");
    let ended = place.ate(&["repair", "--from", "copy"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(
        ended.out.contains("missing     file log-00000001.seg"),
        "{ended:?}"
    );
    assert!(ended.err.contains("still damaged"), "{ended:?}");
    place.good(&["--dir", "stranger", "put", "shop", "x", "1"]);
    place
        .ate(&["--dir", "stranger", "repair", "--from", "copy"])
        .failed(4, &["backup of another store"]);
}
