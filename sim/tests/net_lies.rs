//! A node that lies, in every way of the table, with a few seeds each.

use ate_sim::net::{Lie, run_lie};

const SEEDS: u64 = 3;

fn tell(lie: Lie) {
    let mut lies = 0;
    for seed in 1..=SEEDS {
        match run_lie(lie, seed) {
            Ok(finished) => lies += finished.tally.lies,
            Err(failure) => panic!("{lie:?}: {failure}"),
        }
    }
    assert!(lies > 0, "{lie:?} was never told");
}

#[test]
fn no_lie_is_taken_in_and_what_can_be_found_out_is() {
    for lie in Lie::ALL {
        tell(lie);
    }
}
