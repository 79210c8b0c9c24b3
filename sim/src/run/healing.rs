//! The end of every run: nothing fails any more, and everything has to work again.

use ate::log::Loss;

use super::Run;
use crate::invariants::{self, Eyes, Violation, judge};
use crate::oracle::Stop;
use crate::session::Outcome;

impl Run {
    pub(super) fn heal_and_show(&mut self) -> Outcome {
        if self.storage.disk().is_cut() {
            self.power_comes_back()?;
        }
        self.storage.heal();
        self.kill();
        self.reopen()?;
        self.write_everywhere(1)?;
        self.session.close().map_err(unhealed)?;
        self.reopen()?;
        let notes = self.session.store().notes();
        if !notes.is_empty() {
            return Err(broken(format!("after a clean close: {notes:?}")).into());
        }
        self.nothing_doomed_is_left()?;
        self.write_everywhere(2)?;
        // The power goes once more, before anything is closed.
        let left = self.copy_after_cut(Loss::Everything);
        let world = self.session.world.clone();
        let store = world
            .open(std::sync::Arc::new(left))
            .map_err(|error| broken(format!("the last opening: {error:?}")))?;
        judge(&store, &self.session.oracle, &world, Eyes::Writer)?;
        Ok(())
    }

    /// Every chain takes a commit, and so does a new one.
    fn write_everywhere(&mut self, round: u64) -> Outcome {
        let mut names: Vec<String> = self.session.oracle.chains.keys().cloned().collect();
        names.push(format!("new-{round}"));
        for name in names {
            let document = format!("healed-{round}");
            let changes = vec![(document, Some(format!("{round}")))];
            self.session.commit(&name, changes).map_err(unhealed)?;
        }
        Ok(())
    }
}

fn broken(seen: String) -> Violation {
    invariants::HEALING.broken(seen)
}

fn unhealed(stop: Stop) -> Stop {
    match stop {
        Stop::Store(error) => broken(format!("{error:?}")).into(),
        other => other,
    }
}
