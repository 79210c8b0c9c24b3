//! What a node says, changed on its way: to the device it is as if the node had said it.
//!
//! Messages are taken apart as docs/protocol.md has them: `u32 length ‖ kind u8 ‖ payload`.

use std::collections::VecDeque;
use std::sync::Arc;

use ate::chain::{Checkpoint, ShownFrame};
use ate::crypto::{Hash, Identity};
use ate_net::{
    Connection, Endpoint, ReceiveHalf, SendHalf, Standing, Stream, Task, Transport, TransportError,
};
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::lie::Lie;
use crate::random::Random;

const HEADER_BYTES: usize = 5;
const FRAMES: u8 = 3;
const STANDING: u8 = 4;
const BATCH: u8 = 5;
const ANSWERS: u8 = 6;
const CONTENT: u8 = 7;

/// As the node's answers to a batch.
#[derive(Serialize, Deserialize)]
struct Answers {
    ticket: u64,
    answers: Vec<Answer>,
}

/// Only what is looked at; the node says more, and then it stays as it is.
#[derive(Serialize, Deserialize)]
enum Answer {
    Landed { seq: u64 },
}

/// What is told, to whom it may be changed, and how often it was.
pub(super) struct Liar {
    lie: Lie,
    state: Mutex<State>,
    signers: Signers,
}

/// Who signs what is signed falsely.
pub(super) struct Signers {
    pub(super) node: Identity,
    pub(super) stranger: Identity,
    pub(super) chain: ate::chain::ChainId,
}

struct State {
    random: Random,
    is_on: bool,
    told: u64,
    held: Option<Bytes>,
}

impl Liar {
    pub(super) fn new(lie: Lie, seed: u64, signers: Signers) -> Arc<Self> {
        Arc::new(Self {
            lie,
            state: Mutex::new(State {
                random: Random::new(seed ^ 0x11e),
                is_on: false,
                told: 0,
                held: None,
            }),
            signers,
        })
    }

    pub(super) fn switch(&self, is_on: bool) {
        let mut state = self.state.lock();
        state.is_on = is_on;
        state.held = None;
    }

    /// How many lies were told.
    pub(super) fn told(&self) -> u64 {
        self.state.lock().told
    }

    /// What is heard in the place of a message, each with its kind.
    fn hear(&self, kind: u8, payload: Bytes) -> Vec<(u8, Bytes)> {
        let mut state = self.state.lock();
        if !state.is_on {
            return vec![(kind, payload)];
        }
        let lied = self.changed(&mut state, kind, &payload);
        match lied {
            Some(messages) => {
                state.told += 1;
                messages.into_iter().map(|it| (kind, it)).collect()
            }
            None => vec![(kind, payload)],
        }
    }

    /// The lie; `None` if this message is told as it is.
    fn changed(&self, state: &mut State, kind: u8, payload: &Bytes) -> Option<Vec<Bytes>> {
        match (self.lie, kind) {
            (Lie::ChangedFrames, FRAMES) => {
                let mut bytes = payload.to_vec();
                let at = state.random.index(bytes.len());
                bytes[at] ^= 1 << state.random.below(8);
                Some(vec![bytes.into()])
            }
            (Lie::ForgedSignature, FRAMES) => forged(payload).map(|it| vec![it]),
            (Lie::DroppedCommit, FRAMES) => dropped(payload).map(|it| vec![it]),
            (Lie::Replayed, FRAMES) => Some(vec![payload.clone(), payload.clone()]),
            (Lie::FalseRoot | Lie::SignedFalseRoot | Lie::ForeignNote | Lie::Shrunk, STANDING) => {
                self.false_standing(payload).map(|it| vec![it])
            }
            (Lie::SwappedAnswers, ANSWERS) => match state.held.take() {
                None => {
                    state.held = Some(payload.clone());
                    Some(Vec::new())
                }
                Some(first) => Some(vec![payload.clone(), first]),
            },
            (Lie::FalsePlace, ANSWERS) => {
                let answers = postcard::from_bytes::<Answers>(payload).ok()?;
                let seq = u64::MAX - state.random.below(2);
                Some(vec![landed(answers.ticket, answers.answers.len(), seq)])
            }
            (Lie::Frozen, FRAMES | STANDING) => Some(Vec::new()),
            (Lie::ForgedContent, CONTENT) if payload.len() > 1 => {
                let mut bytes = payload.to_vec();
                let at = 1 + state.random.index(bytes.len() - 1);
                bytes[at] ^= 1;
                Some(vec![bytes.into()])
            }
            (Lie::WithheldContent, CONTENT) => Some(vec![Bytes::from_static(&[0])]),
            _ => None,
        }
    }

