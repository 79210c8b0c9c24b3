//! Asking witnesses whether they hold what the sequencer has acknowledged.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ate_chain::{ChainId, Checkpoint, Position, WitnessError};
use ate_crypto::Hash;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::link::Link;
use super::remote::Shared;
use crate::error::NetError;
use crate::framed::CONTROL_BYTES_MAX;
use crate::notebook::{Evidence, Kept};
use crate::transport::Endpoint;
use crate::wire::{Kind, RefusalCode, Request, Standing, decode};

/// Pause before a witness is asked again that does not have the chain so far.
const PAUSE: Duration = Duration::from_millis(100);

/// Who must have a commit besides the sequencer before it counts as witnessed. Witnesses are nodes that follow the chain and answer for it; who they are is the
/// policy of whoever asks, and nothing that a chain or a node could say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Witnesses {
    /// Where they answer, and their keys.
    pub nodes: Vec<Endpoint>,
    /// How many of them it takes.
    pub needed: usize,
    /// How long they have.
    pub within: Duration,
}

impl Default for Witnesses {
    /// None.
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            needed: 1,
            within: Duration::from_secs(10),
        }
    }
}

/// The links to the witnesses, once somebody has asked for them.
#[derive(Default)]
pub(super) struct Links(OnceLock<Vec<Arc<Link>>>);

impl Links {
    fn get(&self, link: &Link, nodes: &[Endpoint]) -> Vec<Arc<Link>> {
        let client = super::Client(link.client.clone());
        let links = self
            .0
            .get_or_init(|| nodes.iter().map(|node| client.link(node)).collect());
        links.clone()
    }
}

/// Waits until enough have signed this root. All are asked at once.
pub(super) async fn witness(
    shared: &Shared,
    position: Position,
    root: Hash,
) -> Result<(), WitnessError> {
    let Witnesses {
        nodes,
        needed,
        within,
    } = shared.link.client.witnesses.lock().clone();
    if nodes.is_empty() {
        return Err(WitnessError::Unnamed);
    }
    let until = Instant::now() + within;
    let (tell, mut told) = mpsc::unbounded_channel();
    for link in shared.witnesses.get(&shared.link, &nodes) {
        let (tell, chain) = (tell.clone(), shared.chain);
        // Those that come too late are heard too: what they say may be evidence.
        tokio::spawn(async move {
            let answer = ask(&link, chain, (position, root), until).await;
            drop(tell.send(answer));
        });
    }
    drop(tell);
    let (mut signed, mut trouble) = (0, Vec::new());
    while let Some(answer) = told.recv().await {
        match answer {
            Ok(()) => signed += 1,
            Err(Answer::OtherHistory(witness)) => {
                return Err(WitnessError::OtherHistory { witness });
            }
            Err(Answer::None(why)) => trouble.push(why),
        }
        if signed >= needed {
            return Ok(());
        }
    }
    Err(WitnessError::TooFew {
        signed,
        needed,
        why: match trouble.is_empty() {
            true => "no more are named".to_owned(),
            false => trouble.join("; "),
        },
    })
}

enum Answer {
    OtherHistory(String),
    None(String),
}

/// Asks one until it has signed, or time is over.
async fn ask(
    link: &Arc<Link>,
    chain: ChainId,
    (position, root): (Position, Hash),
    until: Instant,
) -> Result<(), Answer> {
    loop {
        let asked = tokio::time::timeout_at(until, once(link, chain, position)).await;
        let error = match asked {
            Err(_) => return Err(Answer::None(link.unreachable().to_string())),
            Ok(Ok(signed)) => {
                let is_same = signed.root == root;
                #[cfg(ate_planted)]
                let is_same = is_same || ate_crypto::planted("believe-any-witness");
                return match is_same {
                    true => Ok(()),
                    false => Err(accuse(link, chain, (position, root), &signed)),
                };
            }
            Ok(Err(error)) => error,
        };
        let is_behind = matches!(
            &error,
            NetError::Transport(_)
                | NetError::Refused {
                    code: RefusalCode::Behind
                        | RefusalCode::Busy
                        | RefusalCode::Leaving
                        | RefusalCode::Absent,
                    ..
                }
        );
        if !is_behind || Instant::now() + PAUSE >= until {
            return Err(Answer::None(format!("{}: {error}", link.endpoint)));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What a witness has signed of so many commits.
struct Signed {
    root: Hash,
    note: String,
}

async fn once(link: &Link, chain: ChainId, position: Position) -> Result<Signed, NetError> {
    let session = link.up().await;
    let request = Request::Witness {
        chain: chain.0.0,
        size: position.0,
    };
    let (mut writer, mut reader) = session.request(&request).await?;
    writer.finish()?;
    let standing: Standing = decode(&reader.expect(Kind::Standing, CONTROL_BYTES_MAX).await?)?;
    let note = standing.note.unwrap_or_default();
    // The key is the witness's own word, on a channel that only the node which was named can have.
    let checkpoint = Checkpoint::verify(&note, &chain, &[&session.note_key]);
    match checkpoint {
        Ok(signed) if signed.size == position.0 => Ok(Signed {
            root: signed.root,
            note,
        }),
        _ => Err(NetError::Protocol {
            what: "a Witness is answered by what was asked for, signed by the witness",
        }),
    }
}

/// Two stories. Which of the two nodes tells the false one, whoever has both signatures can find out; what this one signed is kept.
fn accuse(link: &Link, chain: ChainId, (at, own): (Position, Hash), signed: &Signed) -> Answer {
    let evidence = Evidence {
        what: "a witness has signed another root than the sequencer's commits have".to_owned(),
        before: Some(Kept {
            size: at.0,
            root: own,
            note: None,
        }),
        now: Some(Kept {
            size: at.0,
            root: signed.root,
            note: Some(signed.note.clone()),
        }),
    };
    let node = link.endpoint.node;
    link.client.notebook.accuse(&chain, &node, &evidence);
    Answer::OtherHistory(format!("{} ({node})", link.endpoint))
}
