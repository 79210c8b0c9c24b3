//! Every flipped bit, every truncation and every lost sector of a small log of several
//! segments gets the right verdict: damage is named, a torn tail is cut, and nothing that a
//! watermark proves is ever missing without an error.
#![expect(
    clippy::print_stdout,
    reason = "how many of what were judged how, for `--nocapture`"
)]

mod common;

use ate_log::{
    Damage, FileLog, Image, Location, Log, MemStorage, OpenError, ReadError, SEGMENT_HEADER_BYTES,
};
use common::{
    Remembered, SMALL, append,
    sample::{Ending, Sample, sample, segments},
    scan,
};
use std::sync::Arc;

/// What a writer and a reader make of a directory.
#[derive(Debug, PartialEq)]
enum Found {
    Frames(Vec<Remembered>),
    /// The damage, and what could be read before it.
    Damage(Location, Vec<Remembered>),
}

fn open_writer(image: Image) -> (Found, Option<FileLog>) {
    match FileLog::open(Arc::new(MemStorage::from_image(image)), SMALL) {
        Ok(log) => match scan(&log) {
            (frames, None) => (Found::Frames(frames), Some(log)),
            (frames, Some(ReadError::Corrupt { at, .. })) => (Found::Damage(at, frames), None),
            (_, Some(other)) => panic!("scan: {other}"),
        },
        Err(OpenError::Corrupt { at, .. }) => (Found::Damage(at, Vec::new()), None),
        Err(other) => panic!("open: {other}"),
    }
}

fn open_reader(image: &Image) -> Found {
    let storage = MemStorage::from_image(image.clone());
    let found = match FileLog::open_reader(Arc::new(storage.clone())) {
        Ok(log) => match scan(&log) {
            (frames, None) => Found::Frames(frames),
            (frames, Some(ReadError::Corrupt { at, .. })) => Found::Damage(at, frames),
            (_, Some(other)) => panic!("scan: {other}"),
        },
        Err(OpenError::Corrupt { at, .. }) => Found::Damage(at, Vec::new()),
        Err(other) => panic!("open: {other}"),
    };
    assert_eq!(&storage.image(), image, "a reader changes nothing");
    found
}

/// How often damage got which verdict, from reader and writer together.
#[derive(Default, Debug)]
struct Tally {
    corrupt: usize,
    /// Cut off: it may never have been whole.
    torn: usize,
    /// A valid, shorter log: cut at the border of a frame.
    shorter: usize,
    /// The bytes mean nothing, all frames are there.
    unused: usize,
}

fn flip_every_bit(sample: &Sample) -> Tally {
    let (mut tally, mut flips) = (Tally::default(), 0);
    for (file, name) in segments(&sample.image) {
        for bit in 0..sample.image[&name].len() * 8 {
            let mut image = sample.image.clone();
            image.get_mut(&name).expect("listed above")[bit / 8] ^= 1 << (bit % 8);
            let flipped = Location {
                file,
                offset: bit as u32 / 8,
            };
            flips += 1;
            let reader = open_reader(&image);
            let (writer, _) = open_writer(image);
            for found in [&reader, &writer] {
                match found {
                    Found::Frames(frames) => {
                        assert_eq!(
                            frames, &sample.frames,
                            "bit {bit} of {name} changed or dropped frames"
                        );
                        assert!(
                            flipped >= sample.end,
                            "bit {bit} of {name} is used and its flip was not seen"
                        );
                        tally.unused += 1;
                    }
                    Found::Damage(at, frames) => {
                        assert!(
                            at.file == file && at.offset <= flipped.offset,
                            "bit {bit} of {name}: named {at}"
                        );
                        assert!(sample.frames.starts_with(frames));
                        tally.corrupt += 1;
                    }
                }
            }
        }
    }
    println!("{flips} flips judged by reader and writer: {tally:?}");
    tally
}

#[test]
fn every_flipped_bit_of_a_closed_log_is_found() {
    let tally = flip_every_bit(&sample(Ending::Closed));
    assert!(tally.corrupt > 50_000);
    assert_eq!(
        tally.unused, 0,
        "a closed log has no byte that means nothing"
    );
}

