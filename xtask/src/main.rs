//! `cargo xtask`: the commands that check, measure and reproduce this repository.
//!
//! One table, [`COMMANDS`], names every command; `ci` runs the ones in [`GATE`] in order and stops at the first failure.
//! Only `fix` rewrites files of the repository. Few dependencies on purpose: this program is built before any check can run.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program: its output is its purpose"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "every step is printed with the seconds it took"
)]

mod bench;
mod crash;
mod examples;
mod flood;
mod fresh;
mod gate;
mod layers;
mod manifest;
mod netns;
mod planted;
mod process;
mod scratch;
mod sim;
mod source;
mod steps;
mod tidy;

use std::process::ExitCode;

use anyhow::Result;

use crate::steps::{Outcome, Steps};

/// One command of this program.
struct Command {
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    run: Run,
}

/// How a command is called; one that takes no arguments refuses any.
enum Run {
    /// One step.
    Plain(fn() -> Result<Outcome>),
    /// One step with arguments.
    With(fn(&[String]) -> Result<Outcome>),
    /// Steps of its own, hence no step of the gate.
    Several(fn(&mut Steps, &[String]) -> Result<()>),
}

/// Every command, in the order of `--help`.
const COMMANDS: &[Command] = &[
    Command {
        name: "ci",
        arguments: "",
        help: "the whole gate, read-only: every check below in order, stopping at the first failure",
        run: Run::Several(ci),
    },
    Command {
        name: "fix",
        arguments: "",
        help: "the only command that rewrites files: format, then apply what clippy can fix",
        run: Run::Plain(gate::fix),
    },
    Command {
        name: "fmt",
        arguments: "",
        help: "check that rustfmt would change nothing",
        run: Run::Plain(gate::fmt),
    },
    Command {
        name: "tidy",
        arguments: "",
        help: "check lengths, heads, links, leftovers and the commands named in documents",
        run: Run::Plain(tidy::command),
    },
    Command {
        name: "layers",
        arguments: "",
        help: "check the dependencies between the crates against the one table of allowed edges",
        run: Run::Plain(layers::command),
    },
    Command {
        name: "clippy",
        arguments: "",
        help: "lint everything with all features, and `ate` with no and with default features",
        run: Run::Plain(gate::clippy),
    },
    Command {
        name: "test",
        arguments: "",
        help: "all tests of all crates with all features, doc tests included",
        run: Run::Plain(gate::test),
    },
    Command {
        name: "doc",
        arguments: "",
        help: "build the documentation with warnings denied",
        run: Run::Plain(gate::doc),
    },
    Command {
        name: "examples",
        arguments: "",
        help: "run every example of `ate` twice in a fresh directory, with a time limit",
        run: Run::Plain(examples::command),
    },
    Command {
        name: "crash",
        arguments: "[--cycles N] [--seed S]",
        help: "kill imports at moments chosen by a seed and compare what is left with what was acknowledged",
        run: Run::With(crash::command),
    },
    Command {
        name: "netns",
        arguments: "[--rounds N] [--seed S]",
        help: "a node and clients in two network namespaces, with a link that is cut and loses packets (needs root)",
        run: Run::With(netns::command),
    },
    Command {
        name: "sim",
        arguments: "[--net] [--seed S] [--seeds N | --minutes M | --enumerate [--variants V]]",
        help: "run seeds of the simulator: a store over a disk that lies, or (--net) a network; 0 minutes are one seed",
        run: Run::With(sim::command),
    },
    Command {
        name: "flood",
        arguments: "[--seconds N] [--rounds N] [--pace PACKETS]",
        help: "flood a node with strangers and garbage while a good client works, and compare with calm",
        run: Run::With(flood::command),
    },
    Command {
        name: "planted",
        arguments: "[NAMES...]",
        help: "switch on each planted bug in turn, or those named by themselves or by the test that finds them, and demand that the tests find it",
        run: Run::With(planted::command),
    },
    Command {
        name: "vectors",
        arguments: "",
        help: "recompute the test vectors without any Rust code (needs python3)",
        run: Run::Plain(gate::vectors),
    },
    Command {
        name: "deny",
        arguments: "",
        help: "check licences, sources and bans of dependencies (needs cargo-deny)",
        run: Run::Plain(gate::deny),
    },
    Command {
        name: "fresh",
        arguments: "[--keep]",
        help: "clone HEAD into a temporary directory, then run the demo and the gate there, cold",
        run: Run::Several(fresh::command),
    },
    Command {
        name: "bench",
        arguments: "[ROWS...]",
        help: "print the rows of the benchmark table, then those of the peers where they build",
        run: Run::With(bench::command),
    },
];

