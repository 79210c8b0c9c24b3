//! A value that a task of the network brings, for whoever waits with any runtime or none.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ate_chain::{Pending, Source};
use parking_lot::{Condvar, Mutex};

struct Shared<T> {
    state: Mutex<State<T>>,
    ready: Condvar,
}

enum State<T> {
    Waiting(Option<Waker>),
    Ready(Option<T>),
}

/// The side that brings the value. Dropped without one, it brings what `otherwise` makes.
pub(crate) struct Promise<T: Send + 'static> {
    shared: Arc<Shared<T>>,
    otherwise: Option<Box<dyn FnOnce() -> T + Send>>,
}

struct Waiting<T>(Arc<Shared<T>>);

/// A promise and what waits for it. `otherwise` makes the value if the task that should bring it ends without: nobody waits for ever.
pub(crate) fn promise<T: Send + 'static>(
    otherwise: impl FnOnce() -> T + Send + 'static,
) -> (Promise<T>, Pending<T>) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State::Waiting(None)),
        ready: Condvar::new(),
    });
    let pending = Pending::new(Waiting(shared.clone()));
    let promise = Promise {
        shared,
        otherwise: Some(Box::new(otherwise)),
    };
    (promise, pending)
}

impl<T: Send + 'static> Promise<T> {
    pub(crate) fn keep(mut self, value: T) {
        self.otherwise = None;
        self.bring(value);
    }

    fn bring(&self, value: T) {
        let mut state = self.shared.state.lock();
        let before = std::mem::replace(&mut *state, State::Ready(Some(value)));
        self.shared.ready.notify_all();
        drop(state);
        if let State::Waiting(Some(waker)) = before {
            waker.wake();
        }
    }
}

impl<T: Send + 'static> Drop for Promise<T> {
    fn drop(&mut self) {
        if let Some(otherwise) = self.otherwise.take() {
            self.bring(otherwise());
        }
    }
}

impl<T: Send + 'static> Source<T> for Waiting<T> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<T> {
        match &mut *self.0.state.lock() {
            State::Ready(value) => Poll::Ready(value.take().expect("a Pending yields once")),
            State::Waiting(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    fn wait(self: Box<Self>) -> T {
        let mut state = self.0.state.lock();
        loop {
            if let State::Ready(value) = &mut *state {
                return value.take().expect("a Pending yields once");
            }
            self.0.ready.wait(&mut state);
        }
    }
}
