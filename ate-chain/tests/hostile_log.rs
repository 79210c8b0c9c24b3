//! A server rewrites the log in every way it can. Whoever loads the chain from it sees the chain or an error that names the place, never anything else.
#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test fails as the test does"
)]

mod common;

use std::sync::Arc;

use ate_chain::{
    ChainId, CreateOptions, Depth, Draft, Local, OpenError, Position, Proof, ReadError, RecordKey,
    Reject, WritePolicy, commits_root,
};
use ate_crypto::{Hash, Purpose};
use ate_log::{FrameKind, Location, Log, MemLog};
use common::*;

const ROOT: RecordKey = RecordKey::ROOT;

/// The frames of chain `a` by number: proofs P0 to P7 and commits C0 to C10.
const P0: usize = 0;
const C0: usize = 1;
const C1: usize = 2;
const P1: usize = 3;
const C2: usize = 4;
const C3: usize = 5;
const C4: usize = 6;
const P2: usize = 7;
const C5: usize = 8;
const C6: usize = 10;
const P4: usize = 11;
const P5: usize = 13;
const P6: usize = 15;
const P7: usize = 17;
const C10: usize = 18;

struct History {
    a: ChainId,
    b: ChainId,
    /// Frames of chain `a`, in order.
    frames: Vec<Kept>,
    /// Frames of chain `b`.
    others: Vec<Kept>,
    position: Position,
    root: Hash,
}

/// Two authors, batches of several commits, two chains under one signature, a grant, a rotation, a revocation, and a restart in the middle.
fn history() -> History {
    let log = Arc::new(MemLog::new());
    let (root, ann) = (identity(1), identity(2));
    let (a, b, shared);
    {
        let committer = committer(log.clone(), 1);
        let local = Local::create(&committer, "a", &root).unwrap();
        let author = local.author(&root);
        a = local.chain();
        let mut key = ROOT;
        write(&author, |draft| {
            define(draft, ROOT);
            draft.introduce(ann.who().clone());
            draft.grant(ROOT, ann.who().clone()).unwrap();
            let options = CreateOptions {
                write: Some(WritePolicy::any_of([root.id(), ann.id()])),
                ..CreateOptions::default()
            };
            key = add_with(draft, ROOT, "shared", "for all", options);
        });
        shared = key;
        // Three commits of this chain and one of another, all waiting when the first is written.
        let other = Local::create(&committer, "b", &root).unwrap();
        b = other.chain();
        let mut waiting = Vec::new();
        for index in 0..3 {
            let mut draft = Draft::new(author.clone());
            add(&mut draft, ROOT, &format!("batch {index}"), "one of three");
            waiting.push(local.commit(draft).unwrap());
        }
        let mut draft = Draft::new(other.author(&root));
        define(&mut draft, ROOT);
        waiting.push(other.commit(draft).unwrap());
        waiting.into_iter().for_each(|pending| {
            pending.wait().unwrap();
        });
        let anns = local.author(&ann);
        write(&anns, |draft| {
            add(draft, shared, "ann's", "hers");
        });
        let mut draft = Draft::new(author.clone());
        draft.rotate(ROOT, vec![ann.who().clone()], true).unwrap();
        let first = local.commit(draft).unwrap();
        let mut draft = Draft::new(anns.clone());
        draft.require(shared, stands(&local, &shared));
        let second = local.commit(draft).unwrap();
        first.wait().unwrap();
        second.wait().unwrap();
        write(&author, |draft| {
            let write = Some(WritePolicy::Key(root.id()));
            let at = stands(&local, &shared);
            draft
                .update(shared, at, &schema(), b"for one".to_vec(), write, None)
                .unwrap();
        });
    }
    let committer = committer(log.clone(), 2);
    let local = Local::open(&committer, a, None).unwrap();
    let author = local.author(&root);
    write(&author, |draft| {
        add(draft, ROOT, "later", "after a restart");
    });
    write(&author, |draft| {
        add(draft, ROOT, "last", "the end");
    });
    let (kept, others): (Vec<Kept>, Vec<Kept>) = frames(&*log)
        .into_iter()
        .partition(|frame| frame.stream == a.stream());
    assert_eq!(kept.len(), 19);
    for (index, frame) in kept.iter().enumerate() {
        let proof = [P0, P1, P2, 9, P4, P5, P6, P7].contains(&index);
        assert_eq!(frame.kind == FrameKind::Proof, proof, "frame {index}");
    }
    History {
        a,
        b,
        frames: kept,
        others,
        position: local.position(),
        root: local.root_at(local.position()).unwrap(),
    }
}

