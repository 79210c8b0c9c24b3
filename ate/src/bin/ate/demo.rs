//! `demo`: the whole story on a store of its own, each step with what it cost.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::ambient::Stopwatch;
use crate::args::Demo;
use crate::failure::{Code, Failure};
use crate::interrupt;
use crate::output::Output;

mod disk;
mod steps;

/// What a step of the story printed and cost.
#[derive(Serialize)]
struct Step {
    step: &'static str,
    seconds: f64,
    lines: Vec<String>,
}

pub(crate) fn run(args: &Demo, out: &mut Output) -> Result<(), Failure> {
    let watch = Stopwatch::start();
    let place = Stage::new(args.keep.as_deref())?;
    interrupt::listen();
    if !out.is_json() {
        out.line(format_args!("A store in {}", place.dir.display()))?;
    }
    let mut story = steps::Story::new(&place.dir, &place.temporary.join("copy"));
    for (name, step) in steps::STEPS {
        if interrupt::is_asked() {
            return Err(Failure::failed("interrupted").next("`ate demo` begins anew"));
        }
        let watch = Stopwatch::start();
        let lines = step(&mut story)?;
        let step = Step {
            step: name,
            seconds: watch.elapsed().as_secs_f64(),
            lines,
        };
        if out.is_json() {
            out.object(&step)?;
        } else {
            show(&step, out)?;
        }
        out.flush()?;
    }
    let seconds = watch.elapsed().as_secs_f64();
    if out.is_json() {
        #[derive(Serialize)]
        struct Done {
            seconds: f64,
        }
        return out.object(&Done { seconds });
    }
    let next = match &args.keep {
        Some(dir) => format!("look around: ate --dir {} log bank", dir.display()),
        None => "now yours: ate put universe greeting '{\"hi\": 1}'".to_owned(),
    };
    out.line(format_args!("\nAll of it in {seconds:.1} s. {next}"))
}

fn show(step: &Step, out: &mut Output) -> Result<(), Failure> {
    let seconds = format!("{:.2} s", step.seconds);
    for (index, line) in step.lines.iter().enumerate() {
        let (name, seconds) = if index == 0 {
            (step.step, &*seconds)
        } else {
            ("", "")
        };
        out.line(format_args!("{name:<11} {seconds:>7}  {line}"))?;
    }
    Ok(())
}

/// Where the store and its copy are.
struct Stage {
    dir: PathBuf,
    /// Goes with the demo.
    temporary: PathBuf,
}

impl Stage {
    fn new(keep: Option<&Path>) -> Result<Self, Failure> {
        let failed = |path: &Path, error: &std::io::Error| {
            Failure::failed(format!("cannot make the directory {}", path.display()))
                .because(error)
                .next("name another with --keep, or set TMPDIR")
        };
        if let Some(dir) = keep {
            std::fs::create_dir_all(dir).map_err(|error| failed(dir, &error))?;
            let mut entries = std::fs::read_dir(dir).map_err(|error| failed(dir, &error))?;
            if entries.next().is_some() {
                return Err(Failure::failed(format!("{} is not empty", dir.display()))
                    .next("name a new directory with --keep"));
            }
        }
        let temporary = std::env::temp_dir().join(format!("ate-demo-{}", std::process::id()));
        // Fails if somebody else made it, so nothing foreign is used or removed.
        std::fs::create_dir(&temporary).map_err(|error| failed(&temporary, &error))?;
        Ok(Self {
            dir: keep.map_or_else(|| temporary.join("store"), Path::to_path_buf),
            temporary,
        })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A directory for temporary files is cleaned by others too: no reason to fail.
        let _ = std::fs::remove_dir_all(&self.temporary);
    }
}

/// Something that had to hold did not: the demo says so instead of going on.
fn broken(what: &str) -> Failure {
    Failure::new(Code::Damaged, format!("the demo failed: {what}"))
        .next("this is a defect: please report it with the version and the system")
}
