//! `serve`: this store as a node that hosts chains for others.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ate::net::{Act, Admission, NodeAddress, Peer, Verdict};
use ate::{KeyId, ServeOptions, Serving};
use serde::Serialize;

use crate::args::Serve;
use crate::failure::{Failure, fault};
use crate::interrupt;
use crate::output::{Output, say};
use crate::store::{Place, announce_identity, tell_notes};

/// How often it is looked whether to end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Lets in those who were named, and nobody else.
struct Allowed(BTreeSet<KeyId>);

impl Admission for Allowed {
    fn judge(&self, peer: &Peer, _: Act<'_>) -> Verdict {
        if self.0.contains(&peer.who.id()) {
            Verdict::Admit
        } else {
            Verdict::Deny
        }
    }
}

pub(crate) fn run(place: &Place, args: &Serve, out: &mut Output) -> Result<(), Failure> {
    let advertised = args.advertise.as_deref().map(advertised).transpose()?;
    let store = place.write()?;
    tell_notes(&store);
    let mut options = ServeOptions::on(args.listen);
    options.pages = args.metrics;
    if !args.allow.is_empty() {
        options.admission = Arc::new(Allowed(args.allow.iter().copied().collect()));
    }
    let serving = store.serve(&options).map_err(|error| {
        fault(error)
            .during(format!("cannot listen on UDP {}", args.listen))
            .next("take another address with --listen; port 0 is one of the system's choice")
    })?;
    // From here on a Ctrl-C ends it in order.
    interrupt::listen_to("shutting down");
    let address = address(&serving, args.listen, advertised)?;
    // With a node in ATE_URL it was said already.
    if !place.is_remote() {
        announce_identity(&store);
    }
    show(&address, out)?;
    if let Some(pages) = serving.pages() {
        say(format!("pages: http://{pages}/metrics, /health, /ready"));
    }
    tracing::info!(node = %serving.id(), listen = %args.listen, "serving");
    while !interrupt::is_asked() {
        std::thread::sleep(LOOK_EVERY);
    }
    serving.shut_down().wait();
    tracing::info!("shut down");
    store.close().wait().map_err(fault)
}

/// The name that others know: with a port of its own, if a packet filter maps it.
fn advertised(text: &str) -> Result<(NodeAddress, bool), Failure> {
    let address = NodeAddress::from_host_port(text).map_err(|error| {
        Failure::usage(format!("cannot advertise `{text}`"))
            .because(&error)
            .next(error.remedy())
    })?;
    // Without a port of its own it is the one that is listened on.
    let bare = NodeAddress::new(text.trim_start_matches('[').trim_end_matches(']'), 1, None);
    Ok((address, bare.is_err()))
}

fn address(
    serving: &Serving,
    listen: SocketAddr,
    advertised: Option<(NodeAddress, bool)>,
) -> Result<NodeAddress, Failure> {
    let local = serving.address().map_err(fault)?;
    let (host, port) = match &advertised {
        Some((given, true)) => (given.host().to_owned(), given.port()),
        Some((given, false)) => (given.host().to_owned(), local.port()),
        None if listen.ip().is_unspecified() => {
            say(
                "note: it listens on all addresses, and the first line says this machine's own: give --advertise HOST, the name under which others reach it",
            );
            let own = if listen.is_ipv6() { "::1" } else { "127.0.0.1" };
            (own.to_owned(), local.port())
        }
        None => (local.host().to_owned(), local.port()),
    };
    NodeAddress::new(&host, port, Some(serving.id()))
        .map_err(|error| fault(ate::Error::from(error)))
}

/// The first line: whoever started this reads it.
fn show(address: &NodeAddress, out: &mut Output) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Shown {
        address: String,
        node: Option<String>,
    }
    if out.is_json() {
        out.object(&Shown {
            address: address.to_string(),
            node: address.node().map(|node| node.to_string()),
        })?;
    } else {
        out.line(address)?;
    }
    out.flush()
}
