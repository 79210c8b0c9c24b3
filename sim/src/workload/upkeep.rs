//! What a store does to its files beside commits: sealing, destroying, giving back, checking.

use std::ops::ControlFlow;

use ate::Position;
use ate::log::{Least, Pace};

use crate::invariants;
use crate::run::{Doomed, Run};
use crate::session::Outcome;

/// Ends after so many pieces of work, as the closing of a store does.
struct Pieces(u64);

impl Pace for Pieces {
    fn did(&mut self, _bytes: u64) -> ControlFlow<()> {
        match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        }
    }
}

impl Run {
    /// Mostly all the time that it takes.
    fn any_pace(&mut self) -> Pieces {
        Pieces(if self.random.one_in(4) {
            self.random.below(6)
        } else {
            u64::MAX
        })
    }
}

pub(super) fn seal(run: &mut Run) -> Outcome {
    let mut pace = run.any_pace();
    run.tally.sealed += run.session.store().seal(&mut pace)?;
    Ok(())
}

pub(super) fn erase(run: &mut Run) -> Outcome {
    let chain = run.any_chain();
    let Some(name) = run.any_name(chain, |_, name| !name.contains('@')) else {
        return Ok(());
    };
    let samples = run.sample(chain, &name)?;
    run.doomed.push(Doomed {
        chain,
        name: name.clone(),
        position: run.session.oracle.chains[chain].states.len() + 1,
        samples: samples.clone(),
    });
    run.session.erase(chain, &name)?;
    run.tally.erased += 1;
    run.destroyed.extend(samples);
    run.nothing_comes_back()
}

pub(super) fn compact(run: &mut Run) -> Outcome {
    let name = run.any_chain();
    let Some(known) = run.session.oracle.chains.get(name) else {
        return Ok(());
    };
    if known.acknowledged == 0 {
        return Ok(());
    }
    // It moves forward only.
    let mut horizon = known.newest().horizon;
    let room = known.acknowledged - horizon;
    if room > 0 {
        horizon += 1 + run.random.index(room);
        run.session.set_horizon(name, horizon)?;
    }
    let least = if run.random.one_in(2) {
        Least::ANY
    } else {
        Least::QUARTER
    };
    let mut pace = run.any_pace();
    let chain = run.session.chain(name)?;
    let store = run.session.store();
    run.tally.reclaimed += store.compact(&chain, least, &mut pace)?.bytes;
    if chain.horizon() != Position(horizon as u64) {
        return Err(invariants::ORDERED
            .broken(format!("chain {name}: the horizon is {}", chain.horizon()))
            .into());
    }
    Ok(())
}

pub(super) fn scrub(run: &mut Run) -> Outcome {
    let mut pace = run.any_pace();
    let scrubbed = run.session.store().scrub(&mut pace)?;
    if scrubbed.damaged > 0 && !run.storage.has_flipped() {
        return Err(invariants::NO_FALSE_DAMAGE
            .broken(format!("{scrubbed:?}"))
            .into());
    }
    Ok(())
}