    fn false_standing(&self, payload: &Bytes) -> Option<Bytes> {
        let mut standing: Standing = postcard::from_bytes(payload).ok()?;
        let sign = |identity: &Identity, size, root| {
            let chain = self.signers.chain;
            let body = Checkpoint { chain, size, root }.body();
            let origin = Checkpoint::origin(&chain);
            identity.note_keys().sign_note(&origin, &body)
        };
        match self.lie {
            Lie::FalseRoot => standing.root[0] ^= 1,
            Lie::SignedFalseRoot => {
                standing.root[31] ^= 1;
                let (size, root) = (standing.size, Hash(standing.root));
                standing.note = Some(sign(&self.signers.node, size, root));
            }
            Lie::ForeignNote => {
                let (size, root) = (standing.size, Hash(standing.root));
                standing.note = Some(sign(&self.signers.stranger, size, root));
            }
            _ => {
                standing.size = standing.size.checked_sub(1)?;
                standing.note = None;
            }
        }
        Some(postcard::to_stdvec(&standing).ok()?.into())
    }

    /// Whether a message of the device goes nowhere, and what the device hears instead.
    fn swallowed(&self, kind: u8, payload: &[u8]) -> Option<Bytes> {
        let mut state = self.state.lock();
        if !state.is_on || self.lie != Lie::NeverOrdered || kind != BATCH {
            return None;
        }
        state.told += 1;
        let ticket = u64::from_le_bytes(*payload.first_chunk()?);
        // The devices of a run send their commits one by one.
        Some(landed(ticket, 1, state.random.below(3)))
    }
}

fn landed(ticket: u64, count: usize, seq: u64) -> Bytes {
    let answers = (0..count).map(|_| Answer::Landed { seq }).collect();
    let message = Answers { ticket, answers };
    let bytes = postcard::to_stdvec(&message);
    bytes.expect("numbers have bytes").into()
}

/// The frames with another signature in the last proof: it ends with it.
fn forged(payload: &Bytes) -> Option<Bytes> {
    let frames = ShownFrame::decode_all(payload).ok()?;
    let last = frames.iter().rposition(|frame| !frame.is_commit())?;
    let mut bytes = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        frame.encode(&mut bytes);
        if index == last {
            *bytes.last_mut()? ^= 1;
        }
    }
    Some(bytes.into())
}

/// The frames without a commit that has another one behind it.
fn dropped(payload: &Bytes) -> Option<Bytes> {
    let mut frames = ShownFrame::decode_all(payload).ok()?;
    let last = frames.iter().rposition(ShownFrame::is_commit)?;
    let inner = frames[..last].iter().position(ShownFrame::is_commit)?;
    frames.remove(inner);
    let mut bytes = Vec::new();
    frames.iter().for_each(|frame| frame.encode(&mut bytes));
    Some(bytes.into())
}

/// Dials a node that lies.
pub(super) struct LyingTransport {
    pub(super) inner: Arc<dyn Transport>,
    pub(super) liar: Arc<Liar>,
}

impl Transport for LyingTransport {
    fn connect<'a>(
        &'a self,
        to: &'a Endpoint,
    ) -> Task<'a, Result<Arc<dyn Connection>, TransportError>> {
        Box::pin(async {
            let inner = self.inner.connect(to).await?;
            let liar = self.liar.clone();
            Ok(Arc::new(LyingConnection { inner, liar }) as Arc<dyn Connection>)
        })
    }
}

struct LyingConnection {
    inner: Arc<dyn Connection>,
    liar: Arc<Liar>,
}

