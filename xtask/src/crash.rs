//! Kills: an import by the real executable is ended by SIGKILL at moments that a seed chooses, again and again over the same store.
//! After each kill the store verifies, and its export is a prefix of the input that holds every acknowledged record.
//!
//! Moments are counted in acknowledgements, not in time, plus a delay below a millisecond; some kills come before the first
//! acknowledgement. A kill leaves the page cache behind, so it finds errors of order and of state, not missing syncs: those are
//! found by the tests that forget what was not synced.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::process;
use crate::scratch::Scratch;
use crate::steps::Outcome;

const RECORDS: u64 = 1500;
const PER_COMMIT: u64 = 5;
/// A kill comes after at most so many acknowledgements.
const ACKS_MAX: u64 = 90;
/// A kill before the first acknowledgement comes within this time.
const START_MICROS_MAX: u64 = 40_000;
const DELAY_MICROS_MAX: u64 = 1000;
const CHAIN: &str = "crash";

struct Options {
    cycles: u64,
    seed: u64,
}

/// What all cycles together saw.
#[derive(Default)]
struct Tally {
    kills: u64,
    kills_before_acks: u64,
    acks: u64,
    stores: u64,
    finished: u64,
}

/// One store from its first import to the one that runs to its end.
struct Life {
    scratch: Scratch,
    /// Records that an acknowledgement of this store has counted.
    acknowledged: u64,
    /// The position that the last acknowledgement named.
    position: u64,
}

pub(crate) fn command(arguments: &[String]) -> Result<Outcome> {
    let options = parse(arguments)?;
    println!("    seed {}, {} cycles", options.seed, options.cycles);
    let program = process::program("ate")?;
    let input: Vec<String> = (0..RECORDS).map(record).collect();
    let shelf = Scratch::new("crash-input")?;
    let file = shelf.path().join("input.ndjson");
    std::fs::write(&file, input.join("\n") + "\n")?;
    let mut random = SplitMix(options.seed);
    let mut tally = Tally::default();
    let mut life = None;
    for cycle in 0..options.cycles {
        let mut store = match life.take() {
            Some(store) => store,
            None => {
                tally.stores += 1;
                Life {
                    scratch: Scratch::new("crash")?,
                    acknowledged: 0,
                    position: 0,
                }
            }
        };
        let is_finished = store
            .cycle(&program, &file, &input, &mut random, &mut tally)
            .inspect_err(|_| store.scratch.keep())
            .with_context(|| {
                let at = store.scratch.path().display();
                format!(
                    "cycle {cycle} of seed {}; the store is left in {at}",
                    options.seed
                )
            })?;
        life = (!is_finished).then_some(store);
    }
    println!(
        "    {} kills over {} stores, {} before the first acknowledgement; {} acknowledged commits, none lost; {} imports ended by themselves",
        tally.kills, tally.stores, tally.kills_before_acks, tally.acks, tally.finished
    );
    ensure!(tally.kills > 0, "no import lived until its kill");
    Ok(Outcome::Passed)
}

fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options {
        cycles: 100,
        seed: 1,
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let value = words
            .next()
            .with_context(|| format!("{word} takes a number"))?;
        let number = value
            .parse()
            .with_context(|| format!("{word}: `{value}` is no number"))?;
        match word.as_str() {
            "--cycles" => options.cycles = number,
            "--seed" => options.seed = number,
            _ => bail!("takes --cycles N and --seed S, got `{word}`"),
        }
    }
    ensure!(options.cycles > 0, "--cycles must be at least 1");
    Ok(options)
}