/// Where and why a load must stop.
struct Stop {
    frame: usize,
    seq: u64,
    why: &'static str,
}

fn stop(frame: usize, seq: u64, why: &'static str) -> Option<Stop> {
    Some(Stop { frame, seq, why })
}

/// What the error says: commit, place, reason.
fn told(error: &OpenError) -> (ChainId, Option<u64>, Location, String) {
    match error {
        OpenError::Damaged {
            chain,
            seq,
            at,
            why,
        } => (*chain, Some(*seq), *at, (*why).into()),
        OpenError::Invalid {
            chain,
            seq,
            at,
            source,
        } => (*chain, Some(*seq), *at, format!("{source:?}")),
        OpenError::Format { chain, at, source } => (*chain, None, *at, source.to_string()),
        other => panic!("unexpected {other:?}"),
    }
}

impl History {
    /// Loads what `change` makes of the frames at a depth; `None` means that it must hold.
    fn check_at(
        &self,
        what: &str,
        depth: Depth,
        change: &dyn Fn(&mut Vec<Kept>),
        expected: &Option<Stop>,
    ) {
        let mut frames = self.frames.clone();
        change(&mut frames);
        frames.extend(self.others.iter().cloned());
        let (log, places) = rebuilt(&frames);
        let verified = Local::verify(&*log, self.a, depth, |_| {}).map(|(_, position, _)| position);
        let results = if depth == Depth::Heads {
            vec![verified, open(log, self.a).map(|local| local.position())]
        } else {
            vec![verified]
        };
        for result in results {
            match (expected, result) {
                (None, Ok(_)) => {}
                (Some(stop), Err(error)) => {
                    let (chain, seq, at, why) = told(&error);
                    assert_eq!(
                        (chain, at),
                        (self.a, places[stop.frame]),
                        "{what}, {depth:?}: {error}"
                    );
                    assert!(
                        seq.is_none_or(|seq| seq == stop.seq),
                        "{what}, {depth:?}: {error}"
                    );
                    assert!(why.contains(stop.why), "{what}, {depth:?}: {why}");
                }
                (None, Err(error)) => panic!("{what}, {depth:?}: {error:?}"),
                (Some(_), Ok(position)) => panic!("{what}, {depth:?}: accepted up to {position}"),
            }
        }
    }

    /// The same at every depth.
    fn check(&self, what: &str, change: impl Fn(&mut Vec<Kept>), expected: Option<Stop>) {
        for depth in [Depth::Heads, Depth::Bodies, Depth::Deep] {
            self.check_at(what, depth, &change, &expected);
        }
    }
}

fn edit_proof(frame: &mut Kept, change: impl FnOnce(&mut Proof)) {
    let mut proof = Proof::decode(&frame.parts[0]).unwrap();
    change(&mut proof);
    frame.parts[0].clear();
    proof.encode(&mut frame.parts[0]);
}

type Edit = fn(&mut Proof);

const SIGNATURE: &str = "the signature does not hold";
const UNPROVED: &str = "no proof covers this commit";
const ORDER: &str = "commits are missing or out of order";

#[test]
fn the_untouched_log_holds_at_every_depth() {
    let history = history();
    history.check("nothing", |_| {}, None);
    let (log, _) = rebuilt(&history.frames);
    let verify = |depth| Local::verify(&*log, history.a, depth, |_| {}).unwrap();
    let (heads, position, root) = verify(Depth::Heads);
    assert_eq!((position, root), (history.position, history.root));
    // P5 and P4 end the runs of both authors where rights change, P7 ends the run after the restart.
    assert_eq!(
        (heads.commits, heads.proofs, heads.signatures, heads.bodies),
        (11, 8, 3, 0)
    );
    let (deep, ..) = verify(Depth::Deep);
    assert_eq!((deep.commits, deep.proofs, deep.signatures), (11, 8, 8));
    assert_eq!(deep.bodies, verify(Depth::Bodies).0.bodies);
    assert!(deep.bodies >= 16);
    let (position, root) = (open(log, history.a).unwrap().position(), history.root);
    assert_eq!((position, root), (history.position, root));
}

