//! Every flipped bit, every truncation and every lost sector of a small log of several
//! segments gets the right verdict: damage is named, a torn tail is cut, and nothing that a
//! watermark proves is ever missing without an error.

mod common;

use ate_log::{
    Damage, FileLog, Image, Location, Log, MemStorage, OpenError, Placed, ReadError,
    SEGMENT_HEADER_BYTES,
};
use common::{Remembered, SMALL, append, scan};
use std::sync::Arc;

/// A log with everything that the verdicts are judged by.
struct Sample {
    image: Image,
    frames: Vec<Remembered>,
    placed: Vec<Placed>,
    /// The durable end when each frame was appended.
    watermarks: Vec<Location>,
    end: Location,
}

enum Ending {
    Closed,
    Dropped,
}

fn sample(ending: Ending) -> Sample {
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

fn segments(image: &Image) -> Vec<(u32, String)> {
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

fn flip_every_bit(sample: &Sample) -> (usize, usize) {
    let (mut detected, mut unused) = (0, 0);
    for (file, name) in segments(&sample.image) {
        for bit in 0..sample.image[&name].len() * 8 {
            let mut image = sample.image.clone();
            image.get_mut(&name).expect("listed above")[bit / 8] ^= 1 << (bit % 8);
            let flipped = Location {
                file,
                offset: bit as u32 / 8,
            };
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
                        unused += 1;
                    }
                    Found::Damage(at, frames) => {
                        assert!(
                            at.file == file && at.offset <= flipped.offset,
                            "bit {bit} of {name}: named {at}"
                        );
                        assert!(sample.frames.starts_with(frames));
                        detected += 1;
                    }
                }
            }
        }
    }
    (detected, unused)
}

#[test]
fn every_flipped_bit_of_a_closed_log_is_found() {
    let (detected, unused) = flip_every_bit(&sample(Ending::Closed));
    assert!(detected > 50_000);
    assert_eq!(unused, 0, "a closed log has no byte that means nothing");
}

#[test]
fn every_flipped_bit_of_an_unclosed_log_is_found_or_lies_behind_its_end() {
    let (detected, unused) = flip_every_bit(&sample(Ending::Dropped));
    assert!(detected > 50_000 && unused > 0);
}

fn truncate_everywhere(sample: &Sample) {
    let segments = segments(&sample.image);
    let newest = segments.len() as u32;
    for (file, name) in segments {
        for length in 0..sample.image[&name].len() {
            let mut image = sample.image.clone();
            image.get_mut(&name).expect("listed above").truncate(length);
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
            // Writing goes on behind what is left.
            let log = log.expect("opened, as no damage was found");
            append(&log, &[Remembered::commit(99, 30)]).expect("nothing stands in the way");
            log.sync().expect("nothing stands in the way");
            assert_eq!(scan(&log).0.len(), left + 1);
        }
    }
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
    let sample = sample(Ending::Closed);
    let segments = segments(&sample.image);
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
