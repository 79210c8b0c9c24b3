//! The rows: the same work for every peer, on an empty directory each.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::peer::{Peer, Session};
use crate::sample::{Random, Sample};

const COMMITTERS: usize = 64;
const BULK_SAMPLES: u64 = 1000;
const READ_SAMPLES: [u64; 2] = [300_000, 1_000_000];
const LARGE_SAMPLES: u64 = 1_000_000;
const OPEN_COUNT: usize = 5;

/// Runs the rows of one peer.
pub(crate) struct Runs<'a> {
    pub(crate) peer: &'a dyn Peer,
    pub(crate) duration: Duration,
    /// Emptied before and removed after each row.
    pub(crate) dir: PathBuf,
}

impl Runs<'_> {
    /// Prints each of `rows` as one line as soon as it is measured.
    pub(crate) fn print(&self, rows: &[String]) -> Result<()> {
        let has = |name: &str| rows.iter().any(|row| row == name);
        if has("lone") {
            self.lone()?;
        }
        if has("64") {
            self.committers()?;
        }
        if has("bulk") {
            self.bulk()?;
        }
        if has("read") {
            for count in READ_SAMPLES {
                self.read(count)?;
            }
        }
        if has("open") || has("bytes") {
            self.large(has("open"), has("bytes"))?;
        }
        Ok(())
    }

    fn show(&self, row: &str, value: f64, unit: &str, more: serde_json::Value) {
        let mut line =
            json!({"row": row, "peer": self.peer.name(), "value": round(value), "unit": unit});
        if let (Some(line), serde_json::Value::Object(more)) = (line.as_object_mut(), more) {
            line.extend(more);
        }
        println!("{line}");
    }

    fn first_way(&self) -> &'static str {
        self.peer.ways()[0]
    }

    fn lone(&self) -> Result<()> {
        let measured = self.measure_commits(self.first_way(), 1, 1)?;
        self.show(
            "lone",
            measured.commits_per_second,
            "commits/s",
            measured.latencies(),
        );
        Ok(())
    }

    fn committers(&self) -> Result<()> {
        let mut best: Option<(&str, Measured)> = None;
        let mut others = Vec::new();
        for way in self.peer.ways() {
            let measured = self.measure_commits(way, COMMITTERS, 1)?;
            others.push(json!({"way": way, "value": round(measured.commits_per_second)}));
            if best
                .as_ref()
                .is_none_or(|(_, best)| best.commits_per_second < measured.commits_per_second)
            {
                best = Some((way, measured));
            }
        }
        let (way, measured) = best.context("a peer has at least one way")?;
        let mut more = measured.latencies();
        more["way"] = json!(way);
        more["ways"] = json!(others);
        self.show("64", measured.commits_per_second, "commits/s", more);
        Ok(())
    }

    fn bulk(&self) -> Result<()> {
        let measured = self.measure_commits(self.first_way(), 1, BULK_SAMPLES)?;
        let per_second = measured.commits_per_second * BULK_SAMPLES as f64;
        self.show("bulk", per_second, "records/s", measured.latencies());
        Ok(())
    }

    /// `threads` sessions commit `count` new samples at a time until the time is over.
    fn measure_commits(&self, way: &str, threads: usize, count: u64) -> Result<Measured> {
        let dir = Emptied::new(&self.dir)?;
        let database = self.peer.open(&dir.0, way)?;
        let next = AtomicU64::new(1);
        let begun = Instant::now();
        let work = || -> Result<Vec<Duration>> {
            let mut session = database.session()?;
            let mut latencies = Vec::new();
            while begun.elapsed() < self.duration {
                let first = next.fetch_add(count, Ordering::Relaxed);
                let samples: Vec<Sample> = (first..first + count).map(Sample::new).collect();
                let committing = Instant::now();
                session.commit(&samples)?;
                latencies.push(committing.elapsed());
            }
            Ok(latencies)
        };
        let latencies = std::thread::scope(|scope| -> Result<Vec<Duration>> {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let mut all = Vec::new();
            for worker in workers {
                all.extend(
                    worker
                        .join()
                        .map_err(|_| anyhow::anyhow!("a committer panicked"))??,
                );
            }
            Ok(all)
        })?;
        // A lone writer is paid for the time in commits only: making the samples is not the peer's work.
        let seconds = if threads == 1 {
            latencies.iter().sum::<Duration>().as_secs_f64()
        } else {
            begun.elapsed().as_secs_f64()
        };
        database.close()?;
        Measured::new(latencies, seconds)
    }

    fn read(&self, count: u64) -> Result<()> {
        let dir = Emptied::new(&self.dir)?;
        self.fill(&dir.0, count)?;
        let database = self.peer.open(&dir.0, self.first_way())?;
        let mut session = database.session()?;
        let mut random = Random(count);
        // As long again as the measurement, unmeasured: caches are warm as they would be in use.
        read_for(self.duration, session.as_mut(), &mut random, count)?;
        let begun = Instant::now();
        let reads = read_for(self.duration, session.as_mut(), &mut random, count)?;
        let per_second = reads as f64 / begun.elapsed().as_secs_f64();
        drop(session);
        database.close()?;
        self.show("read", per_second, "reads/s", json!({"records": count}));
        Ok(())
    }

    /// One large database serves both rows that need it.
    fn large(&self, is_open_shown: bool, is_bytes_shown: bool) -> Result<()> {
        let dir = Emptied::new(&self.dir)?;
        self.fill(&dir.0, LARGE_SAMPLES)?;
        if is_open_shown {
            let (mut opens, mut firsts) = (Vec::new(), Vec::new());
            for index in 0..OPEN_COUNT {
                let begun = Instant::now();
                let database = self.peer.open(&dir.0, self.first_way())?;
                let mut session = database.session()?;
                opens.push(begun.elapsed());
                let id = 1 + Random(index as u64).next() % LARGE_SAMPLES;
                ensure!(session.read(id)?.is_some(), "sample {id} is missing");
                firsts.push(begun.elapsed());
                drop(session);
                database.close()?;
            }
            let first = json!({"records": LARGE_SAMPLES, "with_first_read_ms": round(milliseconds(median(&mut firsts)))});
            self.show("open", milliseconds(median(&mut opens)), "ms", first);
        }
        if is_bytes_shown {
            let (length, allocated) = disk_use(&dir.0)?;
            let per_sample = |bytes: u64| bytes as f64 / LARGE_SAMPLES as f64;
            let more = json!({"records": LARGE_SAMPLES, "file_length": round(per_sample(length))});
            self.show("bytes", per_sample(allocated), "bytes/record", more);
        }
        Ok(())
    }

    /// Samples `1..=count`, in bulk commits, then closed.
    fn fill(&self, dir: &Path, count: u64) -> Result<()> {
        let database = self.peer.open(dir, self.first_way())?;
        let mut session = database.session()?;
        let mut first = 1;
        while first <= count {
            let end = (first + BULK_SAMPLES).min(count + 1);
            let samples: Vec<Sample> = (first..end).map(Sample::new).collect();
            session.commit(&samples)?;
            first = end;
        }
        drop(session);
        database.close()
    }
}