#[test]
fn each_half_of_each_signature_counts() {
    let history = history();
    let seqs = [
        (P0, 0),
        (P1, 2),
        (P2, 5),
        (9, 6),
        (P4, 7),
        (P5, 8),
        (P6, 9),
        (P7, 10),
    ];
    for (frame, seq) in seqs {
        for byte in [0, 63, 64, 3372] {
            let change = |frames: &mut Vec<Kept>| {
                let bytes = &mut frames[frame].parts[0];
                let start = bytes.len() - 3373;
                bytes[start + byte] ^= 1;
            };
            history.check_at(
                "signature",
                Depth::Deep,
                &change,
                &stop(frame, seq, SIGNATURE),
            );
            // A load leaves out those that a later signature of the same lane covers.
            let last = [P4, P5, P7].contains(&frame);
            let expected = stop(frame, seq, SIGNATURE).filter(|_| last);
            history.check_at("signature", Depth::Heads, &change, &expected);
        }
    }
}

#[test]
fn a_covered_signature_vouches_for_nothing_that_changed() {
    let history = history();
    // The leaf no longer is the one that the next proof is linked to, so this proof stands alone.
    let broken: [(&str, usize, u64, Edit); 5] = [
        ("link", P2, 5, |proof| proof.link = Hash([1; 32])),
        ("list longer", P1, 2, |proof| {
            proof.commits.push(Hash([1; 32]))
        }),
        ("link", P1, 2, |proof| proof.link = Hash::ZERO),
        ("list longer", P6, 9, |proof| {
            proof.commits.push(Hash([1; 32]))
        }),
        ("list", P7, 10, |proof| proof.commits.push(Hash([1; 32]))),
    ];
    for (what, frame, seq, change) in broken {
        history.check(
            what,
            |frames| edit_proof(&mut frames[frame], change),
            stop(frame, seq, SIGNATURE),
        );
    }
    history.check(
        "list shorter",
        |frames| {
            edit_proof(&mut frames[P1], |proof| {
                proof.commits.pop();
            })
        },
        stop(P1, 2, SIGNATURE),
    );
    history.check(
        "list swapped",
        |frames| edit_proof(&mut frames[P1], |proof| proof.commits.swap(0, 1)),
        stop(P1, 2, SIGNATURE),
    );
    history.check(
        "author",
        |frames| edit_proof(&mut frames[P2], |proof| proof.author = identity(9).id()),
        stop(P2, 5, "signed by a key that the chain does not know"),
    );
    history.check(
        "lane",
        |frames| edit_proof(&mut frames[P2], |proof| proof.lane.0[0] ^= 1),
        stop(P2, 5, SIGNATURE),
    );
    // Where the batch stands under the signature is looked at when the signature is.
    let path =
        |frames: &mut Vec<Kept>| edit_proof(&mut frames[P1], |proof| proof.path[0].0[0] ^= 1);
    history.check_at("path", Depth::Deep, &path, &stop(P1, 2, SIGNATURE));
    history.check_at("path", Depth::Heads, &path, &None);
}

