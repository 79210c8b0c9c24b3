//! `watch`: the changes of a chain as they are made, or from a place on.

use std::time::Duration;

use ate::{AnyRecord, Chain, Change, Key, Position, Store, Subscription};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::args::{Begin, Watch};
use crate::failure::{Failure, fault};
use crate::interrupt;
use crate::output::{Output, Time, one_line, plural, raw, say};
use crate::store::Place;

/// How often it is looked for what another process wrote.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A change as `--json` shows it.
#[derive(Serialize)]
struct Shown {
    position: u64,
    change: &'static str,
    version: String,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    type_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<String>,
    time: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(crate) fn run(place: &Place, args: &Watch, out: &mut Output) -> Result<(), Failure> {
    // A place is kept by the one who may write.
    let store = match args.consumer {
        Some(_) => place.write_existing()?,
        None => place.read()?,
    };
    let chain = place.chain_to_read(&store, &args.chain)?;
    interrupt::listen_to("ending after the change in flight");
    let mut feed = subscription(&chain, args);
    let watched = watch(place, &store, args, &chain, &mut feed, out);
    // What was not printed comes again.
    drop(feed);
    let closed = store.close().wait().map_err(fault);
    watched.and(closed)
}

fn subscription(chain: &Chain, args: &Watch) -> Subscription<AnyRecord> {
    let mut feed = chain.subscribe_any();
    if let Begin::At(position) = args.from {
        feed = feed.from(Position(position));
    }
    if let Some(prefix) = &args.prefix {
        feed = feed.prefix(prefix);
    }
    if let Some(record) = &args.record {
        // 32 hexadecimal digits are a key, unless there is a record of that name.
        feed = match record.parse::<Key<AnyRecord>>() {
            Ok(key) if chain.key_of::<AnyRecord>(record).is_none() => feed.record(key),
            _ => feed.record(record.as_str()),
        };
    }
    if let Some(name) = &args.type_name {
        feed = feed.of_type(name);
    }
    if let Some(name) = &args.consumer {
        feed = feed.named(name);
    }
    feed
}

fn watch(
    place: &Place,
    store: &Store,
    args: &Watch,
    chain: &Chain,
    feed: &mut Subscription<AnyRecord>,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut left = args.count.unwrap_or(u64::MAX);
    let cannot = |error| fault(error).during(format!("cannot watch chain `{}`", args.chain));
    while !interrupt::is_asked() {
        match feed.try_next().map_err(cannot)? {
            Some(Change::Lagged { behind }) => {
                say(format_args!("note: {} behind", plural(behind, "commit")));
            }
            Some(change) => {
                show(chain, &change, out)?;
                // Before it counts as done.
                out.flush()?;
                left -= 1;
                if left == 0 {
                    return feed.ack().wait().map_err(cannot);
                }
            }
            // What does not end where it should cannot go on.
            None if place.partial().get() => return Ok(()),
            None => {
                place.check_followed(store, chain)?;
                std::thread::sleep(LOOK_EVERY);
                chain.catch_up().map_err(fault)?;
            }
        }
    }
    feed.ack().wait().map_err(cannot)
}

fn show(chain: &Chain, change: &Change<AnyRecord>, out: &mut Output) -> Result<(), Failure> {
    let (Some(key), Some(version)) = (change.key(), change.version()) else {
        return Ok(());
    };
    let mut shown = Shown {
        position: version.seq + 1,
        change: "put",
        version: version.to_string(),
        key: key.to_string(),
        name: chain.name_of(&key.raw()),
        type_name: None,
        author: None,
        time: Time(0),
        value: None,
        error: None,
    };
    let mut text = String::new();
    match change {
        Change::Put(record) => {
            (shown.time, shown.author) = (
                Time(record.order_time_ms()),
                Some(record.author().to_string()),
            );
            match record.document() {
                Ok(document) => {
                    text = one_line(&document.json).into_owned();
                    shown.type_name = Some(document.type_name);
                    shown.value = Some(raw(&document.json)?);
                }
                Err(error) => shown.error = Some(error.to_string()),
            }
        }
        Change::Unreadable { error, .. } => shown.error = Some(error.to_string()),
        Change::Removed { .. } => shown.change = "removed",
        Change::Erased { .. } => shown.change = "erased",
        Change::Dropped { .. } => shown.change = "dropped",
        _ => shown.change = "other",
    }
    if !matches!(change, Change::Put(_)) {
        let commit = chain.commit(version.seq).map_err(fault)?;
        (shown.time, shown.author) = (
            Time(commit.order_time_ms),
            Some(commit.head.author.to_string()),
        );
    }
    if let Some(error) = &shown.error {
        (shown.change, text) = ("unreadable", error.clone());
    }
    if out.is_json() {
        return out.object(&shown);
    }
    let line = format!(
        "{:>8}  {}  {:<10}  {}  {text}",
        shown.position,
        shown.time,
        shown.change,
        shown.name.as_ref().unwrap_or(&shown.key),
    );
    out.line(line.trim_end())
}
