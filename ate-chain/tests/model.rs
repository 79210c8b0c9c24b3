//! Random histories against a map: whatever happens between, a chain holds exactly what was acknowledged, replayed or read back from rest.
#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test fails as the test does"
)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use ate_chain::{
    Author, ChainId, CreateOptions, Depth, Draft, Local, Position, ReadError, Readers, RecordKey,
    Ref, Rest, SubmitError, Version,
};
use ate_log::{AppendError, Log};
use common::gate::Gate;
use common::*;
use proptest::prelude::*;

const ROOT: RecordKey = RecordKey::ROOT;
const NAMES: u8 = 6;

#[derive(Clone, Debug)]
enum Op {
    /// Writes these names in one commit: new text, or the end for those where it is `None`.
    Write(Vec<(u8, Option<u8>)>),
    /// Gives a record readers of its own, or takes them away.
    Scope(u8, bool),
    /// A new key for the root scope.
    Rotate(bool),
    /// Destroys these names in one commit, whether or not they live; the bytes go at once or later.
    Erase(Vec<u8>, bool),
    /// Drops what was superseded before a part of what there is.
    Horizon(u8),
    /// The next commit finds the disk full.
    Full,
    /// Several commits in one round, one of them out of date.
    Round(u8, u8),
    /// The process starts again, from the log or from a state at rest.
    Reopen { from_rest: bool },
}

fn op() -> impl Strategy<Value = Op> {
    let name = 0..NAMES;
    prop_oneof![
        6 => prop::collection::vec((name.clone(), prop::option::weighted(0.7, any::<u8>())), 1..5).prop_map(Op::Write),
        2 => (name.clone(), any::<bool>()).prop_map(|(name, given)| Op::Scope(name, given)),
        1 => any::<bool>().prop_map(Op::Rotate),
        2 => (prop::collection::btree_set(name.clone(), 1..4), any::<bool>())
            .prop_map(|(names, finish)| Op::Erase(names.into_iter().collect(), finish)),
        1 => any::<u8>().prop_map(Op::Horizon),
        1 => Just(Op::Full),
        2 => (name.clone(), name).prop_map(|(a, b)| Op::Round(a, b)),
        2 => any::<bool>().prop_map(|from_rest| Op::Reopen { from_rest }),
    ]
}

/// One record of the model: every version with its text, `None` where it ended.
type Versions = Vec<(Version, Option<String>)>;

struct Run {
    gate: Arc<Gate>,
    chain: ChainId,
    local: Arc<Local>,
    author: Author,
    model: BTreeMap<u8, Versions>,
    /// Records that are scopes of their own.
    scopes: BTreeMap<u8, bool>,
    /// Commit that erased a name last.
    erased: BTreeMap<u8, u64>,
    horizon: Position,
    sessions: u64,
    rest: Option<Vec<u8>>,
    full: bool,
}

impl Run {
    fn new() -> Self {
        let gate = Arc::new(Gate::new());
        let local = Local::create(&committer(gate.clone(), 1), "model", &identity(1)).unwrap();
        let author = local.author(&identity(1));
        write(&author, |draft| define(draft, ROOT));
        Self {
            gate,
            chain: local.chain(),
            local,
            author,
            model: BTreeMap::new(),
            scopes: BTreeMap::new(),
            erased: BTreeMap::new(),
            horizon: Position(0),
            sessions: 1,
            rest: None,
            full: false,
        }
    }

    fn key(&self, name: u8) -> RecordKey {
        self.author
            .named_key(&ROOT, "notes", &name.to_string())
            .unwrap()
    }

    fn live(&self, name: u8) -> bool {
        self.model
            .get(&name)
            .and_then(|versions| versions.last())
            .is_some_and(|(_, text)| text.is_some())
    }

    fn last(&self, name: u8) -> Ref {
        self.model
            .get(&name)
            .and_then(|versions| versions.last())
            .map_or(Ref::Absent, |(version, _)| Ref::At(*version))
    }

    /// Adds the change of one name to a draft; whether there is one.
    fn plan(&self, draft: &mut Draft, name: u8, text: Option<String>) -> bool {
        let (key, supersedes) = (self.key(name), self.last(name));
        match (text, self.live(name)) {
            (None, false) => return false,
            (None, true) => draft.remove(key, supersedes),
            (Some(text), true) => draft
                .update(key, supersedes, &schema(), text.into_bytes(), None, None)
                .unwrap(),
            (Some(text), false) => {
                let options = CreateOptions {
                    supersedes,
                    ..CreateOptions::default()
                };
                assert_eq!(
                    add_with(draft, ROOT, &name.to_string(), &text, options),
                    key
                );
            }
        }
        true
    }

    /// Commits; on success the model takes the changes in.
    fn commit(&mut self, draft: Draft, changes: &[(u8, Option<String>)]) -> bool {
        if std::mem::take(&mut self.full) {
            self.gate.fail_next_append(AppendError::DiskFull {
                bytes: 1,
                place: "memory".into(),
            });
            let answer = self.local.commit(draft).unwrap().wait();
            assert!(
                matches!(answer, Err(SubmitError::Full { .. })),
                "{answer:?}"
            );
            return false;
        }
        let seq = self.local.commit(draft).unwrap().wait().unwrap().seq;
        self.accept(seq, changes);
        true
    }

