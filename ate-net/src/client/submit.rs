//! Sending staged batches, in order, over one stream; after every break again from the first that is not settled.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ate_chain::{Answered, Local};
use ate_crypto::Hash;
use parking_lot::Mutex;

use super::remote::Shared;
use super::session::Session;
use crate::error::NetError;
use crate::framed::{BULK_BYTES_MAX, CONTROL_BYTES_MAX, FrameReader, FrameWriter};
use crate::node::blocking;
use crate::wire::{Answers, Kind, Request, WireAnswer, decode};

/// Pause after a stream broke while the connection stands.
const PAUSE: Duration = Duration::from_millis(200);

/// Batches that were sent and not answered: ticket and commits.
type Sent = Mutex<VecDeque<(u64, Vec<Hash>)>>;

pub(super) async fn submit(shared: Arc<Shared>, weak: Weak<Local>) {
    loop {
        // Without anything to send no stream is opened.
        shared.send.notified().await;
        let Some(local) = weak.upgrade() else { return };
        if !local.has_unsent() {
            continue;
        }
        drop(local);
        let session = shared.link.up().await;
        if let Err(error) = stream(&shared, &weak, &session).await {
            tracing::debug!(chain = %shared.chain, %error, "commits wait");
            shared.note(|status| status.trouble = Some(error.to_string()));
            tokio::time::sleep(PAUSE).await;
        }
        shared.send.notify_one();
    }
}

async fn stream(shared: &Shared, weak: &Weak<Local>, session: &Session) -> Result<(), NetError> {
    let request = Request::Submit {
        chain: shared.chain.0.0,
    };
    let (mut writer, mut reader) = session.request(&request).await?;
    reader.expect(Kind::Reply, CONTROL_BYTES_MAX).await?;
    let sent = Sent::default();
    // Whichever ends first ends the stream: without answers nothing is sent, and answers come for what was sent only.
    tokio::select! {
        biased;
        ended = hear(shared, weak, &sent, &mut reader) => ended,
        ended = send(shared, weak, &sent, &mut writer) => ended,
    }
}

async fn send(
    shared: &Shared,
    weak: &Weak<Local>,
    sent: &Sent,
    writer: &mut FrameWriter,
) -> Result<(), NetError> {
    let mut last = 0;
    loop {
        let Some(local) = weak.upgrade() else {
            return Ok(());
        };
        let unsent = local.unsent(last);
        drop(local);
        #[cfg(ate_planted)]
        let unsent = newest_first(unsent);
        for (ticket, batch) in unsent {
            let mut payload = ticket.to_le_bytes().to_vec();
            batch.encode(&mut payload);
            sent.lock().push_back((ticket, batch.ids().to_vec()));
            writer.send(Kind::Batch, &payload).await?;
            last = ticket;
        }
        shared.send.notified().await;
    }
}

async fn hear(
    shared: &Shared,
    weak: &Weak<Local>,
    sent: &Sent,
    reader: &mut FrameReader,
) -> Result<(), NetError> {
    loop {
        let Some((kind, payload)) = reader.next(BULK_BYTES_MAX).await? else {
            return Err(NetError::Protocol {
                what: "the node ended the stream of answers",
            });
        };
        if kind != Kind::Answers {
            return Err(NetError::Protocol {
                what: "batches are answered by answers",
            });
        }
        let Answers { ticket, answers } = decode(&payload)?;
        let first = sent.lock().pop_front();
        let ids = match first {
            Some((sent, ids)) if sent == ticket && ids.len() == answers.len() => ids,
            _ => {
                return Err(NetError::Protocol {
                    what: "answers that fit no batch that was sent",
                });
            }
        };
        let Some(local) = weak.upgrade() else {
            return Ok(());
        };
        let answers = answers.into_iter().map(WireAnswer::into_answered);
        let answers: Vec<Option<Answered>> = answers.collect();
        let is_complete = answers.iter().all(Option::is_some);
        for (id, answer) in ids.iter().zip(answers) {
            match answer {
                // The whole batch is sent again, and judged again.
                Some(Answered::Refused { .. }) if !is_complete => {}
                // A refusal is kept before it is told.
                Some(answer @ Answered::Refused { .. }) => {
                    blocking(|| local.answered(id, answer));
                }
                Some(answer) => local.answered(id, answer),
                None => {}
            }
        }
        shared.look.notify_one();
        if !is_complete {
            return Err(NetError::Protocol {
                what: "the node could not say what became of a commit",
            });
        }
    }
}

/// A planted bug: commits overtake each other.
#[cfg(ate_planted)]
fn newest_first(
    mut unsent: Vec<(u64, Arc<ate_chain::Batch>)>,
) -> Vec<(u64, Arc<ate_chain::Batch>)> {
    if ate_crypto::planted("send-the-newest-first") {
        unsent.reverse();
    }
    unsent
}
