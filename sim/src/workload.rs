//! What a run may do next: one table. A new operation is a line here and a function below.

use ate::log::Fault;

use crate::invariants::{ORDERED, compare_past};
use crate::oracle::{Access, State, past};
use crate::random::Random;
use crate::run::Run;
use crate::session::{Changes, Outcome};
use crate::world::text;

mod backup;
mod beside;
mod trouble;
mod upkeep;

/// Something that a run does, and how often compared with the others.
pub struct Operation {
    /// What a failure calls it.
    pub name: &'static str,
    weight: u64,
    /// Does it. An error of the store is judged by the run: it must have a cause.
    pub run: fn(&mut Run) -> Outcome,
}

const fn operation(name: &'static str, weight: u64, run: fn(&mut Run) -> Outcome) -> Operation {
    Operation { name, weight, run }
}

/// Everything that a run may do.
pub static OPERATIONS: &[Operation] = &[
    // Work.
    operation("write a document", 20, write),
    operation("write a large document", 4, write_large),
    operation("remove a record", 5, remove),
    operation("open an account", 6, open_account),
    operation("deposit", 4, deposit),
    operation("a commit of several records", 8, write_several),
    operation("commits that share a round", 6, write_round),
    operation("a document for two", 3, write_shared),
    operation("the other identity writes", 4, write_as_bob),
    operation("share a document", 2, share),
    operation("take a document back", 2, unshare),
    operation("read the past", 4, read_past),
    operation("close and open", 5, close),
    // The log's own affairs.
    operation("seal what is written", 4, upkeep::seal),
    operation("erase a document", 5, upkeep::erase),
    operation("set a horizon and compact", 3, upkeep::compact),
    operation("check everything", 2, upkeep::scrub),
    operation("back up and restore", 3, backup::back_up_and_restore),
    // Others who look.
    operation("a reader comes", 3, beside::open),
    operation("the reader looks", 6, beside::look),
    operation("damage a copy", 4, Run::damage_a_copy),
    // Trouble, now or soon.
    operation("the process is killed", 3, trouble::kill),
    operation("the power goes now", 2, trouble::cut_now),
    operation("the power will go", 6, trouble::cut_soon),
    operation("a sync will fail", 3, trouble::fail_sync),
    operation("a call will fail", 4, |run| trouble::fail(run, Fault::Io)),
    operation("a call will find no space", 2, |run| {
        trouble::fail(run, Fault::NoSpace)
    }),
    operation("a write will be short", 2, |run| {
        trouble::fail(run, Fault::ShortWrite)
    }),
    operation("the disk will be read-only", 1, |run| {
        trouble::fail(run, Fault::ReadOnly)
    }),
    operation("the disk is nearly full", 3, trouble::fill),
    operation("a bit will turn while reading", 2, trouble::flip_read),
];

/// The next operation.
///
/// # Panics
/// Never: the table has weights.
pub fn choose(random: &mut Random) -> &'static Operation {
    let total = OPERATIONS.iter().map(|operation| operation.weight).sum();
    let mut left = random.below(total);
    for operation in OPERATIONS {
        if left < operation.weight {
            return operation;
        }
        left -= operation.weight;
    }
    unreachable!("the weights add up to their sum")
}

const CHAINS: [&str; 4] = ["bank", "vault", "log", "plans"];
const DOCUMENTS: u64 = 9;

impl Run {
    fn any_chain(&mut self) -> &'static str {
        CHAINS[self.random.index(CHAINS.len())]
    }

    fn any_text(&mut self, bytes_max: u64) -> String {
        let label = self.random.next() >> 12;
        text(label, self.random.below(bytes_max) as usize)
    }

    fn any_document(&mut self) -> String {
        format!("document-{}", self.random.below(DOCUMENTS))
    }

    /// A name of the newest state of `chain` that `is_meant`.
    fn any_name(&mut self, chain: &str, is_meant: impl Fn(&State, &str) -> bool) -> Option<String> {
        let state = self.session.oracle.chains.get(chain)?.newest();
        let names: Vec<&String> = state
            .content
            .keys()
            .filter(|name| is_meant(state, name))
            .collect();
        let count = names.len();
        (count > 0).then(|| names[self.random.index(count)].clone())
    }

    /// Changes for one commit: most write a document, some end a record or open an account.
    fn any_changes(&mut self, chain: &str, count: u64) -> Changes {
        let mut changes = Changes::new();
        for _ in 0..count {
            let (name, value) = match self.random.below(6) {
                0 => match self.any_name(chain, is_removable) {
                    Some(name) => (name, None),
                    None => continue,
                },
                1 => (self.fresh_address(), Some(self.any_balance())),
                _ => (self.any_document(), Some(self.any_text(900))),
            };
            // One commit changes a record once.
            if changes.iter().all(|(other, _)| *other != name) {
                changes.push((name, value));
            }
        }
        changes
    }

    fn fresh_address(&mut self) -> String {
        format!("{:x}@example.org", self.random.next() >> 24)
    }

    fn any_balance(&mut self) -> String {
        (self.random.below(2000) as i64 - 1000).to_string()
    }
}