#[test]
fn every_flipped_bit_of_an_unclosed_log_is_found_or_lies_behind_its_end() {
    let tally = flip_every_bit(&sample(Ending::Dropped));
    assert!(tally.corrupt > 50_000 && tally.unused > 0, "{tally:?}");
}

fn truncate_everywhere(sample: &Sample) {
    let (mut tally, mut lengths) = (Tally::default(), 0);
    let segments = segments(&sample.image);
    let newest = segments.len() as u32;
    for (file, name) in segments {
        for length in 0..sample.image[&name].len() {
            let mut image = sample.image.clone();
            image.get_mut(&name).expect("listed above").truncate(length);
            lengths += 1;
            let reader = open_reader(&image);
            let (writer, log) = open_writer(image.clone());
            if (SEGMENT_HEADER_BYTES as usize..).contains(&length) && file < newest {
                let storage = Arc::new(MemStorage::from_image(image.clone()));
                let error =
                    FileLog::open(storage, SMALL).expect_err("a writer looks at every length");
                assert!(
                    matches!(error, OpenError::Corrupt { at, damage: Damage::SegmentShort } if at.file == file)
                );
            }
            let cut = Location {
                file,
                offset: length as u32,
            };
            if file < newest || cut.offset < SEGMENT_HEADER_BYTES {
                for found in [&reader, &writer] {
                    let Found::Damage(at, _) = found else {
                        panic!("{name} cut to {length}: {found:?}")
                    };
                    assert!(
                        at.file == file && at.offset <= cut.offset.max(SEGMENT_HEADER_BYTES),
                        "{at}"
                    );
                    tally.corrupt += 1;
                }
                continue;
            }
            let left = sample
                .placed
                .iter()
                .filter(|place| place.next <= cut)
                .count();
            let expected = Found::Frames(sample.frames[..left].to_vec());
            assert_eq!(
                (&reader, &writer),
                (&expected, &expected),
                "{name} cut to {length}"
            );
            let is_border = |place: &ate_log::Placed| place.frame == cut || place.next == cut;
            match left == sample.frames.len() {
                true => tally.unused += 2,
                false if sample.placed.iter().any(is_border) => tally.shorter += 2,
                false => tally.torn += 2,
            }
            // Writing goes on behind what is left.
            let log = log.expect("opened, as no damage was found");
            append(&log, &[Remembered::commit(99, 30)]).expect("nothing stands in the way");
            log.sync().expect("nothing stands in the way");
            assert_eq!(scan(&log).0.len(), left + 1);
        }
    }
    println!("{lengths} lengths judged by reader and writer: {tally:?}");
    assert!(tally.corrupt > 5000 && tally.torn > 500 && tally.shorter > 2);
}

#[test]
fn every_truncation_of_a_closed_log_gets_its_verdict() {
    truncate_everywhere(&sample(Ending::Closed));
}

#[test]
fn every_truncation_of_an_unclosed_log_gets_its_verdict() {
    truncate_everywhere(&sample(Ending::Dropped));
}

