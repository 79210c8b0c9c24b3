//! `answer`: a service of a chain that is a program, run once for each call.

use std::sync::Arc;
use std::time::Duration;

use ate::calls::{Call, CallError, JsonFeed, Served};
use ate::{Chain, Json, Store};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::args::Answer;
use crate::call::no_node;
use crate::failure::{Failure, fault};
use crate::interrupt;
use crate::output::{Output, say};
use crate::store::Place;
use program::Program;
use workers::{Job, Said, Workers};

mod process;
mod program;
mod workers;

/// How often it is looked whether to end.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Documents of an answer that wait for a caller who is slower than the program.
const AHEAD: usize = 16;
/// For a caller to take the rest, after the program has ended at its limit.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);

pub(crate) fn run(place: &Place, args: &Answer, out: &mut Output) -> Result<(), Failure> {
    let program = Program::new(args)?;
    let store = place.write_existing()?;
    let chain = place.chain_to_read(&store, &args.chain)?;
    check(&store, &chain, args)?;
    interrupt::listen_with("ending after the calls in flight", || {
        process::end_all();
        say("ate: ended at once; who waits for an answer does not get one");
    });
    let workers = Arc::new(Workers::start(program, args.at_once)?);
    let served = serve(&store, &chain, args, &workers)?;
    show(args, out)?;
    tracing::info!(service = args.service, chain = args.chain, "answering");
    let mut ended = Ok(());
    while !interrupt::is_asked() && ended.is_ok() {
        std::thread::sleep(LOOK_EVERY);
        ended = place.check_followed(&store, &chain);
    }
    served.finish().wait();
    workers.end();
    tracing::info!("all calls are answered");
    drop(chain);
    let closed = store.close().wait().map_err(fault);
    ended.and(closed)
}

/// That calls can come, and that somebody would believe the answers.
fn check(store: &Store, chain: &Chain, args: &Answer) -> Result<(), Failure> {
    if !chain.local().is_replica() {
        return Err(no_node(&args.chain));
    }
    let own = store.identity().id();
    if !chain.local().knows(&own) {
        return Err(
            Failure::failed(format!("cannot answer calls on chain `{}`", args.chain))
                .why("the chain does not know this identity, so nobody would believe its answers")
                .next(format!(
                    "whoever owns the chain gives {own} a right in it first, or take its owner's identity with --dir"
                )),
        );
    }
    Ok(())
}

fn serve(
    store: &Store,
    chain: &Chain,
    args: &Answer,
    workers: &Arc<Workers>,
) -> Result<Served, Failure> {
    let calls = store.calls(chain).map_err(fault)?;
    let at_once = usize::from(args.at_once);
    let (workers, limit) = (workers.clone(), args.limit);
    let handler = move |call: Call<Json>, feed: JsonFeed| {
        let answering = answer(workers.clone(), call, feed);
        async move {
            // A caller that does not take its answer must not keep others from theirs.
            let answered = tokio::time::timeout(limit + TAKEN_WITHIN, answering).await;
            answered.unwrap_or_else(|_| Err("the answer was not taken in time".to_owned()))
        }
    };
    let served = calls
        .handlers_max(at_once)
        .serve_json(&args.service, handler);
    served.wait().map_err(|error| {
        let refused = match &error {
            CallError::Unreachable { why } => why.clone(),
            error => error.to_string(),
        };
        Failure::failed(format!(
            "cannot answer calls of `{}` on chain `{}`",
            args.service, args.chain
        ))
        .why(refused)
        .next("see that the node can be reached; a service has a name of 1 to 128 bytes without control characters")
    })
}

/// Has a worker run the program, and hands on what it says. Dropped, it has the worker end the program.
async fn answer(
    workers: Arc<Workers>,
    call: Call<Json>,
    mut feed: JsonFeed,
) -> Result<Option<Json>, String> {
    let (said, mut says) = mpsc::channel(AHEAD);
    workers.take(Job {
        caller: call.caller().id().to_string(),
        request: call.into_request(),
        said,
    })?;
    while let Some(said) = says.recv().await {
        match said {
            Said::Document(document) => {
                let sent = feed.send(&document).await;
                sent.map_err(|error| error.to_string())?;
            }
            Said::End(ended) => return ended,
        }
    }
    Err("the program was not run".to_owned())
}

/// The first line: whoever started this knows that calls may come.
fn show(args: &Answer, out: &mut Output) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Shown<'a> {
        service: &'a str,
        chain: &'a str,
    }
    let (service, chain) = (&*args.service, &*args.chain);
    if out.is_json() {
        out.object(&Shown { service, chain })?;
    } else {
        out.line(format_args!("answering `{service}` on chain `{chain}`"))?;
    }
    out.flush()
}
