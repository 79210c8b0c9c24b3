//! How nodes and chains are written down: `ate://NODE@host:port/ROOT/chain?id=ID`.
//!
//! An address names; it grants nothing and proves nothing by itself. The node id, where it stands, says which key must answer; where it is missing, the first key
//! that answers is remembered by whoever dials.
//!
//! # Form
//! ```text
//! ate://[NODE@]HOST[:PORT]                     a node
//! ate://[NODE@]HOST[:PORT]/[ROOT/]NAME[?id=ID] a chain at it
//! ```
//! `NODE`, `ROOT` and `ID` are 64 hex digits; `HOST` is a DNS name, an IPv4 address, or an IPv6 address in brackets; `NAME` is percent-encoded (RFC 3986), so that a
//! slash in it is `%2F`. What is printed is canonical: equal addresses print equally, and parsing what was printed gives the same address.

mod host;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ate_chain::{CHAIN_NAME_BYTES_MAX, ChainId};
use ate_crypto::{Hash, KeyId};

use crate::node_id::NodeId;
use crate::transport::Endpoint;

/// UDP port of a node whose address names none.
pub const DEFAULT_PORT: u16 = 4433;

/// Longest address that is read: a name of 1024 bytes, all of them percent-encoded, and everything else in full.
pub const ADDRESS_BYTES_MAX: usize = 4096;
const _: () = assert!(ADDRESS_BYTES_MAX > 3 * CHAIN_NAME_BYTES_MAX + 64 + 64 + 64 + 253 + 32);

const SCHEME: &str = "ate://";

/// Where a node answers, and which key must answer there if that is known.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeAddress {
    /// Canonical: lower case, or the one form of an IP address, without brackets.
    host: String,
    ip: Option<IpAddr>,
    port: u16,
    node: Option<NodeId>,
}

impl NodeAddress {
    /// An address of its parts; `host` as in a text, an IPv6 address with or without brackets.
    ///
    /// # Errors
    /// [`AddressError::Host`], [`AddressError::Port`] for port 0.
    pub fn new(host: &str, port: u16, node: Option<NodeId>) -> Result<Self, AddressError> {
        let (host, ip) = host::parse(host)?;
        if port == 0 {
            return Err(AddressError::Port {
                port: port.to_string(),
            });
        }
        Ok(Self {
            host,
            ip,
            port,
            node,
        })
    }

    /// Reads `HOST[:PORT]`, as the list of known nodes names them.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn from_host_port(text: &str) -> Result<Self, AddressError> {
        bounded(text)?;
        let (host, port) = host::split_port(text)?;
        Self::new(host, port, None)
    }

    /// The DNS name or IP address; an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The IP address, if the host is one.
    #[must_use]
    pub const fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// The UDP port, never 0.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The key that must answer; `None`: the first one is to be remembered.
    #[must_use]
    pub const fn node(&self) -> Option<NodeId> {
        self.node
    }

    /// The same place with another node id, or none.
    #[must_use]
    pub fn with_node(mut self, node: Option<NodeId>) -> Self {
        self.node = node;
        self
    }

    /// `host:port`, the place without the key: what known nodes are filed under.
    #[must_use]
    pub fn host_port(&self) -> String {
        match self.ip {
            Some(IpAddr::V6(ip)) => format!("[{ip}]:{}", self.port),
            _ => format!("{}:{}", self.host, self.port),
        }
    }

    /// What a transport dials, once it is known which key must answer.
    #[must_use]
    pub fn endpoint(&self, node: NodeId) -> Endpoint {
        Endpoint {
            host: self.host.clone(),
            port: self.port,
            node,
        }
    }

    /// Everything between `ate://` and the first slash.
    fn parse_authority(text: &str) -> Result<Self, AddressError> {
        let (node, place) = match text.split_once('@') {
            Some((node, place)) => (
                Some(
                    digits(node)
                        .map(NodeId)
                        .ok_or_else(|| AddressError::Node { text: shown(node) })?,
                ),
                place,
            ),
            None => (None, text),
        };
        let (host, port) = host::split_port(place)?;
        Self::new(host, port, node)
    }
}

impl fmt::Display for NodeAddress {
    /// Always with the port, so that what is printed today means the same under any later default.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEME)?;
        if let Some(node) = &self.node {
            write!(f, "{node}@")?;
        }
        f.write_str(&self.host_port())
    }
}

