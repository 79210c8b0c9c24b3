//! Watching how far a chain is confirmed: with any runtime, or on a thread of one's own.
//!
//! A wake-up cannot be lost: whoever waits is entered under the lock under which the position is compared, and a position is told under the same lock. It
//! is told when the chain's own lock is free again, so that a waker may do as it likes.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::ids::Position;
use crate::local::Local;
use crate::pending::{Pending, Source};

/// Those who wait for a chain to move.
pub(crate) struct Watch {
    told: Mutex<Told>,
    moved: Condvar,
}

struct Told {
    /// Confirmed commits.
    confirmed: u64,
    /// Nothing will be confirmed any more.
    is_ended: bool,
    /// Threads that wait.
    sleepers: usize,
    tickets: u64,
    /// Tasks that wait, by what they wait for and a number of their own.
    tasks: BTreeMap<(u64, u64), Waker>,
}

impl Told {
    /// What somebody learns who waits for more than `past` commits; `None` if it is too early.
    fn answer(&self, past: u64) -> Option<Option<Position>> {
        if self.confirmed > past {
            Some(Some(Position(self.confirmed)))
        } else {
            self.is_ended.then_some(None)
        }
    }
}

impl Watch {
    fn tell(&self, confirmed: u64) {
        let mut told = self.told.lock();
        told.confirmed = told.confirmed.max(confirmed);
        if told.sleepers > 0 {
            self.moved.notify_all();
        }
        if told.tasks.is_empty() {
            return;
        }
        let later = told.tasks.split_off(&(confirmed, 0));
        let woken = std::mem::replace(&mut told.tasks, later);
        drop(told);
        woken.into_values().for_each(Waker::wake);
    }

    fn end(&self) {
        let mut told = self.told.lock();
        told.is_ended = true;
        self.moved.notify_all();
        let woken = std::mem::take(&mut told.tasks);
        drop(told);
        woken.into_values().for_each(Waker::wake);
    }

    fn sleep(&self, past: u64, at_most: Option<Duration>) -> Option<Position> {
        let mut told = self.told.lock();
        told.sleepers += 1;
        let is_early = |told: &mut Told| told.answer(past).is_none();
        match at_most {
            None => self.moved.wait_while(&mut told, is_early),
            Some(time) => {
                let _timed_out = self.moved.wait_while_for(&mut told, is_early, time);
            }
        }
        told.sleepers -= 1;
        told.answer(past).flatten()
    }
}

/// A chain's own hold on its watch: with the chain the waiting ends.
pub(crate) struct Watched(Arc<Watch>);

impl Watched {
    pub(crate) fn at(confirmed: u64) -> Self {
        Self(Arc::new(Watch {
            told: Mutex::new(Told {
                confirmed,
                is_ended: false,
                sleepers: 0,
                tickets: 0,
                tasks: BTreeMap::new(),
            }),
            moved: Condvar::new(),
        }))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A chain about to be confirmed further. When this goes, those who watch are told: make it *before* the lock of the state is taken.
pub(crate) struct Telling<'a>(&'a Local);

impl<'a> Telling<'a> {
    pub(crate) fn of(local: &'a Local) -> Self {
        Self(local)
    }
}

impl Deref for Telling<'_> {
    type Target = Local;

    fn deref(&self) -> &Local {
        self.0
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        self.0.watched.0.tell(self.0.position().0);
    }
}

impl Local {
    /// Resolves as soon as more than `position` commits are confirmed, with the position then; with `None` if that will not be: the chain was let go, or
    /// its store is being closed. It holds nothing of the chain, so it keeps none alive.
    ///
    /// In a store that is open for reading nothing is confirmed but by [`Local::catch_up`]: somebody has to call it.
    ///
    /// # Cancel safety
    /// Dropping it forgets that somebody waited, nothing else.
    ///
    /// # Cost
    /// O(log n) in those who wait.
    pub fn past(&self, position: Position) -> Pending<Option<Position>> {
        let watch = &self.watched.0;
        let answer = watch.told.lock().answer(position.0);
        match answer {
            Some(answer) => Pending::ready(answer),
            None => Pending::new(Past {
                watch: watch.clone(),
                past: position.0,
                ticket: None,
            }),
        }
    }

