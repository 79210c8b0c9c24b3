//! Writes the small chain of `vectors/chain-1.json` to standard output: every kind of event, with all that a second implementation needs to recompute it. With the
//! argument `gone` it writes that of `vectors/chain-2.json`: erasures and a horizon, and what the log holds once the bytes are destroyed.
//!
//!     cargo run -p ate-chain --example chain-vectors > vectors/chain-1.json
//!     cargo run -p ate-chain --example chain-vectors gone > vectors/chain-2.json
//!
//! Wraps and signatures are hedged, so every run makes another chain; `tests/vectors.rs` and `vectors/check.py` check the one that is committed.

use std::error::Error;
use std::ops::ControlFlow;
use std::sync::Arc;

use ate_chain::{
    Author, ChainId, Change, Clock, Committer, CreateOptions, Draft, EventHead, Local, Position,
    Readers, RecordKey, Ref, WritePolicy,
};
use ate_crypto::{Hash, Identity, NameKey, ReadKey, Seed, SeededRandom, WrapInfo, sha256};
use ate_log::{FrameKind, FullSpeed, Least, Log, MemLog, Scan};
use serde_json::{Value, json};

const ROOT: RecordKey = RecordKey::ROOT;
const DESCRIPTOR: &[u8] = b"a descriptor";

struct Noon;

