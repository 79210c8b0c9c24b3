//! Replicas without a network: what is staged is read, built upon, refused, merged and settled.

#[path = "../../ate-chain/tests/common/replica.rs"]
mod replica;

use std::sync::Arc;

use ate_chain::{
    Answered, Clock, CommitOutcome, Contents, Local, Position, RecordKey, Reject, SubmitError,
    Version,
};
use ate_crypto::{Hash, Identity};
use ate_log::{FileLog, Log, LogOptions, Loss, LossyStorage};
use ate_view::{
    Chain, CommitError, Durability, Key, Merge, Merged, ReadError, Record, Transaction, ValueCache,
};
use serde::{Deserialize, Serialize};

use replica::{Node, Noon, committer, committer_over, deliver, identity, send};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Record)]
#[record(crate = "ate_view")]
struct Count {
    count: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Record)]
#[record(crate = "ate_view")]
struct Line {
    text: String,
}

fn count(count: u64) -> Count {
    Count { count }
}

/// One store of the owner.
struct Client {
    chain: Chain,
    storage: LossyStorage,
    store: u8,
    openings: u64,
    sent: u64,
}

/// A node without keys, and who follows it.
struct World {
    node: Arc<Node>,
    hosted: Arc<Local>,
    owner: Identity,
}

fn over(local: &Arc<Local>, owner: &Identity) -> Chain {
    let clock: Arc<dyn Clock> = Arc::new(Noon);
    Chain::over(
        local.clone(),
        "notes",
        owner,
        clock,
        &ValueCache::new(1 << 20),
    )
}

impl World {
    /// The chain with one counter under the name `hits`, at 10, as two stores know it.
    fn with_two() -> (Self, Client, Client) {
        let owner = identity(1);
        let storage = LossyStorage::new();
        let local = Local::create(&committer_over(&log_in(&storage), 1, 101), "notes", &owner)
            .expect("planned");
        let hosted = Local::at(&committer(9), local.chain(), None);
        let node = Node::of(Some(hosted.clone()));
        local.follow(node.clone()).expect("follows");
        let mut one = Client {
            chain: over(&local, &owner),
            storage,
            store: 1,
            openings: 1,
            sent: 0,
        };
        let world = Self {
            node,
            hosted,
            owner,
        };
        let first = one.chain.put("hits", count(10)).stage();
        first.wait().expect("staged");
        world.sync(&mut one);
        let two = world.join(2);
        (world, one, two)
    }

    fn join(&self, store: u8) -> Client {
        let storage = LossyStorage::new();
        let committer = committer_over(&log_in(&storage), store, 200 + u64::from(store));
        let local = Local::at(&committer, self.hosted.chain(), None);
        local.follow(self.node.clone()).expect("follows");
        let mut client = Client {
            chain: over(&local, &self.owner),
            storage,
            store,
            openings: 1,
            sent: 0,
        };
        self.catch_up(&mut client);
        client
    }

    fn send(&self, client: &mut Client) -> Vec<Answered> {
        send(&self.hosted, client.chain.local(), &mut client.sent)
    }

    fn catch_up(&self, client: &mut Client) {
        replica::catch_up(&self.hosted, client.chain.local(), Contents::Eager).expect("verifies");
    }

    /// Online until nothing is left to be sent.
    fn sync(&self, client: &mut Client) {
        self.catch_up(client);
        for _ in 0..100 {
            if self.send(client).is_empty() {
                return;
            }
            self.catch_up(client);
        }
        panic!("it never comes to rest");
    }

    /// Ends the process and begins another over the same log; what was not synced is lost.
    fn restart(&self, client: &mut Client) {
        let image = client.storage.image_after_cut(Loss::Everything);
        client.storage = LossyStorage::from_image(image);
        client.openings += 1;
        client.sent = 0;
        let seed = 1000 * client.openings + u64::from(client.store);
        let committer = committer_over(&log_in(&client.storage), client.store, seed);
        let local = Local::open(&committer, self.hosted.chain(), None).expect("opens");
        client.chain = over(&local, &self.owner);
        local.follow(self.node.clone()).expect("follows");
    }
}

fn log_in(storage: &LossyStorage) -> Arc<FileLog> {
    let options = LogOptions {
        zero_window_bytes: 0,
        reserve_bytes: 0,
        ..LogOptions::default()
    };
    Arc::new(FileLog::open(Arc::new(storage.clone()), options).expect("opens"))
}

