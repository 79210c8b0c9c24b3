//! The committed chains `vectors/chain-1.json` and `chain-2.json` open, verify and read as they say. `vectors/check.py` recomputes them from docs/format.md alone.
#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test fails as the test does"
)]

mod common;

use std::error::Error;

use ate_chain::{Checkpoint, Depth, Local, Position, ReadError, RecordKey, Version};
use ate_crypto::{Identity, Seed};
use ate_log::{FrameKind, Log as _, StreamId};
use common::{Kept, open, rebuilt};
use serde_json::Value;

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len())
        .step_by(2)
        .map(|index| u8::from_str_radix(&text[index..index + 2], 16).unwrap())
        .collect()
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap()
}

#[test]
fn the_committed_chain_is_understood() -> Result<(), Box<dyn Error>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors/chain-1.json");
    let vectors: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let identity = |index: usize| -> Result<Identity, Box<dyn Error>> {
        let seed = bytes(&vectors["identities"][index]["seed"]);
        let identity = Identity::from_seed(&Seed::from_bytes(seed[..].try_into()?));
        assert_eq!(
            identity.who().to_bytes(),
            bytes(&vectors["identities"][index]["who"])
        );
        assert_eq!(
            identity.id().0.to_vec(),
            bytes(&vectors["identities"][index]["key_id"])
        );
        Ok(identity)
    };
    let (root, ann) = (identity(0)?, identity(1)?);
    let stream = StreamId(bytes(&vectors["chain_id"])[..].try_into()?);
    let chain = ate_chain::ChainId(ate_crypto::Hash(stream.0));
    let frames: Vec<Kept> = list(&vectors["frames"])
        .iter()
        .map(|frame| Kept {
            kind: if frame["kind"] == "proof" {
                FrameKind::Proof
            } else {
                FrameKind::Commit
            },
            stream,
            number: frame["number"].as_u64().unwrap(),
            head_parts: if frame["kind"] == "proof" { 1 } else { 2 },
            parts: list(&frame["parts"]).iter().map(bytes).collect(),
        })
        .collect();
    let (log, _) = rebuilt(&frames);
    let commits = list(&vectors["commits"]);
    let (proved, position, last) = Local::verify(&*log, chain, Depth::Deep, |_| {})?;
    assert_eq!(
        (proved.commits, position),
        (commits.len() as u64, Position(commits.len() as u64))
    );
    assert_eq!(
        last.0.to_vec(),
        bytes(&commits[commits.len() - 1]["root_after"])
    );

    let local = open(log, chain)?;
    for (seq, commit) in (0..).zip(commits) {
        let info = local.commit_at(seq)?;
        assert_eq!(info.id.0.to_vec(), bytes(&commit["id"]));
        assert_eq!(info.head.author.0.to_vec(), bytes(&commit["author"]));
        assert_eq!(
            local.root_at(Position(seq + 1)).unwrap().0.to_vec(),
            bytes(&commit["root_after"])
        );
    }
    let (root_author, ann_author) = (local.author(&root), local.author(&ann));
    let mut by_ann = 0;
    for record in list(&vectors["records"]) {
        let parent = RecordKey(bytes(&record["parent"])[..].try_into()?);
        let key = RecordKey(bytes(&record["key"])[..].try_into()?);
        let (collection, name) = (
            record["collection"].as_str().unwrap(),
            record["name"].as_str().unwrap(),
        );
        assert_eq!(root_author.named_key(&parent, collection, name)?, key);
        let opened = local.open_content(&root_author, &key)?;
        assert_eq!(opened.content, bytes(&record["content"]));
        assert_eq!(
            opened.version.to_string(),
            record["version"].as_str().unwrap()
        );
        assert_eq!(opened.schema.0.to_vec(), bytes(&record["schema_tag"]));
        by_ann += usize::from(
            local
                .open_content(&ann_author, &key)
                .is_ok_and(|hers| hers.content == opened.content),
        );
    }
    assert_eq!(by_ann, list(&vectors["records"]).len());
    let names: usize = {
        let mut names = 0;
        assert_eq!(local.visit_names(&root_author, |_| names += 1)?, 0);
        names
    };
    assert_eq!(names, list(&vectors["records"]).len());
    let note = vectors["checkpoint"].as_str().unwrap();
    assert_eq!(
        local.check(note)?,
        Checkpoint {
            chain,
            size: position.0,
            root: last
        }
    );
    Ok(())
}

