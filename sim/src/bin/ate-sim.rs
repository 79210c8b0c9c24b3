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

use ate_sim::{Tally, run};

struct Options {
    seed: u64,
    minutes: Option<u64>,
    seeds: u64,
    traces: bool,
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
                return ExitCode::FAILURE;
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
    ExitCode::SUCCESS
}

fn parse(words: &[String]) -> Result<Options, String> {
    let mut options = Options {
        seed: 1,
        minutes: None,
        seeds: 1,
        traces: false,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--traces" {
            options.traces = true;
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
            "--minutes" => options.minutes = Some(number),
            _ => return Err(format!("unknown: {word}")),
        }
    }
    Ok(options)
}
