//! Calls over QUIC on the loopback interface, typed and sealed end to end: caller, node and server are stores of one process, with a runtime each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ate::calls::{Call, Calls, Request};
use ate_benches::{Sample, now, percentile, row};
use serde::{Deserialize, Serialize};

use crate::network::{Failed, client, node, reaches};
use crate::{Bench, Outcome};

/// Answered with itself.
#[derive(Serialize, Deserialize)]
struct Echo([u8; 16]);

impl Request for Echo {
    type Answer = [u8; 16];
    type Error = String;
    const NAME: &'static str = "echo";
}

const BODY: [u8; 16] = *b"0123456789abcdef";

/// A typed echo through a node, with one caller and with fifty, as `nats request/reply` has it.
pub(crate) fn calls(bench: &Bench) -> Outcome {
    let (serving, url) = node(bench, "calls-host")?;
    let a = client(bench, "calls-a")?;
    let chain = a.create_chain(&url).wait()?;
    chain.add(Sample::new(0)).wait()?;
    let b = client(bench, "calls-b")?;
    let copy = b.chain(&url).wait()?;
    reaches(&copy, chain.position().0)?;
    let server = a.calls(&chain)?;
    let served = server.serve(|call: Call<Echo>| async move { Ok(call.0) });
    let served = served.wait()?;
    let calls = b.calls(&copy)?;
    calls.call(Echo(BODY)).wait()?;
    for callers in [1, 50] {
        echoes(bench, &calls, callers)?;
    }
    drop(served);
    drop((copy, chain));
    serving.shut_down().wait();
    Ok(())
}

/// Each caller is a thread that waits for its answer before it asks again.
fn echoes(bench: &Bench, calls: &Calls, callers: usize) -> Outcome {
    let stop = Arc::new(AtomicBool::new(false));
    let begun = now();
    let threads: Vec<_> = (0..callers)
        .map(|_| {
            let (stop, calls) = (stop.clone(), calls.clone());
            std::thread::spawn(move || -> Result<Vec<Duration>, Failed> {
                let mut times = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let at = now();
                    let answer = calls.call(Echo(BODY)).wait();
                    answer?;
                    times.push(at.elapsed());
                }
                Ok(times)
            })
        })
        .collect();
    std::thread::sleep(bench.length);
    stop.store(true, Ordering::Relaxed);
    let mut times = Vec::new();
    for thread in threads {
        times.extend(thread.join().map_err(|_| "a caller failed")??);
    }
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    times.sort_unstable();
    let note = format!(
        "p50 {:?} p99 {:?}; sealed end to end, signed once a session",
        percentile(&times, 50),
        percentile(&times, 99)
    );
    row(&format!("calls, {callers} callers"), rate, "calls/s", &note);
    Ok(())
}
