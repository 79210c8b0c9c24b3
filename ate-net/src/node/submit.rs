//! Taking in batches: cheap refusals first, one stream in the order in which it came, answers when they are durable.

use std::sync::Arc;

use ate_chain::{Batch, ChainId, Committed, Local, Pending, Reject, SubmitError};
use tokio::sync::mpsc;

use super::serve::{Visit, absent};
use super::{blocking, left};
use crate::error::NetError;
use crate::framed::{FrameReader, FrameWriter};
use crate::host::{Act, Verdict};
use crate::wire::{Answers, Kind, RefusalCode, Reply, WireAnswer, WireReject, encode};

/// Ticket in front of a batch.
const TICKET_BYTES: usize = 8;

/// A batch that was handed over.
struct Waiting {
    ticket: u64,
    /// The chain, unless the node refuses before it looks at one.
    local: Option<Arc<Local>>,
    answers: Vec<Answer>,
}

type Answer = Pending<Result<Committed, SubmitError>>;

pub(super) async fn submit(
    visit: Arc<Visit>,
    chain: ChainId,
    mut writer: FrameWriter,
    reader: FrameReader,
) -> Result<(), NetError> {
    match visit.judge(Act::Write { chain, bytes: 0 }) {
        Verdict::Admit => {}
        Verdict::Deny => return absent(writer).await,
        Verdict::Busy { why } => return writer.refuse(RefusalCode::Busy, &why).await,
    }
    visit
        .send(&mut writer, Kind::Reply, &encode(&Reply::Ready))
        .await?;
    let (waiting, answered) = mpsc::channel(visit.shared.parts.limits.batches_waiting_max);
    // Both at once: the next batch is taken in while the last one syncs.
    let (taken, answered) = tokio::join!(
        take_in(&visit, chain, reader, waiting),
        answer(&visit, &mut writer, answered),
    );
    match taken.and(answered) {
        Ok(()) => writer.finish(),
        Err(NetError::Refused { code, why }) => writer.refuse(code, &why).await,
        Err(error) => {
            // Whoever sent it learns why, if the stream still carries words.
            drop(
                writer
                    .refuse(RefusalCode::Protocol, &error.to_string())
                    .await,
            );
            Err(error)
        }
    }
}

async fn take_in(
    visit: &Visit,
    chain: ChainId,
    mut reader: FrameReader,
    waiting: mpsc::Sender<Waiting>,
) -> Result<(), NetError> {
    let max = visit.shared.parts.limits.batch_bytes_max;
    loop {
        // A place for the answer first: who does not read answers sends nothing more.
        let Ok(place) = waiting.reserve().await else {
            return Ok(());
        };
        let message = tokio::select! {
            biased;
            () = left(visit.shared.leaving.clone()) => return Err(NetError::Refused {
                code: RefusalCode::Leaving,
                why: "the node is shutting down".into(),
            }),
            message = reader.next(max) => message?,
        };
        let payload = match message {
            None => return Ok(()),
            Some((Kind::Batch, payload)) if payload.len() >= TICKET_BYTES => payload,
            Some(_) => {
                return Err(NetError::Protocol {
                    what: "only batches are taken here",
                });
            }
        };
        let (ticket, bytes) = payload.split_at(TICKET_BYTES);
        let ticket = u64::from_le_bytes(ticket.try_into().expect("eight bytes"));
        let (local, answers) = blocking(|| order(visit, chain, bytes))?;
        place.send(Waiting {
            ticket,
            local,
            answers,
        });
    }
}

/// Decodes, admits and hands over.
fn order(
    visit: &Visit,
    chain: ChainId,
    bytes: &[u8],
) -> Result<(Option<Arc<Local>>, Vec<Answer>), NetError> {
    let host = &visit.shared.parts.host;
    let known = host.open(chain).map_err(NetError::Store)?;
    let batch = Batch::decode(chain, bytes).map_err(|_| NetError::Protocol {
        what: "a batch that does not hold together",
    })?;
    let bytes = bytes.len() as u64;
    let act = match (&known, batch.genesis()) {
        (None, None) => {
            return Err(NetError::Refused {
                code: RefusalCode::Absent,
                why: "there is no such chain here, or it is not for this identity".into(),
            });
        }
        (None, Some(genesis)) => Act::Create {
            chain,
            name: &genesis.name,
            bytes,
        },
        (Some(_), _) => Act::Write { chain, bytes },
    };
    match visit.judge(act) {
        Verdict::Admit => {}
        // Final for these commits, and no reason to end the stream.
        Verdict::Deny => {
            let why = "this identity may not do that at this node".to_owned();
            let refusals = std::iter::repeat_n(Reject::Elsewhere { why }, batch.ids().len());
            let refusals = refusals.map(|reason| Pending::ready(Err(reason.into())));
            return Ok((known, refusals.collect()));
        }
        Verdict::Busy { why } => {
            return Err(NetError::Refused {
                code: RefusalCode::Busy,
                why,
            });
        }
    }
    let local = match (known, batch.genesis()) {
        (Some(local), _) => local,
        // A name is one chain's at this node, for each root.
        (None, Some(genesis))
            if host
                .find(&genesis.name, Some(genesis.root.id()))
                .map_err(NetError::Store)?
                .is_some() =>
        {
            let why = "a chain of this name and root is here already".to_owned();
            let refusals = std::iter::repeat_n(Reject::Elsewhere { why }, batch.ids().len());
            let refusals = refusals.map(|reason| Pending::ready(Err(reason.into())));
            return Ok((None, refusals.collect()));
        }
        (None, genesis) => {
            let name = genesis.map_or("", |genesis| &genesis.name);
            host.begin(chain, name).map_err(NetError::Store)?
        }
    };
    let answers = local.submit_signed(batch);
    Ok((Some(local), answers))
}

async fn answer(
    visit: &Visit,
    writer: &mut FrameWriter,
    mut waiting: mpsc::Receiver<Waiting>,
) -> Result<(), NetError> {
    while let Some(Waiting {
        ticket,
        local,
        answers,
    }) = waiting.recv().await
    {
        let at = || local.as_ref().map_or(0, |local| local.position().0);
        let mut told = Vec::with_capacity(answers.len());
        for answer in answers {
            told.push(match answer.await {
                Ok(committed) => WireAnswer::Landed { seq: committed.seq },
                Err(SubmitError::Rejected(reason)) => WireAnswer::Refused {
                    reason: WireReject::of(&reason),
                    at: at(),
                },
                Err(SubmitError::TooLarge { why }) => WireAnswer::Refused {
                    reason: WireReject::Other { why },
                    at: at(),
                },
                // What the disk says is for the node's own eyes.
                Err(_) => WireAnswer::Later {
                    why: "the node could not write it now".into(),
                },
            });
        }
        let answers = Answers {
            ticket,
            answers: told,
        };
        visit.send(writer, Kind::Answers, &encode(&answers)).await?;
    }
    Ok(())
}
