//! `verify`: counts of what holds, and the place of what does not.

use std::path::PathBuf;

use crate::support::{Place, documents, json_lines};

/// The first segment of the log.
fn segment(place: &Place) -> PathBuf {
    place.store().join("log-00000001.seg")
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
    assert_eq!(
        deep[0]["signatures"], deep[0]["proofs"],
        "--deep verifies every signature"
    );
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
fn damage_is_told_to_programs_with_chain_position_file_and_offset() {
    let place = Place::new();
    import(&place, 500);
    let path = segment(&place);
    let mut bad = std::fs::read(&path).expect("the segment is readable");
    let at = bad.len() / 2;
    bad[at] ^= 1;
    std::fs::write(&path, &bad).expect("the segment is writable");
    let ended = place.ate(&["verify", "--json"]);
    assert_eq!((ended.code, ended.out.as_str()), (3, ""), "{ended:?}");
    let error = json_lines(&ended.err).remove(0);
    assert_eq!(
        (&error["kind"], &error["exit"]),
        (&"damaged".into(), &3.into())
    );
    let damage = &error["damage"];
    assert_eq!(damage["chain"].as_str().map(str::len), Some(64), "{error}");
    assert!(damage["position"].as_u64() > Some(1), "{error}");
    assert_eq!(
        damage["file"],
        path.file_name()
            .and_then(|name| name.to_str())
            .expect("a name")
    );
    assert!(damage["offset"].as_u64() <= Some(at as u64), "{error}");
}

#[test]
fn a_bad_snapshot_is_rebuilt_with_a_note() {
    let place = Place::new();
    import(&place, 2000);
    let snapshots = std::fs::read_dir(place.store())
        .expect("readable")
        .filter_map(|entry| {
            let path = entry.expect("readable").path();
            let name = path.file_name()?.to_str()?.to_owned();
            name.starts_with("snapshot-chain-").then_some(path)
        });
    let snapshots: Vec<PathBuf> = snapshots.collect();
    assert_eq!(snapshots.len(), 1);
    let mut bytes = std::fs::read(&snapshots[0]).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&snapshots[0], bytes).expect("writable");
    let get = place.ate(&["get", "shop", "3"]);
    assert_eq!(get.code, 0, "{get:?}");
    assert!(get.err.contains("note: "), "{get:?}");
    assert_eq!(place.good(&["export", "shop"]), documents(2000));
}

/// CRC-32C (RFC 3720), bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| {
        if crc & 1 == 1 {
            crc >> 1 ^ 0x82f6_3b78
        } else {
            crc >> 1
        }
    };
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc))
    })
}

#[test]
fn a_store_of_a_newer_format_is_refused() {
    let place = Place::new();
    import(&place, 50);
    let path = segment(&place);
    let mut bytes = std::fs::read(&path).expect("readable");
    bytes[8] = 9;
    let crc = crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&path, &bytes).expect("writable");
    for args in [
        &["verify"][..],
        &["get", "shop", "1"],
        &["put", "shop", "a", "1"],
    ] {
        place
            .ate(args)
            .failed(1, &["format version 9", "as new as"]);
    }
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
