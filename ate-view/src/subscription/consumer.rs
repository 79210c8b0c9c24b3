//! Durable consumers: a name, and how far it is done, kept in the store that runs it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use ate_chain::{Position, Version};
use parking_lot::Mutex;

use crate::error::SubscribeError;
use crate::session::{Session, check_name};

/// A place is kept after so many changes ...
pub(super) const KEEP_CHANGES_MAX: u64 = 1000;
/// ... or after so long, whichever comes first.
pub(super) const KEEP_WITHIN: Duration = Duration::from_secs(1);

/// A durable consumer as the store knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ConsumerInfo {
    /// Its name.
    pub name: String,
    /// The first change that it has not acknowledged comes here or behind.
    pub next: Version,
    /// Commits that it has not looked at.
    pub behind: u64,
    /// Whether a subscription of this process runs under the name.
    pub is_running: bool,
}

/// How often the place of a consumer is kept without being asked to.
#[derive(Clone, Copy)]
pub(super) struct Keeping {
    pub(super) changes_max: u64,
    pub(super) within_ms: u64,
}

/// A durable consumer that runs.
pub(crate) struct Consumer {
    session: Arc<Session>,
    name: String,
    keeping: Keeping,
    place: Mutex<Place>,
}

struct Place {
    /// Everything before it is acknowledged.
    done: Version,
    /// What the store knows of it.
    kept: Version,
    kept_ms: u64,
    /// Changes acknowledged since.
    changes: u64,
}

impl Consumer {
    /// Takes the name, and finds the place it had; one that has none begins at `first`, and that is kept: a new name must not lose what comes before its first
    /// acknowledgement.
    pub(super) fn start(
        session: &Arc<Session>,
        name: &str,
        first: Version,
        keeping: Keeping,
    ) -> Result<Arc<Self>, SubscribeError> {
        check_name(name)?;
        let (owner, local) = (session.author.id(), session.local());
        let mut running = session.shared.consumers.lock();
        running.retain(|consumer| consumer.strong_count() > 0);
        let is_taken = |consumer: Arc<Self>| consumer.is(session, name);
        if running.iter().filter_map(Weak::upgrade).any(is_taken) {
            return Err(SubscribeError::Running {
                name: name.to_owned(),
            });
        }
        let done = match local.mark(&owner, name)? {
            Some(place) => place,
            None => {
                local.keep_mark(&owner, name, first)?;
                first
            }
        };
        let consumer = Arc::new(Self {
            session: session.clone(),
            name: name.to_owned(),
            keeping,
            place: Mutex::new(Place {
                done,
                kept: done,
                kept_ms: session.shared.clock.now_ms(),
                changes: 0,
            }),
        });
        running.push(Arc::downgrade(&consumer));
        Ok(consumer)
    }

    fn is(&self, session: &Session, name: &str) -> bool {
        self.name == name && self.session.author.id() == session.author.id()
    }

    pub(super) fn done(&self) -> Version {
        self.place.lock().done
    }

    /// Everything before `done` is acknowledged, among it `changes` more. Kept if it is time; if that fails it is tried again with the next.
    pub(super) fn acknowledge(&self, done: Version, changes: u64) {
        let now_ms = self.session.shared.clock.now_ms();
        let mut place = self.place.lock();
        place.done = done;
        place.changes += changes;
        // A clock that went back does not put it off.
        let is_old = now_ms.abs_diff(place.kept_ms) >= self.keeping.within_ms;
        if place.changes >= self.keeping.changes_max || is_old {
            // Also when it fails: a full disk is not tried for each change.
            place.kept_ms = now_ms;
            drop(self.keep(&mut place));
        }
    }

    /// Keeps the place now. Durable on return.
    pub(crate) fn keep_now(&self) -> Result<(), SubscribeError> {
        self.keep(&mut self.place.lock())
    }

    fn keep(&self, place: &mut Place) -> Result<(), SubscribeError> {
        if place.done != place.kept {
            let owner = self.session.author.id();
            let local = self.session.local();
            local.keep_mark(&owner, &self.name, place.done)?;
            place.kept = place.done;
            place.kept_ms = self.session.shared.clock.now_ms();
        }
        place.changes = 0;
        Ok(())
    }
}

impl Drop for Consumer {
    /// What was acknowledged and could not be kept is seen again.
    fn drop(&mut self) {
        drop(self.keep_now());
    }
}

pub(super) fn consumers(session: &Session) -> Result<Vec<ConsumerInfo>, SubscribeError> {
    let running: Vec<Arc<Consumer>> = {
        let running = session.shared.consumers.lock();
        running.iter().filter_map(Weak::upgrade).collect()
    };
    let Position(end) = session.position();
    let marks = session.local().marks(&session.author.id())?;
    let infos = marks.into_iter().map(|mark| {
        let consumer = running.iter().find(|one| one.is(session, &mark.name));
        // The newest, though it may not be kept yet.
        let next = consumer.map_or(mark.next, |consumer| consumer.done());
        ConsumerInfo {
            next,
            behind: end.saturating_sub(next.seq),
            is_running: consumer.is_some(),
            name: mark.name,
        }
    });
    Ok(infos.collect())
}

pub(super) fn remove_consumer(session: &Session, name: &str) -> Result<(), SubscribeError> {
    let running = session.shared.consumers.lock();
    let is_it = |consumer: Arc<Consumer>| consumer.is(session, name);
    if running.iter().filter_map(Weak::upgrade).any(is_it) {
        return Err(SubscribeError::Running {
            name: name.to_owned(),
        });
    }
    Ok(session.local().remove_mark(&session.author.id(), name)?)
}
