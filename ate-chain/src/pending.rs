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
