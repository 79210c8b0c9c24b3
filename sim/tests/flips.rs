//! Every byte of every file of a small closed store, one bit each: the store is opened, proved and read whole, in a child process
//! under an address limit. Each flip is *detected* (an error that calls it damage), *rebuilt* (a disposable cache was thrown away
//! and said so) or *unused* (the byte means nothing in a closed store). Wrong data, a panic, a hang or hunger for memory fail.
//!
//! The bit rotates with the offset. Files of the log are flipped in memory; `lock`, whose bytes only a real directory has, on disk.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test program of its own: its output is its report"
)]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use ate::log::{FileLog, Image, LogOptions, Loss, LossyStorage, MemStorage, Storage};
use ate::prelude::*;
use ate::{Depth, Error, ErrorKind, Json, Keystore, Position, Seed};
use ate_sim::{Account, World, content, content_at};

/// The child's part of the work, as `file:start:end,…`, and the directory of the store.
const JOBS: &str = "ATE_FLIPS_JOBS";
const DIR: &str = "ATE_FLIPS_DIR";
/// Address space of a child, in KiB, as `ulimit -v` takes it.
const LIMIT_KIB: u32 = 256 << 10;
/// One flip takes milliseconds; this is for a machine that is very busy.
const FLIP_AT_MOST: Duration = Duration::from_secs(60);
const STORE_BYTES_MAX: usize = 64 << 10;
const PIECE: usize = 2048;

