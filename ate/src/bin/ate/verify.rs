//! `verify`: everything again from the files alone.

use ate::chain::{Depth, Proved};
use ate::log::DamagedRange;
use ate::{ChainInfo, Store, Verified};
use serde::Serialize;

use crate::args::Verify;
use crate::damage::Range;
use crate::failure::{Code, Failure, fault};
use crate::output::{Bytes, Output, plural, say};
use crate::progress::Progress;
use crate::store::{Place, tell_notes};

/// What to do about a chain that does not verify.
const RESTORE: &str = "`ate repair --from DIR` mends the store from another copy of it, or put the named file back; nothing was changed here";
/// Commits between two looks at the progress bar.
const COMMITS_PER_STEP: u64 = 256;

/// What was proved of one chain.
#[derive(Serialize)]
struct Shown {
    chain: String,
    id: String,
    position: u64,
    root: String,
    commits: u64,
    events: u64,
    bodies: u64,
    body_bytes: u64,
    erased: u64,
    signatures: u64,
    proofs: u64,
    deep: bool,
}

pub(crate) fn run(place: &Place, args: &Verify, out: &mut Output) -> Result<(), Failure> {
    let places = place.damaged_places();
    // Chains that stand elsewhere are proven all the same.
    let store = if places.is_empty() && place.is_remote() {
        place.read()?
    } else if places.is_empty() {
        place.read_whole()?
    } else {
        place.read_rest()?
    };
    let depth = if args.deep {
        Depth::Deep
    } else {
        Depth::Bodies
    };
    let chains = place.chains_meant(&store, args.chain.as_deref())?;
    let mut failures = Vec::new();
    for chain in &chains {
        let progress = Progress::records("verifying", None);
        let verified = prove(&store, chain, depth, |proved| {
            if proved.commits.is_multiple_of(COMMITS_PER_STEP) {
                progress.reached(proved.events);
            }
        });
        drop(progress);
        let verified = match verified {
            Ok(verified) => verified,
            Err(failure) => {
                failures.push(failure);
                continue;
            }
        };
        show(
            &Shown {
                chain: chain.name.to_string(),
                id: chain.id.to_string(),
                position: verified.position.0,
                root: verified.root.to_string(),
                commits: verified.proved.commits,
                events: verified.proved.events,
                bodies: verified.proved.bodies,
                body_bytes: verified.proved.body_bytes,
                erased: verified.proved.erased,
                signatures: verified.proved.signatures,
                proofs: verified.proved.proofs,
                deep: args.deep,
            },
            &verified.proved,
            out,
        )?;
    }
    if chains.is_empty() {
        say("no chains yet: nothing to prove");
    }
    tell_notes(&store);
    judge(place, &places, failures)
}

/// The failure that stands for all: one for each chain that does not verify, then every damaged place.
fn judge(
    place: &Place,
    places: &[DamagedRange],
    mut failures: Vec<Failure>,
) -> Result<(), Failure> {
    let last = match failures.pop() {
        None if places.is_empty() => return Ok(()),
        None => Failure::new(
            Code::Damaged,
            format!("the log in {} is damaged", place.shown_dir()),
        )
        .why("no chain shows a gap, but one may have gone on there")
        .next(RESTORE),
        Some(last) => last,
    };
    for failure in failures {
        say(if place.is_json() {
            failure.json()
        } else {
            failure.text()
        });
    }
    Err(last.with_places(places.iter().map(Range::of).collect()))
}

/// Proves one chain; damage is told with chain, position, file and offset.
pub(crate) fn prove(
    store: &Store,
    chain: &ChainInfo,
    depth: Depth,
    mut progress: impl FnMut(&Proved),
) -> Result<Verified, Failure> {
    let mut position = 0;
    let verified = store.verify(&chain.id, depth, |proved| {
        position = proved.commits;
        progress(proved);
    });
    verified.map_err(|error| {
        fault(error)
            .during(format!("chain `{}` does not verify", chain.name))
            .in_chain(chain.id.to_string(), position)
            .next(RESTORE)
    })
}

fn show(shown: &Shown, proved: &Proved, out: &mut Output) -> Result<(), Failure> {
    if out.is_json() {
        return out.object(shown);
    }
    let gone = match proved.erased {
        0 => String::new(),
        count => format!("; {} erased, as the chain says", plural(count, "part")),
    };
    out.line(format_args!(
        "{}: good to position {}\n  root        {}\n  order       {}, each judged by the rules and authority at its place\n  \
         changes     {}\n  hashes      {}, {}{gone}\n  signatures  {} verified, each Ed25519 and ML-DSA-65, for {}",
        shown.chain,
        shown.position,
        shown.root,
        plural(proved.commits, "commit"),
        plural(proved.events, "event"),
        plural(proved.bodies, "sealed part"),
        Bytes(proved.body_bytes),
        plural(proved.signatures, "signature").split(' ').next().unwrap_or_default(),
        plural(proved.proofs, "batch").replace("batchs", "batches"),
    ))
}
