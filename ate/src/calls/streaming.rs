//! Calls whose answers come item by item.

use std::marker::PhantomData;
use std::time::Duration;

use ate_net::Task;
use ate_net::calls::{AnswerStream, Answers, CallOptions, Retry, Stopped};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::answering::Home;
use super::{Answering, CALL_DEADLINE, CallError, Of, Ready, decode, encode};

/// A request that is answered with many items.
pub trait StreamingRequest: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// One item of the answer; at most 1 MiB encoded.
    type Item: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// The service's own errors.
    type Error: Serialize + DeserializeOwned + Send + 'static;
    /// The name of the service: 1 to 128 bytes without control characters. Nodes see it.
    const NAME: &'static str;
}

/// A streaming call that is about to be made.
#[must_use = "a call is not made until it is awaited or waited for"]
pub struct StreamCalling<R> {
    home: Home,
    caller: Ready,
    request: R,
    options: CallOptions,
}

impl<R: StreamingRequest> StreamCalling<R> {
    pub(super) fn new(home: Home, caller: Ready, request: R) -> Self {
        Self {
            home,
            caller,
            request,
            options: CallOptions::within(CALL_DEADLINE),
        }
    }

    /// By when the *whole* answer must be there, from when the call is made; 30 s if nothing is said, at most one day.
    pub fn deadline(mut self, within: Duration) -> Self {
        self.options.within = within;
        self
    }

    /// Whether it may be made again when the server vanishes before the first item.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.options = self.options.retry(retry);
        self
    }

    /// Makes the call and blocks until the first item, or the end, is there.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn wait(self) -> Result<AnswerItems<R>, CallError<R::Error>> {
        self.into_future().wait()
    }
}

impl<R: StreamingRequest> IntoFuture for StreamCalling<R> {
    type Output = Result<AnswerItems<R>, CallError<R::Error>>;
    type IntoFuture = Answering<'static, Self::Output>;

    /// # Cancel safety
    /// Dropping the future takes the call back; the handler may have run.
    fn into_future(self) -> Self::IntoFuture {
        let home = self.home.clone();
        Answering::new(&home, async move {
            let body = encode(&self.request)?;
            let (caller, _held) = self.caller.map_err(|why| CallError::Unreachable { why })?;
            let stream = caller.stream(R::NAME, body, self.options).await;
            Ok(AnswerItems {
                home: self.home,
                stream: stream.map_err(CallError::of)?,
                of: PhantomData,
            })
        })
    }
}

/// The items of an answer as they arrive. Dropping it takes the call back.
pub struct AnswerItems<R> {
    pub(super) home: Home,
    stream: AnswerStream,
    of: Of<R>,
}

impl<R: StreamingRequest> AnswerItems<R> {
    /// The next item; `None` when the service said that this was all.
    ///
    /// # Errors
    /// [`CallError`]; there is nothing more then.
    ///
    /// # Cancel safety
    /// An item is given out or stays.
    #[expect(
        clippy::should_implement_trait,
        reason = "it is what `next` means, and no iterator can wait"
    )]
    pub fn next(&mut self) -> NextItem<'_, R> {
        let home = self.home.clone();
        Answering::new(&home, async move {
            match self.stream.next().await.map_err(CallError::of)? {
                None => Ok(None),
                Some(piece) => decode(&piece).map(Some).ok_or(CallError::BadAnswer),
            }
        })
    }
}

/// What [`AnswerItems::next`] brings.
pub type NextItem<'a, R> = Answering<
    'a,
    Result<Option<<R as StreamingRequest>::Item>, CallError<<R as StreamingRequest>::Error>>,
>;

/// Sends the items of an answer.
pub struct Feed<R> {
    answers: Answers,
    of: Of<R>,
}

impl<R: StreamingRequest> Feed<R> {
    pub(super) fn new(answers: Answers) -> Self {
        Self {
            answers,
            of: PhantomData,
        }
    }

    /// Sends an item, waiting while the caller is behind.
    ///
    /// # Errors
    /// [`Stopped::Ended`] when nobody waits for it, [`Stopped::TooLarge`] for an item of more than 1 MiB or one that cannot be encoded.
    ///
    /// # Cancel safety
    /// The item is sent or not.
    pub fn send(&mut self, item: &R::Item) -> Task<'_, Result<(), Stopped>> {
        let encoded = encode::<_, std::convert::Infallible>(item);
        Box::pin(async move {
            let piece = encoded.map_err(|_| Stopped::TooLarge)?;
            self.answers.send(piece).await
        })
    }
}