impl FromStr for NodeAddress {
    type Err = AddressError;

    /// Reads the address of a node; one slash at the end is allowed.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let rest = after_scheme(text)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?']) {
            return Err(AddressError::ChainGiven { text: shown(text) });
        }
        Self::parse_authority(rest)
    }
}

/// A chain at a node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChainAddress {
    node: NodeAddress,
    root: Option<KeyId>,
    name: String,
    id: Option<ChainId>,
}

impl ChainAddress {
    /// An address of its parts. `root`: whose chain it is; `None` means the reader's own. `id` pins.
    ///
    /// # Errors
    /// [`AddressError::Name`] for a name that no chain can have.
    pub fn new(
        node: NodeAddress,
        root: Option<KeyId>,
        name: impl Into<String>,
        id: Option<ChainId>,
    ) -> Result<Self, AddressError> {
        let name = name.into();
        if name.is_empty()
            || name.len() > CHAIN_NAME_BYTES_MAX
            || name.chars().any(char::is_control)
        {
            return Err(AddressError::Name { text: shown(&name) });
        }
        Ok(Self {
            node,
            root,
            name,
            id,
        })
    }

    /// The node.
    #[must_use]
    pub const fn node(&self) -> &NodeAddress {
        &self.node
    }

    /// The key of the root whose chain it is; `None`: the reader's own.
    #[must_use]
    pub const fn root(&self) -> Option<KeyId> {
        self.root
    }

    /// The chain's name, decoded.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The chain that it must be, if it is pinned.
    #[must_use]
    pub const fn id(&self) -> Option<ChainId> {
        self.id
    }

    /// The same address, pinned to a chain, or not.
    #[must_use]
    pub const fn with_id(mut self, id: Option<ChainId>) -> Self {
        self.id = id;
        self
    }

    /// The same chain under another address of its node.
    #[must_use]
    pub fn with_node(mut self, node: NodeAddress) -> Self {
        self.node = node;
        self
    }
}

impl fmt::Display for ChainAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.node)?;
        if let Some(root) = &self.root {
            // Without its prefix: the place says what it is.
            write!(f, "{}/", Hash(root.0))?;
        }
        f.write_str(&encode_name(&self.name))?;
        match &self.id {
            Some(id) => write!(f, "?id={id}"),
            None => Ok(()),
        }
    }
}

impl FromStr for ChainAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let rest = after_scheme(text)?;
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let node = NodeAddress::parse_authority(authority)?;
        if path.is_empty() {
            return Err(AddressError::ChainMissing { text: shown(text) });
        }
        let (root, name) = match path.split_once('/') {
            None => (None, path),
            Some((root, name)) if !name.contains('/') => (Some(parse_root(root)?), name),
            Some(_) => return Err(AddressError::Path { text: shown(path) }),
        };
        let id = match query {
            None => None,
            Some(query) => {
                let id = query.strip_prefix("id=").and_then(digits);
                Some(ChainId(
                    id.ok_or_else(|| AddressError::Query { text: shown(query) })?,
                ))
            }
        };
        Self::new(node, root, decode_name(name)?, id)
    }
}

