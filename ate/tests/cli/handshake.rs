//! What anybody on the path reads of a QUIC handshake: the Initial packets, whose keys follow from what stands in them (RFC 9001, section 5.2).

use std::collections::BTreeMap;

use aws_lc_rs::aead::quic::{AES_128, HeaderProtectionKey};
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};

use crate::proxy::{Seen, Way};

/// RFC 9001, section 5.2.
const INITIAL_SALT: [u8; 20] = [
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad,
    0xcc, 0xbb, 0x7f, 0x0a,
];

/// What a ClientHello offers.
#[derive(Debug, Default)]
pub(crate) struct Client {
    pub(crate) groups: Vec<u16>,
    pub(crate) shares: Vec<u16>,
    pub(crate) signatures: Vec<u16>,
    pub(crate) server_certificates: Vec<u8>,
    pub(crate) versions: Vec<u16>,
}

/// What a ServerHello chose.
#[derive(Debug, Default)]
pub(crate) struct Server {
    pub(crate) share: Option<u16>,
    pub(crate) version: Option<u16>,
}

/// One handshake: the keys of both sides and what came of their first messages, by offset.
struct Handshake {
    keys: [Keys; 2],
    streams: [BTreeMap<u64, Vec<u8>>; 2],
}

struct Keys {
    packet: LessSafeKey,
    iv: [u8; 12],
    header: HeaderProtectionKey,
}

/// The hellos of every handshake in a capture, in order.
pub(crate) fn hellos(seen: &[Seen]) -> Vec<(Client, Server)> {
    let mut handshakes: Vec<Handshake> = Vec::new();
    for datagram in seen {
        let side = match datagram.way {
            Way::ToNode => 0,
            Way::ToClient => 1,
        };
        for packet in initials(&datagram.bytes) {
            let known = handshakes
                .iter_mut()
                .find_map(|handshake| Some((packet.open(&handshake.keys[side])?, handshake)));
            if let Some((payload, handshake)) = known {
                take_crypto(&payload, &mut handshake.streams[side]);
            } else if side == 0 {
                let keys = Handshake::keys(packet.destination);
                let Some(payload) = packet.open(&keys[0]) else {
                    continue;
                };
                let mut handshake = Handshake {
                    keys,
                    streams: Default::default(),
                };
                take_crypto(&payload, &mut handshake.streams[0]);
                handshakes.push(handshake);
            }
        }
    }
    let read = |handshake: &Handshake| {
        let [client, server] = &handshake.streams;
        Some((
            client_hello(&joined(client))?,
            server_hello(&joined(server))?,
        ))
    };
    // After a Retry there is a handshake that the node never answered.
    handshakes.iter().filter_map(read).collect()
}

/// An Initial packet as it was sent.
struct Initial<'a> {
    bytes: &'a [u8],
    destination: &'a [u8],
    number_at: usize,
}

/// The Initial packets of a datagram.
fn initials(mut rest: &[u8]) -> Vec<Initial<'_>> {
    let mut found = Vec::new();
    while rest.first().is_some_and(|first| first & 0x80 != 0) {
        let Some((packet, kind, length)) = long_header(rest) else {
            return found;
        };
        if kind == 0 {
            found.push(Initial {
                bytes: &rest[..length],
                ..packet
            });
        }
        rest = &rest[length..];
    }
    found
}

/// Header, type and length of a packet with a long header; `None` for what has none, or is cut short.
fn long_header(bytes: &[u8]) -> Option<(Initial<'_>, u8, usize)> {
    let kind = (bytes[0] >> 4) & 3;
    let is_retry = kind == 3;
    let mut reader = Reader(bytes.get(5..)?);
    let length = reader.byte()?.into();
    let destination = reader.take(length)?;
    let length = reader.byte()?.into();
    reader.take(length)?;
    if is_retry || bytes[1..5] != [0, 0, 0, 1] {
        return None;
    }
    if kind == 0 {
        let length = reader.varint()?;
        reader.take(length as usize)?;
    }
    let length = reader.varint()? as usize;
    let number_at = bytes.len() - reader.0.len();
    let end = number_at.checked_add(length)?;
    let packet = Initial {
        bytes,
        destination,
        number_at,
    };
    (end <= bytes.len()).then_some((packet, kind, end))
}

impl Initial<'_> {
    /// The payload, if these are its keys.
    fn open(&self, keys: &Keys) -> Option<Vec<u8>> {
        let sample = self.bytes.get(self.number_at + 4..self.number_at + 20)?;
        let mask = keys.header.new_mask(sample).ok()?;
        let mut packet = self.bytes.to_vec();
        packet[0] ^= mask[0] & 0x0f;
        let number_bytes = usize::from(packet[0] & 3) + 1;
        let mut number = 0_u64;
        for index in 0..number_bytes {
            packet[self.number_at + index] ^= mask[1 + index];
            number = number << 8 | u64::from(packet[self.number_at + index]);
        }
        let mut nonce = keys.iv;
        for (byte, part) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= part;
        }
        let (head, sealed) = packet.split_at_mut(self.number_at + number_bytes);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = keys.packet.open_in_place(nonce, Aad::from(&*head), sealed);
        opened.ok().map(|payload| payload.to_vec())
    }
}

