//! Replicas that hold heads alone: contents come when records are read, before, once, and never other than they were signed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use ate_chain::{
    Answered, Batch, Clock, Committer, ContentId, Contents, FetchError, Local, Pending, Position,
    ReadError as ChainError, RecordKey, ShownFrame, Source, SubmitError, Upstream, Wanted,
};
use ate_crypto::{Identity, Seed, SeededRandom};
use ate_log::MemLog;
use ate_view::{Chain, CommitError, Key, Prefetch, ReadError, Record, ValueCache};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Record, Debug, PartialEq)]
#[record(crate = "ate_view")]
struct Note {
    text: String,
}

/// What an older program knows of a [`Note`].
#[derive(Serialize, Deserialize, Record, Debug)]
#[record(crate = "ate_view", name = "task")]
struct OldTask {
    text: String,
}

#[derive(Serialize, Deserialize, Record, Debug)]
#[record(crate = "ate_view", name = "task")]
struct Task {
    text: String,
    #[record(default = 0)]
    minutes: u32,
}

struct Noon;
impl Clock for Noon {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// What the node does with what it is asked for.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Honest,
    Away,
    Forging,
    Truncating,
    Lengthening,
}

struct Node {
    chain: Arc<Local>,
    mood: Mutex<Mood>,
    requests: Mutex<Vec<Vec<ContentId>>>,
    /// Answers are held back.
    is_slow: AtomicBool,
    slow: Mutex<Vec<Waker>>,
}

type Came = Result<Vec<Option<Vec<u8>>>, FetchError>;

impl Node {
    fn asked(&self) -> Vec<ContentId> {
        self.requests.lock().concat()
    }

    fn answer(&self, wanted: &[Wanted]) -> Came {
        let mood = *self.mood.lock();
        if mood == Mood::Away {
            let why = "away".to_owned();
            return Err(FetchError::Unreachable { why });
        }
        let mut contents = self.chain.sealed_contents();
        let give = |wanted: &Wanted| {
            let sealed = contents.read(wanted.content);
            let mut sealed = sealed.expect("readable")?;
            assert_eq!(sealed.len(), wanted.bytes as usize);
            match mood {
                Mood::Forging => sealed[3] ^= 1,
                Mood::Truncating => sealed.truncate(5),
                Mood::Lengthening => sealed.push(0),
                Mood::Honest | Mood::Away => {}
            }
            Some(sealed)
        };
        Ok(wanted.iter().map(give).collect())
    }

    fn release(&self) {
        self.is_slow.store(false, Ordering::SeqCst);
        self.slow.lock().drain(..).for_each(Waker::wake);
    }
}

/// An answer that comes when the node lets it.
struct Later(Arc<Node>, Vec<Wanted>);

impl Source<Came> for Later {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Came> {
        self.0.slow.lock().push(context.waker().clone());
        if self.0.is_slow.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        Poll::Ready(self.0.answer(&self.1))
    }

    fn wait(self: Box<Self>) -> Came {
        unreachable!("it is polled")
    }
}

/// The way to a node.
struct Way(Arc<Node>);

impl Upstream for Way {
    fn wake(&self) {}

    fn fetch(&self, wanted: Vec<Wanted>) -> Pending<Came> {
        let contents = wanted.iter().map(|wanted| wanted.content);
        self.0.requests.lock().push(contents.collect());
        Pending::new(Later(self.0.clone(), wanted))
    }
}

fn identity() -> Identity {
    Identity::from_seed(&Seed::generate(&SeededRandom::new(1)))
}

fn committer(log: &Arc<MemLog>, store: u8, run: u64) -> Arc<Committer> {
    let random = Arc::new(SeededRandom::new(100 * run + u64::from(store)));
    Committer::new(log.clone(), Arc::new(Noon), random, None, [store; 16])
}

