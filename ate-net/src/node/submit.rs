//! Taking in batches: cheap refusals first, one stream in the order in which it came, answers when they are durable.

use std::sync::{Arc, Weak};

use ate_chain::{Batch, ChainId, Committed, Local, Pending, Reject, SubmitError};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, timeout_at};

use super::budget::Held;
use super::serve::{Visit, busy, done};
use super::{left, measure};
use crate::error::NetError;
use crate::framed::{FrameReader, FrameWriter};
use crate::host::{Act, Verdict};
use crate::limits::LimitKind;
use crate::metrics::RequestEnd;
use crate::wire::{Answers, Kind, RefusalCode, Reply, WireAnswer, WireReject, encode};

/// Ticket in front of a batch.
const TICKET_BYTES: usize = 8;
/// What little of a batch needs no room among what all peers together may have here: the head of a message.
const UNCOUNTED_BYTES: usize = 512;
/// A batch that is taken in without handing the thread's other tasks over first.
const LITTLE_BYTES: usize = 16 << 10;

/// A batch that was handed over.
struct Waiting {
    ticket: u64,
    chain: ChainId,
    bytes: u64,
    come: Instant,
    /// The chain, unless the node refuses before it looks at one.
    local: Option<Arc<Local>>,
    answers: Vec<Answer>,
    _held: Held,
}

type Answer = Pending<Result<Committed, SubmitError>>;

pub(super) async fn submit(
    visit: Arc<Visit>,
    chain: ChainId,
    mut writer: FrameWriter,
    reader: FrameReader,
) -> Result<RequestEnd, NetError> {
    let _stays = match visit.stays() {
        Ok(stays) => stays,
        Err(hit) => return visit.refuse(writer, RefusalCode::Busy, &hit).await,
    };
    match visit.judge(Act::Write { chain, bytes: 0 }) {
        Verdict::Admit => {}
        Verdict::Deny => return visit.absent(writer).await,
        Verdict::Busy { why } => return visit.refuse(writer, RefusalCode::Busy, &why).await,
    }
    visit
        .send(&mut writer, Kind::Reply, &encode(&Reply::Ready))
        .await?;
    let (waiting, answered) = mpsc::channel(visit.shared.parts.limits.batches_waiting_max.max(1));
    // Both at once: the next batch is taken in while the last one syncs.
    let (taken, answered) = tokio::join!(
        take_in(&visit, chain, reader, waiting),
        answer(&visit, &mut writer, answered),
    );
    match taken.and(answered) {
        Ok(()) => done(writer),
        Err(NetError::Refused { code, why }) => visit.refuse(writer, code, &why).await,
        Err(error) => {
            // Whoever sent it learns why, if the stream still carries words.
            let why = error.to_string();
            drop(visit.refuse(writer, RefusalCode::Protocol, &why).await);
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
    let (gate, peer) = (&visit.shared.gate, visit.id);
    let mut known = Weak::new();
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
            // The other half gave up: nobody would hear of what comes now.
            () = waiting.closed() => return Ok(()),
            message = next(visit, &mut reader) => message?,
        };
        let (payload, held) = match message {
            None => return Ok(()),
            Some((Kind::Batch, payload, held)) if payload.len() >= TICKET_BYTES => (payload, held),
            Some(_) => {
                return Err(NetError::Protocol {
                    what: "only batches are taken here",
                });
            }
        };
        let come = Instant::now();
        let bytes = payload.len() as u64;
        gate.metrics.received_bytes.add(bytes);
        let wait = gate.limiter.received(peer, bytes, gate.now_ms());
        visit.pause(LimitKind::BytesIn, wait).await;
        if let Err(hit) = gate.limiter.request(peer, gate.now_ms()) {
            visit
                .pause(LimitKind::Requests, hit.retry_ms.unwrap_or(u64::MAX))
                .await;
        }
        let (ticket, batch) = payload.split_at(TICKET_BYTES);
        let ticket = u64::from_le_bytes(ticket.try_into().expect("eight bytes"));
        // A chain that is held is not read from the disk, and a small batch is soon verified.
        let is_little = payload.len() <= LITTLE_BYTES && known.strong_count() > 0;
        let order = || order(visit, chain, batch);
        let (local, answers) = if is_little {
            visit.little(order).await?
        } else {
            visit.work(order).await?
        };
        known = local.as_ref().map(Arc::downgrade).unwrap_or_default();
        place.send(Waiting {
            ticket,
            chain,
            bytes,
            come,
            local,
            answers,
            _held: held,
        });
    }
}

/// The next message, with the room that it takes here. It may begin whenever it likes; once begun, it must come on.
async fn next(
    visit: &Visit,
    reader: &mut FrameReader,
) -> Result<Option<(Kind, Bytes, Held)>, NetError> {
    let limits = &visit.shared.parts.limits;
    let mut held = visit.batches.nothing();
    let mut begun = None;
    loop {
        if let Some((kind, payload)) = reader.whole(limits.batch_bytes_max)? {
            held.grow(payload.len()).await?;
            return Ok(Some((kind, payload, held)));
        }
        let bytes = reader.waiting_bytes();
        if bytes > UNCOUNTED_BYTES {
            held.grow(bytes).await?;
        }
        let more = if bytes == 0 {
            reader.fill().await?
        } else {
            let begun = *begun.get_or_insert_with(Instant::now);
            let slowest = u64::from(limits.batch_bytes_per_second_min.max(1));
            let limit = limits.batch + Duration::from_secs(bytes as u64 / slowest);
            let more = timeout_at(begun + limit, reader.fill()).await;
            more.map_err(|_| NetError::TimedOut {
                ms: limit.as_millis() as u64,
            })??
        };
        if !more {
            return Ok(None);
        }
    }
}

