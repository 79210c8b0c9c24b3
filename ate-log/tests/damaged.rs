//! A damaged log opened all the same: for every flipped bit, every length and every missing file of a log of several segments, exactly
//! the frames that are intact are shown, and what is damaged is named.
#![expect(clippy::print_stdout, reason = "what was judged, for `--nocapture`")]

mod common;

use ate_log::{
    Damage, DamagedRange, FileLog, Image, Log, MemStorage, OpenError, SEGMENT_HEADER_BYTES,
    Surveyed,
};
use common::{
    Random, Remembered, SMALL, append,
    sample::{Ending, Sample, sample, segments},
    scan,
};
use std::{ops::ControlFlow, sync::Arc};

/// What is shown of the files, and what is said of the rest.
fn salvage(image: &Image, context: &str) -> (Vec<Remembered>, Vec<DamagedRange>) {
    let storage = MemStorage::from_image(image.clone());
    let log = FileLog::open_damaged(Arc::new(storage))
        .unwrap_or_else(|error| panic!("{context}: {error}"));
    let (frames, error) = scan(&log);
    assert!(error.is_none(), "{context}: {error:?}");
    (frames, log.damage().to_vec())
}

/// The same, and everything else that may be asked of such a log agrees with it.
fn salvage_and_look_around(image: &Image, context: &str) -> (Vec<Remembered>, Vec<DamagedRange>) {
    let (frames, damage) = salvage(image, context);
    let storage = MemStorage::from_image(image.clone());
    let log = FileLog::open_damaged(Arc::new(storage.clone())).expect("it opened before");
    let (mut again, mut ranges) = (0, Vec::new());
    log.survey(&mut |surveyed| {
        match surveyed {
            Surveyed::Damaged(range) => ranges.push(range.clone()),
            Surveyed::Frame(frame) => {
                let read = log.read_frame(frame.at).expect("it is intact");
                assert_eq!(read.frame().number, frame.number);
                again += 1;
            }
            _ => panic!("{context}: {surveyed:?}"),
        }
        ControlFlow::Continue(())
    })
    .unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(again, frames.len(), "{context}");
    assert_eq!(ranges, damage, "{context}");
    for pair in ranges.windows(2) {
        assert!(pair[0].at < pair[1].at, "{context}: {ranges:?}");
    }
    assert!(!log.writable() && append(&log, &[Remembered::commit(1, 1)]).is_err());
    assert_eq!(
        log.refresh().expect("refreshed"),
        log.durable(),
        "{context}"
    );
    assert_eq!(scan(&log).0, frames, "{context}");
    assert_eq!(
        storage.image(),
        *image,
        "{context}: a reader changes nothing"
    );
    (frames, ranges)
}

/// The frames that have no byte in `[from, to)` of `file`.
fn untouched(sample: &Sample, file: u32, from: usize, to: usize) -> Vec<Remembered> {
    let is_whole = |index: &usize| {
        let place = sample.placed[*index];
        place.frame.file != file
            || place.next.offset as usize <= from
            || place.frame.offset as usize >= to
    };
    let whole = (0..sample.frames.len()).filter(is_whole);
    whole.map(|index| sample.frames[index].clone()).collect()
}

