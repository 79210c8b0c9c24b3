//! `status`: how the chains here stand to the nodes that they follow.

use std::path::PathBuf;

use ate::chain::StagedInfo;
use ate::net::{ChainAddress, LinkState};
use ate::{Chain, ErrorKind, ReplicaInfo, ReplicaStatus, Store};
use serde::Serialize;

use crate::ambient::Stopwatch;
use crate::args::Status;
use crate::failure::{Failure, fault};
use crate::output::{Output, Time, plural, say, short};
use crate::store::Place;

/// A replica, for people and programs.
#[derive(Serialize)]
struct Shown {
    chain: String,
    id: String,
    address: Option<String>,
    /// `up`, `down`, or `unknown` beside another process.
    link: &'static str,
    why: Option<String>,
    position: u64,
    node_position: Option<u64>,
    agreed: u64,
    signed: u64,
    in_sync: bool,
    in_sync_signed: bool,
    staged: Vec<Staged>,
    diverged: Option<String>,
    evidence: Option<PathBuf>,
}

#[derive(Serialize)]
struct Staged {
    commit: String,
    events: u32,
    time: Time,
    durable: bool,
}

impl From<StagedInfo> for Staged {
    fn from(info: StagedInfo) -> Self {
        Self {
            commit: info.id.to_string(),
            events: info.events,
            time: Time(info.author_time_ms),
            durable: info.is_durable,
        }
    }
}

pub(crate) fn run(place: &Place, args: &Status, out: &mut Output) -> Result<(), Failure> {
    // With the writer's lock the nodes are asked; beside another process what is kept here is shown.
    let store = match place.try_write_here()? {
        Ok(store) => store,
        Err(error) if error.kind() == ErrorKind::Locked => {
            say(format_args!(
                "note: another process has {} open for writing, and speaks with the nodes: links are not shown",
                place.shown_dir()
            ));
            place.read_here()?
        }
        Err(error) => return Err(place.explain(error)),
    };
    let replicas: Vec<ReplicaInfo> = store.replicas();
    let chosen = chosen(&replicas, args.chain.as_deref())?;
    let mut open = Vec::new();
    for replica in chosen {
        let chain = store.existing_chain(&replica.chain.to_string()).wait();
        match chain {
            Ok(chain) => open.push((replica, chain)),
            Err(ate::Error::NoChain { .. }) => never_fetched(replica, out)?,
            Err(error) => return Err(fault(error)),
        }
    }
    if replicas.is_empty() && !out.is_json() {
        say(
            "no chain here follows a node; next: `ate get CHAIN NAME --url ate://KEY@HOST:PORT`, or `ate replicate`",
        );
    }
    hear(place, &store, &open);
    for (replica, chain) in &open {
        show(&shown(&store, replica, chain), out)?;
    }
    drop(open);
    store.close().wait().map_err(fault)
}

fn chosen<'a>(
    replicas: &'a [ReplicaInfo],
    name: Option<&str>,
) -> Result<Vec<&'a ReplicaInfo>, Failure> {
    let Some(name) = name else {
        return Ok(replicas.iter().collect());
    };
    let chosen: Vec<&ReplicaInfo> = replicas
        .iter()
        .filter(|replica| {
            let address = replica.address.as_ref();
            replica.chain.to_string() == name
                || address
                    .is_some_and(|address| address.name() == name || full_name(address) == name)
        })
        .collect();
    if chosen.is_empty() {
        return Err(
            Failure::failed(format!("no chain `{name}` here follows a node"))
                .next("`ate status` lists those that do, `ate ls` all"),
        );
    }
    Ok(chosen)
}

/// As an argument names another identity's chain.
fn full_name(address: &ChainAddress) -> String {
    match address.root() {
        Some(root) => format!("{root}/{}", address.name()),
        None => address.name().to_owned(),
    }
}

