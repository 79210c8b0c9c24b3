//! A damaged store: reading commands print what is proven, say loudly what is missing and end with an exit code of their own; writing
//! commands refuse; `verify` lists every damaged place.

use std::path::PathBuf;

use ate::log::{FileLog, FileStorage, FrameKind, Log as _, Scan};

use crate::support::{Ended, Place, documents, json_lines};

/// Exit code of a command that printed what is proven of a damaged store.
const PARTIAL: i32 = 6;

/// A store of two chains: `shop`, 300 documents in 6 commits, and `notes`, whose two documents stand before and behind them.
fn store() -> Place {
    let place = Place::new();
    place.good(&["put", "notes", "first", "1"]);
    let file = place.file("lines", documents(300));
    place.good(&["import", "shop", &file, "--key", "id", "--per-commit", "50"]);
    place.good(&["put", "notes", "last", "2"]);
    place
}

fn segment(place: &Place) -> PathBuf {
    place.store().join("log-00000001.seg")
}

/// Where the frames of the commits of the larger chain start.
fn commits(place: &Place) -> Vec<u32> {
    let log = FileLog::open_reader(std::sync::Arc::new(FileStorage::new(place.store())))
        .expect("it is not damaged yet");
    let mut found = Vec::new();
    log.scan(Scan::from(log.start()), &mut |frame| {
        if frame.kind == FrameKind::Commit {
            found.push((frame.stream, frame.at.offset));
        }
        std::ops::ControlFlow::Continue(())
    })
    .expect("it is not damaged yet");
    let of = |stream| found.iter().filter(move |(other, _)| *other == stream);
    let all = found.iter().map(|(stream, _)| *stream);
    let largest = all.max_by_key(|stream| of(*stream).count());
    let largest = largest.expect("there are chains");
    of(largest).map(|(_, at)| *at).collect()
}

/// Flips a bit in the signed heads of commits of `shop`, and removes the snapshots, which know more.
fn damage(place: &Place, indexes: &[usize]) -> Vec<u32> {
    let commits = commits(place);
    let path = segment(place);
    let mut bytes = std::fs::read(&path).expect("readable");
    let hit: Vec<u32> = indexes.iter().map(|index| commits[*index]).collect();
    for at in &hit {
        // Far enough for header and table, which has four bytes for each part.
        bytes[*at as usize + 400] ^= 4;
    }
    std::fs::write(&path, bytes).expect("writable");
    forget_snapshots(place);
    hit
}

fn forget_snapshots(place: &Place) {
    for entry in std::fs::read_dir(place.store()).expect("readable") {
        let entry = entry.expect("readable");
        if entry.file_name().to_string_lossy().starts_with("snapshot-") {
            std::fs::remove_file(entry.path()).expect("removable");
        }
    }
}

#[track_caller]
fn partial(ended: &Ended, says: &[&str]) {
    assert_eq!(ended.code, PARTIAL, "{ended:?}");
    for part in ["WARNING", "is damaged", "next: ", "ate repair --from"]
        .iter()
        .chain(says)
    {
        assert!(ended.err.contains(part), "`{part}` is not in {ended:?}");
    }
}

#[test]
fn reading_prints_what_is_proven_and_says_what_is_missing() {
    let place = store();
    // Commits 0 and 1 are the genesis and the first fifty.
    damage(&place, &[4]);
    let missing = "`shop` is proven up to position 4, and was at position 7 at least";
    let get = place.ate(&["get", "shop", "149"]);
    assert_eq!(
        get.out,
        documents(150).lines().last().expect("a line").to_owned() + "\n"
    );
    partial(&get, &[missing, "log-00000001.seg"]);
    let export = place.ate(&["export", "shop"]);
    assert_eq!(export.out, documents(150));
    partial(&export, &[missing]);
    let ls = place.ate(&["ls", "shop"]);
    assert_eq!(ls.out.lines().count(), 150);
    partial(&ls, &[missing]);
    let log = place.ate(&["log", "shop"]);
    assert_eq!(log.out.lines().count(), 4);
    partial(&log, &[missing]);
    let history = place.ate(&["history", "shop", "3"]);
    assert_eq!(history.out.lines().count(), 1);
    partial(&history, &[missing]);
    // What is not there may have been.
    let absent = place.ate(&["get", "shop", "150"]);
    assert_eq!(absent.out, "");
    partial(&absent, &["no record `150`", "may have stood"]);
    for args in [&["ls"][..], &["info"]] {
        let ended = place.ate(args);
        assert!(ended.out.lines().count() >= 2, "{ended:?}");
        partial(&ended, &[]);
    }
}

#[test]
fn a_chain_that_stands_elsewhere_is_whole() {
    let place = store();
    damage(&place, &[2, 5]);
    let export = place.ate(&["export", "notes"]);
    assert_eq!(export.out, "1\n2\n");
    partial(&export, &[]);
    assert!(!export.err.contains("`notes`"), "{export:?}");
}