impl Client {
    /// Makes all durable that stands in the log.
    fn save(&self) {
        self.chain.local().committer().log().sync().expect("synced");
    }

    fn add(&self, name: &str, more: u64) -> Hash {
        let transaction = self.chain.begin();
        let change = move |value: &mut Count| value.count += more;
        transaction
            .update::<Count>(name, change)
            .wait()
            .expect("read");
        transaction.stage().wait().expect("staged")
    }

    fn hits(&self) -> (u64, bool) {
        let dao = self.chain.get::<Count>("hits").wait().expect("is there");
        (dao.count, dao.is_staged())
    }

    fn confirmed_hits(&self) -> u64 {
        self.chain
            .view()
            .get::<Count>("hits")
            .wait()
            .expect("is there")
            .count
    }
}

/// Adds what both have added.
fn sum(merge: Merge<'_, Count>) -> Merged<Count> {
    match (merge.base, merge.yours, merge.theirs) {
        (Some(base), Some(yours), Some(theirs)) => {
            Merged::Value(count(theirs.count + yours.count - base.count))
        }
        (None, Some(yours), Some(theirs)) => Merged::Value(count(theirs.count + yours.count)),
        _ => Merged::Refuse,
    }
}

#[test]
fn what_is_staged_is_read_as_staged_and_confirmed_when_it_is_ordered() {
    let (world, mut one, mut two) = World::with_two();
    assert_eq!(one.hits(), (10, false));
    one.add("hits", 1);
    assert_eq!(one.hits(), (11, true));
    assert_eq!(one.confirmed_hits(), 10, "a view stands at a position");
    let peeked = one
        .chain
        .peek::<Count>("hits")
        .expect("its bytes are in memory");
    assert!(peeked.count == 11 && peeked.is_staged());
    assert!(peeked.version().to_string().starts_with("staged "));
    let new: Key<Line> = {
        let transaction = one.chain.begin();
        let key = transaction
            .add(&Line {
                text: "offline".into(),
            })
            .expect("drafted");
        transaction
            .put(
                "todo",
                &Line {
                    text: "named".into(),
                },
            )
            .expect("drafted");
        transaction.remove::<Count>("hits").expect("drafted");
        transaction.stage().wait().expect("staged");
        key
    };
    assert_eq!(one.chain.get(new).wait().expect("is there").text, "offline");
    assert!(one.chain.contains::<Line>("todo") && !one.chain.contains::<Count>("hits"));
    assert!(matches!(
        one.chain.get::<Count>("hits").wait(),
        Err(ReadError::NotFound { .. })
    ));
    assert_eq!(one.chain.all::<Line>(), [new]);
    let names = |chain: &Chain| -> Vec<(String, String)> {
        let names = chain.names("").expect("listed");
        names
            .into_iter()
            .map(|name| (name.name, name.type_name))
            .collect()
    };
    assert_eq!(names(&one.chain), [("todo".to_owned(), "line".to_owned())]);
    assert_eq!(two.hits(), (10, false), "nobody else sees it");

    world.sync(&mut one);
    assert_eq!(one.chain.staged(), []);
    assert!(!one.chain.get(new).wait().expect("is there").is_staged());
    world.catch_up(&mut two);
    assert_eq!(names(&two.chain), names(&one.chain));
    assert!(!two.chain.contains::<Count>("hits"));
}

#[test]
fn a_record_that_is_changed_often_offline_is_sealed_once_each_time() {
    let (world, mut one, mut two) = World::with_two();
    let ids: Vec<Hash> = (0..20).map(|_| one.add("hits", 1)).collect();
    let key = one.chain.add(count(0)).stage().wait().expect("staged");
    let all = one.chain.all::<Count>();
    assert_eq!(all.len(), 1);
    let transaction = one.chain.begin();
    transaction
        .update(all[0], |value: &mut Count| value.count = 7)
        .wait()
        .expect("read");
    transaction.stage().wait().expect("staged");
    assert_eq!(one.hits(), (30, true));
    world.sync(&mut one);
    for id in ids.iter().chain([&key]) {
        assert!(
            matches!(one.chain.outcome(id), CommitOutcome::Committed(_)),
            "{id}"
        );
    }
    world.catch_up(&mut two);
    assert_eq!(two.hits(), (30, false));
    assert_eq!(two.chain.get(all[0]).wait().expect("is there").count, 7);
    assert_eq!(
        two.chain.history::<Count>("hits").expect("walked").len(),
        21
    );
}

