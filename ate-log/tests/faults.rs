//! The storage fails at every call of a scripted run, in every way. There is no false
//! acknowledgement, a failed write or sync ends writing, reading goes on, and reopening heals.

mod common;

use ate_log::{
    AppendError, Fault, FaultyStorage, FileLog, Log, Loss, LossyStorage, OpenError, Placed,
};
use common::{Remembered, SMALL, append, scan};
use std::sync::Arc;

#[derive(Default)]
struct Outcome {
    attempted: Vec<Remembered>,
    acknowledged: Vec<Remembered>,
    placed: Vec<Placed>,
    failed: bool,
}

fn run(storage: &FaultyStorage, outcome: &mut Outcome, context: &str) -> Result<(), OpenError> {
    let log = FileLog::open(Arc::new(storage.clone()), SMALL)?;
    let mut pending = Vec::new();
    for number in 0..14 {
        let frame = Remembered::commit(number, 100 + 60 * (number as usize % 5));
        let result = append(&log, std::slice::from_ref(&frame));
        match result {
            Ok(placed) => {
                outcome.attempted.push(frame.clone());
                pending.push((frame, placed[0]));
            }
            Err(AppendError::DiskFull { .. }) => {
                assert!(log.writable(), "{context}: a full disk changes nothing");
                outcome.failed = true;
                continue;
            }
            Err(error) => {
                // Of a group that failed, whole frames may turn up later.
                outcome.attempted.push(frame);
                outcome.failed = true;
                assert!(
                    log.poisoned().is_some(),
                    "{context}: {error} did not poison"
                );
            }
        }
        if number % 2 == 1 && log.writable() {
            match log.sync() {
                Ok(end) => {
                    for (frame, placed) in pending.drain(..) {
                        assert!(
                            placed.next <= end,
                            "{context}: acknowledged before the sync"
                        );
                        outcome.acknowledged.push(frame);
                        outcome.placed.push(placed);
                    }
                }
                Err(error) => {
                    outcome.failed = true;
                    assert!(
                        log.poisoned().is_some(),
                        "{context}: {error} did not poison"
                    );
                }
            }
        }
    }
    if log.poisoned().is_some() {
        let result = append(&log, &[Remembered::commit(50, 1)]);
        assert!(
            matches!(result, Err(AppendError::Poisoned { .. })),
            "{context}"
        );
        assert!(
            matches!(log.sync(), Err(AppendError::Poisoned { .. })),
            "{context}"
        );
        assert!(
            matches!(log.close(), Err(AppendError::Poisoned { .. })),
            "{context}"
        );
        assert!(!log.writable(), "{context}");
    }
    // Reading goes on, also of what was acknowledged before the failure.
    storage.heal();
    for (frame, placed) in outcome.acknowledged.iter().zip(&outcome.placed) {
        let read = log
            .read_frame(placed.frame)
            .unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_eq!(read.frame().part(1), Some(&frame.parts[1][..]), "{context}");
    }
    let (seen, error) = scan(&log);
    assert!(
        error.is_none() && seen.len() >= outcome.acknowledged.len(),
        "{context}: {error:?}"
    );
    if log.writable() && log.close().is_ok() {
        outcome
            .acknowledged
            .extend(pending.into_iter().map(|(frame, _)| frame));
    }
    Ok(())
}

fn fail_everywhere(plan: impl Fn(&FaultyStorage, u64, Fault)) -> usize {
    let quiet = FaultyStorage::new(Arc::new(LossyStorage::new()));
    run(&quiet, &mut Outcome::default(), "no fault").expect("without a fault all goes well");
    let calls = quiet.calls();
    assert!(calls > 60);
    let mut failures = 0;
    for call in 1..=calls {
        for fault in Fault::ALL {
            let context = format!("{fault:?} at call {call} of {calls}");
            let disk = LossyStorage::new();
            let storage = FaultyStorage::new(Arc::new(disk.clone()));
            plan(&storage, call, fault);
            let mut outcome = Outcome::default();
            let opened = run(&storage, &mut outcome, &context);
            failures += usize::from(opened.is_err() || outcome.failed);
            storage.heal();
            // With the power lost as well, or not: whatever was acknowledged is there.
            for loss in [Loss::Everything, Loss::Nothing, Loss::Random { seed: call }] {
                let left = Arc::new(LossyStorage::from_image(disk.image_after_cut(loss)));
                let log = FileLog::open(left, SMALL)
                    .unwrap_or_else(|error| panic!("{context}, {loss:?}: {error}"));
                let (frames, error) = scan(&log);
                assert!(error.is_none(), "{context}, {loss:?}: {error:?}");
                assert!(
                    frames.starts_with(&outcome.acknowledged),
                    "{context}, {loss:?}: {} of {} acknowledged",
                    frames.len(),
                    outcome.acknowledged.len()
                );
                assert!(
                    outcome.attempted.starts_with(&frames),
                    "{context}, {loss:?}"
                );
            }
        }
    }
    failures
}