#[test]
fn every_flipped_bit_costs_its_own_frame_and_no_other() {
    for (ending, has_unused) in [(Ending::Closed, false), (Ending::Dropped, true)] {
        let sample = sample(ending);
        let (mut heads, mut frames_lost, mut marks, mut unused) = (0, 0, 0, 0);
        for (file, name) in segments(&sample.image) {
            let mut image = sample.image.clone();
            for bit in 0..sample.image[&name].len() * 8 {
                let context = format!("bit {bit} of {name}");
                let flip = |image: &mut Image| {
                    image.get_mut(&name).expect("listed above")[bit / 8] ^= 1 << (bit % 8);
                };
                flip(&mut image);
                let (frames, ranges) = if bit % 61 == 0 {
                    salvage_and_look_around(&image, &context)
                } else {
                    salvage(&image, &context)
                };
                flip(&mut image);
                let byte = bit / 8;
                assert_eq!(
                    frames,
                    untouched(&sample, file, byte, byte + 1),
                    "{context}"
                );
                if (file, byte) >= (sample.end.file, sample.end.offset as usize) {
                    // Too few bytes for a frame are judged torn, more of them are damage.
                    assert!(ranges.len() <= 1, "{context}: {ranges:?}");
                    unused += 1;
                    continue;
                }
                let [range] = ranges.as_slice() else {
                    panic!("{context}: {ranges:?}")
                };
                assert!(range.at.file == file, "{context}: {range:?}");
                assert!(
                    (range.at.offset as usize..range.end as usize).contains(&byte),
                    "{context}: {range:?}"
                );
                if byte < SEGMENT_HEADER_BYTES as usize {
                    assert_eq!(range.damage, Damage::SegmentHeader, "{context}");
                    heads += 1;
                } else if frames.len() < sample.frames.len() {
                    let lost = sample
                        .placed
                        .iter()
                        .position(|place| place.frame == range.at)
                        .unwrap_or_else(|| panic!("{context}: {range:?}"));
                    // Behind the last frame of a file without a mark there is no header to find.
                    if sample.placed[lost].next != sample.end {
                        assert_eq!(range.end, sample.placed[lost].next.offset, "{context}");
                    }
                    if let Some(frame) = range.frame {
                        let known = &sample.frames[lost];
                        assert_eq!((frame.stream, frame.number), (known.stream, known.number));
                    }
                    frames_lost += 1;
                } else {
                    marks += 1;
                }
            }
        }
        println!(
            "{} flips: {heads} in heads of files, {frames_lost} cost a frame, {marks} in marks, {unused} behind the end",
            heads + frames_lost + marks + unused
        );
        assert!(frames_lost > 15_000 && heads > 1500);
        assert_eq!((marks > 0, unused > 0), (!has_unused, has_unused));
    }
}

#[test]
fn every_truncation_costs_what_was_cut_off_and_no_more() {
    let mut judged = 0;
    for ending in [Ending::Closed, Ending::Dropped] {
        let sample = sample(ending);
        let segments = segments(&sample.image);
        let newest = segments.len() as u32;
        for (file, name) in segments {
            let whole = sample.image[&name].len();
            for length in 0..whole {
                let mut image = sample.image.clone();
                image.get_mut(&name).expect("listed above").truncate(length);
                let context = format!("{name} cut to {length}");
                let (frames, ranges) = salvage(&image, &context);
                assert_eq!(frames, untouched(&sample, file, length, whole), "{context}");
                // The newest may be torn; it cannot be known to have been longer.
                let is_named = ranges.iter().any(|range| range.at.file == file);
                let is_head = length < SEGMENT_HEADER_BYTES as usize;
                assert_eq!(is_named, file < newest || is_head, "{context}: {ranges:?}");
                judged += 1;
            }
        }
    }
    println!("{judged} truncations");
    assert!(judged > 5000);
}

#[test]
fn a_missing_file_costs_its_own_frames() {
    let sample = sample(Ending::Closed);
    let segments = segments(&sample.image);
    let count = segments.len() as u32;
    for mask in 1..(1_u32 << count) - 1 {
        let is_missing = |file: u32| mask & (1 << (file - 1)) != 0;
        let mut image = sample.image.clone();
        for (_, name) in segments.iter().filter(|(file, _)| is_missing(*file)) {
            image.remove(name);
        }
        let context = format!("missing: {mask:b}");
        let (frames, ranges) = salvage_and_look_around(&image, &context);
        let left = (0..sample.frames.len()).filter(|at| !is_missing(sample.placed[*at].frame.file));
        let expected: Vec<_> = left.map(|at| sample.frames[at].clone()).collect();
        assert_eq!(frames, expected, "{context}");
        // The newest that is there is the newest that is known of.
        let newest = (1..=count).filter(|file| !is_missing(*file)).max();
        let known = (1..newest.unwrap_or(0)).filter(|file| is_missing(*file));
        let named = ranges.iter().map(|range| {
            assert_eq!(range.damage, Damage::SegmentMissing, "{context}");
            range.at.file
        });
        assert_eq!(
            named.collect::<Vec<_>>(),
            known.collect::<Vec<_>>(),
            "{context}"
        );
    }
    let none = Arc::new(MemStorage::new());
    assert!(matches!(
        FileLog::open_damaged(none),
        Err(OpenError::NotFound { .. })
    ));
}