/// Waits a little until the nodes have answered.
fn hear(place: &Place, store: &Store, open: &[(&ReplicaInfo, Chain)]) {
    let begun = Stopwatch::start();
    let is_settled = |chain: &Chain| {
        store.replica_status(chain).is_none_or(|status| {
            let is_failed = matches!(status.link, LinkState::Down { why: Some(_) });
            status.is_in_sync() || status.remote.diverged.is_some() || is_failed
        })
    };
    while begun.elapsed() < place.nodes().wait() && !open.iter().all(|(_, chain)| is_settled(chain))
    {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn shown(store: &Store, replica: &ReplicaInfo, chain: &Chain) -> Shown {
    let status: Option<ReplicaStatus> = store.replica_status(chain);
    let (link, why) = match &status {
        None => ("unknown", None),
        Some(status) => match &status.link {
            LinkState::Down { why } => ("down", why.clone()),
            _ => ("up", status.remote.trouble.clone()),
        },
    };
    let remote = status.as_ref().map(|status| status.remote.clone());
    let remote = remote.unwrap_or_default();
    let node = replica
        .address
        .as_ref()
        .and_then(|address| address.node().node());
    let evidence = node.and_then(|node| store.known_nodes().evidence_file(node, chain.id()));
    let kept = node.and_then(|node| store.known_nodes().kept(node, chain.id()).ok().flatten());
    let position = chain.position().0;
    Shown {
        chain: chain.name().to_owned(),
        id: chain.id().to_string(),
        address: replica.address.as_ref().map(ToString::to_string),
        link,
        why,
        position,
        node_position: remote.node_size,
        agreed: remote.agreed,
        // What was signed once stays signed.
        signed: remote
            .proven
            .max(kept.map_or(0, |kept| kept.size.min(position))),
        in_sync: status.as_ref().is_some_and(ReplicaStatus::is_in_sync),
        in_sync_signed: status.as_ref().is_some_and(ReplicaStatus::is_proven),
        staged: chain
            .local()
            .staged()
            .into_iter()
            .map(Staged::from)
            .collect(),
        diverged: remote.diverged,
        evidence: evidence.filter(|file| file.exists()),
    }
}

fn show(shown: &Shown, out: &mut Output) -> Result<(), Failure> {
    if out.is_json() {
        return out.object(shown);
    }
    let standing = match (&shown.diverged, shown.in_sync, shown.in_sync_signed) {
        (Some(what), ..) => format!("DIVERGED: {what}"),
        (None, true, true) => "in sync, signed by the node".to_owned(),
        (None, true, false) => "in sync, as the node says; not signed yet".to_owned(),
        _ if shown.link == "unknown" => "kept by another process".to_owned(),
        _ => "not known to be in sync".to_owned(),
    };
    out.line(format_args!("{}: {standing}", shown.chain))?;
    let node = match (&shown.why, shown.link) {
        (Some(why), link) => format!("{link}: {why}"),
        (None, link) => link.to_owned(),
    };
    let unknown = || "what of it is known cannot be read; open it with --url again".to_owned();
    out.line(format_args!(
        "  follows   {}",
        shown.address.clone().unwrap_or_else(unknown)
    ))?;
    out.line(format_args!("  link      {node}"))?;
    let node_has = match shown.node_position {
        Some(size) => format!(", the node has {size}"),
        None => String::new(),
    };
    out.line(format_args!(
        "  position  {}{node_has}; the same root is signed up to {}",
        shown.position, shown.signed
    ))?;
    if !shown.staged.is_empty() {
        out.line(format_args!(
            "  staged    {} on the way to the node",
            plural(shown.staged.len() as u64, "commit")
        ))?;
        for staged in &shown.staged {
            out.line(format_args!(
                "    {}  {}  {}",
                short(&staged.commit),
                staged.time,
                plural(staged.events.into(), "change")
            ))?;
        }
    }
    if let Some(file) = &shown.evidence {
        out.line(format_args!("  evidence  {}", file.display()))?;
    }
    Ok(())
}

/// It was named, and nothing of it came.
fn never_fetched(replica: &ReplicaInfo, out: &mut Output) -> Result<(), Failure> {
    let address = replica.address.as_ref().map(ToString::to_string);
    if out.is_json() {
        #[derive(Serialize)]
        struct Empty {
            id: String,
            address: Option<String>,
            position: u64,
        }
        return out.object(&Empty {
            id: replica.chain.to_string(),
            address,
            position: 0,
        });
    }
    out.line(format_args!(
        "{}: nothing of it is here yet",
        address.unwrap_or_else(|| replica.chain.to_string())
    ))
}