#[test]
fn a_refused_commit_takes_what_builds_upon_it_along_and_both_are_kept() {
    let (world, mut one, mut two) = World::with_two();
    assert_eq!(one.hits(), (10, false), "cached from now on");
    let first = one.add("hits", 1);
    let second = one.add("hits", 1);
    let free = one
        .chain
        .put("free", count(5))
        .stage()
        .wait()
        .expect("staged");
    assert_eq!(one.hits(), (12, true));
    two.add("hits", 100);
    world.sync(&mut two);
    world.sync(&mut one);
    assert_eq!(one.hits(), (110, false));
    assert_eq!(one.chain.peek::<Count>("hits").expect("cached").count, 110);
    assert!(matches!(
        one.chain.outcome(&free),
        CommitOutcome::Committed(_)
    ));
    let refused = one.chain.refused();
    let ids: Vec<Hash> = refused.iter().map(|commit| commit.id()).collect();
    assert_eq!(ids, [first, second]);
    assert!(matches!(
        one.chain.outcome(&first),
        CommitOutcome::Refused { .. }
    ));
    assert!(
        refused[0].reason().contains("expects"),
        "{}",
        refused[0].reason()
    );
    assert_eq!(one.chain.refused_records(&refused[1]).len(), 1);
    let value = |id| {
        one.chain
            .refused_value::<Count>(id, "hits")
            .expect("opens")
            .count
    };
    assert_eq!((value(&first), value(&second)), (11, 12));

    one.save();
    world.restart(&mut one);
    assert_eq!(one.chain.refused().len(), 2, "they outlive the process");
    assert!(one.chain.dismiss_refused(&first) && !one.chain.dismiss_refused(&first));
    one.save();
    world.restart(&mut one);
    assert_eq!(one.chain.refused()[0].id(), second);
    assert_eq!(one.hits(), (110, false));
}

#[test]
fn two_that_were_offline_for_long_end_with_the_same_and_lose_nothing() {
    let (world, mut one, mut two) = World::with_two();
    let mut ids = (Vec::new(), Vec::new());
    for round in 0..10 {
        ids.0.push(one.add("hits", 1));
        ids.1.push(two.add("hits", 100));
        ids.0.push(
            one.chain
                .put(&*format!("one-{round}"), count(round))
                .stage()
                .wait()
                .expect("staged"),
        );
        ids.1.push(
            two.chain
                .put(&*format!("two-{round}"), count(round))
                .stage()
                .wait()
                .expect("staged"),
        );
    }
    // A record that both make, in a commit with one that only one makes.
    for (client, more) in [(&one, 3), (&two, 4)] {
        let transaction = client.chain.begin();
        transaction
            .put_if("both", &count(more), ate_view::Expect::Absent)
            .expect("drafted");
        transaction
            .add(&Line {
                text: format!("of {more}"),
            })
            .expect("drafted");
        transaction.stage().wait().expect("staged");
    }
    one.save();
    world.restart(&mut one);
    assert_eq!(one.hits(), (20, true), "it is still there");
    one.chain.on_conflict(sum);
    two.chain.on_conflict(sum);
    world.sync(&mut two);
    world.sync(&mut one);
    world.catch_up(&mut two);
    for client in [&one, &two] {
        assert_eq!(client.hits(), (10 + 10 + 1000, false));
        let both = client.chain.get::<Count>("both").wait().expect("is there");
        assert_eq!(both.count, 7);
        assert_eq!(client.chain.names("").expect("listed").len(), 22);
        assert_eq!(client.chain.all::<Line>().len(), 2);
        assert!(client.chain.staged().is_empty() && client.chain.refused().is_empty());
    }
    assert_eq!(one.chain.root(), two.chain.root());
    for id in &ids.1 {
        assert!(matches!(two.chain.outcome(id), CommitOutcome::Committed(_)));
    }
    for id in &ids.0 {
        let mut outcome = one.chain.outcome(id);
        while let CommitOutcome::Replaced { by } = outcome {
            outcome = one.chain.outcome(&by);
        }
        assert!(
            matches!(outcome, CommitOutcome::Committed(_)),
            "{id}: {outcome:?}"
        );
    }
}

