//! The bytes on disk are those of `docs/format.md`, section 6, written down here a second
//! time from the document, and what the document does not know is refused.

mod common;

use ate_log::{
    Entry, FileLog, FrameKind, Image, Location, Log, LogOptions, MemStorage, OpenError, ReadError,
    StreamId,
};
use common::scan;
use std::sync::Arc;

const LOG_ID: [u8; 16] = *b"0123456789abcdef";
const OPTIONS: LogOptions = LogOptions {
    log_id: LOG_ID,
    segment_bytes_min: 1024,
    segment_bytes_max: 1024,
    zero_window_bytes: 0,
    reserve_bytes: 0,
    groups: 1,
};

fn bound_crc(file: u32, offset: u32, bytes: &[u8]) -> [u8; 4] {
    let bound = [
        &LOG_ID[..],
        &file.to_le_bytes(),
        &offset.to_le_bytes(),
        bytes,
    ]
    .concat();
    crc32c::crc32c(&bound).to_le_bytes()
}

fn segment(file: u32, previous: (u32, u32)) -> Vec<u8> {
    let mut bytes = b"ATE-LOG\0".to_vec();
    for number in [2, file] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(LOG_ID);
    for number in [1, previous.0, previous.1] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend([0; 16]);
    let crc = crc32c::crc32c(&bytes);
    bytes.extend(crc.to_le_bytes());
    assert_eq!(bytes.len(), 64);
    bytes
}

struct Header {
    kind: u8,
    flags: u8,
    watermark: u32,
    number: u64,
    stream: [u8; 32],
}

fn frame(file: u32, offset: u32, header: &Header, parts: &[&[u8]]) -> Vec<u8> {
    let total = 64 + 8 * parts.len() + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = vec![0xa7, 0x3e, header.kind, header.flags];
    for number in [parts.len() as u32, total as u32, header.watermark] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(header.number.to_le_bytes());
    bytes.extend(header.stream);
    bytes.extend(bound_crc(file, offset, &bytes));
    let table: Vec<u8> = parts
        .iter()
        .flat_map(|part| (part.len() as u32).to_le_bytes())
        .collect();
    bytes.extend(&table);
    bytes.extend(bound_crc(file, offset + 60, &table));
    for part in parts {
        let at = offset + bytes.len() as u32;
        bytes.extend(*part);
        bytes.extend(bound_crc(file, at, part));
    }
    assert_eq!(bytes.len(), total);
    bytes
}

const COMMIT: Header = Header {
    kind: 1,
    flags: 1,
    watermark: 64,
    number: 7,
    stream: [5; 32],
};
const MARK: Header = Header {
    kind: 3,
    flags: 0,
    watermark: 0,
    number: 0,
    stream: [0; 32],
};

fn log_of(segments: &[Vec<u8>]) -> Arc<MemStorage> {
    let name = |index: usize| format!("log-{:08}.seg", index + 1);
    let image: Image = segments
        .iter()
        .enumerate()
        .map(|(index, bytes)| (name(index), bytes.clone()))
        .collect();
    Arc::new(MemStorage::from_image(image))
}

#[test]
fn a_closed_log_of_two_segments_is_as_documented() {
    let storage = MemStorage::new();
    let log = FileLog::open(Arc::new(storage.clone()), OPTIONS).unwrap();
    let entry = |number, parts| Entry {
        kind: FrameKind::Commit,
        stream: StreamId([5; 32]),
        number,
        head_parts: 1,
        parts,
    };
    let large = [0xcc; 500];
    let (small, parts): ([&[u8]; 2], [&[u8]; 1]) = ([b"head", b"content"], [&large]);
    log.append(
        &[
            entry(7, &small),
            Entry {
                kind: FrameKind::Void,
                ..entry(8, &[])
            },
        ],
        &mut Vec::new(),
    )
    .unwrap();
    log.sync().unwrap();
    log.append(&[entry(9, &parts)], &mut Vec::new()).unwrap();
    log.append(&[entry(10, &parts)], &mut Vec::new()).unwrap();
    log.close().unwrap();

    let mut first = segment(1, (0, 0));
    first.extend(frame(1, 64, &COMMIT, &small));
    assert_eq!(first.len(), 155);
    first.extend(frame(
        1,
        155,
        &Header {
            kind: 4,
            number: 8,
            ..COMMIT
        },
        &[],
    ));
    first.extend(frame(
        1,
        219,
        &Header {
            number: 9,
            watermark: 219,
            ..COMMIT
        },
        &parts,
    ));
    assert_eq!(first.len(), 791);
    let mut second = segment(2, (1, 791));
    second.extend(frame(
        2,
        64,
        &Header {
            number: 10,
            ..COMMIT
        },
        &parts,
    ));
    second.extend(frame(
        2,
        636,
        &Header {
            watermark: 636,
            ..MARK
        },
        &[],
    ));
    let image = storage.image();
    assert_eq!(image["log-00000001.seg"], first);
    assert_eq!(image["log-00000002.seg"], second);
    assert_eq!(image.len(), 2, "in memory a lock is no file");
}

