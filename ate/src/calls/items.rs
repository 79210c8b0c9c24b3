//! Answers as streams, for those who combine streams.

use std::pin::Pin;
use std::task::{Context, Poll};

use ate_net::Task;
use ate_view::Json;
use futures_core::Stream;

use super::answering::Home;
use super::{AnswerItems, CallError, JsonAnswers, StreamingRequest};

impl<R: StreamingRequest> AnswerItems<R> {
    /// The items as a stream: what [`next`](AnswerItems::next) brings, and nothing after an error. Dropping it takes the call back.
    pub fn into_stream(
        self,
    ) -> impl Stream<Item = Result<R::Item, CallError<R::Error>>> + Send + Unpin + 'static {
        Items::new(self.home.clone(), self, |mut answer| {
            Box::pin(async move {
                let item = answer.next().await;
                (answer, item)
            })
        })
    }
}

impl JsonAnswers {
    /// The documents as a stream: what [`next`](JsonAnswers::next) brings, and nothing after an error. Dropping it takes the call back.
    pub fn into_stream(
        self,
    ) -> impl Stream<Item = Result<Json, CallError<String>>> + Send + Unpin + 'static {
        Items::new(self.home().clone(), self, |mut answer| {
            Box::pin(async move {
                let item = answer.next().await;
                (answer, item)
            })
        })
    }
}

/// An answer `A`, and the way to its next item. The way holds the answer while it is gone: what it waits for, the deadline among it, goes on between polls.
struct Items<A, T, E> {
    home: Home,
    /// `None` while it is waited for, and at the end.
    answer: Option<A>,
    coming: Option<Coming<A, T, E>>,
    next: fn(A) -> Coming<A, T, E>,
}

type Coming<A, T, E> = Task<'static, (A, Result<Option<T>, E>)>;

impl<A, T, E> Items<A, T, E> {
    fn new(home: Home, answer: A, next: fn(A) -> Coming<A, T, E>) -> Self {
        Self {
            home,
            answer: Some(answer),
            coming: None,
            next,
        }
    }
}

// Nothing of it is pinned: what must stay in its place is boxed.
impl<A, T, E> Unpin for Items<A, T, E> {}

impl<A, T, E> Stream for Items<A, T, E> {
    type Item = Result<T, E>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let coming = match (this.coming.take(), this.answer.take()) {
            (Some(coming), _) => coming,
            (None, Some(answer)) => (this.next)(answer),
            (None, None) => return Poll::Ready(None),
        };
        let coming = this.coming.insert(coming);
        let Poll::Ready((answer, item)) = this.home.entered(|| coming.as_mut().poll(context))
        else {
            return Poll::Pending;
        };
        this.coming = None;
        if matches!(item, Ok(Some(_))) {
            this.answer = Some(answer);
        }
        Poll::Ready(item.transpose())
    }
}
