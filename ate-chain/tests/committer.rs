//! The committer under threads, tasks and faults: every commit is answered once, truly, and not before it is durable.
#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test fails as the test does"
)]

mod common;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use ate_chain::{
    Author, Committed, Committer, CreateOptions, Depth, Draft, Local, Pending, Position, Readers,
    RecordKey, Ref, Reject, SubmitError,
};
use ate_crypto::SeededRandom;
use ate_log::{
    AppendError, Fault, FaultyStorage, FileLog, Log, LogOptions, Loss, LossyStorage, MemLog,
    MemStorage,
};
use common::gate::Gate;
use common::*;
use parking_lot::{Condvar, Mutex};

const ROOT: RecordKey = RecordKey::ROOT;

type Answer = Result<Committed, SubmitError>;

fn with_thread(log: Arc<dyn Log>) -> Arc<Committer> {
    let random = Arc::new(SeededRandom::new(1));
    Committer::new(
        log,
        Arc::new(Hands::default()),
        random,
        Some(Box::new(Threads)),
        [1; 16],
    )
}

fn born(committer: &Arc<Committer>) -> Author {
    let root = identity(1);
    let local = Local::create(committer, "chain", &root).unwrap();
    let author = local.author(&root);
    write(&author, |draft| define(draft, ROOT));
    author
}

fn note(author: &Author, name: &str) -> Draft {
    let mut draft = Draft::new(author.clone());
    add(&mut draft, ROOT, name, name);
    draft
}

fn submit(author: &Author, draft: Draft) -> Pending<Answer> {
    author.local().commit(draft).unwrap()
}

/// Wakes a thread that waits for any of its tasks.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    ring: Condvar,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        *self.rung.lock() = true;
        self.ring.notify_all();
    }
}

impl Bell {
    /// Waits for the bell; fails a test that would hang for ever.
    fn wait(&self) {
        let mut rung = self.rung.lock();
        while !*rung {
            let timeout = self.ring.wait_for(&mut rung, Duration::from_secs(60));
            assert!(!timeout.timed_out(), "nobody wakes a task that waits");
        }
        *rung = false;
    }
}

fn poll(pending: &mut Pending<Answer>, waker: &Waker) -> Poll<Answer> {
    Pin::new(pending).poll(&mut Context::from_waker(waker))
}

/// Runs tasks to their end as an executor of one thread would.
fn run(mut tasks: Vec<Pending<Answer>>) -> Vec<Answer> {
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    let mut answers = Vec::new();
    loop {
        tasks.retain_mut(|task| match poll(task, &waker) {
            Poll::Ready(answer) => {
                answers.push(answer);
                false
            }
            Poll::Pending => true,
        });
        if tasks.is_empty() {
            return answers;
        }
        bell.wait();
    }
}

#[test]
fn threads_that_race_for_one_record_get_true_answers() {
    for committer in [
        committer(Arc::new(MemLog::new()), 1),
        with_thread(Arc::new(MemLog::new())),
    ] {
        let author = born(&committer);
        let mut key = ROOT;
        write(&author, |draft| key = add(draft, ROOT, "count", "0"));
        let (won, lost) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        let local = author.local();
                        let at = version(local, &key);
                        let opened = local.open_version(&author, &key, at).unwrap();
                        let count: u64 =
                            String::from_utf8(opened.content).unwrap().parse().unwrap();
                        let mut draft = Draft::new(author.clone());
                        let next = (count + 1).to_string().into_bytes();
                        draft
                            .update(key, Ref::At(at), &schema(), next, None, None)
                            .unwrap();
                        match submit(&author, draft).wait() {
                            Ok(committed) => {
                                won.fetch_add(1, Ordering::Relaxed);
                                assert!(local.position() >= committed.position());
                            }
                            Err(SubmitError::Rejected(Reject::Conflict {
                                key: at_key, ..
                            })) => {
                                assert_eq!(at_key, key);
                                lost.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(other) => panic!("{other}"),
                        }
                    }
                });
            }
        });
        let (won, lost) = (won.into_inner(), lost.into_inner());
        assert_eq!(won + lost, 200);
        assert_eq!(text(&author, &key), won.to_string());
        let mut versions = 0;
        author
            .local()
            .history(&key, |_| {
                versions += 1;
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(versions, won + 1);
        let (proved, ..) = Local::verify(
            &**committer.log(),
            author.local().chain(),
            Depth::Deep,
            |_| {},
        )
        .unwrap();
        assert_eq!(proved.commits, won + 3);
        committer.close();
    }
}