/// Percent-encodes a chain's name: all but letters, digits and `-._~` of ASCII, in upper-case digits.
#[must_use]
pub fn encode_name(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// The name that a percent-encoded text stands for. Characters that RFC 3986 allows in a path may stand as they are.
///
/// # Errors
/// [`AddressError::Character`], [`AddressError::Name`].
pub fn decode_name(text: &str) -> Result<String, AddressError> {
    let wrong = || AddressError::Name { text: shown(text) };
    if text.len() > 3 * CHAIN_NAME_BYTES_MAX {
        return Err(wrong());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        match character {
            '%' => {
                let mut digit = || rest.next().and_then(|digit| digit.to_digit(16));
                let (high, low) = (digit().ok_or_else(wrong)?, digit().ok_or_else(wrong)?);
                bytes.push((high << 4 | low) as u8);
            }
            plain if plain.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@".contains(plain) => {
                bytes.push(plain as u8);
            }
            character => {
                return Err(AddressError::Character {
                    text: shown(text),
                    code: encode_name(character.encode_utf8(&mut [0; 4])),
                });
            }
        }
    }
    let name = String::from_utf8(bytes).map_err(|_| wrong())?;
    if name.is_empty() || name.len() > CHAIN_NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(wrong());
    }
    Ok(name)
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Longer than [`ADDRESS_BYTES_MAX`].
    #[error("the address has {got} bytes, more than {ADDRESS_BYTES_MAX}")]
    TooLong {
        /// Its bytes.
        got: usize,
    },
    /// Not of this scheme.
    #[error("`{text}` does not begin with `ate://`")]
    Scheme {
        /// What it begins with.
        text: String,
    },
    /// What stands before `@` is no node id.
    #[error("`{text}` is not the id of a node")]
    Node {
        /// What stands there.
        text: String,
    },
    /// Neither a DNS name nor an IP address.
    #[error("`{text}` is not a host: {why}")]
    Host {
        /// What stands there.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Not a port.
    #[error("`{port}` is not a port")]
    Port {
        /// What stands there.
        port: String,
    },
    /// A node's address has more than a node.
    #[error("`{text}` names more than a node")]
    ChainGiven {
        /// The address.
        text: String,
    },
    /// A chain's address ends with the node.
    #[error("`{text}` names a node, but no chain at it")]
    ChainMissing {
        /// The address.
        text: String,
    },
    /// More than a root and a name.
    #[error("`{text}` has too many slashes")]
    Path {
        /// The path.
        text: String,
    },
    /// What stands before the name is no root.
    #[error("`{text}` is not the key of a root")]
    Root {
        /// What stands there.
        text: String,
    },
    /// A character that must be encoded.
    #[error("`{text}` holds a character that an address writes as `{code}`")]
    Character {
        /// The name as it stands there.
        text: String,
        /// The character, encoded.
        code: String,
    },
    /// A name that no chain can have.
    #[error("`{text}` is not the percent-encoded name of a chain")]
    Name {
        /// The name as it stands there.
        text: String,
    },
    /// What stands behind `?` is no pin.
    #[error("`?{text}` is not a chain's id")]
    Query {
        /// What stands there.
        text: String,
    },
}

impl AddressError {
    /// What to write instead.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "chain names have at most 1024 bytes",
            Self::Scheme { .. } => {
                "write ate://NODE@host:port, as `ate serve` prints it in its first line"
            }
            Self::Node { .. } => {
                "a node id is 64 hex digits; copy it from the first line of `ate serve`, or leave it and the @ out to trust the first key that answers"
            }
            Self::Host { .. } => {
                "write a DNS name, an IPv4 address, or an IPv6 address in brackets: [2001:db8::1]"
            }
            Self::Port { .. } => "a port is a number from 1 to 65535; without one it is 4433",
            Self::ChainGiven { .. } => "leave out what follows host and port",
            Self::ChainMissing { .. } => "add the chain: ate://host:port/CHAIN",
            Self::Path { .. } => {
                "write ate://host:port/CHAIN or ate://host:port/ROOT/CHAIN, and a slash within a name as %2F"
            }
            Self::Root { .. } => {
                "a root is the `ate-key:` that `ate identity show` prints there, or its 64 digits; write a slash within a name as %2F"
            }
            Self::Character { .. } => "write that character in its encoded form",
            Self::Name { .. } => {
                "a name is 1 to 1024 bytes of UTF-8 without control characters; % is followed by two hex digits"
            }
            Self::Query { .. } => "write ?id= and the 64 hex digits that `ate info` shows",
        }
    }
}

fn after_scheme(text: &str) -> Result<&str, AddressError> {
    bounded(text)?;
    text.strip_prefix(SCHEME)
        .ok_or_else(|| AddressError::Scheme {
            text: text.chars().take(16).flat_map(char::escape_debug).collect(),
        })
}

const fn bounded(text: &str) -> Result<(), AddressError> {
    if text.len() > ADDRESS_BYTES_MAX {
        return Err(AddressError::TooLong { got: text.len() });
    }
    Ok(())
}

fn parse_root(text: &str) -> Result<KeyId, AddressError> {
    text.parse()
        .map_err(|_| AddressError::Root { text: shown(text) })
}

fn digits(text: &str) -> Option<Hash> {
    text.parse().ok()
}

/// A text of a stranger for a message: short, on one line.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(96).flat_map(char::escape_debug).collect();
    if shown.len() < text.len() && text.chars().nth(96).is_some() {
        shown.push('…');
    }
    shown
}