    fn accept(&mut self, seq: u64, changes: &[(u8, Option<String>)]) {
        for (name, text) in changes {
            let event = self.version_event(seq, *name);
            self.model
                .entry(*name)
                .or_default()
                .push((Version { seq, event }, text.clone()));
            if text.is_none() {
                self.scopes.remove(name);
            }
        }
    }

    fn version_event(&self, seq: u64, name: u8) -> u32 {
        let key = self.key(name);
        let info = self.local.commit_at(seq).unwrap();
        info.events
            .iter()
            .position(|event| event.target() == Some(key))
            .unwrap() as u32
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Write(changes) => {
                let changes: BTreeMap<u8, Option<String>> = changes
                    .into_iter()
                    .map(|(name, text)| (name, text.map(|text| format!("text {text}"))))
                    .collect();
                let mut draft = Draft::new(self.author.clone());
                let planned: Vec<_> = changes
                    .into_iter()
                    .filter(|(name, text)| self.plan(&mut draft, *name, text.clone()))
                    .collect();
                if !draft.is_empty() {
                    self.commit(draft, &planned);
                }
            }
            Op::Scope(name, given) => {
                let has = self.scopes.contains_key(&name);
                if !self.live(name) || has == given {
                    return;
                }
                let mut draft = Draft::new(self.author.clone());
                let readers = if given {
                    Readers::Only(vec![identity(2).who().clone()])
                } else {
                    Readers::Inherit
                };
                let (key, at) = (self.key(name), self.last(name));
                draft
                    .update(key, at, &schema(), b"moved".to_vec(), None, Some(readers))
                    .unwrap();
                let defined = has_schema(&self.local, key);
                if given && !defined {
                    define(&mut draft, key);
                }
                if self.commit(draft, &[(name, Some("moved".into()))]) {
                    if given {
                        self.scopes.insert(name, true);
                    } else {
                        self.scopes.remove(&name);
                    }
                }
            }
            Op::Rotate(link) => {
                let mut draft = Draft::new(self.author.clone());
                draft.rotate(ROOT, Vec::new(), link).unwrap();
                self.commit(draft, &[]);
            }
            Op::Erase(names, finish) => {
                let mut draft = Draft::new(self.author.clone());
                let known: Vec<_> = names
                    .into_iter()
                    .filter(|name| self.model.contains_key(name))
                    .collect();
                for name in &known {
                    draft.erase(self.key(*name), self.last(*name));
                }
                let changes: Vec<_> = known.iter().map(|name| (*name, None)).collect();
                if !draft.is_empty() && self.commit(draft, &changes) {
                    let seq = self.local.position().0 - 1;
                    self.erased.extend(known.iter().map(|name| (*name, seq)));
                    if finish {
                        self.local.finish_erasures().unwrap();
                        assert!(!self.local.has_due_erasures());
                    }
                }
            }
            Op::Horizon(part) => {
                let position = Position(self.local.position().0 * u64::from(part) / 255);
                let mut draft = Draft::new(self.author.clone());
                draft.set_horizon(position);
                if position <= self.horizon {
                    let refused = self.local.commit(draft).unwrap().wait();
                    assert!(matches!(refused, Err(SubmitError::Rejected(_))));
                } else if self.commit(draft, &[]) {
                    self.horizon = position;
                }
            }
            Op::Full => self.full = true,
            Op::Round(a, b) => {
                self.full = false;
                let drafts = [(a, "first"), (a, "out of date"), (b, "third")];
                let pending: Vec<_> = drafts
                    .iter()
                    .map(|(name, text)| {
                        let mut draft = Draft::new(self.author.clone());
                        self.plan(&mut draft, *name, Some((*text).into()));
                        (*name, *text, self.local.commit(draft).unwrap())
                    })
                    .collect();
                for (index, (name, text, pending)) in pending.into_iter().enumerate() {
                    let stale = index == 1 || index == 2 && a == b;
                    match pending.wait() {
                        Ok(committed) => {
                            assert!(!stale);
                            self.accept(committed.seq, &[(name, Some(text.into()))]);
                        }
                        Err(SubmitError::Rejected(_)) => assert!(stale),
                        Err(other) => panic!("{other}"),
                    }
                }
            }
            Op::Reopen { from_rest } => {
                if self.rest.is_none() || !from_rest {
                    self.rest = self.local.at_rest(|| ()).map(|(bytes, ())| bytes);
                }
                let rest = self
                    .rest
                    .as_ref()
                    .filter(|_| from_rest)
                    .map(|bytes| Rest::decode(self.chain, bytes).unwrap());
                self.sessions += 1;
                let gate: Arc<dyn Log> = self.gate.clone();
                self.local =
                    Local::open(&committer(gate, self.sessions), self.chain, rest).unwrap();
                self.author = self.local.author(&identity(1));
            }
        }
    }

    /// Everything that was acknowledged, everywhere it can be looked up, and nothing else.
    fn check(&self, local: &Arc<Local>) {
        let author = local.author(&identity(1));
        for name in 0..NAMES {
            let key = author.named_key(&ROOT, "notes", &name.to_string()).unwrap();
            let Some(versions) = self.model.get(&name) else {
                assert_eq!(local.record(&key), None);
                continue;
            };
            let (newest, text) = versions.last().unwrap();
            let record = local.record(&key).unwrap();
            assert_eq!((record.version, record.live), (*newest, text.is_some()));
            let erased_before = self.erased.get(&name).copied();
            let erased = erased_before == Some(newest.seq);
            assert_eq!(record.erased, erased);
            match (text, local.open_content(&author, &key)) {
                (Some(text), Ok(opened)) => assert_eq!(opened.content, text.as_bytes()),
                (None, Err(ReadError::NotFound { .. })) if !erased => {}
                (None, Err(ReadError::Erased { .. })) if erased => {}
                (_, other) => panic!("{other:?}"),
            }
            let mut seen = Vec::new();
            local
                .history(&key, |entry| {
                    seen.push((entry.version, entry.live));
                    std::ops::ControlFlow::Continue(())
                })
                .unwrap();
            seen.reverse();
            let expected: Vec<_> = versions
                .iter()
                .map(|(version, text)| (*version, text.is_some()))
                .collect();
            assert_eq!(seen, expected);
            for (index, (version, text)) in versions.iter().enumerate() {
                let next = versions.get(index + 1).map(|(next, _)| next.seq);
                let is_erased = erased_before.is_some_and(|before| version.seq < before);
                let is_dropped = next.is_some_and(|next| next < self.horizon.0);
                match (text, local.open_version(&author, &key, *version)) {
                    (Some(_), Err(ReadError::Erased { .. })) if is_erased => {}
                    (Some(_), Err(ReadError::Dropped { .. })) if !is_erased && is_dropped => {}
                    (Some(text), Ok(opened)) if !is_erased && !is_dropped => {
                        assert_eq!(opened.content, text.as_bytes());
                    }
                    (None, Err(ReadError::NotFound { .. } | ReadError::Erased { .. })) => {}
                    (_, other) => panic!("{version}: {other:?}"),
                }
            }
        }
        let mut named = BTreeMap::new();
        let found = |name: ate_chain::FoundName<'_>| {
            named.insert(name.name.to_owned(), name.seq);
        };
        assert_eq!(local.visit_names(&author, found).unwrap(), 0);
        for (name, versions) in &self.model {
            let erased = self.erased.get(name).copied().unwrap_or(0);
            let is_there = versions.last().is_some_and(|(last, _)| last.seq > erased);
            assert_eq!(named.contains_key(&name.to_string()), is_there);
        }
        assert_eq!(local.horizon(), self.horizon);
        let live = (0..NAMES).filter(|name| self.live(*name)).count() as u64;
        let mut schemas = 0;
        local.visit_rows(|row| schemas += u64::from(row.defines && row.live));
        assert_eq!(local.record_count(), live + schemas);
    }
}

