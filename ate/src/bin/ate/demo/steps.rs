//! The steps of the demo: each does something, checks that it is so, and tells it in a few lines.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Waker};

use ate::chain::{Depth, Position};
use ate::{Chain, Record, Store};
use serde::{Deserialize, Serialize};

use super::{broken, disk};
use crate::ambient::Stopwatch;
use crate::failure::{Failure, fault};
use crate::interrupt;
use crate::output::{Bytes, Count, plural};
use crate::verify::prove;

/// Records of the bulk load: enough to measure, few enough for an unoptimised build.
const BULK: u64 = if cfg!(debug_assertions) {
    5_000
} else {
    100_000
};
const PER_COMMIT: u64 = 1_000;
const LONE: usize = 100;
/// What nobody who holds the files may find in them.
const SECRET: &str = "the plums were in the icebox";

/// A record like those of a program: a struct and a derive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Record)]
#[record(name = "account")]
struct Account {
    owner: String,
    cents: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Record)]
#[record(name = "transfer")]
struct Transfer {
    from: String,
    to: String,
    cents: i64,
    memo: String,
}

/// What later steps know of earlier ones.
pub(super) struct Story {
    dir: PathBuf,
    /// For a copy that may be damaged.
    scratch: PathBuf,
    store: Option<Store>,
    /// Before Anna paid.
    before: Position,
    records: u64,
}

type Step = fn(&mut Story) -> Result<Vec<String>, Failure>;

pub(super) const STEPS: [(&str, Step); 7] = [
    ("write", write),
    ("one by one", one_by_one),
    ("on disk", on_disk),
    ("reopen", reopen),
    ("time travel", time_travel),
    ("verify", verify),
    ("tamper", tamper),
];

impl Story {
    pub(super) fn new(dir: &Path, scratch: &Path) -> Self {
        Self {
            dir: dir.to_path_buf(),
            scratch: scratch.to_path_buf(),
            store: None,
            before: Position::default(),
            records: 0,
        }
    }

    fn open(&mut self) -> Result<&Store, Failure> {
        let store = Store::builder(&self.dir).open().wait().map_err(fault)?;
        Ok(self.store.insert(store))
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("the steps before opened it")
    }

    fn chain(&self) -> Result<Chain, Failure> {
        self.store().chain("bank").wait().map_err(fault)
    }

    fn close(&mut self) -> Result<(), Failure> {
        match self.store.take() {
            Some(store) => store.close().wait().map_err(fault),
            None => Ok(()),
        }
    }
}

fn write(story: &mut Story) -> Result<Vec<String>, Failure> {
    story.open()?;
    let chain = story.chain()?;
    chain
        .put(
            "accounts/anna",
            Account {
                owner: "Anna".into(),
                cents: 10_000,
            },
        )
        .wait()
        .map_err(fault)?;
    let watch = Stopwatch::start();
    let mut in_flight = VecDeque::new();
    let mut commits = 0;
    while commits * PER_COMMIT < BULK && !interrupt::is_asked() {
        let transaction = chain.begin();
        for index in 0..PER_COMMIT {
            transaction
                .add(&transfer(commits * PER_COMMIT + index))
                .map_err(fault)?;
        }
        let mut pending = transaction.commit();
        // The first look lets the store's thread sign and sync while this one seals the next commit.
        let looked = Pin::new(&mut pending).poll(&mut Context::from_waker(Waker::noop()));
        commits += 1;
        if looked.is_pending() {
            in_flight.push_back(pending);
        }
        if in_flight.len() > 3
            && let Some(oldest) = in_flight.pop_front()
        {
            oldest.wait().map_err(fault)?;
        }
    }
    for pending in in_flight {
        pending.wait().map_err(fault)?;
    }
    let seconds = watch.elapsed().as_secs_f64();
    story.records = commits * PER_COMMIT;
    story.before = chain.position();
    Ok(vec![
        format!(
            "{} typed records, each sealed: {} a second, in",
            Count(story.records),
            Count((story.records as f64 / seconds) as u64)
        ),
        format!(
            "{}, signed with Ed25519 and ML-DSA-65, hashed into one tree, synced",
            plural(commits, "commit")
        ),
    ])
}

fn transfer(index: u64) -> Transfer {
    Transfer {
        from: "accounts/anna".into(),
        to: format!("accounts/{}", index % 1000),
        cents: (index % 97) as i64,
        memo: format!("{SECRET}, {index}"),
    }
}

fn one_by_one(story: &mut Story) -> Result<Vec<String>, Failure> {
    let chain = story.chain()?;
    let mut micros = Vec::with_capacity(LONE);
    for index in 0..LONE {
        let watch = Stopwatch::start();
        chain.add(transfer(index as u64)).wait().map_err(fault)?;
        micros.push(watch.elapsed().as_micros());
    }
    micros.sort_unstable();
    story.records += LONE as u64 + 1;
    let paid = Account {
        owner: "Anna".into(),
        cents: 7_000,
    };
    chain.put("accounts/anna", paid).wait().map_err(fault)?;
    Ok(vec![format!(
        "{LONE} commits of one record, each signed and synced before it returns: median {} us",
        Count(u64::try_from(micros[LONE / 2]).unwrap_or(u64::MAX))
    )])
}

