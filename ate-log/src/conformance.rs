//! Checks that any [`Log`] and any [`Storage`](crate::Storage) must pass, for whoever writes one.
//!
//! Call [`check_log`] in a test with a way to open the log again and again, [`check_storage`]
//! with an empty directory. A failed check panics with what was expected, as a test does.

use crate::{
    AppendError, Cursor, Entry, FRAME_BYTES_MAX, FrameKind, LARGE_BODY_BYTES, Location, Log,
    OpenError, PARTS_MAX, PartBytes, Placed, ReadError, Scan, StreamId,
};
use std::ops::ControlFlow;

mod storages;
mod tiers;

pub use storages::check_storage;

/// A log that can be opened again.
pub trait Fixture {
    /// What it opens.
    type Log: Log;

    /// Opens the log for writing: empty at the first call, then with what was written.
    ///
    /// # Errors
    /// What the log says.
    fn open(&self) -> Result<Self::Log, OpenError>;
}

/// One frame, as remembered by the checks.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Copy {
    kind: FrameKind,
    stream: StreamId,
    number: u64,
    parts: Vec<Vec<u8>>,
}

/// Runs every check, each on a fresh log.
///
/// # Panics
/// When one fails.
pub fn check_log<F: Fixture>(mut fresh: impl FnMut() -> F) {
    empty_log(&fresh());
    frames_come_back(&fresh());
    places_are_true(&fresh());
    durable_means_synced(&fresh());
    scan_goes_on_where_it_stopped(&fresh());
    limits_refuse_whole_groups(&fresh());
    closed_log_reads_on(&fresh());
    snapshots_are_whole(&fresh());
    many_segments(&fresh());
    threads_append_together(&fresh());
    tiers::streams_are_found(&fresh());
    tiers::sealing_changes_nothing(&fresh());
    tiers::what_is_erased_is_gone(&fresh());
}

