//! `import`: newline-delimited JSON into a chain, checked first, written with several commits in flight.
//!
//! One thread reads and parses, this one seals, the store's thread signs and syncs. Answers are taken in order, so `ack` lines
//! are a promise about a prefix of the input.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use ate::{Chain, Store};
use serde::Serialize;

use crate::args::Import;
use crate::failure::{Code, Failure, fault};
use crate::interrupt;
use crate::lines::{Lines, Parsed, Source};
use crate::output::{Count, Output, plural, say};
use crate::progress::Progress;
use crate::store::Place;

mod check;
mod writer;

use check::{Check, Verdict};
use writer::Writer;

/// Records handed over at once: so many that the hand-over costs nothing.
const CHUNK_RECORDS: usize = 512;
const CHUNK_BYTES: usize = 1 << 20;
const CHUNKS_WAITING: usize = 4;
/// How long a Ctrl-C may go unnoticed while standard input is silent.
const LOOK_UP: Duration = Duration::from_millis(50);

/// What an import did.
#[derive(Serialize)]
struct Summary {
    chain: String,
    records: u64,
    written: u64,
    unchanged: u64,
    commits: u64,
    position: u64,
    root: Option<String>,
}

pub(crate) fn run(place: &Place, args: &Import, out: &mut Output) -> Result<(), Failure> {
    let source = Source::new(&args.file);
    // A file that is bad must not leave a new store behind.
    let fresh = place.is_empty();
    let opened = if fresh {
        None
    } else {
        Some(open(place, args)?)
    };
    interrupt::listen();
    let verdicts = match source {
        Source::File(_) => Some(check_file(
            &source,
            args,
            opened.as_ref().map(|(_, chain)| chain),
        )?),
        Source::Standard => None,
    };
    let (store, chain) = match opened {
        Some(opened) => opened,
        None => open(place, args)?,
    };
    let was_new = chain.is_new();
    let mut writer = Writer::new(place, &store, &chain, args, out);
    let ended = write(&source, args, &chain, verdicts, &mut writer);
    // What was handed over is waited for, whatever ended the reading.
    let settled = writer.settle();
    let totals = writer.totals();
    drop(writer);
    if was_new && totals.commits > 0 {
        place.announce(&store, &chain);
    }
    let ended = settled
        .and(ended)
        .map_err(|failure| explain(failure, totals.records));
    let closed = store.close().wait();
    ended?;
    closed.map_err(fault)?;
    summary(
        out,
        &Summary {
            chain: chain.name().to_string(),
            records: totals.records,
            written: totals.written,
            unchanged: totals.records - totals.written,
            commits: totals.commits,
            position: chain.position().0,
            root: (!chain.is_new()).then(|| chain.root().to_string()),
        },
    )
}

fn open(place: &Place, args: &Import) -> Result<(Store, Chain), Failure> {
    let store = place.write()?;
    let chain = place.chain_to_write(&store, &args.chain)?;
    Ok((store, chain))
}

/// Reads the whole file and judges each record, before anything is written.
fn check_file(
    source: &Source,
    args: &Import,
    chain: Option<&Chain>,
) -> Result<Vec<Verdict>, Failure> {
    let (mut lines, bytes) = source.open()?;
    let progress = Progress::bytes("checking", bytes);
    let mut check = Check::new(chain);
    let mut verdicts = Vec::new();
    while let Some(line) = lines.next().map_err(nothing_written)? {
        let parsed = lines.parse(line, &args.key).map_err(nothing_written)?;
        let verdict = check
            .judge(&parsed)
            .map_err(|failure| nothing_written(failure.during(at(source, parsed.number))))?;
        verdicts.push(verdict);
        if verdicts.len().is_multiple_of(CHUNK_RECORDS) {
            progress.reached(parsed.end);
            if interrupt::is_asked() {
                return Err(nothing_written(Failure::failed("interrupted")));
            }
        }
    }
    Ok(verdicts)
}