#[test]
fn one_failing_call_never_makes_a_false_acknowledgement() {
    let failures = fail_everywhere(|storage, call, fault| storage.fail_once(call, fault));
    assert!(failures > 100, "only {failures} runs noticed anything");
}

#[test]
fn a_storage_that_fails_for_good_never_makes_a_false_acknowledgement() {
    let failures = fail_everywhere(|storage, call, fault| storage.fail_from(call, fault));
    assert!(failures > 200, "only {failures} runs noticed anything");
}

#[test]
fn a_failed_sync_poisons_and_reopening_heals() {
    let disk = LossyStorage::new();
    let storage = FaultyStorage::new(Arc::new(disk.clone()));
    let log = FileLog::open(Arc::new(storage.clone()), SMALL).unwrap();
    let placed = append(&log, &[Remembered::commit(1, 100)]).unwrap();
    storage.fail_once(storage.calls() + 1, Fault::Io);
    assert!(matches!(
        log.sync(),
        Err(AppendError::Io { doing: "sync", .. })
    ));
    assert!(storage.fired());
    let error = append(&log, &[Remembered::commit(2, 100)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the log takes no more writes since one failed (cannot sync log-00000001.seg: injected fault); open it anew"
    );
    assert!(
        matches!(log.sync(), Err(AppendError::Poisoned { .. })),
        "a second try of a sync is a lie"
    );
    assert!(log.read_frame(placed[0].frame).is_ok());
    drop(log);
    let log = FileLog::open(Arc::new(storage), SMALL).unwrap();
    append(&log, &[Remembered::commit(3, 100)]).unwrap();
    log.sync().unwrap();
    let left = FileLog::open(
        Arc::new(LossyStorage::from_image(
            disk.image_after_cut(Loss::Everything),
        )),
        SMALL,
    )
    .unwrap();
    assert_eq!(
        scan(&left)
            .0
            .iter()
            .map(|frame| frame.number)
            .collect::<Vec<_>>(),
        [1, 3]
    );
}

#[test]
fn half_a_frame_is_taken_back_when_its_write_fails() {
    for call in 0..3 {
        let disk = LossyStorage::new();
        let storage = FaultyStorage::new(Arc::new(disk.clone()));
        let log = FileLog::open(Arc::new(storage.clone()), SMALL).unwrap();
        append(&log, &[Remembered::commit(1, 20)]).unwrap();
        log.sync().unwrap();
        storage.fail_once(storage.calls() + 1 + call, Fault::HalfWrite);
        // Half of this frame lies within one sector, where it would pass for damage.
        let result = append(&log, &[Remembered::commit(2, 150)]);
        if call == 0 {
            assert!(matches!(
                result,
                Err(AppendError::Io { doing: "write", .. })
            ));
        }
        drop(log);
        storage.heal();
        let log = FileLog::open(Arc::new(storage), SMALL).unwrap();
        assert_eq!(scan(&log).0.len(), if call == 0 { 1 } else { 2 });
    }
}

#[test]
fn a_full_disk_is_a_clear_error_and_the_log_goes_on() {
    let storage = FaultyStorage::new(Arc::new(LossyStorage::new()));
    let log = FileLog::open(Arc::new(storage.clone()), SMALL).unwrap();
    append(&log, &[Remembered::commit(1, 600)]).unwrap();
    log.sync().unwrap();
    // The next frame needs a new segment, for which there is no space.
    storage.fail_from(storage.calls() + 1, Fault::NoSpace);
    let error = append(&log, &[Remembered::commit(2, 600)]).unwrap_err();
    assert!(matches!(error, AppendError::DiskFull { .. }), "{error}");
    assert!(log.writable() && log.poisoned().is_none());
    storage.heal();
    // A small frame fits into what was reserved, and with space the large one does too.
    append(&log, &[Remembered::commit(3, 20)]).unwrap();
    append(&log, &[Remembered::commit(4, 600)]).unwrap();
    log.close().unwrap();
    assert_eq!(
        scan(&log)
            .0
            .iter()
            .map(|frame| frame.number)
            .collect::<Vec<_>>(),
        [1, 3, 4]
    );
}

#[test]
fn a_read_only_disk_refuses_a_writer_with_its_reason() {
    let storage = FaultyStorage::new(Arc::new(LossyStorage::new()));
    // Making the directory and two looks into it come first.
    storage.fail_from(4, Fault::ReadOnly);
    let error = FileLog::open(Arc::new(storage), SMALL).unwrap_err();
    let OpenError::Io {
        doing: "lock",
        name,
        source,
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(
        (name.as_str(), source.kind()),
        ("lock", std::io::ErrorKind::ReadOnlyFilesystem)
    );
}