#[test]
fn hand_made_bytes_are_read() {
    let mut first = segment(1, (0, 0));
    first.extend(frame(1, 64, &COMMIT, &[b"a", b"", b"c"]));
    let log = FileLog::open(log_of(&[first]), OPTIONS).unwrap();
    assert_eq!(log.log_id(), LOG_ID);
    let (frames, error) = scan(&log);
    assert!(error.is_none());
    assert_eq!(
        (frames[0].number, &frames[0].parts),
        (7, &vec![b"a".to_vec(), vec![], b"c".to_vec()])
    );
}

#[test]
fn unknown_kinds_and_flags_are_refused_and_are_not_called_damage() {
    for unknown in [
        Header { kind: 9, ..COMMIT },
        Header {
            flags: 0x11,
            ..COMMIT
        },
        Header {
            flags: 0x10,
            ..MARK
        },
    ] {
        let (kind, flags) = (unknown.kind, unknown.flags & 0xf0);
        let mut first = segment(1, (0, 0));
        first.extend(frame(1, 64, &unknown, &[]));
        let at = Location {
            file: 1,
            offset: 64,
        };
        let error = FileLog::open(log_of(std::slice::from_ref(&first)), OPTIONS).unwrap_err();
        assert!(
            matches!(error, OpenError::UnknownFrame { at: a, kind: k, flags: f } if (a, k, f) == (at, kind, flags))
        );
        // In an older segment it is found by whoever reads it.
        let second = segment(2, (1, 128));
        let log = FileLog::open(log_of(&[first, second]), OPTIONS).unwrap();
        assert!(matches!(scan(&log).1, Some(ReadError::UnknownFrame { .. })));
        assert!(matches!(
            log.read_frame(at),
            Err(ReadError::UnknownFrame { .. })
        ));
    }
}

#[test]
fn a_watermark_decides_between_torn_and_corrupt() {
    // Two frames; the first loses its second sector. What the second one's watermark says
    // about it is the whole difference.
    let large = [0xcc; 1000];
    let first = frame(1, 64, &COMMIT, &[&large]);
    let offset = 64 + first.len() as u32;
    for (watermark, corrupt) in [(64, false), (offset, true)] {
        let mut bytes = [
            segment(1, (0, 0)),
            first.clone(),
            frame(
                1,
                offset,
                &Header {
                    watermark,
                    ..COMMIT
                },
                &[],
            ),
        ]
        .concat();
        bytes[512..1024].fill(0);
        let storage = log_of(&[bytes.clone()]);
        match FileLog::open(storage.clone(), OPTIONS) {
            Err(OpenError::Corrupt { at, .. }) if corrupt => {
                assert_eq!(
                    at,
                    Location {
                        file: 1,
                        offset: 64
                    }
                );
                assert_eq!(
                    storage.image()["log-00000001.seg"],
                    bytes,
                    "nothing is changed"
                );
            }
            Ok(log) if !corrupt => {
                assert!(scan(&log).0.is_empty());
                assert_eq!(
                    log.end(),
                    Location {
                        file: 2,
                        offset: 64
                    },
                    "writing goes on in a new segment"
                );
                assert_eq!(storage.image()["log-00000001.seg"].len(), 64);
            }
            other => panic!("watermark {watermark}: {other:?}"),
        }
    }
}

#[test]
fn bytes_inside_a_part_never_pass_for_a_later_frame() {
    // A part that holds a perfect frame with a watermark, taken from another place of the log.
    let trap = frame(
        1,
        5000,
        &Header {
            watermark: 4000,
            ..COMMIT
        },
        &[],
    );
    let part = [&[0xcc; 700][..], &trap, &[0xcc; 100]].concat();
    let mut bytes = [segment(1, (0, 0)), frame(1, 64, &COMMIT, &[&part])].concat();
    bytes[512..700].fill(0);
    bytes.truncate(900);
    let log = FileLog::open(log_of(&[bytes]), OPTIONS).unwrap();
    assert!(
        scan(&log).0.is_empty(),
        "torn, as the file ends inside the frame"
    );
}

#[test]
fn a_log_that_exists_keeps_its_identity() {
    let storage = Arc::new(MemStorage::new());
    FileLog::open(storage.clone(), OPTIONS)
        .unwrap()
        .close()
        .unwrap();
    let log = FileLog::open(
        storage,
        LogOptions {
            log_id: [9; 16],
            ..OPTIONS
        },
    )
    .unwrap();
    assert_eq!(log.log_id(), LOG_ID);
}
