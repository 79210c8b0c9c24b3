//! Mending a log with a backup of it: whatever is damaged comes back from there, exactly, and what does
//! not is named.

mod common;

use ate_log::{
    BackupError, FileLog, FullSpeed, Image, Log, Loss, LossyStorage, MemStorage, Storage,
    discard_damaged, repair,
};
use common::{
    SMALL,
    story::{Contents, Story, contents, read_image, shared},
};
use std::sync::Arc;

const STORE: [u8; 16] = *b"a store anew....";

/// The story's directory as it is, and a backup of it.
fn backed_up(story: &Story) -> (Image, MemStorage) {
    let to = MemStorage::new();
    story
        .log
        .backup(&shared(&to), &mut FullSpeed)
        .expect("backed up");
    (story.storage.image(), to)
}

fn mend(image: Image, from: &MemStorage, context: &str) -> (MemStorage, ate_log::Repaired) {
    let storage = MemStorage::from_image(image);
    let prepared = repair(&shared(&storage), &shared(from), STORE, &mut FullSpeed)
        .unwrap_or_else(|error| panic!("{context}: {error:?}"));
    let repaired = prepared.finish().expect(context);
    (storage, repaired)
}

fn opened(storage: &MemStorage, context: &str) -> Contents {
    let log =
        FileLog::open(shared(storage), SMALL).unwrap_or_else(|error| panic!("{context}: {error}"));
    let seen = contents(&log).unwrap_or_else(|error| panic!("{context}: {error}"));
    log.scrub(&mut FullSpeed, &mut |at, damage| {
        panic!("{context}: {at}: {damage}")
    })
    .expect(context);
    seen
}

/// The files that something can be wrong with.
fn files(image: &Image) -> Vec<String> {
    let names = image.keys().cloned();
    names
        .filter(|name| name != "lock" && name != "reserve")
        .collect()
}

#[test]
fn every_file_that_is_lost_comes_back() {
    let story = Story::example();
    let (image, from) = backed_up(&story);
    for name in files(&image) {
        let mut damaged = image.clone();
        let lost = damaged.remove(&name).expect("listed");
        let (storage, repaired) = mend(damaged, &from, &name);
        assert_eq!(repaired.damaged, [], "{name}");
        assert!(!repaired.mended.is_empty(), "{name}");
        assert_eq!(opened(&storage, &name), story.durable(), "{name}");
        if name.starts_with("heads") || name.starts_with("bodies") {
            assert_eq!(storage.image()[&name], lost, "{name}: byte for byte");
        }
    }
}

#[test]
fn every_file_that_is_flipped_or_cut_is_mended_and_the_damaged_one_is_kept() {
    let story = Story::example();
    let (image, from) = backed_up(&story);
    for name in files(&image) {
        let length = story.storage.size(&name).expect("listed") as usize;
        for place in 0..9 {
            let mut damaged = image.clone();
            let bytes = damaged.get_mut(&name).expect("listed");
            let context = format!("{name} at {place} of 8");
            let at = (length - 1) * place / 7;
            let end = story.log.durable();
            if name.contains(&format!("log-{:08}", end.file)) && at >= end.offset as usize {
                // Zeros ahead of the end: nobody knows whether a frame stood there.
                continue;
            }
            if place == 8 {
                bytes.truncate(length / 2);
            } else {
                bytes[at] ^= 0x20;
            }
            let bad = bytes.clone();
            let before = FileLog::open_damaged(Arc::new(MemStorage::from_image(damaged.clone())));
            let was_damaged = before.is_ok_and(|log| {
                contents(&log).ok() != Some(story.durable()) || !log.damage().is_empty()
            });
            let (storage, repaired) = mend(damaged, &from, &context);
            assert_eq!(repaired.damaged, [], "{context}");
            assert_eq!(opened(&storage, &context), story.durable(), "{context}");
            if was_damaged {
                let kept = storage.image().remove(&format!("damaged-{name}"));
                assert_eq!(kept.as_ref(), Some(&bad), "{context}");
                assert!(
                    !discard_damaged(&shared(&storage))
                        .expect("discarded")
                        .is_empty()
                );
                assert!(
                    storage
                        .image()
                        .keys()
                        .all(|name| !name.starts_with("damaged-"))
                );
            }
        }
    }
}

#[test]
fn what_was_sealed_since_the_backup_is_mended_from_its_segments() {
    let mut story = Story::example();
    let (_, from) = backed_up(&story);
    story.seal_all();
    let image = story.storage.image();
    for name in files(&image) {
        for is_lost in [true, false] {
            let context = format!("{name} {is_lost}");
            let mut damaged = image.clone();
            if is_lost {
                damaged.remove(&name);
            } else {
                let bytes = damaged.get_mut(&name).expect("listed");
                let at = bytes.len() / 2;
                bytes[at] ^= 1;
            }
            let (storage, repaired) = mend(damaged, &from, &context);
            assert_eq!(repaired.damaged, [], "{context}");
            assert_eq!(opened(&storage, &context), story.durable(), "{context}");
        }
    }
}

