//! The cursor of a subscription: where it is, what it has found, what it has handed out.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use ate_chain::{
    ContentId, FetchError, Pending, Position, ReadError as ChainError, RecordKey, Version,
};

use crate::dao::Dao;
use crate::error::{ReadError, SubscribeError};
use crate::key::Key;
use crate::session::Session;
use crate::subscription::change::Change;
use crate::subscription::consumer::{Consumer, Keeping};
use crate::subscription::matcher::{Found, Kind, Matcher, is_hidden};
use crate::write::FutureSource;

/// Commits looked through at once, so that a poll takes milliseconds however far behind the consumer is.
const LOOK_COMMITS: u64 = 1024;
/// No further commit is looked through when so many changes wait: with those of one commit the most that is ever held, 32 bytes each.
const FOUND_MAX: usize = 256;
/// Contents asked for at once, where they are fetched when they are read.
const FETCH_MAX: usize = 64;

/// Opens a version of a record as what the consumer wants.
pub(super) type Open<T> = fn(&Arc<Session>, &RecordKey, Version) -> Result<Dao<T>, ReadError>;

pub(super) struct Feed<T> {
    pub(super) matcher: Matcher,
    pub(super) open: Open<T>,
    /// Where it begins, unless it is a durable consumer that has been somewhere.
    pub(super) first: Version,
    /// A durable consumer's.
    pub(super) name: Option<String>,
    pub(super) keeping: Keeping,
    pub(super) lag_max: u64,
    is_started: bool,
    is_lagging: bool,
    consumer: Option<Arc<Consumer>>,
    /// The commit to be looked through next.
    next: u64,
    /// Events of it that are passed over.
    skip: u32,
    /// What was found in those before it and not handed out yet.
    found: VecDeque<Found>,
    /// The content that was fetched last, or for what reason it never will be.
    fetched: Option<(ContentId, Option<ChainError>)>,
    /// The last change that was handed out is not acknowledged yet.
    is_given: bool,
}

/// What one step of a feed gave.
pub(super) enum Step<T> {
    Change(Change<T>),
    /// There is nothing before the chain is beyond this.
    Nothing(Position),
    /// Commits were looked through and none had anything.
    More,
    /// Contents have to come from elsewhere; [`Feed::fetched`] takes the answer.
    Fetch(Pending<Result<(), ChainError>>),
}

impl<T> Feed<T> {
    pub(super) fn new(matcher: Matcher, open: Open<T>, first: Version, keeping: Keeping) -> Self {
        Self {
            matcher,
            open,
            first,
            name: None,
            keeping,
            lag_max: super::LAG_COMMITS_MAX,
            is_started: false,
            is_lagging: false,
            consumer: None,
            next: 0,
            skip: 0,
            found: VecDeque::new(),
            fetched: None,
            is_given: false,
        }
    }

    /// Does a bounded piece of work. A change that comes back is handed out: it counts as done at the next step.
    ///
    /// # Errors
    /// The feed stays where it is.
    pub(super) fn step(&mut self) -> Result<Step<T>, SubscribeError> {
        self.start()?;
        self.acknowledge();
        let end = self.matcher.session.position();
        if let Some(behind) = self.lag(end) {
            return Ok(Step::Change(Change::Lagged { behind }));
        }
        while let Some(found) = self.found.front().copied() {
            let change = match self.show(&found) {
                Err(error) => return self.fetch(error),
                Ok(change) => change,
            };
            self.fetched = None;
            self.found.pop_front();
            if let Some(change) = change {
                self.is_given = true;
                return Ok(Step::Change(change));
            }
        }
        if self.next >= end.0 {
            // What was passed over is not looked through again after a restart.
            self.keep(0);
            return Ok(Step::Nothing(Position(self.next)));
        }
        match self.look(end) {
            Err(SubscribeError::Read(error)) => self.fetch(error),
            looked => looked.map(|()| Step::More),
        }
    }

    /// Asks for a content that an error says was not asked for yet, and for some that will be wanted next.
    ///
    /// # Errors
    /// It says something else, or the content was asked for already.
    fn fetch(&mut self, error: ReadError) -> Result<Step<T>, SubscribeError> {
        let content = match &error {
            ReadError::Chain(ChainError::Elsewhere {
                content,
                source: FetchError::NotFetched,
            }) => *content,
            _ => return Err(error.into()),
        };
        if let Some((asked, why)) = self.fetched.take()
            && asked == content
        {
            return Err(why.map_or(error, ReadError::from).into());
        }
        self.fetched = Some((content, None));
        let puts = self.found.iter().filter(|found| found.kind == Kind::Put);
        let next = puts.take(FETCH_MAX).map(|found| ContentId {
            seq: found.version.seq,
            event: found.version.event,
        });
        let wanted: Vec<ContentId> = std::iter::once(content).chain(next).collect();
        let local = self.matcher.session.local().clone();
        let fetching = async move { local.fetch(wanted).await };
        Ok(Step::Fetch(Pending::new(FutureSource(Box::pin(fetching)))))
    }