/// What `ci` runs, with arguments: cheap checks first, so that a slip is told in seconds.
const GATE: &[(&str, &[&str])] = &[
    ("fmt", &[]),
    ("tidy", &[]),
    ("layers", &[]),
    ("clippy", &[]),
    ("test", &[]),
    ("doc", &[]),
    ("examples", &[]),
    ("crash", &["--cycles", "10"]),
    ("netns", &["--rounds", "6"]),
    ("sim", &["--seed", "1", "--seeds", "150"]),
    ("sim", &["--net", "--seed", "1", "--seeds", "150"]),
    (
        "flood",
        &["--seconds", "3", "--rounds", "1", "--ratio-max", "inf"],
    ),
    ("planted", &[]),
    ("deny", &[]),
    ("vectors", &[]),
];

fn main() -> ExitCode {
    if let Some(code) = planted::as_compiler() {
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        print!("{}", help());
        return ExitCode::from(2);
    };
    if matches!(name.as_str(), "--help" | "-h" | "help") {
        print!("{}", help());
        return ExitCode::SUCCESS;
    }
    let Some(command) = find(name) else {
        eprint!("{}", help());
        eprintln!("\nxtask: there is no command `{name}`");
        return ExitCode::from(2);
    };
    let takes_none = command.arguments.is_empty();
    if let Some(extra) = rest.first().filter(|_| takes_none) {
        eprintln!("xtask {name}: takes no arguments, got `{extra}`");
        return ExitCode::from(2);
    }
    let mut steps = Steps::new();
    let ended = call(command, &mut steps, rest);
    steps.close(name, ended)
}

fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

fn call(command: &Command, steps: &mut Steps, arguments: &[String]) -> Result<()> {
    match command.run {
        Run::Plain(run) => steps.run(command.name, run),
        Run::With(run) => steps.run(command.name, || run(arguments)),
        Run::Several(run) => run(steps, arguments),
    }
}

fn ci(steps: &mut Steps, _: &[String]) -> Result<()> {
    for (name, arguments) in GATE {
        let command = find(name).expect("GATE names commands only, see the test below");
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        call(command, steps, &arguments)?;
    }
    steps.print_summary();
    Ok(())
}

fn help() -> String {
    let mut text = String::from(
        "cargo xtask COMMAND: check, measure and reproduce this repository\n\n\
         `cargo xtask ci` is the one gate of a change. Each of its steps can be run alone.\n\n",
    );
    for command in COMMANDS {
        let usage = format!("{} {}", command.name, command.arguments);
        text.push_str(&format!("  {:<18} {}\n", usage.trim_end(), command.help));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gate_names_commands_only() {
        for (name, arguments) in GATE {
            let command = find(name).unwrap_or_else(|| panic!("{name} is no command"));
            assert!(
                !matches!(command.run, Run::Several(_)),
                "{name} is no single step"
            );
            assert_ne!(*name, "fix", "the gate rewrites nothing");
            assert!(
                arguments.is_empty() || !command.arguments.is_empty(),
                "{name} takes none"
            );
        }
    }

    #[test]
    fn help_names_every_command_on_one_line() {
        let text = help();
        for command in COMMANDS {
            let start = format!("  {} ", command.name);
            assert_eq!(
                text.lines().filter(|line| line.starts_with(&start)).count(),
                1,
                "{}",
                command.name
            );
        }
    }
}