/// The frames as they were written.
fn written(vectors: &Value) -> Vec<Kept> {
    let stream = StreamId(bytes(&vectors["chain_id"]).try_into().unwrap());
    let frames = list(&vectors["frames"]).iter();
    frames
        .map(|frame| {
            let is_proof = frame["kind"] == "proof";
            Kept {
                kind: if is_proof {
                    FrameKind::Proof
                } else {
                    FrameKind::Commit
                },
                stream,
                number: frame["number"].as_u64().unwrap(),
                head_parts: if is_proof { 1 } else { 2 },
                parts: list(&frame["parts"]).iter().map(bytes).collect(),
            }
        })
        .collect()
}

#[test]
fn the_chain_with_erasures_is_understood_and_loses_what_the_vectors_say()
-> Result<(), Box<dyn Error>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors/chain-2.json");
    let vectors: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let seed = bytes(&vectors["identities"][0]["seed"]);
    let root = Identity::from_seed(&Seed::from_bytes(seed[..].try_into()?));
    let (log, _) = rebuilt(&written(&vectors));
    let chain = ate_chain::ChainId(ate_crypto::Hash(
        bytes(&vectors["chain_id"])[..].try_into()?,
    ));
    let commits = list(&vectors["commits"]);
    let (_, position, last) = Local::verify(&*log, chain, Depth::Deep, |_| {})?;
    assert_eq!(position, Position(commits.len() as u64));
    assert_eq!(
        last.0.to_vec(),
        bytes(&commits[commits.len() - 1]["root_after"])
    );

    let local = open(log.clone(), chain)?;
    let author = local.author(&root);
    for record in list(&vectors["records"]) {
        let key = RecordKey(bytes(&record["key"])[..].try_into()?);
        let opened = local.open_content(&author, &key)?;
        assert_eq!(opened.content, bytes(&record["content"]));
        assert_eq!(
            opened.version.to_string(),
            record["version"].as_str().unwrap()
        );
    }
    // The bytes are still there, and are refused all the same.
    let key_of = |name: &str| author.named_key(&RecordKey::ROOT, "notes", name);
    let first = |seq, event| Version { seq, event };
    let erased = local.open_version(&author, &key_of("erased")?, first(1, 2));
    assert!(
        matches!(erased, Err(ReadError::Erased { .. })),
        "{erased:?}"
    );
    let dropped = local.open_version(&author, &key_of("updated")?, first(1, 3));
    assert!(
        matches!(dropped, Err(ReadError::Dropped { .. })),
        "{dropped:?}"
    );
    local.open_version(&author, &key_of("updated")?, first(2, 0))?;

    local.finish_erasures()?;
    let spans = local.superseded_below(local.horizon())?;
    log.erase(&spans, ate_log::Least::ANY, &mut ate_log::FullSpeed)?;
    let mut destroyed = Vec::new();
    log.scan(
        ate_log::Scan::from(log.start()).with_bodies(),
        &mut |frame| {
            let parts = frame.parts();
            destroyed.push(
                parts
                    .map(|(_, part)| part.here().unwrap_or_default().to_vec())
                    .collect::<Vec<_>>(),
            );
            std::ops::ControlFlow::Continue(())
        },
    )?;
    let expected: Vec<Vec<Vec<u8>>> = list(&vectors["frames_destroyed"])
        .iter()
        .map(|frame| list(&frame["parts"]).iter().map(bytes).collect())
        .collect();
    assert_eq!(destroyed, expected);
    let (proved, ..) = Local::verify(&*log, chain, Depth::Deep, |_| {})?;
    assert_eq!(
        proved.erased, 3,
        "a name, its content, and a superseded content"
    );
    Ok(())
}
