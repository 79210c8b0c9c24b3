//! A scripted run is cut at every call that changes the storage, in every variant of what a
//! power cut may leave. Nothing that was synced is ever missing, and what is there is a
//! prefix of what was appended, byte for byte.

mod common;

use ate_log::{FileLog, Image, Log, Loss, LossyStorage};
use common::{Remembered, SMALL, append, scan};
use std::sync::Arc;

/// What the script knows when the power goes.
#[derive(Default)]
struct Oracle {
    /// Everything that was ever handed to an append, in order.
    attempted: Vec<Remembered>,
    /// How many of them a sync has answered for.
    acknowledged: usize,
    /// The value of the snapshot that a put has answered for, and the one put last.
    snapshot: (Option<Vec<u8>>, Option<Vec<u8>>),
}

/// Ends at the first error, as a program does when the power goes.
fn script(storage: &LossyStorage, oracle: &mut Oracle) -> Result<(), Box<dyn std::error::Error>> {
    let open = || FileLog::open(Arc::new(storage.clone()), SMALL);
    let log = open()?;
    for (step, (group, bytes)) in [(1, 200), (3, 90), (1, 1500), (2, 40), (1, 700)]
        .into_iter()
        .enumerate()
    {
        let group = next_group(oracle, group, bytes);
        append(&log, &group)?;
        // The first close finds work that no sync has seen.
        if step != 1 && step != 4 {
            log.sync()?;
            oracle.acknowledged = oracle.attempted.len();
        }
    }
    put_snapshot(&log, oracle, b"first")?;
    log.close()?;
    oracle.acknowledged = oracle.attempted.len();
    drop(log);

    let log = open()?;
    for bytes in [30, 400, 30] {
        let group = next_group(oracle, 2, bytes);
        append(&log, &group)?;
        log.sync()?;
        oracle.acknowledged = oracle.attempted.len();
    }
    put_snapshot(&log, oracle, &[7; 2000])?;
    let group = next_group(oracle, 1, 600);
    append(&log, &group)?;
    drop(log);

    let log = open()?;
    // A writer that has opened counts all that it found as durable.
    oracle.acknowledged = oracle.attempted.len();
    let group = next_group(oracle, 2, 100);
    append(&log, &group)?;
    log.sync()?;
    oracle.acknowledged = oracle.attempted.len();
    log.close()?;
    Ok(())
}

fn next_group(oracle: &mut Oracle, count: usize, bytes: usize) -> Vec<Remembered> {
    let first = oracle.attempted.len() as u64;
    let group: Vec<Remembered> = (0..count as u64)
        .map(|index| Remembered::commit(first + index, bytes))
        .collect();
    oracle.attempted.extend(group.iter().cloned());
    group
}

fn put_snapshot(
    log: &FileLog,
    oracle: &mut Oracle,
    bytes: &[u8],
) -> Result<(), ate_log::AppendError> {
    oracle.snapshot.1 = Some(bytes.to_vec());
    log.snapshot_put("view", bytes)?;
    oracle.snapshot.0 = Some(bytes.to_vec());
    Ok(())
}

/// Opens what is left and compares; returns how many frames there are.
fn judge(image: Image, oracle: &Oracle, context: &str) -> usize {
    let storage = LossyStorage::from_image(image);
    let before_writer = match FileLog::open_reader(Arc::new(storage.clone())) {
        Ok(reader) => scan(&reader),
        Err(ate_log::OpenError::NotFound { .. }) => (Vec::new(), None),
        Err(error) => panic!("{context}: reader: {error}"),
    };
    let log = match FileLog::open(Arc::new(storage.clone()), SMALL) {
        Ok(log) => log,
        Err(error) => panic!("{context}: {error}"),
    };
    let (frames, error) = scan(&log);
    assert!(
        error.is_none() && before_writer.1.is_none(),
        "{context}: {error:?} {:?}",
        before_writer.1
    );
    assert_eq!(
        before_writer.0, frames,
        "{context}: a reader finds what a writer finds"
    );
    assert!(
        frames.len() >= oracle.acknowledged,
        "{context}: {} of {} acknowledged frames",
        frames.len(),
        oracle.acknowledged
    );
    assert!(
        oracle.attempted.starts_with(&frames),
        "{context}: frames that were never appended, or in another order"
    );
    let snapshot = log.snapshot_get("view").expect("nothing stands in the way");
    assert!(
        snapshot == oracle.snapshot.0 || snapshot == oracle.snapshot.1,
        "{context}: half a snapshot"
    );
    assert!(
        storage
            .image_after_cut(Loss::Nothing)
            .keys()
            .all(|name| !name.ends_with(".new")),
        "{context}: leftovers"
    );

    // What was found is durable now, and writing goes on.
    let durable = FileLog::open(
        Arc::new(LossyStorage::from_image(
            storage.image_after_cut(Loss::Everything),
        )),
        SMALL,
    )
    .expect("nothing stands in the way");
    assert_eq!(
        scan(&durable).0,
        frames,
        "{context}: found, shown and not durable"
    );
    append(&log, &[Remembered::commit(1000, 50)]).expect("nothing stands in the way");
    log.sync().expect("nothing stands in the way");
    drop(log);
    let again = FileLog::open(
        Arc::new(LossyStorage::from_image(
            storage.image_after_cut(Loss::Everything),
        )),
        SMALL,
    )
    .expect("nothing stands in the way");
    let (again, error) = scan(&again);
    assert!(
        error.is_none() && again.len() == frames.len() + 1,
        "{context}: {error:?}"
    );
    frames.len()
}

