//! Bytes that an erasure destroyed: nowhere in the files, refused by name, and no damage; bytes that anything else destroyed are.
#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test fails as the test does"
)]

mod common;

use std::ops::ControlFlow;
use std::sync::Arc;

use ate_chain::{
    Author, CreateOptions, Depth, Local, OpenError, Position, Proved, ReadError, RecordKey, Ref,
    Rest, Version,
};
use ate_log::{
    FileLog, FrameKind, FullSpeed, LARGE_BODY_BYTES, Least, Location, Log, LogOptions, MemStorage,
    Scan, Span,
};
use common::*;

const ROOT: RecordKey = RecordKey::ROOT;

struct Story {
    storage: MemStorage,
    log: Arc<dyn Log>,
    local: Arc<Local>,
    author: Author,
}

/// A sealed part of one event, and where it stands.
struct Part {
    span: Span,
    bytes: Vec<u8>,
}

impl Story {
    fn new() -> Self {
        let storage = MemStorage::new();
        let log = FileLog::open(Arc::new(storage.clone()), LogOptions::default()).unwrap();
        let log: Arc<dyn Log> = Arc::new(log);
        let local = Local::create(&committer(log.clone(), 1), "chain", &identity(1)).unwrap();
        let author = local.author(&identity(1));
        write(&author, |draft| define(draft, ROOT));
        Self {
            storage,
            log,
            local,
            author,
        }
    }

    fn update(&self, key: RecordKey, text: &str) -> Version {
        let at = stands(&self.local, &key);
        write(&self.author, |draft| {
            draft
                .update(key, at, &schema(), text.into(), None, None)
                .unwrap();
        });
        version(&self.local, &key)
    }

    fn erase(&self, key: RecordKey) {
        let at = stands(&self.local, &key);
        write(&self.author, |draft| draft.erase(key, at));
    }

    /// Everything that was written so far moves to the sealed tier.
    fn seal(&self) {
        self.log.roll().unwrap();
        while self.log.seal(&mut FullSpeed).unwrap() {}
    }

    /// Names and contents of a record's versions as they stand in the log.
    fn parts_of(&self, key: RecordKey) -> Vec<Part> {
        let mut parts = Vec::new();
        let scan = Scan::from(self.log.start()).with_bodies();
        let scanned = self.log.scan(scan, &mut |frame| {
            if frame.kind != FrameKind::Commit {
                return ControlFlow::Continue(());
            }
            let places: Vec<Location> = frame.parts().map(|(at, _)| at).collect();
            let (mut content, mut name) = (2, places[1]);
            for event in self.local.commit_at(frame.number).unwrap().events {
                let is_of = event.target() == Some(key);
                let mut note = |at, bytes| {
                    if is_of {
                        let span = Span { at, bytes };
                        let bytes = Vec::new();
                        parts.push(Part { span, bytes });
                    }
                };
                if let Some(meta) = event.meta {
                    note(name, meta.bytes);
                    name.offset += meta.bytes;
                }
                if let Some(body) = event.content {
                    note(places[content], body.bytes);
                    content += 1;
                }
            }
            ControlFlow::Continue(())
        });
        scanned.unwrap();
        for part in &mut parts {
            part.bytes = vec![0; part.span.bytes as usize];
            let (at, out) = (part.span.at, &mut part.bytes);
            let read = self.log.read_body(at, out);
            // A name is a range within a head part.
            read.or_else(|_| self.log.read(at, out)).unwrap();
        }
        parts
    }

    /// Whether any file holds these bytes, or a good part of them.
    fn holds(&self, bytes: &[u8]) -> bool {
        let image = self.storage.image();
        let sought = &bytes[..bytes.len().min(48)];
        image
            .values()
            .any(|file| file.windows(sought.len()).any(|window| window == sought))
    }

    fn verify(&self, depth: Depth) -> Result<Proved, OpenError> {
        Local::verify(&*self.log, self.local.chain(), depth, |_| {}).map(|(proved, ..)| proved)
    }

    /// The chain from the log alone, and from rest.
    fn again(&self) -> [Arc<Local>; 2] {
        let chain = self.local.chain();
        let (bytes, ()) = self.local.at_rest(|| ()).unwrap();
        let rest = Rest::decode(chain, &bytes).unwrap();
        let rested = Local::open(&committer(self.log.clone(), 5), chain, Some(rest));
        [open(self.log.clone(), chain).unwrap(), rested.unwrap()]
    }

    fn read(&self, local: &Arc<Local>, key: &RecordKey, version: Version) -> Result<(), ReadError> {
        let author = local.author(&identity(1));
        local.open_version(&author, key, version).map(drop)
    }
}

fn text_of(bytes: u32) -> String {
    "text ".repeat(bytes as usize / 5)
}

