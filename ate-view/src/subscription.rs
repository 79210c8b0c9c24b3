//! Subscriptions: the changes of a chain in order, pulled by whoever wants them.
//!
//! A replica holds all heads of a chain, and verifies them itself. So a subscription is a cursor over the confirmed commits, the same for every kind of chain:
//! there is no buffer that could grow, nothing is pushed, and a consumer that is slow or never comes back holds up nobody.

mod change;
mod consumer;
mod feed;
mod matcher;
#[cfg(feature = "stream")]
mod stream;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ate_chain::{Pending, Position, RecordKey, Source, Version};
use parking_lot::Mutex;

pub use change::{AnyRecord, Change};
pub(crate) use consumer::Consumer;
pub use consumer::ConsumerInfo;

use crate::chain::Chain;
use crate::dao::{Dao, DaoInner};
use crate::error::{ReadError, SubscribeError};
use crate::key::IntoKey;
use crate::schema::{Record, Unknown};
use crate::session::{Session, facts_of};
use consumer::{KEEP_CHANGES_MAX, KEEP_WITHIN, Keeping};
use feed::{Feed, Step};
use matcher::{Matcher, Part};

/// Commits that a consumer may be behind before it is told, unless it says otherwise.
pub const LAG_COMMITS_MAX: u64 = 10_000;

/// Pieces of work that one poll does before it lets others run.
const STEPS_A_POLL: usize = 4;

impl Chain {
    /// The changes of records of type `T`, from now on unless told otherwise.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use ate_view::{Chain, Change, Record, ValueCache};
    /// # use serde::{Deserialize, Serialize};
    /// # struct Noon;
    /// # impl ate_chain::Clock for Noon {
    /// #     fn now_ms(&self) -> u64 { 1_700_000_000_000 }
    /// # }
    /// # let random = Arc::new(ate_crypto::SeededRandom::new(7));
    /// # let identity = ate_crypto::Identity::from_seed(&ate_crypto::Seed::generate(&*random));
    /// # let log = Arc::new(ate_log::MemLog::new());
    /// # let committer = ate_chain::Committer::new(log, Arc::new(Noon), random, None, [1; 16]);
    /// # let local = ate_chain::Local::create(&committer, "bank", &identity)?;
    /// # let chain = Chain::over(local, "bank", &identity, Arc::new(Noon), &ValueCache::new(1 << 20));
    /// #[derive(Serialize, Deserialize, Record)]
    /// # #[record(crate = "ate_view")]
    /// struct Account { owner: String }
    ///
    /// let mut feed = chain.subscribe::<Account>().named("mailer"); // named = a durable consumer
    /// chain.add(Account { owner: "anna".into() }).wait()?;
    /// match feed.next().wait()? {                                  // or `.await?`, with any runtime
    ///     Some(Change::Put(account)) => assert_eq!(account.owner, "anna"),
    ///     _ => panic!("there is one change, and it is that"),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn subscribe<T: Record>(&self) -> Subscription<T> {
        Subscription::new(self.session(), Some(T::NAME), Session::get_exactly::<T>)
    }

    /// The changes of records of any type whose keys are held, schema descriptors left out.
    #[must_use]
    pub fn subscribe_any(&self) -> Subscription<AnyRecord> {
        Subscription::new(self.session(), None, open_any)
    }

    /// The durable consumers of this identity in this chain, by name: those that run, and those that would go on where they were.
    ///
    /// # Errors
    /// [`SubscribeError::Mark`].
    pub fn consumers(&self) -> Result<Vec<ConsumerInfo>, SubscribeError> {
        consumer::consumers(self.session())
    }

    /// Forgets a durable consumer: the next of that name begins anew. That there is none is no error.
    ///
    /// # Errors
    /// [`SubscribeError::Running`] while it runs in this process, [`SubscribeError::Mark`].
    pub fn remove_consumer(&self, name: &str) -> Result<(), SubscribeError> {
        consumer::remove_consumer(self.session(), name)
    }
}