    /// As [`Local::past`], on the calling thread and for so long at most; `None` also if that time is over.
    #[must_use]
    pub fn past_within(&self, position: Position, at_most: Duration) -> Option<Position> {
        self.watched.0.sleep(position.0, Some(at_most))
    }

    /// Tells everybody who waits for the chain to move, now or later, that it will not: for who closes the store.
    pub fn end_watches(&self) {
        self.watched.0.end();
    }
}

/// The [`Source`] behind [`Local::past`].
struct Past {
    watch: Arc<Watch>,
    past: u64,
    /// Entered among the tasks under this number, unless it was woken since.
    ticket: Option<u64>,
}

impl Source<Option<Position>> for Past {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Position>> {
        let mut told = self.watch.told.lock();
        if let Some(answer) = told.answer(self.past) {
            return Poll::Ready(answer);
        }
        let ticket = *self.ticket.get_or_insert_with(|| {
            told.tickets += 1;
            told.tickets
        });
        let waker = context.waker().clone();
        let before = told.tasks.insert((self.past, ticket), waker);
        drop(told);
        // Dropping a waker runs code of a stranger.
        drop(before);
        Poll::Pending
    }

    fn wait(self: Box<Self>) -> Option<Position> {
        self.watch.sleep(self.past, None)
    }
}

impl Drop for Past {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let waker = self.watch.told.lock().tasks.remove(&(self.past, ticket));
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn past(watched: &Watched, past: u64) -> Box<Past> {
        let watch = watched.0.clone();
        Box::new(Past {
            watch,
            past,
            ticket: None,
        })
    }

    #[test]
    fn only_those_are_woken_whose_position_was_passed() {
        let watched = Watched::at(3);
        let woken = Arc::new(Count::default());
        let waker = Waker::from(woken.clone());
        let mut context = Context::from_waker(&waker);
        let (mut near, mut far) = (past(&watched, 3), past(&watched, 4));
        assert_eq!(near.poll(&mut context), Poll::Pending);
        assert_eq!(far.poll(&mut context), Poll::Pending);
        watched.0.tell(4);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(near.poll(&mut context), Poll::Ready(Some(Position(4))));
        assert_eq!(far.poll(&mut context), Poll::Pending);
        // A late word of an earlier position takes nothing back.
        watched.0.tell(2);
        assert_eq!(past(&watched, 3).wait(), Some(Position(4)));
        assert_eq!(watched.0.told.lock().tasks.len(), 1);
        drop(far);
        assert!(watched.0.told.lock().tasks.is_empty(), "nobody waits");
    }

    #[test]
    fn the_end_of_a_chain_wakes_tasks_and_threads() {
        let watched = Watched::at(0);
        let woken = Arc::new(Count::default());
        let waker = Waker::from(woken.clone());
        let mut task = past(&watched, 0);
        let mut context = Context::from_waker(&waker);
        assert_eq!(task.poll(&mut context), Poll::Pending);
        let thread = past(&watched, 7);
        let sleeper = std::thread::spawn(move || thread.wait());
        drop(watched);
        assert_eq!(sleeper.join().expect("it ends"), None);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(task.poll(&mut context), Poll::Ready(None));
    }

    #[test]
    fn no_wake_up_is_lost_between_looking_and_waiting() {
        let watched = Arc::new(Watched::at(0));
        let teller = {
            let watched = watched.clone();
            std::thread::spawn(move || (1..=20_000).for_each(|seq| watched.0.tell(seq)))
        };
        let mut seen = 0;
        while seen < 20_000 {
            let now = past(&watched, seen).wait().expect("it goes on");
            assert!(now.0 > seen);
            seen = now.0;
        }
        teller.join().expect("it ends");
        let in_time = watched.0.sleep(20_000, Some(Duration::from_millis(1)));
        assert_eq!(in_time, None, "the time was over");
        assert_eq!(watched.0.told.lock().sleepers, 0);
    }
}