#[test]
fn commits_cannot_be_dropped_swapped_repeated_or_moved() {
    let history = history();
    history.check(
        "drop a commit",
        |frames| drop(frames.remove(C3)),
        stop(C3, 3, ORDER),
    );
    history.check(
        "drop a proof",
        |frames| drop(frames.remove(P2)),
        stop(P2, 5, UNPROVED),
    );
    history.check(
        "drop a batch",
        |frames| drop(frames.drain(P1..=C4)),
        stop(P1 + 1, 2, ORDER),
    );
    history.check("swap", |frames| frames.swap(C2, C3), stop(C2, 2, ORDER));
    history.check(
        "swap with new numbers",
        |frames| {
            frames.swap(C2, C3);
            (frames[C2].number, frames[C3].number) = (2, 3);
        },
        // A proof's commits may be missing, but not come in another order.
        stop(C3, 3, UNPROVED),
    );
    history.check(
        "repeat",
        |frames| frames.insert(C5 + 1, frames[C5].clone()),
        stop(C5 + 1, 6, ORDER),
    );
    history.check(
        "repeat with a new number",
        |frames| {
            let mut again = frames[C5].clone();
            again.number = 6;
            frames.insert(C5 + 1, again);
        },
        stop(C5 + 1, 6, UNPROVED),
    );
    // A commit with its true proof, where it does not belong.
    history.check(
        "replay",
        |frames| {
            let mut again = frames[P2..=C5].to_vec();
            again[1].number = 11;
            frames.extend(again);
        },
        stop(C10 + 2, 11, "Spent"),
    );
    // What followed a dropped commit had seen it.
    history.check(
        "drop and close the gap",
        |frames| {
            frames.remove(C4);
            for frame in &mut frames[C4..] {
                frame.number -= 1;
            }
        },
        stop(P2, 4, "Seen"),
    );
    // From one chain to another: a commit id binds its chain.
    let mut moved = history.others.clone();
    let mut pair = history.frames[P6..=P6 + 1].to_vec();
    pair.iter_mut()
        .for_each(|frame| frame.stream = history.b.stream());
    pair[1].number = 2;
    moved.extend(pair);
    let (log, places) = rebuilt(&moved);
    let error = Local::verify(&*log, history.b, Depth::Heads, |_| {}).unwrap_err();
    let (chain, seq, at, why) = told(&error);
    let proof = places[places.len() - 2];
    assert_eq!(
        (chain, seq, at, why.as_str()),
        (history.b, Some(2), proof, SIGNATURE)
    );
}

#[test]
fn order_time_is_bound_as_soon_as_somebody_has_seen_it() {
    let history = history();
    history.check(
        "order time",
        |frames| frames[C3].parts[0][0] ^= 1,
        stop(C4, 4, "order time goes back"),
    );
    history.check(
        "order times",
        |frames| {
            frames
                .iter_mut()
                .filter(|frame| frame.kind == FrameKind::Commit && frame.number >= 3)
                .for_each(|frame| frame.parts[0][0] ^= 1)
        },
        stop(C5, 5, "Seen"),
    );
    // Nobody has signed for the last one: only a checkpoint tells.
    let mut frames = history.frames.clone();
    frames[C10].parts[0][0] ^= 1;
    let (log, _) = rebuilt(&frames);
    let (_, position, root) = Local::verify(&*log, history.a, Depth::Deep, |_| {}).unwrap();
    assert_eq!(position, history.position);
    assert_ne!(root, history.root);
}

#[test]
fn no_byte_of_a_signed_head_can_change() {
    let history = history();
    for frame in [C0, C1, C5, C10] {
        for byte in (8..history.frames[frame].parts[0].len()).step_by(7) {
            let mut frames = history.frames.clone();
            frames[frame].parts[0][byte] ^= 1;
            let (log, places) = rebuilt(&frames);
            let error = Local::verify(&*log, history.a, Depth::Heads, |_| {}).unwrap_err();
            assert_eq!(
                told(&error).2,
                places[frame],
                "byte {byte} of frame {frame}: {error}"
            );
        }
    }
}