fn over(local: Arc<Local>) -> Chain {
    let cache = ValueCache::new(1 << 20);
    Chain::over(local, "notes", &identity(), Arc::new(Noon), &cache)
}

fn note(text: &str) -> Note {
    Note { text: text.into() }
}

/// A chain where it is ordered, and a replica with heads alone.
struct World {
    chain: Chain,
    node: Arc<Node>,
    replica: Chain,
    log: Arc<MemLog>,
}

impl World {
    fn new() -> Self {
        let log = Arc::new(MemLog::new());
        let hosted = Local::create(&committer(&log, 1, 1), "notes", &identity());
        let chain = over(hosted.expect("planned"));
        let node = Arc::new(Node {
            chain: chain.local().clone(),
            mood: Mutex::new(Mood::Honest),
            requests: Mutex::default(),
            is_slow: AtomicBool::new(false),
            slow: Mutex::default(),
        });
        let log = Arc::new(MemLog::new());
        let replica = over(Local::at(&committer(&log, 2, 1), chain.id(), None));
        let way = Arc::new(Way(node.clone()));
        replica.local().follow(way).expect("follows");
        Self {
            chain,
            node,
            replica,
            log,
        }
    }

    /// Shows the replica what it does not have.
    fn show(&self) {
        let from = self.chain.local().show_from(self.replica.position().0);
        let mut from = from.expect("not ahead");
        loop {
            let mut frames: Vec<ShownFrame> = Vec::new();
            let local = self.chain.local();
            from = local
                .show(from, Contents::Lazy, 1 << 20, &mut frames)
                .expect("shown");
            if frames.is_empty() {
                return;
            }
            self.replica.local().take_in(&frames).expect("verifies");
        }
    }

    /// Sends what the replica has staged, and shows it what became of it.
    fn send(&self) {
        self.replica.local().sync_staged().expect("synced");
        for (_, batch) in self.replica.local().unsent(0) {
            let ids = batch.ids().to_vec();
            let mut bytes = Vec::new();
            batch.encode(&mut bytes);
            let batch = Batch::decode(self.chain.id(), &bytes).expect("decodes");
            for (id, answer) in ids.iter().zip(self.chain.local().submit_signed(batch)) {
                let answer = match answer.wait() {
                    Ok(committed) => Answered::Landed { seq: committed.seq },
                    Err(SubmitError::Rejected(reason)) => Answered::Refused {
                        reason,
                        at: self.chain.position(),
                    },
                    Err(error) => panic!("{error}"),
                };
                self.replica.local().answered(id, answer);
            }
        }
        self.show();
    }

    /// The replica's store, opened again.
    fn restart(&mut self) {
        self.log_synced();
        let id = self.chain.id();
        let cache = ValueCache::new(1 << 20);
        let local = Local::at(&committer(&self.log, 2, 2), id, None);
        let replica = Chain::over(local, "notes", &identity(), Arc::new(Noon), &cache);
        replica.local().load().expect("loads");
        let way = Arc::new(Way(self.node.clone()));
        replica.local().follow(way).expect("follows");
        self.replica = replica;
    }

    fn log_synced(&self) {
        self.replica
            .local()
            .committer()
            .log()
            .sync()
            .expect("synced");
    }

    fn mood(&self, mood: Mood) {
        *self.node.mood.lock() = mood;
    }

    fn read(&self, name: &str) -> Result<String, ReadError> {
        Ok(self.replica.get::<Note>(name).wait()?.text.clone())
    }
}

fn why(read: Result<String, ReadError>) -> FetchError {
    match read {
        Err(ReadError::Chain(ChainError::Elsewhere { source, .. })) => source,
        other => panic!("{other:?}"),
    }
}

