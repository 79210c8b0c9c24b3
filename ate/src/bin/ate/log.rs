//! `log`: the history of a chain, commit by commit.

use std::time::Duration;

use ate::Chain;
use ate::chain::{Change, CommitInfo, EventHead, Position};
use serde::Serialize;

use crate::args::Log;
use crate::failure::{Failure, fault};
use crate::interrupt;
use crate::output::{Bytes, Output, Time, plural, short};
use crate::store::Place;

/// How often a follower looks for new commits.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Commits with more changes than this show counts instead of names.
const NAMES_MAX: usize = 3;

/// A commit as `--json` shows it.
#[derive(Serialize)]
struct Shown<'a> {
    position: u64,
    commit: String,
    time: Time,
    author: String,
    lane: String,
    changes: &'a [Changed],
    root: Option<String>,
    head_bytes: u64,
    meta_bytes: u64,
    content_bytes: u64,
}

/// One change.
#[derive(Serialize)]
struct Changed {
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

pub(crate) fn run(place: &Place, args: &Log, out: &mut Output) -> Result<(), Failure> {
    let store = place.read()?;
    let chain = place.chain_to_read(&store, &args.chain)?;
    let mut next = 0;
    if args.follow {
        interrupt::listen();
    }
    loop {
        while next < chain.position().0 {
            match chain.commit(next) {
                Ok(commit) => show(&chain, &commit, out)?,
                Err(error) => {
                    let what = format_args!("the commit of position {}", next + 1);
                    place.leave_out(what, fault(error))?;
                }
            }
            next += 1;
        }
        // What does not end where it should cannot go on.
        if !args.follow || place.partial().get() {
            return Ok(());
        }
        out.flush()?;
        while chain.position() == Position(next) {
            if interrupt::is_asked() {
                return Ok(());
            }
            place.check_followed(&store, &chain)?;
            std::thread::sleep(LOOK_EVERY);
            chain.catch_up().map_err(fault)?;
        }
    }
}

fn show(chain: &Chain, commit: &CommitInfo, out: &mut Output) -> Result<(), Failure> {
    let position = Position(commit.seq + 1);
    let root = chain.root_at(position).map(|root| root.to_string());
    let changes: Vec<Changed> = commit
        .events
        .iter()
        .map(|event| changed(event, chain))
        .collect();
    if out.is_json() {
        return out.object(&Shown {
            position: position.0,
            commit: commit.id.to_string(),
            time: Time(commit.order_time_ms),
            author: commit.head.author.to_string(),
            lane: commit.head.lane.to_string(),
            changes: &changes,
            root,
            head_bytes: commit.head_bytes,
            meta_bytes: commit.meta_bytes,
            content_bytes: commit.content_bytes,
        });
    }
    out.line(format_args!(
        "{:>8}  {}  by {}  root {}  {:>11}  {}",
        position.0,
        Time(commit.order_time_ms),
        short(commit.head.author),
        root.map_or_else(|| "?".into(), short),
        Bytes(commit.head_bytes + commit.meta_bytes + commit.content_bytes).to_string(),
        summary(&changes),
    ))
}

/// What changed in a few words: names if there are few, else counts of each kind.
fn summary(changes: &[Changed]) -> String {
    if changes.len() <= NAMES_MAX {
        let parts =
            changes.iter().map(
                |change| match change.name.as_ref().or(change.key.as_ref()) {
                    Some(thing) => format!("{} {thing}", change.what),
                    None => change.what.to_owned(),
                },
            );
        return parts.collect::<Vec<_>>().join(", ");
    }
    let mut counts: Vec<(&str, u64)> = Vec::new();
    for change in changes {
        match counts.iter_mut().find(|(what, _)| *what == change.what) {
            Some((_, count)) => *count += 1,
            None => counts.push((change.what, 1)),
        }
    }
    let parts = counts
        .into_iter()
        .map(|(what, count)| format!("{what} {}", plural(count, "record")));
    parts.collect::<Vec<_>>().join(", ")
}

fn changed(event: &EventHead, chain: &Chain) -> Changed {
    let (what, key) = match &event.change {
        Change::Genesis(_) => ("genesis", None),
        Change::Create { .. } if event.defines => ("define type", None),
        Change::Create { key, .. } => ("create", Some(key)),
        Change::Update { key, .. } => ("update", Some(key)),
        Change::Remove { key, .. } => ("remove", Some(key)),
        Change::Erase { key, .. } => ("erase", Some(key)),
        Change::Horizon { .. } => ("horizon", None),
        Change::Introduce(_) => ("introduce key", None),
        Change::Grant(_) => ("grant", None),
        Change::Rotate(_) => ("rotate keys", None),
        Change::Require { key, .. } => ("require", Some(key)),
        _ => ("other", None),
    };
    Changed {
        what,
        key: key.map(ToString::to_string),
        name: key.and_then(|key| chain.name_of(key)),
    }
}
