//! `call`: one request to a service of a chain, and its answers as they come.

use ate::Json;
use ate::calls::{CallError, Calls, Retry};

use crate::args::Call;
use crate::documents::document;
use crate::failure::{Code, Failure, fault};
use crate::output::{Output, one_line};
use crate::store::Place;

/// Of a service's error, what is shown.
const ERROR_CHARS_MAX: usize = 4096;

pub(crate) fn run(place: &Place, args: &Call, out: &mut Output) -> Result<(), Failure> {
    // Read before the store is opened: a bad request must not leave a new store behind.
    let request = document(args.request.as_deref())?;
    let store = place.read()?;
    let chain = place.chain_to_read(&store, &args.chain)?;
    if !chain.local().is_replica() {
        return Err(no_node(&args.chain));
    }
    let calls = store.calls(&chain).map_err(fault)?;
    let answered = call(&calls, args, &request, out);
    drop((calls, chain));
    let closed = store.close().wait().map_err(fault);
    answered.and(closed)
}

/// Calls of a chain that only this store has could reach this very process alone.
pub(crate) fn no_node(chain: &str) -> Failure {
    Failure::usage(format!("chain `{chain}` follows no node"))
        .why("calls go through the node that both sides follow")
        .next("give its address, the first line of its `ate serve`, with --url or ATE_URL")
}

fn call(calls: &Calls, args: &Call, request: &Json, out: &mut Output) -> Result<(), Failure> {
    let retry = if args.retry {
        Retry::Always
    } else {
        Retry::WhenSafe
    };
    let failed = |error| failed(args, error);
    let calling = calls.call_json(&args.service, request);
    let calling = calling.deadline(args.timeout).retry(retry);
    let mut answers = calling.wait().map_err(failed)?;
    while let Some(answer) = answers.next().wait().map_err(failed)? {
        out.line(one_line(answer.as_str()))?;
        // Whoever reads it may act on it before the next comes.
        out.flush()?;
    }
    Ok(())
}

fn failed(args: &Call, error: CallError<String>) -> Failure {
    let service = &args.service;
    let code = match &error {
        CallError::Handler(_)
        | CallError::Denied
        | CallError::TooLarge
        | CallError::BadRequest
        | CallError::Encode { .. } => Code::Rejected,
        CallError::Deadline | CallError::Unknown => Code::Unknown,
        _ => Code::Failed,
    };
    let next = match &error {
        CallError::Handler(_) => "that is the service's own word: change the request, or ask whoever runs it".to_owned(),
        CallError::Denied => "it answers those whom the chain knows: its root, and whoever was given a right in it".to_owned(),
        CallError::Deadline => "it may have been done: look before you call again; --timeout gives it more time".to_owned(),
        CallError::Unknown => "it may have been done: look before you call again; --retry makes a call again that may be done twice".to_owned(),
        CallError::Unavailable => "try again later, or serve it in another place too".to_owned(),
        CallError::TooLarge => "a request may have 1 MiB, a document of an answer 16 MiB".to_owned(),
        CallError::Unreachable { .. } => format!(
            "see that the service runs, for example by `ate answer {} {service} -- PROGRAM`, as somebody whom the chain knows",
            args.chain
        ),
        _ => "from here only services can be called whose types are JSON: `ate::Json`, or a newtype of it, and `String` for errors".to_owned(),
    };
    let failure = match error {
        CallError::Handler(said) => Failure::new(
            code,
            format!("the service `{service}` answered with an error"),
        )
        .why(in_one_line(&said)),
        error => Failure::new(
            code,
            format!("cannot call `{service}` on chain `{}`", args.chain),
        )
        .because(&error),
    };
    failure.next(next)
}

/// What somebody else says, without what could move a terminal's cursor, and not without end.
pub(crate) fn in_one_line(text: &str) -> String {
    let shown = text.trim().chars().take(ERROR_CHARS_MAX);
    shown
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect()
}