#[test]
fn a_refusal_is_merged_by_the_next_process_if_this_one_has_no_hook() {
    let (world, mut one, mut two) = World::with_two();
    one.add("hits", 1);
    one.add("hits", 1);
    two.add("hits", 100);
    world.sync(&mut two);
    world.sync(&mut one);
    assert_eq!(one.chain.refused().len(), 2);
    one.save();
    world.restart(&mut one);
    one.chain.on_conflict::<Count>(sum);
    world.sync(&mut one);
    assert_eq!(one.hits(), (112, false));
    assert!(one.chain.refused().is_empty());
    one.save();
    world.restart(&mut one);
    one.chain.on_conflict::<Count>(sum);
    world.sync(&mut one);
    assert_eq!(one.hits(), (112, false), "nothing is merged twice");
}

#[test]
fn a_merge_that_was_not_durable_before_a_crash_is_made_again_and_lands_once() {
    let (world, mut one, mut two) = World::with_two();
    one.chain.on_conflict(sum);
    one.add("hits", 1);
    two.add("hits", 100);
    world.sync(&mut two);
    world.catch_up(&mut one);
    world.send(&mut one);
    world.catch_up(&mut one);
    assert_eq!(one.hits(), (111, true), "merged, and not durable");
    let sent = deliver(&world.hosted, one.chain.local(), &mut one.sent);
    assert!(sent.is_empty(), "so it waits");
    world.restart(&mut one);
    one.chain.on_conflict(sum);
    world.sync(&mut one);
    world.restart(&mut one);
    one.chain.on_conflict(sum);
    world.sync(&mut one);
    assert_eq!(one.hits(), (111, false));
    assert!(one.chain.refused().is_empty() && one.chain.staged().is_empty());
}

#[test]
fn a_chain_that_is_closed_offline_waits_for_nobody_and_loses_nothing() {
    let (world, mut one, mut two) = World::with_two();
    one.chain.on_conflict(sum);
    one.add("hits", 1);
    let left = one.chain.begin();
    left.put("left", &count(1)).expect("drafted");
    drop(left.commit());
    drop(left);
    assert!(one.chain.staged().iter().any(|info| !info.is_durable));
    one.chain.settle();
    assert!(one.chain.staged().iter().all(|info| info.is_durable));
    // Refused after it was let go: merged all the same.
    two.add("hits", 100);
    world.sync(&mut two);
    world.sync(&mut one);
    assert_eq!(one.hits(), (111, false));
    assert!(one.chain.contains::<Count>("left"));
}

#[test]
fn whoever_waits_gets_the_conflict_and_blind_writes_follow() {
    let (world, mut one, mut two) = World::with_two();
    let transaction = one.chain.begin();
    transaction
        .update::<Count>("hits", |value| value.count += 1)
        .wait()
        .expect("read");
    let updated = transaction.commit();
    let blind = one.chain.begin();
    blind.put("blind", &count(1)).expect("drafted");
    let blind = blind.commit();
    for name in ["hits", "blind"] {
        let transaction = two.chain.begin();
        transaction.put(name, &count(500)).expect("drafted");
        transaction.stage().wait().expect("staged");
    }
    world.sync(&mut two);
    world.catch_up(&mut one);
    assert_eq!(world.send(&mut one).len(), 2);
    let Err(CommitError::Conflict(conflict)) = updated.wait() else {
        panic!("it met another one");
    };
    assert!(
        one.chain.refused().iter().all(|commit| commit.number() > 0)
            && one.chain.refused().len() <= 1
    );
    let transaction: Transaction = conflict.into_transaction();
    transaction
        .update::<Count>("hits", |value| value.count += 1)
        .wait()
        .expect("read");
    let again = transaction.commit();
    // The blind one is sent again by whoever waits for it.
    let waiting = std::thread::spawn(move || blind.wait());
    while one.chain.staged().len() < 2 {
        std::thread::yield_now();
    }
    world.sync(&mut one);
    let receipt = again.wait().expect("ordered");
    assert_eq!(receipt.durability, Durability::Server);
    waiting.join().expect("ran").expect("ordered");
    assert_eq!(one.hits(), (501, false));
    assert_eq!(
        one.chain
            .get::<Count>("blind")
            .wait()
            .expect("is there")
            .count,
        1
    );
    assert!(one.chain.refused().is_empty());
}

