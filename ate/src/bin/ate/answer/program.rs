//! The program that answers: what it is given, what its output means, and when it has to end.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use ate::Json;
use tokio::sync::mpsc::error::TrySendError;

use super::process::{Process, Wrote};
use super::workers::{Job, Said};
use crate::ambient::Stopwatch;
use crate::args::Answer;
use crate::call::in_one_line;
use crate::failure::Failure;

/// How often it is looked whether a program must end.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// For what a program left running to say more, after it has ended itself.
const QUIET: Duration = Duration::from_millis(250);
/// An answer that is one document.
const DOCUMENT_BYTES_MAX: usize = 16 << 20;
/// One of many documents: a piece of an answer, less the length before it.
const LINE_BYTES_MAX: usize = (1 << 20) - 8;
/// Of what a program writes to standard error, the end is kept.
const ERROR_BYTES_MAX: usize = 8 << 10;

/// What is run, and how its output is read.
pub(super) struct Program {
    path: OsString,
    arguments: Vec<OsString>,
    service: String,
    chain: String,
    limit: Duration,
    is_by_line: bool,
}

impl Program {
    pub(super) fn new(args: &Answer) -> Result<Self, Failure> {
        let (path, arguments) = args
            .program
            .split_first()
            .ok_or_else(|| Failure::usage("no program").next("give it behind `--`"))?;
        if !is_there(path) {
            return Err(
                Failure::usage(format!("there is no program `{}`", path.display())).next(
                    "give one that is in PATH, or its path; a shell's line is `-- sh -c 'LINE'`",
                ),
            );
        }
        Ok(Self {
            path: path.clone(),
            arguments: arguments.to_vec(),
            service: args.service.clone(),
            chain: args.chain.clone(),
            limit: args.limit,
            is_by_line: args.lines,
        })
    }

    /// Runs it for a call. What it gives is the last document, if there is one, or the words of the error.
    pub(super) fn answer(&self, job: &Job) -> Result<Option<Json>, String> {
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .env("ATE_CALLER", &job.caller)
            .env("ATE_SERVICE", &self.service)
            .env("ATE_CHAIN", &self.chain)
            // It unseals the identity, and is nobody else's business.
            .env_remove("ATE_PASSPHRASE");
        let input = format!("{}\n", job.request).into_bytes();
        let process = Process::start(command, input).map_err(|error| {
            tracing::error!(%error, "the program cannot be started");
            "the program of this service cannot be started".to_owned()
        })?;
        let run = Run {
            program: self,
            job,
            begun: Stopwatch::start(),
            out: Vec::new(),
            errors: Vec::new(),
        };
        run.finish(process)
    }
}

/// One program that runs.
struct Run<'a> {
    program: &'a Program,
    job: &'a Job,
    begun: Stopwatch,
    /// What it wrote and nobody has yet.
    out: Vec<u8>,
    errors: Vec<u8>,
}

impl Run<'_> {
    fn finish(mut self, mut process: Process) -> Result<Option<Json>, String> {
        let mut quiet = None;
        loop {
            self.check()?;
            match process.wrote.recv_timeout(LOOK_EVERY) {
                Ok(wrote) => {
                    self.take(wrote)?;
                    quiet = None;
                }
                // Something that it started may hold its output open.
                Err(RecvTimeoutError::Timeout) if process.has_ended() => {
                    let since = quiet.get_or_insert_with(Stopwatch::start);
                    if since.elapsed() >= QUIET {
                        break;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let mut pause = Duration::from_micros(100);
        while !process.has_ended() {
            self.check()?;
            std::thread::sleep(pause);
            pause = (pause * 2).min(LOOK_EVERY);
        }
        let status = process.end().map_err(|error| error.to_string())?;
        self.ended(status)
    }

    /// Whether it may go on.
    fn check(&self) -> Result<(), String> {
        if self.job.said.is_closed() {
            return Err("nobody waits any more".to_owned());
        }
        if self.begun.elapsed() >= self.program.limit {
            return Err(format!(
                "the program was ended: it may take {} s",
                self.program.limit.as_secs_f64()
            ));
        }
        Ok(())
    }

    fn take(&mut self, wrote: Wrote) -> Result<(), String> {
        match wrote {
            Wrote::Err(bytes) => {
                self.errors.extend_from_slice(&bytes);
                let surplus = self.errors.len().saturating_sub(ERROR_BYTES_MAX);
                self.errors.drain(..surplus);
                Ok(())
            }
            Wrote::Out(bytes) if self.program.is_by_line => self.take_lines(&bytes),
            Wrote::Out(bytes) => {
                self.out.extend_from_slice(&bytes);
                fits(&self.out, DOCUMENT_BYTES_MAX)
            }
        }
    }

    fn take_lines(&mut self, bytes: &[u8]) -> Result<(), String> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.out.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.out);
            fits(&line, LINE_BYTES_MAX)?;
            if let Some(document) = document(&line)? {
                self.send(document)?;
            }
        }
        self.out.extend_from_slice(rest);
        fits(&self.out, LINE_BYTES_MAX)
    }

    /// Waits for a slow caller no longer than the program may run.
    fn send(&self, document: Json) -> Result<(), String> {
        let mut said = Said::Document(document);
        loop {
            said = match self.job.said.try_send(said) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(said) | TrySendError::Closed(said)) => said,
            };
            self.check()?;
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn ended(&self, status: ExitStatus) -> Result<Option<Json>, String> {
        if status.success() {
            return document(&self.out);
        }
        let errors = String::from_utf8_lossy(&self.errors);
        let mut lines = errors.lines().rev().map(in_one_line);
        let last = lines.find(|line| !line.is_empty());
        Err(last.unwrap_or_else(|| format!("the program ended with {status}")))
    }
}

fn fits(bytes: &[u8], max: usize) -> Result<(), String> {
    if bytes.len() <= max {
        return Ok(());
    }
    Err(format!(
        "the program was ended: its answer is too large, {max} bytes are allowed"
    ))
}

/// A document with any white space around it, or none if there is nothing.
fn document(bytes: &[u8]) -> Result<Option<Json>, String> {
    let bytes = bytes.trim_ascii();
    if bytes.is_empty() {
        return Ok(None);
    }
    let document = Json::from_bytes(bytes);
    document
        .map(Some)
        .map_err(|error| format!("the program's answer is not acceptable JSON: {error}"))
}

/// Whether a program can be found, as far as that can be told before it is run.
fn is_there(program: &OsString) -> bool {
    let path = Path::new(program);
    if path.components().count() > 1 || path.is_absolute() {
        return path.is_file() || cfg!(windows);
    }
    let dirs = std::env::var_os("PATH").unwrap_or_default();
    // There names have endings of many kinds.
    cfg!(windows) || std::env::split_paths(&dirs).any(|dir| dir.join(path).is_file())
}