#[test]
fn waiters_tasks_and_the_forgotten_are_all_written() {
    let log = Arc::new(MemLog::new());
    let committer = with_thread(log.clone());
    let author = born(&committer);
    let written = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (author, written) = (&author, &written);
            scope.spawn(move || {
                for round in 0..20 {
                    let draft = |index: usize| note(author, &format!("{thread} {round} {index}"));
                    match thread % 3 {
                        0 => {
                            submit(author, draft(0)).wait().unwrap();
                            written.fetch_add(1, Ordering::Relaxed);
                        }
                        1 => {
                            let tasks = (0..5).map(|index| submit(author, draft(index))).collect();
                            run(tasks)
                                .into_iter()
                                .for_each(|answer| assert!(answer.is_ok()));
                            written.fetch_add(5, Ordering::Relaxed);
                        }
                        _ => {
                            drop(submit(author, draft(0)));
                            // Polled once, then forgotten; and polled, then waited for.
                            let mut task = submit(author, draft(1));
                            let bell = Waker::from(Arc::new(Bell::default()));
                            if poll(&mut task, &bell).is_pending() {
                                drop(task);
                            }
                            let mut task = submit(author, draft(2));
                            if poll(&mut task, &bell).is_pending() {
                                task.wait().unwrap();
                            }
                            written.fetch_add(3, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    committer.close();
    let expected = written.into_inner() + 2;
    assert_eq!(author.local().position(), Position(expected));
    let (rounds, commits) = committer.counts();
    assert_eq!(commits, expected);
    assert!(rounds <= commits);
    let (proved, ..) = Local::verify(&*log, author.local().chain(), Depth::Deep, |_| {}).unwrap();
    assert_eq!(proved.commits, expected);
}

#[test]
fn without_a_thread_the_writer_takes_care_of_tasks_that_nobody_else_can_write() {
    let gate = Arc::new(Gate::new());
    let committer = committer(gate.clone(), 1);
    let author = born(&committer);
    gate.shut();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| submit(&author, note(&author, "waited for")).wait().unwrap());
        gate.until_waiting();
        // The role is taken, so this poll can only leave its waker behind.
        let bell = Arc::new(Bell::default());
        let mut task = submit(&author, note(&author, "polled"));
        assert!(poll(&mut task, &Waker::from(bell.clone())).is_pending());
        drop(submit(&author, note(&author, "dropped")));
        gate.lift();
        bell.wait();
        assert!(matches!(poll(&mut task, Waker::noop()), Poll::Ready(Ok(_))));
        waiter.join().unwrap();
    });
    assert_eq!(author.local().position(), Position(5));
    // Alone, the first poll writes and has the answer.
    let mut task = submit(&author, note(&author, "alone"));
    assert!(matches!(poll(&mut task, Waker::noop()), Poll::Ready(Ok(_))));
    drop(submit(&author, note(&author, "alone and dropped")));
    assert_eq!(author.local().position(), Position(7));
}

#[test]
fn nothing_is_seen_before_the_sync_returns() {
    let gate = Arc::new(Gate::new());
    let committer = committer(gate.clone(), 1);
    let author = born(&committer);
    let local = author.local();
    let told = Arc::new(Told::default());
    local.observe(told.clone());
    let key = author.named_key(&ROOT, "notes", "new").unwrap();
    let before = (local.position(), local.root_at(local.position()));
    gate.shut();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| submit(&author, note(&author, "new")).wait().unwrap());
        gate.until_waiting();
        assert_eq!((local.position(), local.root_at(local.position())), before);
        assert_eq!(local.record(&key), None);
        assert!(told.0.lock().is_empty());
        assert!(local.open_content(&author, &key).is_err());
        assert!(local.checkpoint(&identity(1)).unwrap().contains("\n2\n"));
        assert_eq!(local.root_at(Position(3)), None);
        assert!(local.at_rest(|| ()).is_none());
        gate.lift();
        assert_eq!(waiter.join().unwrap().seq, 2);
    });
    assert_eq!(*told.0.lock(), [2]);
    assert_eq!(text(&author, &key), "new");
}