fn run_until(call: u64) -> (LossyStorage, Oracle) {
    let storage = LossyStorage::new();
    storage.cut_at(call);
    let mut oracle = Oracle::default();
    let result = script(&storage, &mut oracle);
    // Publishing the end to readers may fail unnoticed, and it may be the last call.
    assert!(
        result.is_ok() || storage.is_cut(),
        "only the cut ends the script early: {result:?}"
    );
    (storage, oracle)
}

#[test]
fn no_cut_loses_what_was_synced() {
    let (whole, oracle) = run_until(u64::MAX);
    let calls = whole.calls();
    assert!(calls > 60 && oracle.acknowledged == oracle.attempted.len());
    let mut judged = 0;
    for call in 1..=calls + 1 {
        let (storage, oracle) = run_until(call);
        for loss in Loss::all(24) {
            judge(
                storage.image_after_cut(loss),
                &oracle,
                &format!("cut at call {call} of {calls}, {loss:?}"),
            );
            judged += 1;
        }
    }
    assert!(judged > 2000);
}

#[test]
fn a_second_cut_while_recovering_loses_nothing_either() {
    let calls = run_until(u64::MAX).0.calls();
    for call in (1..=calls).step_by(5) {
        let (storage, oracle) = run_until(call);
        for loss in Loss::all(4) {
            let image = storage.image_after_cut(loss);
            for second in 1.. {
                let recovering = LossyStorage::from_image(image.clone());
                recovering.cut_at(second);
                let opened = FileLog::open(Arc::new(recovering.clone()), SMALL).is_ok();
                for loss in Loss::all(3) {
                    let context =
                        format!("cut at call {call}, {loss:?}, then at call {second} of recovery");
                    judge(recovering.image_after_cut(loss), &oracle, &context);
                }
                if opened && !recovering.is_cut() {
                    break;
                }
            }
        }
    }
}

#[test]
fn what_is_found_after_a_failed_sync_is_made_durable_again() {
    let calls = run_until(u64::MAX).0.calls();
    let mut failed = 0;
    for call in 1..=calls {
        let storage = LossyStorage::new();
        storage.fail_sync_at(call);
        let mut oracle = Oracle::default();
        failed += usize::from(script(&storage, &mut oracle).is_err());
        // A new process on the same system, whose cache shows what the disk does not have.
        let context = format!("failed sync at call {call}");
        let log = FileLog::open(Arc::new(storage.clone()), SMALL).expect("reopening heals");
        let found = scan(&log).0;
        assert!(oracle.attempted.starts_with(&found) && found.len() >= oracle.acknowledged);
        oracle.attempted = found;
        for bytes in [40, 800] {
            let group = next_group(&mut oracle, 1, bytes);
            append(&log, &group).expect("writing goes on");
            log.sync().expect("so does syncing");
        }
        oracle.acknowledged = oracle.attempted.len();
        for loss in Loss::all(8) {
            judge(
                storage.image_after_cut(loss),
                &oracle,
                &format!("{context}, {loss:?}"),
            );
        }
    }
    assert!(failed > 15, "{failed} syncs failed");
}

#[test]
fn the_model_of_a_disk_does_lose_what_is_not_synced() {
    // A harness that never loses anything would prove nothing.
    let storage = LossyStorage::new();
    let log = FileLog::open(Arc::new(storage.clone()), SMALL).unwrap();
    append(&log, &[Remembered::commit(1, 900)]).unwrap();
    let left = |loss| {
        let image = storage.image_after_cut(loss);
        scan(&FileLog::open(Arc::new(LossyStorage::from_image(image)), SMALL).unwrap())
            .0
            .len()
    };
    assert_eq!((left(Loss::Everything), left(Loss::Nothing)), (0, 1));
    assert_eq!((left(Loss::OddSectors), left(Loss::LastSector)), (0, 0));
    log.sync().unwrap();
    assert!(Loss::all(50).all(|loss| left(loss) == 1));
}
