//! A chain that is ordered in one store and followed by others, without any network: what goes between them are calls and bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ate_chain::{
    Answered, Batch, Clock, Committer, Contents, FetchError, FollowError, Local, Pending, Position,
    ShownFrame, SubmitError, Upstream, Wanted,
};
use ate_crypto::{Identity, Seed, SeededRandom};
use ate_log::{Log, MemLog};
use parking_lot::Mutex;

pub(crate) struct Noon;
impl Clock for Noon {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000
    }
}

pub(crate) fn identity(number: u8) -> Identity {
    Identity::from_seed(&Seed::generate(&SeededRandom::new(number.into())))
}

pub(crate) fn committer(store: u8) -> Arc<Committer> {
    let log = Arc::new(MemLog::new());
    committer_over(&log, store, 100 + u64::from(store))
}

/// A store over a log that may have been used before; `seed` differs for every opening.
pub(crate) fn committer_over(
    log: &Arc<impl Log + 'static>,
    store: u8,
    seed: u64,
) -> Arc<Committer> {
    let random = Arc::new(SeededRandom::new(seed));
    Committer::new(log.clone(), Arc::new(Noon), random, None, [store; 16])
}

/// The sequencer, reached by calls.
pub(crate) struct Node {
    pub(crate) chain: Mutex<Option<Arc<Local>>>,
    pub(crate) wakes: AtomicUsize,
}

impl Node {
    pub(crate) fn of(hosted: Option<Arc<Local>>) -> Arc<Self> {
        Arc::new(Self {
            chain: Mutex::new(hosted),
            wakes: AtomicUsize::new(0),
        })
    }
}

impl Upstream for Node {
    fn wake(&self) {
        self.wakes.fetch_add(1, Ordering::SeqCst);
    }

    fn fetch(&self, wanted: Vec<Wanted>) -> Pending<Result<Vec<Option<Vec<u8>>>, FetchError>> {
        let chain = self.chain.lock().clone().expect("the node has the chain");
        let contents = wanted
            .into_iter()
            .map(|wanted| chain.sealed_content(wanted.content));
        Pending::ready(Ok(contents.map(|content| content.expect("read")).collect()))
    }
}

/// Sends what is staged behind a ticket, as bytes: what the node says of each commit. The sender is not told.
pub(crate) fn deliver(
    hosted: &Arc<Local>,
    own: &Local,
    sent: &mut u64,
) -> Vec<(ate_crypto::Hash, Answered)> {
    let mut answers = Vec::new();
    for (ticket, batch) in own.unsent(*sent) {
        *sent = ticket;
        let mut bytes = Vec::new();
        batch.encode(&mut bytes);
        let batch = Batch::decode(own.chain(), &bytes).expect("decodes");
        let ids = batch.ids().to_vec();
        for (id, answer) in ids.into_iter().zip(hosted.submit_signed(batch)) {
            let answer = match answer.wait() {
                Ok(committed) => Answered::Landed { seq: committed.seq },
                Err(SubmitError::Rejected(reason)) => Answered::Refused {
                    reason,
                    at: hosted.position(),
                },
                Err(error) => panic!("{error}"),
            };
            answers.push((id, answer));
        }
    }
    answers
}

/// As whoever owns a way upstream does it: makes durable what is staged, sends it, and notes the answers.
pub(crate) fn send(hosted: &Arc<Local>, own: &Local, sent: &mut u64) -> Vec<Answered> {
    own.sync_staged().expect("synced");
    let answers = deliver(hosted, own, sent);
    for (id, answer) in &answers {
        own.answered(id, answer.clone());
    }
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// Shows the replica all that the node has, as bytes.
pub(crate) fn catch_up(
    hosted: &Local,
    replica: &Local,
    contents: Contents,
) -> Result<Position, FollowError> {
    let mut from = hosted.show_from(replica.position().0).expect("not ahead");
    loop {
        let mut frames = Vec::new();
        from = hosted
            .show(from, contents, 2000, &mut frames)
            .expect("shown");
        if frames.is_empty() {
            return Ok(replica.position());
        }
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes));
        replica.take_in(&ShownFrame::decode_all(&bytes).expect("decodes"))?;
    }
}
