//! A bounded queue between tasks whose reader may be dropped at any moment without losing anything.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// What was accepted and not yet given out.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Notify,
    items_max: usize,
}

struct State<T> {
    items: VecDeque<T>,
    closed: bool,
}

impl<T> Queue<T> {
    pub(super) fn new(items_max: usize) -> Self {
        Self {
            state: Mutex::new(State {
                items: VecDeque::new(),
                closed: false,
            }),
            changed: Notify::new(),
            items_max,
        }
    }

    /// Gives the item back when the queue is full or closed.
    pub(super) fn push(&self, item: T) -> Result<(), T> {
        {
            let mut state = self.state.lock();
            if state.closed || state.items.len() >= self.items_max {
                return Err(item);
            }
            state.items.push_back(item);
        }
        self.changed.notify_one();
        Ok(())
    }

    /// The next item; `None` once the queue is closed. Cancel-safe: an item leaves the queue only in the poll that returns it.
    pub(super) async fn pop(&self) -> Option<T> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.state.lock();
                if let Some(item) = state.items.pop_front() {
                    return Some(item);
                }
                if state.closed {
                    // A permit wakes one waiter only: hand it on.
                    self.changed.notify_one();
                    return None;
                }
            }
            changed.await;
        }
    }

    /// Takes nothing more. What is still in it is returned, to be dropped outside of any lock.
    pub(super) fn close(&self) -> VecDeque<T> {
        let left = {
            let mut state = self.state.lock();
            state.closed = true;
            std::mem::take(&mut state.items)
        };
        self.changed.notify_one();
        left
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }
}
