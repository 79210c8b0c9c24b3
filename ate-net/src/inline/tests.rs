//! Who runs which task, and that no wake is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ThreadId};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::{QUEUE_MAX, RUNS_MAX, spawn, within};

/// Tells on which threads its messages were taken.
fn taker() -> (mpsc::UnboundedSender<u32>, Arc<Mutex<Vec<ThreadId>>>) {
    let (send, mut receive) = mpsc::unbounded_channel();
    let threads = Arc::new(Mutex::new(Vec::new()));
    let seen = threads.clone();
    spawn(async move {
        while receive.recv().await.is_some() {
            seen.lock().push(thread::current().id());
        }
    });
    (send, threads)
}

async fn until(mut is: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it did not come");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_woken_within_a_turn_is_run_by_the_thread_that_woke_it() {
    let (send, threads) = taker();
    // It waits first.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let other = thread::spawn(move || {
        within(|| send.send(1).unwrap());
        // Done when the turn is, not some time after it.
        thread::current().id()
    });
    let other = other.join().unwrap();
    assert_eq!(*threads.lock(), [other]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_woken_outside_of_a_turn_is_run_by_the_runtime() {
    let (send, threads) = taker();
    let other = thread::spawn(move || {
        send.send(1).unwrap();
        (thread::current().id(), send)
    });
    let (other, _send) = other.join().unwrap();
    until(|| threads.lock().len() == 1).await;
    assert_ne!(threads.lock()[0], other);
}

#[tokio::test]
async fn what_one_thread_cannot_do_in_a_turn_goes_to_the_runtime() {
    let takers: Vec<_> = (0..QUEUE_MAX + 3).map(|_| taker()).collect();
    tokio::task::yield_now().await;
    within(|| {
        for (send, _) in &takers {
            send.send(1).unwrap();
        }
    });
    let run = |(_, threads): &(_, Arc<Mutex<Vec<ThreadId>>>)| threads.lock().len();
    assert_eq!(takers.iter().map(run).sum::<usize>(), QUEUE_MAX);
    until(|| takers.iter().all(|taker| run(taker) == 1)).await;
}

#[tokio::test]
async fn a_task_that_wakes_itself_does_not_keep_its_thread() {
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = polls.clone();
    let (start, started) = oneshot::channel::<()>();
    spawn(async move {
        started.await.unwrap();
        std::future::poll_fn(|context| {
            if counted.fetch_add(1, Ordering::Relaxed) > 10 * RUNS_MAX {
                return std::task::Poll::Ready(());
            }
            context.waker().wake_by_ref();
            std::task::Poll::Pending
        })
        .await;
    });
    tokio::task::yield_now().await;
    within(|| start.send(()).unwrap());
    assert!(polls.load(Ordering::Relaxed) <= RUNS_MAX);
    until(|| polls.load(Ordering::Relaxed) > 10 * RUNS_MAX).await;
}

#[tokio::test]
async fn a_task_that_panics_ends_alone() {
    let (start, started) = oneshot::channel::<()>();
    let (told, tells) = oneshot::channel::<()>();
    spawn(async move {
        let _held = told;
        started.await.unwrap();
        panic!("on purpose");
    });
    tokio::task::yield_now().await;
    within(|| start.send(()).unwrap());
    assert!(tells.await.is_err(), "what it held was dropped");
}

#[test]
fn tasks_end_with_their_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (send, threads) = runtime.block_on(async {
        let taker = taker();
        tokio::task::yield_now().await;
        taker
    });
    drop(runtime);
    assert!(send.send(1).is_err());
    assert!(threads.lock().is_empty());
}

#[test]
fn no_wake_is_lost_between_threads() {
    const EACH: usize = 2000;
    const THREADS: usize = 4;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (send, threads) = runtime.block_on(async { taker() });
    let senders: Vec<_> = (0..THREADS)
        .map(|number| {
            let send = send.clone();
            thread::spawn(move || {
                for message in 0..EACH {
                    // With and without a turn, in turn.
                    if (message + number) % 3 == 0 {
                        send.send(1).unwrap();
                    } else {
                        within(|| send.send(1).unwrap());
                    }
                }
            })
        })
        .collect();
    for sender in senders {
        sender.join().unwrap();
    }
    runtime.block_on(until(|| threads.lock().len() == EACH * THREADS));
}