#[test]
fn bodies_are_those_that_were_signed() {
    let history = history();
    let content = |frames: &mut Vec<Kept>| frames[C3].parts[2][40] ^= 1;
    let name = |frames: &mut Vec<Kept>| frames[C3].parts[1][0] ^= 1;
    for depth in [Depth::Bodies, Depth::Deep] {
        history.check_at(
            "content",
            depth,
            &content,
            &stop(C3, 3, "a body does not match its signed hash"),
        );
        history.check_at(
            "name",
            depth,
            &name,
            &stop(C3, 3, "a sealed name does not match its signed hash"),
        );
    }
    // A load leaves bodies for when they are read; then they are looked at, always.
    history.check_at("content", Depth::Heads, &content, &None);
    let mut frames = history.frames.clone();
    content(&mut frames);
    let (log, _) = rebuilt(&frames);
    let local = open(log, history.a).unwrap();
    let author = local.author(&identity(1));
    let key = author.named_key(&ROOT, "notes", "batch 1").unwrap();
    let error = local.open_content(&author, &key).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("a body does not match its signed hash"),
        "{error}"
    );
    assert!(
        local
            .open_version(&author, &key, version(&local, &key))
            .is_err()
    );
    assert_eq!(
        text(
            &author,
            &author.named_key(&ROOT, "notes", "batch 2").unwrap()
        ),
        "one of three"
    );

    history.check(
        "one more part",
        |frames| frames[C3].parts.push(vec![1]),
        stop(C3, 3, "a body that no event announces"),
    );
    history.check(
        "one part less",
        |frames| drop(frames[C3].parts.pop()),
        // So a replica keeps commits whose contents it fetches when they are read: they are counted, see the next test.
        None,
    );
    history.check(
        "a longer part",
        |frames| frames[C3].parts[2].push(0),
        stop(C3, 3, "a body does not match its signed hash"),
    );
    history.check(
        "longer names",
        |frames| frames[C3].parts[1].push(0),
        stop(C3, 3, "a body that no event announces"),
    );
    history.check(
        "no names",
        |frames| frames[C3].parts[1].clear(),
        stop(C3, 3, "a sealed name is missing"),
    );
    history.check(
        "one part",
        |frames| frames[C3].parts.truncate(1),
        stop(C3, 3, "a commit frame has two parts"),
    );
}

#[test]
fn a_chain_is_the_one_that_its_genesis_names() {
    let history = history();
    let other = |index: usize| {
        let mut frame = history.others[index].clone();
        frame.stream = history.a.stream();
        frame
    };
    history.check(
        "another genesis",
        |frames| frames[C0] = other(1),
        stop(C0, 0, UNPROVED),
    );
    history.check(
        "another genesis with its proof",
        |frames| (frames[P0], frames[C0]) = (other(0), other(1)),
        stop(C0, 0, "not the one that the chain is named after"),
    );
    history.check(
        "no genesis",
        |frames| drop(frames.drain(P0..=C1)),
        stop(P0 + 1, 0, ORDER),
    );
    let (log, _) = rebuilt(&history.others);
    assert!(
        matches!(open(log.clone(), history.a), Err(OpenError::NotFound { chain }) if chain == history.a)
    );
    assert!(matches!(
        Local::verify(&*log, history.a, Depth::Heads, |_| {}),
        Err(OpenError::NotFound { .. })
    ));
    // Signed by somebody else in the root's name.
    history.check(
        "forged genesis proof",
        |frames| {
            edit_proof(&mut frames[P0], |proof| {
                let root = proof.batch_root(proof.leaf(&history.a));
                proof.signature = identity(9).sign(Purpose::Batch, &root.0);
                proof.link = Hash([1; 32]);
            });
        },
        stop(P0, 0, SIGNATURE),
    );
}

#[test]
fn frames_that_no_version_knows_are_refused() {
    let history = history();
    history.check(
        "proof kind",
        |frames| frames[P2].parts[0][0] = 2,
        stop(P2, 5, "unknown proof kind 2"),
    );
    history.check(
        "proof suite",
        |frames| frames[P2].parts[0][1] = 2,
        stop(P2, 5, "unknown suite 2"),
    );
    history.check(
        "two parts",
        |frames| frames[P2].parts.push(Vec::new()),
        stop(P2, 5, "a proof frame has one part"),
    );
    history.check(
        "short",
        |frames| {
            frames[P2].parts[0].pop();
        },
        stop(P2, 5, "input ends"),
    );
    history.check(
        "long",
        |frames| frames[P2].parts[0].push(0),
        stop(P2, 5, "unexpected bytes"),
    );
    // Time and the length of the head come before the format version.
    history.check(
        "newer",
        |frames| frames[C5].parts[0][10] = 2,
        stop(C5, 5, "is newer than 1"),
    );
    history.check(
        "void",
        |frames| frames[C5].kind = FrameKind::Void,
        stop(C5, 5, "of a kind that this chain cannot have"),
    );
    history.check(
        "count",
        |frames| frames[P2].parts[0][82] = 0,
        stop(P2, 5, "commits of a batch is 0"),
    );
    history.check(
        "count",
        |frames| frames[P2].parts[0][82] = 0x7f,
        stop(P2, 5, "input ends"),
    );
}

