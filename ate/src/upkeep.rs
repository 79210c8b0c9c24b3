//! What a store does to its files while it runs: segments are sealed, what nobody needs is given back, everything is read again now and then.
//!
//! All of it goes on beside commits and reads, in pieces, no faster than [`Upkeep`] allows, and ends with the store. What stands in the log is the same before
//! and after; only erasures and horizons, which are commits of their own, make anything go.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use ate_chain::{EraseError, Local, Position};
use ate_log::{Damage, Least, Location, Pace, Reclaimed, Scrubbed};
use ate_view::Chain;
use parking_lot::Mutex;

use crate::error::Error;
use crate::inner::StoreInner;
use crate::maintenance::{Job, Next, Pacing};

/// How soon it is looked again whether a segment has become full.
const SEAL_EVERY: Duration = Duration::from_secs(1);

/// What a store may do by itself, and how fast.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Upkeep {
    /// Most bytes a second that are moved when segments are sealed; 0 for no limit.
    pub seal_bytes_per_second: u64,
    /// How often contents below the horizons of open chains are given back; `None`: never by itself.
    pub compact_every: Option<Duration>,
    /// Files are written anew only if so much would go from them.
    pub compact_least: Least,
    /// How long after the opening, and how often from then on, everything is read and checked; `None`: never by itself.
    pub scrub_every: Option<Duration>,
    /// Most bytes a second that are read to check them, or written to give space back; 0 for no limit.
    pub bytes_per_second: u64,
}

impl Default for Upkeep {
    /// Seals at 128 MiB a second; each hour gives back what makes files a quarter smaller; once a day checks everything, both at 16 MiB a second.
    fn default() -> Self {
        Self {
            seal_bytes_per_second: 128 << 20,
            compact_every: Some(Duration::from_secs(60 * 60)),
            compact_least: Least::QUARTER,
            scrub_every: Some(Duration::from_secs(24 * 60 * 60)),
            bytes_per_second: 16 << 20,
        }
    }
}

impl Upkeep {
    /// Nothing goes on by itself but the sealing of full segments.
    #[must_use]
    pub fn only_sealing() -> Self {
        Self {
            compact_every: None,
            scrub_every: None,
            ..Self::default()
        }
    }
}

/// What upkeep has done since the store was opened.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UpkeepCounts {
    /// Segments that were sealed.
    pub sealed: u64,
    /// What was given back.
    pub reclaimed: Reclaimed,
    /// The last check that ended or is under way.
    pub scrubbed: Option<Scrubbed>,
    /// Damage that checks have found, the first 100 places.
    pub damages: Vec<(Location, Damage)>,
    /// Why work was put off, the last time that it was.
    pub last_error: Option<String>,
}

/// The most places of damage that are remembered.
const DAMAGES_MAX: usize = 100;

/// Counts and settings, as a store holds them.
pub(crate) struct UpkeepState {
    pub(crate) settings: Upkeep,
    pub(crate) counts: Mutex<UpkeepCounts>,
}

impl UpkeepState {
    pub(crate) fn new(settings: Upkeep) -> Self {
        Self {
            settings,
            counts: Mutex::default(),
        }
    }

    fn failed(&self, what: &str, error: &dyn std::fmt::Display) {
        self.counts.lock().last_error = Some(format!("{what}: {error}"));
    }
}

impl Pace for Pacing<'_> {
    fn did(&mut self, bytes: u64) -> ControlFlow<()> {
        Pacing::did(self, bytes)
    }
}

impl StoreInner {
    /// Seals the segments that are full.
    pub(crate) fn seal(&self, pacing: &mut Pacing<'_>) -> Next {
        pacing.limit(self.upkeep.settings.seal_bytes_per_second);
        loop {
            match self.log.seal(pacing) {
                Ok(true) => self.upkeep.counts.lock().sealed += 1,
                Ok(false) => return Next::After(SEAL_EVERY),
                Err(error) => {
                    self.upkeep.failed("a segment was not sealed", &error);
                    // It would fail again; a store that is opened anew tries anew.
                    return Next::WhenCalled;
                }
            }
        }
    }

