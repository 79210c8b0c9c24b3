//! A request head, judged as soon as it can be.

/// What a page is asked for with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Method {
    /// All of it.
    Get,
    /// Everything but the body.
    Head,
}

/// What to do with a request.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Answer.
    Ask {
        /// How.
        method: Method,
        /// What, without its query.
        path: String,
    },
    /// Refuse with a status.
    Refuse(&'static str),
}

/// The verdict over what has come so far; `None` while more is needed. Pure, and linear in its input.
///
/// Fields of the head are checked for their form and otherwise ignored: no page depends on one.
pub(super) fn judge(head: &[u8]) -> Option<Verdict> {
    const BAD: Option<Verdict> = Some(Verdict::Refuse("400 Bad Request"));
    // Nothing in a head is a control character: another protocol is told at its first bytes.
    let is_text = |byte: &u8| matches!(byte, b'\r' | b'\n' | b'\t' | b' '..=b'~' | 0x80..);
    if !head.iter().all(is_text) {
        return BAD;
    }
    let mut lines = head.split_inclusive(|byte| *byte == b'\n');
    let request = match lines.next().map(whole_line) {
        None | Some(None) => return None,
        Some(Some(line)) => line,
    };
    let mut words = request.split(|byte| *byte == b' ');
    let (method, target, version, more) = (words.next(), words.next(), words.next(), words.next());
    let (Some(method), Some(target), Some(version), None) = (method, target, version, more) else {
        return BAD;
    };
    if !matches!(version, b"HTTP/1.1" | b"HTTP/1.0") {
        return if version.starts_with(b"HTTP/") {
            Some(Verdict::Refuse("505 HTTP Version Not Supported"))
        } else {
            BAD
        };
    }
    let method = match method {
        b"GET" => Method::Get,
        b"HEAD" => Method::Head,
        other if !other.is_empty() && other.iter().all(u8::is_ascii_uppercase) => {
            return Some(Verdict::Refuse("405 Method Not Allowed"));
        }
        _ => return BAD,
    };
    let path = target
        .split(|byte| *byte == b'?')
        .next()
        .unwrap_or_default();
    let Ok(path) = std::str::from_utf8(path) else {
        return BAD;
    };
    if !path.starts_with('/') {
        return BAD;
    }
    for line in lines {
        match whole_line(line)? {
            [] => {
                return Some(Verdict::Ask {
                    method,
                    path: path.to_owned(),
                });
            }
            field if is_field(field) => {}
            _ => return BAD,
        }
    }
    None
}

/// A line without its end; `None` if the end has not come. A line feed alone ends one too, as RFC 9112 allows.
fn whole_line(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_suffix(b"\n")?;
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

/// `name: value`, the name a token (RFC 9110, section 5.6.2), which no folded line has.
fn is_field(line: &[u8]) -> bool {
    let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    name.len() < line.len() && !name.is_empty() && name.iter().all(is_token)
}