#[test]
fn a_later_proof_covers_nothing_by_claiming_so() {
    let history = history();
    let server = identity(66);
    // It is linked to the last true leaf and signed by whom it can.
    let claim = |frames: &mut Vec<Kept>, commits: Vec<Hash>, at: usize, linked: usize| {
        let mut frame = frames[linked].clone();
        edit_proof(&mut frame, |proof| {
            proof.link = proof.leaf(&history.a);
            proof.commits = commits;
            let root = proof.batch_root(proof.leaf(&history.a));
            proof.signature = server.sign(Purpose::Batch, &root.0);
        });
        frames.insert(at, frame);
    };
    history.check(
        "claim nothing",
        |frames| claim(frames, vec![Hash([1; 32])], C10 + 1, P7),
        stop(C10 + 1, 11, SIGNATURE),
    );
    history.check(
        "claim after a revocation",
        |frames| claim(frames, vec![Hash([1; 32])], P6, P5),
        stop(P6, 9, SIGNATURE),
    );
    // A commit of its own making in the name of the root, under such a claim.
    let forge = |frames: &mut Vec<Kept>| {
        let mut commit = frames[C10].clone();
        commit.number = 11;
        let (head_start, head) = head_of(&commit.parts[0]);
        let mut head = ate_chain::CommitHead::decode(head).unwrap();
        head.number += 1;
        let mut bytes = Vec::new();
        head.encode(&mut bytes);
        let end = head_start + bytes.len();
        commit.parts[0][head_start..end].copy_from_slice(&bytes);
        let id = ate_chain::commit_id(&history.a, &bytes);
        claim(frames, vec![id], C10 + 1, P7);
        frames.push(commit);
    };
    let stopped = stop(C10 + 1, 11, SIGNATURE);
    history.check("forged, and against the rules", forge, stopped);
    // The same with rules that hold: an empty promise about a version.
    history.check(
        "forged, within the rules",
        |frames| {
            let required = frames[C6 + 2].clone();
            forge(frames);
            let last = frames.len() - 1;
            let part = frames[last].parts[0].clone();
            let mut head = ate_chain::CommitHead::decode(head_of(&part).1).unwrap();
            let event = required_event(&required.parts[0]);
            // Its record is not at that version any more, so name the genesis instead.
            let mut requires = vec![7, 0];
            requires.extend_from_slice(&[0; 16]);
            requires.extend_from_slice(&[1, 0, 0]);
            assert_eq!(event[0], 7);
            (head.event_count, head.events_root, head.commitments) =
                (1, ate_crypto::merkle::leaf_hash(&requires), Vec::new());
            let (mut bytes, mut part) = (Vec::new(), frames[last].parts[0][..8].to_vec());
            head.encode(&mut bytes);
            put(&mut part, &bytes);
            put(&mut part, &requires);
            frames[last].parts = vec![part, Vec::new()];
            let id = ate_chain::commit_id(&history.a, &bytes);
            edit_proof(&mut frames[last - 1], |proof| proof.commits = vec![id]);
        },
        stop(C10 + 1, 11, SIGNATURE),
    );
}

/// `varint length ‖ bytes`.
fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}

/// Start and bytes of the commit head in part 0.
fn head_of(part: &[u8]) -> (usize, &[u8]) {
    take(part, 8)
}

fn take(part: &[u8], mut at: usize) -> (usize, &[u8]) {
    let (mut length, mut shift) = (0usize, 0);
    loop {
        let byte = part[at];
        at += 1;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return (at, &part[at..at + length]);
        }
    }
}

fn required_event(part: &[u8]) -> &[u8] {
    let (start, head) = head_of(part);
    take(part, start + head.len()).1
}

