//! Checks of sealing, erasing and scrubbing.

use super::{Fixture, all, bytes_of, put};
use crate::{
    AppendError, Entry, FrameKind, FullSpeed, LARGE_BODY_BYTES, Least, Location, Log, PartBytes,
    Placed, ReadError, Scan, Span, StreamId,
};
use std::ops::ControlFlow;

const STREAMS: u64 = 5;
/// Lengths of a frame's bodies; the second is a large one.
const BODIES: [u32; 3] = [300, LARGE_BODY_BYTES + 1, 70];

fn stream(number: u64) -> StreamId {
    StreamId([(number % STREAMS) as u8 * 40; 32])
}

fn body(number: u64, index: usize) -> Vec<u8> {
    vec![number as u8 ^ (index as u8) << 6 ^ 0x15; BODIES[index] as usize]
}

/// Appends frames `from..to` of several streams, in groups of three.
fn fill(log: &impl Log, from: u64, to: u64) -> Vec<Placed> {
    let mut placed = Vec::new();
    for first in (from..to).step_by(3) {
        let frames: Vec<(u64, Vec<Vec<u8>>)> = (first..to.min(first + 3))
            .map(|number| {
                let head = vec![number as u8; 40];
                let bodies = (0..BODIES.len()).map(|index| body(number, index));
                (
                    number,
                    [head, b"meta".to_vec()].into_iter().chain(bodies).collect(),
                )
            })
            .collect();
        let parts: Vec<Vec<&[u8]>> = frames
            .iter()
            .map(|(_, parts)| parts.iter().map(Vec::as_slice).collect())
            .collect();
        let group: Vec<Entry<'_>> = frames
            .iter()
            .zip(&parts)
            .map(|((number, _), parts)| Entry {
                kind: FrameKind::Commit,
                stream: stream(*number),
                number: *number,
                head_parts: 2,
                parts,
            })
            .collect();
        placed.extend(put(log, &group));
    }
    log.sync().expect("synced");
    placed
}

fn place(placed: &Placed, part: usize) -> Location {
    let lens = [40, 4]
        .into_iter()
        .chain(BODIES.map(|bytes| bytes as usize));
    placed.part_locations(lens).nth(part).expect("five parts")
}

/// The numbers of a stream's frames from a place on, as the log finds them.
fn numbers_of(log: &impl Log, stream: StreamId, from: Location) -> Vec<u64> {
    let mut numbers = Vec::new();
    let scan = Scan::from(from).of(stream);
    log.scan(scan, &mut |frame| {
        assert_eq!(frame.stream, stream, "only what was asked for");
        assert_eq!(
            frame.part(0).map(<[u8]>::len),
            Some(40),
            "heads are always shown"
        );
        numbers.push(frame.number);
        ControlFlow::Continue(())
    })
    .expect("scanned");
    numbers
}

fn check_streams(log: &impl Log, placed: &[Placed]) {
    let count = placed.len() as u64;
    for from in [0, count / 2, count - 1] {
        for wanted in 0..STREAMS {
            let expected: Vec<u64> = (from..count)
                .filter(|number| stream(*number) == stream(wanted))
                .collect();
            let from = placed[from as usize].frame;
            assert_eq!(numbers_of(log, stream(wanted), from), expected);
        }
    }
    assert!(numbers_of(log, StreamId([0xee; 32]), log.start()).is_empty());
}

fn seal_all(log: &impl Log) {
    log.roll().expect("a new segment");
    while log.seal(&mut FullSpeed).expect("sealed") {}
}

pub(super) fn streams_are_found(fixture: &impl Fixture) {
    let log = fixture.open().expect("the log opens");
    let mut placed = fill(&log, 0, 40);
    check_streams(&log, &placed);
    placed.extend(fill(&log, 40, 50));
    check_streams(&log, &placed);
    drop(log);
    let log = fixture.open().expect("the log opens again");
    check_streams(&log, &placed);
}

pub(super) fn sealing_changes_nothing(fixture: &impl Fixture) {
    let log = fixture.open().expect("the log opens");
    let mut placed = fill(&log, 0, 40);
    let before = all(&log);
    seal_all(&log);
    assert!(
        !log.seal(&mut FullSpeed).expect("asked"),
        "nothing is left to seal"
    );
    assert_eq!(all(&log), before);
    check_streams(&log, &placed);
    check_places(&log, &placed);
    placed.extend(fill(&log, 40, 50));
    check_streams(&log, &placed);
    let before = all(&log);
    drop(log);
    let log = fixture.open().expect("the log opens again");
    assert_eq!(all(&log), before);
    check_places(&log, &placed);
    let from = placed[7].next;
    let stopped = log.scan(Scan::from(from), &mut |_| ControlFlow::Break(()));
    assert_eq!(
        stopped.expect("scanned"),
        placed[8].next,
        "a scan may stop in what is sealed"
    );
    let scrubbed = log.scrub(&mut FullSpeed, &mut |at, damage| panic!("{damage} at {at}"));
    let scrubbed = scrubbed.expect("scrubbed");
    assert!(scrubbed.finished && scrubbed.damaged == 0);
    assert_eq!((scrubbed.frames, scrubbed.large_bodies), (50, 50));
}