#[test]
fn what_was_sent_and_not_answered_is_settled_by_its_id() {
    let (world, mut one, mut two) = World::with_two();
    let id = one.add("hits", 1);
    let answers = deliver(&world.hosted, one.chain.local(), &mut one.sent);
    assert_eq!(answers.len(), 1, "and nobody hears it");
    world.restart(&mut one);
    assert_eq!(one.chain.outcome(&id), CommitOutcome::Staged);
    world.sync(&mut one);
    assert!(matches!(
        one.chain.outcome(&id),
        CommitOutcome::Committed(_)
    ));
    assert_eq!(one.hits(), (11, false));
    assert_eq!(world.hosted.position(), one.chain.position());
    world.catch_up(&mut two);
    assert_eq!(two.hits(), (11, false));
}

#[test]
fn a_number_that_was_sent_and_lost_in_a_crash_is_not_used_again() {
    let (world, mut one, _two) = World::with_two();
    one.save();
    // Placed and sent, but not durable here.
    let lost = one.chain.put("lost", count(1)).into_future_once();
    deliver(&world.hosted, one.chain.local(), &mut one.sent);
    drop(lost);
    world.restart(&mut one);
    assert!(one.chain.staged().is_empty());
    let id = one
        .chain
        .put("kept", count(2))
        .stage()
        .wait()
        .expect("staged");
    world.sync(&mut one);
    assert!(matches!(
        one.chain.outcome(&id),
        CommitOutcome::Committed(_)
    ));
    assert!(one.chain.contains::<Count>("lost") && one.chain.contains::<Count>("kept"));
}

/// Starts a write and leaves it.
trait OnceStarted {
    type Left;
    fn into_future_once(self) -> Self::Left;
}

impl<T: Send + 'static> OnceStarted for ate_view::Write<T> {
    type Left = ate_chain::Pending<Result<T, CommitError>>;
    fn into_future_once(self) -> Self::Left {
        self.into_future()
    }
}

#[test]
fn a_spent_number_is_replaced_with_and_without_somebody_who_waits() {
    let (world, mut one, _two) = World::with_two();
    let waiting = one.chain.put("waits", count(1)).into_future_once();
    let left = one
        .chain
        .put("left", count(2))
        .stage()
        .wait()
        .expect("staged");
    let ids: Vec<Hash> = one.chain.staged().iter().map(|info| info.id).collect();
    for id in ids {
        let reason = Reject::Spent { number: 1, last: 2 };
        let at = one.chain.position();
        one.sent = u64::MAX;
        one.chain
            .local()
            .answered(&id, Answered::Refused { reason, at });
    }
    let waiting = std::thread::spawn(move || waiting.wait());
    while one.chain.staged().len() < 2 {
        std::thread::yield_now();
    }
    one.sent = 0;
    world.sync(&mut one);
    waiting.join().expect("ran").expect("ordered");
    assert!(matches!(
        one.chain.outcome(&left),
        CommitOutcome::Replaced { .. }
    ));
    assert!(one.chain.contains::<Count>("waits") && one.chain.contains::<Count>("left"));
    assert!(one.chain.refused().is_empty());
}

#[test]
fn what_was_written_behind_the_own_lane_after_a_loss_of_power_is_written_again() {
    let (world, mut one, mut two) = World::with_two();
    one.save();
    two.chain
        .put("theirs", count(1))
        .stage()
        .wait()
        .expect("staged");
    world.sync(&mut two);
    world.catch_up(&mut one);
    // Sent by somebody who has seen that, and lost here with the power, as what was seen is.
    let lost = one.chain.put("lost", count(2)).into_future_once();
    deliver(&world.hosted, one.chain.local(), &mut one.sent);
    drop(lost);
    world.restart(&mut one);
    assert!(!one.chain.contains::<Count>("theirs"));
    let left = one
        .chain
        .put("left", count(3))
        .stage()
        .wait()
        .expect("staged");
    let waiting = one.chain.put("waits", count(4)).into_future_once();
    let answers = world.send(&mut one);
    let is_behind = |answer: &Answered| {
        matches!(
            answer,
            Answered::Refused {
                reason: Reject::Seen,
                ..
            }
        )
    };
    assert!(
        answers.len() == 2 && answers.iter().all(is_behind),
        "{answers:?}"
    );
    world.catch_up(&mut one);
    let waiting = std::thread::spawn(move || waiting.wait());
    while one.chain.staged().len() < 2 && !waiting.is_finished() {
        std::thread::yield_now();
    }
    world.sync(&mut one);
    waiting.join().expect("ran").expect("ordered");
    assert!(matches!(
        one.chain.outcome(&left),
        CommitOutcome::Replaced { .. }
    ));
    for name in ["theirs", "lost", "left", "waits"] {
        assert!(one.chain.contains::<Count>(name), "{name}");
    }
    assert!(one.chain.refused().is_empty());
}

