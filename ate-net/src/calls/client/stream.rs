//! An answer as it arrives.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout_at};

use super::super::error::CallFailure;
use super::super::frame::CallId;
use super::super::limits::CREDIT_CHUNKS;
use super::link::{Ended, Event, Link};
use super::pool::Chosen;
use crate::transport::Task;

/// The pieces of an answer, in order. It ends with `None` only if the service ended it: an answer that is cut short ends with an error. Dropping it takes
/// the call back.
pub struct AnswerStream {
    link: Arc<Link>,
    call: CallId,
    events: mpsc::UnboundedReceiver<Event>,
    deadline: Instant,
    first: Option<Event>,
    is_over: bool,
    /// Pieces taken since more were asked for.
    taken: u32,
    _held: (Chosen, OwnedSemaphorePermit),
}

impl AnswerStream {
    pub(super) fn new(
        link: Arc<Link>,
        call: CallId,
        events: mpsc::UnboundedReceiver<Event>,
        deadline: Instant,
        held: (Chosen, OwnedSemaphorePermit),
    ) -> Self {
        Self {
            link,
            call,
            events,
            deadline,
            first: None,
            is_over: false,
            taken: 0,
            _held: held,
        }
    }

    /// Waits for the first word about the call; as long as there is none it may be made elsewhere.
    pub(super) async fn first(&mut self) -> Result<(), Ended> {
        match self.events.recv().await {
            Some(Event::Ended(ended)) => {
                self.is_over = true;
                Err(ended)
            }
            Some(event) => {
                self.first = Some(event);
                Ok(())
            }
            None => {
                self.is_over = true;
                Err(Ended::Lost)
            }
        }
    }

    /// The next piece; `None` when the answer is whole.
    ///
    /// # Errors
    /// [`CallFailure`]; there is nothing more then.
    ///
    /// # Cancel safety
    /// A piece is given out or stays.
    #[expect(
        clippy::should_implement_trait,
        reason = "it is what `next` means, and no iterator can wait"
    )]
    pub fn next(&mut self) -> Task<'_, Result<Option<Bytes>, CallFailure>> {
        Box::pin(async move {
            if self.is_over {
                return Ok(None);
            }
            let deadline = self.deadline;
            let event = timeout_at(deadline, self.event()).await;
            match event {
                Ok(Event::Chunk(piece)) => {
                    self.taken += 1;
                    Ok(Some(piece))
                }
                Ok(Event::End(piece)) => {
                    self.is_over = true;
                    Ok(Some(piece).filter(|piece| !piece.is_empty()))
                }
                Ok(Event::Ended(ended)) => {
                    self.is_over = true;
                    Err(ended.into_failure())
                }
                Err(_) => {
                    self.is_over = true;
                    self.link.cancel(self.call);
                    Err(CallFailure::Deadline)
                }
            }
        })
    }

    async fn event(&mut self) -> Event {
        if let Some(first) = self.first.take() {
            return first;
        }
        if self.taken >= CREDIT_CHUNKS / 2 {
            self.link.credit(self.call, self.taken).await;
            self.taken = 0;
        }
        let event = self.events.recv().await;
        event.unwrap_or(Event::Ended(Ended::Lost))
    }
}

impl Drop for AnswerStream {
    fn drop(&mut self) {
        if !self.is_over {
            self.link.cancel(self.call);
        }
    }
}
