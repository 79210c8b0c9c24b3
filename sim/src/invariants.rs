//! What must hold, whatever happened: one table, one file for each that looks at a store.
//!
//! The *source* of an invariant is who promises it, or whose mistake it remembers.

use std::fmt;

use ate::prelude::*;
use ate::{Error, ErrorKind};

use crate::oracle::{ChainOracle, Oracle};
use crate::world::World;

mod atomic;
mod durable;
mod ordered;
mod prefix;
mod proven;
mod roots;
mod salts;
mod shared;

pub use salts::Salts;

/// Looks at what there is; the promise broken, if it is.
type Check = fn(&Sight<'_>) -> Result<(), Miss>;

/// One promise.
#[derive(Debug)]
pub struct Invariant {
    /// A word for it.
    pub name: &'static str,
    /// What it says.
    pub says: &'static str,
    /// Who promises it.
    pub source: &'static str,
    check: Option<Check>,
}

const fn looked_at(
    name: &'static str,
    says: &'static str,
    source: &'static str,
    check: Check,
) -> Invariant {
    Invariant {
        name,
        says,
        source,
        check: Some(check),
    }
}

const fn in_the_run(name: &'static str, says: &'static str, source: &'static str) -> Invariant {
    Invariant {
        name,
        says,
        source,
        check: None,
    }
}

/// An acknowledged commit is there.
pub static DURABLE: Invariant = looked_at(
    "durable",
    "a commit that was acknowledged is there after any crash",
    "docs/reliability.md; NATS JetStream acknowledged before the sync (Jepsen 2025)",
    durable::check,
);
/// Whole or not at all.
pub static ATOMIC: Invariant = looked_at(
    "atomic",
    "a commit is there as a whole or not at all",
    "docs/reliability.md",
    atomic::check,
);
/// Past states stay as they were.
pub static ORDERED: Invariant = looked_at(
    "ordered",
    "a commit stands in its place: every earlier state reads as it was",
    "docs/reliability.md; Redpanda's inconsistent offsets (Jepsen 2022)",
    ordered::check,
);
/// Nothing but a prefix.
pub static PREFIX: Invariant = looked_at(
    "prefix",
    "what is found is a prefix of what was attempted, and nothing else",
    "ate-log, lib.rs, 2",
    prefix::check,
);
/// One history, one root.
pub static ROOTS: Invariant = looked_at(
    "roots",
    "the Merkle root of a position never changes, in no process",
    "docs/format.md; RFC 9162",
    roots::check,
);
/// The log alone proves it.
pub static PROVEN: Invariant = looked_at(
    "proven",
    "the log alone proves the state that a store shows",
    "docs/format.md",
    proven::check,
);
/// Keys are held by those who were given them.
pub static SHARED: Invariant = looked_at(
    "shared",
    "another identity reads what it was given, and nothing else",
    "ate-chain, tests/keys.rs",
    shared::check,
);
/// Salts are fresh.
pub static SALTS: Invariant = in_the_run(
    "salts",
    "no salt seals two commits, in no life of the store",
    "reliability.md, section 5, nonce reuse",
);
/// A crash alone is never damage.
pub static NO_FALSE_DAMAGE: Invariant = in_the_run(
    "no false damage",
    "after crashes and failed calls alone, opening succeeds",
    "etcd #3591 could not start again after a full disk",
);
/// Errors have causes.
pub static CAUSE: Invariant = in_the_run(
    "cause",
    "an error has a cause, and says of which kind it is",
    "ate::ErrorKind",
);
/// Backups are stores.
pub static RESTORED: Invariant = in_the_run(
    "restored",
    "a backup that was put back shows what it was made of, and writes into lanes of its own",
    "docs/format.md; a copied store must not reuse lane numbers",
);
/// Erased is gone.
pub static DESTROYED: Invariant = in_the_run(
    "destroyed",
    "what an answered erasure destroyed is nowhere on the disk, in no life of the store",
    "docs/format.md; ate::Chain::erase",
);
/// A full disk changes nothing.
pub static FULL: Invariant = in_the_run(
    "full",
    "a commit that a full disk refused changed nothing, and the store goes on",
    "ate-log, Log::append",
);
/// No write after a failed sync.
pub static POISONED: Invariant = in_the_run(
    "poisoned",
    "after an unknown outcome nothing is written until the store is opened again; reading goes on",
    "fsyncgate; Rebello et al., ATC 2020",
);
/// Flipped bits are seen.
pub static DETECTED: Invariant = in_the_run(
    "detected",
    "bytes that are not what was written are an error or unused, never wrong data",
    "docs/reliability.md; NATS JetStream lost a stream to one bit (Jepsen 2025)",
);
/// A reader sees what was confirmed.
pub static READER: Invariant = in_the_run(
    "reader",
    "a process beside the writer sees a state that the writer has confirmed, and never goes back",
    "ate-log, FileLog::open_reader",
);
/// Liveness.
pub static HEALING: Invariant = in_the_run(
    "healing",
    "when nothing fails any more, everything works again",
    "reliability.md, section 6, row 10",
);

/// All of them.
pub static ALL: [&Invariant; 17] = [
    &DURABLE,
    &ATOMIC,
    &ORDERED,
    &PREFIX,
    &ROOTS,
    &PROVEN,
    &SHARED,
    &SALTS,
    &NO_FALSE_DAMAGE,
    &CAUSE,
    &DESTROYED,
    &RESTORED,
    &FULL,
    &POISONED,
    &DETECTED,
    &READER,
    &HEALING,
];

/// A promise that was broken.
#[derive(Debug)]
pub struct Violation {
    /// Which.
    pub invariant: &'static Invariant,
    /// What was seen instead.
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Invariant { name, says, .. } = self.invariant;
        write!(f, "{name} ({says}): {}", self.seen)
    }
}

