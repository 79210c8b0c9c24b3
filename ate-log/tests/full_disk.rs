//! A disk without room: what needs some is refused before anything changes, with how much and where; what was acknowledged is
//! there; opening after a crash and closing work all the same, from the reserve, which no append ever uses; with room it goes on.

mod common;

use ate_log::{
    AppendError, BoundedStorage, FileLog, Image, Log, LogOptions, MemStorage, OpenError, Storage,
};
use common::{Remembered, SMALL, append, scan};
use std::sync::Arc;

const RESERVE: u32 = 256 << 10;
const OPTIONS: LogOptions = LogOptions {
    reserve_bytes: RESERVE,
    ..SMALL
};
const NONE: LogOptions = LogOptions {
    reserve_bytes: 0,
    ..SMALL
};

fn bounded(image: Image, bytes_max: u64) -> BoundedStorage {
    BoundedStorage::new(Arc::new(MemStorage::from_image(image)), bytes_max)
}

fn open(storage: &BoundedStorage, options: LogOptions) -> Result<FileLog, OpenError> {
    FileLog::open(Arc::new(storage.clone()), options)
}

fn reserve(storage: &BoundedStorage) -> Option<u64> {
    storage.size("reserve").ok()
}

fn copy(storage: &BoundedStorage) -> Image {
    let names = storage.list().expect("listed");
    let read = |name: String| {
        let file = storage
            .open(&name, ate_log::Access::Read)
            .expect("listed above");
        let mut bytes = vec![0; file.length().expect("measured") as usize];
        let mut at = 0;
        while at < bytes.len() {
            at += file.read_at(at as u64, &mut bytes[at..]).expect("read");
        }
        (name, bytes)
    };
    names.into_iter().map(read).collect()
}

#[test]
fn an_append_is_refused_before_the_reserve_is_touched_and_goes_on_with_room() {
    let storage = bounded(Image::new(), u64::from(RESERVE) + 3000);
    let log = open(&storage, OPTIONS).expect("there is room");
    let mut kept = Vec::new();
    let error = loop {
        let frame = Remembered::commit(kept.len() as u64, 200);
        match append(&log, std::slice::from_ref(&frame)) {
            Ok(_) => kept.push(frame),
            Err(error) => break error,
        }
        log.sync().expect("what was appended has its space");
        assert!(kept.len() < 100, "the disk is never full");
    };
    let AppendError::DiskFull { bytes, place } = &error else {
        panic!("{error}")
    };
    assert!((1..1000).contains(bytes), "{bytes}: one frame more");
    let says = error.to_string();
    for part in [
        &bytes.to_string(),
        place,
        "nothing was changed",
        "free space",
    ] {
        assert!(says.contains(part), "{says}");
    }
    assert_eq!(reserve(&storage), Some(RESERVE.into()), "it is untouched");
    assert!(log.writable() && log.poisoned().is_none());
    assert_eq!(scan(&log).0, kept, "reads go on");
    for _ in 0..3 {
        let again = append(&log, &[Remembered::commit(99, 200)]);
        assert!(matches!(again, Err(AppendError::DiskFull { .. })));
    }
    assert!(matches!(
        log.snapshot_put("name", &[7; 5000]),
        Err(AppendError::DiskFull { .. })
    ));
    assert_eq!(log.snapshot_names().expect("listed"), [""; 0]);
    // The same log goes on as soon as there is room.
    storage.resize(1 << 20);
    for _ in 0..20 {
        let frame = Remembered::commit(kept.len() as u64, 200);
        append(&log, std::slice::from_ref(&frame)).expect("there is room");
        kept.push(frame);
    }
    log.close().expect("there is room");
    assert_eq!(reserve(&storage), None, "a closed log needs none");
    let log = open(&storage, OPTIONS).expect("there is room");
    assert_eq!(scan(&log).0, kept);
}

/// A log whose last frame lost a sector, in a newest segment without any room behind it; how many frames are whole, and how many
/// bytes its files have without the torn frame.
fn torn(options: LogOptions) -> (Image, usize, u64) {
    let storage = bounded(Image::new(), u64::MAX);
    let log = open(&storage, options).expect("there is room");
    for number in 0..4 {
        append(&log, &[Remembered::commit(number, 300)]).expect("there is room");
        log.sync().expect("synced");
    }
    let place = append(&log, &[Remembered::commit(4, 1500)]).expect("there is room")[0];
    drop(log);
    let mut image = copy(&storage);
    let newest = format!("log-{:08}.seg", place.frame.file);
    let bytes = image.get_mut(&newest).expect("it was written");
    bytes.truncate(place.next.offset as usize);
    let sector = (place.frame.offset as usize + 600) / 512 * 512;
    bytes[sector..sector + 512].fill(0);
    let cut = u64::from(place.next.offset - place.frame.offset);
    let used: u64 = image.values().map(|bytes| bytes.len() as u64).sum();
    (image, 4, used - cut)
}

