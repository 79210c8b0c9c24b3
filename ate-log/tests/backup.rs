//! Backups of a log that goes on, and putting them back: each is the history up to its start with
//! the erasures so far, costs what is new, and an interrupted one leaves the earlier or the new one.

mod common;

use ate_log::{
    BackupError, Damage, Fault, FaultyStorage, FileLog, FileStorage, FullSpeed, Image, Log, Loss,
    LossyStorage, MemStorage, OpenError, Pace, ReadError, Storage, backup_info, open_backup,
    restore, verify_backup,
};
use common::{
    Random, Remembered, SMALL, append,
    story::{Contents, Story, contents, read_image, shared},
};
use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

const STORE: [u8; 16] = *b"another store...";

fn whole(image: &Image, context: &str) {
    let storage = shared(&MemStorage::from_image(image.clone()));
    let verified = verify_backup(&storage, &mut FullSpeed).expect("a backup");
    assert_eq!(verified.damaged, Vec::<String>::new(), "{context}");
}

/// A backup opens as a log for readers and for writers, is whole, and has exactly this.
fn judge(image: &Image, expected: &Contents, context: &str) {
    whole(image, context);
    assert_eq!(
        &read_image(image.clone()).expect(context),
        expected,
        "{context}: plain"
    );
    let storage = MemStorage::from_image(image.clone());
    let viewed = open_backup(&shared(&storage)).expect(context);
    assert_eq!(
        &contents(&viewed).expect(context),
        expected,
        "{context}: viewed"
    );
    let refused = FileLog::open(Arc::new(storage.clone()), SMALL);
    assert!(
        matches!(refused, Err(OpenError::Backup { .. })),
        "{context}"
    );
    storage.remove("backup").expect(context);
    let log = FileLog::open(Arc::new(storage), SMALL).expect(context);
    assert_eq!(
        &contents(&log).expect(context),
        expected,
        "{context}: written"
    );
    let mut damage = Vec::new();
    log.scrub(&mut FullSpeed, &mut |at, what| damage.push((at, what)))
        .expect(context);
    assert_eq!(damage, [], "{context}");
    append(&log, &[Remembered::commit(1, 300)]).expect(context);
    log.sync().expect(context);
}

#[test]
fn every_backup_is_the_history_up_to_its_start() {
    for seed in 0..16 {
        let mut random = Random(seed);
        let (mut story, to) = (Story::new(), MemStorage::new());
        for step in 0..90 {
            if random.below(8) > 0 {
                story.step(&mut random);
                continue;
            }
            let context = format!("seed {seed} step {step}");
            let done = story
                .log
                .backup(&shared(&to), &mut FullSpeed)
                .expect(&context);
            assert_eq!(done.end, story.log.durable(), "{context}");
            judge(&to.image(), &story.durable(), &context);
        }
        story.sync();
        story
            .log
            .backup(&shared(&to), &mut FullSpeed)
            .expect("backed up");
        let image = to.image();
        for &index in &story.erased {
            let needle = &story.frames[index].0.parts[1][..16];
            for (name, bytes) in &image {
                let found = bytes.windows(16).any(|window| window == needle);
                assert!(!found, "seed {seed}: {name} still has what was erased");
            }
        }
    }
}

#[test]
fn an_incremental_backup_copies_what_is_new() {
    let (mut story, to) = (Story::example(), MemStorage::new());
    let first = story
        .log
        .backup(&shared(&to), &mut FullSpeed)
        .expect("backed up");
    assert!(
        first.files_kept == 0 && first.bytes_copied >= first.bytes,
        "{first:?}"
    );
    let again = story
        .log
        .backup(&shared(&to), &mut FullSpeed)
        .expect("backed up");
    assert_eq!(
        (again.files_copied, again.bytes_copied),
        (0, 0),
        "{again:?}"
    );
    assert_eq!(again.files_kept, first.files_copied);

    story.append(100);
    story.sync();
    let little = story
        .log
        .backup(&shared(&to), &mut FullSpeed)
        .expect("backed up");
    let newest = u64::from(SMALL.segment_bytes_max);
    assert!(
        little.bytes_copied <= 2 * newest && little.files_copied <= 2,
        "{little:?}"
    );

    // Sealing a segment moves its bytes once; what was sealed stays.
    story.log.seal(&mut FullSpeed).expect("sealed");
    let sealed = story
        .log
        .backup(&shared(&to), &mut FullSpeed)
        .expect("backed up");
    assert!(
        sealed.bytes_copied <= 2 * newest && sealed.files_copied <= 3,
        "{sealed:?}"
    );

    story.append(90_000);
    story.sync();
    let large = story
        .log
        .backup(&shared(&to), &mut FullSpeed)
        .expect("backed up");
    assert!(large.bytes_copied < 90_000 + 4096 + 2 * newest, "{large:?}");
    judge(&to.image(), &story.durable(), "the last");
}