#[test]
fn one_round_orders_two_authors_and_two_chains_and_answers_each() {
    let gate = Arc::new(Gate::new());
    let committer = committer(gate.clone(), 1);
    let author = born(&committer);
    let (root, ann) = (identity(1), identity(2));
    let local = author.local().clone();
    let mut shared = ROOT;
    write(&author, |draft| {
        draft.introduce(ann.who().clone());
        draft.grant(ROOT, ann.who().clone()).unwrap();
        let write = Some(ate_chain::WritePolicy::any_of([root.id(), ann.id()]));
        shared = add_with(
            draft,
            ROOT,
            "shared",
            "",
            CreateOptions {
                write,
                ..CreateOptions::default()
            },
        );
    });
    let anns = local.author(&ann);
    let other = Local::create(&committer, "other", &root).unwrap();
    let others = other.author(&root);
    write(&others, |draft| define(draft, ROOT));
    let syncs = gate.syncs();
    let below = |author: &Author, name: &str| {
        let mut draft = Draft::new(author.clone());
        add(&mut draft, shared, name, name);
        submit(author, draft)
    };
    let answers = [
        below(&author, "1"),
        below(&anns, "2"),
        submit(&others, note(&others, "3")),
        below(&anns, "1"),               // the name is taken, by the first
        submit(&anns, note(&anns, "5")), // not her place
        below(&author, "6"),
        submit(&author, note(&others, "7")), // drafted for the other chain
        below(&anns, "8"),
    ];
    let answers: Vec<Answer> = answers.into_iter().map(Pending::wait).collect();
    assert_eq!(gate.syncs(), syncs + 1);
    let seq = |index: usize| answers[index].as_ref().unwrap().seq;
    let mut seqs = [seq(0), seq(1), seq(5), seq(7)];
    seqs.sort_unstable();
    assert_eq!((seqs, seq(2)), ([3, 4, 5, 6], 2));
    assert!(matches!(
        &answers[3],
        Err(SubmitError::Rejected(Reject::Conflict { .. }))
    ));
    assert!(matches!(
        &answers[4],
        Err(SubmitError::Rejected(Reject::Denied { key: ROOT, .. }))
    ));
    assert!(matches!(
        &answers[6],
        Err(SubmitError::Rejected(Reject::Invalid { .. }))
    ));
    for (chain, position) in [(local.chain(), 7), (other.chain(), 3)] {
        let (_, proved, _) = Local::verify(&*gate, chain, Depth::Deep, |_| {}).unwrap();
        assert_eq!(proved, Position(position));
    }
}

#[test]
fn a_full_disk_costs_the_commit_and_nothing_else() {
    let gate = Arc::new(Gate::new());
    let committer = committer(gate.clone(), 1);
    let root = identity(1);
    let local = Local::create(&committer, "chain", &root).unwrap();
    let author = local.author(&root);
    let full = || {
        gate.fail_next_append(AppendError::DiskFull {
            bytes: 1,
            place: "memory".into(),
        })
    };
    let first = |author: &Author| {
        let mut draft = Draft::new(author.clone());
        define(&mut draft, ROOT);
        submit(author, draft).wait()
    };
    // Not even the genesis is there; the chain is still to be born.
    full();
    assert!(matches!(first(&author), Err(SubmitError::Full { .. })));
    assert!(!local.is_born() && local.genesis().is_none());
    assert_eq!(first(&author).unwrap().position(), Position(2));
    // Keys that the lost commit would have made are not held: others make their own.
    let mut key = ROOT;
    let mut scoped = |author: &Author| {
        let mut draft = Draft::new(author.clone());
        let readers = Some(Readers::Only(Vec::new()));
        let plain = CreateOptions {
            readers,
            ..CreateOptions::default()
        };
        key = add_with(&mut draft, ROOT, "scope", "secret", plain);
        define(&mut draft, key);
        draft.rotate(ROOT, Vec::new(), true).unwrap();
        submit(author, draft).wait()
    };
    full();
    assert!(matches!(scoped(&author), Err(SubmitError::Full { .. })));
    write(&author, |draft| {
        drop_key(add(draft, ROOT, "between", "between"))
    });
    scoped(&author).unwrap();
    assert_eq!(text(&author, &key), "secret");
    // Limits of the log cost no more than that either.
    gate.fail_next_append(AppendError::FrameTooLarge {
        index: 1,
        bytes: 2,
        max: 1,
    });
    assert!(matches!(
        submit(&author, note(&author, "x")).wait(),
        Err(SubmitError::TooLarge { .. })
    ));
    write(&author, |draft| drop_key(add(draft, ROOT, "x", "x")));
    let again = open(gate.clone(), local.chain()).unwrap();
    assert_eq!(again.position(), local.position());
    let author = again.author(&root);
    assert_eq!(text(&author, &key), "secret");
    assert_eq!(
        text(
            &author,
            &author.named_key(&ROOT, "notes", "between").unwrap()
        ),
        "between"
    );
}

