//! What names stand for: (node, root, name) → chain, from the first time on.

use std::collections::BTreeMap;

use ate_chain::ChainId;
use ate_crypto::{Hash, KeyId};
use ate_net::{NodeId, decode_name, encode_name};

use super::error::KnownNodesError;
use super::files::{FOLDER, Form};
use super::{KnownNodes, seconds};

/// Most names that are pinned of one node.
pub const NAMES_MAX: usize = 16_384;

const PREFIX: &str = "names-";
const FORM: Form = Form {
    head: "# ate names 1: root name chain first-seen",
    kind: "# ate names ",
    // Names of usual length; it takes some thousand of the longest ones.
    bytes_max: 16 << 20,
};

/// What a name stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamePin {
    /// The node that serves it.
    pub node: NodeId,
    /// The root whose name it is.
    pub root: KeyId,
    /// The name.
    pub name: String,
    /// The chain.
    pub chain: ChainId,
    /// When it was seen first, or pinned, in seconds since 1970.
    pub first_seen: u64,
}

type Pins = BTreeMap<(KeyId, String), NamePin>;

impl KnownNodes {
    /// All names that are pinned, by node.
    ///
    /// # Errors
    /// As [`KnownNodes::nodes`].
    pub fn names(&self) -> Result<Vec<NamePin>, KnownNodesError> {
        let mut names = Vec::new();
        for file in self.files.names(PREFIX)? {
            let node = file[PREFIX.len()..].parse::<NodeId>();
            let node = node.map_err(|_| {
                self.files.damaged(
                    &format!("{FOLDER}/{file}"),
                    1,
                    "the file's name ends with no node id",
                )
            })?;
            names.extend(self.load_names(node)?.into_values());
        }
        Ok(names)
    }

    /// The chain that a name stands for, if it is pinned.
    ///
    /// # Errors
    /// As [`KnownNodes::nodes`].
    pub fn pinned(
        &self,
        node: NodeId,
        root: KeyId,
        name: &str,
    ) -> Result<Option<ChainId>, KnownNodesError> {
        let pin = self.load_names(node)?.remove(&(root, name.to_owned()));
        Ok(pin.map(|pin| pin.chain))
    }

    /// Records what a node says that a name stands for, and compares it with what it said before. Returns whether it is new.
    ///
    /// # Errors
    /// [`KnownNodesError::NameChanged`]: the chain must not be used under that name. [`KnownNodesError::Full`]; as [`KnownNodes::nodes`].
    pub fn meet_name(
        &self,
        node: NodeId,
        root: KeyId,
        name: &str,
        shown: ChainId,
        now_ms: u64,
    ) -> Result<bool, KnownNodesError> {
        let check = |pins: &Pins| match pins.get(&(root, name.to_owned())) {
            None => Ok(false),
            Some(pin) if pin.chain == shown => Ok(true),
            Some(pin) => Err(KnownNodesError::NameChanged {
                known: Box::new(pin.clone()),
                shown,
            }),
        };
        if check(&self.load_names(node)?)? {
            return Ok(false);
        }
        let held = self.files.lock()?;
        let mut pins = self.load_names(node)?;
        if check(&pins)? {
            return Ok(false);
        }
        let pin = NamePin {
            node,
            root,
            name: name.to_owned(),
            chain: shown,
            first_seen: now_ms / 1000,
        };
        pins.insert((root, name.to_owned()), pin);
        held.write(&file(node), &FORM, &print(&pins)?)?;
        Ok(true)
    }

    /// Records what a person vouches for, in place of what was known. Returns what was replaced.
    ///
    /// # Errors
    /// [`KnownNodesError::Full`]; as [`KnownNodes::nodes`].
    pub fn pin_name(&self, pin: NamePin) -> Result<Option<NamePin>, KnownNodesError> {
        let held = self.files.lock()?;
        let node = pin.node;
        let mut pins = self.load_names(node)?;
        let before = pins.insert((pin.root, pin.name.clone()), pin);
        held.write(&file(node), &FORM, &print(&pins)?)?;
        Ok(before)
    }

    /// Forgets what a name stands for. Returns what was known.
    ///
    /// # Errors
    /// As [`KnownNodes::nodes`].
    pub fn forget_name(
        &self,
        node: NodeId,
        root: KeyId,
        name: &str,
    ) -> Result<Option<NamePin>, KnownNodesError> {
        let held = self.files.lock()?;
        let mut pins = self.load_names(node)?;
        let known = pins.remove(&(root, name.to_owned()));
        if pins.is_empty() {
            held.remove(&file(node))?;
        } else if known.is_some() {
            held.write(&file(node), &FORM, &print(&pins)?)?;
        }
        Ok(known)
    }

    fn load_names(&self, node: NodeId) -> Result<Pins, KnownNodesError> {
        let mut pins = Pins::new();
        let name = file(node);
        let Some(text) = self.files.read(&name, &FORM)? else {
            return Ok(pins);
        };
        for (number, line) in text.lines() {
            let damaged = |why| self.files.damaged(&name, number, why);
            let pin = parse(node, line).map_err(damaged)?;
            if pins.insert((pin.root, pin.name.clone()), pin).is_some() {
                return Err(damaged("this root and name stand in the file twice"));
            }
        }
        Ok(pins)
    }
}

fn file(node: NodeId) -> String {
    format!("{FOLDER}/{PREFIX}{node}")
}

fn parse(node: NodeId, line: &str) -> Result<NamePin, &'static str> {
    let words: Vec<&str> = line.splitn(5, ' ').collect();
    let &[root, name, chain, seen] = &words[..] else {
        return Err("a line is `root name chain first-seen`");
    };
    Ok(NamePin {
        node,
        root: root.parse().map_err(|_| "the root is not 64 hex digits")?,
        name: decode_name(name).map_err(|_| "the name is not percent-encoded")?,
        chain: ChainId(
            chain
                .parse()
                .map_err(|_| "the chain is not 64 hex digits")?,
        ),
        first_seen: seconds::parse(seen).ok_or("the time is not like 2026-01-31T12:00:00Z")?,
    })
}

fn print(pins: &Pins) -> Result<String, KnownNodesError> {
    if pins.len() > NAMES_MAX {
        return Err(KnownNodesError::Full {
            what: "names pinned of that node",
            max: NAMES_MAX,
        });
    }
    let mut text = String::new();
    for pin in pins.values() {
        let (root, name) = (Hash(pin.root.0), encode_name(&pin.name));
        let seen = seconds::print(pin.first_seen);
        text.push_str(&format!("{root} {name} {} {seen}\n", pin.chain));
    }
    Ok(text)
}
