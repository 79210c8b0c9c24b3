//! A backup is made beside the writer, put back onto another disk, and used as a store.

use std::collections::BTreeSet;
use std::sync::Arc;

use ate::log::{BackupError, FileLog, FullSpeed, Loss, LossyStorage, Storage, restore};
use ate::prelude::*;

use crate::invariants::{self, Eyes, Violation, judge};
use crate::oracle::Stop;
use crate::run::Run;
use crate::session::{Outcome, json};

fn failed(error: &BackupError) -> Stop {
    broken(format!("{error:?}")).into()
}

fn broken(seen: String) -> Violation {
    invariants::RESTORED.broken(seen)
}

/// The backup grows over the whole run, as one on a shelf does.
pub(super) fn back_up_and_restore(run: &mut Run) -> Outcome {
    let files = FileLog::open_reader(Arc::new(run.storage.process()))
        .map_err(|error| Stop::Store(error.into()))?;
    let shelf: Arc<dyn Storage> = Arc::new(run.shelf.clone());
    let is_late = run.is_publication_late || run.storage.has_failed();
    match files.backup(&shelf, &mut FullSpeed) {
        // The writer could not tell where its log ends, and what stood before is sealed by now.
        Err(BackupError::Vanished { .. }) if is_late => return Ok(()),
        done => done.map_err(|error| failed(&error))?,
    };
    drop(files);
    run.tally.backups += 1;
    let restored = put_back(run, &shelf)?;
    let world = run.session.world.clone();
    let store = world
        .open(restored)
        .map_err(|error| broken(format!("{error:?}")))?;
    judge(
        &store,
        &run.session.oracle,
        &world,
        Eyes::Reader { is_late },
    )?;
    lanes_part(run, &store)
}

/// Puts the shelf's backup onto an empty disk. Sometimes the power goes on the way: then nothing opens there, and it is tried again.
fn put_back(run: &mut Run, shelf: &Arc<dyn Storage>) -> Outcome<Arc<dyn Storage>> {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&run.random.next().to_le_bytes());
    let mut disk = LossyStorage::new();
    if run.random.one_in(3) {
        disk.cut_at(1 + run.random.below(60));
    }
    loop {
        let to: Arc<dyn Storage> = Arc::new(disk.clone());
        let outcome = restore(shelf, &to, id, &mut FullSpeed).and_then(|whole| whole.finish());
        match outcome {
            Ok(_) if !disk.is_cut() => {
                disk.cut_at(u64::MAX);
                return Ok(to);
            }
            Err(error) if !disk.is_cut() => return Err(failed(&error)),
            _ => {}
        }
        let seed = run.random.next();
        disk = LossyStorage::from_image(disk.image_after_cut(Loss::Random { seed }));
        let half: Arc<dyn Storage> = Arc::new(disk.clone());
        let half = run.session.world.builder(half).must_exist();
        if let Ok(store) = half.open().wait() {
            // The very last step was done: it counts as whole.
            drop(store);
            return Ok(Arc::new(disk));
        }
    }
}

/// Commits that both stores make after the backup stand in lanes of their own.
fn lanes_part(run: &mut Run, restored: &Store) -> Outcome {
    let known = &run.session.oracle.chains;
    let Some(name) = known
        .iter()
        .find(|(_, known)| known.acknowledged > 0)
        .map(|(name, _)| name.clone())
    else {
        return Ok(());
    };
    let copy = restored.existing_chain(&name).wait()?;
    let before = copy.position().0;
    copy.put("only-here", json("1")).wait()?;
    let lanes = |chain: &Chain| -> Outcome<BTreeSet<_>> {
        let mut places = BTreeSet::new();
        for seq in 0..chain.position().0 {
            let head = chain.commit(seq)?.head;
            places.insert((head.author.0, head.lane.0, head.number, head.salt.0));
        }
        Ok(places)
    };
    let original = run.session.store().existing_chain(&name).wait()?;
    let theirs = lanes(&original)?;
    for seq in before..copy.position().0 {
        let head = copy.commit(seq)?.head;
        let is_taken = theirs
            .iter()
            .any(|(author, lane, ..)| (*author, *lane) == (head.author.0, head.lane.0));
        if is_taken {
            return Err(broken(format!(
                "commit {seq} of {name} is in a lane of the original"
            ))
            .into());
        }
    }
    Ok(())
}
