//! `repair`: a damaged store mended with another copy of it.

use std::ops::ControlFlow;
use std::sync::Arc;

use ate::RestoreStep;
use ate::log::{FileStorage, Storage};
use serde::Serialize;

use crate::args::Repair;
use crate::damage::Range;
use crate::failure::{Code, Failure, fault};
use crate::interrupt;
use crate::output::{Bytes, Output, plural};
use crate::progress::Progress;
use crate::store::Place;

#[derive(Serialize)]
struct Shown {
    repaired: String,
    mended: Vec<Mended>,
    kept: Vec<String>,
    discarded: Vec<String>,
    damaged: Vec<Range>,
    chains: Vec<Chain>,
    broken: Vec<Broken>,
}

#[derive(Serialize)]
struct Mended {
    file: String,
    bytes: u64,
}

#[derive(Serialize)]
struct Chain {
    chain: String,
    id: String,
    position: u64,
}

#[derive(Serialize)]
struct Broken {
    chain: String,
    id: String,
    why: String,
}

pub(crate) fn run(place: &Place, args: &Repair, out: &mut Output) -> Result<(), Failure> {
    place.check_directory()?;
    interrupt::listen_to("ending before anything is replaced");
    let (dir, from) = (place.shown_dir(), args.from.display());
    let progress = Progress::bytes("mending and proving", None);
    let (mut copied, mut proved) = (0, 0);
    let done = ate::repair(place.dir(), &args.from, |step| {
        match step {
            RestoreStep::Copied(bytes) => copied = bytes,
            RestoreStep::Proved(so_far) => proved = so_far.body_bytes,
            _ => {}
        }
        progress.reached(copied + proved);
        if interrupt::is_asked() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    drop(progress);
    let done =
        done.map_err(|error| fault(error).during(format!("{dir} was not repaired from {from}")))?;
    let is_whole = done.done.damaged.is_empty() && done.broken.is_empty();
    let discarded = if args.discard && is_whole {
        let storage: Arc<dyn Storage> = Arc::new(FileStorage::new(place.dir()));
        ate::log::discard_damaged(&storage).map_err(fault)?
    } else {
        Vec::new()
    };
    let mended = done.done.mended.into_iter().map(|mended| Mended {
        file: mended.name,
        bytes: mended.bytes,
    });
    let shown = Shown {
        repaired: dir.clone(),
        mended: mended.collect(),
        kept: done.done.kept,
        discarded,
        damaged: done.done.damaged.iter().map(Range::of).collect(),
        chains: done
            .chains
            .into_iter()
            .map(|(chain, position)| Chain {
                chain: chain.name,
                id: chain.id.to_string(),
                position: position.0,
            })
            .collect(),
        broken: done
            .broken
            .into_iter()
            .map(|(chain, why)| Broken {
                chain: chain.name,
                id: chain.id.to_string(),
                why,
            })
            .collect(),
    };
    show(&shown, out)?;
    out.flush()?;
    if is_whole {
        return Ok(());
    }
    let places = plural(shown.damaged.len() as u64, "place");
    Err(
        Failure::new(Code::Damaged, format!("{dir} is still damaged in {places}"))
            .why(format!("{from} does not have what stood there"))
            .next("`ate repair --from DIR` with another copy; what is whole can be read meanwhile"),
    )
}

fn show(shown: &Shown, out: &mut Output) -> Result<(), Failure> {
    if out.is_json() {
        return out.object(shown);
    }
    if shown.mended.is_empty() {
        out.line("nothing was mended")?;
    }
    for mended in &shown.mended {
        out.line(format_args!(
            "mended      {}, {} from the copy",
            mended.file,
            Bytes(mended.bytes)
        ))?;
    }
    for kept in shown
        .kept
        .iter()
        .filter(|kept| !shown.discarded.contains(kept))
    {
        out.line(format_args!(
            "kept        {kept}: the damaged file, removed by --discard"
        ))?;
    }
    for gone in &shown.discarded {
        out.line(format_args!("discarded   {gone}"))?;
    }
    for range in &shown.damaged {
        out.line(format_args!("missing     {}", range.text()))?;
    }
    for chain in &shown.chains {
        out.line(format_args!(
            "verified    {} to position {}",
            chain.chain, chain.position
        ))?;
    }
    for broken in &shown.broken {
        out.line(format_args!("broken      {}: {}", broken.chain, broken.why))?;
    }
    Ok(())
}