#[test]
fn damage_in_many_places_costs_the_frames_it_is_in() {
    let sample = sample(Ending::Closed);
    let segments = segments(&sample.image);
    let mut random = Random(7);
    for round in 0..2000 {
        let mut image = sample.image.clone();
        let mut hit = Vec::new();
        for _ in 0..1 + random.below(6) {
            let (file, name) = &segments[random.below(segments.len() as u64) as usize];
            let bytes = image.get_mut(name).expect("listed above");
            let start = random.below(bytes.len() as u64) as usize;
            let end = (start + 1 + random.below(80) as usize).min(bytes.len());
            bytes[start..end].iter_mut().for_each(|byte| *byte ^= 0xa5);
            hit.push((*file, start, end));
        }
        // Damage of the mark leaves the last group unproven, but nothing looks like a lost sector here.
        let context = format!("round {round}: {hit:?}");
        let (frames, ranges) = salvage_and_look_around(&image, &context);
        // What is overwritten twice may be as it was.
        let is_hit = |at: &usize| {
            let place = sample.placed[*at];
            let name = &segments[place.frame.file as usize - 1].1;
            let range = place.frame.offset as usize..place.next.offset as usize;
            image[name][range.clone()] != sample.image[name][range]
        };
        let left = (0..sample.frames.len()).filter(|at| !is_hit(at));
        let expected: Vec<_> = left.map(|at| sample.frames[at].clone()).collect();
        assert_eq!(frames, expected, "{context}");
        assert!(!ranges.is_empty() || image == sample.image, "{context}");
    }
}

#[test]
fn a_log_without_one_whole_header_is_known_by_its_frames() {
    let sample = sample(Ending::Closed);
    let names: Vec<String> = segments(&sample.image)
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    let mut image = sample.image.clone();
    for name in &names {
        image.get_mut(name).expect("listed above")[60] ^= 1;
    }
    let (frames, ranges) = salvage(&image, "checksums");
    assert_eq!((&frames, ranges.len()), (&sample.frames, names.len()));
    // Without the id itself, what the writer published last tells it.
    for name in &names {
        image.get_mut(name).expect("listed above")[..64].fill(0xee);
    }
    let error = FileLog::open_damaged(Arc::new(MemStorage::from_image(image.clone())))
        .map(drop)
        .expect_err("nothing tells which log it is");
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
    let mut published = SMALL.log_id.to_vec();
    published.extend_from_slice(&[3, 0, 0, 0, 64, 0, 0, 0]);
    published.extend_from_slice(&crc32c::crc32c(&published).to_le_bytes());
    image.insert("lock".into(), published);
    let (frames, ranges) = salvage(&image, "ids");
    assert_eq!((&frames, ranges.len()), (&sample.frames, names.len()));
}

#[test]
fn a_log_without_damage_is_shown_whole() {
    for ending in [Ending::Closed, Ending::Dropped] {
        let sample = sample(ending);
        let (frames, ranges) = salvage(&sample.image, "undamaged");
        assert_eq!((&frames, ranges.len()), (&sample.frames, 0));
        let log = FileLog::open_damaged(Arc::new(MemStorage::from_image(sample.image.clone())))
            .expect("undamaged");
        assert_eq!(log.durable(), sample.end);
        assert_eq!(log.refresh().expect("refreshed"), sample.end);
    }
}
