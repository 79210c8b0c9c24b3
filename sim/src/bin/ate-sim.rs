//! Runs seeds. `cargo xtask sim` builds and starts it.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program: its output is its purpose"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "how long to go on is told in minutes; no run sees the time"
)]

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ate_sim::net::{NetTally, run_net};
use ate_sim::{SMALL_FILES, Share, Tally, enumerate, run};
use parking_lot::Mutex;

struct Options {
    seed: u64,
    minutes: Option<u64>,
    seeds: u64,
    threads: u64,
    traces: bool,
    net: bool,
    enumerate: bool,
    variants: Option<u64>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let options = match parse(&words) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("sim: {why}");
            return ExitCode::from(2);
        }
    };
    // A panic of a run is told with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let is_kept = if options.enumerate {
        cut_everywhere(&options)
    } else {
        run_seeds(&options)
    };
    if is_kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The script, cut at every call.
fn cut_everywhere(options: &Options) -> bool {
    let share = Share {
        seeds: 30,
        variants: options.variants.map(|variants| variants.max(2) as usize),
        options: SMALL_FILES,
    };
    let begun = Instant::now();
    let progress = |done: &ate_sim::Enumerated| {
        if done.cuts.is_multiple_of(20) {
            println!("{} cuts, {} images", done.cuts, done.images);
        }
    };
    match enumerate(share, progress) {
        Ok(done) => println!("{done}, in {:.1} s", begun.elapsed().as_secs_f64()),
        Err(broken) => {
            println!("{broken}");
            return false;
        }
    }
    true
}

/// What all threads have done together.
#[derive(Default)]
struct Done {
    tally: Tally,
    net: NetTally,
    runs: u64,
    /// The lowest seed that failed, and what it told.
    failure: Option<(u64, String)>,
}

/// What a run of either kind left.
struct Left {
    trace: u64,
    tally: Tally,
    net: NetTally,
}

fn run_seed(seed: u64, is_net: bool) -> Result<Left, String> {
    if is_net {
        let finished = run_net(seed).map_err(|failure| failure.to_string())?;
        return Ok(Left {
            trace: finished.trace,
            tally: Tally::default(),
            net: finished.tally,
        });
    }
    let finished = run(seed).map_err(|failure| failure.to_string())?;
    Ok(Left {
        trace: finished.trace,
        tally: finished.tally,
        net: NetTally::default(),
    })
}

/// Runs seeds on several threads. Each run is one thread's alone, so how many there are changes nothing but the time.
fn run_seeds(options: &Options) -> bool {
    let begun = Instant::now();
    let (next, done) = (AtomicU64::new(0), Mutex::new(Done::default()));
    let is_over = |number: u64| match options.minutes {
        Some(minutes) => number > 0 && begun.elapsed() >= Duration::from_secs(60 * minutes),
        None => number >= options.seeds,
    };
    let work = || loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if is_over(number) || done.lock().failure.is_some() {
            return;
        }
        let seed = options.seed + number;
        let ended = run_seed(seed, options.net);
        let mut done = done.lock();
        match ended {
            Ok(finished) => {
                done.tally.add(&finished.tally);
                done.net.add(&finished.net);
                done.runs += 1;
                if options.traces {
                    println!("seed {seed}: trace {:016x}", finished.trace);
                }
            }
            Err(failure) => {
                let is_lower = |(other, _): &(u64, String)| *other < seed;
                if !done.failure.as_ref().is_some_and(is_lower) {
                    done.failure = Some((seed, failure));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(work);
        }
    });
    let done = done.into_inner();
    if let Some((_, failure)) = done.failure {
        println!("{failure}");
        return false;
    }
    println!(
        "{} seeds from {} on: no promise broken in {:.1} s",
        done.runs,
        options.seed,
        begun.elapsed().as_secs_f64()
    );
    if options.net {
        println!("{}", done.net);
    } else {
        println!("{}", done.tally);
    }
    true
}

fn parse(words: &[String]) -> Result<Options, String> {
    let mut options = Options {
        seed: 1,
        minutes: None,
        seeds: 1,
        threads: std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
        traces: false,
        net: false,
        enumerate: false,
        variants: None,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let flag = match word.as_str() {
            "--traces" => Some(&mut options.traces),
            "--net" => Some(&mut options.net),
            "--enumerate" => Some(&mut options.enumerate),
            _ => None,
        };
        if let Some(flag) = flag {
            *flag = true;
            continue;
        }
        let value = words
            .next()
            .ok_or_else(|| format!("{word} takes a number"))?;
        let number = value
            .parse()
            .map_err(|_| format!("{word}: `{value}` is no number"))?;
        match word.as_str() {
            "--seed" => options.seed = number,
            "--seeds" => options.seeds = number,
            "--threads" => options.threads = number.max(1),
            "--variants" => options.variants = Some(number),
            "--minutes" => options.minutes = Some(number),
            _ => return Err(format!("unknown: {word}")),
        }
    }
    Ok(options)
}