/// Admits, decodes and hands over: whatever costs least comes first.
fn order(
    visit: &Visit,
    chain: ChainId,
    bytes: &[u8],
) -> Result<(Option<Arc<Local>>, Vec<Answer>), NetError> {
    let malformed = |_| NetError::Protocol {
        what: "a batch that does not hold together",
    };
    let claimed = Batch::claimed(bytes).map_err(malformed)?;
    let known = visit.shared.parts.host.open(chain);
    let known = known.map_err(NetError::Store)?;
    let Some(local) = known else {
        return found(visit, chain, bytes);
    };
    if !local.knows(&claimed.author) {
        let author = claimed.author;
        let refusals = refused(claimed.commits, || Reject::UnknownAuthor { author });
        return Ok((Some(local), refusals));
    }
    let size = bytes.len() as u64;
    if !admitted(visit, Act::Write { chain, bytes: size })? {
        return Ok((Some(local), elsewhere(claimed.commits)));
    }
    let gate = &visit.shared.gate;
    let room = gate.limiter.commit(chain, 0, gate.now_ms());
    room.map_err(|hit| busy(gate.hit(hit)))?;
    let batch = Batch::decode(chain, bytes).map_err(malformed)?;
    let answers = local.submit_signed(batch);
    Ok((Some(local), answers))
}

/// A chain that is not here begins with a genesis that holds: anything else leaves nothing behind.
fn found(
    visit: &Visit,
    chain: ChainId,
    bytes: &[u8],
) -> Result<(Option<Arc<Local>>, Vec<Answer>), NetError> {
    let batch = Batch::decode(chain, bytes).map_err(|_| NetError::Protocol {
        what: "a batch that does not hold together",
    })?;
    let commits = batch.ids().len();
    if batch.genesis().is_none() {
        return Err(NetError::Refused {
            code: RefusalCode::Absent,
            why: "there is no such chain here, or it is not for this identity".into(),
        });
    }
    let founder = match batch.founds() {
        Ok(genesis) => (genesis.name.clone(), genesis.root.id()),
        Err(reject) => {
            let why = SubmitError::from(reject).to_string();
            let refusals = refused(commits, || Reject::Elsewhere { why: why.clone() });
            return Ok((None, refusals));
        }
    };
    let (name, root) = founder;
    let host = &visit.shared.parts.host;
    // A name is one chain's at this node, for each root.
    let same = host.find(&name, Some(root)).map_err(NetError::Store)?;
    if same.is_some() {
        let why = "a chain of this name and root is here already";
        let refusals = refused(commits, || Reject::Elsewhere { why: why.into() });
        return Ok((None, refusals));
    }
    let act = Act::Create {
        chain,
        name: &name,
        bytes: bytes.len() as u64,
    };
    if !admitted(visit, act)? {
        return Ok((None, elsewhere(commits)));
    }
    let gate = &visit.shared.gate;
    let counted = gate.limiter.chain(visit.id, gate.now_ms());
    counted.map_err(|hit| busy(gate.hit(hit)))?;
    let local = host.begin(chain, &name).map_err(NetError::Store)?;
    let answers = local.submit_signed(batch);
    Ok((Some(local), answers))
}

/// Whether the node's own policy lets it through.
fn admitted(visit: &Visit, act: Act<'_>) -> Result<bool, NetError> {
    match visit.judge(act) {
        Verdict::Admit => Ok(true),
        Verdict::Deny => Ok(false),
        Verdict::Busy { why } => Err(NetError::Refused {
            code: RefusalCode::Busy,
            why,
        }),
    }
}

/// Final for these commits, and no reason to end the stream.
fn elsewhere(commits: usize) -> Vec<Answer> {
    refused(commits, || Reject::Elsewhere {
        why: "this identity may not do that at this node".to_owned(),
    })
}

fn refused(commits: usize, why: impl Fn() -> Reject) -> Vec<Answer> {
    let refusals = (0..commits).map(|_| Pending::ready(Err(why().into())));
    refusals.collect()
}

async fn answer(
    visit: &Visit,
    writer: &mut FrameWriter,
    mut waiting: mpsc::Receiver<Waiting>,
) -> Result<(), NetError> {
    while let Some(batch) = waiting.recv().await {
        let ticket = batch.ticket;
        let mut told = Vec::with_capacity(batch.answers.len());
        let at = || batch.local.as_ref().map_or(0, |local| local.position().0);
        for answer in batch.answers {
            let answer = answer.await;
            tally(visit, &answer);
            told.push(match answer {
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
        let is_landed = |answer: &WireAnswer| matches!(answer, WireAnswer::Landed { .. });
        if told.iter().any(is_landed) {
            let gate = &visit.shared.gate;
            let ms = batch.come.elapsed().as_millis();
            gate.metrics
                .commit_ms
                .record(u64::try_from(ms).unwrap_or(u64::MAX));
            gate.metrics.commit_bytes.record(batch.bytes);
            gate.limiter
                .committed(batch.chain, batch.bytes, gate.now_ms());
        }
        let answers = Answers {
            ticket,
            answers: told,
        };
        visit.send(writer, Kind::Answers, &encode(&answers)).await?;
    }
    Ok(())
}

fn tally(visit: &Visit, answer: &Result<Committed, SubmitError>) {
    let metrics = &visit.shared.gate.metrics;
    match answer {
        Ok(_) => metrics.commits_accepted.add(1),
        Err(error) => metrics.commits_rejected.add(measure::refusal(error), 1),
    }
}