/// Polls once.
fn poll<T>(pending: &mut Pending<T>) -> Poll<T> {
    std::pin::Pin::new(pending).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_record_is_fetched_when_it_is_read_and_then_it_is_here() -> Outcome {
    let world = World::new();
    world.chain.put("a", note("hello")).wait()?;
    world.chain.put("b", note("world")).wait()?;
    world.show();
    let replica = &world.replica;
    assert!(replica.contains::<Note>("a") && replica.peek::<Note>("a").is_none());
    assert_eq!(replica.names("")?.len(), 2, "names take no content");
    assert_eq!(world.node.requests.lock().len(), 0);
    assert_eq!(world.read("a")?, "hello");
    let asked = world.node.asked();
    assert_eq!(asked.len(), 2, "the content and its schema: {asked:?}");
    assert_eq!(world.node.requests.lock().len(), 1, "together");
    world.mood(Mood::Away);
    let mut again = replica.get::<Note>("a");
    assert!(matches!(poll(&mut again), Poll::Ready(Ok(_))), "at once");
    assert!(replica.peek::<Note>("a").is_some());
    Ok(())
}

#[test]
fn without_the_node_the_error_says_so_and_later_it_comes() -> Outcome {
    let world = World::new();
    world.chain.put("a", note("hello")).wait()?;
    world.show();
    world.mood(Mood::Away);
    let failed = world.read("a");
    let words = failed.as_ref().expect_err("away").to_string();
    assert!(words.contains("cannot be reached: away"), "{words}");
    assert!(words.contains("prefetched"), "{words}");
    assert!(matches!(why(failed), FetchError::Unreachable { .. }));
    assert!(world.replica.document::<Note>("a").is_err());
    assert_eq!(world.replica.names("")?[0].type_name, "");
    world.mood(Mood::Honest);
    assert_eq!(world.read("a")?, "hello");
    assert_eq!(world.replica.names("")?[0].type_name, "note");
    Ok(())
}

#[test]
fn nothing_is_kept_that_was_not_signed() -> Outcome {
    let world = World::new();
    world.chain.put("a", note("hello")).wait()?;
    world.show();
    for mood in [Mood::Forging, Mood::Truncating, Mood::Lengthening] {
        world.mood(mood);
        assert!(matches!(why(world.read("a")), FetchError::Forged));
        assert_eq!(world.replica.local().fetched_count(), 0);
    }
    world.mood(Mood::Honest);
    assert_eq!(world.read("a")?, "hello");
    Ok(())
}

#[test]
fn what_was_fetched_outlives_the_process() -> Outcome {
    let mut world = World::new();
    world.chain.put("a", note("hello")).wait()?;
    world.chain.put("b", note("world")).wait()?;
    world.show();
    assert_eq!(world.read("a")?, "hello");
    world.restart();
    world.mood(Mood::Away);
    assert_eq!(world.read("a")?, "hello");
    assert!(matches!(
        why(world.read("b")),
        FetchError::Unreachable { .. }
    ));
    world.mood(Mood::Honest);
    assert_eq!(world.read("b")?, "world");
    Ok(())
}

#[test]
fn readers_of_one_content_share_one_request_and_none_waits_for_another_reader() -> Outcome {
    let world = World::new();
    world.chain.put("a", note("hello")).wait()?;
    world.show();
    world.node.is_slow.store(true, Ordering::SeqCst);
    // The first is polled once and left alone.
    let mut first = world.replica.get::<Note>("a");
    assert!(poll(&mut first).is_pending());
    let waiters: Vec<_> = (0..4)
        .map(|_| {
            let replica = world.replica.clone();
            std::thread::spawn(move || replica.get::<Note>("a").wait().map(|dao| dao.text.clone()))
        })
        .collect();
    world.node.release();
    for waiter in waiters {
        assert_eq!(waiter.join().expect("it ends")?, "hello");
    }
    let requests = world.node.requests.lock().len();
    assert_eq!(requests, 1, "{:?}", world.node.requests.lock());
    assert_eq!(first.wait()?.text, "hello");
    Ok(())
}

#[test]
fn a_reader_that_goes_away_leaves_nothing_behind() -> Outcome {
    let world = World::new();
    world.chain.put("a", note("hello")).wait()?;
    world.show();
    world.node.is_slow.store(true, Ordering::SeqCst);
    let mut first = world.replica.get::<Note>("a");
    assert!(poll(&mut first).is_pending());
    drop(first);
    world.node.release();
    assert_eq!(world.read("a")?, "hello");
    Ok(())
}

#[test]
fn an_erasure_reaches_what_was_fetched() -> Outcome {
    let mut world = World::new();
    world.chain.put("a", note("secret")).wait()?;
    world.chain.put("b", note("also secret")).wait()?;
    world.show();
    assert_eq!(world.read("a")?, "secret");
    let before = world.replica.view();
    world.chain.erase::<Note>("a").wait()?;
    world.chain.erase::<Note>("b").wait()?;
    // The node does not have it any more, and the replica does not know why yet.
    assert!(matches!(why(world.read("b")), FetchError::NotThere));
    world.show();
    for name in ["a", "b"] {
        let key = world.chain.key_of::<Note>(name);
        assert!(key.is_none());
    }
    let held = world.replica.local().fetched_count();
    assert_eq!(held, 2, "the note and the schema");
    assert!(matches!(
        world.replica.get::<Note>("a").wait(),
        Err(ReadError::Erased { .. } | ReadError::NotFound { .. })
    ));
    assert!(matches!(
        before.get::<Note>("b").wait(),
        Err(ReadError::Erased { .. } | ReadError::NotFound { .. })
    ));
    assert_eq!(world.replica.local().finish_erasures()?, 2);
    world.restart();
    let held = world.replica.local().fetched_count();
    assert_eq!(held, 1, "the schema: the bytes are destroyed");
    Ok(())
}

#[test]
fn a_view_of_an_old_position_fetches_what_stood_there() -> Outcome {
    let world = World::new();
    world.chain.put("a", note("first")).wait()?;
    let then = world.chain.position();
    world.chain.put("a", note("second")).wait()?;
    world.show();
    let view = world.replica.as_of(then);
    assert_eq!(view.get::<Note>("a").wait()?.text, "first");
    assert_eq!(world.read("a")?, "second");
    assert_eq!(view.document("a")?.json, r#"{"text":"first"}"#);
    assert!(
        world
            .replica
            .as_of(Position(0))
            .get::<Note>("a")
            .wait()
            .is_err()
    );
    Ok(())
}

#[test]
fn transactions_read_and_change_what_is_elsewhere() -> Outcome {
    let world = World::new();
    world.chain.put("a", note("one")).wait()?;
    world.chain.put("b", note("two")).wait()?;
    world.show();
    let tx = world.replica.begin();
    assert_eq!(tx.get::<Note>("a").wait()?.text, "one");
    tx.update("b", |note: &mut Note| note.text.push('!'))
        .wait()?;
    let answer = tx.commit();
    world.send();
    answer.wait()?;
    assert_eq!(world.chain.get::<Note>("b").wait()?.text, "two!");
    // Its own commit came back without its content.
    assert_eq!(world.read("b")?, "two!");
    world.mood(Mood::Away);
    let tx = world.replica.begin();
    let ran = Arc::new(AtomicBool::new(false));
    world.chain.put("c", note("three")).wait()?;
    world.show();
    let runs = ran.clone();
    let failed = tx.update("c", move |_: &mut Note| runs.store(true, Ordering::SeqCst));
    assert!(matches!(
        failed.wait(),
        Err(CommitError::Read(ReadError::Chain(
            ChainError::Elsewhere { .. }
        )))
    ));
    assert!(!ran.load(Ordering::SeqCst) && tx.is_empty());
    Ok(())
}

#[test]
fn a_write_over_what_is_elsewhere_keeps_what_it_does_not_know() -> Outcome {
    let world = World::new();
    let task = |minutes| Task {
        text: "paint".into(),
        minutes,
    };
    world.chain.put("a", task(30)).wait()?;
    world.chain.put("b", task(40)).wait()?;
    world.show();
    let old = |text: &str| OldTask { text: text.into() };
    // A builder, which fetches without a thread, and a transaction, which waits.
    let mut one = world.replica.put("a", old("draw")).into_future();
    while poll(&mut one).is_pending() && world.replica.local().staged().is_empty() {}
    let tx = world.replica.begin();
    tx.put("b", &old("sing"))?;
    let two = tx.commit();
    world.send();
    two.wait()?;
    for (name, minutes) in [("a", 30), ("b", 40)] {
        let task = world.chain.get::<Task>(name).wait()?;
        assert_eq!(task.minutes, minutes);
        assert_ne!(task.text, "paint");
    }
    Ok(())
}

#[test]
fn a_write_that_follows_others_fetches_what_they_wrote() -> Outcome {
    let world = World::new();
    let old = |text: &str| OldTask { text: text.into() };
    world.chain.put("a", old("draw")).wait()?;
    world.show();
    assert_eq!(world.replica.get::<OldTask>("a").wait()?.text, "draw");
    let tx = world.replica.begin();
    tx.put("a", &old("sing"))?;
    let mut answer = tx.commit();
    let newer = Task {
        text: "paint".into(),
        minutes: 30,
    };
    world.chain.put("a", newer).wait()?;
    let receipt = loop {
        world.send();
        if let Poll::Ready(receipt) = poll(&mut answer) {
            break receipt?;
        }
    };
    assert_eq!(receipt.position, world.chain.position());
    let task = world.chain.get::<Task>("a").wait()?;
    assert_eq!((task.text.as_str(), task.minutes), ("sing", 30));
    Ok(())
}

/// Two folders of notes and tasks.
fn folders(world: &World) -> Result<(RecordKey, RecordKey), CommitError> {
    let tx = world.chain.begin();
    let mut folders = Vec::new();
    for name in ["left", "right"] {
        let folder = tx.put(name, &note(name))?;
        for number in 0..3 {
            let child = tx.push(folder, "notes", &note(&format!("{name} {number}")))?;
            let minutes = number;
            let text = format!("below {name}");
            tx.push(child, "tasks", &Task { text, minutes })?;
        }
        folders.push(folder.raw());
    }
    tx.commit().wait()?;
    Ok((folders[0], folders[1]))
}

#[test]
fn prefetch_brings_what_is_chosen_and_nothing_else() -> Outcome {
    let choices = |left: RecordKey, right: RecordKey| {
        let notes = Prefetch::Children {
            parent: left,
            collection: "notes".into(),
        };
        [
            (Prefetch::Nothing, 0),
            (Prefetch::Below(left), 7),
            (Prefetch::Type("task".into()), 6),
            (Prefetch::Type("note".into()), 8),
            (Prefetch::Names("ri".into()), 1),
            (Prefetch::Keys(vec![left, right]), 2),
            (notes.clone(), 3),
            (Prefetch::AnyOf(vec![notes, Prefetch::Below(right)]), 10),
            (Prefetch::Except(Box::new(Prefetch::Below(left))), 7),
            (Prefetch::Everything, 14),
        ]
    };
    for at in 0..choices(RecordKey::ROOT, RecordKey::ROOT).len() {
        let world = World::new();
        let (left, right) = folders(&world)?;
        world.show();
        let (chosen, count) = choices(left, right)[at].clone();
        let came = world.replica.prefetch(chosen.clone()).wait()?;
        assert_eq!(came, count + 2, "{chosen:?} and two schemas");
        assert_eq!(world.node.asked().len() as u64, came, "{chosen:?}");
        let coverage = world.replica.coverage(&chosen)?;
        assert!(coverage.is_complete(), "{chosen:?} {coverage:?}");
        assert_eq!(coverage.selected, count);
        let all = world.replica.coverage(&Prefetch::Everything)?;
        assert_eq!(all.is_complete(), count == 14, "{all:?}");
        assert_eq!(all.here, count);
    }
    Ok(())
}

#[test]
fn a_keeper_goes_on_with_what_is_written() -> Outcome {
    let world = World::new();
    let (left, right) = folders(&world)?;
    world.show();
    let keeper = world.replica.keep(Prefetch::Below(left));
    let (left, right) = (Key::<Note>::from_raw(left), Key::<Note>::from_raw(right));
    assert_eq!(keeper.progress().complete, None);
    let mut run = keeper.run();
    assert!(poll(&mut run).is_pending());
    let progress = keeper.progress();
    assert_eq!(progress.complete, Some(world.replica.position()));
    assert_eq!((progress.fetched, progress.absent), (9, 0));
    // Enough rows that a few commits are looked at for themselves.
    world.chain.push(left, "notes", note("new")).wait()?;
    world.chain.push(right, "notes", note("other")).wait()?;
    world.show();
    assert!(poll(&mut run).is_pending());
    assert_eq!(keeper.progress().fetched, 10);
    world.mood(Mood::Away);
    world.chain.push(left, "notes", note("late")).wait()?;
    world.show();
    assert!(matches!(poll(&mut run), Poll::Ready(Err(_))));
    assert!(keeper.progress().complete < Some(world.replica.position()));
    world.mood(Mood::Honest);
    assert!(poll(&mut keeper.run()).is_pending());
    assert_eq!(keeper.progress().fetched, 11);
    let (replica, chain) = (world.replica, world.chain);
    let mut last = keeper.run();
    assert!(poll(&mut last).is_pending());
    drop((replica, chain));
    assert!(matches!(poll(&mut last), Poll::Ready(Ok(()))), "let go");
    Ok(())
}

#[test]
fn ten_thousand_records_take_a_bounded_number_of_requests() -> Outcome {
    let world = World::new();
    for round in 0..10 {
        let tx = world.chain.begin();
        for number in 0..1000 {
            tx.add(&note(&format!("{round} {number}")))?;
        }
        tx.commit().wait()?;
    }
    world.show();
    assert_eq!(world.replica.prefetch(Prefetch::Everything).wait()?, 10_001);
    let requests = world.node.requests.lock();
    assert!(requests.len() <= 42, "{}", requests.len());
    assert!(requests.iter().all(|request| request.len() <= 256));
    drop(requests);
    world.mood(Mood::Away);
    let keys = world.replica.all::<Note>();
    assert_eq!(keys.len(), 10_000);
    assert_eq!(world.replica.get(keys[9_999]).wait()?.text, "9 999");
    Ok(())
}

#[test]
fn space_is_given_back_and_contents_come_again() -> Outcome {
    let mut world = World::new();
    let (left, right) = folders(&world)?;
    world.show();
    world.replica.prefetch(Prefetch::Everything).wait()?;
    let before = world.replica.local().fetched_bytes();
    let chosen = Prefetch::Below(left);
    let dropped = world.replica.drop_fetched(&chosen)?;
    assert_eq!(dropped.contents, 7);
    assert_eq!(
        world.replica.local().fetched_bytes(),
        before - dropped.bytes
    );
    let coverage = world.replica.coverage(&chosen)?;
    assert_eq!((coverage.selected, coverage.here), (7, 0));
    assert!(
        world
            .replica
            .coverage(&Prefetch::Below(right))?
            .is_complete()
    );
    world.restart();
    assert_eq!(world.replica.coverage(&chosen)?.here, 0, "destroyed");
    assert_eq!(world.read("left")?, "left");
    assert_eq!(world.replica.coverage(&chosen)?.here, 1);
    world.replica.drop_fetched(&Prefetch::Everything)?;
    assert_eq!(world.replica.local().fetched_count(), 2, "schemas stay");
    Ok(())
}