/// Cuts the power at every call of `run` on a copy of `image`; shows what is left.
fn cut_everywhere(
    image: &Image,
    seeds: u64,
    run: impl Fn(&Arc<dyn Storage>) -> bool,
    mut judge: impl FnMut(Image, &str),
) {
    let whole = LossyStorage::from_image(image.clone());
    assert!(run(&shared(&whole)), "it works without a cut");
    for call in 1..=whole.calls() {
        let storage = LossyStorage::from_image(image.clone());
        storage.cut_at(call);
        assert!(!run(&shared(&storage)), "call {call} is made");
        let random = (0..seeds).map(|seed| Loss::Random { seed: call + seed });
        for loss in [Loss::Everything, Loss::Nothing, Loss::Writes]
            .into_iter()
            .chain(random)
        {
            judge(
                storage.image_after_cut(loss),
                &format!("call {call} {loss:?}"),
            );
        }
    }
}

#[test]
fn an_interrupted_backup_leaves_the_earlier_one_or_the_new_one() {
    // Sealed since, erased since (small and large), grown since.
    let mut story = Story::example();
    let to = MemStorage::new();
    story
        .log
        .backup(&shared(&to), &mut FullSpeed)
        .expect("backed up");
    let (before, earlier) = (to.image(), story.durable());
    story.seal_all();
    story.erase(10);
    story.erase(5);
    story.log.roll().expect("rolled");
    for bytes in [300, 67_000, 300] {
        story.append(bytes);
    }
    story.sync();
    story.seal_all();
    let later = story.durable();
    let mut seen = [0; 3];
    let run = |to: &Arc<dyn Storage>| story.log.backup(to, &mut FullSpeed).is_ok();
    cut_everywhere(&before, 2, run, |image, context| {
        whole(&image, context);
        let viewed = open_backup(&shared(&MemStorage::from_image(image.clone())));
        let viewed = contents(&viewed.expect(context)).expect(context);
        let is_new = viewed == later;
        assert!(
            is_new || viewed == earlier,
            "{context}: neither the earlier nor the new one"
        );
        match read_image(image.clone()) {
            Ok(plain) if plain == earlier => seen[0] += 1,
            Ok(plain) if plain == later => seen[1] += 1,
            Ok(plain) => {
                let numbers =
                    |contents: &Contents| contents.iter().map(|(n, _)| *n).collect::<Vec<_>>();
                assert!(
                    is_new && numbers(&later).starts_with(&numbers(&plain)),
                    "{context}"
                );
            }
            Err(ReadError::Corrupt {
                damage: Damage::SegmentMissing,
                ..
            }) if is_new => seen[2] += 1,
            Err(error) => panic!("{context}: {error}"),
        }
        let to = MemStorage::from_image(image);
        story
            .log
            .backup(&shared(&to), &mut FullSpeed)
            .expect(context);
        assert_eq!(read_image(to.image()).expect(context), later, "{context}");
        whole(&to.image(), context);
    });
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}

#[test]
fn an_interrupted_first_backup_is_none_or_whole() {
    let story = Story::example();
    let run = |to: &Arc<dyn Storage>| story.log.backup(to, &mut FullSpeed).is_ok();
    cut_everywhere(&Image::new(), 2, run, |image, context| {
        let to = MemStorage::from_image(image);
        if backup_info(&shared(&to)).expect(context).is_some() {
            whole(&to.image(), context);
            let viewed = open_backup(&shared(&to)).expect(context);
            assert_eq!(
                contents(&viewed).expect(context),
                story.durable(),
                "{context}"
            );
        } else {
            let opened = FileLog::open_reader(shared(&to));
            assert!(
                matches!(opened, Err(OpenError::NotFound { .. })),
                "{context}"
            );
        }
        story
            .log
            .backup(&shared(&to), &mut FullSpeed)
            .expect(context);
        judge(&to.image(), &story.durable(), context);
    });
}