/// A cursor over the confirmed changes of a chain. It holds the chain, and nothing that grows.
///
/// # What comes
/// Every change of the records it is about, as each was when it was made, in the order of the chain, **exactly once and without a gap**. What cannot be given
/// any more (erased, below the horizon) or be read comes as a [`Change`] that says so. Records whose keys this identity does not hold are passed over in
/// silence, and do not come later when it is granted them.
///
/// # Durable consumers
/// With [`named`](Self::named) the store remembers how far the consumer is done, **at least once**: after [`next`](Self::next) or [`try_next`](Self::try_next)
/// is called again, what it had handed out before counts as done, and [`ack`](Self::ack) says so without asking for more. A change that was handed out but not
/// acknowledged comes again after a crash, a panic or a drop. So may those that were acknowledged: the place is kept after every 1000 changes or every second (see
/// [`keep_every`](Self::keep_every)), at once by `ack`, when the subscription is dropped and when the store is closed. After a clean end only what was not
/// acknowledged comes again; nothing is ever skipped. Effects that must not happen twice are keyed by [`Change::version`]; a place that moves in the same
/// commit as the effects is for queues.
///
/// The place stays in the store that runs the consumer: it is no commit, not in a backup, and a store that is open for reading keeps none.
///
/// # Waiting in a store that is open for reading
/// There the chain moves only when somebody calls [`Chain::catch_up`]: do so from time to time, and use [`try_next`](Self::try_next).
///
/// # As a stream
/// With the feature `stream` it is a `futures_core::Stream` of what [`next`](Self::next) brings, which ends when the store is closed.
pub struct Subscription<T> {
    feed: Arc<Mutex<Feed<T>>>,
    /// What the stream waits for.
    #[cfg(feature = "stream")]
    coming: Mutex<Option<Pending<Answer<T>>>>,
}