/// Reads, judges where that was not done before, and commits.
fn write(
    source: &Source,
    args: &Import,
    chain: &Chain,
    verdicts: Option<Vec<Verdict>>,
    writer: &mut Writer<'_>,
) -> Result<(), Failure> {
    let (lines, _) = source.open()?;
    let progress = Progress::records("writing", verdicts.as_ref().map(|all| all.len() as u64));
    let mut verdicts = verdicts.map(Vec::into_iter);
    let mut check = Check::new((!chain.is_new()).then_some(chain));
    let chunks = read_ahead(lines, args.key.clone());
    while let Some(chunk) = next_chunk(&chunks)? {
        for parsed in chunk.records {
            let verdict = match &mut verdicts {
                Some(known) => known.next().ok_or_else(|| changed(source))?,
                None => check
                    .judge(&parsed)
                    .map_err(|failure| failure.during(at(source, parsed.number)))
                    .or_else(|failure| writer.commit().and(Err(failure)))?,
            };
            writer.record(parsed, verdict)?;
        }
        progress.reached(writer.totals().records);
        if let Some(failure) = chunk.failure {
            writer.commit()?;
            return Err(failure);
        }
    }
    if interrupt::is_asked() {
        return Err(Failure::failed("interrupted"));
    }
    if verdicts.is_some_and(|mut rest| rest.next().is_some()) {
        return Err(changed(source));
    }
    writer.commit()
}

/// Some records, and what stopped the reader after them.
struct Chunk {
    records: Vec<Parsed>,
    failure: Option<Failure>,
}

/// Reads on a thread of its own. It ends with the input, or when nobody takes its chunks any more; one that waits for a silent
/// standard input ends with the process.
fn read_ahead<R: std::io::Read + Send + 'static>(
    lines: Lines<R>,
    key: Vec<String>,
) -> Receiver<Chunk> {
    let (sender, receiver) = sync_channel(CHUNKS_WAITING);
    std::thread::spawn(move || read(lines, &key, &sender));
    receiver
}

fn read<R: std::io::Read>(mut lines: Lines<R>, key: &[String], sender: &SyncSender<Chunk>) {
    let mut records = Vec::new();
    let mut bytes = 0;
    loop {
        let parsed = match lines.next() {
            Ok(Some(line)) => lines.parse(line, key).map(Some),
            Ok(None) => Ok(None),
            Err(failure) => Err(failure),
        };
        let (failure, ends) = match parsed {
            Ok(Some(parsed)) => {
                bytes += parsed.json.as_str().len();
                records.push(parsed);
                (None, false)
            }
            Ok(None) => (None, true),
            Err(failure) => (Some(failure), true),
        };
        if ends || records.len() >= CHUNK_RECORDS || bytes >= CHUNK_BYTES {
            bytes = 0;
            let records = std::mem::take(&mut records);
            if sender.send(Chunk { records, failure }).is_err() || ends {
                return;
            }
        }
    }
}

/// The next chunk; `None` at the end of the input or when it is time to end.
fn next_chunk(chunks: &Receiver<Chunk>) -> Result<Option<Chunk>, Failure> {
    loop {
        if interrupt::is_asked() {
            return Ok(None);
        }
        match chunks.recv_timeout(LOOK_UP) {
            Ok(chunk) => return Ok(Some(chunk)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
        }
    }
}

fn at(source: &Source, line: u64) -> String {
    format!("{}: line {line}", source.name())
}

fn changed(source: &Source) -> Failure {
    Failure::failed(format!(
        "{} was changed while it was imported",
        source.name()
    ))
}

fn nothing_written(failure: Failure) -> Failure {
    failure.and_next("nothing was written; correct the input and import again")
}

/// Adds how much of the input is in.
fn explain(failure: Failure, records: u64) -> Failure {
    let are = if records == 1 { "is" } else { "are" };
    if failure.code() == Code::Unknown {
        return failure.and_next(&format!(
            "the first {} of the input {are} in, some that follow are staged: import the whole input again when nothing is staged any more, what is in is left alone",
            plural(records, "record"),
        ));
    }
    if records == 0 {
        return failure.and_next("nothing of the input is in");
    }
    failure.and_next(&format!(
        "the first {} of the input {are} in; import the whole input again, what is in is left alone",
        plural(records, "record"),
    ))
}

fn summary(out: &mut Output, summary: &Summary) -> Result<(), Failure> {
    if out.is_json() {
        // Whoever took the acks and went away does not want this either.
        return match out.object(summary).and_then(|()| out.flush()) {
            Err(failure) if failure.code() == Code::Quiet => Ok(()),
            result => result,
        };
    }
    say(format_args!(
        "{}: {} read, {} written in {}, {} unchanged; position {}",
        summary.chain,
        plural(summary.records, "record"),
        Count(summary.written),
        plural(summary.commits, "commit"),
        Count(summary.unchanged),
        summary.position,
    ));
    Ok(())
}
