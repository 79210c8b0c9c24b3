//! What is erased or dropped is refused whatever the disk holds; everything else is as it was, and all of it stays provable.
#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test fails as the test does"
)]

mod common;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use ate_chain::{
    Author, CommitInfo, CreateOptions, Depth, FormatError, HistoryEntry, Kept, Local, OpenError,
    Position, Proved, ReadError, RecordKey, Ref, Rest, Version, rest_name,
};
use ate_log::{FileLog, FrameKind, Log, LogOptions, MemLog, MemStorage};
use common::*;

const ROOT: RecordKey = RecordKey::ROOT;

struct Story {
    log: Arc<dyn Log>,
    local: Arc<Local>,
    author: Author,
}

impl Story {
    fn on(log: Arc<dyn Log>) -> Self {
        let local = Local::create(&committer(log.clone(), 1), "chain", &identity(1)).unwrap();
        let author = local.author(&identity(1));
        write(&author, |draft| define(draft, ROOT));
        Self { log, local, author }
    }

    fn new() -> Self {
        Self::on(Arc::new(MemLog::new()))
    }

    fn create(&self, name: &str, supersedes: Ref) -> RecordKey {
        let options = CreateOptions {
            supersedes,
            ..CreateOptions::default()
        };
        let mut key = ROOT;
        write(&self.author, |draft| {
            key = add_with(draft, ROOT, name, "first", options);
        });
        key
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

    fn end(&self, key: RecordKey, erase: bool) -> u64 {
        let at = stands(&self.local, &key);
        write(&self.author, |draft| match erase {
            true => draft.erase(key, at),
            false => draft.remove(key, at),
        })
    }

    fn set_horizon(&self, position: u64) -> u64 {
        write(&self.author, |draft| draft.set_horizon(Position(position)))
    }

    /// The same chain from the log alone.
    fn replayed(&self) -> Self {
        Self::of(
            self.log.clone(),
            open(self.log.clone(), self.local.chain()).unwrap(),
        )
    }

    /// The same chain from rest.
    fn rested(&self) -> Self {
        let (bytes, ()) = self.local.at_rest(|| ()).unwrap();
        let rest = Rest::decode(self.local.chain(), &bytes).unwrap();
        let committer = committer(self.log.clone(), 77);
        let local = Local::open(&committer, self.local.chain(), Some(rest)).unwrap();
        Self::of(self.log.clone(), local)
    }

    fn of(log: Arc<dyn Log>, local: Arc<Local>) -> Self {
        let author = local.author(&identity(1));
        Self { log, local, author }
    }

    fn read(&self, key: &RecordKey, version: Version) -> Result<Vec<u8>, ReadError> {
        let opened = self.local.open_version(&self.author, key, version)?;
        Ok(opened.content)
    }

    fn history(&self, key: &RecordKey) -> Vec<HistoryEntry> {
        let mut entries = Vec::new();
        let walked = self.local.history(key, |entry| {
            entries.push(*entry);
            ControlFlow::Continue(())
        });
        walked.unwrap();
        entries
    }

    fn names(&self) -> (BTreeMap<String, u64>, usize) {
        let mut names = BTreeMap::new();
        let closed = self.local.visit_names(&self.author, |name| {
            names.insert(name.name.to_owned(), name.seq);
        });
        (names, closed.unwrap())
    }

    fn verify(&self, depth: Depth) -> Result<Proved, OpenError> {
        Local::verify(&*self.log, self.local.chain(), depth, |_| {}).map(|(proved, ..)| proved)
    }
}

fn is_erased<T: std::fmt::Debug>(read: Result<T, ReadError>) -> bool {
    matches!(read, Err(ReadError::Erased { .. }))
}

/// The log with the names of one record overwritten, as an erasure does.
fn without_names(story: &Story, key: RecordKey) -> Arc<MemLog> {
    let mut kept = frames(&*story.log);
    for frame in kept
        .iter_mut()
        .filter(|frame| frame.kind == FrameKind::Commit)
    {
        let info: CommitInfo = story.local.commit_at(frame.number).unwrap();
        let mut offset = 0;
        for event in &info.events {
            let Some(meta) = event.meta else { continue };
            let end = offset + meta.bytes as usize;
            if event.target() == Some(key) {
                frame.parts[1][offset..end].fill(0);
            }
            offset = end;
        }
    }
    rebuilt(&kept).0
}

#[test]
fn erased_bodies_are_refused_though_the_bytes_are_still_there() {
    let story = Story::new();
    let (key, other) = (
        story.create("a", Ref::Absent),
        story.create("b", Ref::Absent),
    );
    let first = version(&story.local, &key);
    let second = story.update(key, "second");
    assert_eq!(story.read(&key, first).unwrap(), b"first");
    let erased = story.end(key, true);
    for story in [&story, &story.replayed(), &story.rested()] {
        let record = story.local.record(&key).unwrap();
        assert!(record.erased && !record.live);
        assert_eq!(record.version.seq, erased);
        assert!(is_erased(story.local.open_content(&story.author, &key)));
        for version in [first, second, record.version] {
            assert!(is_erased(story.read(&key, version)));
        }
        // That it existed is known.
        let position = Position(second.seq + 1);
        assert_eq!(
            story.local.version_at(&key, position).unwrap(),
            Some(second)
        );
        let kept: Vec<_> = story
            .history(&key)
            .iter()
            .map(|entry| (entry.version, entry.live, entry.kept))
            .collect();
        let expected = [
            (record.version, false, Kept::Erased),
            (second, true, Kept::Erased),
            (first, true, Kept::Erased),
        ];
        assert_eq!(kept, expected);
        let (names, closed) = story.names();
        assert_eq!(closed, 0);
        assert!(names.contains_key("b") && !names.contains_key("a"));
        assert_eq!(text(&story.author, &other), "first");
        let proved = story.verify(Depth::Deep).unwrap();
        assert_eq!(proved.erased, 0, "every body still holds its hash");
    }
}

#[test]
fn a_record_that_comes_back_has_bodies_of_its_own() {
    let story = Story::new();
    let key = story.create("a", Ref::Absent);
    let first = version(&story.local, &key);
    story.end(key, true);
    assert_eq!(story.create("a", stands(&story.local, &key)), key);
    let back = version(&story.local, &key);
    let last = story.update(key, "last");
    for story in [&story, &story.replayed(), &story.rested()] {
        assert!(!story.local.record(&key).unwrap().erased);
        assert_eq!(text(&story.author, &key), "last");
        assert!(is_erased(story.read(&key, first)));
        assert_eq!(story.read(&key, back).unwrap(), b"first");
        assert_eq!(story.read(&key, last).unwrap(), b"last");
        let (names, closed) = story.names();
        assert_eq!((names.get("a"), closed), (Some(&back.seq), 0));
        let before = story.local.version_at(&key, Position(back.seq)).unwrap();
        assert_eq!(before, None);
    }
    // A removal is no erasure.
    story.end(key, false);
    assert!(!story.local.record(&key).unwrap().erased);
    let opened = story.local.open_content(&story.author, &key);
    assert!(
        matches!(opened, Err(ReadError::NotFound { .. })),
        "{opened:?}"
    );
    assert_eq!(story.read(&key, last).unwrap(), b"last");
}

#[test]
fn names_that_were_destroyed_are_no_damage_and_others_in_their_part_are_read() {
    let story = Story::new();
    let mut keys = Vec::new();
    write(&story.author, |draft| {
        keys.extend(["a", "b", "c"].map(|name| add(draft, ROOT, name, name)));
    });
    let key = keys[1];
    let erased = story.end(key, true);
    let log = without_names(&story, key);
    let story = Story::of(log.clone(), open(log.clone(), story.local.chain()).unwrap());
    let (names, closed) = story.names();
    assert_eq!(closed, 0);
    assert!(names.contains_key("a") && names.contains_key("c") && !names.contains_key("b"));
    assert!(is_erased(story.local.open_content(&story.author, &key)));
    assert_eq!(text(&story.author, &keys[2]), "c");
    for depth in [Depth::Bodies, Depth::Deep] {
        let proved = story.verify(depth).unwrap();
        assert_eq!((proved.erased, proved.commits), (1, 4));
    }
    // Without the erasure they are damage, at their place; heads alone do not show it.
    let kept: Vec<common::Kept> = frames(&*log);
    let (cut, _) = rebuilt(&kept[..kept.len() - 2]);
    let verify = |depth| Local::verify(&*cut, story.local.chain(), depth, |_| {});
    match verify(Depth::Bodies) {
        Err(OpenError::Damaged { seq, why, .. }) => {
            assert_eq!(
                (seq, why),
                (erased - 1, "a body is missing that nothing erased")
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(verify(Depth::Heads).is_ok());
}

#[test]
fn what_was_superseded_below_the_horizon_is_refused() {
    let story = Story::new();
    let (key, removed) = (
        story.create("a", Ref::Absent),
        story.create("b", Ref::Absent),
    );
    let still = story.create("c", Ref::Absent);
    let first = version(&story.local, &key);
    let last = version(&story.local, &removed);
    story.end(removed, false);
    let second = story.update(key, "second");
    let horizon = story.local.position();
    let third = story.update(key, "third");
    let fourth = story.update(key, "fourth");
    assert_eq!(story.read(&key, first).unwrap(), b"first");
    story.set_horizon(horizon.0);
    for story in [&story, &story.replayed(), &story.rested()] {
        assert_eq!(story.local.horizon(), horizon);
        for (key, version) in [(key, first), (removed, last)] {
            match story.read(&key, version) {
                Err(ReadError::Dropped {
                    horizon: said,
                    version: of,
                    ..
                }) => assert_eq!((said, of), (horizon, version)),
                other => panic!("{other:?}"),
            }
        }
        // The view of the horizon is whole, and so is every later one.
        for (version, content) in [(second, "second"), (third, "third"), (fourth, "fourth")] {
            assert_eq!(story.read(&key, version).unwrap(), content.as_bytes());
        }
        assert_eq!(text(&story.author, &still), "first");
        let kept: Vec<_> = story.history(&key).iter().map(|entry| entry.kept).collect();
        assert_eq!(kept, [Kept::Yes, Kept::Yes, Kept::Yes, Kept::Dropped]);
        assert_eq!(story.history(&removed)[1].kept, Kept::Dropped);
        assert_eq!(story.names().0.len(), 4, "names stay");
    }
    // Erased is the stronger word.
    story.end(key, true);
    assert!(is_erased(story.read(&key, first)));
}

#[test]
fn an_erasure_stays_due_until_it_is_finished_across_openings() {
    let story = Story::new();
    let key = story.create("a", Ref::Absent);
    story.end(key, true);
    for story in [&story.replayed(), &story.rested()] {
        assert!(story.local.has_due_erasures());
    }
    // What is at rest holds names: it goes with them.
    let name = rest_name(&story.local.chain());
    story.log.snapshot_put(&name, b"names").unwrap();
    assert_eq!(story.local.finish_erasures().unwrap(), 1);
    assert!(story.log.snapshot_names().unwrap().is_empty());
    assert!(story.local.lost_rest());
    story.local.has_rest();
    assert!(!story.local.lost_rest());
    assert!(!story.rested().local.has_due_erasures());
    // The log alone does not tell: it is done once more.
    let replayed = story.replayed();
    assert_eq!(replayed.local.finish_erasures().unwrap(), 1);
    assert!(is_erased(
        replayed.local.open_content(&replayed.author, &key)
    ));
}

#[test]
fn a_state_at_rest_of_the_version_before_is_rebuilt() {
    let story = Story::new();
    let (mut bytes, ()) = story.local.at_rest(|| ()).unwrap();
    assert!(Rest::decode(story.local.chain(), &bytes).is_ok());
    bytes[8..12].copy_from_slice(&1u32.to_le_bytes());
    let decoded = Rest::decode(story.local.chain(), &bytes).map(|rest| rest.position());
    assert!(
        matches!(decoded, Err(FormatError::Text { .. })),
        "{decoded:?}"
    );
}

#[test]
fn a_live_reader_learns_of_an_erasure() {
    let storage = MemStorage::new();
    let log = FileLog::open(Arc::new(storage.clone()), LogOptions::default()).unwrap();
    let story = Story::on(Arc::new(log));
    let key = story.create("a", Ref::Absent);
    let first = version(&story.local, &key);
    let along: Arc<dyn Log> = Arc::new(FileLog::open_reader(Arc::new(storage.clone())).unwrap());
    let reading = Story::of(along.clone(), open(along, story.local.chain()).unwrap());
    assert_eq!(text(&reading.author, &key), "first");
    story.end(key, true);
    // It has not looked yet; nothing was destroyed so far.
    assert_eq!(text(&reading.author, &key), "first");
    reading.local.catch_up().unwrap();
    assert!(is_erased(reading.read(&key, first)));
    assert!(reading.local.has_due_erasures());
    assert_eq!(
        reading.local.finish_erasures().unwrap(),
        0,
        "a reader destroys nothing"
    );
}