#[test]
fn a_lost_sector_is_torn_only_above_every_watermark() {
    let sample = sample(Ending::Dropped);
    let (mut torn, mut corrupt) = (0, 0);
    for (file, name) in segments(&sample.image) {
        let length = sample.image[&name].len();
        for sector in (0..length).step_by(512) {
            let mut image = sample.image.clone();
            let lost = sector..(sector + 512).min(length);
            image.get_mut(&name).unwrap()[lost.clone()].fill(0);
            let within = |at: Location| at.file == file && lost.contains(&(at.offset as usize));
            // Frames that touch the sector, and whether a readable later header proves the first.
            let first = sample.placed.iter().position(|place| {
                place.frame.file == file
                    && (place.frame.offset as usize) < lost.end
                    && place.next.offset as usize > lost.start
            });
            let reader = open_reader(&image);
            let before = image.clone();
            let (writer, log) = open_writer(image);
            let Some(first) = first else {
                if sector > 0 {
                    assert_eq!(
                        (&reader, &writer),
                        (&Found::Frames(sample.frames.clone()), &reader),
                        "{name} {sector}"
                    );
                }
                continue;
            };
            let newest = file == sample.end.file;
            let proven = (first + 1..sample.placed.len()).any(|later| {
                let place = sample.placed[later].frame;
                let header_whole = !within(place)
                    && !within(Location {
                        offset: place.offset + 59,
                        ..place
                    });
                place.file == file
                    && header_whole
                    && sample.watermarks[later] > sample.placed[first].frame
            });
            if sector == 0 || !newest || proven {
                assert!(
                    matches!(&reader, Found::Damage(at, _) if at.file == file),
                    "{name} {sector}: {reader:?}"
                );
                assert!(
                    matches!(&writer, Found::Damage(at, _) if at.file == file),
                    "{name} {sector}: {writer:?}"
                );
                corrupt += 1;
            } else {
                let expected = Found::Frames(sample.frames[..first].to_vec());
                assert_eq!(
                    (&reader, &writer),
                    (&expected, &expected),
                    "{name} {sector}"
                );
                let log = log.unwrap();
                let placed = append(&log, &[Remembered::commit(99, 30)]).unwrap();
                // Where anything stands behind the end, more of it might still arrive.
                let end = sample.placed[first].frame.offset as usize;
                let is_zero = before[&name][end..].iter().all(|byte| *byte == 0);
                assert_eq!(
                    placed[0].frame.file > file,
                    !is_zero,
                    "{name} {sector}: written on at {}",
                    placed[0].frame
                );
                torn += 1;
            }
        }
    }
    assert!(torn > 0 && corrupt > 3, "torn {torn}, corrupt {corrupt}");
}

#[test]
fn a_missing_segment_is_damage() {
    for ending in [Ending::Closed, Ending::Dropped] {
        missing(&sample(ending));
    }
}

fn missing(sample: &Sample) {
    let segments = segments(&sample.image);
    let (_, newest) = segments.last().expect("it has several");
    let mut image = sample.image.clone();
    image.remove(newest);
    let left = sample.placed.iter();
    let left = left.filter(|place| place.frame.file < sample.end.file);
    let expected = Found::Frames(sample.frames[..left.count()].to_vec());
    assert_eq!(open_reader(&image), expected, "a valid, shorter log");
    assert_eq!(open_writer(image).0, expected, "a valid, shorter log");
    for (file, name) in &segments[..segments.len() - 1] {
        let mut image = sample.image.clone();
        image.remove(name);
        let found = open_writer(image.clone()).0;
        assert_eq!(
            found,
            Found::Damage(
                Location {
                    file: *file,
                    offset: 0
                },
                Vec::new()
            )
        );
        assert_eq!(open_reader(&image), found);
    }
}

#[test]
fn a_segment_of_another_log_is_damage() {
    let sample = sample(Ending::Closed);
    let other = MemStorage::new();
    let log = FileLog::open(
        Arc::new(other.clone()),
        ate_log::LogOptions {
            log_id: [9; 16],
            ..SMALL
        },
    )
    .unwrap();
    for number in 0..20 {
        append(&log, &[Remembered::commit(number, 300)]).unwrap();
    }
    log.close().unwrap();
    let mut image = sample.image.clone();
    let name = "log-00000002.seg";
    image.insert(name.into(), other.image()[name].clone());
    let found = open_writer(image).0;
    assert_eq!(
        found,
        Found::Damage(Location { file: 2, offset: 0 }, Vec::new())
    );
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let mut sample = sample(Ending::Closed);
    let bytes = sample.image.get_mut("log-00000001.seg").unwrap();
    bytes[8] = 3;
    let crc = crc32c::crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    let storage = Arc::new(MemStorage::from_image(sample.image));
    let error = FileLog::open(storage.clone(), SMALL).unwrap_err();
    assert_eq!(
        error.to_string(),
        "log-00000001.seg has format version 3, this build reads up to 2"
    );
    assert!(matches!(
        FileLog::open_reader(storage),
        Err(OpenError::NewerFormat { found: 3, .. })
    ));
}
