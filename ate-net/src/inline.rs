//! Tasks that are run by the thread that wakes them.
//!
//! A message passes several tasks: the one that reads the socket, the one of its connection, the one that waits for the message, and the same back. A runtime that
//! hands each of them to a thread of its own wakes a thread for each, which costs far more than the work. Here what is woken while [`within`] runs is run by the same
//! thread as soon as that has returned, so a message goes all the way through on one thread. More than [`QUEUE_MAX`] at a time, or [`RUNS_MAX`] in a row, go to the
//! runtime as any task: where much is to be done, other cores shall have a part.
//!
//! Only tasks that never block and that are short may be such: whoever waits behind them waits for a socket.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;
use tokio::runtime::Handle;

/// Woken tasks that wait for this thread.
const QUEUE_MAX: usize = 2;
/// Tasks that are run in a row.
const RUNS_MAX: usize = 32;

/// Nothing to do until it is woken.
const IDLE: u8 = 0;
/// Woken, and somebody will run it.
const WOKEN: u8 = 1;
/// Run by somebody.
const RUNNING: u8 = 2;
/// Run by somebody, and woken meanwhile.
const AGAIN: u8 = 3;
/// At its end.
const DONE: u8 = 4;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task that the thread which wakes it may run.
struct Inline {
    state: AtomicU8,
    /// Locked by whoever made the state [`RUNNING`], and at the end.
    work: Mutex<Option<Work>>,
    /// The task of the runtime that runs it otherwise.
    outer: Mutex<Option<Waker>>,
    /// The runtime whose timers, sockets and tasks are its own, whichever thread runs it.
    home: Handle,
}

/// What waits for this thread, and how much it has run.
#[derive(Default)]
struct Turn {
    woken: VecDeque<Arc<Inline>>,
    runs: usize,
}

thread_local! {
    static TURN: RefCell<Option<Turn>> = const { RefCell::new(None) };
}

/// Starts a task. Must be called within a tokio runtime, with which it ends.
pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task(Box::pin(work)));
}

/// The task of the runtime, which runs `work` when nobody else does.
fn task(work: Work) -> impl Future<Output = ()> + Send {
    let guard = Guard(Arc::new(Inline {
        state: AtomicU8::new(WOKEN),
        work: Mutex::new(Some(work)),
        outer: Mutex::default(),
        home: Handle::current(),
    }));
    std::future::poll_fn(move |context| {
        let Guard(inline) = &guard;
        inline.belongs_to(context.waker());
        within(|| Inline::run(inline));
        match inline.state.load(Ordering::Acquire) {
            DONE => Poll::Ready(()),
            _ => Poll::Pending,
        }
    })
}

/// Runs `first`, then what it has woken. Not to be called with a lock held that those tasks take.
pub(crate) fn within<T>(first: impl FnOnce() -> T) -> T {
    let is_outermost = TURN.with_borrow_mut(|turn| {
        let is_outermost = turn.is_none();
        turn.get_or_insert_default();
        is_outermost
    });
    // What others have begun they also finish, also when `first` panics.
    let _ending = is_outermost.then_some(Ending);
    let value = first();
    if is_outermost {
        while let Some(next) = next() {
            Inline::run(&next);
        }
    }
    value
}

/// Whether there is one message at a time, which the thread that brings it may as well send itself, all the way to the socket. Where there are many, they are gathered
/// by a task into few datagrams.
#[derive(Default)]
pub(crate) struct Pace(AtomicU32);

/// Messages alone in a row from which on there is one at a time: the first of many is alone too.
const ALONE_MIN: u32 = 3;

impl Pace {
    /// One more message, which is on its way together with others: `together` in all.
    pub(crate) fn count(&self, together: usize) {
        let before = self.0.load(Ordering::Relaxed);
        let alone = if together == 1 {
            before.saturating_add(1)
        } else {
            0
        };
        // What another thread counted meanwhile is lost, which costs a datagram.
        self.0.store(alone, Ordering::Relaxed);
    }

