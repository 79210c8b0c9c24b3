//! The power goes at every storage call of a scripted run over several chains, two authors, snapshots and reopenings. Whatever a
//! disk may have lost of what was not synced: every acknowledged commit is there with its content, none is there in part, and the
//! store verifies and goes on.
//!
//! By default each cut is tried with a share of the variants of loss, another share for each cut; `ATE_FAULT_ALL=1` tries all.

#![expect(clippy::print_stdout, reason = "what was tried, for `--nocapture`")]

use std::sync::Arc;

use ate::log::{LogOptions, Loss, LossyStorage};
use ate_crypto::reproducible;
use ate_sim::{Cut, SMALL_FILES, Session, Share, World, enumerate, judge_image, run_until};

fn is_everything_asked_for() -> bool {
    std::env::var_os("ATE_FAULT_ALL").is_some()
}

fn cut_everywhere(options: LogOptions) {
    let share = Share {
        seeds: 12,
        variants: (!is_everything_asked_for()).then_some(3),
        options,
    };
    let done = enumerate(share, |_| {}).unwrap_or_else(|broken| panic!("{broken}"));
    println!("{done}");
    assert!(done.cuts > 80 && done.commits >= 20, "{done}");
    assert!(done.unfinished > 20, "{done}");
}

#[test]
fn no_cut_loses_what_was_acknowledged() {
    cut_everywhere(LogOptions::default());
}

#[test]
fn no_cut_loses_what_was_acknowledged_over_many_segments() {
    let whole = run_until(u64::MAX, SMALL_FILES).unwrap_or_else(|broken| panic!("{broken}"));
    let files = whole.disk.image_after_cut(Loss::Nothing);
    let segments = files.keys().filter(|name| name.ends_with(".seg")).count();
    let snapshots = files.keys().any(|name| name.starts_with("snapshot-"));
    assert!(segments >= 4 && snapshots, "{:?}", files.keys());
    cut_everywhere(SMALL_FILES);
}

#[test]
fn a_sync_that_fails_acknowledges_nothing() {
    let options = SMALL_FILES;
    let whole = run_until(u64::MAX, options).unwrap_or_else(|broken| panic!("{broken}"));
    let calls = whole.disk.calls();
    let mut failed = 0;
    // Every call, and the same calls each time: which of them are syncs must not hang on drawn keys or on an odd number.
    for call in 1..=calls {
        let _same_keys = reproducible([1; 32]);
        let disk = LossyStorage::new();
        disk.fail_sync_at(call);
        let world = Arc::new(World::new(1, options));
        let mut session = Session::new(world.clone(), Arc::new(disk.clone()));
        failed += usize::from(session.run_script().is_err());
        drop(session.store.take());
        let cut = Cut {
            disk,
            oracle: session.oracle,
            world,
        };
        for loss in [Loss::Everything, Loss::Random { seed: call }] {
            judge_image(cut.disk.image_after_cut(loss), &cut).unwrap_or_else(|broken| {
                panic!("failed sync at call {call} of {calls}, {loss:?}: {broken}")
            });
        }
    }
    assert!(failed > 5, "only {failed} failed syncs were noticed");
}