#[test]
fn a_torn_group_stands_as_far_as_it_goes_and_what_was_torn_off_never_returns() {
    let history = history();
    for kept in [C2, C3] {
        // The proof names three commits; one or two of them reached the disk.
        let mut frames = history.frames.clone();
        let torn: Vec<Kept> = frames.drain(kept + 1..).collect();
        let (log, _) = rebuilt(&frames);
        let writer = committer(log.clone(), 5);
        let local = Local::open(&writer, history.a, None).unwrap();
        let position = local.position();
        assert_eq!(position.0, kept as u64 - 1);
        // The store goes on, in a run of its own.
        let author = local.author(&identity(1));
        let key = {
            let mut key = ROOT;
            write(&author, |draft| key = add(draft, ROOT, "batch 2", "again"));
            write(&author, |draft| {
                add(draft, ROOT, "more", "more");
            });
            key
        };
        let (proved, ..) = Local::verify(&*log, history.a, Depth::Deep, |_| {}).unwrap();
        assert_eq!((proved.commits, proved.signatures), (position.0 + 2, 4));
        assert_eq!(text(&author, &key), "again");
        // The torn proof is looked at on its own: nothing later is linked to it.
        let mut forged = common::frames(&*log);
        let end = forged[P1].parts[0].len();
        forged[P1].parts[0][end - 1] ^= 1;
        let (log_forged, places) = rebuilt(&forged);
        let error = Local::verify(&*log_forged, history.a, Depth::Heads, |_| {}).unwrap_err();
        assert_eq!(
            (told(&error).2, told(&error).3.as_str()),
            (places[P1], SIGNATURE)
        );
        // What was torn off comes back, bare or with the proof that names it.
        let whole = common::frames(&*log);
        let mut lost = torn[0].clone();
        lost.number = position.0 + 2;
        for proof in [None, Some(history.frames[P1].clone())] {
            // Under its proof it is one that was passed over, and its lane number is spent.
            let why = if proof.is_some() { "Spent" } else { UNPROVED };
            let mut hostile = whole.clone();
            hostile.extend(proof);
            hostile.push(lost.clone());
            let (log, places) = rebuilt(&hostile);
            let error = Local::verify(&*log, history.a, Depth::Heads, |_| {}).unwrap_err();
            assert_eq!(told(&error).2, *places.last().unwrap());
            assert!(told(&error).3.contains(why), "{error:?}");
        }
    }
}

#[test]
fn contents_that_a_log_does_not_hold_are_counted() {
    let history = history();
    let mut frames = history.frames.clone();
    drop(frames[C3].parts.pop());
    let (log, _) = rebuilt(&frames);
    let (proved, ..) = Local::verify(&*log, history.a, Depth::Deep, |_| {}).unwrap();
    assert_eq!(proved.apart, 1);
    let local = open(log, history.a).unwrap();
    let author = local.author(&identity(1));
    let key = author.named_key(&ROOT, "notes", "batch 1").unwrap();
    let error = local.open_content(&author, &key).unwrap_err();
    assert!(matches!(error, ReadError::Elsewhere { .. }), "{error}");
}