impl Connection for LyingConnection {
    fn open(&self) -> Task<'_, Result<Stream, TransportError>> {
        Box::pin(async {
            let Stream { send, receive } = self.inner.open().await?;
            let forged = Arc::new(Forged::default());
            let send = LyingSend {
                inner: send,
                liar: self.liar.clone(),
                forged: forged.clone(),
            };
            let receive = LyingReceive {
                inner: receive,
                liar: self.liar.clone(),
                forged,
                came: BytesMut::new(),
                ready: BytesMut::new(),
            };
            Ok(Stream {
                send: Box::new(send),
                receive: Box::new(receive),
            })
        })
    }

    fn accept(&self) -> Task<'_, Result<Stream, TransportError>> {
        self.inner.accept()
    }

    fn peer(&self) -> Option<std::net::IpAddr> {
        self.inner.peer()
    }

    fn admit(&self) {
        self.inner.admit();
    }

    fn binding(&self) -> [u8; 32] {
        self.inner.binding()
    }

    fn close(&self, code: u32, why: &str) {
        self.inner.close(code, why);
    }

    fn closed(&self) -> Task<'_, TransportError> {
        self.inner.closed()
    }
}

/// Answers to what the node never got.
#[derive(Default)]
struct Forged {
    answers: Mutex<VecDeque<Bytes>>,
    more: Notify,
}

struct LyingSend {
    inner: Box<dyn SendHalf>,
    liar: Arc<Liar>,
    forged: Arc<Forged>,
}

impl SendHalf for LyingSend {
    fn write(&mut self, bytes: Bytes) -> Task<'_, Result<(), TransportError>> {
        // A device writes whole messages.
        let kind = bytes.get(4).copied().unwrap_or(0);
        let answer = bytes
            .get(HEADER_BYTES..)
            .and_then(|it| self.liar.swallowed(kind, it));
        match answer {
            Some(answer) => {
                self.forged.answers.lock().push_back(answer);
                self.forged.more.notify_one();
                Box::pin(async { Ok(()) })
            }
            None => self.inner.write(bytes),
        }
    }

    fn finish(&mut self) -> Result<(), TransportError> {
        self.inner.finish()
    }

    fn reset(&mut self, code: u32) {
        self.inner.reset(code);
    }
}

struct LyingReceive {
    inner: Box<dyn ReceiveHalf>,
    liar: Arc<Liar>,
    forged: Arc<Forged>,
    came: BytesMut,
    ready: BytesMut,
}

impl LyingReceive {
    fn take(&mut self) {
        while let Some(header) = self.came.first_chunk::<HEADER_BYTES>() {
            let [a, b, c, d, kind] = *header;
            let length = u32::from_le_bytes([a, b, c, d]) as usize;
            if self.came.len() < HEADER_BYTES + length {
                break;
            }
            let mut message = self.came.split_to(HEADER_BYTES + length).freeze();
            let payload = message.split_off(HEADER_BYTES);
            for (kind, payload) in self.liar.hear(kind, payload) {
                self.say(kind, &payload);
            }
        }
        let forged = std::mem::take(&mut *self.forged.answers.lock());
        forged.iter().for_each(|answer| self.say(ANSWERS, answer));
    }

    fn say(&mut self, kind: u8, payload: &[u8]) {
        let length = payload.len() as u32;
        self.ready.extend_from_slice(&length.to_le_bytes());
        self.ready.extend_from_slice(&[kind]);
        self.ready.extend_from_slice(payload);
    }
}

impl ReceiveHalf for LyingReceive {
    fn read(&mut self, max: usize) -> Task<'_, Result<Option<Bytes>, TransportError>> {
        Box::pin(async move {
            loop {
                self.take();
                if !self.ready.is_empty() {
                    let count = self.ready.len().min(max);
                    return Ok(Some(self.ready.split_to(count).freeze()));
                }
                let came = tokio::select! {
                    biased;
                    () = self.forged.more.notified() => continue,
                    came = self.inner.read(max) => came?,
                };
                match came {
                    Some(bytes) => self.came.extend_from_slice(&bytes),
                    None => return Ok(None),
                }
            }
        })
    }

    fn stop(&mut self, code: u32) {
        self.inner.stop(code);
    }
}