type Any<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let ended = match std::env::var(JOBS) {
        Ok(jobs) => child(&jobs),
        Err(_) if is_asked_for() => parent(),
        Err(_) => return ExitCode::SUCCESS,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("flips: FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the words that `cargo test` passes on mean this test; `--list` is answered here.
fn is_asked_for() -> bool {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let is_list = words.iter().any(|word| word == "--list");
    if is_list {
        println!("flips: test");
    }
    let mut filters = words
        .iter()
        .filter(|word| !word.starts_with('-'))
        .peekable();
    !is_list && (filters.peek().is_none() || filters.any(|word| "flips".contains(word.as_str())))
}

// The store.

/// Two chains in two segments, two identities, accounts and documents, snapshots, all within the size that is tried whole.
fn make(dir: &Path) -> Any<()> {
    let world = World::new(1, LogOptions::default());
    let torn = torn_image(&world)?;
    let storage = MemStorage::from_image(torn);
    // The torn tail makes the log go on in a second segment. The chains are put to rest at close, though little would have to be replayed.
    let store = world
        .builder(Arc::new(storage.clone()))
        .replay_bytes_max(0)
        .open()
        .wait()?;
    let chain = store.chain("alpha").wait()?;
    chain
        .put("note", Json::new(r#"{"second": "segment"}"#)?)
        .wait()?;
    chain.remove::<Json>("gone").wait()?;
    store.close().wait()?;
    drop((chain, store));
    for (name, bytes) in storage.image() {
        std::fs::write(dir.join(name), bytes)?;
    }
    Keystore::in_dir(dir).create(
        &Seed::from_bytes([1; 32]),
        None,
        &ate::crypto::SeededRandom::new(1),
    )?;
    // Once through the real thing, so that every file of a closed store is there; a store left to itself may seal the full segment meanwhile.
    let store = Store::builder(dir).without_maintenance().open().wait()?;
    store
        .existing_chain("alpha")
        .wait()?
        .get::<Json>("note")
        .wait()?;
    store.close().wait()?;
    Ok(())
}

/// The files of a log whose last frame is torn.
fn torn_image(world: &World) -> Any<Image> {
    let write = |disk: &LossyStorage| -> Any<()> {
        let store = world.open(Arc::new(disk.clone()))?;
        let chain = store.chain("alpha").wait()?;
        let tx = chain.begin();
        tx.add(&Account {
            email: "anna@example.org".into(),
            balance: 10,
        })?;
        tx.put("plan", &Json::new(r#"{"shared": true}"#)?)?;
        tx.put("gone", &Json::new("1")?)?;
        tx.commit().wait()?;
        chain.share::<Json>("plan", world.bob.who()).wait()?;
        store
            .chain("beta")
            .wait()?
            .put("only", Json::new("[1, 2, 3]")?)
            .wait()?;
        chain.put("torn", Json::new("0")?).wait()?;
        Ok(())
    };
    let whole = LossyStorage::new();
    write(&whole)?;
    for call in (1..=whole.calls()).rev() {
        let disk = LossyStorage::new();
        disk.cut_at(call);
        if write(&disk).is_ok() {
            continue;
        }
        for loss in Loss::all(32) {
            let image = disk.image_after_cut(loss);
            let storage = MemStorage::from_image(image.clone());
            let opened = FileLog::open(Arc::new(storage.clone()), LogOptions::new([0; 16])).is_ok();
            let names = storage.image();
            if opened && names.keys().filter(|name| name.ends_with(".seg")).count() == 2 {
                return Ok(image);
            }
        }
    }
    Err("no cut leaves a torn frame".into())
}

/// Everything that a store shows, as lines to compare.
fn read_all(store: &Store, world: &World) -> Result<Vec<String>, Error> {
    let mut facts = Vec::new();
    for info in store.chains()? {
        let chain = store.existing_chain(&info.name).wait()?;
        facts.push(format!(
            "{info:?} {:?} {:?} {}",
            chain.position(),
            chain.root(),
            chain.record_count()
        ));
        facts.push(format!("{:?}", content(&chain)?));
        for position in 1..=chain.position().0 {
            let commit = chain.commit(position - 1)?;
            facts.push(format!(
                "{position} {:?} {:?} {:?} {}",
                chain.root_at(Position(position)),
                commit.id,
                commit.head.author,
                commit.order_time_ms
            ));
        }
        // Once into the past: every body and every head is read above and below.
        facts.push(format!("{:?}", content_at(&chain, 2)?));
        for entry in chain.names("")? {
            facts.push(format!("{:?}", chain.history::<Json>(entry.name.as_str())?));
        }
        if let Some(key) = chain.key_of::<Json>("plan") {
            let as_bob = chain.as_identity(&world.bob).get(key).wait()?;
            facts.push(as_bob.as_str().to_owned());
        }
    }
    Ok(facts)
}

fn verify_all(store: &Store) -> Result<Vec<String>, Error> {
    let chains = store.chains()?;
    chains
        .iter()
        .map(|info| {
            Ok(format!(
                "{:?}",
                store.verify(&info.id, Depth::Deep, |_| {})?
            ))
        })
        .collect()
}

// The child.

/// The verdict on one flip, as it goes through the pipe.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
enum Verdict {
    Detected = b'd',
    Rebuilt = b'r',
    Unused = b'u',
    Wrong = b'w',
}

fn child(jobs: &str) -> Any<()> {
    let dir = PathBuf::from(std::env::var_os(DIR).ok_or("the parent names a directory")?);
    let world = World::new(1, LogOptions::default());
    let files = read_files(&dir)?;
    let log: Image = files
        .iter()
        .filter(|(name, _)| *name != "identity")
        .map(|(n, b)| (n.clone(), b.clone()))
        .collect();
    let sound = world.open(Arc::new(MemStorage::from_image(log.clone())))?;
    let expected = (read_all(&sound, &world)?, verify_all(&sound)?);
    if !sound.notes().is_empty() {
        return Err(format!("the sound store has something to say: {:?}", sound.notes()).into());
    }
    drop(sound);
    let mut out = std::io::stdout().lock();
    for job in jobs.split(',') {
        let mut fields = job.split(':');
        let (Some(name), Some(start), Some(end)) = (fields.next(), fields.next(), fields.next())
        else {
            return Err(format!("bad job `{job}`").into());
        };
        for offset in start.parse::<usize>()?..end.parse()? {
            let mut bytes = files[name].clone();
            bytes[offset] ^= 1 << (offset % 8);
            let verdict = match name {
                "identity" => flip_identity(&bytes, &files[name]),
                "lock" => flip_lock(&dir, &bytes, &world, &expected)?,
                _ => {
                    let mut image = log.clone();
                    image.insert(name.to_owned(), bytes);
                    judge(
                        || world.open(Arc::new(MemStorage::from_image(image)) as Arc<dyn Storage>),
                        &world,
                        &expected,
                    )
                }
            };
            out.write_all(&[verdict as u8])?;
            out.flush()?;
        }
    }
    Ok(())
}

/// Opens, reads and proves; whatever is shown must be what was written.
fn judge(
    open: impl FnOnce() -> Result<Store, Error>,
    world: &World,
    expected: &(Vec<String>, Vec<String>),
) -> Verdict {
    let store = match open() {
        Ok(store) => store,
        Err(error) => return of_error(&error, "open"),
    };
    let read = read_all(&store, world);
    let proved = verify_all(&store);
    let mut verdict = if store.notes().is_empty() {
        Verdict::Unused
    } else {
        Verdict::Rebuilt
    };
    for (shown, expected, what) in [(read, &expected.0, "read"), (proved, &expected.1, "verify")] {
        match shown {
            Ok(shown) if shown == *expected => {}
            Ok(shown) => {
                eprintln!("{what}: shown {shown:#?}\nexpected {expected:#?}");
                return Verdict::Wrong;
            }
            Err(error) => match of_error(&error, what) {
                Verdict::Detected => verdict = Verdict::Detected,
                other => return other,
            },
        }
    }
    verdict
}

fn of_error(error: &Error, what: &str) -> Verdict {
    if error.kind() == ErrorKind::Damaged {
        Verdict::Detected
    } else {
        eprintln!("{what}: damage is called {:?}: {error:?}", error.kind());
        Verdict::Wrong
    }
}

fn flip_identity(bytes: &[u8], sound: &[u8]) -> Verdict {
    let seed = |bytes: &[u8]| {
        ate::crypto::keystore::unlock(bytes, None).map(|seed| seed.expose().to_vec())
    };
    match (seed(bytes), seed(sound)) {
        (Err(_), Ok(_)) => Verdict::Detected,
        (Ok(flipped), Ok(sound)) if flipped == sound => Verdict::Unused,
        _ => Verdict::Wrong,
    }
}

/// The file is written by every opening, so the directory is as it was for the next flip.
fn flip_lock(
    dir: &Path,
    bytes: &[u8],
    world: &World,
    expected: &(Vec<String>, Vec<String>),
) -> Any<Verdict> {
    let path = dir.join("lock");
    std::fs::write(&path, bytes)?;
    let reader = judge(
        || Store::builder(dir).read_only().open().wait(),
        world,
        expected,
    );
    std::fs::write(&path, bytes)?;
    let writer = judge(
        || {
            Store::builder(dir)
                .must_exist()
                .without_maintenance()
                .open()
                .wait()
        },
        world,
        expected,
    );
    Ok(reader.max(writer))
}

// The parent.

/// One piece of a file, and what its child said.
struct Job {
    file: String,
    range: Range<usize>,
}

fn parent() -> Any<()> {
    let dir = tempfile::tempdir()?;
    make(dir.path())?;
    let files = read_files(dir.path())?;
    let total: usize = files.values().map(Vec::len).sum();
    for (name, bytes) in &files {
        println!("{:>8} bytes  {name}", bytes.len());
    }
    for part in [
        "identity",
        "lock",
        "log-00000001.seg",
        "log-00000002.seg",
        "snapshot-directory",
        "snapshot-chain-",
    ] {
        if !files.keys().any(|name| name.starts_with(part)) {
            return Err(format!("the store has no file `{part}`").into());
        }
    }
    if total > STORE_BYTES_MAX {
        return Err(
            format!("the store has {total} bytes, at most {STORE_BYTES_MAX} are meant").into(),
        );
    }
    let jobs = files.iter().flat_map(|(name, bytes)| {
        // Flips on disk are made by one child alone.
        let piece = if name == "lock" {
            bytes.len().max(1)
        } else {
            PIECE
        };
        (0..bytes.len()).step_by(piece).map(move |start| Job {
            file: name.clone(),
            range: start..(start + piece).min(bytes.len()),
        })
    });
    let jobs: Vec<Job> = jobs.collect();
    let workers = std::thread::available_parallelism()
        .map_or(2, usize::from)
        .clamp(1, 8);
    let verdicts =
        std::thread::scope(|scope| -> Any<BTreeMap<String, BTreeMap<usize, Verdict>>> {
            let shares = (0..workers).map(|worker| {
                jobs.iter()
                    .skip(worker)
                    .step_by(workers)
                    .collect::<Vec<_>>()
            });
            let running: Vec<_> = shares
                .map(|share| {
                    scope.spawn(|| run(dir.path(), share).map_err(|error| error.to_string()))
                })
                .collect();
            let mut all: BTreeMap<String, BTreeMap<usize, Verdict>> = BTreeMap::new();
            for worker in running {
                for (file, offset, verdict) in worker.join().map_err(|_| "a worker panicked")?? {
                    all.entry(file).or_default().insert(offset, verdict);
                }
            }
            Ok(all)
        })?;
    report(&files, &verdicts)
}

fn report(
    files: &BTreeMap<String, Vec<u8>>,
    verdicts: &BTreeMap<String, BTreeMap<usize, Verdict>>,
) -> Any<()> {
    let mut judged = 0;
    let mut wrong = Vec::new();
    for (file, bytes) in files {
        let of_file = &verdicts[file];
        let count = |verdict| of_file.values().filter(|found| **found == verdict).count();
        let [detected, rebuilt, unused] =
            [Verdict::Detected, Verdict::Rebuilt, Verdict::Unused].map(count);
        println!(
            "{file}: {} flips: {detected} detected, {rebuilt} rebuilt, {unused} unused",
            of_file.len()
        );
        for range in ranges(of_file, Verdict::Unused) {
            println!("    unused: [{}, {})", range.start, range.end);
        }
        wrong.extend(
            ranges(of_file, Verdict::Wrong)
                .into_iter()
                .map(|range| format!("{file} {range:?}")),
        );
        if of_file.len() != bytes.len() {
            return Err(format!(
                "{file}: {} of {} bytes were judged",
                of_file.len(),
                bytes.len()
            )
            .into());
        }
        judged += of_file.len();
        expect_verdicts(file, [detected, rebuilt, unused], bytes.len())?;
    }
    if !wrong.is_empty() {
        return Err(format!(
            "wrong data, or damage under another name, after flips in {}",
            wrong.join(", ")
        )
        .into());
    }
    println!("flips: {judged} flips, every one detected, rebuilt or unused");
    Ok(())
}

/// What is promised for each kind of file; `docs/format.md` lists the bytes that mean nothing.
fn expect_verdicts(file: &str, [detected, rebuilt, unused]: [usize; 3], bytes: usize) -> Any<()> {
    let holds = match file {
        "identity" => detected == bytes,
        "lock" => unused == bytes,
        _ if file.starts_with("snapshot-") => rebuilt == bytes,
        _ => detected == bytes,
    };
    if holds {
        Ok(())
    } else {
        Err(format!("{file}: {detected} detected, {rebuilt} rebuilt, {unused} unused is not what is promised").into())
    }
}

fn ranges(verdicts: &BTreeMap<usize, Verdict>, wanted: Verdict) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (&offset, _) in verdicts.iter().filter(|(_, verdict)| **verdict == wanted) {
        match ranges.last_mut() {
            Some(last) if last.end == offset => last.end = offset + 1,
            _ => ranges.push(offset..offset + 1),
        }
    }
    ranges
}

fn read_files(dir: &Path) -> Any<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry
            .file_name()
            .into_string()
            .map_err(|_| "our names are UTF-8")?;
        files.insert(name, std::fs::read(entry.path())?);
    }
    Ok(files)
}

/// Has a child judge these pieces.
fn run(dir: &Path, jobs: Vec<&Job>) -> Any<Vec<(String, usize, Verdict)>> {
    let list = jobs
        .iter()
        .map(|job| format!("{}:{}:{}", job.file, job.range.start, job.range.end));
    let list = list.collect::<Vec<_>>().join(",");
    let flips = jobs
        .iter()
        .flat_map(|job| job.range.clone().map(|offset| (job.file.clone(), offset)));
    let mut child = limited()?
        .env(JOBS, list)
        .env(DIR, dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let judged = collect(&mut child, flips);
    if judged.is_err() {
        // It may hang; if it has ended already there is nothing to end.
        drop(child.kill());
    }
    let status = child.wait()?;
    match judged {
        Ok(judged) if status.success() => Ok(judged),
        Ok(_) => Err(format!("a child ended with {status} after its work").into()),
        Err(error) => Err(format!("{error}; the child ended with {status}").into()),
    }
}

/// This program again, under the limit where there is a shell to set it.
fn limited() -> Any<Command> {
    let program = std::env::current_exe()?;
    if !cfg!(unix) {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("ulimit -v {LIMIT_KIB} && exec \"$0\""))
        .arg(program);
    Ok(command)
}

fn collect(
    child: &mut Child,
    flips: impl Iterator<Item = (String, usize)>,
) -> Any<Vec<(String, usize, Verdict)>> {
    let mut pipe = child.stdout.take().ok_or("the child has a pipe")?;
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            if buffer[..count]
                .iter()
                .any(|byte| sender.send(*byte).is_err())
            {
                return;
            }
        }
    });
    let mut judged = Vec::new();
    for (file, offset) in flips {
        let verdict = match receiver.recv_timeout(FLIP_AT_MOST) {
            Ok(b'd') => Verdict::Detected,
            Ok(b'r') => Verdict::Rebuilt,
            Ok(b'u') => Verdict::Unused,
            Ok(_) => Verdict::Wrong,
            Err(RecvTimeoutError::Timeout) => {
                return Err(
                    format!("{file}: byte {offset}: no verdict within {FLIP_AT_MOST:?}").into(),
                );
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(format!("{file}: byte {offset}: no verdict").into());
            }
        };
        judged.push((file, offset, verdict));
    }
    Ok(judged)
}