#[test]
fn what_was_erased_since_the_backup_stays_erased() {
    let mut story = Story::example();
    let (_, from) = backed_up(&story);
    story.erase(0);
    story.erase(1);
    let image = story.storage.image();
    let names: Vec<String> = files(&image)
        .into_iter()
        .filter(|name| name.starts_with("bodies-"))
        .collect();
    for name in names {
        let mut damaged = image.clone();
        let bytes = damaged.get_mut(&name).expect("listed");
        let at = bytes.len() - 9;
        bytes[at] ^= 1;
        let (storage, repaired) = mend(damaged, &from, &name);
        assert_eq!(repaired.damaged, [], "{name}");
        assert_eq!(opened(&storage, &name), story.durable(), "{name}");
    }
}

#[test]
fn what_an_older_backup_does_not_have_is_named_and_the_rest_mended() {
    let mut story = Story::example();
    let (_, from) = backed_up(&story);
    let known = story.frames.len();
    for _ in 0..3 {
        story.append(300);
    }
    story.sync();
    let mut image = story.storage.image();
    // One frame that the backup has, one that it has not.
    for index in [known - 1, known + 1] {
        let at = story.frames[index].1.part(&[20]);
        let name = format!("log-{:08}.seg", at.file);
        image.get_mut(&name).expect("there")[at.offset as usize + 5] ^= 1;
    }
    let (storage, repaired) = mend(image, &from, "older");
    let frames: Vec<_> = repaired
        .damaged
        .iter()
        .filter_map(|range| range.frame)
        .collect();
    let numbers: Vec<u64> = frames.iter().map(|frame| frame.number).collect();
    assert_eq!(numbers, [known as u64 + 1], "{repaired:?}");
    let log = FileLog::open_damaged(shared(&storage)).expect("opens");
    let mut seen = 0;
    log.survey(&mut |surveyed| {
        seen += usize::from(matches!(surveyed, ate_log::Surveyed::Frame(_)));
        std::ops::ControlFlow::Continue(())
    })
    .expect("surveyed");
    assert_eq!(seen, story.frames.len() - 1);
}

#[test]
fn a_lost_manifest_makes_another_store() {
    let story = Story::example();
    let (mut image, from) = backed_up(&story);
    image.remove("manifest");
    let (storage, _) = mend(image, &from, "manifest");
    let log = FileLog::open(shared(&storage), SMALL).expect("opened");
    assert_eq!((log.log_id(), log.store_id()), (story.log.log_id(), STORE));
}

#[test]
fn a_copy_of_something_else_mends_nothing() {
    let story = Story::example();
    let (image, from) = backed_up(&story);
    let storage = MemStorage::from_image(image.clone());
    let options = ate_log::LogOptions {
        log_id: [9; 16],
        ..SMALL
    };
    let other = MemStorage::new();
    drop(FileLog::open(shared(&other), options).expect("opened"));
    let refused = repair(&shared(&storage), &shared(&other), STORE, &mut FullSpeed);
    assert!(
        matches!(refused, Err(BackupError::OtherLog { .. })),
        "{refused:?}"
    );
    let restored = MemStorage::new();
    let restoring = ate_log::restore(&shared(&from), &shared(&restored), STORE, &mut FullSpeed);
    restoring.expect("restored").finish().expect("finished");
    let refused = repair(&shared(&storage), &shared(&restored), STORE, &mut FullSpeed);
    assert!(
        matches!(refused, Err(BackupError::OtherStore { .. })),
        "{refused:?}"
    );
    let live = repair(
        &shared(&story.storage),
        &shared(&from),
        STORE,
        &mut FullSpeed,
    );
    assert!(matches!(live, Err(BackupError::Locked { .. })), "{live:?}");
}

#[test]
fn an_interrupted_repair_is_made_again() {
    let story = Story::example();
    let (mut image, from) = backed_up(&story);
    for (_, bytes) in image.iter_mut().filter(|(name, _)| name.ends_with(".seg")) {
        let at = bytes.len() * 2 / 3;
        bytes[at] ^= 1;
    }
    let run = |storage: &LossyStorage| {
        let from = shared(&from);
        let prepared = repair(&shared(storage), &from, STORE, &mut FullSpeed);
        prepared.is_ok_and(|prepared| prepared.finish().is_ok())
    };
    let whole = LossyStorage::from_image(image.clone());
    assert!(run(&whole));
    for call in 1..=whole.calls() {
        let storage = LossyStorage::from_image(image.clone());
        storage.cut_at(call);
        assert!(!run(&storage), "call {call}");
        for loss in [Loss::Everything, Loss::Nothing, Loss::Random { seed: call }] {
            let context = format!("call {call} {loss:?}");
            let image = storage.image_after_cut(loss);
            if let Ok(seen) = read_image(image.clone()) {
                assert_eq!(
                    seen,
                    story.durable(),
                    "{context}: it opens only if it is whole"
                );
            }
            let (storage, repaired) = mend(image, &from, &context);
            assert_eq!(repaired.damaged, [], "{context}");
            assert_eq!(opened(&storage, &context), story.durable(), "{context}");
        }
    }
}
