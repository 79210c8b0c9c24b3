//! One seed, from an empty disk to a healed store.

use std::collections::BTreeSet;
use std::sync::Arc;

use ate::crypto::reproducible;
use ate::log::{Loss, LossyStorage};
use ate::prelude::*;
use ate::{CommitError, Error, ErrorKind};

use crate::invariants::{self, Eyes, Salts, judge};
use crate::oracle::Stop;
use crate::random::Random;
use crate::session::{Outcome, Session, is_full};
use crate::storage::SimStorage;
use crate::workload::{self, Operation};
use crate::world::{SMALL_FILES, World};

mod damage;
mod destroyed;
mod healing;
mod tally;

pub use destroyed::{Doomed, Sample};
pub use tally::Tally;

/// Operations of one run.
const STEPS: u64 = 48;

/// A run that has begun.
pub struct Run {
    /// The one source of chance.
    pub random: Random,
    /// The store in use, with its oracle.
    pub session: Session,
    /// The disk as the writer's process has it.
    pub storage: SimStorage,
    /// What was done so far, in words, for whoever has to understand a failure.
    pub story: Vec<String>,
    /// A process beside the writer, if there is one.
    pub reader: Option<Store>,
    /// What was done so far.
    pub tally: Tally,
    /// Whether sealing or erasing has failed since the store was opened.
    has_upkeep_failed: bool,
    /// Whether a process beside the writer may not have been told of its last commits.
    pub is_publication_late: bool,
    /// Where backups go: another disk, on which nothing fails.
    pub shelf: LossyStorage,
    /// What was to be erased: on the disk until that is done.
    pub doomed: Vec<Doomed>,
    /// Those that an answer has called destroyed.
    pub destroyed: BTreeSet<Sample>,
    salts: Salts,
}

/// A run that broke a promise.
#[derive(Debug)]
pub struct Failure {
    /// Which run.
    pub seed: u64,
    /// Its operation, counted from 0.
    pub step: u64,
    /// The operation's name.
    pub operation: &'static str,
    /// What was broken.
    pub what: String,
    /// What it did before, in order.
    pub story: Vec<String>,
    /// The last calls of the disk.
    pub calls: Vec<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            seed,
            step,
            operation,
            what,
            story,
            calls,
        } = self;
        writeln!(f, "what was done:")?;
        for line in story {
            writeln!(f, "    {line}")?;
        }
        writeln!(f, "seed {seed}, step {step}, {operation}: {what}")?;
        writeln!(f, "the last calls of the disk:")?;
        calls
            .iter()
            .try_for_each(|call| writeln!(f, "    {call}"))?;
        write!(f, "repeat: cargo xtask sim --seed {seed} --minutes 0")
    }
}

/// What a run that kept all promises leaves.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Everything that the disk was asked and answered, in one number.
    pub trace: u64,
    /// What was done.
    pub tally: Tally,
}

/// Runs one seed.
///
/// # Errors
/// The promise that was broken, a panic included.
pub fn run(seed: u64) -> Result<Finished, Failure> {
    // Everything that a run draws follows from the seed, also inside the provider of the cryptography.
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let _guard = reproducible(bytes);
    let mut run = Run::new(seed);
    let mut at = (0, "open");
    let story = std::panic::AssertUnwindSafe(|| run.go(&mut at));
    let outcome = std::panic::catch_unwind(story);
    let what = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(stop)) => Some(stop.to_string()),
        Err(panic) => Some(format!("panicked: {}", message(&*panic))),
    };
    match what {
        None => Ok(Finished {
            trace: run.storage.trace(),
            tally: run.tally,
        }),
        Some(what) => {
            let calls = run.storage.last_calls();
            // What it holds may panic again when it is dropped.
            run.storage.kill();
            Err(Failure {
                seed,
                step: at.0,
                operation: at.1,
                what,
                story: std::mem::take(&mut run.story),
                calls,
            })
        }
    }
}

