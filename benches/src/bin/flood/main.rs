//! A node under a flood, over QUIC on the loopback interface: `cargo xtask flood [--seconds N] [--rounds N] [--ratio-max X]`.
//!
//! The node, a good client and the flood are processes of their own. The good client commits one record after another and pings, calm and under the flood in turn;
//! the flood comes from other addresses of the loopback network: connections that never say who they are, packets that look like the first of a handshake and are
//! none, and peers that say who they are and then send garbage. It fails if the node grows by 256 MiB, or if the good client's p99 under the flood is three times
//! its calm one or more (`--ratio-max`; in the gate it is told only: it says as much of the machine as of the node).
//!
//! Where the system has `taskset` and two processors, the flood gets one and the node and its client the other; its pace is bounded, and printed.
#![expect(
    clippy::print_stdout,
    reason = "a command line program: its output is its purpose"
)]

mod attack;
mod good;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ate::{ServeOptions, Store};
use ate_benches::percentile;

pub(crate) type Failed = Box<dyn std::error::Error + Send + Sync>;

const GROWTH_MAX: u64 = 256 << 20;
const RATIO_MAX: f64 = 3.0;
/// Below this, what a busy machine does to a percentile is larger than what a flood does.
const NOISE: Duration = Duration::from_millis(5);

fn main() -> Result<(), Failed> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let word = |at: usize| words.get(at).map(String::as_str);
    match (word(0), word(1), word(2)) {
        (Some("node"), Some(dir), _) => node(dir),
        (Some("good"), Some(url), Some(dir)) => good::run(url, dir),
        (Some("attack"), Some(url), Some(pace)) => attack::run(url, pace.parse()?),
        _ => flood(&words),
    }
}

/// Serves a store until its input ends.
fn node(dir: &str) -> Result<(), Failed> {
    let store = Store::open(dir).wait()?;
    let serving = store.serve(&ServeOptions::on("127.0.0.1:0".parse()?))?;
    println!("{}", serving.address()?);
    std::io::stdin().read_to_end(&mut Vec::new())?;
    println!("{}", serving.metrics().render());
    serving.shut_down().wait();
    Ok(())
}

struct Options {
    seconds: u64,
    rounds: usize,
    /// Packets and handshakes a second, about.
    pace: u64,
    /// How much slower the good client may be.
    ratio_max: f64,
}

impl Options {
    fn parse(words: &[String]) -> Result<Self, Failed> {
        let mut options = Self {
            seconds: 8,
            rounds: 3,
            pace: 4000,
            ratio_max: RATIO_MAX,
        };
        for pair in words.chunks(2) {
            match pair {
                [name, value] if name == "--seconds" => options.seconds = value.parse()?,
                [name, value] if name == "--rounds" => options.rounds = value.parse()?,
                [name, value] if name == "--pace" => options.pace = value.parse()?,
                [name, value] if name == "--ratio-max" => options.ratio_max = value.parse()?,
                _ => {
                    let usage = "flood [--seconds N] [--rounds N] [--pace PACKETS_A_SECOND] [--ratio-max X]";
                    return Err(usage.into());
                }
            }
        }
        Ok(options)
    }
}

/// What a good client saw, in all rounds of one kind.
#[derive(Default)]
struct Seen {
    commits: Vec<Duration>,
    pings: Vec<Duration>,
}

fn flood(words: &[String]) -> Result<(), Failed> {
    let options = Options::parse(words)?;
    let dir = tempfile::Builder::new()
        .prefix("ate-flood")
        .tempdir_in(here()?)?;
    let path = |name: &str| dir.path().join(name).display().to_string();
    let mut node = Running::start(Place::Good, &["node", &path("node")])?;
    let address = node.line()?;
    let url = format!("{address}/flood");
    let mut good = Running::start(Place::Good, &["good", &url, &path("good")])?;
    good.line()?;
    let (mut calm, mut under) = (Seen::default(), Seen::default());
    // Buffers, caches and threads of the first commits are no growth.
    good.measure(2, &mut Seen::default())?;
    let before = node.memory()?.1;
    for _ in 0..options.rounds {
        good.measure(options.seconds, &mut calm)?;
        let pace = options.pace.to_string();
        let mut attack = Running::start(Place::Flood, &["attack", &url, &pace])?;
        attack.line()?;
        good.measure(options.seconds, &mut under)?;
        println!("{}", attack.end()?);
    }
    let (most, now) = node.memory()?;
    let told = node.end()?;
    drop(good.end()?);
    for line in told.lines().filter(|line| is_of_interest(line)) {
        println!("  {line}");
    }
    println!(
        "{} rounds of {} s; the flood sends about {} packets a second{}",
        options.rounds,
        options.seconds,
        options.pace,
        if Place::Flood.prefix().is_empty() {
            ""
        } else {
            ", on a processor of its own"
        }
    );
    let growth = most.saturating_sub(before);
    println!(
        "node: {} MiB resident before, {} MiB at most, {} MiB after; growth {} MiB",
        before >> 20,
        most >> 20,
        now >> 20,
        growth >> 20
    );
    let commits = compare(
        "commit",
        options.ratio_max,
        &mut calm.commits,
        &mut under.commits,
    );
    let pings = compare("ping", options.ratio_max, &mut calm.pings, &mut under.pings);
    if growth >= GROWTH_MAX {
        return Err("the node grew too much".into());
    }
    if !(commits && pings) {
        return Err("the good client was slowed down too much".into());
    }
    Ok(())
}

