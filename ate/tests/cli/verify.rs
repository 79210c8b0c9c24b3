//! `verify`: counts of what holds, and the place of what does not.

use std::path::PathBuf;

use crate::support::{Place, documents, json_lines};

/// The largest file of the store: a segment of the log.
fn segment(place: &Place) -> PathBuf {
    let mut dirs = vec![place.store()];
    let mut files = Vec::new();
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).expect("the directory is readable") {
            let entry = entry.expect("the entry is readable");
            let metadata = entry.metadata().expect("it has metadata");
            if metadata.is_dir() {
                dirs.push(entry.path());
            } else {
                files.push((metadata.len(), entry.path()));
            }
        }
    }
    files.into_iter().max().expect("there are files").1
}

fn import(place: &Place, count: usize) {
    let file = place.file("lines", documents(count));
    place.good(&["import", "shop", &file, "--key", "id", "--per-commit", "50"]);
}

#[test]
fn what_holds_is_counted() {
    let place = Place::new();
    import(&place, 500);
    let shallow = json_lines(&place.good(&["verify", "--json"]));
    let deep = json_lines(&place.good(&["verify", "shop", "--deep", "--json"]));
    for shown in [&shallow[0], &deep[0]] {
        assert_eq!(shown["chain"], "shop");
        assert_eq!(shown["position"], shown["commits"]);
        assert!(shown["events"].as_u64() > Some(500), "{shown}");
        assert!(shown["bodies"].as_u64() >= Some(1000), "{shown}");
        assert!(shown["signatures"].as_u64() > Some(0), "{shown}");
    }
    assert_eq!(deep[0]["signatures"], deep[0]["proofs"], "--deep verifies every signature");
    assert_eq!(shallow[0]["root"], deep[0]["root"]);
    let text = place.good(&["verify"]);
    assert!(text.contains("shop: good to position"), "{text}");
}

#[test]
fn a_flipped_bit_is_named_with_its_place() {
    let place = Place::new();
    import(&place, 500);
    let path = segment(&place);
    let good = std::fs::read(&path).expect("the segment is readable");
    for part in [3, 5, 8] {
        let mut bad = good.clone();
        let at = good.len() * part / 10;
        bad[at] ^= 0x10;
        std::fs::write(&path, &bad).expect("the segment is writable");
        let ended = place.ate(&["verify"]);
        assert_eq!(ended.code, 3, "{ended:?}");
        for says in ["file ", "offset ", "next: "] {
            assert!(ended.err.contains(says), "`{says}` is not in {ended:?}");
        }
    }
    std::fs::write(&path, &good).expect("the segment is writable");
    place.good(&["verify", "--deep"]);
}

#[test]
fn a_missing_segment_is_damage() {
    let place = Place::new();
    import(&place, 50);
    std::fs::remove_file(segment(&place)).expect("the segment can be removed");
    let ended = place.ate(&["verify"]);
    assert_ne!(ended.code, 0, "{ended:?}");
    assert!(ended.err.contains("next: "), "{ended:?}");
}
