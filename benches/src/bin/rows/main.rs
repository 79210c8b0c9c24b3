//! Prints the embedded rows of the design's table: `cargo xtask bench [ROWS…]`.
//!
//! Rows: lone 64 tasks bulk read open verify memory bytes bodies many catchup seen calls publish nats. `--dir DIR` chooses the disk, `--seconds N` the length of a row.

mod bulk;
#[cfg(feature = "net")]
mod calls;
mod commits;
mod many;
#[cfg(feature = "net")]
mod nats;
#[cfg(feature = "net")]
mod network;
mod open;
#[cfg(feature = "net")]
mod publish;
mod read;

use std::path::PathBuf;
use std::time::Duration;

use ate::Store;

/// What every row needs.
pub(crate) struct Bench {
    dir: PathBuf,
    pub(crate) length: Duration,
}

pub(crate) type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

impl Bench {
    /// A fresh directory on the disk that is measured.
    pub(crate) fn fresh(&self, name: &str) -> std::io::Result<PathBuf> {
        let dir = self.dir.join(name);
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        Ok(dir)
    }

    pub(crate) fn store(
        &self,
        name: &str,
    ) -> Result<Store, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Store::open(self.fresh(name)?).wait()?)
    }
}

type Row = (&'static str, fn(&Bench) -> Outcome);

const ROWS: &[Row] = &[
    ("lone", commits::lone),
    ("64", commits::threads),
    ("tasks", commits::tasks),
    ("bulk", bulk::bulk),
    ("bytes", bulk::bytes),
    ("bodies", bulk::bodies),
    ("read", read::read),
    ("open", open::open),
    ("verify", open::verify),
    ("memory", open::memory),
    ("many", many::many),
    #[cfg(feature = "net")]
    ("catchup", network::catch_up),
    #[cfg(feature = "net")]
    ("seen", network::seen),
    #[cfg(feature = "net")]
    ("calls", calls::calls),
    #[cfg(feature = "net")]
    ("publish", publish::publish),
    #[cfg(feature = "net")]
    ("nats", nats::nats),
];

type Step = (&'static str, fn(&std::path::Path) -> Outcome);

/// What the rows on memory run in processes of their own.
const STEPS: &[Step] = &[
    ("--fill", open::fill_million),
    ("--measure", open::measure_memory),
    ("--fill-many", many::fill),
    ("--measure-many", many::measure),
];

fn main() -> Outcome {
    let mut chosen = Vec::new();
    let mut dir = PathBuf::from("target/bench-data");
    let mut seconds = 3;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            step if let Some((_, step)) = STEPS.iter().find(|(name, _)| *name == step) => {
                let dir = arguments.next().ok_or("a directory is missing")?;
                return step(dir.as_ref());
            }
            "--dir" => dir = arguments.next().ok_or("--dir needs a directory")?.into(),
            "--seconds" => {
                seconds = arguments
                    .next()
                    .ok_or("--seconds needs a number")?
                    .parse()?
            }
            row if ROWS.iter().any(|(name, _)| *name == row) => chosen.push(argument),
            other => {
                return Err(format!(
                    "no row `{other}`; there are {}",
                    ROWS.iter()
                        .map(|(name, _)| *name)
                        .collect::<Vec<_>>()
                        .join(" ")
                )
                .into());
            }
        }
    }
    std::fs::create_dir_all(&dir)?;
    let bench = Bench {
        dir: dir.clone(),
        length: Duration::from_secs(seconds),
    };
    for (name, run) in ROWS {
        if chosen.is_empty() || chosen.iter().any(|wanted| wanted == name) {
            run(&bench)?;
        }
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