impl Clock for Noon {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn schema() -> Hash {
    sha256(&[DESCRIPTOR])
}

fn add(
    draft: &mut Draft,
    parent: RecordKey,
    name: Option<&str>,
    text: &str,
    options: CreateOptions,
) -> Result<RecordKey, Box<dyn Error>> {
    Ok(draft.create(parent, "notes", name, &schema(), text.into(), options)?)
}

fn define(draft: &mut Draft, parent: RecordKey) -> Result<RecordKey, Box<dyn Error>> {
    let options = CreateOptions {
        defines: true,
        ..CreateOptions::default()
    };
    Ok(draft.create(
        parent,
        "schema",
        Some("text"),
        &schema(),
        DESCRIPTOR.to_vec(),
        options,
    )?)
}

fn at(local: &Local, key: &RecordKey) -> Result<Ref, Box<dyn Error>> {
    Ok(Ref::At(
        local.record(key).ok_or("the record is there")?.version,
    ))
}

/// The records that the commits are about.
struct Records {
    first: RecordKey,
    unnamed: RecordKey,
    private: RecordKey,
    public: RecordKey,
}

/// Commits with every kind of event; the names given.
fn write(
    local: &Arc<Local>,
    other: &Arc<Local>,
    root: &Author,
    ann: &Author,
) -> Result<Vec<Value>, Box<dyn Error>> {
    let records = create(local, root, ann)?;
    pipeline(local, other, root, records.private)?;
    change(local, root, ann, &records)?;
    let named = [
        (ROOT, "schema", "text"),
        (ROOT, "notes", "first"),
        (ROOT, "notes", "private"),
        (ROOT, "notes", "öffentlich"),
        (records.private, "notes", "pipelined"),
        (records.private, "schema", "text"),
        (records.public, "schema", "text"),
    ];
    named
        .iter()
        .map(|(parent, collection, name)| describe(local, root, parent, collection, name))
        .collect()
}

/// One commit that introduces and grants, and makes records with and without names, policies and scopes of their own.
fn create(local: &Arc<Local>, root: &Author, ann: &Author) -> Result<Records, Box<dyn Error>> {
    let with = |readers| CreateOptions {
        readers: Some(readers),
        ..CreateOptions::default()
    };
    let ann_who = ann.identity().who().clone();
    let mut draft = Draft::new(root.clone());
    define(&mut draft, ROOT)?;
    draft.introduce(ann_who.clone());
    draft.grant(ROOT, ann_who.clone())?;
    let shared = CreateOptions {
        write: Some(WritePolicy::any_of([root.id(), ann.id()])),
        ..CreateOptions::default()
    };
    let first = add(&mut draft, ROOT, Some("first"), "hello", shared)?;
    let unnamed = add(
        &mut draft,
        ROOT,
        None,
        "nobody's name",
        CreateOptions::default(),
    )?;
    let private = add(
        &mut draft,
        ROOT,
        Some("private"),
        "for two",
        with(Readers::Only(vec![ann_who])),
    )?;
    define(&mut draft, private)?;
    let public = add(
        &mut draft,
        ROOT,
        Some("öffentlich"),
        "for all",
        with(Readers::Public),
    )?;
    define(&mut draft, public)?;
    local.commit(draft)?.wait()?;
    Ok(Records {
        first,
        unnamed,
        private,
        public,
    })
}

/// Two commits of this chain under one proof, the second on the first before either is confirmed, and one of another chain in the same batch; then
/// commits that are refused.
fn pipeline(
    local: &Arc<Local>,
    other: &Arc<Local>,
    root: &Author,
    private: RecordKey,
) -> Result<(), Box<dyn Error>> {
    let mut draft = Draft::new(root.clone());
    let pipelined = add(
        &mut draft,
        private,
        Some("pipelined"),
        "1",
        CreateOptions::default(),
    )?;
    let one = local.commit(draft)?;
    let mut draft = Draft::new(other.author(root.identity()));
    define(&mut draft, ROOT)?;
    let beside = other.commit(draft)?;
    one.wait()?;
    beside.wait()?;
    let mut draft = Draft::new(root.clone());
    let supersedes = Ref::Lane {
        number: 3,
        event: 0,
    };
    draft.update(pipelined, supersedes, &schema(), b"2".to_vec(), None, None)?;
    let two = local.commit(draft)?;
    let mut draft = Draft::new(root.clone());
    draft.require(pipelined, at(local, &pipelined)?);
    draft.require(RecordKey([9; 16]), Ref::Absent);
    let mut refused = Draft::new(root.clone());
    refused.require(pipelined, Ref::Absent);
    let refused = local.commit(refused)?;
    let three = local.commit(draft);
    two.wait()?;
    assert!(refused.wait().is_err());
    assert!(three?.wait().is_err());
    Ok(())
}

/// New keys with and without history, an update, a removal, and preconditions, of which one commit has nothing else.
fn change(
    local: &Arc<Local>,
    root: &Author,
    ann: &Author,
    records: &Records,
) -> Result<(), Box<dyn Error>> {
    let mut draft = Draft::new(root.clone());
    draft.rotate(ROOT, vec![ann.identity().who().clone()], true)?;
    draft.rotate(records.private, Vec::new(), false)?;
    draft.update(
        records.first,
        at(local, &records.first)?,
        &schema(),
        b"hello again".to_vec(),
        Some(WritePolicy::Key(root.id())),
        None,
    )?;
    draft.remove(records.unnamed, at(local, &records.unnamed)?);
    draft.require(records.public, at(local, &records.public)?);
    local.commit(draft)?.wait()?;
    let mut draft = Draft::new(ann.clone());
    draft.require(RecordKey([9; 16]), Ref::Absent);
    draft.require(records.first, at(local, &records.first)?);
    local.commit(draft)?.wait()?;
    Ok(())
}

/// What follows from a name: tag, token, key and, in the end, the content.
fn describe(
    local: &Arc<Local>,
    root: &Author,
    parent: &RecordKey,
    collection: &str,
    name: &str,
) -> Result<Value, Box<dyn Error>> {
    let (scope, name_key) = root.name_key_below(parent)?;
    let key = root.named_key(parent, collection, name)?;
    let record = local.record(&key).ok_or("the record is there")?;
    let content = local.open_content(root, &key)?;
    Ok(json!({
        "parent": hex(&parent.0), "collection": collection, "name": name, "name_scope": hex(&scope.0),
        "collection_tag": hex(&name_key.collection_tag(collection)),
        "token": hex(&name_key.token(&parent.0, collection, name)),
        "key": hex(&key.0), "version": record.version.to_string(), "schema_tag": hex(&content.schema.0),
        "sealed_scope": hex(&record.sealed.0.0), "sealed_epoch": record.sealed.1, "content": hex(&content.content),
    }))
}

/// The keys of every scope and epoch, from the grants and from what is public.
fn keys(local: &Local, root: &Identity) -> Result<Vec<Value>, Box<dyn Error>> {
    let mut keys = Vec::new();
    let mut note = |scope: &RecordKey, epoch: u32, read: &ReadKey, name: &NameKey| {
        keys.push(json!({
            "scope": hex(&scope.0), "epoch": epoch, "read_key": hex(read.expose()), "name_key": hex(name.expose()),
            "scope_commitment": hex(&read.scope_commitment().0), "schema_tag": hex(&name.schema_tag(&schema())),
        }));
    };
    for seq in 0..local.position().0 {
        let chain = if seq == 0 {
            ChainId::UNBORN
        } else {
            local.chain()
        };
        for event in local.commit_at(seq)?.events {
            match &event.change {
                Change::Grant(grant) if grant.recipient == root.id() => {
                    let info = WrapInfo {
                        chain: &chain.0,
                        scope: &grant.scope.0,
                        epoch: grant.epoch,
                        recipient: &grant.recipient,
                    };
                    let (read, name) = root.unwrap_keys(&info, &grant.ct, &grant.sealed)?;
                    note(&grant.scope, grant.epoch, &read, &name);
                }
                _ => {
                    if let (Some(ate_chain::ReadPolicy::Public { read, name }), Some(key)) =
                        (&event.read, event.target())
                    {
                        note(
                            &key,
                            1,
                            &ReadKey::from_bytes(*read),
                            &NameKey::from_bytes(*name),
                        );
                    }
                }
            }
        }
    }
    Ok(keys)
}

fn commits(local: &Local) -> Result<Vec<Value>, Box<dyn Error>> {
    (0..local.position().0)
        .map(|seq| {
            let info = local.commit_at(seq)?;
            let kinds: Vec<&str> = info.events.iter().map(kind).collect();
            let root = local.root_at(Position(seq + 1)).ok_or("the position exists")?;
            Ok(json!({
                "seq": seq, "id": hex(&info.id.0), "order_time_ms": info.order_time_ms, "author": hex(&info.head.author.0),
                "lane_number": info.head.number, "salt": hex(&info.head.salt.0), "events_root": hex(&info.head.events_root.0),
                "leaf": hex(&ate_chain::chain_leaf(seq, info.order_time_ms, &info.id).0), "root_after": hex(&root.0), "events": kinds,
            }))
        })
        .collect()
}

fn kind(event: &EventHead) -> &'static str {
    match event.change {
        Change::Genesis(_) => "genesis",
        Change::Create { .. } => "create",
        Change::Update { .. } => "update",
        Change::Remove { .. } => "remove",
        Change::Introduce(_) => "introduce",
        Change::Grant(_) => "grant",
        Change::Rotate(_) => "rotate",
        Change::Require { .. } => "require",
        Change::Erase { .. } => "erase",
        Change::Horizon { .. } => "horizon",
        _ => "unknown",
    }
}