#[test]
fn a_revoked_writer_is_refused_at_the_position_of_the_revocation() {
    // The server kept a commit of ann's back and orders it after her revocation, with her true signature.
    let log = Arc::new(MemLog::new());
    let (root, ann) = (identity(1), identity(2));
    let writer = committer(log.clone(), 3);
    let local = Local::create(&writer, "a", &root).unwrap();
    let author = local.author(&root);
    let mut key = ROOT;
    write(&author, |draft| {
        define(draft, ROOT);
        draft.introduce(ann.who().clone());
        draft.grant(ROOT, ann.who().clone()).unwrap();
        let options = CreateOptions {
            write: Some(WritePolicy::Key(ann.id())),
            ..CreateOptions::default()
        };
        key = add_with(draft, ROOT, "hers", "1", options);
    });
    let anns = local.author(&ann);
    write(&anns, |draft| {
        draft
            .update(
                key,
                stands(&local, &key),
                &schema(),
                b"2".to_vec(),
                Some(WritePolicy::any_of([root.id(), ann.id()])),
                None,
            )
            .unwrap();
    });
    let before = frames(&*log);
    write(&anns, |draft| {
        add(draft, key, "late", "late");
    });
    let late = frames(&*log)[before.len()..].to_vec();
    let (log, _) = rebuilt(&before);
    let writer = committer(log.clone(), 4);
    let local = Local::open(&writer, local.chain(), None).unwrap();
    let author = local.author(&root);
    write(&author, |draft| {
        draft
            .update(
                key,
                stands(&local, &key),
                &schema(),
                b"3".to_vec(),
                Some(WritePolicy::Key(root.id())),
                None,
            )
            .unwrap();
    });
    let mut hostile = frames(&*log);
    hostile.extend(late);
    hostile.last_mut().unwrap().number = 4;
    let (log, places) = rebuilt(&hostile);
    match Local::verify(&*log, local.chain(), Depth::Heads, |_| {}) {
        Err(OpenError::Invalid {
            seq: 4,
            at,
            source:
                Reject::Denied {
                    author,
                    key: denied,
                },
            ..
        }) => {
            assert_eq!(
                (author, denied, at),
                (ann.id(), key, *places.last().unwrap())
            );
        }
        other => panic!("{:?}", other.map(|(proved, ..)| proved)),
    }
    // She herself, asking the honest store, hears the same.
    let local = local.author(&ann);
    let mut draft = Draft::new(local.clone());
    add(&mut draft, key, "mine", "mine");
    let refused = local.local().commit(draft).unwrap().wait().unwrap_err();
    assert!(
        matches!(
            refused,
            ate_chain::SubmitError::Rejected(Reject::Denied { .. })
        ),
        "{refused}"
    );
}

#[test]
fn the_names_that_proofs_hash_are_what_the_format_says() {
    let history = history();
    let first = Proof::decode(&history.frames[P0].parts[0]).unwrap();
    let second = Proof::decode(&history.frames[P1].parts[0]).unwrap();
    assert_eq!(second.link, first.leaf(&history.a));
    assert_eq!(first.link, Hash::ZERO);
    assert_eq!(
        second.leaf(&history.a),
        ate_chain::batch_leaf(
            &history.a,
            &second.lane,
            &second.link,
            &commits_root(&second.commits)
        )
    );
    // One signature for both chains of the round.
    let other = Proof::decode(&history.others[0].parts[0]).unwrap();
    assert_eq!(
        other.batch_root(other.leaf(&history.b)),
        second.batch_root(second.leaf(&history.a))
    );
    let log: &dyn Log = &*rebuilt(&history.others).0;
    assert!(Local::verify(log, history.b, Depth::Deep, |_| {}).is_ok());
}

#[test]
fn the_last_signature_before_a_change_of_rights_is_verified_though_a_later_one_covers_it() {
    let log = Arc::new(MemLog::new());
    let root = identity(1);
    let writer = committer(log.clone(), 1);
    let local = Local::create(&writer, "a", &root).unwrap();
    let author = local.author(&root);
    let mut key = ROOT;
    write(&author, |draft| {
        define(draft, ROOT);
        key = add(draft, ROOT, "record", "1");
    });
    write(&author, |draft| {
        let (at, policy) = (stands(&local, &key), Some(WritePolicy::Key(root.id())));
        draft
            .update(key, at, &schema(), b"2".to_vec(), policy, None)
            .unwrap();
    });
    write(&author, |draft| {
        add(draft, key, "after", "after");
    });
    let (proved, ..) = Local::verify(&*log, local.chain(), Depth::Heads, |_| {}).unwrap();
    assert_eq!((proved.proofs, proved.signatures), (3, 2));
    let mut hostile = frames(&*log);
    let changes = 3; // proof, genesis, first commit, then the proof of the change
    let end = hostile[changes].parts[0].len();
    hostile[changes].parts[0][end - 1] ^= 1;
    let (log, places) = rebuilt(&hostile);
    let error = Local::verify(&*log, local.chain(), Depth::Heads, |_| {}).unwrap_err();
    let (_, seq, at, why) = told(&error);
    assert_eq!(
        (seq, at, why.as_str()),
        (Some(2), places[changes], SIGNATURE)
    );
}