/// Whether a schema was ever defined right below `parent`.
fn has_schema(local: &Local, parent: RecordKey) -> bool {
    let mut found = false;
    local.visit_rows(|row| found |= row.parent == parent && row.defines);
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(2), ..ProptestConfig::default() })]

    #[test]
    fn a_chain_is_what_was_acknowledged(ops in prop::collection::vec(op(), 1..25)) {
        let mut run = Run::new();
        for op in ops {
            run.apply(op);
        }
        run.check(&run.local);
        let replayed = open(run.gate.clone(), run.chain).unwrap();
        run.check(&replayed);
        let (bytes, ()) = run.local.at_rest(|| ()).unwrap();
        let rest = Rest::decode(run.chain, &bytes).unwrap();
        prop_assert_eq!(rest.position(), run.local.position());
        let rested = Local::open(&committer(run.gate.clone(), 77), run.chain, Some(rest)).unwrap();
        run.check(&rested);
        for local in [&replayed, &rested] {
            prop_assert_eq!(local.position(), run.local.position());
            prop_assert_eq!(local.root_at(local.position()), run.local.root_at(run.local.position()));
        }
        let (proved, position, _) = Local::verify(&*run.gate, run.chain, Depth::Deep, |_| {}).unwrap();
        prop_assert_eq!((proved.commits, position), (position.0, run.local.position()));
        // Bytes at rest are shaped or refused, never a panic.
        for cut in (0..bytes.len()).step_by(bytes.len() / 40 + 1) {
            prop_assert!(Rest::decode(run.chain, &bytes[..cut]).is_err());
            let mut flipped = bytes.clone();
            flipped[cut] ^= 0x40;
            let _ = Rest::decode(run.chain, &flipped);
        }
    }
}
