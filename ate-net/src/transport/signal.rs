//! Waiting for a change, in an order that does not depend on chance.
//!
//! `tokio::sync::watch` spreads its waiters at random, so two runs of one simulation would wake them in different orders.

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

/// A value that tasks wait on.
pub(super) struct Signal<T> {
    value: Mutex<T>,
    changed: Notify,
}

impl<T> Signal<T> {
    pub(super) fn new(value: T) -> Self {
        Self {
            value: Mutex::new(value),
            changed: Notify::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock()
    }

    /// Changes it and wakes all that wait, the first that came first, unless `change` says that nothing changed.
    pub(super) fn change(&self, change: impl FnOnce(&mut T) -> bool) -> bool {
        let changed = change(&mut self.value.lock());
        if changed {
            self.changed.notify_waiters();
        }
        changed
    }

    /// The first answer that `look` has. Cancel-safe.
    pub(super) async fn until<A>(&self, mut look: impl FnMut(&T) -> Option<A>) -> A {
        loop {
            // Made before looking, it hears of every change after that.
            let changed = self.changed.notified();
            let answer = look(&self.value.lock());
            match answer {
                Some(answer) => return answer,
                None => changed.await,
            }
        }
    }
}