fn frames(log: &dyn Log, chain: ChainId) -> Result<Vec<Value>, Box<dyn Error>> {
    let mut frames = Vec::new();
    log.scan(Scan::from(log.start()).with_bodies(), &mut |frame| {
        if frame.stream == chain.stream() {
            let kind = if frame.kind == FrameKind::Proof {
                "proof"
            } else {
                "commit"
            };
            let parts: Vec<String> = frame
                .parts()
                .map(|(_, part)| hex(part.here().unwrap_or_default()))
                .collect();
            let mut value = json!({ "kind": kind, "number": frame.number, "parts": parts });
            if let Some(proof) = frame
                .part(0)
                .and_then(|bytes| ate_chain::Proof::decode(bytes).ok())
            {
                let leaf = proof.leaf(&chain);
                value["leaf"] = hex(&leaf.0).into();
                value["batch_root"] = hex(&proof.batch_root(leaf).0).into();
            }
            frames.push(value);
        }
        ControlFlow::Continue(())
    })?;
    Ok(frames)
}

/// Commits after which bodies may be gone: a record that is erased, erased once more as a tombstone and then made again, and one that was updated twice, with a
/// horizon between the two. The names of what stays.
fn write_and_erase(local: &Arc<Local>, root: &Author) -> Result<Vec<Value>, Box<dyn Error>> {
    let mut draft = Draft::new(root.clone());
    define(&mut draft, ROOT)?;
    let plain = CreateOptions::default;
    add(&mut draft, ROOT, Some("kept"), "stays", plain())?;
    let erased = add(&mut draft, ROOT, Some("erased"), "goes", plain())?;
    let updated = add(&mut draft, ROOT, Some("updated"), "first", plain())?;
    local.commit(draft)?.wait()?;
    for text in ["second", "third"] {
        let mut draft = Draft::new(root.clone());
        let at = at(local, &updated)?;
        draft.update(updated, at, &schema(), text.into(), None, None)?;
        local.commit(draft)?.wait()?;
    }
    for _ in 0..2 {
        let mut draft = Draft::new(root.clone());
        draft.erase(erased, at(local, &erased)?);
        local.commit(draft)?.wait()?;
    }
    // The first update, of commit 2, stands below it, the second one does not.
    let mut draft = Draft::new(root.clone());
    draft.set_horizon(Position(3));
    local.commit(draft)?.wait()?;
    let mut draft = Draft::new(root.clone());
    let again = CreateOptions {
        supersedes: at(local, &erased)?,
        ..plain()
    };
    add(&mut draft, ROOT, Some("erased"), "back", again)?;
    local.commit(draft)?.wait()?;
    [
        ("schema", "text"),
        ("notes", "kept"),
        ("notes", "erased"),
        ("notes", "updated"),
    ]
    .iter()
    .map(|(collection, name)| describe(local, root, &ROOT, collection, name))
    .collect()
}

