//! A share of the network seeds that `cargo xtask sim --net` runs. `ATE_NET_SEEDS` in the environment says how many.

use ate_sim::net::{NetTally, run_net};

const SEEDS: u64 = 48;

#[test]
fn no_seed_of_a_network_breaks_a_promise() {
    let asked = std::env::var("ATE_NET_SEEDS").ok();
    let seeds = asked.map_or(SEEDS, |count| count.parse().expect("a number"));
    let mut tally = NetTally::default();
    for seed in 1..=seeds {
        match run_net(seed) {
            Ok(finished) => tally.add(&finished.tally),
            Err(failure) => panic!("{failure}"),
        }
    }
    // A harness that tries nothing finds nothing.
    assert!(
        tally.landed > 6 * seeds && tally.refused > seeds / 8 && tally.crashes > seeds / 2,
        "{tally}"
    );
}

/// Seeds that have broken a promise, with what they tell of.
const BROKEN_ONCE: &[(u64, &str)] = &[
    (
        1762,
        "a conflict is told as a spent number: the first answer was lost when the node ended, and a later number had landed",
    ),
    (
        1996,
        "a device loses what it had received with its power, and goes on behind what its lane had seen",
    ),
];

#[test]
fn seeds_that_broke_a_promise_once_keep_it() {
    for (seed, what) in BROKEN_ONCE {
        run_net(*seed).unwrap_or_else(|failure| panic!("{what}: {failure}"));
    }
}

#[test]
fn a_network_seed_repeats_to_the_byte() {
    for seed in [5, 6, 7, 8, 11] {
        let trace = |_| {
            run_net(seed)
                .unwrap_or_else(|failure| panic!("{failure}"))
                .trace
        };
        assert_eq!(trace(1), trace(2), "seed {seed}");
    }
}