fn drop_key(_: RecordKey) {}

#[test]
fn after_a_failed_sync_the_outcome_is_unknown_and_nothing_more_is_written() {
    let gate = Arc::new(Gate::new());
    let committer = committer(gate.clone(), 1);
    let author = born(&committer);
    let local = author.local();
    let told = Arc::new(Told::default());
    local.observe(told.clone());
    let before = (local.position(), local.root_at(local.position()));
    gate.fail_syncs();
    let (first, second) = (
        submit(&author, note(&author, "a")),
        submit(&author, note(&author, "b")),
    );
    for pending in [first, second] {
        match pending.wait() {
            Err(SubmitError::Unknown { commit, .. }) => assert_ne!(commit, ate_crypto::Hash::ZERO),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(
        submit(&author, note(&author, "c")).wait(),
        Err(SubmitError::Poisoned { .. })
    ));
    assert_eq!((local.position(), local.root_at(local.position())), before);
    assert!(told.0.lock().is_empty());
    assert_eq!(
        local.record(&author.named_key(&ROOT, "notes", "a").unwrap()),
        None
    );
    assert_eq!(
        text(&author, &author.named_key(&ROOT, "schema", "text").unwrap()),
        "text"
    );
}

#[test]
fn a_closed_committer_has_written_everything_and_takes_no_more() {
    for committer in [
        committer(Arc::new(MemLog::new()), 1),
        with_thread(Arc::new(MemLog::new())),
    ] {
        let author = born(&committer);
        let late = submit(&author, note(&author, "queued"));
        let ready = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let (author, ready) = (&author, &ready);
                scope.spawn(move || {
                    for index in 0.. {
                        let answer =
                            submit(author, note(author, &format!("{thread} {index}"))).wait();
                        ready.store(true, Ordering::Release);
                        match answer {
                            Ok(_) => {}
                            Err(SubmitError::Closed) => return,
                            Err(other) => panic!("{other}"),
                        }
                    }
                });
            }
            while !ready.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            committer.close();
        });
        let position = late.wait().unwrap().position();
        assert!(author.local().position() >= position);
        committer.log().close().unwrap();
        assert!(matches!(
            submit(&author, note(&author, "late")).wait(),
            Err(SubmitError::Closed)
        ));
        committer.close();
    }
}

#[test]
fn a_reader_cannot_write() {
    let storage = MemStorage::new();
    let log: Arc<dyn Log> =
        Arc::new(FileLog::open(Arc::new(storage.clone()), LogOptions::default()).unwrap());
    let author = born(&committer(log.clone(), 1));
    let reader = FileLog::open_reader(Arc::new(storage)).unwrap();
    let local = open(Arc::new(reader), author.local().chain()).unwrap();
    let author = local.author(&identity(1));
    assert!(matches!(
        submit(&author, note(&author, "x")).wait(),
        Err(SubmitError::ReadOnly)
    ));
}

/// Commits until something fails; what was acknowledged, and the chain.
fn script(log: Arc<dyn Log>) -> (ate_chain::ChainId, Vec<String>) {
    let committer = committer(log, 1);
    let root = identity(1);
    let local = Local::create(&committer, "chain", &root).unwrap();
    let author = local.author(&root);
    let mut acknowledged = Vec::new();
    let mut draft = Draft::new(author.clone());
    define(&mut draft, ROOT);
    if submit(&author, draft).wait().is_err() {
        return (local.chain(), acknowledged);
    }
    for round in 0..4 {
        let names: Vec<String> = (0..3).map(|index| format!("{round} {index}")).collect();
        let pending: Vec<_> = names
            .iter()
            .map(|name| submit(&author, note(&author, name)))
            .collect();
        for (name, pending) in names.into_iter().zip(pending) {
            match pending.wait() {
                Ok(_) => acknowledged.push(name),
                Err(_) => return (local.chain(), acknowledged),
            }
        }
    }
    (local.chain(), acknowledged)
}