impl std::error::Error for Violation {}

impl Invariant {
    /// This one was broken.
    pub fn broken(&'static self, seen: impl Into<String>) -> Violation {
        Violation {
            invariant: self,
            seen: seen.into(),
        }
    }
}

/// Whose eyes look at a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Eyes {
    /// A writer's, after nothing worse than crashes and errors.
    Writer,
    /// Of a process beside the writer.
    Reader {
        /// Whether the writer may have failed to tell of its last commits: its acknowledgement does not wait for that.
        is_late: bool,
    },
    /// A writer's, whose files were damaged: it may say so, and may show less.
    AfterDamage {
        /// Whether the end of a file is missing: a shorter log is a log.
        is_cut: bool,
    },
}

/// One chain as an opened store shows it, and what is known of it.
pub struct Sight<'a> {
    /// The store.
    pub store: &'a Store,
    /// The chain in it.
    pub chain: &'a Chain,
    /// What may be seen.
    pub known: &'a ChainOracle,
    /// Who acts.
    pub world: &'a World,
    /// Who looks.
    pub eyes: Eyes,
}

/// Why a check did not pass.
pub(crate) enum Miss {
    /// What was seen instead.
    Seen(String),
    /// It could not look.
    Error(Error),
}

impl<E: Into<Error>> From<E> for Miss {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

pub(crate) use ordered::compare as compare_past;

fn miss(seen: impl Into<String>) -> Result<(), Miss> {
    Err(Miss::Seen(seen.into()))
}

impl Sight<'_> {
    /// How many commits it shows.
    fn position(&self) -> usize {
        self.chain.position().0 as usize
    }
}

/// Looks at every chain of a store with every invariant that looks at stores.
///
/// # Errors
/// What is broken. An error on the way is one as well, except that damage may be reported after damage was done.
pub fn judge(store: &Store, oracle: &Oracle, world: &World, eyes: Eyes) -> Result<(), Violation> {
    let may_fail = matches!(eyes, Eyes::AfterDamage { .. });
    let chains = match store.chains() {
        Ok(chains) => chains,
        Err(error) if may_fail && error.kind() == ErrorKind::Damaged => return Ok(()),
        Err(error) => return Err(CAUSE.broken(format!("the list of chains: {error:?}"))),
    };
    for info in &chains {
        if !oracle.chains.contains_key(&info.name) {
            return Err(PREFIX.broken(format!("nobody ever wrote a chain `{}`", info.name)));
        }
    }
    for (name, known) in &oracle.chains {
        if !chains.iter().any(|info| info.name == *name) {
            let may_be_gone = matches!(
                eyes,
                Eyes::AfterDamage { is_cut: true } | Eyes::Reader { is_late: true }
            );
            if known.acknowledged > 0 && !may_be_gone {
                return Err(DURABLE.broken(format!("chain {name}, acknowledged, is gone")));
            }
            continue;
        }
        let chain = match store.existing_chain(name).wait() {
            Ok(chain) => chain,
            Err(error) if may_fail && error.kind() == ErrorKind::Damaged => continue,
            Err(error) => return Err(CAUSE.broken(format!("chain {name}: {error:?}"))),
        };
        let sight = Sight {
            store,
            chain: &chain,
            known,
            world,
            eyes,
        };
        for invariant in ALL {
            let Some(check) = invariant.check else {
                continue;
            };
            match check(&sight) {
                Ok(()) => {}
                Err(Miss::Error(error)) if may_fail && error.kind() == ErrorKind::Damaged => {}
                // The commit of an erasure may be what was cut off, after its bytes had been destroyed.
                Err(Miss::Seen(_))
                    if matches!(eyes, Eyes::AfterDamage { is_cut: true }) && is_denied(&sight) => {}
                Err(Miss::Seen(seen)) => {
                    return Err(invariant.broken(format!("chain {name}: {seen}")));
                }
                Err(Miss::Error(error)) => {
                    return Err(CAUSE.broken(format!(
                        "chain {name}, while looking whether it is {}: {error:?}",
                        invariant.name
                    )));
                }
            }
        }
    }
    Ok(())
}

/// Whether a proof of the chain finds that something is missing.
fn is_denied(sight: &Sight<'_>) -> bool {
    let proved = sight
        .store
        .verify(&sight.chain.id(), ate::Depth::Deep, |_| {});
    proved.is_err_and(|error| error.kind() == ErrorKind::Damaged)
}