fn check_places(log: &impl Log, placed: &[Placed]) {
    for (number, at) in placed.iter().enumerate() {
        for (index, bytes) in BODIES.into_iter().enumerate() {
            let mut out = vec![0; bytes as usize];
            log.read_body(place(at, index + 2), &mut out).expect("read");
            assert_eq!(out, body(number as u64, index));
        }
        let mut out = [0; 4];
        log.read(place(at, 1), &mut out).expect("read");
        assert_eq!(&out, b"meta");
        let frame = log.read_frame(at.frame).expect("read");
        assert_eq!(
            (frame.frame().number, frame.frame().next),
            (number as u64, at.next)
        );
    }
}

pub(super) fn what_is_erased_is_gone(fixture: &impl Fixture) {
    let log = fixture.open().expect("the log opens");
    let placed = fill(&log, 0, 20);
    let span = |number: usize, part: usize| Span {
        at: place(&placed[number], part),
        bytes: BODIES[part - 2],
    };
    let name = Span {
        at: Location {
            offset: place(&placed[5], 0).offset + 10,
            ..place(&placed[5], 0)
        },
        bytes: 20,
    };
    let spans = [span(3, 2), span(3, 3), span(4, 4), span(19, 2), name];
    for again in [false, true] {
        let reclaimed = log
            .erase(&spans, Least::ANY, &mut FullSpeed)
            .expect("erased");
        assert_eq!(reclaimed.spans, spans.len() as u64);
        assert_eq!(reclaimed.bytes == 0, again, "what is gone is gone once");
    }
    check_erased(&log, &placed, &spans);
    let not_a_part = Span {
        bytes: 299,
        ..span(6, 2)
    };
    assert!(matches!(
        log.erase(&[span(7, 2), not_a_part], Least::ANY, &mut FullSpeed),
        Err(AppendError::NotAPart { .. })
    ));
    let much = Least {
        percent: 90,
        bytes: 0,
    };
    let kept = log
        .erase(&[span(7, 2)], much, &mut FullSpeed)
        .expect("asked");
    assert_eq!((kept.spans, kept.kept, kept.files), (0, 1, 0));
    check_erased(&log, &placed, &spans);
    drop(log);
    let log = fixture.open().expect("the log opens again");
    check_erased(&log, &placed, &spans);
    let scrubbed = log.scrub(&mut FullSpeed, &mut |at, damage| panic!("{damage} at {at}"));
    assert_eq!(scrubbed.expect("scrubbed").large_bodies, 19, "one is gone");
}

/// All but the last of `spans` are bodies.
fn check_erased(log: &impl Log, placed: &[Placed], spans: &[Span]) {
    for (number, at) in placed.iter().enumerate() {
        let frame = log.read_frame(at.frame).expect("read");
        let parts: Vec<(Location, PartBytes<'_>)> = frame.frame().parts().collect();
        for index in 0..BODIES.len() {
            let (at, part) = parts[index + 2];
            assert_eq!(part.len(), BODIES[index]);
            let mut out = vec![0; part.len() as usize];
            let read = log.read_body(at, &mut out);
            if spans.iter().any(|span| span.at == at) {
                assert!(matches!(read, Err(ReadError::Erased { .. })), "{read:?}");
                assert!(matches!(part, PartBytes::Erased { .. }), "{part:?}");
            } else {
                read.expect("what was not erased is there");
                assert_eq!(out, body(number as u64, index));
                assert_eq!(bytes_of(log, (at, part)), out);
            }
        }
        let mut expected = vec![number as u8; 40];
        if number == 5 {
            expected[10..30].fill(0);
        }
        assert_eq!(
            parts[0].1,
            PartBytes::Here(&expected),
            "a range of a head is zeros"
        );
    }
    let mut erased = 0;
    log.scan(Scan::from(log.start()).with_bodies(), &mut |frame| {
        let gone = |part: &PartBytes<'_>| matches!(part, PartBytes::Erased { .. });
        erased += frame.parts().filter(|(_, part)| gone(part)).count();
        ControlFlow::Continue(())
    })
    .expect("scanned");
    assert_eq!(erased, spans.len() - 1);
}
