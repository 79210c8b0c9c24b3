//! Contents on their way: whoever wants what somebody else asked for already waits for the same answer.
//!
//! A flight belongs to all who wait for it, and any of them brings it home: one who asked first and is not polled any more holds up nobody. With the last of
//! them it ends, and what is asked for next is asked for anew.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

use ate_crypto::Hash;
use parking_lot::Mutex;

use crate::ids::RecordKey;
use crate::pending::Pending;
use crate::replica::{ContentId, FetchError, Wanted};

/// What is on its way to one chain.
#[derive(Default)]
pub(crate) struct Flights(pub(crate) Mutex<HashMap<ContentId, Weak<Flight>>>);

/// A content that is asked for, with what its author signed.
#[derive(Clone, Copy)]
pub(crate) struct Sought {
    pub(crate) wanted: Wanted,
    pub(crate) hash: Hash,
    /// Its record.
    pub(crate) key: RecordKey,
}

/// One request.
pub(crate) struct Flight {
    pub(crate) sought: Vec<Sought>,
    pub(crate) way: Mutex<Way>,
    bell: Arc<Bell>,
}

/// What comes back.
pub(crate) type Came = Result<Vec<Option<Vec<u8>>>, FetchError>;

/// How far a request is.
pub(crate) enum Way {
    /// About to be sent, by whoever holds the lock.
    Starting,
    Flying(Pending<Came>),
    /// Which did not come, and why.
    Landed(Vec<(ContentId, FetchError)>),
}

/// Wakes all who wait.
#[derive(Default)]
struct Bell(Mutex<Vec<Waker>>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let waiting = std::mem::take(&mut *self.0.lock());
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Flights {
    /// The request that brings a content.
    pub(crate) fn find(
        flights: &HashMap<ContentId, Weak<Flight>>,
        content: &ContentId,
    ) -> Option<Arc<Flight>> {
        flights.get(content)?.upgrade()
    }

    fn forget(&self, flight: &Arc<Flight>) {
        let mut flights = self.0.lock();
        let own = Arc::downgrade(flight);
        // Those that everybody went away from go along.
        flights.retain(|_, other| !other.ptr_eq(&own) && other.strong_count() > 0);
    }
}

impl Flight {
    pub(crate) fn new(sought: Vec<Sought>) -> Arc<Self> {
        Arc::new(Self {
            sought,
            way: Mutex::new(Way::Starting),
            bell: Arc::default(),
        })
    }

    /// Waits for the answer; `land` takes it in, once, on the thread that finds it.
    pub(crate) fn poll(
        self: &Arc<Self>,
        flights: &Flights,
        context: &mut Context<'_>,
        land: impl FnOnce(&[Sought], Came) -> Vec<(ContentId, FetchError)>,
    ) -> Poll<()> {
        {
            let mut waiting = self.bell.0.lock();
            if !waiting.iter().any(|known| known.will_wake(context.waker())) {
                waiting.push(context.waker().clone());
            }
        }
        let mut way = self.way.lock();
        let Way::Flying(pending) = &mut *way else {
            return match *way {
                Way::Landed(_) => Poll::Ready(()),
                _ => Poll::Pending,
            };
        };
        let waker = self.bell.clone().into();
        match std::pin::Pin::new(pending).poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(came) => *way = Way::Landed(land(&self.sought, came)),
        }
        drop(way);
        flights.forget(self);
        self.bell.clone().wake();
        Poll::Ready(())
    }

    /// Why a content did not come with it.
    pub(crate) fn failure(&self, content: &ContentId) -> Option<FetchError> {
        match &*self.way.lock() {
            Way::Landed(failed) => failed
                .iter()
                .find(|(failed, _)| failed == content)
                .map(|(_, why)| why.clone()),
            _ => None,
        }
    }
}
