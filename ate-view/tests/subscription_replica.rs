//! A subscription on a replica that holds heads alone: contents come from elsewhere when they are handed out.

use std::sync::Arc;

use ate_chain::{
    Clock, Committer, ContentId, Contents, FetchError, Local, Pending, Position, ShownFrame,
    Upstream, Wanted,
};
use ate_crypto::{Identity, Seed, SeededRandom};
use ate_log::MemLog;
use ate_view::{Chain, Change, ReadError, Record, SubscribeError, Subscription, ValueCache};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Record, Debug)]
#[record(crate = "ate_view")]
struct Note {
    text: String,
}

#[derive(Serialize, Deserialize, Record, Debug)]
#[record(crate = "ate_view")]
struct Other {
    number: u8,
}

struct Noon;
impl Clock for Noon {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Gives contents, unless they are hidden or nobody can be asked.
struct Node {
    chain: Arc<Local>,
    asked: Mutex<Vec<ContentId>>,
    hidden: Mutex<Option<ContentId>>,
    is_away: Mutex<bool>,
}

impl Upstream for Node {
    fn wake(&self) {}

    fn fetch(&self, wanted: Vec<Wanted>) -> Pending<Result<Vec<Option<Vec<u8>>>, FetchError>> {
        if *self.is_away.lock() {
            let why = "away".to_owned();
            return Pending::ready(Err(FetchError::Unreachable { why }));
        }
        let wanted = wanted.into_iter().map(|wanted| wanted.content);
        let wanted: Vec<ContentId> = wanted.collect();
        self.asked.lock().extend(&wanted);
        let hidden = *self.hidden.lock();
        let give = |content: ContentId| {
            let bytes = self.chain.sealed_content(content).expect("readable");
            bytes.filter(|_| hidden != Some(content))
        };
        Pending::ready(Ok(wanted.into_iter().map(give).collect()))
    }
}

fn identity() -> Identity {
    Identity::from_seed(&Seed::generate(&SeededRandom::new(1)))
}

fn committer(store: u8) -> Arc<Committer> {
    let random = Arc::new(SeededRandom::new(100 + u64::from(store)));
    let log = Arc::new(MemLog::new());
    Committer::new(log, Arc::new(Noon), random, None, [store; 16])
}

fn over(local: Arc<Local>) -> Chain {
    let cache = ValueCache::new(1 << 20);
    Chain::over(local, "notes", &identity(), Arc::new(Noon), &cache)
}

fn note(text: &str) -> Note {
    Note { text: text.into() }
}

/// A chain of two notes among others, a node that has it, and a replica with heads alone.
fn world() -> Result<(Chain, Arc<Node>, Chain), Box<dyn std::error::Error>> {
    let chain = over(Local::create(&committer(1), "notes", &identity())?);
    chain.put("a", note("1")).wait()?;
    chain.add(Other { number: 2 }).wait()?;
    chain.put("a", note("3")).wait()?;
    let node = Arc::new(Node {
        chain: chain.local().clone(),
        asked: Mutex::default(),
        hidden: Mutex::default(),
        is_away: Mutex::default(),
    });
    let replica = over(Local::at(&committer(2), chain.id(), None));
    replica.local().follow(node.clone())?;
    show(&chain, &replica)?;
    Ok((chain, node, replica))
}

fn show(chain: &Chain, replica: &Chain) -> Outcome {
    let from = chain.local().show_from(replica.position().0);
    let mut from = from.ok_or("not ahead")?;
    loop {
        let mut frames: Vec<ShownFrame> = Vec::new();
        from = chain
            .local()
            .show(from, Contents::Lazy, 1 << 20, &mut frames)?;
        if frames.is_empty() {
            return Ok(());
        }
        replica.local().take_in(&frames)?;
    }
}

fn next(feed: &mut Subscription<Note>) -> Result<String, SubscribeError> {
    Ok(match feed.next().wait()? {
        Some(Change::Put(dao)) => dao.text.clone(),
        Some(Change::Unreadable { .. }) => "unreadable".into(),
        other => panic!("{other:?}"),
    })
}

#[test]
fn contents_are_fetched_together_and_only_those_that_are_wanted() -> Outcome {
    let (chain, node, replica) = world()?;
    let mut feed = replica.subscribe::<Note>().from(Position(0));
    assert_eq!(
        (next(&mut feed)?, next(&mut feed)?),
        ("1".into(), "3".into())
    );
    let of_notes = |content: &ContentId| {
        let commit = chain.commit(content.seq).expect("it stands");
        commit.events[content.event as usize].defines || [1, 3].contains(&content.seq)
    };
    assert!(node.asked.lock().iter().all(of_notes), "nothing else");
    // What the chain does next wakes a feed of the replica too.
    let waiting = feed.next();
    let waiter = std::thread::spawn(move || waiting.wait());
    chain.put("b", note("4")).wait()?;
    show(&chain, &replica)?;
    let change = waiter.join().expect("it ends")?;
    assert!(matches!(change, Some(Change::Put(dao)) if dao.text == "4"));
    Ok(())
}

#[test]
fn a_node_that_is_away_is_an_error_and_the_feed_stays() -> Outcome {
    let (_chain, node, replica) = world()?;
    let mut feed = replica.subscribe::<Note>().from(Position(0));
    *node.is_away.lock() = true;
    for _ in 0..2 {
        let failed = next(&mut feed);
        assert!(
            matches!(
                &failed,
                Err(SubscribeError::Read(ReadError::Chain(error))) if error.is_transient()
            ),
            "{failed:?}"
        );
    }
    *node.is_away.lock() = false;
    assert_eq!(
        (next(&mut feed)?, next(&mut feed)?),
        ("1".into(), "3".into())
    );
    Ok(())
}

#[test]
fn a_content_that_nobody_has_is_said_and_passed() -> Outcome {
    let (chain, node, replica) = world()?;
    let first = chain
        .history::<Note>("a")?
        .pop()
        .ok_or("it stands")?
        .version;
    *node.hidden.lock() = Some(ContentId {
        seq: first.seq,
        event: first.event,
    });
    let mut feed = replica.subscribe::<Note>().from(Position(0));
    assert_eq!(next(&mut feed)?, "unreadable");
    assert_eq!(next(&mut feed)?, "3");
    assert!(feed.try_next()?.is_none());
    Ok(())
}
