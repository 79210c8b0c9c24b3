//! Sending staged batches, in order, over one stream; after every break again from the first that is not settled.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ate_chain::Local;
use ate_crypto::Hash;
use parking_lot::Mutex;

use super::remote::Shared;
use super::session::Session;
use crate::error::NetError;
use crate::framed::{BULK_BYTES_MAX, CONTROL_BYTES_MAX, FrameReader, FrameWriter};
use crate::wire::{Answers, Kind, Request, decode};

/// Pause after a stream broke while the connection stands.
const PAUSE: Duration = Duration::from_millis(200);

/// Batches that were sent and not answered: ticket and commits.
type Sent = Mutex<VecDeque<(u64, Vec<Hash>)>>;

pub(super) async fn submit(shared: Arc<Shared>, weak: Weak<Local>) {
    loop {
        // Without anything to send no stream is opened.
        shared.send.notified().await;
        let Some(local) = weak.upgrade() else { return };
        if local.unsent(0).is_empty() {
            continue;
        }
        drop(local);
        let Ok(session) = shared.link.up().await else {
            return;
        };
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
        let mut is_complete = true;
        for (id, answer) in ids.iter().zip(answers) {
            match answer.into_answered() {
                Some(answered) => local.answered(id, answered),
                None => is_complete = false,
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