#[test]
fn programs_are_told_too() {
    let place = store();
    let hit = damage(&place, &[4]);
    let ended = place.ate(&["export", "shop", "--json"]);
    assert_eq!(json_lines(&ended.out).len(), 150);
    let told = json_lines(&ended.err);
    assert_eq!(told[0]["places"][0]["offset"], hit[0]);
    assert_eq!(told[0]["places"][0]["position"], 5);
    assert_eq!(told[1]["chain"], "shop");
    assert_eq!(
        (&told[1]["position"], &told[1]["known_position"]),
        (&4.into(), &7.into())
    );
    let last = told.last().expect("several lines");
    assert_eq!(
        (&last["kind"], &last["exit"]),
        (&"partial".into(), &6.into())
    );
}

#[test]
fn writing_refuses_and_changes_nothing() {
    let place = store();
    damage(&place, &[4]);
    let before = std::fs::read(segment(&place)).expect("readable");
    let file = place.file("more", documents(400));
    for args in [
        &["put", "shop", "a", "1"][..],
        &["put", "notes", "a", "1"],
        &["rm", "notes", "first"],
        &["import", "shop", &file, "--key", "id"],
    ] {
        place
            .ate(args)
            .failed(3, &["log-00000001.seg", "offset", "ate repair --from DIR"]);
    }
    let after = std::fs::read(segment(&place)).expect("readable");
    assert!(after.starts_with(&before[..before.len() - 64]));
}

#[test]
fn verify_lists_every_damaged_place() {
    let place = store();
    let hit = damage(&place, &[2, 4, 6]);
    let ended = place.ate(&["verify"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(
        ended.out.contains("notes: good to position 3"),
        "what stands elsewhere is proven: {ended:?}"
    );
    assert!(
        ended.err.contains("`shop` does not verify") && ended.err.contains("behind position 2"),
        "{ended:?}"
    );
    for at in &hit {
        assert!(
            ended.err.contains(&format!("offset {at} to ")),
            "{at} is not in {ended:?}"
        );
    }
    let ended = place.ate(&["verify", "--json"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    let told = json_lines(&ended.err).remove(0);
    assert_eq!(told["damage"]["offset"], hit[0], "{told}");
    let places = told["places"].as_array().expect("a list");
    let offsets: Vec<_> = places.iter().map(|place| &place["offset"]).collect();
    assert_eq!(offsets, hit.iter().collect::<Vec<_>>(), "{told}");
}

#[test]
fn what_a_snapshot_knows_is_shown_and_what_cannot_be_read_is_left_out() {
    let place = Place::new();
    let file = place.file("lines", documents(1000));
    place.good(&["import", "shop", &file, "--key", "id", "--per-commit", "50"]);
    let commits = commits(&place);
    let mut bytes = std::fs::read(segment(&place)).expect("readable");
    // Behind the heads, so in the content of one document.
    let at = commits[9] as usize - 3500 - 700;
    bytes[at] ^= 1;
    std::fs::write(segment(&place), bytes).expect("writable");
    let export = place.ate(&["export", "shop"]);
    assert_eq!(export.code, PARTIAL, "{export:?}");
    assert_eq!(export.out.lines().count(), 999, "{}", export.err);
    assert!(export.err.contains("is left out"), "{export:?}");
    let read = place.ate(&["get", "shop", "999"]);
    assert_eq!(
        read.out,
        "{\"id\": 999, \"text\": \"document number 999\"}\n"
    );
    // Whether the damage was met depends on how much of the file had to be looked at.
    assert!([0, PARTIAL].contains(&read.code), "{read:?}");
}

#[test]
fn damage_in_the_head_of_a_file_and_a_missing_file_do_not_end_reading() {
    let place = Place::new();
    place.good(&["put", "notes", "first", "1"]);
    let file = place.file("lines", documents(12_000));
    place.good(&["import", "shop", &file, "--key", "id"]);
    place.good(&["put", "notes", "last", "2"]);
    // Some may be sealed already; the newest never is.
    let files = || {
        let entries = std::fs::read_dir(place.store()).expect("readable");
        let mut paths: Vec<PathBuf> = entries
            .map(|entry| entry.expect("readable").path())
            .collect();
        paths.sort();
        paths
    };
    let is = |path: &PathBuf, part: &str| path.to_string_lossy().contains(part);
    let path = files().into_iter().rfind(|path| is(path, "log-"));
    let path = path.expect("there is a newest");
    let good = std::fs::read(&path).expect("readable");
    let mut bad = good.clone();
    bad[20] ^= 1;
    std::fs::write(&path, &bad).expect("writable");
    let ended = place.ate(&["export", "shop"]);
    assert_eq!(ended.out, documents(12_000));
    partial(&ended, &["the header of the file is damaged"]);
    // The second file holds the newer half; the first one still proves what is in it.
    std::fs::write(&path, &good).expect("writable");
    let second = files().into_iter().filter(|path| is(path, "-00000002"));
    for path in second {
        std::fs::remove_file(path).expect("removable");
    }
    forget_snapshots(&place);
    let ended = place.ate(&["export", "shop"]);
    let lines = ended.out.lines().count();
    assert!((1000..12_000).contains(&lines), "{lines}: {}", ended.err);
    assert!(documents(12_000).starts_with(&ended.out));
    partial(&ended, &["missing"]);
}