impl<T: Send + Sync + 'static> Subscription<T> {
    fn new(session: &Arc<Session>, type_name: Option<&str>, open: feed::Open<T>) -> Self {
        let first = Version {
            seq: session.position().0,
            event: 0,
        };
        let keeping = Keeping {
            changes_max: KEEP_CHANGES_MAX,
            within_ms: KEEP_WITHIN.as_millis() as u64,
        };
        let matcher = Matcher::new(session.clone(), type_name);
        Self {
            feed: Arc::new(Mutex::new(Feed::new(matcher, open, first, keeping))),
            #[cfg(feature = "stream")]
            coming: Mutex::default(),
        }
    }

    fn set(self, change: impl FnOnce(&mut Feed<T>)) -> Self {
        change(&mut self.feed.lock());
        self
    }

    /// Begins with the first commit behind `position`: 0 is the beginning of the chain. A durable consumer that has been somewhere goes on there instead.
    #[must_use]
    pub fn from(self, position: Position) -> Self {
        self.set(|feed| {
            feed.first = Version {
                seq: position.0,
                event: 0,
            };
        })
    }

    /// Begins with the commits that are confirmed after this call. So it is without any word about it: after the call that made the subscription.
    #[must_use]
    pub fn from_now(self) -> Self {
        let position = self.feed.lock().matcher.session.position();
        self.from(position)
    }

    /// Begins with the first commit that was ordered at this time or later, in milliseconds since 1970.
    #[must_use]
    pub fn from_time(self, order_time_ms: u64) -> Self {
        let position = match order_time_ms.checked_sub(1) {
            None => Position(0),
            Some(before) => {
                let feed = self.feed.lock();
                feed.matcher.session.local().position_at(before)
            }
        };
        self.from(position)
    }

    /// Begins right behind a change that was handed out before: for who keeps the place himself.
    #[must_use]
    pub fn after(self, version: Version) -> Self {
        self.set(|feed| {
            feed.first = Version {
                seq: version.seq,
                event: version.event.saturating_add(1),
            };
        })
    }

    /// Only this record. Of `record`, `children` and `prefix` the last one counts.
    #[must_use]
    pub fn record(self, key: impl IntoKey<T>) -> Self {
        let target = key.into_target();
        self.set(|feed| feed.matcher.part = Part::Record(target))
    }

    /// Only the records right below `parent` in `collection`.
    #[must_use]
    pub fn children<P>(self, parent: impl IntoKey<P>, collection: &str) -> Self {
        let (parent, collection) = (parent.into_target(), collection.to_owned());
        self.set(|feed| feed.matcher.part = Part::Children { parent, collection })
    }

    /// Only named records whose names begin like this. An erasure takes the name too, so every erased record that had a name comes as [`Change::Erased`], whatever
    /// its name was.
    #[must_use]
    pub fn prefix(self, prefix: &str) -> Self {
        let prefix = prefix.to_owned();
        self.set(|feed| feed.matcher.part = Part::Prefix(prefix))
    }

    /// Makes it a durable consumer of this name: it goes on where the last one of the name, of this identity and in this store, was done. One subscription of a
    /// name runs at a time.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        self.set(|feed| feed.name = Some(name.to_owned()))
    }

    /// How often the place of a durable consumer is kept without [`ack`](Self::ack): after so many changes, or so long, whichever comes first. Each time costs a
    /// small file and a sync, on the thread that asks for the next change.
    #[must_use]
    pub fn keep_every(self, changes: u64, within: Duration) -> Self {
        self.set(|feed| {
            feed.keeping = Keeping {
                changes_max: changes.max(1),
                within_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX),
            };
        })
    }

    /// How many commits it may be behind before a [`Change::Lagged`] comes; [`LAG_COMMITS_MAX`] unless said otherwise. Nothing is lost beyond.
    #[must_use]
    pub fn lag_max(self, commits: u64) -> Self {
        self.set(|feed| feed.lag_max = commits)
    }

    /// The next change, as soon as there is one; `None` when the store is closed and everything before was handed out. It does nothing before it is polled or
    /// waited for.
    ///
    /// # Errors
    /// [`SubscribeError`]; the subscription stays where it is, and may be asked again.
    ///
    /// # Cancel safety
    /// A change is taken when it is returned, so dropping the answer loses nothing and doubles nothing. With two answers at once each change goes to one of
    /// them.
    ///
    /// # Cost
    /// Commits that do not concern it: one pass over their heads, in pieces of milliseconds a poll. A change: its content is read and opened, unless it is
    /// resident.
    #[expect(
        clippy::should_implement_trait,
        reason = "what comes next may have to be waited for, so it is no iterator"
    )]
    pub fn next(&mut self) -> Pending<Result<Option<Change<T>>, SubscribeError>> {
        Pending::new(Next {
            feed: self.feed.clone(),
            waits: Waits::Nothing,
        })
    }

    /// The next change of those that are there; `None` if there is none now. Where contents are fetched when they are read, the calling thread waits for them.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn try_next(&mut self) -> Result<Option<Change<T>>, SubscribeError> {
        loop {
            let step = self.feed.lock().step()?;
            match step {
                Step::Change(change) => return Ok(Some(change)),
                Step::Nothing(_) => return Ok(None),
                Step::More => {}
                Step::Fetch(fetch) => {
                    let answer = fetch.wait();
                    self.feed.lock().fetched(answer)?;
                }
            }
        }
    }

    /// Everything that was handed out is done: a durable consumer that is started again does not get it. Done and durable when this returns; what is in the answer
    /// is whether it is. Without a name it does nothing.
    ///
    /// # Errors
    /// In the answer: [`SubscribeError::Mark`]; what was acknowledged may come again.
    ///
    /// # Cost
    /// A small file and a sync, if anything is new.
    pub fn ack(&mut self) -> Pending<Result<(), SubscribeError>> {
        let mut feed = self.feed.lock();
        feed.acknowledge();
        let consumer = feed.consumer().cloned();
        drop(feed);
        Pending::ready(consumer.map_or(Ok(()), |consumer| consumer.keep_now()))
    }

    /// Where a subscription would have to begin to get what this one has not handed out: the commit, and the event in it.
    #[must_use]
    pub fn place(&self) -> Version {
        self.feed.lock().place()
    }
}