#[test]
fn an_interrupted_restore_is_refused_until_it_was_finished() {
    let (story, from) = (Story::example(), MemStorage::new());
    story
        .log
        .backup(&shared(&from), &mut FullSpeed)
        .expect("backed up");
    let from = shared(&from);
    let run = |to: &Arc<dyn Storage>| {
        restore(&from, to, STORE, &mut FullSpeed).is_ok_and(|restore| restore.finish().is_ok())
    };
    let (mut refused, mut whole) = (0, 0);
    cut_everywhere(&Image::new(), 2, run, |image, context| {
        let to = MemStorage::from_image(image);
        match FileLog::open(Arc::new(MemStorage::from_image(to.image())), SMALL) {
            Err(OpenError::Unfinished { .. }) => refused += 1,
            Ok(log) if log.durable().offset == 64 => {
                // Nothing is there yet: a new log was made.
                assert_eq!(contents(&log).expect(context), [], "{context}");
            }
            Ok(log) => {
                assert_eq!(contents(&log).expect(context), story.durable(), "{context}");
                assert_eq!(log.store_id(), STORE, "{context}");
                whole += 1;
                return;
            }
            Err(error) => panic!("{context}: {error}"),
        }
        let again = restore(&from, &shared(&to), STORE, &mut FullSpeed).expect(context);
        again.finish().expect(context);
        assert_eq!(
            read_image(to.image()).expect(context),
            story.durable(),
            "{context}"
        );
    });
    assert!(refused > 0 && whole > 0, "{refused} {whole}");
}

#[test]
fn a_restored_log_is_another_store_with_the_same_history() {
    let (mut story, from, to) = (Story::example(), MemStorage::new(), MemStorage::new());
    story
        .log
        .backup(&shared(&from), &mut FullSpeed)
        .expect("backed up");
    let restoring = restore(&shared(&from), &shared(&to), STORE, &mut FullSpeed).expect("restored");
    assert!(matches!(
        FileLog::open_reader(shared(&to)),
        Err(OpenError::Unfinished { .. })
    ));
    let reader = restoring.reader().expect("readable by whoever restores");
    assert_eq!(contents(&reader).expect("read"), story.durable());
    let restored = restoring.finish().expect("finished");
    assert_eq!(restored.end, story.log.durable());
    let log = FileLog::open(Arc::new(to.clone()), SMALL).expect("opened");
    assert_eq!(contents(&log).expect("read"), story.durable());
    assert_eq!((log.log_id(), log.store_id()), (story.log.log_id(), STORE));
    append(&log, &[Remembered::commit(900, 50)]).expect("it goes on");
    log.sync().expect("synced");

    // Neither continues the other's backups.
    let refused = log.backup(&shared(&from), &mut FullSpeed);
    assert!(
        matches!(refused, Err(BackupError::OtherStore { .. })),
        "{refused:?}"
    );
    story.append(10);
    story.sync();
    story
        .log
        .backup(&shared(&from), &mut FullSpeed)
        .expect("backed up");
    judge(&from.image(), &story.durable(), "of the original");
}

#[test]
fn what_is_not_an_older_backup_of_this_store_is_not_overwritten() {
    let (mut story, to) = (Story::example(), MemStorage::new());
    let old = MemStorage::from_image(story.storage.image());
    story.append(10);
    story.sync();
    story
        .log
        .backup(&shared(&to), &mut FullSpeed)
        .expect("backed up");
    let before = to.image();

    let itself = story.log.backup(&shared(&story.storage), &mut FullSpeed);
    assert!(
        matches!(itself, Err(BackupError::HoldsAStore { .. })),
        "{itself:?}"
    );
    let older = FileLog::open(Arc::new(old), SMALL).expect("opened");
    let newer = older.backup(&shared(&to), &mut FullSpeed);
    assert!(matches!(newer, Err(BackupError::Newer { .. })), "{newer:?}");
    let options = ate_log::LogOptions {
        log_id: [9; 16],
        ..SMALL
    };
    let other = FileLog::open(Arc::new(MemStorage::new()), options).expect("opened");
    let other = other.backup(&shared(&to), &mut FullSpeed);
    assert!(
        matches!(other, Err(BackupError::OtherLog { .. })),
        "{other:?}"
    );
    let occupied = restore(&shared(&to), &shared(&story.storage), STORE, &mut FullSpeed);
    assert!(
        matches!(occupied, Err(BackupError::HoldsAStore { .. })),
        "{occupied:?}"
    );
    let mut names = before;
    names.remove("backup.lock");
    let mut after = to.image();
    after.remove("backup.lock");
    assert_eq!(names, after, "nothing was changed");

    let taken = to.lock("backup.lock").expect("locked").expect("free");
    let busy = story.log.backup(&shared(&to), &mut FullSpeed);
    assert!(matches!(busy, Err(BackupError::Locked { .. })), "{busy:?}");
    drop(taken);
    to.create("lock").expect("as the system does");
    let written = story.log.backup(&shared(&to), &mut FullSpeed);
    assert!(
        matches!(written, Err(BackupError::Written { .. })),
        "{written:?}"
    );
}

