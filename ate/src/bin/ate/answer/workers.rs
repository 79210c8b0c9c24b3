//! So many threads, each of which runs one program at a time: that is the bound on programs, whatever callers do.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use ate::Json;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::program::Program;
use crate::ambient::Stopwatch;
use crate::failure::Failure;

/// A call that a program is to answer.
pub(super) struct Job {
    /// Who calls.
    pub(super) caller: String,
    pub(super) request: Json,
    /// Closed when nobody waits any more.
    pub(super) said: mpsc::Sender<Said>,
}

/// What a program says.
pub(super) enum Said {
    Document(Json),
    /// The last document, if there is one, or the error.
    End(Result<Option<Json>, String>),
}

pub(super) struct Workers {
    /// `None` when no more is taken.
    queue: Mutex<Option<SyncSender<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Workers {
    pub(super) fn start(program: Program, count: u16) -> Result<Self, Failure> {
        // Beside those that work: calls that were given up while their programs end.
        let (queue, jobs) = sync_channel(usize::from(count) * 2);
        let (program, jobs) = (Arc::new(program), Arc::new(Mutex::new(jobs)));
        let mut threads = Vec::new();
        for number in 0..count {
            let (program, jobs) = (program.clone(), jobs.clone());
            let thread = std::thread::Builder::new()
                .name(format!("ate-answer-{number}"))
                .spawn(move || work(&program, &jobs));
            threads.push(thread.map_err(|error| {
                Failure::failed("cannot start the threads that run programs")
                    .because(&error)
                    .next("allow fewer at once with --at-once")
            })?);
        }
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            threads: Mutex::new(threads),
        })
    }

    /// Hands a call over; an error if there is no room.
    pub(super) fn take(&self, job: Job) -> Result<(), String> {
        let queue = self.queue.lock();
        let taken = queue.as_ref().map(|queue| queue.try_send(job));
        match taken {
            Some(Ok(())) => Ok(()),
            _ => Err("this server has no room".to_owned()),
        }
    }

    /// Takes no more and waits until all programs have ended.
    pub(super) fn end(&self) {
        drop(self.queue.lock().take());
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            // One that panicked has told so, and runs nothing.
            drop(thread.join());
        }
    }
}

fn work(program: &Program, jobs: &Mutex<Receiver<Job>>) {
    loop {
        let Ok(job) = jobs.lock().recv() else {
            return;
        };
        if job.said.is_closed() {
            continue;
        }
        let begun = Stopwatch::start();
        let answered = program.answer(&job);
        let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let caller = &job.caller;
        if job.said.is_closed() {
            tracing::info!(caller, ms, "a call was given up");
        } else if let Err(error) = &answered {
            tracing::info!(caller, ms, error, "a call failed");
        } else {
            tracing::info!(caller, ms, "a call was answered");
        }
        // Fails only if nobody waits.
        let _ = job.said.blocking_send(Said::End(answered));
    }
}