fn is_removable(state: &State, name: &str) -> bool {
    !state.bob.contains_key(name)
}

fn write(run: &mut Run) -> Outcome {
    let chain = run.any_chain();
    let change = (run.any_document(), Some(run.any_text(3000)));
    run.session.commit(chain, vec![change])
}

/// Longer than what a log keeps together, and than its zeros ahead.
fn write_large(run: &mut Run) -> Outcome {
    let chain = run.any_chain();
    let name = run.any_document();
    let bytes = 66_000 + run.random.below(60_000) as usize;
    let value = text(run.random.next() >> 12, bytes);
    run.session.commit(chain, vec![(name, Some(value))])
}

fn remove(run: &mut Run) -> Outcome {
    let chain = run.any_chain();
    match run.any_name(chain, is_removable) {
        Some(name) => run.session.commit(chain, vec![(name, None)]),
        None => Ok(()),
    }
}

fn open_account(run: &mut Run) -> Outcome {
    let chain = run.any_chain();
    let change = (run.fresh_address(), Some(run.any_balance()));
    run.session.commit(chain, vec![change])
}

fn deposit(run: &mut Run) -> Outcome {
    let chain = run.any_chain();
    let Some(email) = run.any_name(chain, |_, name| name.contains('@')) else {
        return Ok(());
    };
    let amount = run.random.below(100) as i64;
    run.session.deposit(chain, &email, amount)
}

fn write_several(run: &mut Run) -> Outcome {
    let chain = run.any_chain();
    let count = 2 + run.random.below(5);
    let changes = run.any_changes(chain, count);
    if changes.is_empty() {
        return Ok(());
    }
    run.session.commit(chain, changes)
}

/// Several chains, and one of them twice.
fn write_round(run: &mut Run) -> Outcome {
    let count = 2 + run.random.below(4);
    let mut commits = Vec::new();
    for _ in 0..count {
        let chain = run.any_chain();
        // Only new accounts: two commits on their way do not change one record.
        let change = (run.fresh_address(), Some(run.any_balance()));
        commits.push((chain, vec![change]));
    }
    run.session.commits(commits)
}

fn write_shared(run: &mut Run) -> Outcome {
    let chain = run.any_chain();
    let name = format!("shared-{:x}", run.random.next() >> 40);
    let text = run.any_text(400);
    run.session.write_shared(chain, &name, text)
}

fn write_as_bob(run: &mut Run) -> Outcome {
    let chain = run.any_chain();
    let may_write = |state: &State, name: &str| state.bob.get(name) == Some(&Access::Both);
    let Some(name) = run.any_name(chain, may_write) else {
        return Ok(());
    };
    let text = run.any_text(400);
    run.session.write_as_bob(chain, &name, text)
}

fn share(run: &mut Run) -> Outcome {
    let chain = run.any_chain();
    let is_meant = |state: &State, name: &str| !state.bob.contains_key(name) && !name.contains('@');
    match run.any_name(chain, is_meant) {
        Some(name) => run.session.share(chain, &name),
        None => Ok(()),
    }
}

fn unshare(run: &mut Run) -> Outcome {
    let chain = run.any_chain();
    let reads = |state: &State, name: &str| state.bob.get(name) == Some(&Access::Reads);
    match run.any_name(chain, reads) {
        Some(name) => run.session.unshare(chain, &name),
        None => Ok(()),
    }
}

fn read_past(run: &mut Run) -> Outcome {
    let name = run.any_chain();
    let Some(acknowledged) = run
        .session
        .oracle
        .chains
        .get(name)
        .map(|known| known.acknowledged)
        .filter(|acknowledged| *acknowledged > 0)
    else {
        return Ok(());
    };
    let position = 1 + run.random.index(acknowledged);
    let chain = run.session.chain(name)?;
    let shown = past(&chain, position)?;
    let known = &run.session.oracle.chains[name];
    let (written, newest) = (
        &known.states[position - 1],
        &known.states[known.acknowledged - 1],
    );
    compare_past(position, shown, written, newest)
        .map_err(|seen| ORDERED.broken(format!("chain {name}: {seen}")))?;
    Ok(())
}

fn close(run: &mut Run) -> Outcome {
    run.session.close()?;
    run.reopen()
}