    /// Gives back what stands below the horizons of open chains.
    pub(crate) fn compact_open(&self, pacing: &mut Pacing<'_>) -> Next {
        let Some(every) = self.upkeep.settings.compact_every else {
            return Next::WhenCalled;
        };
        pacing.limit(self.upkeep.settings.bytes_per_second);
        let least = self.upkeep.settings.compact_least;
        for chain in self.chains.open_one_by_one() {
            if let Err(error) = self.compact(chain.local(), least, pacing) {
                self.upkeep.failed("nothing was given back", &error);
            }
        }
        Next::After(every)
    }

    /// Finishes the erasures of a chain, and gives back what stands below its horizon.
    pub(crate) fn compact(
        &self,
        chain: &Local,
        least: Least,
        pace: &mut dyn Pace,
    ) -> Result<Reclaimed, Error> {
        chain.finish_erasures()?;
        if chain.horizon() == Position(0) {
            return Ok(Reclaimed::default());
        }
        let spans = chain
            .superseded_below(chain.horizon())
            .map_err(EraseError::from)?;
        let reclaimed = self.log.erase(&spans, least, pace)?;
        let mut counts = self.upkeep.counts.lock();
        let sum = &mut counts.reclaimed;
        sum.spans += reclaimed.spans;
        sum.kept += reclaimed.kept;
        sum.files += reclaimed.files;
        sum.bytes += reclaimed.bytes;
        Ok(reclaimed)
    }

    /// Destroys what erasures of open chains left to be destroyed: a crash may have come between.
    pub(crate) fn finish_erasures(&self) -> Next {
        for chain in self.chains.open_one_by_one() {
            self.finish_erasures_of(&chain);
        }
        Next::WhenCalled
    }

    /// Destroys what erasures of one chain left, before it is let go as well.
    pub(crate) fn finish_erasures_of(&self, chain: &Chain) {
        if self.log.writable()
            && chain.local().has_due_erasures()
            && let Err(error) = chain.local().finish_erasures()
        {
            self.upkeep.failed("an erasure is not finished", &error);
        }
    }

    /// Calls for what is due at the opening of a store that is written.
    pub(crate) fn begin_upkeep(self: &Arc<Self>) {
        if !self.is_writer || !self.keeps_rest() {
            return;
        }
        let settings = self.upkeep.settings;
        self.maintenance.call(self, Job::Seal);
        let timed = [
            (Job::Compact, settings.compact_every),
            (Job::Scrub, settings.scrub_every),
        ];
        for (job, every) in timed {
            if let Some(every) = every {
                self.maintenance.call_in(self, job, every);
            }
        }
    }

    /// Reads and checks everything.
    pub(crate) fn scrub_slowly(&self, pacing: &mut Pacing<'_>) -> Next {
        let Some(every) = self.upkeep.settings.scrub_every else {
            return Next::WhenCalled;
        };
        pacing.limit(self.upkeep.settings.bytes_per_second);
        if let Err(error) = self.scrub(pacing) {
            self.upkeep.failed("not everything was checked", &error);
        }
        Next::After(every)
    }

    pub(crate) fn scrub(&self, pace: &mut dyn Pace) -> Result<Scrubbed, Error> {
        let mut damages = Vec::new();
        let scrubbed = self.log.scrub(pace, &mut |at, damage| {
            if damages.len() < DAMAGES_MAX {
                damages.push((at, damage));
            }
        })?;
        let mut counts = self.upkeep.counts.lock();
        counts.scrubbed = Some(scrubbed);
        for (at, damage) in damages {
            let told = counts.damages.contains(&(at, damage));
            if !told && counts.damages.len() < DAMAGES_MAX {
                counts.damages.push((at, damage));
            }
        }
        Ok(scrubbed)
    }
}