#[test]
fn a_torn_tail_on_a_full_disk_does_not_prevent_opening() {
    let (image, whole, used) = torn(OPTIONS);
    assert_eq!(image["reserve"].len() as u32, RESERVE);
    // From no room at all to room for everything.
    for room in [0, 1, 63, 64, 127, 128, 500, 1000, 4000, 1 << 20] {
        let storage = bounded(image.clone(), used + room);
        let log = open(&storage, OPTIONS).unwrap_or_else(|error| panic!("room {room}: {error}"));
        assert_eq!(scan(&log).0.len(), whole, "room {room}");
        if room == 0 {
            assert_eq!(
                reserve(&storage),
                Some(u64::from(RESERVE) / 2),
                "what is left of it is kept"
            );
            // What the reserve gave is not there for more than a few frames.
            storage.resize(storage.used().expect("measured"));
            let refused = append(&log, &[Remembered::commit(9, 300)]);
            assert!(matches!(refused, Err(AppendError::DiskFull { .. })));
            log.close().expect("closing needs no room");
            let log = open(&storage, OPTIONS).expect("a closed log needs no room");
            assert_eq!(scan(&log).0.len(), whole);
            storage.resize(1 << 20);
            append(&log, &[Remembered::commit(9, 300)]).expect("there is room again");
            log.sync().expect("synced");
            assert_eq!(scan(&log).0.len(), whole + 1);
        }
    }
}

#[test]
fn without_a_reserve_the_refusal_says_what_to_do_and_loses_nothing() {
    let (image, whole, used) = torn(NONE);
    assert!(!image.contains_key("reserve"));
    let storage = bounded(image, used);
    let error = open(&storage, NONE)
        .map(drop)
        .expect_err("there is no room");
    assert!(matches!(error, OpenError::DiskFull { .. }), "{error:?}");
    let says = error.to_string();
    assert!(
        says.contains("memory") && says.contains("free space"),
        "{says}"
    );
    let reader = FileLog::open_reader(Arc::new(storage.clone())).expect("reading needs no room");
    assert_eq!(scan(&reader).0.len(), whole);
    // What was torn is cut now, so there is nothing left that a new segment is needed for.
    let log = open(&storage, NONE).expect("opening needs no room any more");
    assert_eq!(scan(&log).0.len(), whole);
    let refused = append(&log, &[Remembered::commit(9, 300)]);
    assert!(matches!(refused, Err(AppendError::DiskFull { .. })));
    storage.resize(used + 1000);
    append(&log, &[Remembered::commit(9, 300)]).expect("there is room");
}

#[test]
fn closing_on_a_full_disk_uses_the_reserve() {
    for (options, closes) in [(OPTIONS, true), (NONE, false)] {
        let storage = bounded(Image::new(), u64::MAX);
        let log = open(&storage, options).expect("there is room");
        append(&log, &[Remembered::commit(1, 300)]).expect("there is room");
        log.sync().expect("synced");
        drop(log);
        // Space that was promised and is not there: no room for the mark that tells a clean end.
        let mut image = copy(&storage);
        let end = FileLog::open_reader(Arc::new(MemStorage::from_image(image.clone())))
            .expect("it is there")
            .durable();
        image
            .get_mut("log-00000001.seg")
            .expect("it is there")
            .truncate(end.offset as usize);
        let used = image.values().map(|bytes| bytes.len() as u64).sum();
        let storage = bounded(image, used);
        let log = open(&storage, options).expect("opening needs no room");
        assert_eq!(log.close().is_ok(), closes);
        drop(log);
        assert_eq!(reserve(&storage), None);
        let log = open(&storage, NONE).expect("opening needs no room");
        assert_eq!(scan(&log).0.len(), 1, "it is there either way");
    }
}

#[test]
fn the_reserve_is_made_when_there_is_room_and_not_missed_when_there_is_none() {
    let storage = bounded(Image::new(), 3000);
    let log = open(&storage, OPTIONS).expect("room for a segment is enough");
    assert_eq!(reserve(&storage), None);
    append(&log, &[Remembered::commit(1, 300)]).expect("there is room");
    storage.resize(u64::from(RESERVE) / 4 + 10_000);
    for number in 2..5 {
        append(&log, &[Remembered::commit(number, 600)]).expect("there is room");
    }
    assert_eq!(
        reserve(&storage),
        Some(u64::from(RESERVE) / 4),
        "with the next segment, as large as there is room for"
    );
    let reader = FileLog::open_reader(Arc::new(storage.clone())).expect("a reader takes no notice");
    log.sync().expect("synced");
    reader.refresh().expect("refreshed");
    assert_eq!(scan(&reader).0.len(), 4);
    let before = log.disk_bytes();
    assert_eq!(before, storage.used().expect("measured"));
    log.close().expect("closed");
    assert!(log.disk_bytes() < before - u64::from(RESERVE) / 4);
}