#[test]
fn erased_bytes_are_in_no_file_and_their_absence_is_no_damage() {
    for (bytes, sealed) in [
        (100, false),
        (100, true),
        (2 * LARGE_BODY_BYTES, false),
        (2 * LARGE_BODY_BYTES, true),
    ] {
        let story = Story::new();
        let mut keys = Vec::new();
        write(&story.author, |draft| {
            keys.extend(["a", "b"].map(|name| add(draft, ROOT, name, &text_of(bytes))));
        });
        let [key, other] = keys[..] else {
            panic!("two records");
        };
        let first = version(&story.local, &key);
        let second = story.update(key, &text_of(bytes + 10));
        if sealed {
            story.seal();
        }
        let (parts, others) = (story.parts_of(key), story.parts_of(other));
        assert_eq!((parts.len(), others.len()), (3, 2));
        assert!(parts.iter().all(|part| story.holds(&part.bytes)));
        story.erase(key);
        assert_eq!(story.local.finish_erasures().unwrap(), 1);
        assert!(!parts.iter().any(|part| story.holds(&part.bytes)));
        assert!(others.iter().all(|part| story.holds(&part.bytes)));

        for depth in [Depth::Heads, Depth::Bodies, Depth::Deep] {
            let proved = story.verify(depth).unwrap();
            let missing = if depth == Depth::Heads { 0 } else { 3 };
            assert_eq!((proved.commits, proved.erased), (5, missing));
        }
        let back = {
            let options = CreateOptions {
                supersedes: stands(&story.local, &key),
                ..CreateOptions::default()
            };
            write(&story.author, |draft| {
                add_with(draft, ROOT, "a", "back", options);
            });
            version(&story.local, &key)
        };
        let [replayed, rested] = story.again();
        // The log alone does not say that it was done: doing it again changes nothing.
        assert_eq!(replayed.finish_erasures().unwrap(), 1);
        for local in [&story.local, &replayed, &rested] {
            assert!(!local.has_due_erasures());
            let author = local.author(&identity(1));
            assert_eq!(text(&author, &other), text_of(bytes));
            assert_eq!(text(&author, &key), "back");
            for version in [first, second] {
                let read = story.read(local, &key, version);
                assert!(matches!(read, Err(ReadError::Erased { .. })), "{read:?}");
            }
            story.read(local, &key, back).unwrap();
            let mut names = Vec::new();
            let closed = local.visit_names(&author, |name| names.push(name.name.to_owned()));
            assert_eq!(closed.unwrap(), 0);
            names.sort_unstable();
            assert_eq!(names, ["a", "b", "text"]);
        }
        assert_eq!(story.verify(Depth::Deep).unwrap().erased, 3);
    }
}

#[test]
fn what_the_horizon_gave_back_is_no_damage() {
    for sealed in [false, true] {
        let story = Story::new();
        let mut key = ROOT;
        write(&story.author, |draft| {
            key = add(draft, ROOT, "a", &text_of(100))
        });
        let first = version(&story.local, &key);
        let second = story.update(key, &text_of(2 * LARGE_BODY_BYTES));
        let third = story.update(key, "third");
        let horizon = story.local.position();
        let fourth = story.update(key, "fourth");
        if sealed {
            story.seal();
        }
        write(&story.author, |draft| draft.set_horizon(horizon));
        let spans = story.local.superseded_below(Position(u64::MAX)).unwrap();
        assert_eq!(spans.len(), 2);
        story.log.erase(&spans, Least::ANY, &mut FullSpeed).unwrap();
        let proved = story.verify(Depth::Deep).unwrap();
        assert_eq!(proved.erased, 2);
        for local in [&story.local, &story.again()[0], &story.again()[1]] {
            for version in [first, second] {
                let read = story.read(local, &key, version);
                assert!(matches!(read, Err(ReadError::Dropped { .. })), "{read:?}");
            }
            for version in [third, fourth] {
                story.read(local, &key, version).unwrap();
            }
        }
        // Given back once more: there is nothing left to give.
        let spans = story.local.superseded_below(horizon).unwrap();
        story.log.erase(&spans, Least::ANY, &mut FullSpeed).unwrap();
    }
}

#[test]
fn what_nothing_erased_is_damage_when_it_is_gone() {
    for bytes in [100, 2 * LARGE_BODY_BYTES] {
        for which in [0, 1] {
            let story = Story::new();
            let mut key = ROOT;
            write(&story.author, |draft| {
                key = add(draft, ROOT, "a", &text_of(bytes))
            });
            let first = version(&story.local, &key);
            let second = story.update(key, "second");
            let part = &story.parts_of(key)[which];
            let destroyed = story.log.erase(&[part.span], Least::ANY, &mut FullSpeed);
            destroyed.unwrap();
            let check = |is_covered: bool| {
                for depth in [Depth::Bodies, Depth::Deep] {
                    match story.verify(depth) {
                        Ok(proved) if is_covered => assert_eq!(proved.erased, 1),
                        Err(OpenError::Damaged { seq, why, .. }) if !is_covered => {
                            assert_eq!(seq, first.seq);
                            assert_eq!(why, "a body is missing that nothing erased");
                        }
                        other => panic!("{other:?}"),
                    }
                }
                // A load looks at no body.
                story.verify(Depth::Heads).unwrap();
                open(story.log.clone(), story.local.chain()).unwrap();
            };
            check(false);
            if which == 1 {
                let read = story.read(&story.local, &key, first);
                assert!(matches!(read, Err(ReadError::Damaged { .. })), "{read:?}");
            }
            story.read(&story.local, &key, second).unwrap();
            // An erasure of something else does not help; that of the record does, wherever it stands.
            let mut other = ROOT;
            write(&story.author, |draft| other = add(draft, ROOT, "b", "b"));
            story.erase(other);
            check(false);
            story.erase(key);
            check(true);
        }
    }
}

#[test]
fn a_reader_that_has_not_followed_yet_hears_of_the_erasure_when_it_looks() {
    let story = Story::new();
    let mut key = ROOT;
    write(&story.author, |draft| {
        key = add(draft, ROOT, "a", &text_of(2 * LARGE_BODY_BYTES))
    });
    let along = FileLog::open_reader(Arc::new(story.storage.clone())).unwrap();
    let along = open(Arc::new(along), story.local.chain()).unwrap();
    let before = along.position();
    story.erase(key);
    story.local.finish_erasures().unwrap();
    let author = along.author(&identity(1));
    let read = along.open_content(&author, &key);
    assert!(matches!(read, Err(ReadError::Erased { .. })), "{read:?}");
    assert!(along.position() > before);
    assert_eq!(Ref::At(version(&along, &key)), stands(&story.local, &key));
}