impl Handshake {
    fn keys(destination: &[u8]) -> [Keys; 2] {
        let secret = Salt::new(HKDF_SHA256, &INITIAL_SALT).extract(destination);
        ["client in", "server in"].map(|side| {
            let side = expand::<32>(&secret, side);
            let secret = Prk::new_less_safe(HKDF_SHA256, &side);
            let key = expand::<16>(&secret, "quic key");
            let header = expand::<16>(&secret, "quic hp");
            Keys {
                packet: LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).expect("16 bytes")),
                iv: expand::<12>(&secret, "quic iv"),
                header: HeaderProtectionKey::new(&AES_128, &header).expect("16 bytes"),
            }
        })
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label of RFC 8446, section 7.1, without a context.
fn expand<const N: usize>(secret: &Prk, label: &str) -> [u8; N] {
    let label = format!("tls13 {label}");
    let head = [0, N as u8, label.len() as u8];
    let info = [&head[..], label.as_bytes(), &[0]];
    let mut out = [0; N];
    let expanded = secret.expand(&info, Length(N));
    let filled = expanded.and_then(|expanded| expanded.fill(&mut out));
    filled.expect("a length that HKDF gives");
    out
}

/// Adds what stands in CRYPTO frames (RFC 9000, section 19); Initial packets have few others.
fn take_crypto(payload: &[u8], stream: &mut BTreeMap<u64, Vec<u8>>) {
    let mut reader = Reader(payload);
    while let Some(kind) = reader.byte() {
        let taken = match kind {
            // PADDING, PING.
            0 | 1 => Some(()),
            2 => take_ack(&mut reader),
            6 => {
                let offset = reader.varint();
                let length = reader.varint();
                offset.zip(length).and_then(|(offset, length)| {
                    let bytes = reader.take(length as usize)?;
                    stream.insert(offset, bytes.to_vec());
                    Some(())
                })
            }
            _ => None,
        };
        if taken.is_none() {
            return;
        }
    }
}

fn take_ack(reader: &mut Reader<'_>) -> Option<()> {
    reader.varint()?;
    reader.varint()?;
    let ranges = reader.varint()?;
    for _ in 0..1 + 2 * ranges {
        reader.varint()?;
    }
    Some(())
}

/// The bytes from the beginning on, without a gap.
fn joined(stream: &BTreeMap<u64, Vec<u8>>) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::new();
    for (offset, part) in stream {
        let Some(known) = bytes.len().checked_sub(*offset as usize) else {
            break;
        };
        bytes.extend_from_slice(part.get(known..).unwrap_or_default());
    }
    bytes
}

fn client_hello(bytes: &[u8]) -> Option<Client> {
    let mut hello = message(bytes, 1)?;
    hello.take(2 + 32)?;
    for width in [1, 2, 1] {
        hello.list(width)?;
    }
    let mut client = Client::default();
    let mut extensions = hello.list(2)?;
    while let Some((kind, mut extension)) = extensions.extension() {
        match kind {
            10 => client.groups = extension.list(2)?.numbers(),
            13 => client.signatures = extension.list(2)?.numbers(),
            20 => client.server_certificates = extension.list(1)?.0.to_vec(),
            43 => client.versions = extension.list(1)?.numbers(),
            51 => {
                let mut shares = extension.list(2)?;
                while let Some((group, _)) = shares.extension() {
                    client.shares.push(group);
                }
            }
            _ => {}
        }
    }
    Some(client)
}

fn server_hello(bytes: &[u8]) -> Option<Server> {
    let mut hello = message(bytes, 2)?;
    hello.take(2 + 32)?;
    hello.list(1)?;
    hello.take(2 + 1)?;
    let mut server = Server::default();
    let mut extensions = hello.list(2)?;
    while let Some((kind, mut extension)) = extensions.extension() {
        match kind {
            43 => server.version = extension.number(),
            51 => server.share = extension.number(),
            _ => {}
        }
    }
    Some(server)
}

/// A whole handshake message of a kind.
fn message(bytes: &[u8], kind: u8) -> Option<Reader<'_>> {
    let mut reader = Reader(bytes);
    if reader.byte()? != kind {
        return None;
    }
    reader.list(3)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2)
            .map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn numbers(mut self) -> Vec<u16> {
        std::iter::from_fn(|| self.number()).collect()
    }

    /// RFC 9000, section 16.
    fn varint(&mut self) -> Option<u64> {
        let first = self.byte()?;
        let more = self.take((1 << (first >> 6)) - 1)?;
        let start = u64::from(first & 0x3f);
        Some(
            more.iter()
                .fold(start, |number, byte| number << 8 | u64::from(*byte)),
        )
    }

    /// What a length of some bytes stands before.
    fn list(&mut self, width: usize) -> Option<Self> {
        let length = self.take(width)?;
        let length = length
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte));
        self.take(length).map(Self)
    }

    /// A number and a list: an extension, or a key share.
    fn extension(&mut self) -> Option<(u16, Self)> {
        Some((self.number()?, self.list(2)?))
    }
}