/// Prints both, and tells whether the flood is bearable.
fn compare(what: &str, ratio_max: f64, calm: &mut [Duration], under: &mut [Duration]) -> bool {
    calm.sort_unstable();
    under.sort_unstable();
    let of = |sorted: &[Duration]| (percentile(sorted, 50), percentile(sorted, 99));
    let ((calm_50, calm_99), (under_50, under_99)) = (of(calm), of(under));
    let ratio = under_99.as_secs_f64() / calm_99.as_secs_f64();
    println!(
        "{what:<7} calm p50 {calm_50:.2?} p99 {calm_99:.2?} ({}), flooded p50 {under_50:.2?} p99 {under_99:.2?} ({}): p99 {ratio:.2} times",
        calm.len(),
        under.len()
    );
    !under.is_empty() && (ratio < ratio_max || under_99 < NOISE)
}

fn is_of_interest(line: &str) -> bool {
    const NAMES: &[&str] = &[
        "ate_connections_accepted",
        "ate_connections_refused",
        "ate_handshakes_total",
        "ate_limits_hit",
        "ate_requests_total",
        "ate_commits_",
    ];
    let is_named = NAMES.iter().any(|name| line.starts_with(name));
    is_named && !line.ends_with(" 0") && !line.contains("_bucket")
}

/// On the disk of the build: the temporary directory may be memory, where a sync costs nothing.
fn here() -> Result<std::path::PathBuf, Failed> {
    let program = std::env::current_exe()?;
    Ok(program
        .parent()
        .ok_or("a program lies in a folder")?
        .to_owned())
}

/// Which processors a process gets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Good,
    Flood,
}

impl Place {
    /// In front of the command: the last processor is the flood's.
    fn prefix(self) -> Vec<String> {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let has_taskset = Command::new("taskset")
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if count < 2 || !has_taskset {
            return Vec::new();
        }
        let processors = match self {
            Self::Good => format!("0-{}", count - 2),
            Self::Flood => format!("{}", count - 1),
        };
        vec!["taskset".into(), "-c".into(), processors]
    }
}

/// A process of this program.
struct Running {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Running {
    fn start(place: Place, words: &[&str]) -> Result<Self, Failed> {
        let program = std::env::current_exe()?.display().to_string();
        let mut line = place.prefix();
        line.push(program);
        line.extend(words.iter().map(ToString::to_string));
        let mut child = Command::new(&line[0])
            .args(&line[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("a pipe")?);
        Ok(Self { child, lines })
    }

    fn line(&mut self) -> Result<String, Failed> {
        let mut line = String::new();
        if self.lines.read_line(&mut line)? == 0 {
            return Err("a process ended early".into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// Ends its input, and takes in what it still says.
    fn end(mut self) -> Result<String, Failed> {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest)?;
        let status = self.child.wait()?;
        if status.success() {
            Ok(rest.trim_end().to_owned())
        } else {
            Err(format!("a process ended with {status}").into())
        }
    }

    /// Has the good client work for so long.
    fn measure(&mut self, seconds: u64, seen: &mut Seen) -> Result<(), Failed> {
        let mut input = self.child.stdin.as_ref().ok_or("it was ended")?;
        writeln!(input, "{seconds}")?;
        for into in [&mut seen.commits, &mut seen.pings] {
            let line = self.line()?;
            for word in line.split_whitespace() {
                into.push(Duration::from_micros(word.parse()?));
            }
        }
        Ok(())
    }

    /// Resident memory in bytes: the most that it was, and now.
    fn memory(&self) -> Result<(u64, u64), Failed> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let of = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
            kib.map_or(0, |kib| kib << 10)
        };
        Ok((of("VmHWM:"), of("VmRSS:")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, unless something failed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
