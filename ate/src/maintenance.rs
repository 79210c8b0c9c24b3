//! What a store does by itself, on a thread of its own: jobs that nobody waits for and that may be put off.
//!
//! The thread starts with the first job and ends with the store, without delay: it looks up between the pieces of a job ([`Pacing::did`]), and closing
//! waits for the piece at hand. A job is queued once, however often it is called for.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use ate_chain::Spawn;
use parking_lot::{Condvar, Mutex};

use crate::ambient::since_start;

/// Work of a store's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Job {
    /// Lets idle chains go that are over the budget.
    EvictIdle,
    /// Keeps the list of chains.
    KeepDirectory,
    /// Seals segments that are full.
    Seal,
    /// Finishes erasures.
    Erase,
    /// Gives back what stands below horizons.
    Compact,
    /// Reads and checks everything.
    Scrub,
}

/// When a job is to be done next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// When it is called for.
    WhenCalled,
    /// After this time, or when it is called for.
    After(Duration),
}

/// Who can do the jobs.
pub(crate) trait Work: Send + Sync + 'static {
    /// Does what is due of a job. Between its pieces it tells `pacing`, and ends where that breaks.
    fn perform(&self, job: Job, pacing: &mut Pacing<'_>) -> Next;
}

/// The jobs of one store and the thread that does them.
pub(crate) struct Maintenance {
    desk: Arc<Desk>,
    /// `None`: there is no thread, and whoever needs a job done does it.
    spawn: Option<Box<dyn Spawn>>,
}

#[derive(Default)]
struct Desk {
    state: Mutex<State>,
    /// There is something to do, or to stop.
    call: Condvar,
    /// The thread has ended.
    ended: Condvar,
}

#[derive(Default)]
struct State {
    /// Each job once, with the moment from which it is due.
    queue: Vec<(Job, Duration)>,
    running: bool,
    stopping: bool,
}

impl Maintenance {
    pub(crate) fn new(spawn: Option<Box<dyn Spawn>>) -> Self {
        Self {
            desk: Arc::default(),
            spawn,
        }
    }

    /// Calls for a job, to be done soon; `false` if there is no thread to do it.
    pub(crate) fn call<W: Work>(&self, work: &Arc<W>, job: Job) -> bool {
        self.call_in(work, job, Duration::ZERO)
    }

    /// Calls for a job, to be done after some time; `false` if there is no thread to do it.
    pub(crate) fn call_in<W: Work>(&self, work: &Arc<W>, job: Job, time: Duration) -> bool {
        let Some(spawn) = &self.spawn else {
            return false;
        };
        let mut state = self.desk.state.lock();
        if state.stopping {
            return false;
        }
        state.queue_at(job, since_start() + time);
        self.desk.call.notify_one();
        if state.running {
            return true;
        }
        state.running = true;
        drop(state);
        // Made here, so that it also tells of a thread that the system refused: its closure is dropped then.
        let running = Running(self.desk.clone());
        let work = work.clone();
        spawn.spawn(Box::new(move || {
            running.0.serve(&*work);
            // The store may go as soon as the end is told.
            drop(work);
            drop(running);
        }));
        true
    }

    /// Ends the thread and waits for that: at most for the piece of work at hand. Nothing is done afterwards.
    pub(crate) fn stop(&self) {
        let mut state = self.desk.state.lock();
        state.stopping = true;
        self.desk.call.notify_all();
        while state.running {
            self.desk.ended.wait(&mut state);
        }
    }
}

/// Tells the end of the thread, also if it panics.
struct Running(Arc<Desk>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.state.lock().running = false;
        self.0.ended.notify_all();
    }
}

impl State {
    /// Queues a job for a moment, or for the earlier one that it is queued for.
    fn queue_at(&mut self, job: Job, at: Duration) {
        match self.queue.iter_mut().find(|(queued, _)| *queued == job) {
            Some((_, queued_at)) => *queued_at = at.min(*queued_at),
            None => self.queue.push((job, at)),
        }
    }
}

impl Desk {
    fn serve(&self, work: &impl Work) {
        while let Some(job) = self.next() {
            let next = work.perform(job, &mut Pacing::of(self));
            if let Next::After(time) = next {
                self.state.lock().queue_at(job, since_start() + time);
            }
        }
    }

    /// Waits for the next job that is due; `None` when the store closes.
    fn next(&self) -> Option<Job> {
        let mut state = self.state.lock();
        loop {
            if state.stopping {
                return None;
            }
            let now = since_start();
            if let Some(index) = state.queue.iter().position(|(_, at)| *at <= now) {
                return Some(state.queue.remove(index).0);
            }
            match state.queue.iter().map(|(_, at)| *at).min() {
                Some(at) => drop(self.call.wait_for(&mut state, at - now)),
                None => self.call.wait(&mut state),
            }
        }
    }