#[test]
fn what_was_staged_under_an_old_key_is_sealed_anew_by_the_next_process() {
    let (world, mut one, mut two) = World::with_two();
    one.add("hits", 1);
    one.chain
        .put("new", count(3))
        .stage()
        .wait()
        .expect("staged");
    one.save();
    let rotated = two
        .chain
        .unshare::<Count>(Key::from_raw(RecordKey::ROOT), &[]);
    let rotating = std::thread::spawn(move || rotated.wait());
    while two.chain.staged().is_empty() {
        std::thread::yield_now();
    }
    world.sync(&mut two);
    rotating.join().expect("ran").expect("rotated");
    world.restart(&mut one);
    world.sync(&mut one);
    assert_eq!(one.hits(), (11, false));
    assert_eq!(
        one.chain
            .get::<Count>("new")
            .wait()
            .expect("is there")
            .count,
        3
    );
    assert!(one.chain.refused().is_empty(), "{:?}", one.chain.refused());
    world.catch_up(&mut two);
    assert_eq!(two.hits(), (11, false));
}

#[test]
fn no_more_is_staged_than_may_be_and_room_comes_back() {
    let (world, mut one, _two) = World::with_two();
    one.chain.local().set_staged_bytes_max(20_000);
    let line = |text: usize| Line {
        text: "x".repeat(text),
    };
    one.chain
        .put("a", line(12_000))
        .stage()
        .wait()
        .expect("staged");
    let refused = one.chain.put("b", line(12_000)).stage().wait();
    assert!(matches!(
        refused,
        Err(CommitError::Store(SubmitError::StagedFull {
            max: 20_000,
            ..
        }))
    ));
    assert!(!one.chain.contains::<Line>("b"));
    world.sync(&mut one);
    one.chain
        .put("b", line(12_000))
        .stage()
        .wait()
        .expect("staged");
    world.sync(&mut one);
    assert!(one.chain.contains::<Line>("b"));
}

#[test]
fn durability_that_nothing_reaches_is_an_error_and_writes_nothing() {
    let (_world, one, _two) = World::with_two();
    let transaction = one.chain.begin();
    transaction.put("hits", &count(1)).expect("drafted");
    let asked = transaction.commit_to(Durability::Witnessed).wait();
    assert!(matches!(
        asked,
        Err(CommitError::Durability {
            reached: Durability::Server,
            ..
        })
    ));
    assert!(one.chain.staged().is_empty() && one.hits() == (10, false));
    assert_eq!(one.chain.view().position(), Position(2));
}

#[test]
fn what_another_identity_has_staged_here_cannot_be_built_upon() {
    let (world, mut one, _two) = World::with_two();
    let guest = identity(7);
    let transaction = one.chain.begin();
    transaction.introduce(guest.who()).expect("drafted");
    transaction
        .set_writers(
            RecordKey::ROOT,
            &[one.chain.identity().who().clone(), guest.who().clone()],
        )
        .expect("drafted");
    transaction
        .grant::<Count>(Key::from_raw(RecordKey::ROOT), guest.who())
        .expect("drafted");
    transaction.stage().wait().expect("staged");
    world.sync(&mut one);
    one.add("hits", 1);
    let theirs = one.chain.as_identity(&guest);
    let dao = theirs.get::<Count>("hits").wait().expect("is there");
    assert_eq!((dao.count, dao.version().is_staged()), (11, true));
    let refused = theirs.put("hits", count(3)).stage().wait();
    assert!(
        matches!(
            refused,
            Err(CommitError::Store(SubmitError::StagedByOther { .. }))
        ),
        "{refused:?}"
    );
    world.sync(&mut one);
    theirs.put("hits", count(3)).stage().wait().expect("staged");
    world.sync(&mut one);
    assert_eq!(one.hits(), (3, false));
    assert_ne!(Version::staged(3, 0), Version { seq: 3, event: 0 });
}
