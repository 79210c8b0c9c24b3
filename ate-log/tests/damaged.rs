//! A damaged log opened all the same: for every flipped bit, every length and every missing file of a log of several segments, exactly
//! the frames that are intact are shown, and what is damaged is named.
#![expect(clippy::print_stdout, reason = "what was judged, for `--nocapture`")]

mod common;

use ate_log::{
    Damage, DamagedRange, FileLog, Frame, FullSpeed, Image, Log, MemStorage, OpenError, Placed,
    SEGMENT_HEADER_BYTES, Scan, Surveyed,
};
use common::{
    Random, Remembered, SMALL, append,
    sample::{Ending, Sample, sample, segments},
};
use std::{ops::ControlFlow, sync::Arc};

/// What became of a damaged log.
struct Salvaged {
    /// The frames that are whole.
    frames: Vec<Remembered>,
    /// The numbers of those that are whole but for their bodies.
    bodiless: Vec<u64>,
    ranges: Vec<DamagedRange>,
}

/// What is shown of the files, and what is said of the rest.
fn salvage(image: &Image, context: &str) -> Salvaged {
    let storage = MemStorage::from_image(image.clone());
    let log = FileLog::open_damaged(Arc::new(storage))
        .unwrap_or_else(|error| panic!("{context}: {error}"));
    survey(&log, context)
}

fn survey(log: &FileLog, context: &str) -> Salvaged {
    let (mut frames, mut bodiless, mut ranges) = (Vec::new(), Vec::new(), Vec::new());
    log.survey(&mut |surveyed| {
        match surveyed {
            Surveyed::Frame(frame) => frames.push(remember(&frame)),
            Surveyed::Bodiless { frame, damage } => {
                assert_eq!(damage.at, frame.at, "{context}");
                assert!(frame.part(0).is_some(), "{context}: its head is intact");
                assert_eq!(frame.part(1), None, "{context}: its body is not");
                bodiless.push(frame.number);
                ranges.push(damage.clone());
            }
            Surveyed::Damaged(range) => ranges.push(range.clone()),
            _ => panic!("{context}: {surveyed:?}"),
        }
        ControlFlow::Continue(())
    })
    .unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(ranges, log.damage(), "{context}");
    Salvaged {
        frames,
        bodiless,
        ranges,
    }
}

fn remember(frame: &Frame<'_>) -> Remembered {
    let parts = frame.parts();
    let here = parts.filter_map(|(_, part)| part.here().map(<[u8]>::to_vec));
    Remembered {
        kind: frame.kind,
        stream: frame.stream,
        number: frame.number,
        parts: here.collect(),
    }
}

/// The same, and everything else that may be asked of such a log agrees with it.
fn salvage_and_look_around(image: &Image, context: &str) -> Salvaged {
    let storage = MemStorage::from_image(image.clone());
    let log = FileLog::open_damaged(Arc::new(storage.clone()))
        .unwrap_or_else(|error| panic!("{context}: {error}"));
    let salvaged = survey(&log, context);
    for pair in salvaged.ranges.windows(2) {
        assert!(pair[0].at < pair[1].at, "{context}: {:?}", salvaged.ranges);
    }
    let (mut whole, mut bodiless) = (salvaged.frames.iter(), salvaged.bodiless.iter());
    let shown = log.scan(Scan::from(log.start()), &mut |frame| {
        if frame.part(1).is_some() {
            assert_eq!(Some(&remember(&frame)), whole.next(), "{context}");
            let read = log.read_frame(frame.at).expect("it is whole");
            assert_eq!(remember(&read.frame()), remember(&frame), "{context}");
        } else {
            assert_eq!(Some(&frame.number), bodiless.next(), "{context}");
            assert!(log.read_frame(frame.at).is_err(), "{context}");
        }
        ControlFlow::Continue(())
    });
    assert_eq!(
        shown.expect("no damage ends it"),
        log.durable(),
        "{context}"
    );
    assert!(
        whole.next().is_none() && bodiless.next().is_none(),
        "{context}"
    );
    assert!(!log.writable() && append(&log, &[Remembered::commit(1, 1)]).is_err());
    assert_eq!(
        log.refresh().expect("refreshed"),
        log.durable(),
        "{context}"
    );
    assert_eq!(survey(&log, context).frames, salvaged.frames, "{context}");
    assert_eq!(
        storage.image(),
        *image,
        "{context}: a reader changes nothing"
    );
    salvaged
}