    /// Brings a message to the task that sends it.
    pub(crate) fn send<T>(&self, bring: impl FnOnce() -> T) -> T {
        if self.is_alone() {
            within(bring)
        } else {
            bring()
        }
    }

    /// Lets others bring their messages, where there are many: for the task that sends, when it has the first of them.
    pub(crate) async fn gather(&self) {
        if !self.is_alone() {
            tokio::task::yield_now().await;
        }
    }

    fn is_alone(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= ALONE_MIN
    }
}

/// The next task that this thread is to run.
fn next() -> Option<Arc<Inline>> {
    TURN.with_borrow_mut(|turn| {
        let turn = turn.as_mut()?;
        if turn.runs >= RUNS_MAX {
            return None;
        }
        turn.runs += 1;
        turn.woken.pop_front()
    })
}

/// Ends a turn: what is left goes to the runtime.
struct Ending;

impl Drop for Ending {
    fn drop(&mut self) {
        let turn = TURN.with_borrow_mut(Option::take);
        for left in turn.into_iter().flat_map(|turn| turn.woken) {
            left.hand_over();
        }
    }
}

impl Inline {
    fn belongs_to(&self, waker: &Waker) {
        let mut outer = self.outer.lock();
        if !outer.as_ref().is_some_and(|it| it.will_wake(waker)) {
            *outer = Some(waker.clone());
        }
    }

    fn change(&self, from: u8, to: u8) -> bool {
        self.state
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Polls it once, if it was woken and nobody else does.
    fn run(self: &Arc<Self>) {
        if !self.change(WOKEN, RUNNING) {
            return;
        }
        let is_done = {
            let _at_home = self.home.enter();
            let mut work = self.work.lock();
            let waker = Waker::from(self.clone());
            let is_done = work.as_mut().is_none_or(|work| {
                let mut context = Context::from_waker(&waker);
                let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(&mut context)));
                // One that panicked has ended, and nobody else with it.
                polled.map_or(true, |polled| polled.is_ready())
            });
            if is_done {
                self.state.store(DONE, Ordering::Release);
                drop(work.take());
            }
            is_done
        };
        if is_done {
            self.hand_over();
        } else if !self.change(RUNNING, IDLE) && self.change(AGAIN, WOKEN) {
            self.is_to_run();
        }
    }

    /// Has it run by this thread if that is in a turn and has room, else by the runtime.
    fn is_to_run(self: &Arc<Self>) {
        let take = |turn: &RefCell<Option<Turn>>| {
            let mut turn = turn.borrow_mut();
            let room = turn
                .as_mut()
                .filter(|turn| turn.woken.len() < QUEUE_MAX && turn.runs < RUNS_MAX);
            room.map(|turn| turn.woken.push_back(self.clone()))
                .is_some()
        };
        // A thread at its end has no turn any more.
        let is_taken = TURN.try_with(take).unwrap_or(false);
        if !is_taken {
            self.hand_over();
        }
    }

    /// Wakes the task of the runtime.
    fn hand_over(&self) {
        let outer = self.outer.lock().clone();
        if let Some(outer) = outer {
            outer.wake();
        }
    }
}

impl Wake for Inline {
    fn wake(self: Arc<Self>) {
        loop {
            let (from, to) = match self.state.load(Ordering::Acquire) {
                IDLE => (IDLE, WOKEN),
                RUNNING => (RUNNING, AGAIN),
                _ => return,
            };
            if self.change(from, to) {
                if to == WOKEN {
                    self.is_to_run();
                }
                return;
            }
        }
    }
}

/// Ends the work with the task of the runtime.
struct Guard(Arc<Inline>);

impl Drop for Guard {
    fn drop(&mut self) {
        // Whoever runs it finishes first.
        let work = self.0.work.lock().take();
        self.0.state.store(DONE, Ordering::Release);
        drop(work);
    }
}

#[cfg(test)]
mod tests;
