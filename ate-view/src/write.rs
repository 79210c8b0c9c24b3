//! Single writes as builders: nothing happens before they are awaited or waited for.

use std::future::{Future, IntoFuture};
use std::sync::Arc;
use std::task::{Context, Poll};

use ate_chain::{Committed, Pending, Readers, Source, WritePolicy};
use ate_crypto::{Hash, Who};

use crate::commit::Submitted;
use crate::error::CommitError;
use crate::lacking::{complete, lack};
use crate::session::Session;
use crate::staging::Access;
use crate::transaction::Transaction;

/// What is left to do when the commit is durable.
pub(crate) type Finish<T> = Box<dyn FnOnce(Committed) -> T + Send>;
/// Puts the write into a transaction. Called again if it lacked a content that was fetched since; after it succeeded, never.
pub(crate) type Stage<T> =
    Box<dyn FnMut(&Transaction, &Access) -> Result<Finish<T>, CommitError> + Send>;

/// One write. `.await` it or `.wait()` for it: it becomes one commit.
///
/// A write over a record of another schema keeps what it does not know, so it reads what stands there. If that is elsewhere it is fetched first, and dropping the
/// future meanwhile drops the write.
#[must_use = "a write does nothing until it is awaited or waited for"]
pub struct Write<T> {
    session: Arc<Session>,
    access: Access,
    stage: Stage<T>,
}

impl<T: Send + 'static> Write<T> {
    pub(crate) fn new(session: Arc<Session>, stage: Stage<T>) -> Self {
        Self {
            session,
            access: Access::default(),
            stage,
        }
    }

    /// Makes the record the head of a read scope: only these identities and the own one read it and what is below.
    pub fn readable_by<'a>(mut self, readers: impl IntoIterator<Item = &'a Who>) -> Self {
        self.access.readers = Some(Readers::Only(readers.into_iter().cloned().collect()));
        self
    }

    /// Makes the record the head of a read scope whose keys stand in the chain in clear.
    pub fn public(mut self) -> Self {
        self.access.readers = Some(Readers::Public);
        self
    }

    /// Only these identities and the own one write the record and what is below. The chain gets to know them.
    pub fn writable_by<'a>(mut self, writers: impl IntoIterator<Item = &'a Who>) -> Self {
        let mut writers: Vec<Who> = writers.into_iter().cloned().collect();
        let own = self.session.author.id();
        self.access.write = Some(WritePolicy::any_of(
            writers.iter().map(Who::id).chain([own]),
        ));
        writers.retain(|who| who.id() != own);
        self.access.introduce = writers;
        self
    }

    /// Nobody changes the record again, ever.
    pub fn frozen(mut self) -> Self {
        self.access.write = Some(WritePolicy::Nobody);
        self
    }

    fn start(mut self) -> Pending<Result<T, CommitError>> {
        let transaction = Transaction::new(self.session.clone());
        let staged = (self.stage)(&transaction, &self.access);
        let Some(content) = lack(&staged) else {
            return match staged {
                Ok(finish) => Submitted::start(transaction).map(move |outcome| outcome.map(finish)),
                Err(error) => Pending::ready(Err(error)),
            };
        };
        // What stands there has to be read first, and is elsewhere.
        Pending::new(FutureSource(Box::pin(async move {
            let again = || (self.stage)(&transaction, &self.access);
            let finish = complete(&self.session, content, again).await?;
            Submitted::start(transaction).await.map(finish)
        })))
    }

    /// As [`Transaction::stage`]: waits only until the write is durable in this store. The answer is the commit's id.
    ///
    /// # Errors
    /// In the answer: [`CommitError`].
    #[must_use = "the write is on its way, but whether it is durable is in here"]
    pub fn stage(mut self) -> Pending<Result<Hash, CommitError>> {
        let transaction = Transaction::new(self.session.clone());
        let staged = (self.stage)(&transaction, &self.access).map(drop);
        let Some(content) = lack(&staged) else {
            return match staged {
                Ok(()) => Submitted::stage(transaction),
                Err(error) => Pending::ready(Err(error)),
            };
        };
        Pending::new(FutureSource(Box::pin(async move {
            let again = || (self.stage)(&transaction, &self.access).map(drop);
            complete(&self.session, content, again).await?;
            Submitted::stage(transaction).await
        })))
    }

    /// Writes, on the calling thread if nobody else does, and blocks until it is durable.
    ///
    /// # Errors
    /// [`CommitError`].
    pub fn wait(self) -> Result<T, CommitError> {
        self.start().wait()
    }
}

impl<T: Send + 'static> IntoFuture for Write<T> {
    type Output = Result<T, CommitError>;
    type IntoFuture = Pending<Result<T, CommitError>>;

    fn into_future(self) -> Self::IntoFuture {
        self.start()
    }
}

/// Any future as a [`Source`], so that it can also be waited for without a runtime.
pub(crate) struct FutureSource<F: Future>(pub(crate) std::pin::Pin<Box<F>>);

struct Unpark(std::thread::Thread);

impl std::task::Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl<F: Future + Send> Source<F::Output> for FutureSource<F> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<F::Output> {
        self.0.as_mut().poll(context)
    }

    fn wait(mut self: Box<Self>) -> F::Output {
        let waker = Arc::new(Unpark(std::thread::current())).into();
        let mut context = Context::from_waker(&waker);
        loop {
            match self.0.as_mut().poll(&mut context) {
                Poll::Ready(value) => return value,
                Poll::Pending => std::thread::park(),
            }
        }
    }
}
