//! A process that ends with whoever holds it, and all that it started with it.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use parking_lot::Mutex;

/// Bytes read at a time.
const READ_BYTES: usize = 64 << 10;
/// Reads that wait for whoever takes them.
const READS_AHEAD: usize = 4;

/// The processes that run now, for who must end them all at once.
static RUNNING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// What a process wrote.
pub(super) enum Wrote {
    Out(Vec<u8>),
    Err(Vec<u8>),
}

/// A process in a group of its own. Dropped, the whole group is killed.
pub(super) struct Process {
    child: Option<Child>,
    /// Disconnected when both streams have ended.
    pub(super) wrote: Receiver<Wrote>,
}

impl Process {
    /// Starts it and hands it its input.
    pub(super) fn start(mut command: Command, input: Vec<u8>) -> std::io::Result<Self> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // A Ctrl-C at a terminal is not for it, and what it starts can be ended with it.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let (writes, wrote) = sync_channel(READS_AHEAD);
        let child = {
            let mut running = RUNNING.lock();
            let child = command.spawn()?;
            running.push(child.id());
            child
        };
        let mut process = Self {
            child: Some(child),
            wrote,
        };
        let child = process.child.as_mut().expect("it was just started");
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        if let Some(mut stdin) = stdin {
            // It need not read all of it.
            let feed = move || drop(std::io::Write::write_all(&mut stdin, &input));
            std::thread::Builder::new().spawn(feed)?;
        }
        if let Some(stdout) = stdout {
            let writes = writes.clone();
            std::thread::Builder::new().spawn(move || read(stdout, &writes, Wrote::Out))?;
        }
        if let Some(stderr) = stderr {
            std::thread::Builder::new().spawn(move || read(stderr, &writes, Wrote::Err))?;
        }
        Ok(process)
    }

    /// Whether it has ended; it is not forgotten yet.
    #[cfg(unix)]
    pub(super) fn has_ended(&mut self) -> bool {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let Some(pid) = self.child.as_ref().and_then(|child| pid(child.id())) else {
            return true;
        };
        // Left to be waited for, so that nobody else gets its number before its group is killed.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(pid), options), Ok(None))
    }

    #[cfg(not(unix))]
    pub(super) fn has_ended(&mut self) -> bool {
        let ended = self.child.as_mut().map(Child::try_wait);
        !matches!(ended, Some(Ok(None)))
    }

    /// Ends what is left of it.
    pub(super) fn end(&mut self) -> std::io::Result<ExitStatus> {
        let Some(mut child) = self.child.take() else {
            return Err(std::io::Error::other("it was ended before"));
        };
        let mut running = RUNNING.lock();
        end_group(child.id());
        running.retain(|running| *running != child.id());
        drop(running);
        // Fails if it has ended.
        let _ = child.kill();
        child.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.is_some() {
            drop(self.end());
        }
    }
}

/// Kills all that run, for a process that is about to end.
pub(super) fn end_all() {
    for running in &*RUNNING.lock() {
        end_group(*running);
    }
}

#[cfg(unix)]
fn pid(id: u32) -> Option<rustix::process::Pid> {
    i32::try_from(id)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
}

#[cfg(unix)]
fn end_group(id: u32) {
    if let Some(group) = pid(id) {
        // Fails if nothing is left of it.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

#[cfg(not(unix))]
const fn end_group(_: u32) {}

/// Hands on what a stream brings, until it ends or nobody takes it.
fn read(mut stream: impl Read, writes: &SyncSender<Wrote>, wrote: fn(Vec<u8>) -> Wrote) {
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if writes.send(wrote(buffer[..length].to_vec())).is_err() {
            return;
        }
    }
}
