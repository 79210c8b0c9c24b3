//! A share of the seeds that `cargo xtask sim` runs. `ATE_SIM_SEEDS` in the environment says how many.

use ate_sim::{Tally, run};

const SEEDS: u64 = 12;

#[test]
fn no_seed_breaks_a_promise() {
    let asked = std::env::var("ATE_SIM_SEEDS").ok();
    let seeds = asked.map_or(SEEDS, |count| count.parse().expect("a number"));
    let mut tally = Tally::default();
    for seed in 1..=seeds {
        match run(seed) {
            Ok(finished) => tally.add(&finished.tally),
            Err(failure) => panic!("{failure}"),
        }
    }
    // A harness that tries nothing finds nothing.
    assert!(
        tally.commits > 20 * seeds && tally.cuts > seeds && tally.unknown > 0,
        "{tally}"
    );
}
