//! `compact` and `scrub`: giving space back, and reading everything again.

use std::future::IntoFuture as _;
use std::ops::ControlFlow;
use std::time::Duration;

use ate::chain::Position;
use ate::log::{Least, Pace};
use ate::{Chain, Store};
use serde::Serialize;

use crate::ambient::{Stopwatch, ms_before_now};
use crate::args::{Compact, Scrub};
use crate::failure::{Code, Failure, fault};
use crate::output::{Bytes, Output, plural, say};
use crate::progress::Progress;
use crate::store::Place;

/// Shows how far work is, and holds it to a rate.
struct Paced {
    progress: Progress,
    began: Stopwatch,
    done: u64,
    /// 0: as fast as it goes.
    bytes_per_second: u64,
}

impl Paced {
    fn new(what: &'static str, mib_per_second: u32) -> Self {
        Self {
            progress: Progress::bytes(what, None),
            began: Stopwatch::start(),
            done: 0,
            bytes_per_second: u64::from(mib_per_second) << 20,
        }
    }
}

impl Pace for Paced {
    fn did(&mut self, bytes: u64) -> ControlFlow<()> {
        self.done += bytes;
        self.progress.reached(self.done);
        if let Some(millis) = (self.done * 1000).checked_div(self.bytes_per_second) {
            let due = Duration::from_millis(millis);
            std::thread::sleep(due.saturating_sub(self.began.elapsed()));
        }
        ControlFlow::Continue(())
    }
}

#[derive(Serialize)]
struct Compacted {
    chain: String,
    horizon: u64,
    dropped: u64,
    kept: u64,
    files_rewritten: u64,
    bytes_returned: u64,
}

pub(crate) fn compact(place: &Place, args: &Compact, out: &mut Output) -> Result<(), Failure> {
    let store = place.write_existing()?;
    let before = store.info().disk_bytes;
    let chains = place.chains_meant(&store, args.chain.as_deref())?;
    let mut pace = Paced::new("compacting", args.rate);
    let least = Least {
        percent: args.percent,
        bytes: args.least_bytes,
    };
    for info in &chains {
        let chain = store.existing_chain(&info.id.to_string()).wait();
        let chain = chain.map_err(fault)?;
        let during = || format!("chain `{}` was not compacted", info.name);
        move_horizon(place, &store, &chain, args).map_err(|failure| failure.during(during()))?;
        let reclaimed = store.compact(&chain, least, &mut pace);
        let reclaimed = reclaimed.map_err(|error| fault(error).during(during()))?;
        let shown = Compacted {
            chain: info.name.clone(),
            horizon: chain.horizon().0,
            dropped: reclaimed.spans,
            kept: reclaimed.kept,
            files_rewritten: reclaimed.files,
            bytes_returned: reclaimed.bytes,
        };
        if out.is_json() {
            out.object(&shown)?;
        } else {
            out.line(format_args!(
                "{}: horizon {}, {} dropped or gone before, {} kept in files not worth it, {} written anew, {} returned",
                shown.chain,
                shown.horizon,
                plural(shown.dropped, "content"),
                shown.kept,
                plural(shown.files_rewritten, "file"),
                Bytes(shown.bytes_returned),
            ))?;
        }
    }
    seal(&store, &mut pace)?;
    drop(pace);
    // Closing gives back what was reserved ahead.
    store.close().wait().map_err(fault)?;
    say(format_args!(
        "on disk: {} before, {} now",
        Bytes(before),
        Bytes(store.info().disk_bytes)
    ));
    Ok(())
}

fn seal(store: &Store, pace: &mut Paced) -> Result<(), Failure> {
    store
        .seal(pace)
        .map(drop)
        .map_err(|error| fault(error).during("what was written last was not moved to sealed files"))
}

/// Moves the horizon of a chain forward, if the command asks for one. It never goes back.
fn move_horizon(
    place: &Place,
    store: &Store,
    chain: &Chain,
    args: &Compact,
) -> Result<(), Failure> {
    let end = chain.position();
    let asked = match (args.before, args.older_than) {
        (Some(position), _) => Position(position),
        (None, Some(age)) => chain.local().position_at(ms_before_now(age)),
        (None, None) => return Ok(()),
    };
    if asked > end {
        return Err(
            Failure::new(Code::Usage, format!("the chain ends at position {end}"))
                .next("`ate log CHAIN` shows its positions"),
        );
    }
    if asked > chain.horizon() {
        let moved = chain.set_horizon(asked).into_future();
        place.landed(store, chain, moved)?.map_err(fault)?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Shown {
    segments: u64,
    frames: u64,
    bytes: u64,
    large_bodies: u64,
    damaged: u64,
}

pub(crate) fn scrub(place: &Place, args: &Scrub, out: &mut Output) -> Result<(), Failure> {
    let store = place.read_rest()?;
    let mut pace = Paced::new("checking", args.rate);
    let scrubbed = store.scrub(&mut pace).map_err(fault)?;
    drop(pace);
    let shown = Shown {
        segments: scrubbed.segments,
        frames: scrubbed.frames,
        bytes: scrubbed.bytes,
        large_bodies: scrubbed.large_bodies,
        damaged: scrubbed.damaged,
    };
    if out.is_json() {
        out.object(&shown)?;
    } else {
        out.line(format_args!(
            "checked {} in {}: {} whole, damage in {}",
            Bytes(shown.bytes),
            plural(shown.segments, "segment"),
            plural(shown.frames, "frame"),
            plural(shown.damaged, "place"),
        ))?;
    }
    if scrubbed.damaged == 0 {
        return Ok(());
    }
    let found = store.info().upkeep.damages;
    let places = found
        .iter()
        .map(|(at, damage)| format!("{damage} in segment {}, offset {}", at.file, at.offset));
    let places: Vec<String> = places.collect();
    Err(Failure::new(
        Code::Damaged,
        format!("the log in {} is damaged", place.shown_dir()),
    )
    .why(places.join("; "))
    .next("`ate repair --from DIR` mends it from a backup; `ate verify` says which chains it concerns"))
}
