//! A small log of several segments, closed or not, and what its files are.

use super::{Remembered, SMALL, append};
use ate_log::{FileLog, Image, Location, Log, MemStorage, Placed, SEGMENT_HEADER_BYTES};
use std::sync::Arc;

/// A log with everything that the verdicts are judged by.
pub(crate) struct Sample {
    pub(crate) image: Image,
    pub(crate) frames: Vec<Remembered>,
    pub(crate) placed: Vec<Placed>,
    /// The durable end when each frame was appended.
    pub(crate) watermarks: Vec<Location>,
    pub(crate) end: Location,
}

pub(crate) enum Ending {
    Closed,
    Dropped,
}

pub(crate) fn sample(ending: Ending) -> Sample {
    let storage = MemStorage::new();
    let log = FileLog::open(Arc::new(storage.clone()), SMALL).expect("nothing stands in the way");
    let (mut frames, mut placed, mut watermarks) = (Vec::new(), Vec::new(), Vec::new());
    let mut number = 0;
    for (group, bytes) in [
        (1, 300),
        (2, 150),
        (1, 500),
        (3, 90),
        (2, 400),
        (1, 90),
        (2, 250),
        (1, 100),
        (3, 150),
    ] {
        let group: Vec<Remembered> = (0..group)
            .map(|_| {
                number += 1;
                Remembered::commit(number, bytes)
            })
            .collect();
        let durable = log.durable();
        let places = append(&log, &group).expect("nothing stands in the way");
        watermarks.extend(places.iter().map(|place| {
            durable.max(Location {
                file: place.frame.file,
                offset: SEGMENT_HEADER_BYTES,
            })
        }));
        placed.extend(places);
        frames.extend(group);
        log.sync().expect("nothing stands in the way");
    }
    assert!(log.end().file >= 3, "the sample has several segments");
    if let Ending::Closed = ending {
        log.close().expect("nothing stands in the way");
    }
    Sample {
        end: log.end(),
        image: storage.image(),
        frames,
        placed,
        watermarks,
    }
}

/// Numbers and names of the segment files.
pub(crate) fn segments(image: &Image) -> Vec<(u32, String)> {
    let names: Vec<String> = image
        .keys()
        .filter(|name| name.ends_with(".seg"))
        .cloned()
        .collect();
    names
        .into_iter()
        .enumerate()
        .map(|(index, name)| (index as u32 + 1, name))
        .collect()
}