fn record(number: u64) -> String {
    let word = SplitMix(number).next();
    let body = format!("{word:016x}").repeat(1 + (word % 12) as usize);
    format!(r#"{{"id": {number}, "body": "{body}"}}"#)
}

impl Life {
    /// One import that is killed, or ends before that, and what is left of it; `true` if the store holds the whole input.
    fn cycle(
        &mut self,
        program: &Path,
        file: &Path,
        input: &[String],
        random: &mut SplitMix,
        tally: &mut Tally,
    ) -> Result<bool> {
        // One kill in eight hits the start: a new store, an identity, a recovery.
        let kill_after = if random.below(8) == 0 {
            0
        } else {
            1 + random.below(ACKS_MAX)
        };
        let micros = random.below(if kill_after == 0 {
            START_MICROS_MAX
        } else {
            DELAY_MICROS_MAX
        });
        let mut import = self
            .ate(program)
            .arg("import")
            .arg(CHAIN)
            .arg(file)
            .args([
                "--key",
                "id",
                "--acks",
                "--per-commit",
                &PER_COMMIT.to_string(),
            ])
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(
                self.scratch.path().join("import.err"),
            )?)
            .spawn()?;
        let acks = self.kill_after(&mut import, kill_after, Duration::from_micros(micros))?;
        let status = import.wait()?;
        tally.acks += acks;
        let is_killed = status.code().is_none();
        if !is_killed {
            let said = std::fs::read_to_string(self.scratch.path().join("import.err"))?;
            ensure!(
                status.success(),
                "the import ended with {status} before it was killed: {said}"
            );
            tally.finished += 1;
        } else {
            tally.kills += 1;
            tally.kills_before_acks += u64::from(acks == 0);
        }
        let found = self.judge(program, input)?;
        if is_killed {
            return Ok(false);
        }
        ensure!(
            found == RECORDS,
            "the import ended well, but {found} of {RECORDS} records are there"
        );
        Ok(true)
    }

    /// Ends the import after that many acknowledgements; takes in all that it had printed by then, and says how many those were.
    fn kill_after(&mut self, import: &mut Child, kill_after: u64, delay: Duration) -> Result<u64> {
        let pipe = import.stdout.take().context("the import has a pipe")?;
        let mut lines = BufReader::new(pipe);
        let (mut acks, mut line) = (0, String::new());
        if kill_after == 0 {
            std::thread::sleep(delay);
            import.kill()?;
        }
        loop {
            line.clear();
            lines.read_line(&mut line)?;
            // A line that was cut by the kill was not told to anybody.
            let Some(ack) = line.strip_suffix('\n') else {
                return Ok(acks);
            };
            self.take(ack)?;
            acks += 1;
            if acks == kill_after {
                std::thread::sleep(delay);
                import.kill()?;
            }
        }
    }

    fn take(&mut self, ack: &str) -> Result<()> {
        let mut words = ack.split(' ');
        let (Some("ack"), Some(position), Some(records), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            bail!("`{ack}` is no acknowledgement");
        };
        let (position, records): (u64, u64) = (position.parse()?, records.parse()?);
        ensure!(
            position > self.position,
            "position {position} is acknowledged after {}",
            self.position
        );
        ensure!(
            records > self.acknowledged && records <= RECORDS,
            "`{ack}` after {} records",
            self.acknowledged
        );
        (self.position, self.acknowledged) = (position, records);
        Ok(())
    }

    /// The store verifies and holds whole commits, the acknowledged ones among them; returns how many records it holds.
    fn judge(&self, program: &Path, input: &[String]) -> Result<u64> {
        let verified = self
            .ate(program)
            .args(["--json", "verify", CHAIN, "--deep"])
            .output()?;
        if !verified.status.success() && self.acknowledged == 0 && verified.status.code() == Some(1)
        {
            // Nothing was promised yet: there may be no chain, no log, not even an identity. The next import goes on from here.
            return Ok(0);
        }
        let verified = text("verify", verified)?;
        let fact: Value =
            serde_json::from_str(verified.lines().next().context("verify prints a line")?)?;
        let position = fact["position"]
            .as_u64()
            .with_context(|| format!("no position in {verified}"))?;
        ensure!(
            position >= self.position,
            "position {} was acknowledged, the chain ends at {position}",
            self.position
        );
        let export = text(
            "export",
            self.ate(program).args(["export", CHAIN]).output()?,
        )?;
        compare(&export, input, self.acknowledged)
    }

    fn ate(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .arg("--dir")
            .arg(self.scratch.path().join("store"))
            .env_remove("ATE_DIR")
            .env_remove("ATE_PASSPHRASE")
            .stdin(Stdio::null());
        command
    }
}

/// An export is a prefix of the input that ends with a whole commit and holds what was acknowledged; returns its records.
fn compare(export: &str, input: &[String], acknowledged: u64) -> Result<u64> {
    let found: Vec<&str> = export.lines().collect();
    let count = found.len() as u64;
    ensure!(
        count >= acknowledged,
        "{acknowledged} records are acknowledged, {count} are there"
    );
    ensure!(
        found.len() <= input.len(),
        "{count} records of {} are there",
        input.len()
    );
    if let Some(line) = (0..found.len()).find(|&line| found[line] != input[line]) {
        bail!("record {line} came back as `{}`", found[line]);
    }
    ensure!(
        count.is_multiple_of(PER_COMMIT),
        "{count} records: a commit is there in part"
    );
    Ok(count)
}

fn text(what: &str, output: Output) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{what} ended with {}: {said}",
        output.status
    );
    String::from_utf8(output.stdout).with_context(|| format!("{what} printed what is not UTF-8"))
}

/// SplitMix64: small, seeded, the same everywhere.
pub(crate) struct SplitMix(pub(crate) u64);

impl SplitMix {
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn options_are_numbers() {
        let options = parse(&words("--seed 7 --cycles 3")).expect("both are known");
        assert_eq!((options.cycles, options.seed), (3, 7));
        for bad in ["--cycles", "--cycles many", "--cycles 0", "--moments 3"] {
            assert!(parse(&words(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn acknowledgements_only_go_forward() {
        let scratch = Scratch::new("crash-test").expect("temporary directory");
        let mut life = Life {
            scratch,
            acknowledged: 0,
            position: 0,
        };
        life.take("ack 2 5").expect("the first one");
        assert_eq!((life.position, life.acknowledged), (2, 5));
        for bad in [
            "ack 2 10",
            "ack 3 5",
            "ack 3",
            "nack 3 10",
            "ack 3 10 1",
            "ack 3 999999999",
        ] {
            assert!(life.take(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn whatever_is_lost_torn_or_changed_is_noticed() {
        let input: Vec<String> = (0..20).map(record).collect();
        let export = |range: std::ops::Range<usize>| input[range].join("\n");
        assert_eq!(compare(&export(0..10), &input, 10).expect("all there"), 10);
        assert_eq!(compare(&export(0..15), &input, 10).expect("one more"), 15);
        let changed = export(0..10).replace("\"id\": 3", "\"id\": 4");
        for bad in [export(0..5), export(0..13), export(1..16), changed] {
            assert!(compare(&bad, &input, 10).is_err(), "{bad}");
        }
    }

    #[test]
    fn records_are_unlike() {
        assert_ne!(record(1), record(2));
        assert_eq!(record(7), record(7));
    }
}