impl Subscription<AnyRecord> {
    /// Only records of the type with this name; `json` for documents.
    #[must_use]
    pub fn of_type(self, name: &str) -> Self {
        self.set(|feed| feed.matcher.type_name = Some(name.into()))
    }
}

impl<T> std::fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let feed = self.feed.lock();
        f.debug_struct("Subscription")
            .field("part", &feed.matcher.part)
            .field("name", &feed.name)
            .field("place", &feed.place())
            .finish_non_exhaustive()
    }
}

/// The [`Source`] behind [`Subscription::next`].
struct Next<T> {
    feed: Arc<Mutex<Feed<T>>>,
    waits: Waits,
}

/// What has to happen before there is work again.
enum Waits {
    Nothing,
    /// The chain moves.
    Moved(Pending<Option<Position>>),
    /// Contents come from elsewhere.
    Fetched(Pending<Result<(), ate_chain::ReadError>>),
}

type Answer<T> = Result<Option<Change<T>>, SubscribeError>;

impl<T> Next<T> {
    /// A piece of work: an answer, or what there is to wait for.
    fn work(&mut self) -> Option<Answer<T>> {
        let mut feed = self.feed.lock();
        self.waits = match feed.step() {
            Ok(Step::Change(change)) => return Some(Ok(Some(change))),
            Err(error) => return Some(Err(error)),
            Ok(Step::More) => Waits::Nothing,
            Ok(Step::Nothing(position)) => {
                let local = feed.matcher.session.local();
                Waits::Moved(local.past(position))
            }
            Ok(Step::Fetch(fetch)) => Waits::Fetched(fetch),
        };
        None
    }

    /// After the chain has moved, or will not any more.
    fn moved(&mut self, position: Option<Position>) -> Option<Answer<T>> {
        self.waits = Waits::Nothing;
        position.is_none().then_some(Ok(None))
    }

    fn fetched(&mut self, answer: Result<(), ate_chain::ReadError>) -> Option<Answer<T>> {
        self.waits = Waits::Nothing;
        self.feed.lock().fetched(answer).err().map(Err)
    }
}

impl<T: Send + Sync + 'static> Source<Answer<T>> for Next<T> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Answer<T>> {
        for _ in 0..STEPS_A_POLL {
            let ended = match &mut self.waits {
                Waits::Nothing => None,
                Waits::Moved(moved) => match Pin::new(moved).poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(position) => self.moved(position),
                },
                Waits::Fetched(fetch) => match Pin::new(fetch).poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(answer) => self.fetched(answer),
                },
            };
            if let Some(answer) = ended.or_else(|| self.work()) {
                return Poll::Ready(answer);
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn wait(mut self: Box<Self>) -> Answer<T> {
        loop {
            let ended = match std::mem::replace(&mut self.waits, Waits::Nothing) {
                Waits::Nothing => None,
                Waits::Moved(moved) => {
                    let position = moved.wait();
                    self.moved(position)
                }
                Waits::Fetched(fetch) => {
                    let answer = fetch.wait();
                    self.fetched(answer)
                }
            };
            if let Some(answer) = ended.or_else(|| self.work()) {
                return answer;
            }
        }
    }
}

fn open_any(
    session: &Arc<Session>,
    key: &RecordKey,
    version: Version,
) -> Result<Dao<AnyRecord>, ReadError> {
    let (opened, _) = session.open_exactly(key, version, &|| key.to_string())?;
    Ok(Dao(Arc::new(DaoInner {
        facts: facts_of(key, &opened),
        value: AnyRecord::new(session.clone(), *key, opened),
        unknown: Unknown::default(),
    })))
}
