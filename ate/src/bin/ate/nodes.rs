//! `nodes`: whom this store knows, and what a person says about it.

use ate::net::{AddressError, ChainAddress, NodeAddress, NodeId};
use ate::{Identity, KeyId, Keystore, KnownNode, KnownNodes, NamePin};
use serde::Serialize;

use crate::ambient::ms_before_now;
use crate::args::NodesCommand;
use crate::failure::{Failure, fault};
use crate::identity;
use crate::output::{Output, Time, say, short};
use crate::store::Place;

pub(crate) fn run(place: &Place, command: NodesCommand, out: &mut Output) -> Result<(), Failure> {
    place.check_directory()?;
    let known = KnownNodes::in_dir(place.dir());
    match command {
        NodesCommand::Ls { names } => {
            list_nodes(&known, out)?;
            if names {
                list_names(&known, out)
            } else {
                Ok(())
            }
        }
        NodesCommand::Forget { address } => match Target::parse(&address)? {
            Target::Node(node) => forget(&known, &node, out),
            Target::Chain(chain) => forget_name(place, &known, &chain, out),
        },
        NodesCommand::Pin { address, note } => match Target::parse(&address)? {
            Target::Node(node) => pin(&known, &node, &note, out),
            Target::Chain(chain) => pin_name(place, &known, &chain, &note, out),
        },
    }
}

/// What an address on the command line means.
enum Target {
    Node(NodeAddress),
    Chain(ChainAddress),
}

impl Target {
    fn parse(text: &str) -> Result<Self, Failure> {
        let refused = |error: AddressError| {
            Failure::usage(format!("cannot read the address `{text}`"))
                .because(&error)
                .next(error.remedy())
        };
        if !text.contains("://") {
            return NodeAddress::from_host_port(text)
                .map(Self::Node)
                .map_err(refused);
        }
        match text.parse() {
            Ok(chain) => Ok(Self::Chain(chain)),
            Err(AddressError::ChainMissing { .. }) => text.parse().map(Self::Node).map_err(refused),
            Err(error) => Err(refused(error)),
        }
    }
}

#[derive(Serialize)]
struct ShownNode<'a> {
    address: String,
    node: NodeText,
    first_seen: Time,
    note: &'a str,
}

#[derive(Serialize)]
struct ShownName<'a> {
    node: NodeText,
    root: String,
    name: &'a str,
    chain: String,
    first_seen: Time,
}

/// A node id as text in both forms of output.
struct NodeText(NodeId);

impl Serialize for NodeText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

fn list_nodes(known: &KnownNodes, out: &mut Output) -> Result<(), Failure> {
    let nodes = known.nodes().map_err(fault)?;
    let width = nodes
        .iter()
        .map(|node| node.address.host_port().len())
        .max();
    for node in &nodes {
        show_node(node, width.unwrap_or_default(), out)?;
    }
    if nodes.is_empty() && !out.is_json() {
        say("no node is known: the first `--url ate://…` makes one known, or `ate nodes pin`");
    }
    Ok(())
}

fn show_node(known: &KnownNode, width: usize, out: &mut Output) -> Result<(), Failure> {
    let (address, seen) = (known.address.host_port(), Time(known.first_seen * 1000));
    if out.is_json() {
        return out.object(&ShownNode {
            address,
            node: NodeText(known.node),
            first_seen: seen,
            note: &known.note,
        });
    }
    let line = format!("{address:<width$}  {}  {seen}  {}", known.node, known.note);
    out.line(line.trim_end())
}

fn list_names(known: &KnownNodes, out: &mut Output) -> Result<(), Failure> {
    for pin in known.names().map_err(fault)? {
        show_name(&pin, out)?;
    }
    Ok(())
}

fn show_name(pin: &NamePin, out: &mut Output) -> Result<(), Failure> {
    let seen = Time(pin.first_seen * 1000);
    if out.is_json() {
        return out.object(&ShownName {
            node: NodeText(pin.node),
            root: pin.root.to_string(),
            name: &pin.name,
            chain: pin.chain.to_string(),
            first_seen: seen,
        });
    }
    let (node, root) = (short(pin.node), short(pin.root));
    out.line(format_args!(
        "node {node}  root {root}  {}  {seen}  {}",
        pin.chain, pin.name
    ))
}