/// What was acknowledged is there, and what is there is whole.
fn check_after(log: Arc<dyn Log>, chain: ate_chain::ChainId, acknowledged: &[String], what: &str) {
    match open(log.clone(), chain) {
        Ok(local) => {
            let author = local.author(&identity(1));
            for name in acknowledged {
                let key = author.named_key(&ROOT, "notes", name).unwrap();
                assert_eq!(&text(&author, &key), name, "{what}");
            }
            let (proved, position, _) = Local::verify(&*log, chain, Depth::Deep, |_| {}).unwrap();
            assert_eq!((proved.commits, position), (position.0, local.position()));
            // And the store goes on.
            write(&author, |draft| {
                drop_key(add(draft, ROOT, "after", "after"))
            });
        }
        Err(error) => assert!(
            acknowledged.is_empty() && matches!(error, ate_chain::OpenError::NotFound { .. }),
            "{what}: {error}"
        ),
    }
}

#[test]
fn a_power_cut_at_any_call_loses_nothing_that_was_acknowledged() {
    let whole = LossyStorage::new();
    let file = |storage: LossyStorage| FileLog::open(Arc::new(storage), LogOptions::default());
    script(Arc::new(file(whole.clone()).unwrap()));
    let calls = whole.calls();
    assert!(calls > 10);
    for cut in 1..=calls {
        let storage = LossyStorage::new();
        storage.cut_at(cut);
        let Ok(log) = file(storage.clone()) else {
            continue;
        };
        let (chain, acknowledged) = script(Arc::new(log));
        assert!(storage.is_cut());
        for loss in Loss::all(2) {
            let image = storage.image_after_cut(loss);
            let log = file(LossyStorage::from_image(image)).unwrap();
            check_after(
                Arc::new(log),
                chain,
                &acknowledged,
                &format!("cut at {cut}, {loss:?}"),
            );
        }
    }
}

#[test]
fn a_storage_fault_at_any_call_loses_nothing_that_was_acknowledged() {
    let file = |storage: FaultyStorage| FileLog::open(Arc::new(storage), LogOptions::default());
    let whole = FaultyStorage::new(Arc::new(MemStorage::new()));
    script(Arc::new(file(whole.clone()).unwrap()));
    for call in 1..=whole.calls() {
        for fault in Fault::ALL {
            let memory = MemStorage::new();
            let storage = FaultyStorage::new(Arc::new(memory.clone()));
            storage.fail_once(call, fault);
            let Ok(log) = file(storage.clone()) else {
                continue;
            };
            let (chain, acknowledged) = script(Arc::new(log));
            let again = MemStorage::from_image(memory.image());
            let Ok(log) = FileLog::open(Arc::new(again), LogOptions::default()) else {
                panic!("fault {fault:?} at {call}: the log does not open");
            };
            check_after(
                Arc::new(log),
                chain,
                &acknowledged,
                &format!("{fault:?} at {call}"),
            );
        }
    }
}

#[test]
fn keys_of_a_commit_that_was_not_written_give_way_to_those_of_one_that_was() {
    let gate = Arc::new(Gate::new());
    let committer = committer(gate.clone(), 1);
    let author = born(&committer);
    let (root, ann) = (identity(1), identity(2));
    let local = author.local();
    let mut shared = ROOT;
    write(&author, |draft| {
        draft.introduce(ann.who().clone());
        draft.grant(ROOT, ann.who().clone()).unwrap();
        let write = Some(ate_chain::WritePolicy::any_of([root.id(), ann.id()]));
        let options = CreateOptions {
            write,
            ..CreateOptions::default()
        };
        shared = add_with(draft, ROOT, "shared", "", options);
    });
    let scope = |author: &Author, text: &str, readers: Vec<ate_crypto::Who>| {
        let mut draft = Draft::new(author.clone());
        let options = CreateOptions {
            readers: Some(Readers::Only(readers)),
            ..CreateOptions::default()
        };
        let key = add_with(&mut draft, shared, "scope", text, options);
        define(&mut draft, key);
        (key, submit(author, draft).wait())
    };
    gate.fail_next_append(AppendError::DiskFull {
        bytes: 1,
        place: "memory".into(),
    });
    let (key, lost) = scope(&author, "lost", Vec::new());
    assert!(matches!(lost, Err(SubmitError::Full { .. })));
    // The same record, the same epoch, other keys.
    let (same, kept) = scope(&local.author(&ann), "hers", vec![root.who().clone()]);
    assert!(kept.is_ok() && same == key);
    assert_eq!(text(&author, &key), "hers");
    write(&author, |draft| {
        add(draft, key, "below", "below");
    });
    let anns = local.author(&ann);
    let below = anns.named_key(&key, "notes", "below").unwrap();
    assert_eq!(text(&anns, &below), "below");
}