fn entry<'a>(number: u64, parts: &'a [&'a [u8]]) -> Entry<'a> {
    Entry {
        kind: FrameKind::Commit,
        stream: StreamId([number as u8; 32]),
        number,
        head_parts: 1,
        parts,
    }
}

fn put(log: &impl Log, group: &[Entry<'_>]) -> Vec<Placed> {
    let mut placed = Vec::new();
    log.append(group, &mut placed)
        .expect("a small group is appended");
    assert_eq!(placed.len(), group.len(), "one place for each entry");
    placed
}

fn all(log: &impl Log) -> Vec<Copy> {
    from(log, log.start())
}

fn from(log: &impl Log, cursor: Cursor) -> Vec<Copy> {
    let mut seen = Vec::new();
    let end = log
        .scan(Scan::from(cursor).with_bodies(), &mut |frame| {
            let parts = frame.parts().map(|part| bytes_of(log, part)).collect();
            seen.push(Copy {
                kind: frame.kind,
                stream: frame.stream,
                number: frame.number,
                parts,
            });
            ControlFlow::Continue(())
        })
        .expect("an undamaged log is scanned");
    assert_eq!(end, log.durable(), "a full scan ends at the durable end");
    seen
}

/// A part, wherever it lies.
fn bytes_of(log: &impl Log, (at, part): (Location, PartBytes<'_>)) -> Vec<u8> {
    match part {
        PartBytes::Here(bytes) => bytes.to_vec(),
        PartBytes::NotRead { bytes } => {
            assert!(bytes >= LARGE_BODY_BYTES, "small bodies were asked for");
            let mut out = vec![0; bytes as usize];
            log.read_body(at, &mut out).expect("a large body is read");
            out
        }
        PartBytes::Erased { .. } => panic!("nothing was erased"),
    }
}

fn copy_of(entry: &Entry<'_>) -> Copy {
    let parts = entry.parts.iter().map(|part| part.to_vec()).collect();
    Copy {
        kind: entry.kind,
        stream: entry.stream,
        number: entry.number,
        parts,
    }
}

fn empty_log(fixture: &impl Fixture) {
    let log = fixture.open().expect("an empty log opens");
    assert!(log.writable());
    assert_eq!(
        (log.start(), log.end()),
        (log.end(), log.durable()),
        "an empty log ends where it starts"
    );
    assert!(all(&log).is_empty());
    let mut placed = Vec::new();
    log.append(&[], &mut placed)
        .expect("an empty group is nothing");
    assert!(placed.is_empty());
    assert_eq!(log.sync().expect("a sync of nothing"), log.durable());
    assert!(matches!(
        log.read(log.start(), &mut [0]),
        Err(ReadError::OutOfBounds { .. })
    ));
}

fn frames_come_back(fixture: &impl Fixture) {
    let log = fixture.open().expect("the log opens");
    let large = vec![0x5a; 300_000];
    let with_large: [&[u8]; 2] = [b"head", &large];
    let group = [
        Entry {
            kind: FrameKind::Proof,
            ..entry(1, &[b"proof"])
        },
        entry(2, &[]),
        entry(3, &[b"", b"x", b""]),
        Entry {
            kind: FrameKind::Void,
            ..entry(u64::MAX, &[])
        },
        entry(4, &with_large),
    ];
    let placed = put(&log, &group);
    log.sync().expect("synced");
    let expected: Vec<Copy> = group.iter().map(copy_of).collect();
    assert_eq!(all(&log), expected);
    drop(log);
    let log = fixture.open().expect("the log opens after it was dropped");
    assert_eq!(all(&log), expected, "after dropping");
    log.close().expect("closed");
    drop(log);
    let log = fixture.open().expect("the log opens after it was closed");
    assert_eq!(all(&log), expected, "after closing");
    let frame = log
        .read_frame(placed[4].frame)
        .expect("a frame by its place");
    let part = frame.frame().parts().nth(1).expect("two parts");
    assert_eq!(bytes_of(&log, part), large);
    assert_eq!(frame.frame().next, placed[4].next);
    let more = [entry(5, &[b"more"])];
    put(&log, &more);
    log.sync().expect("synced");
    assert_eq!(
        all(&log).last(),
        Some(&copy_of(&more[0])),
        "writing goes on after a close"
    );
}

fn places_are_true(fixture: &impl Fixture) {
    let log = fixture.open().expect("the log opens");
    let parts: [&[u8]; 4] = [b"first", b"", b"third", b"4"];
    let placed = put(&log, &[entry(1, &parts), entry(2, &parts)]);
    assert_eq!(placed[0].next, placed[1].frame, "a group is one run");
    assert_eq!(placed[1].next, log.end());
    let lens: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    for place in &placed {
        for ((index, at), part) in place
            .part_locations(lens.iter().copied())
            .enumerate()
            .zip(parts)
        {
            assert_eq!(at, place.part(&lens[..index]));
            let mut bytes = vec![0; part.len()];
            log.read(at, &mut bytes)
                .expect("appended bytes are read before the sync");
            assert_eq!(bytes, part);
        }
    }
    assert!(matches!(
        log.read(log.end(), &mut [0]),
        Err(ReadError::OutOfBounds { .. })
    ));
    let mut too_long = vec![0; 1000];
    assert!(matches!(
        log.read(placed[1].frame, &mut too_long),
        Err(ReadError::OutOfBounds { .. })
    ));
    let middle = Cursor {
        offset: placed[0].frame.offset + 1,
        ..placed[0].frame
    };
    assert!(
        matches!(log.read_frame(middle), Err(ReadError::Corrupt { .. })),
        "no frame starts in a frame"
    );
}

fn durable_means_synced(fixture: &impl Fixture) {
    let log = fixture.open().expect("the log opens");
    let before = log.durable();
    let placed = put(&log, &[entry(1, &[b"one"])]);
    assert_eq!(log.durable(), before, "nothing is durable before a sync");
    assert!(all(&log).is_empty(), "a scan shows durable frames only");
    let end = log.sync().expect("synced");
    assert!(end >= placed[0].next && end == log.durable());
    assert_eq!(all(&log).len(), 1);
    assert_eq!(log.refresh().expect("a writer knows its end"), end);
}

fn scan_goes_on_where_it_stopped(fixture: &impl Fixture) {
    let log = fixture.open().expect("the log opens");
    for number in 0..10 {
        put(&log, &[entry(number, &[b"part"])]);
    }
    log.sync().expect("synced");
    let mut cursor = log.start();
    for number in 0..10 {
        let mut seen = None;
        cursor = log
            .scan(Scan::from(cursor), &mut |frame| {
                seen = Some(frame.number);
                ControlFlow::Break(())
            })
            .expect("scanned");
        assert_eq!(seen, Some(number));
    }
    assert!(from(&log, cursor).is_empty());
    assert!(from(&log, log.durable()).is_empty());
}

fn limits_refuse_whole_groups(fixture: &impl Fixture) {
    let log = fixture.open().expect("the log opens");
    let large = vec![0; FRAME_BYTES_MAX as usize];
    let many = vec![&b""[..]; PARTS_MAX + 1];
    let mut placed = Vec::new();
    let small = entry(1, &[b"small"]);
    let result = log.append(&[small, entry(2, &[&large])], &mut placed);
    assert!(matches!(
        result,
        Err(AppendError::FrameTooLarge { index: 1, .. })
    ));
    let result = log.append(&[small, entry(2, &many)], &mut placed);
    assert!(matches!(
        result,
        Err(AppendError::TooManyParts { index: 1, .. })
    ));
    assert!(
        placed.is_empty() && log.end() == log.start(),
        "nothing of the group was written"
    );
    put(&log, &[small, entry(2, &many[..PARTS_MAX])]);
    log.sync().expect("synced");
    let seen = all(&log);
    assert_eq!(seen.len(), 2);
    assert_eq!(
        seen[1].parts.len(),
        PARTS_MAX,
        "a refused group does no harm"
    );
}

fn closed_log_reads_on(fixture: &impl Fixture) {
    let log = fixture.open().expect("the log opens");
    let placed = put(&log, &[entry(1, &[b"kept"])]);
    log.close().expect("close syncs");
    log.close().expect("closing again is nothing");
    assert!(!log.writable());
    assert!(matches!(
        log.append(&[entry(2, &[])], &mut Vec::new()),
        Err(AppendError::Closed)
    ));
    assert!(matches!(log.sync(), Err(AppendError::Closed)));
    assert_eq!(all(&log).len(), 1);
    assert!(log.read_frame(placed[0].frame).is_ok());
}

fn snapshots_are_whole(fixture: &impl Fixture) {
    let log = fixture.open().expect("the log opens");
    assert_eq!(log.snapshot_get("a-1").expect("read"), None);
    log.snapshot_put("a-1", b"one").expect("put");
    log.snapshot_put("b", &vec![7; 100_000]).expect("put");
    log.snapshot_put("a-1", b"two").expect("replaced");
    assert_eq!(
        log.snapshot_get("a-1").expect("read").as_deref(),
        Some(&b"two"[..])
    );
    assert_eq!(log.snapshot_names().expect("listed"), ["a-1", "b"]);
    let name = "x".repeat(101);
    for bad in ["", "A", "a/b", "..", &name] {
        assert!(
            matches!(
                log.snapshot_put(bad, b""),
                Err(AppendError::SnapshotName { .. })
            ),
            "{bad}"
        );
        assert!(
            matches!(log.snapshot_get(bad), Err(ReadError::SnapshotName { .. })),
            "{bad}"
        );
    }
    drop(log);
    let log = fixture.open().expect("the log opens again");
    log.snapshot_remove("b").expect("removed");
    log.snapshot_remove("b")
        .expect("removing nothing is nothing");
    assert_eq!(log.snapshot_names().expect("listed"), ["a-1"]);
    assert!(all(&log).is_empty(), "snapshots are no frames");
}

fn many_segments(fixture: &impl Fixture) {
    let log = fixture.open().expect("the log opens");
    let part = vec![0xee; LARGE_BODY_BYTES as usize - 1];
    let mut parts: Vec<&[u8]> = vec![b"head"];
    parts.resize(7, &part);
    let mut placed = Vec::new();
    for number in 0..20 {
        placed.extend(put(
            &log,
            &[entry(number, &parts), entry(number + 100, &[b"small"])],
        ));
    }
    log.sync().expect("synced");
    assert!(
        log.end().file > log.start().file,
        "7.5 MiB take more than one segment"
    );
    assert!(
        placed.windows(2).all(|pair| pair[0].next <= pair[1].frame),
        "places ascend"
    );
    let numbers: Vec<u64> = all(&log).iter().map(|frame| frame.number).collect();
    let expected: Vec<u64> = (0..20).flat_map(|number| [number, number + 100]).collect();
    assert_eq!(numbers, expected);
    drop(log);
    let log = fixture.open().expect("the log opens again");
    assert_eq!(all(&log).len(), 40);
    for place in placed.iter().step_by(7) {
        assert_eq!(
            log.read_frame(place.frame).expect("read").frame().next,
            place.next
        );
        assert!(from(&log, place.next).len() < 40);
    }
}

fn threads_append_together(fixture: &impl Fixture) {
    let log = fixture.open().expect("the log opens");
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let log = &log;
            scope.spawn(move || {
                for number in 0..25 {
                    let bytes = (thread * 1000 + number).to_le_bytes();
                    let placed = put(log, &[entry(thread, &[&bytes])]);
                    let mut back = [0; 8];
                    log.read(placed[0].parts, &mut back)
                        .expect("read what this thread appended");
                    assert_eq!(back, bytes);
                    assert!(log.sync().expect("synced") >= placed[0].next);
                }
            });
        }
    });
    let seen = all(&log);
    assert_eq!(seen.len(), 100);
    for thread in 0..4_u64 {
        let own: Vec<&Copy> = seen.iter().filter(|frame| frame.number == thread).collect();
        assert_eq!(own.len(), 25);
        for (number, frame) in own.iter().enumerate() {
            assert_eq!(
                frame.parts[0],
                (thread * 1000 + number as u64).to_le_bytes(),
                "each thread's order holds"
            );
        }
    }
}