#[test]
fn a_damaged_log_does_not_replace_a_good_backup() {
    let (mut story, to) = (Story::example(), MemStorage::new());
    story
        .log
        .backup(&shared(&to), &mut FullSpeed)
        .expect("backed up");
    let before = to.image();
    story.append(400);
    story.sync();
    story.log.roll().expect("rolled");
    let mut image = story.storage.image();
    let newest = image
        .keys()
        .rfind(|name| name.starts_with("log-"))
        .expect("there")
        .clone();
    let changed: Vec<String> = image
        .keys()
        .filter(|name| name.ends_with(".seg") && **name != newest)
        .filter(|name| before.get(*name) != image.get(*name) || name.starts_with("large"))
        .cloned()
        .collect();
    for name in changed {
        let bytes = image.get_mut(&name).expect("listed");
        let at = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .expect("not empty")
            - 20;
        bytes[at] ^= 1;
        let log =
            FileLog::open_reader(Arc::new(MemStorage::from_image(image.clone()))).expect("opens");
        let to = MemStorage::from_image(before.clone());
        let refused = log.backup(&shared(&to), &mut FullSpeed);
        assert!(
            matches!(
                refused,
                Err(BackupError::SourceDamaged { .. } | BackupError::Diverged { .. })
            ),
            "{name}: {refused:?}"
        );
        let viewed = open_backup(&shared(&to)).expect("opens");
        assert_eq!(
            contents(&viewed).ok(),
            read_image(before.clone()).ok(),
            "{name}"
        );
        whole(&to.image(), &name);
        image.get_mut(&name).expect("listed")[at] ^= 1;
    }
}

#[test]
fn damage_in_a_backup_is_found_and_the_next_one_mends_what_was_removed() {
    let (story, to) = (Story::example(), MemStorage::new());
    story
        .log
        .backup(&shared(&to), &mut FullSpeed)
        .expect("backed up");
    for (name, bytes) in to.image() {
        if bytes.is_empty() {
            continue;
        }
        for at in [0, bytes.len() / 2, bytes.len() - 1] {
            let mut image = to.image();
            image.get_mut(&name).expect("listed")[at] ^= 4;
            let damaged = MemStorage::from_image(image.clone());
            let found = verify_backup(&shared(&damaged), &mut FullSpeed);
            let refused = restore(
                &shared(&damaged),
                &shared(&MemStorage::new()),
                STORE,
                &mut FullSpeed,
            );
            assert!(refused.is_err(), "{name}");
            if name == "backup" {
                assert!(
                    matches!(found, Err(BackupError::Damaged { .. })),
                    "{found:?}"
                );
                continue;
            }
            assert_eq!(
                found.expect("readable").damaged,
                std::slice::from_ref(&name)
            );
            image.remove(&name);
            let mended = MemStorage::from_image(image);
            story
                .log
                .backup(&shared(&mended), &mut FullSpeed)
                .expect(&name);
            judge(&mended.image(), &story.durable(), &name);
        }
    }
}

