//! The power goes at every storage call of a scripted run over several chains, two authors, snapshots and reopenings. Whatever a
//! disk may have lost of what was not synced: every acknowledged commit is there with its content, none is there in part, and the
//! store verifies and goes on.
//!
//! By default each cut is tried with a share of the variants of loss, another share for each cut; `ATE_FAULT_ALL=1` tries all.

mod fault;

use std::sync::Arc;

use ate::Json;
use ate::log::{Loss, LossyStorage, Storage};
use fault::{Oracle, Session, World};

/// Variants of loss for each cut that a normal run tries.
const SHARE: usize = 2;
const SEEDS: u64 = 12;

fn run_until(world: &World, call: u64) -> (LossyStorage, Oracle) {
    let disk = LossyStorage::new();
    disk.cut_at(call);
    let mut session = Session::new(world, Arc::new(disk.clone()));
    let outcome = session.run();
    assert!(
        outcome.is_ok() || disk.is_cut(),
        "only the cut ends the script: {outcome:?}"
    );
    (disk, session.oracle)
}

fn is_everything_asked_for() -> bool {
    std::env::var_os("ATE_FAULT_ALL").is_some()
}

/// The variants for a cut: those that decide most, and a share of the others that moves on with the cut.
fn losses(call: u64) -> Vec<Loss> {
    let mut all: Vec<Loss> = Loss::all(SEEDS).collect();
    if !is_everything_asked_for() {
        let (first, others) = all.split_at(2);
        let moved = others
            .iter()
            .cycle()
            .skip(call as usize * SHARE % others.len())
            .take(SHARE);
        all = first[..1].iter().chain(moved).copied().collect();
    }
    all
}

/// Opens what a cut left, judges it, and writes on.
fn judge(world: &World, disk: LossyStorage, oracle: &Oracle, context: &str) {
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let store = world
        .open(storage)
        .unwrap_or_else(|error| panic!("{context}: {error:?}"));
    oracle.judge(world, &store, context);
    let chain = store
        .chain("bank")
        .wait()
        .unwrap_or_else(|error| panic!("{context}: {error:?}"));
    let value = Json::new(r#"{"still": "writing"}"#).expect("JSON");
    chain
        .put("after", value)
        .wait()
        .unwrap_or_else(|error| panic!("{context}: {error:?}"));
    let root = chain.root();
    // The power goes once more, before anything is closed.
    let left = LossyStorage::from_image(disk.image_after_cut(Loss::Everything));
    drop((chain, store));
    let store = world
        .open(Arc::new(left))
        .unwrap_or_else(|error| panic!("{context}, then again: {error:?}"));
    let chain = store
        .existing_chain("bank")
        .wait()
        .unwrap_or_else(|error| panic!("{context}: {error:?}"));
    assert_eq!(
        chain.root(),
        root,
        "{context}: an acknowledged commit after recovery is gone"
    );
}

#[test]
fn no_cut_loses_what_was_acknowledged() {
    let world = World::new();
    let (whole, oracle) = run_until(&world, u64::MAX);
    let calls = whole.calls();
    assert!(
        calls > 80 && oracle.commits_acknowledged >= 20,
        "{calls} calls, {} commits",
        oracle.commits_acknowledged
    );
    assert_eq!(oracle.chains.len(), 3);
    let files = whole.image_after_cut(Loss::Nothing);
    assert!(
        files.keys().any(|name| name.starts_with("snapshot-")),
        "the script writes snapshots"
    );
    let (mut judged, mut unfinished) = (0, 0);
    for call in 1..=calls + 1 {
        let (disk, oracle) = run_until(&world, call);
        unfinished += usize::from(
            oracle
                .chains
                .values()
                .any(|chain| chain.acknowledged < chain.states.len()),
        );
        for loss in losses(call) {
            let left = LossyStorage::from_image(disk.image_after_cut(loss));
            judge(
                &world,
                left,
                &oracle,
                &format!("cut at call {call} of {calls}, {loss:?}"),
            );
            judged += 1;
        }
    }
    println!("{judged} images of {calls} cuts judged, {unfinished} cuts in the middle of a commit");
    assert!(
        unfinished > 20,
        "only {unfinished} cuts hit a commit on its way"
    );
}

#[test]
fn a_sync_that_fails_acknowledges_nothing() {
    let world = World::new();
    let calls = run_until(&world, u64::MAX).0.calls();
    let mut failed = 0;
    for call in (1..=calls).step_by(if is_everything_asked_for() { 1 } else { 2 }) {
        let disk = LossyStorage::new();
        disk.fail_sync_at(call);
        let mut session = Session::new(&world, Arc::new(disk.clone()));
        failed += usize::from(session.run().is_err());
        drop(session.store.take());
        let context = format!("failed sync at call {call} of {calls}");
        for loss in [Loss::Everything, Loss::Random { seed: call }] {
            let left = LossyStorage::from_image(disk.image_after_cut(loss));
            judge(
                &world,
                left,
                &session.oracle,
                &format!("{context}, {loss:?}"),
            );
        }
    }
    assert!(failed > 5, "only {failed} failed syncs were noticed");
}
