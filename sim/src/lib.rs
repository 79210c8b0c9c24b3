//! Simulation: a disk that lies, a seeded workload over a real [`ate::Store`], and an oracle that knows what was promised.
//!
//! One number, the *seed*, decides everything: which operations a run does, which calls of the disk fail, when the power goes and what it leaves, which bits
//! turn. The store is the real one, on one thread, with a clock and randomness that follow from the seed; so a run repeats to the byte, in any process.
//! It **is** a test harness; it is **not** published and nothing depends on it.
//!
//! # Parts
//! - [`SimStorage`]: the disk. What a cut may leave is [`ate::log::LossyStorage`]'s model, which failing calls look like [`ate::log::FaultyStorage`]'s.
//! - [`workload`]: the table of what a run may do.
//! - [`Oracle`]: every state that a chain was led to, and how many are acknowledged.
//! - [`invariants`]: the table of what must hold, with the source of each.
//! - [`run`]: one seed, from an empty disk to a healed store.
//! - [`net`]: the same for a node and those who follow it, over a network that breaks and with a node that may lie.
//!
//! # Example
//! ```
//! let finished = ate_sim::run(7).expect("no promise is broken");
//! assert_eq!(ate_sim::run(7).expect("again").trace, finished.trace);
//! assert!(finished.tally.commits > 0);
//! ```

mod enumerate;
pub mod invariants;
pub mod net;
mod oracle;
mod random;
mod run;
mod script;
mod session;
mod storage;
pub mod workload;
mod world;

pub use enumerate::{Cut, Enumerated, Share, enumerate, judge_image, run_until};
pub use oracle::{
    Access, ChainOracle, Content, Oracle, Past, State, Stop, accounts, content, content_at, past,
};
pub use random::Random;
pub use run::{Doomed, Failure, Finished, Run, Sample, Tally, run};
pub use session::{Changes, Outcome, Session, is_full, json};
pub use storage::SimStorage;
pub use world::{Account, SMALL_FILES, World, text};