fn forget(known: &KnownNodes, address: &NodeAddress, out: &mut Output) -> Result<(), Failure> {
    let place = address.host_port();
    let Some(node) = known.forget(address).map_err(fault)? else {
        return Err(not_known(&place));
    };
    say(format_args!("forgot that {place} is node {}", node.node));
    if out.is_json() {
        show_node(&node, 0, out)?;
    }
    Ok(())
}

fn forget_name(
    place: &Place,
    known: &KnownNodes,
    address: &ChainAddress,
    out: &mut Output,
) -> Result<(), Failure> {
    let at = address.node().host_port();
    let node = match address.node().node() {
        Some(node) => node,
        None => known
            .expected(address.node())
            .map_err(fault)?
            .ok_or_else(|| not_known(&at))?,
    };
    let root = root_of(place, address)?;
    let name = address.name();
    let Some(pin) = known.forget_name(node, root, name).map_err(fault)? else {
        return Err(
            Failure::failed(format!("no chain is known for the name `{name}` at {at}"))
                .next("`ate nodes ls --names` lists the names that are pinned"),
        );
    };
    say(format_args!(
        "forgot that `{name}` at {at} is chain {}",
        pin.chain
    ));
    if out.is_json() {
        show_name(&pin, out)?;
    }
    Ok(())
}

fn pin(
    known: &KnownNodes,
    address: &NodeAddress,
    note: &str,
    out: &mut Output,
) -> Result<(), Failure> {
    let place = address.host_port();
    let now = ms_before_now(std::time::Duration::ZERO);
    let before = known.pin(address, note, now).map_err(fault)?;
    match before {
        Some(before) if Some(before.node) != address.node() => say(format_args!(
            "pinned {place}; it was node {} before",
            before.node
        )),
        _ => say(format_args!("pinned {place}")),
    }
    if out.is_json() {
        let nodes = known.nodes().map_err(fault)?;
        for node in nodes
            .iter()
            .filter(|node| node.address.host_port() == place)
        {
            show_node(node, 0, out)?;
        }
    }
    Ok(())
}

fn pin_name(
    place: &Place,
    known: &KnownNodes,
    address: &ChainAddress,
    note: &str,
    out: &mut Output,
) -> Result<(), Failure> {
    let (Some(node), Some(chain)) = (address.node().node(), address.id()) else {
        return Err(Failure::usage(
            "to pin the chain of a name takes the node's key and the chain's id",
        )
        .next("write ate://NODE@host:port/CHAIN?id=ID"));
    };
    let root = root_of(place, address)?;
    pin(known, address.node(), note, out)?;
    let pin = NamePin {
        node,
        root,
        name: address.name().to_owned(),
        chain,
        first_seen: ms_before_now(std::time::Duration::ZERO) / 1000,
    };
    let before = known.pin_name(pin.clone()).map_err(fault)?;
    let name = address.name();
    match before {
        Some(before) if before.chain != chain => say(format_args!(
            "pinned `{name}` to chain {chain}; it was {} before",
            before.chain
        )),
        _ => say(format_args!("pinned `{name}` to chain {chain}")),
    }
    if out.is_json() {
        show_name(&pin, out)?;
    }
    Ok(())
}

/// Whose name it is: the address says so, or it is this store's own.
fn root_of(place: &Place, address: &ChainAddress) -> Result<KeyId, Failure> {
    if let Some(root) = address.root() {
        return Ok(root);
    }
    let seed = identity::seed(place, &Keystore::in_dir(place.dir()))?;
    Ok(Identity::from_seed(&seed).id())
}

fn not_known(place: &str) -> Failure {
    Failure::failed(format!("no node is known at {place}"))
        .next("`ate nodes ls` lists those that are")
}