/// Where the bodies of a frame begin: behind its one head and that one's checksum.
fn bodies_of(place: &Placed) -> usize {
    place.parts.offset as usize + 20 + 4
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
        let mut bodies_lost = 0;
        for (file, name) in segments(&sample.image) {
            let mut image = sample.image.clone();
            for bit in 0..sample.image[&name].len() * 8 {
                let context = format!("bit {bit} of {name}");
                let flip = |image: &mut Image| {
                    image.get_mut(&name).expect("listed above")[bit / 8] ^= 1 << (bit % 8);
                };
                flip(&mut image);
                let Salvaged {
                    frames,
                    bodiless,
                    ranges,
                } = if bit % 61 == 0 {
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
                let hit_body = sample.placed.iter().position(|place| {
                    place.frame.file == file
                        && (bodies_of(place)..place.next.offset as usize).contains(&byte)
                });
                let expected = hit_body.map(|index| sample.frames[index].number);
                assert_eq!(bodiless.as_slice(), expected.as_slice(), "{context}");
                bodies_lost += bodiless.len();
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
            "{} flips: {heads} in heads of files, {frames_lost} cost a frame or (in {bodies_lost} cases) only its body, {marks} in marks, {unused} behind the end",
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
                let Salvaged { frames, ranges, .. } = salvage(&image, &context);
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
        let Salvaged { frames, ranges, .. } = salvage_and_look_around(&image, &context);
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
        let Salvaged { frames, ranges, .. } = salvage_and_look_around(&image, &context);
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
    let Salvaged { frames, ranges, .. } = salvage(&image, "checksums");
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
    let Salvaged { frames, ranges, .. } = salvage(&image, "ids");
    assert_eq!((&frames, ranges.len()), (&sample.frames, names.len()));
}

#[test]
fn a_file_with_a_made_up_number_takes_no_time_and_no_memory() {
    let sample = sample(Ending::Closed);
    let mut image = sample.image.clone();
    image.insert("log-4294967295.seg".into(), vec![7; 100]);
    let salvaged = salvage_and_look_around(&image, "made up");
    assert_eq!(salvaged.frames, sample.frames);
}

#[test]
fn a_log_without_damage_is_shown_whole() {
    for ending in [Ending::Closed, Ending::Dropped] {
        let sample = sample(ending);
        let Salvaged { frames, ranges, .. } = salvage(&sample.image, "undamaged");
        assert_eq!((&frames, ranges.len()), (&sample.frames, 0));
        let log = FileLog::open_damaged(Arc::new(MemStorage::from_image(sample.image.clone())))
            .expect("undamaged");
        assert_eq!(log.durable(), sample.end);
        assert_eq!(log.refresh().expect("refreshed"), sample.end);
    }
}

#[test]
fn damage_in_sealed_files_costs_no_more_than_their_segment() {
    let sample = sample(Ending::Closed);
    let storage = MemStorage::from_image(sample.image.clone());
    let log = FileLog::open(Arc::new(storage.clone()), SMALL).expect("undamaged");
    while log.seal(&mut FullSpeed).expect("undamaged") {}
    log.close().expect("closed");
    let image = storage.image();
    let sealed: Vec<&String> = image
        .keys()
        .filter(|name| name.starts_with("heads-") || name.starts_with("bodies-"))
        .collect();
    assert!(sealed.len() >= 4, "{sealed:?}");
    let whole = salvage_and_look_around(&image, "sealed");
    assert_eq!((&whole.frames, whole.ranges.len()), (&sample.frames, 0));
    let (mut bodies, mut frames, mut files) = (0, 0, 0);
    for name in sealed {
        let file: u32 = name
            .split('-')
            .nth(1)
            .and_then(|part| part.parse().ok())
            .expect("the number of a segment");
        for byte in 0..image[name].len() {
            let context = format!("byte {byte} of {name}");
            let mut image = image.clone();
            image.get_mut(name).expect("listed above")[byte] ^= 1 << (byte % 8);
            let salvaged = salvage_and_look_around(&image, &context);
            let is_here = |at: &usize| sample.placed[*at].frame.file == file;
            let here = (0..sample.frames.len()).filter(is_here).count();
            for at in (0..sample.frames.len()).filter(|at| !is_here(at)) {
                assert!(
                    salvaged.frames.contains(&sample.frames[at]),
                    "{context}: frame {at}"
                );
            }
            assert!(!salvaged.ranges.is_empty(), "{context}");
            assert!(
                salvaged.ranges.iter().all(|range| range.at.file == file),
                "{context}: {:?}",
                salvaged.ranges
            );
            let shown = |frame: &Remembered| sample.frames.contains(frame);
            assert!(salvaged.frames.iter().all(shown), "{context}");
            let lost = sample.frames.len() - salvaged.frames.len();
            match (lost, salvaged.bodiless.len()) {
                (1, 1) => bodies += 1,
                (1, 0) => frames += 1,
                (lost, _) => {
                    assert!(lost > 1 && lost == here, "{context}: {lost}");
                    files += 1;
                }
            }
        }
        let mut image = image.clone();
        image.remove(name);
        let salvaged = salvage_and_look_around(&image, name);
        assert!(salvaged.ranges.iter().any(|range| range.at.file == file));
    }
    println!(
        "flips in sealed files: {bodies} cost a body, {frames} a frame, {files} a file's frames"
    );
    assert!(bodies > 1000 && frames > 100 && files > 100);
    let mut image = image;
    image.get_mut("manifest").expect("it was written")[30] ^= 1;
    let salvaged = salvage_and_look_around(&image, "manifest");
    assert!(
        salvaged
            .ranges
            .iter()
            .any(|range| range.damage == Damage::Manifest)
    );
}
