//! A subscription as a stream, for those who combine streams.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::{Change, Subscription};
use crate::error::SubscribeError;

impl<T: Send + Sync + 'static> Stream for Subscription<T> {
    type Item = Result<Change<T>, SubscribeError>;

    /// As [`Subscription::next`]; after an error it may be polled again.
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let kept = self.coming.get_mut().take();
        let mut coming = kept.unwrap_or_else(|| self.next());
        let polled = Pin::new(&mut coming).poll(context);
        if polled.is_pending() {
            // Its waker is registered where it waits.
            *self.coming.get_mut() = Some(coming);
        }
        polled.map(Result::transpose)
    }
}
