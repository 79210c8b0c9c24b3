//! The host and port of an address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{AddressError, DEFAULT_PORT, shown};

/// RFC 1035, section 2.3.4.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// Splits `HOST[:PORT]`; brackets stay with the host.
pub(super) fn split_port(text: &str) -> Result<(&str, u16), AddressError> {
    let (host, port) = if text.starts_with('[') {
        let end = text.find(']').ok_or_else(|| AddressError::Host {
            text: shown(text),
            why: "a bracket is not closed",
        })?;
        let (host, rest) = text.split_at(end + 1);
        (host, rest)
    } else {
        text.split_at(text.find(':').unwrap_or(text.len()))
    };
    if port.is_empty() {
        return Ok((host, DEFAULT_PORT));
    }
    let Some(port) = port.strip_prefix(':') else {
        return Err(AddressError::Host {
            text: shown(text),
            why: "something stands between the bracket and the port",
        });
    };
    if port.contains(':') {
        return Err(AddressError::Host {
            text: shown(text),
            why: "an IPv6 address stands in brackets",
        });
    }
    // One text for one port: no sign, no zeros in front.
    let is_plain = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
    match port.parse() {
        Ok(number) if is_plain => Ok((host, number)),
        _ => Err(AddressError::Port { port: shown(port) }),
    }
}

/// The canonical form of a host, and its address if it is one.
pub(super) fn parse(text: &str) -> Result<(String, Option<IpAddr>), AddressError> {
    let wrong = |why| AddressError::Host {
        text: shown(text),
        why,
    };
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    if inner.is_some() || text.contains(':') {
        let inner = inner.unwrap_or(text);
        if inner.contains('%') {
            return Err(wrong("a zone means nothing on another machine"));
        }
        let ip: Ipv6Addr = inner.parse().map_err(|_| wrong("no IPv6 address"))?;
        return Ok((ip.to_string(), Some(IpAddr::V6(ip))));
    }
    if text.is_empty() {
        return Err(wrong("it is empty"));
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(wrong("a DNS name has at most 253 characters"));
    }
    let labels_are_good = text.split('.').all(|label| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    });
    if !labels_are_good {
        return Err(wrong(
            "a DNS name consists of letters, digits and hyphens between dots; others are written in their xn-- form",
        ));
    }
    // No top-level domain is a number, but resolvers read `127.1` and `0x7f.1` as addresses: only the one full form is taken.
    let last = text.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
        || last
            .strip_prefix("0x")
            .or_else(|| last.strip_prefix("0X"))
            .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if is_number {
        let ip: Ipv4Addr = text.parse().map_err(|_| wrong("no IPv4 address"))?;
        return Ok((ip.to_string(), Some(IpAddr::V4(ip))));
    }
    Ok((text.to_ascii_lowercase(), None))
}
