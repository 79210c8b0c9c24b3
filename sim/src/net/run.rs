//! One seed, from empty disks to a network in which everybody agrees.

use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;

use ate::crypto::{Identity, Seed, reproducible};

use super::lie::Lie;
use super::lying;
use super::town::Town;
use super::workload;
use crate::random::Random;

/// Operations of one run.
const STEPS: u64 = 20;
/// One seed in so many tells of a node that lies.
const LYING: u64 = 4;

/// A promise that was broken.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) promise: &'static str,
    pub(super) what: String,
}

impl Broken {
    pub(super) fn of(promise: &'static str, what: String) -> Self {
        Self { promise, what }
    }
}

/// What a part of a run ends with.
pub(super) type Outcome<T = ()> = Result<T, Broken>;

/// A run that broke a promise.
#[derive(Debug)]
pub struct NetFailure {
    /// Which run.
    pub seed: u64,
    /// What was broken.
    pub what: String,
    /// What it did before, in order.
    pub story: Vec<String>,
}

impl std::fmt::Display for NetFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "what was done:")?;
        for line in &self.story {
            writeln!(f, "    {line}")?;
        }
        writeln!(f, "network seed {}: {}", self.seed, self.what)?;
        write!(
            f,
            "repeat: cargo xtask sim --net --seed {} --minutes 0",
            self.seed
        )
    }
}

/// What runs have done.
#[derive(Clone, Copy, Default, Debug)]
pub struct NetTally {
    /// Commits that were staged.
    pub staged: u64,
    /// Answers that told of a place.
    pub landed: u64,
    /// Answers that told of a refusal.
    pub refused: u64,
    /// Times that a node or a device lost its power.
    pub crashes: u64,
    /// Connections and ways that were cut.
    pub cuts: u64,
    /// Lies that were told.
    pub lies: u64,
    /// Accusations.
    pub accused: u64,
}

impl NetTally {
    /// Adds what another run has done.
    pub const fn add(&mut self, other: &Self) {
        self.staged += other.staged;
        self.landed += other.landed;
        self.refused += other.refused;
        self.crashes += other.crashes;
        self.cuts += other.cuts;
        self.lies += other.lies;
        self.accused += other.accused;
    }
}

impl std::fmt::Display for NetTally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            staged,
            landed,
            refused,
            crashes,
            cuts,
            lies,
            accused,
        } = self;
        write!(
            f,
            "{staged} commits staged, {landed} landed, {refused} refused; {crashes} crashes, {cuts} cuts; {lies} lies, {accused} accusations"
        )
    }
}

/// What a run that kept all promises leaves.
#[derive(Clone, Copy, Debug)]
pub struct NetFinished {
    /// Everything that all disks were asked and answered, in one number.
    pub trace: u64,
    /// What was done.
    pub tally: NetTally,
}

/// Runs one seed.
///
/// # Errors
/// The promise that was broken, a panic included.
pub fn run_net(seed: u64) -> Result<NetFinished, NetFailure> {
    if seed % LYING == LYING - 1 {
        let lie = Lie::ALL[(seed / LYING) as usize % Lie::ALL.len()];
        return lying::run_lie(lie, seed);
    }
    guarded(seed, |town| Box::pin(honest(town)))
}

/// The identities of all runs: making them takes longer than a run may.
pub(super) fn identity(number: usize) -> &'static Identity {
    static IDENTITIES: OnceLock<Vec<Identity>> = OnceLock::new();
    let make = |byte: u8| Identity::from_seed(&Seed::from_bytes([byte; 32]));
    &IDENTITIES.get_or_init(|| (1..5).map(make).collect())[number]
}

type Story<'a> = std::pin::Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// Runs a story in a town of its own, in virtual time, with all chance from the seed.
pub(super) fn guarded(
    seed: u64,
    story: impl for<'a> Fn(&'a mut Town) -> Story<'a>,
) -> Result<NetFinished, NetFailure> {
    identity(0);
    let mut bytes = [1; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let _guard = reproducible(bytes);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime of one thread needs nothing");
    let mut told = Vec::new();
    let ended = std::panic::catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let mut town = Town::new(seed, Random::new(seed));
            let ended = story(&mut town).await;
            told = std::mem::take(&mut town.story);
            ended.map(|()| NetFinished {
                trace: town.trace(),
                tally: town.tally(),
            })
        })
    }));
    let what = match ended {
        Ok(Ok(finished)) => return Ok(finished),
        Ok(Err(Broken { promise, what })) => format!("{promise}: {what}"),
        Err(panic) => format!("panicked: {}", crate::run::message(&*panic)),
    };
    Err(NetFailure {
        seed,
        what,
        story: told,
    })
}

/// Whatever breaks, nothing that was acknowledged does.
async fn honest(town: &mut Town) -> Outcome {
    town.begin().await?;
    for step in 0..STEPS {
        let operation = workload::choose(&mut town.random);
        town.tell(format!("{step}: {}", operation.name));
        (operation.run)(town).await?;
        town.pass_some_time().await;
        town.look().await?;
    }
    town.heal().await?;
    town.settle().await?;
    town.judge().await
}
