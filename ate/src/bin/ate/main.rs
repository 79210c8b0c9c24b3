//! The executable `ate`: one command after another on one store.
//!
//! Standard output carries data only; messages, progress and errors go to standard error. See `args` for the commands and
//! `failure` for the exit codes.

mod ambient;
mod answer;
mod args;
mod backup;
mod call;
mod damage;
mod demo;
mod documents;
mod export;
mod failure;
mod identity;
mod import;
mod info;
mod interrupt;
mod lines;
mod log;
mod logging;
mod nodes;
mod output;
mod passphrase;
mod progress;
mod remote;
mod repair;
mod replicate;
mod salvage;
mod serve;
mod status;
mod store;
mod upkeep;
mod verify;
mod waiting;
mod watch;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use tracing_subscriber::filter::LevelFilter;

use args::{Cli, Command};
use failure::{Code, Failure};
use output::{Output, say};
use store::Place;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output; that nobody reads them is no error.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() {
                Code::Usage.number()
            } else {
                0
            });
        }
    };
    let json = cli.global.json;
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if failure.code() != Code::Quiet {
                say(if json { failure.json() } else { failure.text() });
            }
            failure.exit()
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let level = match cli.command {
        Some(Command::Serve(_) | Command::Answer(_)) => LevelFilter::INFO,
        _ => LevelFilter::WARN,
    };
    logging::start(&cli.global.log, level)?;
    let mut out = Output::new(cli.global.json);
    let place = Place::new(&cli.global);
    let result = match cli.command {
        None => info::next_step(&place, &mut out),
        Some(Command::Demo(args)) => demo::run(&args, &mut out),
        Some(Command::Put(args)) => documents::put(&place, &args, &mut out),
        Some(Command::Get(args)) => documents::get(&place, &args, &mut out),
        Some(Command::Ls(args)) => documents::ls(&place, &args, &mut out),
        Some(Command::Rm(args)) => documents::rm(&place, &args, &mut out),
        Some(Command::Erase(args)) => documents::erase(&place, &args, &mut out),
        Some(Command::History(args)) => documents::history(&place, &args, &mut out),
        Some(Command::Import(args)) => import::run(&place, &args, &mut out),
        Some(Command::Export(args)) => export::run(&place, &args, &mut out),
        Some(Command::Log(args)) => log::run(&place, &args, &mut out),
        Some(Command::Watch(args)) => watch::run(&place, &args, &mut out),
        Some(Command::Verify(args)) => verify::run(&place, &args, &mut out),
        Some(Command::Compact(args)) => upkeep::compact(&place, &args, &mut out),
        Some(Command::Scrub(args)) => upkeep::scrub(&place, &args, &mut out),
        Some(Command::Backup(args)) => backup::run(&place, &args, &mut out),
        Some(Command::Repair(args)) => repair::run(&place, &args, &mut out),
        Some(Command::Restore(args)) => backup::restore(&place, &args, &mut out),
        Some(Command::Identity(args)) => identity::run(&place, args.command, &mut out),
        Some(Command::Nodes(args)) => nodes::run(&place, args.command, &mut out),
        Some(Command::Serve(args)) => serve::run(&place, &args, &mut out),
        Some(Command::Replicate(args)) => replicate::run(&place, &args, &mut out),
        Some(Command::Call(args)) => call::run(&place, &args, &mut out),
        Some(Command::Answer(args)) => answer::run(&place, &args, &mut out),
        Some(Command::Status(args)) => status::run(&place, &args, &mut out),
        Some(Command::Info) => info::run(&place, &mut out),
        Some(Command::Completions(args)) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "ate", &mut script);
            out.bytes(&script)
        }
    };
    // What was printed before a failure stays printed.
    let flushed = out.flush();
    place.ended(result.and(flushed))
}
