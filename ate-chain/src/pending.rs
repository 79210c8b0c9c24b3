//! One future for everything that takes time, with and without a runtime.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What a [`Pending`] waits for. Implementers wake the last waker they were polled with.
pub trait Source<T>: Send {
    /// As [`Future::poll`].
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<T>;
    /// Blocks the calling thread until the value is there.
    fn wait(self: Box<Self>) -> T;
}

/// A value that is here or will be: `.await` it, or `.wait()` for it without any runtime.
///
/// A resident value is ready at the first poll and costs no allocation. Dropping a `Pending` never takes back what it stands for.
#[must_use = "nothing is known of the outcome until this is awaited or waited for"]
pub struct Pending<T>(Inner<T>);

enum Inner<T> {
    Ready(Option<T>),
    Source(Option<Box<dyn Source<T>>>),
}

impl<T> Pending<T> {
    /// A value that is here.
    pub fn ready(value: T) -> Self {
        Self(Inner::Ready(Some(value)))
    }

    /// A value that `source` will bring.
    pub fn new(source: impl Source<T> + 'static) -> Self {
        Self(Inner::Source(Some(Box::new(source))))
    }

    /// Blocks the calling thread until the value is there. The thread may do the work itself.
    ///
    /// # Panics
    /// If the value was already taken by polling.
    pub fn wait(self) -> T {
        match self.0 {
            Inner::Ready(value) => value.expect("a Pending yields once"),
            Inner::Source(source) => source.expect("a Pending yields once").wait(),
        }
    }

    /// The value after `change`.
    pub fn map<U: Send + 'static>(self, change: impl FnOnce(T) -> U + Send + 'static) -> Pending<U>
    where
        T: Send + 'static,
    {
        match self.0 {
            Inner::Ready(value) => Pending::ready(change(value.expect("a Pending yields once"))),
            Inner::Source(source) => Pending::new(Map {
                source,
                change: Some(change),
            }),
        }
    }
}

impl<T: Send + 'static> Pending<T> {
    /// What `next` makes of the value, once that is there too. Dropped before, `next` is not called.
    pub fn then<U: Send + 'static>(
        self,
        next: impl FnOnce(T) -> Pending<U> + Send + 'static,
    ) -> Pending<U> {
        Pending::new(Then::First(Some((self, next))))
    }
}

// The value is never pinned: it is moved out when it is there.
impl<T> Unpin for Pending<T> {}

impl<T> Future for Pending<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match &mut self.0 {
            Inner::Ready(value) => Poll::Ready(value.take().expect("a Pending yields once")),
            Inner::Source(slot) => {
                let result = slot.as_mut().expect("a Pending yields once").poll(context);
                if result.is_ready() {
                    *slot = None;
                }
                result
            }
        }
    }
}

struct Map<T, F> {
    source: Option<Box<dyn Source<T>>>,
    change: Option<F>,
}

impl<T: Send, U: Send, F: FnOnce(T) -> U + Send> Source<U> for Map<T, F> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<U> {
        let source = self.source.as_mut().expect("a Pending yields once");
        source
            .poll(context)
            .map(|value| (self.change.take().expect("a Pending yields once"))(value))
    }

    fn wait(mut self: Box<Self>) -> U {
        let value = self.source.take().expect("a Pending yields once").wait();
        (self.change.take().expect("a Pending yields once"))(value)
    }
}

enum Then<T, U, F> {
    First(Option<(Pending<T>, F)>),
    Second(Pending<U>),
}

impl<T: Send + 'static, U: Send + 'static, F> Source<U> for Then<T, U, F>
where
    F: FnOnce(T) -> Pending<U> + Send,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<U> {
        loop {
            match self {
                Self::Second(second) => return Pin::new(second).poll(context),
                Self::First(first) => {
                    let (waiting, _) = first.as_mut().expect("a Pending yields once");
                    let Poll::Ready(value) = Pin::new(waiting).poll(context) else {
                        return Poll::Pending;
                    };
                    let (_, next) = first.take().expect("a Pending yields once");
                    *self = Self::Second(next(value));
                }
            }
        }
    }

    fn wait(self: Box<Self>) -> U {
        match *self {
            Self::Second(second) => second.wait(),
            Self::First(first) => {
                let (waiting, next) = first.expect("a Pending yields once");
                next(waiting.wait()).wait()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Ready at the second poll.
    struct Later(u32);

    impl Source<u32> for Later {
        fn poll(&mut self, _: &mut Context<'_>) -> Poll<u32> {
            self.0 += 1;
            match self.0 {
                1 => Poll::Pending,
                polls => Poll::Ready(polls),
            }
        }

        fn wait(self: Box<Self>) -> u32 {
            2
        }
    }

    #[test]
    fn what_comes_after_begins_when_the_first_is_there() {
        let chained = || {
            Pending::new(Later(0))
                .then(|first| Pending::new(Later(0)).map(move |second| (first, second)))
        };
        assert_eq!(chained().wait(), (2, 2));
        let mut polled = chained();
        let mut context = Context::from_waker(Waker::noop());
        let mut poll = || Pin::new(&mut polled).poll(&mut context);
        assert_eq!(poll(), Poll::Pending);
        assert_eq!(poll(), Poll::Pending);
        assert_eq!(poll(), Poll::Ready((2, 2)));
    }
}
