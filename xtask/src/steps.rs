//! Steps with their seconds, a loud line for what was skipped, and one plain last line.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};

/// How a step ended when it did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything that the step stands for was checked.
    Passed,
    /// Nothing was checked, for this reason; the last lines repeat it, so that it is not taken for a pass.
    Skipped(String),
}

/// The steps of one run, in order.
pub(crate) struct Steps {
    started: Instant,
    done: Vec<(String, f64, Outcome)>,
}

impl Steps {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            done: Vec::new(),
        }
    }

    /// Runs one step and prints how long it took. Cost: that of `work`.
    ///
    /// # Errors
    /// The error of `work`, with the step and its seconds as context.
    pub(crate) fn run(&mut self, name: &str, work: impl FnOnce() -> Result<Outcome>) -> Result<()> {
        println!("==> {name}");
        let begun = Instant::now();
        let ended = work();
        let seconds = begun.elapsed().as_secs_f64();
        let outcome = ended.with_context(|| format!("step {name} failed after {seconds:.1} s"))?;
        match &outcome {
            Outcome::Passed => println!("    {name}: passed in {seconds:.1} s"),
            Outcome::Skipped(reason) => println!("    {name}: SKIPPED, NOT CHECKED: {reason}"),
        }
        self.done.push((name.to_owned(), seconds, outcome));
        Ok(())
    }

    /// Prints one line per step, and once more every skipped one.
    pub(crate) fn print_summary(&self) {
        println!("\n{}", self.summary());
    }

    fn summary(&self) -> String {
        let mut lines = Vec::new();
        for (name, seconds, outcome) in &self.done {
            lines.push(match outcome {
                Outcome::Passed => format!("{name:<10} {seconds:>8.1} s"),
                Outcome::Skipped(reason) => format!("{name:<10}  skipped: {reason}"),
            });
        }
        lines.join("\n")
    }

    /// Prints the one last line of the program and turns `ended` into its exit code.
    pub(crate) fn close(self, name: &str, ended: Result<()>) -> ExitCode {
        let seconds = self.started.elapsed().as_secs_f64();
        match ended {
            Ok(()) => {
                println!("xtask {name}: done in {seconds:.1} s");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("xtask {name}: FAILED: {error:#}");
                ExitCode::FAILURE
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_names_the_step_and_skips_are_repeated() {
        let mut steps = Steps::new();
        steps
            .run("one", || Ok(Outcome::Skipped("no tool".to_owned())))
            .expect("a skip is no failure");
        let error = steps
            .run("two", || anyhow::bail!("broken"))
            .expect_err("must fail");
        assert!(format!("{error:#}").starts_with("step two failed after "));
        assert!(format!("{error:#}").ends_with(": broken"));
        assert_eq!(steps.summary(), "one         skipped: no tool");
    }
}
