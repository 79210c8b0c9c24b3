//! Publish and subscribe: what one client publishes, another one's subscription yields, beside `nats-server`, which keeps nothing and signs nothing.
//!
//! Ours are commits: signed, sealed, in one order, synced at the node before the publisher hears of it, verified by the subscriber, and there for whoever comes later.

use std::time::{Duration, Instant};

use ate::{Chain, Change};
use ate_benches::{Sample, now, percentile, row};

use crate::nats::{Client, Server};
use crate::network::{Failed, client, node, reaches};
use crate::{Bench, Outcome};

/// The message behind which nothing comes.
const LAST: u64 = u64::MAX;

pub(crate) fn publish(bench: &Bench) -> Outcome {
    ours(bench)?;
    match Server::start(bench)? {
        Some(server) => of_nats(&server, bench),
        None => {
            row("nats", 0.0, "", "nats-server is not installed: no figures");
            Ok(())
        }
    }
}

/// How a publisher publishes.
struct Way {
    name: &'static str,
    publishers: u64,
    /// Messages of one commit.
    batch: u64,
}

const WAYS: &[Way] = &[
    Way {
        name: "publish/subscribe, 1 publisher",
        publishers: 1,
        batch: 1,
    },
    Way {
        name: "publish/subscribe, 64 in flight",
        publishers: 64,
        batch: 1,
    },
    Way {
        name: "publish/subscribe, 100 a commit",
        publishers: 4,
        batch: 100,
    },
];

fn ours(bench: &Bench) -> Outcome {
    let (serving, url) = node(bench, "publish-host")?;
    let a = client(bench, "publish-a")?;
    let chain = a.create_chain(&url).wait()?;
    chain.add(Sample::new(0)).wait()?;
    let b = client(bench, "publish-b")?;
    let copy = b.chain(&url).wait()?;
    reaches(&copy, chain.position().0)?;
    for way in WAYS {
        let start = now();
        let mut feed = copy.subscribe::<Sample>().lag_max(u64::MAX);
        let subscriber = std::thread::spawn(move || -> Result<Vec<Duration>, Failed> {
            let mut times = Vec::new();
            while let Some(change) = feed.next().wait()? {
                let Change::Put(sample) = change else {
                    continue;
                };
                if sample.id == LAST {
                    break;
                }
                times.push(age(start, sample.id));
            }
            Ok(times)
        });
        publishing(bench, &chain, way, start)?;
        chain.add(Sample::new(LAST)).wait()?;
        let times = subscriber.join().map_err(|_| "the subscriber failed")??;
        let note = "200 bytes; signed, sealed, synced at the node, verified by the subscriber";
        tell(way.name, times, start.elapsed(), note);
    }
    drop((copy, chain));
    serving.shut_down().wait();
    Ok(())
}

/// Each publisher waits for its commit to be durable before it makes the next.
fn publishing(bench: &Bench, chain: &Chain, way: &Way, start: Instant) -> Outcome {
    std::thread::scope(|scope| {
        let publishers: Vec<_> = (0..way.publishers)
            .map(|_| {
                scope.spawn(|| -> Outcome {
                    while start.elapsed() < bench.length {
                        let transaction = chain.begin();
                        for _ in 0..way.batch {
                            transaction.add(&Sample::new(start.elapsed().as_nanos() as u64))?;
                        }
                        transaction.commit().wait()?;
                    }
                    Ok(())
                })
            })
            .collect();
        publishers
            .into_iter()
            .try_for_each(|publisher| publisher.join().map_err(|_| "a publisher failed")?)
    })
}

fn age(start: Instant, sent_ns: u64) -> Duration {
    start
        .elapsed()
        .saturating_sub(Duration::from_nanos(sent_ns))
}

fn tell(name: &str, mut times: Vec<Duration>, within: Duration, note: &str) {
    times.sort_unstable();
    let note = format!(
        "p50 {:?} p99 {:?}; {note}",
        percentile(&times, 50),
        percentile(&times, 99)
    );
    let rate = times.len() as f64 / within.as_secs_f64();
    row(name, rate, "messages/s", &note);
}

/// One to one, flushed after each message, and as fast as they go.
pub(crate) fn of_nats(server: &Server, bench: &Bench) -> Outcome {
    for (name, batch) in [
        ("nats publish/subscribe, each flushed", 1),
        ("nats publish/subscribe, 100 a write", 100),
    ] {
        let start = now();
        let mut subscriber = Client::connect(server.port())?;
        subscriber.send(b"SUB news 1\r\nPING\r\n")?;
        subscriber.until_pong()?;
        let subscriber = std::thread::spawn(move || -> Result<Vec<Duration>, Failed> {
            let mut times = Vec::new();
            loop {
                let (_, body) = subscriber.message()?;
                match body.first_chunk() {
                    Some(sent) => times.push(age(start, u64::from_le_bytes(*sent))),
                    // The last message only says that it is.
                    None => return Ok(times),
                }
            }
        });
        let mut publisher = Client::connect(server.port())?;
        while start.elapsed() < bench.length {
            let mut messages = Vec::new();
            for _ in 0..batch {
                messages.extend_from_slice(b"PUB news 200\r\n");
                messages.extend_from_slice(&(start.elapsed().as_nanos() as u64).to_le_bytes());
                messages.extend_from_slice(&[b'x'; 192]);
                messages.extend_from_slice(b"\r\n");
            }
            if batch == 1 {
                messages.extend_from_slice(b"PING\r\n");
            }
            publisher.send(&messages)?;
            if batch == 1 {
                publisher.until_pong()?;
            }
        }
        publisher.send(b"PUB news 4\r\nlast\r\n")?;
        let times = subscriber.join().map_err(|_| "the subscriber failed")??;
        tell(
            name,
            times,
            start.elapsed(),
            "200 bytes, one to one; in memory, nothing kept, nothing signed",
        );
    }
    Ok(())
}
