//! Which bytes are destroyed: those of every version before the erasure, and no others.

use std::collections::BTreeSet;
use std::sync::Arc;

use ate_crypto::{Hash, Identity, Seed, SeededRandom, sha256};
use ate_log::{Location, MemLog, Span};

use super::due;
use crate::committer::Committer;
use crate::draft::{Author, CreateOptions, Draft};
use crate::ids::{Position, RecordKey, Ref};
use crate::local::Local;
use crate::ports::Clock;

const ROOT: RecordKey = RecordKey::ROOT;

struct Noon;

impl Clock for Noon {
    fn now_ms(&self) -> u64 {
        1
    }
}

struct Story {
    local: Arc<Local>,
    author: Author,
}

impl Story {
    fn new() -> Self {
        let log = Arc::new(MemLog::new());
        let random = Arc::new(SeededRandom::new(5));
        let committer = Committer::new(log, Arc::new(Noon), random, None, [0; 16]);
        let root = Identity::from_seed(&Seed::from_bytes([1; 32]));
        let local = Local::create(&committer, "chain", &root).unwrap();
        let author = local.author(&root);
        let story = Self { local, author };
        story.commit(|draft| {
            let options = CreateOptions {
                defines: true,
                ..CreateOptions::default()
            };
            let body = b"text".to_vec();
            draft
                .create(ROOT, "schema", Some("text"), &schema(), body, options)
                .unwrap();
        });
        story
    }

    fn commit(&self, fill: impl FnOnce(&mut Draft)) -> u64 {
        let mut draft = Draft::new(self.author.clone());
        fill(&mut draft);
        self.local.commit(draft).unwrap().wait().unwrap().seq
    }

    fn stands(&self, key: &RecordKey) -> Ref {
        Ref::At(self.local.record(key).unwrap().version)
    }

    fn update(&self, key: RecordKey, text: &str) {
        let at = self.stands(&key);
        self.commit(|draft| update(draft, key, at, text));
    }

    /// The hash of the bytes of each span.
    fn hashes(&self, spans: &[Span]) -> BTreeSet<Hash> {
        let hash = |span: &Span| {
            let mut bytes = vec![0; span.bytes as usize];
            // Any range within a head part, or a body as a whole.
            self.local
                .log
                .read(span.at, &mut bytes)
                .or_else(|_| self.local.log.read_body(span.at, &mut bytes))
                .unwrap();
            sha256(&[&bytes])
        };
        let hashes: BTreeSet<Hash> = spans.iter().map(hash).collect();
        assert_eq!(hashes.len(), spans.len(), "nothing is named twice");
        hashes
    }

    /// What the heads sign for the versions of these records in `seqs`: contents, and names if they count.
    fn signed(
        &self,
        seqs: std::ops::Range<u64>,
        keys: &[RecordKey],
        names: bool,
    ) -> BTreeSet<Hash> {
        let events = seqs.flat_map(|seq| self.local.commit_at(seq).unwrap().events);
        let of_keys = events.filter(|event| event.target().is_some_and(|key| keys.contains(&key)));
        let bodies = of_keys.flat_map(|event| [event.meta.filter(|_| names), event.content]);
        bodies.flatten().map(|body| body.hash).collect()
    }
}

fn schema() -> Hash {
    sha256(&[b"text"])
}

fn create(draft: &mut Draft, name: &str, supersedes: Ref) -> RecordKey {
    let options = CreateOptions {
        supersedes,
        ..CreateOptions::default()
    };
    let body = format!("{name} is new").into_bytes();
    draft
        .create(ROOT, "notes", Some(name), &schema(), body, options)
        .unwrap()
}

fn update(draft: &mut Draft, key: RecordKey, at: Ref, text: &str) {
    draft
        .update(key, at, &schema(), text.into(), None, None)
        .unwrap();
}

#[test]
fn every_version_down_to_the_first_goes_and_nothing_beside_it() {
    let story = Story::new();
    let mut keys = Vec::new();
    story.commit(|draft| {
        keys.extend(["a", "b", "c", "d"].map(|name| create(draft, name, Ref::Absent)))
    });
    let [a, b, c, d] = keys[..] else {
        panic!("four records");
    };
    // One version is referred to by its lane number, which is one more than its place in the chain.
    let lane = Ref::Lane {
        number: story.local.position().0,
        event: 0,
    };
    story.commit(|draft| update(draft, a, lane, "a again"));
    story.update(b, "b again");
    story.update(a, "a at last");
    let at = story.stands(&c);
    story.commit(|draft| draft.remove(c, at));
    let (at_a, at_c) = (story.stands(&a), story.stands(&c));
    let erased = story.commit(|draft| {
        draft.erase(a, at_a);
        draft.erase(c, at_c);
    });
    assert!(story.local.has_due_erasures());
    let due_now = story.local.with_state(due);
    let spans = story.local.spans_of(&due_now).unwrap();
    let all = story.signed(0..erased, &[a, c], true);
    assert_eq!(all.len(), 6, "two names, four contents");
    assert_eq!(story.hashes(&spans), all);

    // What comes back is not touched, whenever the walk begins.
    let at = story.stands(&a);
    story.commit(|draft| {
        create(draft, "a", at);
    });
    story.update(a, "a is back");
    let due_now = story.local.with_state(due);
    assert_eq!(story.hashes(&story.local.spans_of(&due_now).unwrap()), all);

    // A second erasure takes what stood since the first, and may name again what went before.
    let at = story.stands(&a);
    let again = story.commit(|draft| draft.erase(a, at));
    let due_now = story.local.with_state(due);
    let mut all_a = story.signed(0..again, &[a], true);
    assert_eq!(all_a.len(), 7, "two names, five contents");
    all_a.extend(story.signed(0..erased, &[c], true));
    assert_eq!(
        story.hashes(&story.local.spans_of(&due_now).unwrap()),
        all_a
    );
    let others = story.signed(0..again, &[b, d], true);
    assert!(others.is_disjoint(&all_a));
    assert_eq!(story.local.finish_erasures().unwrap(), 2);
    assert!(!story.local.has_due_erasures());
    assert_eq!(story.local.finish_erasures().unwrap(), 0);
}

#[test]
fn contents_superseded_below_the_horizon_may_go_and_names_stay() {
    let story = Story::new();
    let mut keys = Vec::new();
    let born = story
        .commit(|draft| keys.extend(["a", "b", "c"].map(|name| create(draft, name, Ref::Absent))));
    let [a, b, c] = keys[..] else {
        panic!("three records");
    };
    story.update(a, "a again");
    let at = story.stands(&b);
    story.commit(|draft| draft.remove(b, at));
    let horizon = story.local.position();
    story.update(c, "c again");
    story.update(a, "a at last");
    // Nothing may go before the chain says so, whatever is asked for.
    assert_eq!(story.local.superseded_below(horizon).unwrap(), []);
    story.commit(|draft| draft.set_horizon(horizon));
    assert_eq!(story.local.horizon(), horizon);
    let spans = story.local.superseded_below(Position(u64::MAX)).unwrap();
    let gone = story.signed(born..born + 1, &[a, b], false);
    assert_eq!(story.hashes(&spans), gone);
    assert_eq!(
        story.local.superseded_below(Position(born)).unwrap(),
        [],
        "a lower horizon asks for less"
    );
    let first = Location::default();
    assert!(spans.iter().all(|span| span.at > first));
}