fn on_disk(story: &mut Story) -> Result<Vec<String>, Failure> {
    story.close()?;
    let files = disk::files(&story.dir)?;
    let total: u64 = files.iter().map(|file| file.bytes).sum();
    let largest = largest(&files)?;
    let mut lines = vec![format!(
        "{} in {}, {} bytes a record; from the middle of {}:",
        Bytes(total),
        plural(files.len() as u64, "file"),
        total / story.records.max(1),
        largest
            .path
            .strip_prefix(&story.dir)
            .unwrap_or(&largest.path)
            .display()
    )];
    lines.extend(disk::hex_lines(
        &largest.path,
        (largest.bytes / 2) & !0xf,
        3,
    )?);
    if disk::holds(&files, SECRET.as_bytes())? || disk::holds(&files, b"anna")? {
        return Err(broken("what was written stands on the disk in clear"));
    }
    if !disk::holds(&files, b"bank")? {
        return Err(broken("the search finds nothing at all"));
    }
    lines.push(format!(
        "searched for \"{SECRET}\" and \"anna\": not there; the chain's name \"bank\" is in clear"
    ));
    Ok(lines)
}

/// The largest segment of the log: what is not in the log is a cache that may be lost.
fn largest(files: &[disk::Found]) -> Result<&disk::Found, Failure> {
    files
        .iter()
        .filter(|file| {
            file.path
                .extension()
                .is_some_and(|extension| extension == "seg")
        })
        .max_by_key(|file| file.bytes)
        .filter(|file| file.bytes > 4096)
        .ok_or_else(|| broken("nothing was written"))
}

fn reopen(story: &mut Story) -> Result<Vec<String>, Failure> {
    let watch = Stopwatch::start();
    story.open()?;
    let chain = story.chain()?;
    let opened = watch.elapsed();
    let anna = chain
        .get::<Account>("accounts/anna")
        .wait()
        .map_err(fault)?;
    if anna.cents != 7_000 {
        return Err(broken("the account is not as it was written"));
    }
    Ok(vec![format!(
        "in {:.1} ms, from a sealed snapshot and the log; position {}, Anna has {} cents",
        opened.as_secs_f64() * 1e3,
        chain.position(),
        anna.cents
    )])
}

fn time_travel(story: &mut Story) -> Result<Vec<String>, Failure> {
    let chain = story.chain()?;
    let watch = Stopwatch::start();
    let then = chain
        .as_of(story.before)
        .get::<Account>("accounts/anna")
        .wait()
        .map_err(fault)?;
    let micros = watch.elapsed().as_micros();
    if then.cents != 10_000 {
        return Err(broken("the past is not as it was"));
    }
    Ok(vec![format!(
        "at position {} Anna had {} cents; asked and answered in {micros} us",
        story.before, then.cents
    )])
}

fn verify(story: &mut Story) -> Result<Vec<String>, Failure> {
    let id = story.chain()?.id();
    let verified = story
        .store()
        .verify(&id, Depth::Deep, |_| {})
        .map_err(fault)?;
    story.close()?;
    let proved = verified.proved;
    Ok(vec![
        format!(
            "all of it again from the first commit: {}, {},",
            plural(proved.commits, "commit"),
            plural(proved.events, "event"),
        ),
        format!(
            "{}, {}, root {}...",
            plural(proved.bodies, "sealed part"),
            plural(proved.signatures, "signature"),
            crate::output::short(verified.root)
        ),
    ])
}

fn tamper(story: &mut Story) -> Result<Vec<String>, Failure> {
    disk::copy(&story.dir, &story.scratch)?;
    let files = disk::files(&story.scratch)?;
    let largest = largest(&files)?;
    let offset = largest.bytes / 3;
    disk::flip(&largest.path, offset)?;
    let Err(failure) = open_and_verify(&story.scratch) else {
        return Err(broken("a flipped bit was not noticed"));
    };
    Ok(vec![
        format!(
            "one bit of byte {} of {} flipped in a copy; its verification says:",
            Count(offset),
            largest.path.file_name().unwrap_or_default().display()
        ),
        format!("  {}", failure.line()),
    ])
}

/// What `ate verify` does.
fn open_and_verify(dir: &Path) -> Result<(), Failure> {
    let store = Store::builder(dir)
        .read_only()
        .must_exist()
        .open()
        .wait()
        .map_err(fault)?;
    for chain in store.chains().map_err(fault)? {
        prove(&store, &chain, Depth::Bodies, |_| {})?;
    }
    Ok(())
}
