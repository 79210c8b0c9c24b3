//! Where the answer to a submitted commit arrives, for a thread that waits or a task that was polled.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread::Thread;

use parking_lot::Mutex;

use crate::committer::{Committed, Committer};
use crate::error::SubmitError;
use crate::pending::Source;

type Outcome = Result<Committed, SubmitError>;

#[derive(Default)]
struct Waiting {
    outcome: Option<Outcome>,
    answered: bool,
    /// The thread that waits.
    thread: Option<Thread>,
    /// That thread is to take the writer role.
    promoted: bool,
    waker: Option<Waker>,
    /// Nobody waits, or a task does: the store's thread has to write it.
    polled: bool,
}

/// The answer to one submission.
#[derive(Default)]
pub(crate) struct Slot {
    waiting: Mutex<Waiting>,
}

impl Slot {
    pub(crate) fn take(&self) -> Option<Outcome> {
        self.waiting.lock().outcome.take()
    }

    /// The outcome, or a wake-up when it is there.
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<Outcome> {
        let mut waiting = self.waiting.lock();
        if let Some(outcome) = waiting.outcome.take() {
            return Poll::Ready(outcome);
        }
        waiting.waker = Some(context.waker().clone());
        Poll::Pending
    }

    pub(crate) fn is_done(&self) -> bool {
        self.waiting.lock().answered
    }

    pub(crate) fn is_polled(&self) -> bool {
        self.waiting.lock().polled
    }

    /// Consumes a promotion.
    pub(crate) fn is_promoted(&self) -> bool {
        std::mem::take(&mut self.waiting.lock().promoted)
    }

    /// Announces that the calling thread is about to park.
    pub(crate) fn park_next(&self) {
        self.waiting.lock().thread = Some(std::thread::current());
    }

    /// Parks until answered or promoted. May return early.
    pub(crate) fn park(&self) {
        let waiting = self.waiting.lock();
        if waiting.answered || waiting.promoted {
            return;
        }
        drop(waiting);
        std::thread::park();
    }

    /// Gives the writer role to the thread that waits here; `false` if none does.
    pub(crate) fn promote(&self) -> bool {
        let mut waiting = self.waiting.lock();
        let Some(thread) = waiting.thread.take() else {
            return false;
        };
        waiting.promoted = true;
        thread.unpark();
        true
    }

    pub(crate) fn answer(&self, outcome: Outcome) {
        let mut waiting = self.waiting.lock();
        waiting.outcome = Some(outcome);
        waiting.answered = true;
        let (thread, waker) = (waiting.thread.take(), waiting.waker.take());
        drop(waiting);
        if let Some(thread) = thread {
            thread.unpark();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The [`Source`] behind a submitted commit.
pub(crate) struct Answer {
    committer: Arc<Committer>,
    slot: Arc<Slot>,
    /// Somebody takes care that the commit is written.
    cared_for: bool,
}

impl Answer {
    pub(crate) fn new(committer: Arc<Committer>, slot: Arc<Slot>) -> Self {
        Self {
            committer,
            slot,
            cared_for: false,
        }
    }
}

impl Source<Outcome> for Answer {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Outcome> {
        {
            let mut waiting = self.slot.waiting.lock();
            if let Some(outcome) = waiting.outcome.take() {
                self.cared_for = true;
                return Poll::Ready(outcome);
            }
            waiting.waker = Some(context.waker().clone());
            waiting.polled = true;
        }
        if !self.cared_for {
            self.cared_for = true;
            self.committer.call();
            // Without a thread of the store the call has written it.
            if let Some(outcome) = self.slot.take() {
                return Poll::Ready(outcome);
            }
        }
        Poll::Pending
    }

    fn wait(mut self: Box<Self>) -> Outcome {
        self.cared_for = true;
        self.committer.wait(&self.slot)
    }
}

impl Drop for Answer {
    /// A commit that was handed over is written even if nobody asks for its outcome.
    fn drop(&mut self) {
        if !self.cared_for && !self.slot.is_done() {
            self.slot.waiting.lock().polled = true;
            self.committer.call();
        }
    }
}
