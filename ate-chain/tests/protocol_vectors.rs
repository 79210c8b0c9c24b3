//! What `vectors/protocol.json` says of batches, shown frames and the side stream is what this code writes and reads. `vectors/check-protocol.py` recomputes it
//! from the documents alone.
#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test fails as the test does"
)]

mod common;

use std::sync::Arc;

use ate_chain::{
    Batch, ChainId, CommitOutcome, ContentId, Contents, FetchError, Local, Pending, Position,
    ShownFrame, Upstream, Wanted,
};
use ate_crypto::{Hash, SIGNATURE_BYTES};
use ate_log::{FrameKind, MemLog, StreamId};
use common::{Kept, append, committer, rebuilt};
use serde_json::Value;

fn file(name: &str) -> Value {
    let path = format!("{}/../vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    let digits = (0..text.len()).step_by(2).map(|at| &text[at..at + 2]);
    digits
        .map(|two| u8::from_str_radix(two, 16).unwrap())
        .collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn chain_of(file: &Value) -> ChainId {
    ChainId(Hash(bytes(&file["chain_id"]).try_into().unwrap()))
}

/// The payloads of a kind, without their first `skip` bytes.
fn payloads(file: &Value, kind: u64, skip: usize) -> Vec<Vec<u8>> {
    let messages = list(&file["messages"]).iter();
    let of_kind = messages.filter(|message| message["kind"] == kind);
    of_kind
        .map(|message| bytes(&message["payload"])[skip..].to_vec())
        .collect()
}

struct Nobody;

impl Upstream for Nobody {
    fn wake(&self) {}

    fn fetch(&self, _: Vec<Wanted>) -> Pending<Result<Vec<Option<Vec<u8>>>, FetchError>> {
        Pending::ready(Err(FetchError::NotFetched))
    }
}

#[test]
fn the_batches_of_the_vectors_are_read_and_written_and_nothing_beside_them() {
    let chain = chain_of(&file("chain-1.json"));
    let batches = payloads(&file("protocol.json"), 5, 8);
    let commits: Vec<usize> = batches
        .iter()
        .map(|bytes| {
            let batch = Batch::decode(chain, bytes).unwrap();
            let mut again = Vec::new();
            batch.encode(&mut again);
            assert_eq!(again, *bytes);
            assert!(Batch::decode(ChainId(Hash([7; 32])), bytes).is_err());
            let mut longer = bytes.clone();
            longer.push(0);
            assert!(Batch::decode(chain, &longer).is_err());
            for at in (0..bytes.len()).step_by(97) {
                assert!(Batch::decode(chain, &bytes[..at]).is_err(), "{at}");
            }
            batch.ids().len()
        })
        .collect();
    assert_eq!(commits, [2, 1]);
}

/// Every byte of a batch is judged: by a hash when it is decoded, or by the signature.
#[test]
fn no_byte_of_a_batch_can_be_changed() {
    let chain = chain_of(&file("chain-1.json"));
    for bytes in payloads(&file("protocol.json"), 5, 8) {
        let hosted = |bytes: &[u8]| -> Result<usize, String> {
            let batch = Batch::decode(chain, bytes).map_err(|error| error.to_string())?;
            let node = Local::at(&committer(Arc::new(MemLog::new()), 3), chain, None);
            let answers = node.submit_signed(batch).into_iter();
            let landed = answers.filter_map(|answer| answer.wait().ok());
            match landed.count() {
                0 => Err("nothing landed".into()),
                landed => Ok(landed),
            }
        };
        // Only the first one can be the beginning of a chain.
        if hosted(&bytes).is_err() {
            continue;
        }
        for at in (0..bytes.len()).step_by(41).chain([0, 1, bytes.len() - 1]) {
            let mut other = bytes.clone();
            other[at] ^= 0x10;
            assert!(hosted(&other).is_err(), "{at}");
        }
    }
}

#[test]
fn shown_frames_are_read_taken_in_and_shown_again() {
    let vectors = file("chain-1.json");
    let chain = chain_of(&vectors);
    let shown = payloads(&file("protocol.json"), 3, 0);
    let [eager, lazy] = &shown[..] else {
        panic!("one with contents, one without");
    };
    for (shown, contents) in [(eager, Contents::Eager), (lazy, Contents::Lazy)] {
        let frames = ShownFrame::decode_all(shown).unwrap();
        let mut again = Vec::new();
        frames.iter().for_each(|frame| frame.encode(&mut again));
        assert_eq!(again, *shown);
        let replica = Local::at(&committer(Arc::new(MemLog::new()), 4), chain, None);
        replica.follow(Arc::new(Nobody)).unwrap();
        let position = replica.take_in(&frames).unwrap();
        let last = &list(&vectors["commits"])[position.0 as usize - 1];
        assert_eq!(
            replica.root_at(position).unwrap().0.to_vec(),
            bytes(&last["root_after"])
        );
        // What was taken in is shown on as it came, once it is durable here.
        replica.committer().log().sync().unwrap();
        let mut behind = Vec::new();
        let from = replica.show_from(0).unwrap();
        replica
            .show(from, contents, usize::MAX, &mut behind)
            .unwrap();
        assert!(behind == frames, "the same frames");
        // The second proof is linked to the first one and covers it (docs/format.md, section 4.2), so that the first signature is looked at by nobody.
        let first = frames[0].bytes() - 64;
        let covered = first + 5 - SIGNATURE_BYTES..first + 5;
        let places = (0..shown.len()).step_by(53).chain(1..3);
        for at in places.filter(|at| !covered.contains(at)) {
            let mut other = shown.clone();
            other[at] ^= 0x10;
            let replica = Local::at(&committer(Arc::new(MemLog::new()), 5), chain, None);
            replica.follow(Arc::new(Nobody)).unwrap();
            let taken = ShownFrame::decode_all(&other).map(|frames| replica.take_in(&frames));
            // The order time is the sequencer's word: only the root that it signs covers it.
            let is_other = match taken {
                Ok(Ok(position)) => replica.root_at(position) != local_root(&vectors, position),
                _ => true,
            };
            assert!(is_other, "{at}");
        }
    }
}

#[test]
fn proofs_of_nothing_fill_no_log_and_frames_are_numbered_in_order() {
    let chain = chain_of(&file("chain-1.json"));
    let lazy = &payloads(&file("protocol.json"), 3, 0)[1];
    let frames = ShownFrame::decode_all(lazy).unwrap();
    let taken = |frames: &[ShownFrame]| {
        let replica = Local::at(&committer(Arc::new(MemLog::new()), 4), chain, None);
        replica.follow(Arc::new(Nobody)).unwrap();
        replica.take_in(frames).map_err(|error| error.to_string())
    };
    let proofs = |count| [vec![frames[0].clone(); count], frames[1..].to_vec()].concat();
    assert_eq!(taken(&proofs(1)), Ok(Position(3)));
    // As a log shows them whose end was torn.
    assert_eq!(taken(&proofs(2)), Ok(Position(3)));
    assert!(taken(&proofs(257)).unwrap_err().contains("cover nothing"));
    assert!(
        taken(&frames[..1])
            .unwrap_err()
            .contains("end with a commit")
    );
    // The proof is shown as if it stood before a later commit.
    let mut other = lazy.clone();
    other[1] = 1;
    let other = ShownFrame::decode_all(&other).unwrap();
    assert!(taken(&other).unwrap_err().contains("numbered"));
}

fn local_root(vectors: &Value, position: Position) -> Option<Hash> {
    let last = list(&vectors["commits"]).get(position.0.checked_sub(1)? as usize)?;
    Some(Hash(bytes(&last["root_after"]).try_into().unwrap()))
}

#[test]
fn the_side_stream_of_the_vectors_is_understood() {
    let (protocol, vectors) = (file("protocol.json"), file("chain-1.json"));
    let chain = chain_of(&vectors);
    let side = &protocol["side"];
    // The chain without contents, as a lazy replica holds it, and beside it what the vectors say.
    let lazy = ShownFrame::decode_all(&payloads(&protocol, 3, 0)[1]).unwrap();
    let (log, _) = rebuilt(&[]);
    let replica = Local::at(&committer(log.clone(), 4), chain, None);
    replica.follow(Arc::new(Nobody)).unwrap();
    replica.take_in(&lazy).unwrap();
    let seq = |frame: &Value| frame["number"].as_u64().unwrap();
    let kept: Vec<Kept> = list(&side["frames"])
        .iter()
        .map(|frame| Kept {
            kind: match frame["kind"].as_str().unwrap() {
                "staged" => FrameKind::Staged,
                "settled" => FrameKind::Settled,
                _ => FrameKind::Body,
            },
            stream: StreamId(bytes(&side["stream"]).try_into().unwrap()),
            number: seq(frame),
            head_parts: frame["head_parts"].as_u64().unwrap() as u8,
            parts: list(&frame["parts"]).iter().map(bytes).collect(),
        })
        .collect();
    append(&*log, &kept);

    let again = common::open(log, chain).unwrap();
    again.follow(Arc::new(Nobody)).unwrap();
    for frame in list(&side["frames"]) {
        match frame["kind"].as_str().unwrap() {
            "body" => {
                let event = frame["event"].as_u64().unwrap() as u32;
                let content = ContentId {
                    seq: seq(frame),
                    event,
                };
                let sealed = again.sealed_content(content).unwrap();
                assert_eq!(sealed, Some(bytes(&frame["parts"][1])));
            }
            "staged" => {
                for pair in list(&frame["replaces"]) {
                    let [old, by] =
                        [&pair[0], &pair[1]].map(|id| Hash(bytes(id).try_into().unwrap()));
                    assert_eq!(again.outcome(&old), CommitOutcome::Replaced { by });
                }
            }
            "settled" if frame["reason"].is_string() => {
                let id = Hash(bytes(&frame["id"]).try_into().unwrap());
                let reason = frame["reason"].as_str().unwrap().to_owned();
                assert_eq!(again.outcome(&id), CommitOutcome::Refused { reason });
            }
            _ => {}
        }
    }
    // Staged before the node said what became of it; the chain here tells that it is in the order, or it waits still.
    let staged = again.staged().len();
    assert_eq!(staged as u64, side["open"].as_u64().unwrap());
}
