//! `replicate`: copies of a node's chains, kept up to date.

use std::time::Duration;

use ate::net::LinkState;
use ate::{Chain, ReplicaStatus, Store};
use serde::Serialize;

use crate::args::Replicate;
use crate::failure::{Code, Failure, fault};
use crate::interrupt;
use crate::output::{Output, plural, say};
use crate::remote::{Want, unreached};
use crate::store::Place;

/// How often it is looked how the copies stand.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(crate) fn run(place: &Place, args: &Replicate, out: &mut Output) -> Result<(), Failure> {
    if !place.is_remote() {
        return Err(Failure::usage("there is no node to follow")
            .next("give its address, the first line of its `ate serve`, with --url or ATE_URL"));
    }
    if args.lazy {
        place.nodes().be_lazy();
    }
    let store = place.write()?;
    let mut copies = Vec::new();
    for name in &args.chains {
        if let Some(chain) = place.remote_chain(&store, name, Want::Existing)? {
            copies.push(Copy { chain, told: None });
        }
    }
    interrupt::listen_to("ending");
    let followed = follow(args, &store, &mut copies, out);
    let ended = followed.and_then(|()| judge(place, &store, &copies));
    drop(copies);
    let closed = store.close().wait().map_err(fault);
    ended.and(closed)
}

/// A chain, and what was said of it last.
struct Copy {
    chain: Chain,
    told: Option<Standing>,
}

/// How a copy stands, as far as that is worth a line.
#[derive(Clone, PartialEq, Eq)]
enum Standing {
    InSync { is_signed: bool },
    Behind,
    Staged,
    Unreached(String),
    Diverged(String),
}

impl Standing {
    fn of(status: &ReplicaStatus) -> Self {
        let remote = &status.remote;
        if let Some(what) = &remote.diverged {
            Self::Diverged(what.clone())
        } else if status.link != LinkState::Up || remote.trouble.is_some() {
            Self::Unreached(unreached(status))
        } else if status.is_in_sync() {
            Self::InSync {
                is_signed: status.is_proven(),
            }
        } else if status.staged > 0 {
            Self::Staged
        } else {
            Self::Behind
        }
    }

    const fn word(&self) -> &'static str {
        match self {
            Self::InSync { .. } => "in_sync",
            Self::Behind => "behind",
            Self::Staged => "staged",
            Self::Unreached(_) => "unreached",
            Self::Diverged(_) => "diverged",
        }
    }

    fn text(&self, status: &ReplicaStatus) -> String {
        match self {
            Self::InSync { is_signed: true } => "in sync, signed by the node".to_owned(),
            Self::InSync { is_signed: false } => "in sync".to_owned(),
            Self::Behind => match status.remote.node_size {
                Some(size) if size > status.position.0 => format!("behind: the node has {size}"),
                _ => "asking the node".to_owned(),
            },
            Self::Staged => format!("{} on the way", plural(status.staged as u64, "commit")),
            Self::Unreached(why) => why.clone(),
            Self::Diverged(what) => format!("DIVERGED: {what}"),
        }
    }
}

fn follow(
    args: &Replicate,
    store: &Store,
    copies: &mut [Copy],
    out: &mut Output,
) -> Result<(), Failure> {
    while !interrupt::is_asked() {
        let mut is_done = true;
        for copy in &mut *copies {
            let Some(status) = store.replica_status(&copy.chain) else {
                continue;
            };
            let standing = Standing::of(&status);
            is_done &= matches!(standing, Standing::InSync { .. } | Standing::Diverged(_));
            if copy.told.as_ref() != Some(&standing) {
                show(&copy.chain, &status, &standing, out)?;
                copy.told = Some(standing);
            }
        }
        out.flush()?;
        if args.once && is_done {
            return Ok(());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    if args.once {
        return Err(Failure::failed("interrupted before all were in sync")
            .next("the same command again goes on from there"));
    }
    Ok(())
}

fn show(
    chain: &Chain,
    status: &ReplicaStatus,
    standing: &Standing,
    out: &mut Output,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Shown<'a> {
        chain: &'a str,
        id: String,
        position: u64,
        node_position: Option<u64>,
        standing: &'static str,
        signed: bool,
        staged: usize,
        text: String,
    }
    let text = standing.text(status);
    if out.is_json() {
        return out.object(&Shown {
            chain: chain.name(),
            id: chain.id().to_string(),
            position: status.position.0,
            node_position: status.remote.node_size,
            standing: standing.word(),
            signed: status.is_proven(),
            staged: status.staged,
            text,
        });
    }
    out.line(format_args!(
        "{}: position {}, {text}",
        chain.name(),
        status.position
    ))
}

/// A copy that diverged is a failure, however it ended.
fn judge(place: &Place, store: &Store, copies: &[Copy]) -> Result<(), Failure> {
    let mut failed = Ok(());
    for copy in copies {
        let Some(status) = store.replica_status(&copy.chain) else {
            continue;
        };
        if let Err(failure) = place.check_diverged(store, &copy.chain, &status)
            && let Err(before) = std::mem::replace(&mut failed, Err(failure))
        {
            tell(place, &before);
        }
    }
    failed
}

fn tell(place: &Place, failure: &Failure) {
    if failure.code() != Code::Quiet {
        say(if place.is_json() {
            failure.json()
        } else {
            failure.text()
        });
    }
}
