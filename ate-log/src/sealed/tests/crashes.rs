//! The power goes at any moment of sealing and of rewriting.

use super::support::{LOG, Segment, damages, never_stop};
use crate::{
    sealed::{Manifest, Removal, SealedPair, rewrite},
    segment::segment_name,
    storage::{Loss, LossyStorage, MemStorage, Storage, write_full},
};
use std::{error::Error, sync::Arc};

fn manifest() -> Manifest {
    Manifest {
        log_id: LOG,
        generation: 0,
        store_id: [4; 16],
        groups: 2,
        first: super::support::FILE,
        sets: Vec::new(),
    }
}

fn open(storage: &Arc<dyn Storage>, manifest: &Manifest, group: usize) -> SealedPair {
    let set = &manifest.sets[0];
    let files = &set.groups[group];
    let id = manifest.pair_id(set.file, files);
    SealedPair::open(storage, id, set.end, files).expect("the manifest names whole files")
}

/// Seals a segment, then removes a part: each time what the manifest does not name any more is
/// removed after it. Ends at the first error, as a program does when the power goes.
fn script(
    storage: &Arc<dyn Storage>,
    segment: &Segment,
    gone: Removal,
) -> Result<(), Box<dyn Error>> {
    let wal = segment_name(super::support::FILE);
    let mut manifest = manifest();
    let set = segment.seal(&**storage, 2, &mut never_stop)?;
    manifest.sets.push(set);
    manifest.generation = 1;
    manifest.store(&**storage)?;
    storage.remove(&wal)?;
    for group in 0..2 {
        let pair = open(storage, &manifest, group);
        let index = pair.load_index()?;
        if index.frame_at(gone.at).is_none() {
            continue;
        }
        let files = rewrite(&pair, &index, &[gone], &mut never_stop)?;
        manifest.sets[0].groups[group] = files.expect("the part is there");
        manifest.generation = 2;
        manifest.store(&**storage)?;
        storage.remove(&pair.id().heads_name())?;
        storage.remove(&pair.id().bodies_name())?;
    }
    Ok(())
}

#[test]
fn a_manifest_that_survives_names_files_that_survive() {
    let segment = Segment::random(4, 12, 6);
    let wal = segment_name(super::support::FILE);
    let part = segment
        .parts
        .iter()
        .find(|part| !part.is_head)
        .expect("there are bodies");
    let gone = Removal {
        at: part.at,
        bytes: part.length,
    };
    let mut generations = [0; 3];
    for call in 1.. {
        let mut done = false;
        for loss in Loss::all(6) {
            let memory = MemStorage::new();
            let file = memory.create(&wal).expect("memory");
            write_full(&*file, 0, &segment.bytes).expect("memory");
            let lossy = LossyStorage::from_image(memory.image());
            lossy.cut_at(call);
            let storage: Arc<dyn Storage> = Arc::new(lossy.clone());
            done = script(&storage, &segment, gone).is_ok();
            let image = lossy.image_after_cut(loss);
            let after: Arc<dyn Storage> = Arc::new(MemStorage::from_image(image.clone()));
            let found = Manifest::load(&*after).expect("the old manifest or the new one");
            let Some(found) = found else {
                assert_eq!(
                    image.get(&wal),
                    Some(&segment.bytes),
                    "call {call} {loss:?}"
                );
                generations[0] += 1;
                continue;
            };
            generations[found.generation as usize] += 1;
            for group in 0..2 {
                assert_eq!(
                    damages(&open(&after, &found, group)),
                    [],
                    "call {call} {loss:?}"
                );
            }
        }
        if done {
            break;
        }
    }
    assert!(
        generations.iter().all(|count| *count > 5),
        "{generations:?}"
    );
}
