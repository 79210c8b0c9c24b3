//! Reads that lack a content which stands elsewhere: they are run again when it was fetched.
//!
//! Everything below reads at once or says what it lacks. Whoever gives a [`Pending`] fetches that and reads again; whoever has to answer at once waits on the
//! calling thread, for a bounded time.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Wake};
use std::time::Duration;

use ate_chain::{ContentId, FetchError, Pending, ReadError as ChainError, SealError};
use parking_lot::{Condvar, Mutex};

use crate::error::{CommitError, ReadError};
use crate::session::Session;
use crate::write::FutureSource;

/// How often a read is run again. One takes its content and a descriptor, and once more for each time that somebody writes the record meanwhile.
const FETCHES_MAX: usize = 64;
/// Longest wait of a call that is not a [`Pending`].
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60);

/// An error that may say which content is lacking.
pub(crate) trait Lack: From<ReadError> {
    /// The content that has to be fetched first.
    fn lack(&self) -> Option<ContentId>;
}

fn lack_of(error: &ChainError) -> Option<ContentId> {
    match error {
        ChainError::Elsewhere {
            content,
            source: FetchError::NotFetched,
        } => Some(*content),
        _ => None,
    }
}

impl Lack for ReadError {
    fn lack(&self) -> Option<ContentId> {
        match self {
            Self::Chain(error) => lack_of(error),
            _ => None,
        }
    }
}

impl Lack for CommitError {
    fn lack(&self) -> Option<ContentId> {
        match self {
            Self::Read(error) => error.lack(),
            Self::Seal(SealError::Read(error)) => lack_of(error),
            _ => None,
        }
    }
}

/// What an outcome lacks.
pub(crate) fn lack<T, E: Lack>(outcome: &Result<T, E>) -> Option<ContentId> {
    outcome.as_ref().err().and_then(Lack::lack)
}

impl Session {
    /// Fetches a content; with the first, all schema descriptors: nothing is decoded without.
    pub(crate) async fn fetch(&self, content: ContentId) -> Result<(), ChainError> {
        let mut wanted = vec![content];
        let is_first = !self.has_schemas.swap(true, Ordering::Relaxed);
        if is_first {
            wanted.extend(self.lacking_schemas());
        }
        let fetched = self.local().fetch(wanted).await;
        if is_first && fetched.is_err() {
            self.has_schemas.store(false, Ordering::Relaxed);
        }
        fetched
    }

    /// The contents of live schema descriptors that are elsewhere. Linear in the rows.
    pub(crate) fn lacking_schemas(&self) -> Vec<ContentId> {
        let mut schemas = Vec::new();
        self.local().visit_rows(|row| {
            if row.live && row.defines {
                schemas.push(row.key);
            }
        });
        let lacking = schemas.iter().filter_map(|key| self.local().lacks(key));
        lacking.collect()
    }
}

/// Fetches what a read lacks and runs it again, until it lacks nothing. The error of a fetch comes back only if the read cannot do without.
pub(crate) async fn complete<T, E: Lack>(
    session: &Session,
    mut content: ContentId,
    mut read: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    for _ in 0..FETCHES_MAX {
        let fetched = session.fetch(content).await;
        let outcome = read();
        match (lack(&outcome), fetched) {
            (None, _) => return outcome,
            (Some(still), Err(error)) if still == content || error.is_transient() => {
                return Err(ReadError::from(error).into());
            }
            (Some(next), _) => content = next,
        }
    }
    read()
}

/// A read that lacks `content`, to be run again when it is here.
pub(crate) fn fetched<T, E>(
    session: Arc<Session>,
    content: ContentId,
    read: impl FnMut() -> Result<T, E> + Send + 'static,
) -> Pending<Result<T, E>>
where
    T: Send + 'static,
    E: Lack + Send + 'static,
{
    Pending::new(FutureSource(Box::pin(async move {
        complete(&session, content, read).await
    })))
}

/// Runs a read, and again with what it lacks, on the calling thread, for at most [`WAIT_MAX`].
pub(crate) fn waiting<T, E: Lack>(
    session: &Session,
    mut read: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let outcome = read();
    let Some(content) = lack(&outcome) else {
        return outcome;
    };
    let late = || ChainError::Elsewhere {
        content,
        source: FetchError::Unreachable {
            why: format!("it did not come within {} s", WAIT_MAX.as_secs()),
        },
    };
    sleep_for(complete(session, content, read))
        .unwrap_or_else(|| Err(ReadError::from(late()).into()))
}

#[derive(Default)]
struct Bell {
    is_rung: Mutex<bool>,
    rung: Condvar,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        *self.is_rung.lock() = true;
        self.rung.notify_all();
    }
}

/// Polls a future on the calling thread; `None` if it takes longer than [`WAIT_MAX`], not counting the time of the polls.
fn sleep_for<T>(work: impl Future<Output = T>) -> Option<T> {
    /// There is no clock here: what was slept is counted in these.
    const TICK: Duration = Duration::from_millis(100);
    let mut work = pin!(work);
    let bell = Arc::new(Bell::default());
    let waker = bell.clone().into();
    let mut left = WAIT_MAX.as_millis() / TICK.as_millis();
    loop {
        if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(done);
        }
        let mut is_rung = bell.is_rung.lock();
        while !std::mem::take(&mut *is_rung) {
            if left == 0 {
                return None;
            }
            left -= u128::from(bell.rung.wait_for(&mut is_rung, TICK).timed_out());
        }
    }
}