/// Whether an error tells of sealing, compacting or destroying and not of a commit: commits go on after it, if the log does.
const fn is_about_upkeep(error: &Error) -> bool {
    matches!(
        error,
        Error::Close(_) | Error::Erase(_) | Error::Commit(CommitError::NotDestroyed { .. })
    )
}

pub(crate) fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a word")
        .to_owned()
}

impl Run {
    fn new(seed: u64) -> Self {
        let storage = SimStorage::new();
        let world = Arc::new(World::new(seed, SMALL_FILES));
        Self {
            random: Random::new(seed),
            session: Session::new(world, Arc::new(storage.clone())),
            storage,
            story: Vec::new(),
            reader: None,
            tally: Tally::default(),
            has_upkeep_failed: false,
            is_publication_late: false,
            shelf: LossyStorage::new(),
            doomed: Vec::new(),
            destroyed: BTreeSet::new(),
            salts: Salts::default(),
        }
    }

    fn go(&mut self, at: &mut (u64, &'static str)) -> Outcome {
        self.session.open()?;
        for step in 0..STEPS {
            let operation: &Operation = workload::choose(&mut self.random);
            *at = (step, operation.name);
            self.tally.steps += 1;
            self.story.push(format!("{step}: {}", operation.name));
            match (operation.run)(self) {
                Ok(()) => {}
                Err(Stop::Store(error)) => self.explain(error)?,
                Err(broken) => return Err(broken),
            }
            if self.session.store.is_none() {
                self.reopen()?;
            }
        }
        *at = (STEPS, "heal");
        self.heal_and_show()
    }

    /// An operation has failed: there must be a cause, and what is promised after an error must hold.
    fn explain(&mut self, error: Error) -> Outcome {
        self.tally.errors += 1;
        self.story.push(format!("    {error:?}"));
        if self.storage.disk().is_cut() {
            return self.power_comes_back();
        }
        // Work beside commits that has failed is not begun again before the next opening.
        let is_upkeep = is_about_upkeep(&error);
        let is_known = is_upkeep && self.has_upkeep_failed && error.kind() == ErrorKind::Poisoned;
        self.has_upkeep_failed |= is_upkeep;
        if !self.storage.has_failed() && !is_known {
            return Err(invariants::CAUSE
                .broken(format!("nothing has failed, but {error:?}"))
                .into());
        }
        let is_read_flip = error.kind() == ErrorKind::Damaged && self.storage.has_flipped();
        let is_told = matches!(
            error.kind(),
            ErrorKind::Io | ErrorKind::Full | ErrorKind::Unknown | ErrorKind::Poisoned
        );
        if !is_told && !is_read_flip {
            return Err(invariants::CAUSE
                .broken(format!(
                    "{:?} is not what happened: {error:?}",
                    error.kind()
                ))
                .into());
        }
        self.storage.heal();
        self.is_publication_late = true;
        if self.session.store.is_none() {
            return Ok(());
        }
        self.reads_go_on(&error)?;
        // Sealing and erasing may end all writing, or only themselves.
        let is_over = !self.session.store().info().writer
            || !is_upkeep && matches!(error.kind(), ErrorKind::Unknown | ErrorKind::Poisoned);
        if !is_over {
            if is_full(&error) {
                self.tally.full += 1;
            }
            return Ok(());
        }
        self.tally.unknown += 1;
        self.nothing_is_written_any_more(&error)?;
        self.kill();
        Ok(())
    }

    /// What was acknowledged, and nothing else, is what a store shows that has just failed.
    fn reads_go_on(&self, error: &Error) -> Outcome {
        let store = self.session.store();
        for (name, known) in &self.session.oracle.chains {
            if known.acknowledged == 0 {
                continue;
            }
            let chain = store.existing_chain(name).wait()?;
            let position = chain.position().0 as usize;
            if position != known.acknowledged {
                let invariant = if is_full(error) {
                    &invariants::FULL
                } else {
                    &invariants::POISONED
                };
                return Err(invariant
                    .broken(format!(
                        "chain {name} shows {position} and not {}, after {error:?}",
                        known.acknowledged
                    ))
                    .into());
            }
        }
        self.judge_acknowledged(store)
    }

    /// As a judgement, but what is not acknowledged may not be seen.
    fn judge_acknowledged(&self, store: &Store) -> Outcome {
        let mut oracle = self.session.oracle.clone();
        for known in oracle.chains.values_mut() {
            known.states.truncate(known.acknowledged.max(1));
        }
        judge(store, &oracle, &self.session.world, Eyes::Writer)?;
        Ok(())
    }

    /// The log has failed: every further commit is refused, also now that the disk works again.
    fn nothing_is_written_any_more(&mut self, error: &Error) -> Outcome {
        let chains = &self.session.oracle.chains;
        let Some((name, _)) = chains.iter().find(|(_, known)| known.acknowledged > 0) else {
            return Ok(());
        };
        let chain = self.session.store().existing_chain(name).wait()?;
        let write = chain.put("never", crate::session::json("1"));
        match write.wait().map_err(Error::from) {
            Err(next) if next.kind() == ErrorKind::Poisoned => Ok(()),
            answer => Err(invariants::POISONED
                .broken(format!("after {error:?}: {:?}", answer.map(|_| "written")))
                .into()),
        }
    }

    /// The process ends without a word, and so does the one beside it.
    pub fn kill(&mut self) {
        self.tally.kills += 1;
        self.story.push("    killed".to_owned());
        self.reader = None;
        self.storage.kill();
        self.session.store = None;
        self.switch_to(self.storage.process());
        self.storage.heal();
    }

    /// The power was cut: the machine starts with what is left.
    pub fn power_comes_back(&mut self) -> Outcome {
        self.tally.cuts += 1;
        let loss = self.choose_loss();
        self.story
            .push(format!("    the power is back, after {loss:?}"));
        self.reader = None;
        self.storage.kill();
        self.session.store = None;
        self.switch_to(self.storage.after_cut(loss));
        Ok(())
    }

    fn choose_loss(&mut self) -> Loss {
        let seed = self.random.next();
        let fixed: Vec<Loss> = Loss::all(0).collect();
        if self.random.one_in(3) {
            fixed[self.random.index(fixed.len())]
        } else {
            Loss::Random { seed }
        }
    }

    fn switch_to(&mut self, storage: SimStorage) {
        self.session.storage = Arc::new(storage.clone());
        self.storage = storage;
    }

    /// Opens the store, whatever fails on the way, and judges what it shows.
    pub fn reopen(&mut self) -> Outcome {
        // A fault that waits may hit the first try. It is gone at the second.
        loop {
            match self.session.open() {
                // The last call of an opening may fail unnoticed.
                Ok(()) if self.storage.disk().is_cut() => self.power_comes_back()?,
                Ok(()) => break,
                Err(Stop::Store(_)) if self.storage.disk().is_cut() => self.power_comes_back()?,
                Err(Stop::Store(error)) if self.storage.has_failed() => self.explain(error)?,
                Err(Stop::Store(error)) => {
                    return Err(invariants::NO_FALSE_DAMAGE
                        .broken(format!("{error:?}"))
                        .into());
                }
                Err(broken) => return Err(broken),
            }
        }
        self.look()
    }

    /// Judges the open store; from then on, what it has found is acknowledged.
    fn look(&mut self) -> Outcome {
        // The judge's own calls are not to fail.
        self.is_publication_late = self.storage.has_failed();
        self.has_upkeep_failed = false;
        self.storage.heal();
        let store = self.session.store().clone();
        judge(
            &store,
            &self.session.oracle,
            &self.session.world,
            Eyes::Writer,
        )?;
        self.session.oracle.settle(&store)?;
        self.salts.look(&store)?;
        self.nothing_comes_back()?;
        self.tally.judged += 1;
        self.tally.commits = self.session.oracle.commits;
        self.tally.salts = self.salts.len() as u64;
        Ok(())
    }

    /// The disk as it would be found if the power went now, in a machine of its own.
    pub fn copy_after_cut(&self, loss: Loss) -> LossyStorage {
        LossyStorage::from_image(self.storage.disk().image_after_cut(loss))
    }
}
