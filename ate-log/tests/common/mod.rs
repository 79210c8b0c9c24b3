//! What several tests of the log need: seeded bytes, remembered frames, reading everything.
#![allow(dead_code, reason = "each test file uses its own selection")]

pub(crate) mod sample;
pub(crate) mod story;

use ate_log::{
    Entry, FrameKind, Location, Log, LogOptions, PartBytes, Placed, ReadError, Scan, StreamId,
};
use std::ops::ControlFlow;

/// Segments so small that a few frames roll them.
pub(crate) const SMALL: LogOptions = LogOptions {
    log_id: *b"log under test..",
    segment_bytes_min: 1024,
    segment_bytes_max: 2048,
    zero_window_bytes: 256,
    reserve_bytes: 1024,
    groups: 1,
};

/// One frame as a test remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) kind: FrameKind,
    pub(crate) stream: StreamId,
    pub(crate) number: u64,
    pub(crate) parts: Vec<Vec<u8>>,
}

impl Remembered {
    /// A commit whose content follows from its number; no byte is zero.
    pub(crate) fn commit(number: u64, bytes: usize) -> Self {
        let mut random = Random(number);
        let part = |length: usize, random: &mut Random| {
            (0..length).map(|_| random.below(255) as u8 + 1).collect()
        };
        let head = part(20, &mut random);
        let content = part(bytes, &mut random);
        Self {
            kind: FrameKind::Commit,
            stream: StreamId([number as u8 | 1; 32]),
            number,
            parts: vec![head, content],
        }
    }
}

/// Appends a group of remembered frames.
pub(crate) fn append(
    log: &impl Log,
    group: &[Remembered],
) -> Result<Vec<Placed>, ate_log::AppendError> {
    let parts: Vec<Vec<&[u8]>> = group
        .iter()
        .map(|frame| frame.parts.iter().map(Vec::as_slice).collect())
        .collect();
    let entries: Vec<Entry<'_>> = group
        .iter()
        .zip(&parts)
        .map(|(frame, parts)| Entry {
            kind: frame.kind,
            stream: frame.stream,
            number: frame.number,
            head_parts: 1,
            parts,
        })
        .collect();
    let mut placed = Vec::new();
    log.append(&entries, &mut placed)?;
    Ok(placed)
}

/// All frames of a log, and the error that ended the scan.
pub(crate) fn scan(log: &impl Log) -> (Vec<Remembered>, Option<ReadError>) {
    let mut seen = Vec::new();
    let result = log.scan(Scan::from(log.start()).with_bodies(), &mut |frame| {
        let parts = frame.parts().map(|part| bytes_of(log, part)).collect();
        seen.push(Remembered {
            kind: frame.kind,
            stream: frame.stream,
            number: frame.number,
            parts,
        });
        ControlFlow::Continue(())
    });
    (seen, result.err())
}

/// A part, wherever it lies.
fn bytes_of(log: &impl Log, (at, part): (Location, PartBytes<'_>)) -> Vec<u8> {
    match part {
        PartBytes::Here(bytes) => bytes.to_vec(),
        part => {
            let mut out = vec![0; part.len() as usize];
            log.read_body(at, &mut out).expect("a body is read");
            out
        }
    }
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