#[test]
fn a_failing_disk_leaves_the_earlier_backup() {
    let (mut story, to) = (Story::example(), MemStorage::new());
    story
        .log
        .backup(&shared(&to), &mut FullSpeed)
        .expect("backed up");
    let (before, earlier) = (to.image(), story.durable());
    story.seal_all();
    story.erase(10);
    story.append(67_000);
    story.sync();
    let later = story.durable();
    let counting = FaultyStorage::new(shared(&MemStorage::from_image(before.clone())));
    story
        .log
        .backup(&shared(&counting), &mut FullSpeed)
        .expect("no fault");
    for fault in Fault::ALL {
        for call in 1..=counting.calls() {
            let context = format!("{fault:?} at {call}");
            let inner = MemStorage::from_image(before.clone());
            let storage = FaultyStorage::new(shared(&inner));
            storage.fail_from(call, fault);
            let result = story.log.backup(&shared(&storage), &mut FullSpeed);
            storage.heal();
            let viewed = open_backup(&shared(&storage)).expect(&context);
            let viewed = contents(&viewed).expect(&context);
            assert!(
                viewed == later || viewed == earlier && result.is_err(),
                "{context}"
            );
            whole(&inner.image(), &context);
            story
                .log
                .backup(&shared(&storage), &mut FullSpeed)
                .expect(&context);
            assert_eq!(
                read_image(inner.image()).expect(&context),
                later,
                "{context}"
            );
        }
    }
}

/// Ends the work after some pieces.
struct Pieces(u32);

impl Pace for Pieces {
    fn did(&mut self, _bytes: u64) -> ControlFlow<()> {
        self.0 = self.0.saturating_sub(1);
        if self.0 == 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

#[test]
fn a_backup_that_is_stopped_goes_on_where_it_was() {
    let (story, to) = (Story::example(), MemStorage::new());
    let stopped = story.log.backup(&shared(&to), &mut Pieces(6));
    assert!(matches!(stopped, Err(BackupError::Stopped)), "{stopped:?}");
    let done = story
        .log
        .backup(&shared(&to), &mut FullSpeed)
        .expect("backed up");
    assert!(done.files_kept >= 3, "{done:?}");
    judge(&to.image(), &story.durable(), "after the second");
}

#[test]
fn a_reader_backs_up_beside_a_writer_that_seals_and_erases() {
    let dirs = tempfile::tempdir().expect("temporary directory");
    let path = dirs.path().join("store");
    let log = FileLog::open(Arc::new(FileStorage::new(&path)), SMALL).expect("opened");
    append(&log, &[Remembered::commit(0, 100)]).expect("appended");
    log.sync().expect("synced");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut story = Story::new();
            story.log = log;
            let first = Remembered::commit(0, 100);
            let start = story.log.start();
            let placed = story.log.read_frame(start).expect("the first frame");
            assert_eq!(placed.frame().number, 0);
            let mut random = Random(7);
            let mut number = 1;
            let mut places = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let frame = Remembered::commit(number, 40 + random.below(600) as usize);
                let placed = append(&story.log, std::slice::from_ref(&frame)).expect("appended");
                places.push((placed[0].part(&[20]), frame.parts[1].len() as u32));
                number += 1;
                story.log.sync().expect("synced");
                if number % 3 == 0 {
                    story.log.seal(&mut FullSpeed).expect("sealed");
                }
                if number % 5 == 0 {
                    let (at, bytes) = places[random.below(places.len() as u64) as usize];
                    let span = ate_log::Span { at, bytes };
                    let least = ate_log::Least::ANY;
                    story
                        .log
                        .erase(&[span], least, &mut FullSpeed)
                        .expect("erased");
                }
            }
            drop(first);
            number
        });
        let mut ends = Vec::new();
        for round in 0..12 {
            let to: Arc<dyn Storage> = Arc::new(FileStorage::new(dirs.path().join("backup")));
            let reader = FileLog::open_reader(Arc::new(FileStorage::new(&path))).expect("opened");
            let backed_up = match reader.backup(&to, &mut FullSpeed) {
                Ok(backed_up) => backed_up,
                // The writer here never rests; that is said, and the earlier backup stays.
                Err(BackupError::Vanished { .. }) => continue,
                Err(error) => panic!("round {round}: {error:?}"),
            };
            ends.push(backed_up.end);
            let copy = open_backup(&to).expect("opens");
            for (index, (number, body)) in contents(&copy).expect("read").into_iter().enumerate() {
                assert_eq!(number, index as u64, "round {round}: a prefix");
                let original = |bytes| Remembered::commit(number, bytes).parts.swap_remove(1);
                assert!(
                    body.is_none_or(|body| original(body.len()) == body),
                    "round {round}"
                );
            }
            let verified = verify_backup(&to, &mut FullSpeed).expect("a backup");
            assert_eq!(verified.damaged, Vec::<String>::new(), "round {round}");
        }
        done.store(true, Ordering::Relaxed);
        let number = writer.join().expect("no panic");
        assert!(
            ends.len() > 2 && ends.is_sorted(),
            "{ends:?} of {number} frames"
        );
    });
}