/// Reads random samples of `1..=count` and checks that each is the one asked for; returns how many.
fn read_for(
    duration: Duration,
    session: &mut dyn Session,
    random: &mut Random,
    count: u64,
) -> Result<u64> {
    let begun = Instant::now();
    let mut reads = 0;
    while begun.elapsed() < duration {
        // The clock is asked once for many reads.
        for _ in 0..256 {
            let id = 1 + random.next() % count;
            let sample = session
                .read(id)?
                .with_context(|| format!("sample {id} is missing"))?;
            ensure!(sample.id == id, "asked for {id}, got {}", sample.id);
            reads += 1;
        }
    }
    Ok(reads)
}

/// Commits of one run.
struct Measured {
    commits_per_second: f64,
    sorted: Vec<Duration>,
}

impl Measured {
    fn new(mut latencies: Vec<Duration>, seconds: f64) -> Result<Self> {
        ensure!(!latencies.is_empty(), "no commit ended in time");
        latencies.sort_unstable();
        Ok(Self {
            commits_per_second: latencies.len() as f64 / seconds,
            sorted: latencies,
        })
    }

    fn latencies(&self) -> serde_json::Value {
        let at = |part: usize| self.sorted[(self.sorted.len() - 1) * part / 100].as_micros() as u64;
        json!({"p50_us": at(50), "p99_us": at(99)})
    }
}

/// An empty directory that is removed when the row ends, also by an error.
struct Emptied(PathBuf);

impl Emptied {
    fn new(dir: &Path) -> Result<Self> {
        if dir.exists() {
            std::fs::remove_dir_all(dir)?;
        }
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(Self(dir.to_path_buf()))
    }
}

impl Drop for Emptied {
    fn drop(&mut self) {
        // Nothing depends on it being gone: the next row empties the directory again.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Length of all files below `dir`, and what they occupy on disk, in bytes.
fn disk_use(dir: &Path) -> Result<(u64, u64)> {
    let (mut length, mut allocated) = (0, 0);
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            let below = disk_use(&entry.path())?;
            length += below.0;
            allocated += below.1;
        } else {
            length += metadata.len();
            allocated += allocated_bytes(&metadata);
        }
    }
    Ok((length, allocated))
}

#[cfg(unix)]
fn allocated_bytes(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(metadata) * 512
}

#[cfg(not(unix))]
fn allocated_bytes(metadata: &std::fs::Metadata) -> u64 {
    metadata.len()
}

fn median(durations: &mut [Duration]) -> Duration {
    durations.sort_unstable();
    durations[durations.len() / 2]
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Two digits after the point are more than a benchmark knows.
fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