    /// Waits, and breaks at once when the store closes.
    fn pause(&self, time: Duration) -> ControlFlow<()> {
        let until = since_start() + time;
        let mut state = self.state.lock();
        loop {
            let left = until.saturating_sub(since_start());
            if state.stopping {
                return ControlFlow::Break(());
            }
            if left.is_zero() {
                return ControlFlow::Continue(());
            }
            // A call for another job wakes too: that waits.
            self.call.wait_for(&mut state, left);
        }
    }
}

/// How fast a job may go on, and whether at all.
pub(crate) struct Pacing<'a> {
    /// `None` on a caller's own thread: nothing is slowed down or broken off there.
    desk: Option<&'a Desk>,
    /// 0: as fast as it can.
    bytes_per_second: u64,
    began: Duration,
    bytes: u64,
}

impl<'a> Pacing<'a> {
    fn of(desk: &'a Desk) -> Self {
        Self {
            desk: Some(desk),
            ..Self::unlimited()
        }
    }

    /// For work on the thread of a caller who waits for it.
    pub(crate) fn unlimited() -> Self {
        Self {
            desk: None,
            bytes_per_second: 0,
            began: Duration::ZERO,
            bytes: 0,
        }
    }

    /// From here on at most so many bytes a second; 0 for no limit.
    pub(crate) fn limit(&mut self, bytes_per_second: u64) {
        self.bytes_per_second = bytes_per_second;
        (self.began, self.bytes) = (since_start(), 0);
    }

    /// To be told after each piece of a job. Sleeps as long as the job is ahead of its rate; breaks, also out of the sleep, when the store closes.
    pub(crate) fn did(&mut self, bytes: u64) -> ControlFlow<()> {
        let Some(desk) = self.desk else {
            return ControlFlow::Continue(());
        };
        self.bytes = self.bytes.saturating_add(bytes);
        let due = match self.bytes_per_second {
            0 => Duration::ZERO,
            rate => Duration::from_secs_f64(self.bytes as f64 / rate as f64),
        };
        let spent = since_start().saturating_sub(self.began);
        desk.pause(due.saturating_sub(spent))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::ambient::StoreThread;

    /// Works in pieces of 1 MB at 1 kB a second, so it ends by being broken off only.
    #[derive(Default)]
    struct Slow {
        begun: AtomicU32,
        broken: AtomicU32,
    }

    impl Work for Slow {
        fn perform(&self, job: Job, pacing: &mut Pacing<'_>) -> Next {
            self.begun.fetch_add(1, Ordering::SeqCst);
            if job == Job::EvictIdle {
                return Next::After(Duration::from_millis(1));
            }
            pacing.limit(1000);
            while pacing.did(1_000_000).is_continue() {}
            self.broken.fetch_add(1, Ordering::SeqCst);
            Next::WhenCalled
        }
    }

    /// Waits for `count` to be reached.
    fn wait_for(number: &AtomicU32, count: u32) {
        while number.load(Ordering::SeqCst) < count {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_job_that_sleeps_is_broken_off_when_the_store_closes() {
        let (maintenance, work) = (
            Maintenance::new(Some(Box::new(StoreThread))),
            Arc::new(Slow::default()),
        );
        assert!(maintenance.call(&work, Job::EvictIdle));
        wait_for(&work.begun, 3);
        assert!(maintenance.call(&work, Job::KeepDirectory));
        wait_for(&work.begun, 4);
        maintenance.stop();
        assert_eq!(
            Arc::strong_count(&work),
            1,
            "the thread let go of the store"
        );
        assert!(work.broken.load(Ordering::SeqCst) <= 1);
        assert!(!maintenance.call(&work, Job::EvictIdle));
        maintenance.stop();
    }

    /// Drops what it is given.
    struct NoThread;

    impl Spawn for NoThread {
        fn spawn(&self, work: Box<dyn FnOnce() + Send>) {
            drop(work);
        }
    }

    #[test]
    fn without_a_thread_nothing_waits_for_one() {
        let work = Arc::new(Slow::default());
        let maintenance = Maintenance::new(Some(Box::new(NoThread)));
        maintenance.call(&work, Job::KeepDirectory);
        maintenance.stop();
        let maintenance = Maintenance::new(None);
        assert!(!maintenance.call(&work, Job::KeepDirectory));
        maintenance.stop();
        assert_eq!(work.begun.load(Ordering::SeqCst), 0);
    }
}
