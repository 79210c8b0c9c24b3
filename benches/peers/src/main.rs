//! The rows of the benchmark table for the peers of ATE: SQLCipher and fjall.
//!
//! Usage: `peers [--rows lone,64,bulk,read,open,bytes] [--seconds N] [--dir DIR]`. Prints one JSON object a line, so that
//! another program can put the rows side by side. README.md tells the method.
#![expect(
    clippy::print_stdout,
    reason = "the rows are the output of this program"
)]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod lsm;
mod peer;
mod rows;
mod sample;
mod sqlcipher;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::peer::Peer;

/// Every row, in the order of printing.
const ROWS: &[&str] = &["lone", "64", "bulk", "read", "open", "bytes"];

/// What to measure, for how long, and where.
struct Arguments {
    rows: Vec<String>,
    duration: Duration,
    dir: PathBuf,
}

fn main() -> Result<()> {
    let Some(arguments) = parse(std::env::args().skip(1))? else {
        println!(
            "peers [--rows {}] [--seconds N] [--dir DIR]",
            ROWS.join(",")
        );
        return Ok(());
    };
    let peers: [&dyn Peer; 2] = [&sqlcipher::SqlCipher, &lsm::Fjall];
    for peer in peers {
        let runs = rows::Runs {
            peer,
            duration: arguments.duration,
            dir: arguments.dir.join(peer.name()),
        };
        runs.print(&arguments.rows)
            .with_context(|| format!("measuring {}", peer.name()))?;
    }
    Ok(())
}

/// `None` means that help was asked for.
fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Arguments>> {
    let mut arguments = Arguments {
        rows: ROWS.iter().map(ToString::to_string).collect(),
        duration: Duration::from_secs(5),
        // Beside the build, hence on a disk: the temporary directory may be memory, where a sync costs nothing.
        dir: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/data")),
    };
    while let Some(word) = words.next() {
        if matches!(word.as_str(), "--help" | "-h") {
            return Ok(None);
        }
        let value = words
            .next()
            .with_context(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--rows" => arguments.rows = value.split(',').map(str::to_owned).collect(),
            "--seconds" => {
                let seconds: u32 = value
                    .parse()
                    .with_context(|| format!("--seconds {value}"))?;
                arguments.duration = Duration::from_secs(seconds.into());
            }
            "--dir" => arguments.dir = PathBuf::from(value),
            _ => bail!("there is no option {word}"),
        }
    }
    if let Some(unknown) = arguments
        .rows
        .iter()
        .find(|row| !ROWS.contains(&row.as_str()))
    {
        bail!("there is no row {unknown}, only {}", ROWS.join(","));
    }
    Ok(Some(arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(words: &[&str]) -> Result<Option<Arguments>> {
        parse(words.iter().map(ToString::to_string))
    }

    #[test]
    fn arguments_are_checked() {
        let all = parse_words(&[]).expect("no words").expect("no help");
        assert_eq!(all.rows, ROWS);
        let some = parse_words(&["--rows", "read,lone", "--seconds", "2", "--dir", "x"])
            .expect("valid")
            .expect("no help");
        assert_eq!(
            (some.rows.len(), some.duration.as_secs(), some.dir),
            (2, 2, PathBuf::from("x"))
        );
        assert!(parse_words(&["--help"]).expect("valid").is_none());
        for wrong in [
            &["--rows", "no"][..],
            &["--rows"],
            &["--seconds", "x"],
            &["--no", "x"],
        ] {
            assert!(parse_words(wrong).is_err(), "{wrong:?}");
        }
    }
}