/// The chain with erasures: its frames as they were written, and as they are when what is gone was destroyed.
fn gone(
    committer: &Arc<Committer>,
    log: &dyn Log,
    root: &Identity,
) -> Result<Value, Box<dyn Error>> {
    let local = Local::create(committer, "gone", root)?;
    let records = write_and_erase(&local, &local.author(root))?;
    let written = frames(log, local.chain())?;
    local.finish_erasures()?;
    let spans = local.superseded_below(Position(u64::MAX))?;
    log.erase(&spans, Least::ANY, &mut FullSpeed)?;
    Ok(json!({
        "format": 1,
        "chain_id": hex(&local.chain().0.0),
        "name": "gone",
        "descriptor": hex(DESCRIPTOR),
        "keys": keys(&local, root)?,
        "records": records,
        "commits": commits(&local)?,
        "frames": written,
        "frames_destroyed": frames(log, local.chain())?,
        "checkpoint": local.checkpoint(root).ok_or("the root is the sequencer")?,
    }))
}

#[expect(clippy::print_stdout, reason = "it is what the program is for")]
fn main() -> Result<(), Box<dyn Error>> {
    let (root_seed, ann_seed) = ([0x11; 32], [0x22; 32]);
    let [root, ann] =
        [root_seed, ann_seed].map(|seed| Identity::from_seed(&Seed::from_bytes(seed)));
    let who = |seed: &[u8], identity: &Identity| json!({ "seed": hex(seed), "who": hex(identity.who().as_bytes()), "key_id": hex(&identity.id().0) });
    let log = Arc::new(MemLog::new());
    let committer = Committer::new(
        log.clone(),
        Arc::new(Noon),
        Arc::new(SeededRandom::new(1)),
        None,
        [7; 16],
    );
    if std::env::args().nth(1).as_deref() == Some("gone") {
        let mut vectors = gone(&committer, &*log, &root)?;
        vectors["identities"] = json!([who(&root_seed, &root)]);
        println!("{vectors:#}");
        return Ok(());
    }
    let local = Local::create(&committer, "vectors", &root)?;
    let other = Local::create(&committer, "beside", &root)?;
    let records = write(&local, &other, &local.author(&root), &local.author(&ann))?;
    let note = local.checkpoint(&root).ok_or("the root is the sequencer")?;
    let vectors = json!({
        "format": 1,
        "identities": [who(&root_seed, &root), who(&ann_seed, &ann)],
        "chain_id": hex(&local.chain().0.0),
        "name": "vectors",
        "descriptor": hex(DESCRIPTOR),
        "keys": keys(&local, &root)?,
        "records": records,
        "commits": commits(&local)?,
        "frames": frames(&*log, local.chain())?,
        "checkpoint": note,
    });
    println!("{vectors:#}");
    Ok(())
}
