//! Frames survive a round trip and nothing else passes for one.

use super::*;

const LOG: [u8; 16] = [7; 16];

fn sample(parts: &[&[u8]], at: u32) -> (Binding, Vec<u8>) {
    let binding = Binding::new(&LOG, 3);
    let entry = Entry {
        kind: FrameKind::Commit,
        stream: StreamId([9; 32]),
        number: 77,
        head_parts: 1,
        parts,
    };
    let total = entry.frame_bytes(0).unwrap();
    let mut bytes = Vec::new();
    let mut stubs = std::iter::empty();
    encode(&mut bytes, binding, at, 64, &entry, total, &mut stubs);
    (binding, bytes)
}

fn decode(binding: Binding, at: u32, bytes: &[u8]) -> Option<(Header, FrameKind)> {
    let header = Header::decode(binding, at, bytes.first_chunk()?)?;
    if header.total as usize != bytes.len() || check(binding, at, &header, bytes, &[]).is_err() {
        return None;
    }
    match header.meaning() {
        Ok(Meaning::Shown(kind)) => Some((header, kind)),
        _ => None,
    }
}

#[test]
fn a_frame_comes_back_as_it_was() {
    let (binding, bytes) = sample(&[b"head", b"", b"content"], 100);
    assert_eq!(bytes.len(), 64 + 3 * 8 + 11);
    let (header, kind) = decode(binding, 100, &bytes).unwrap();
    let at = Location {
        file: 3,
        offset: 100,
    };
    let frame = view(at, &header, kind, &bytes, &[]);
    assert_eq!(
        (frame.stream, frame.number, frame.kind),
        (StreamId([9; 32]), 77, FrameKind::Commit)
    );
    assert_eq!(frame.next.offset as usize, 100 + bytes.len());
    assert_eq!(
        frame.watermark,
        Location {
            file: 3,
            offset: 64
        }
    );
    assert_eq!(frame.part_count(), 3);
    let parts: Vec<_> = frame.parts().filter_map(|(_, part)| part.here()).collect();
    assert_eq!(parts, [&b"head"[..], b"", b"content"]);
    assert_eq!(frame.part(2), Some(&b"content"[..]));
    assert_eq!(frame.part(3), None);
    let placed = Placed {
        frame: at,
        parts: Location {
            file: 3,
            offset: 100 + parts_offset(3),
        },
        next: frame.next,
        head_parts: 1,
    };
    let places: Vec<_> = frame.parts().map(|(at, _)| at).collect();
    assert_eq!(places, placed.part_locations([4, 0, 7]).collect::<Vec<_>>());
    assert_eq!(places[2], placed.part(&[4, 0]));
}

#[test]
fn every_flipped_bit_is_found() {
    let (binding, bytes) = sample(&[b"head", b"content"], 100);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(binding, 100, &flipped).is_none(), "bit {bit}");
    }
}

#[test]
fn a_frame_counts_only_in_its_place() {
    let (binding, bytes) = sample(&[b"head"], 100);
    assert!(decode(binding, 100, &bytes).is_some());
    assert!(decode(binding, 101, &bytes).is_none(), "another offset");
    assert!(
        decode(Binding::new(&LOG, 4), 100, &bytes).is_none(),
        "another file"
    );
    assert!(
        decode(Binding::new(&[8; 16], 3), 100, &bytes).is_none(),
        "another log"
    );
}

#[test]
fn implausible_numbers_are_refused_before_anything_is_allocated() {
    let binding = Binding::new(&LOG, 1);
    let fine = Header {
        kind: 1,
        flags: 0,
        head_parts: 1,
        parts: 1,
        total: 72,
        watermark: 64,
        number: 0,
        stream: StreamId([0; 32]),
    };
    let decode = |header: Header| Header::decode(binding, 64, &header.encode(binding, 64));
    assert_eq!(decode(fine), Some(fine));
    assert_eq!(
        decode(Header {
            total: FRAME_BYTES_MAX + 1,
            ..fine
        }),
        None
    );
    assert_eq!(decode(Header { total: 71, ..fine }), None);
    assert_eq!(
        decode(Header {
            parts: PARTS_MAX as u32 + 1,
            total: FRAME_BYTES_MAX,
            ..fine
        }),
        None
    );
    assert_eq!(
        decode(Header {
            parts: u32::MAX,
            ..fine
        }),
        None
    );
    assert_eq!(
        decode(Header {
            watermark: 65,
            ..fine
        }),
        None,
        "a watermark after its own frame"
    );
}

#[test]
fn unknown_kinds_and_flags_are_told_from_damage() {
    let fine = Header {
        kind: 1,
        flags: 0,
        head_parts: 0,
        parts: 0,
        total: 64,
        watermark: 64,
        number: 0,
        stream: StreamId([0; 32]),
    };
    assert_eq!(Header { kind: 9, ..fine }.meaning(), Err((9, 0)));
    assert_eq!(
        Header {
            flags: 0x10,
            ..fine
        }
        .meaning(),
        Err((1, 0x10))
    );
    assert_eq!(
        Header {
            kind: 3,
            flags: 0x20,
            ..fine
        }
        .meaning(),
        Err((3, 0x20))
    );
    assert_eq!(Header { kind: 3, ..fine }.meaning(), Ok(Meaning::Mark));
}

#[test]
fn entries_over_a_limit_are_refused() {
    let parts = vec![&b""[..]; PARTS_MAX + 1];
    let entry = Entry {
        kind: FrameKind::Commit,
        stream: StreamId([0; 32]),
        number: 0,
        head_parts: 1,
        parts: &parts,
    };
    assert!(matches!(
        entry.frame_bytes(5),
        Err(AppendError::TooManyParts { index: 5, .. })
    ));
    let big = vec![0; FRAME_BYTES_MAX as usize - 71];
    let entry = Entry {
        parts: &[&big],
        ..entry
    };
    assert!(
        matches!(entry.frame_bytes(0), Err(AppendError::FrameTooLarge { bytes, .. }) if bytes == (32 << 20) + 1)
    );
    let entry = Entry {
        parts: &[&big[1..]],
        ..entry
    };
    assert_eq!(entry.frame_bytes(0).unwrap(), FRAME_BYTES_MAX);
}
