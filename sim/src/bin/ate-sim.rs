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
use std::time::{Duration, Instant};

use ate_sim::{SMALL_FILES, Share, Tally, enumerate, run};

struct Options {
    seed: u64,
    minutes: Option<u64>,
    seeds: u64,
    traces: bool,
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

fn run_seeds(options: &Options) -> bool {
    let begun = Instant::now();
    let (mut tally, mut runs) = (Tally::default(), 0);
    let is_over = |runs: u64| match options.minutes {
        Some(minutes) => runs > 0 && begun.elapsed() >= Duration::from_secs(60 * minutes),
        None => runs >= options.seeds,
    };
    while !is_over(runs) {
        let seed = options.seed + runs;
        match run(seed) {
            Ok(finished) => {
                tally.add(&finished.tally);
                if options.traces {
                    println!("seed {seed}: trace {:016x}", finished.trace);
                }
            }
            Err(failure) => {
                println!("{failure}");
                return false;
            }
        }
        runs += 1;
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "seeds {} to {}: no promise broken in {seconds:.1} s",
        options.seed,
        options.seed + runs - 1
    );
    println!("{tally}");
    true
}

fn parse(words: &[String]) -> Result<Options, String> {
    let mut options = Options {
        seed: 1,
        minutes: None,
        seeds: 1,
        traces: false,
        enumerate: false,
        variants: None,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let flag = match word.as_str() {
            "--traces" => Some(&mut options.traces),
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
            "--variants" => options.variants = Some(number),
            "--minutes" => options.minutes = Some(number),
            _ => return Err(format!("unknown: {word}")),
        }
    }
    Ok(options)
}