    /// Whether an error is about a content that was asked for and is not to be had.
    fn is_nowhere(&self, error: &ChainError) -> bool {
        matches!((&self.fetched, error), (Some((asked, Some(_))), ChainError::Elsewhere { content, .. }) if asked == content)
    }

    /// Takes the answer to a fetch.
    ///
    /// # Errors
    /// It may succeed later. The feed stays where it is.
    pub(super) fn fetched(&mut self, answer: Result<(), ChainError>) -> Result<(), SubscribeError> {
        let Err(error) = answer else {
            return Ok(());
        };
        if error.is_transient() {
            self.fetched = None;
            return Err(ReadError::from(error).into());
        }
        // Contents come in the order of the chain: if another one is missing, the one that was asked for first is here.
        if let (Some((asked, why)), ChainError::Elsewhere { content, .. }) =
            (&mut self.fetched, &error)
            && asked == content
        {
            *why = Some(error);
        }
        Ok(())
    }

    /// What was handed out is done; so is what was passed over behind it.
    pub(super) fn acknowledge(&mut self) {
        if std::mem::take(&mut self.is_given) {
            self.keep(1);
        }
    }

    pub(super) fn start(&mut self) -> Result<(), SubscribeError> {
        if self.is_started {
            return Ok(());
        }
        let mut first = self.first;
        if let Some(name) = &self.name {
            let consumer = Consumer::start(&self.matcher.session, name, first, self.keeping)?;
            first = consumer.done();
            self.consumer = Some(consumer);
        }
        (self.next, self.skip, self.is_started) = (first.seq, first.event, true);
        Ok(())
    }

    pub(super) const fn consumer(&self) -> Option<&Arc<Consumer>> {
        self.consumer.as_ref()
    }

    /// Where a subscription would have to begin to get what this one has not handed out.
    pub(super) fn place(&self) -> Version {
        if !self.is_started {
            return self.first;
        }
        let looked_to = Version {
            seq: self.next,
            event: self.skip,
        };
        self.found.front().map_or(looked_to, |found| found.version)
    }

    /// Everything that was looked through is done but what waits.
    fn keep(&self, changes: u64) {
        if let Some(consumer) = &self.consumer {
            consumer.acknowledge(self.place(), changes);
        }
    }

    fn lag(&mut self, end: Position) -> Option<u64> {
        let behind = end.0.saturating_sub(self.next);
        if behind <= self.lag_max / 2 {
            self.is_lagging = false;
        } else if behind > self.lag_max && !self.is_lagging {
            self.is_lagging = true;
            return Some(behind);
        }
        None
    }

    /// Looks through some commits.
    fn look(&mut self, end: Position) -> Result<(), SubscribeError> {
        self.matcher.prepare()?;
        // After the look at `end`: the rows are at least as new.
        if self.matcher.is_done(self.next) {
            (self.next, self.skip) = (end.0, 0);
            return Ok(());
        }
        let (from, until) = (self.next, end.0.min(self.next + LOOK_COMMITS));
        let local = self.matcher.session.local().clone();
        let (matcher, found) = (&mut self.matcher, &mut self.found);
        let (mut skip, mut next, mut failed) = (self.skip, from, None);
        let walked = local.visit_commits(from, until, |commit| {
            let before = found.len();
            match matcher.take(&commit, skip, found) {
                Ok(()) => (next, skip) = (commit.seq + 1, 0),
                Err(error) => {
                    found.truncate(before);
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            }
            if found.len() < FOUND_MAX {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        // What came before the trouble is handed out first; the trouble comes again then.
        (self.next, self.skip) = (next, skip);
        if next > from {
            self.fetched = None;
            return Ok(());
        }
        let _shown = walked.map_err(ReadError::from)?;
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// The change that was found, or nothing if it is none of this session's business.
    fn show(&self, found: &Found) -> Result<Option<Change<T>>, ReadError> {
        let (key, version) = (Key::from_raw(found.key), found.version);
        let change = match found.kind {
            Kind::Removed => Change::Removed { key, version },
            Kind::Erased => Change::Erased { key, version },
            Kind::Put => match (self.open)(&self.matcher.session, &found.key, version) {
                Ok(dao) => Change::Put(dao),
                Err(ReadError::Erased { .. }) => Change::Erased { key, version },
                Err(ReadError::Dropped { .. }) => Change::Dropped { key, version },
                Err(ReadError::Chain(error))
                    if error.is_transient() && !self.is_nowhere(&error) =>
                {
                    return Err(error.into());
                }
                Err(error) if is_hidden(&error) => return Ok(None),
                Err(error) => Change::Unreadable {
                    key,
                    version,
                    error,
                },
            },
        };
        // A name that is wanted may have been lost to an erasure, and to nothing else.
        let is_sure = !found.is_nameless || matches!(change, Change::Erased { .. });
        Ok(is_sure.then_some(change))
    }
}
