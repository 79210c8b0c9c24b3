//! The scanner: one pass over a document, nothing kept but member names.

use std::borrow::Cow;
use std::collections::HashSet;

use super::{JSON_DEPTH_MAX, JsonFault};

/// Where and why scanning stopped.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) offset: usize,
    pub(super) fault: JsonFault,
}

/// One member of an object.
#[derive(Debug)]
pub(super) struct Member<'a> {
    /// The name, unescaped.
    pub(super) name: Cow<'a, str>,
    /// The name with its quotes, as written.
    pub(super) quoted: &'a str,
    /// The text of the value.
    pub(super) value: &'a str,
}

#[derive(Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn stop<T>(&self, fault: JsonFault) -> Result<T, Stop> {
        Err(Stop {
            offset: self.at,
            fault,
        })
    }

    fn unexpected<T>(&self, expected: &'static str) -> Result<T, Stop> {
        match self
            .text
            .get(self.at..)
            .and_then(|rest| rest.chars().next())
        {
            Some(found) => self.stop(JsonFault::Unexpected { expected, found }),
            None => self.stop(JsonFault::End),
        }
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// The whole text: one value and nothing behind it.
    pub(super) fn document(&mut self) -> Result<(), Stop> {
        self.space();
        self.value(0)?;
        self.space();
        if self.at < self.text.len() {
            self.stop(JsonFault::Trailing)
        } else {
            Ok(())
        }
    }

    /// Calls `visit` for each member of the object that the text is.
    pub(super) fn members(&mut self, visit: &mut dyn FnMut(Member<'a>)) -> Result<(), Stop> {
        self.space();
        self.object(0, visit)
    }

    /// Calls `visit` with the text of each element of the array that the text is.
    pub(super) fn elements(&mut self, visit: &mut dyn FnMut(&'a str)) -> Result<(), Stop> {
        self.space();
        self.array(0, visit)
    }

    fn value(&mut self, depth: u32) -> Result<(), Stop> {
        match self.peek() {
            Some(b'{') => self.object(depth, &mut |_| {}),
            Some(b'[') => self.array(depth, &mut |_| {}),
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => self.unexpected("a value"),
        }
    }

    fn word(&mut self, word: &'static str) -> Result<(), Stop> {
        for byte in word.bytes() {
            if self.peek() != Some(byte) {
                return self.unexpected(word);
            }
            self.at += 1;
        }
        Ok(())
    }

    fn enter(&mut self, depth: u32, open: u8, expected: &'static str) -> Result<u32, Stop> {
        if self.peek() != Some(open) {
            return self.unexpected(expected);
        }
        if depth >= JSON_DEPTH_MAX {
            return self.stop(JsonFault::Deep);
        }
        self.at += 1;
        self.space();
        Ok(depth + 1)
    }

    /// Moves over a comma or the closing bracket; true at the end.
    fn next(&mut self, close: u8, expected: &'static str) -> Result<bool, Stop> {
        self.space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.space();
                Ok(false)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(true)
            }
            _ => self.unexpected(expected),
        }
    }

    fn array(&mut self, depth: u32, visit: &mut dyn FnMut(&'a str)) -> Result<(), Stop> {
        let depth = self.enter(depth, b'[', "an array")?;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            let start = self.at;
            self.value(depth)?;
            visit(&self.text[start..self.at]);
            if self.next(b']', "`,` or `]`")? {
                return Ok(());
            }
        }
    }

    fn object(&mut self, depth: u32, visit: &mut dyn FnMut(Member<'a>)) -> Result<(), Stop> {
        let depth = self.enter(depth, b'{', "an object")?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        let mut names = Names::default();
        loop {
            let start = self.at;
            if self.peek() != Some(b'"') {
                return self.unexpected("a member name");
            }
            let name = self.string()?;
            let quoted = &self.text[start..self.at];
            if !names.insert(name.clone()) {
                return Err(Stop {
                    offset: start,
                    fault: JsonFault::Duplicate { name: name.into() },
                });
            }
            self.space();
            if self.peek() != Some(b':') {
                return self.unexpected("`:`");
            }
            self.at += 1;
            self.space();
            let start = self.at;
            self.value(depth)?;
            visit(Member {
                name,
                quoted,
                value: &self.text[start..self.at],
            });
            if self.next(b'}', "`,` or `}`")? {
                return Ok(());
            }
        }
    }

    /// A string with its quotes; gives its content, borrowed if nothing is escaped.
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, Stop> {
        self.at += 1;
        let mut unescaped: Option<String> = None;
        let mut start = self.at;
        loop {
            match self.peek() {
                None => return self.stop(JsonFault::End),
                Some(b'"') => {
                    let rest = &self.text[start..self.at];
                    self.at += 1;
                    return Ok(match unescaped {
                        None => Cow::Borrowed(rest),
                        Some(text) => Cow::Owned(text + rest),
                    });
                }
                Some(b'\\') => {
                    let text = unescaped.get_or_insert_default();
                    text.push_str(&self.text[start..self.at]);
                    let character = self.escape()?;
                    unescaped.get_or_insert_default().push(character);
                    start = self.at;
                }
                Some(0..=0x1f) => return self.stop(JsonFault::Control),
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<char, Stop> {
        let start = self.at;
        self.at += 1;
        let character = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let lone = |_| Stop {
                    offset: start,
                    fault: JsonFault::Surrogate,
                };
                let first = self.hex()?;
                let mut units = vec![first];
                if (0xd800..0xdc00).contains(&first) && self.text[self.at..].starts_with("\\u") {
                    self.at += 1;
                    units.push(self.hex()?);
                }
                let text = String::from_utf16(&units).map_err(lone)?;
                return Ok(text
                    .chars()
                    .next()
                    .expect("one or two units make a character"));
            }
            None => return self.stop(JsonFault::End),
            Some(_) => return self.stop(JsonFault::Escape),
        };
        self.at += 1;
        Ok(character)
    }

    /// Reads `uXXXX`.
    fn hex(&mut self) -> Result<u16, Stop> {
        self.at += 1;
        let mut value = 0;
        for _ in 0..4 {
            let Some(byte) = self.peek() else {
                return self.stop(JsonFault::End);
            };
            let Some(digit) = char::from(byte).to_digit(16) else {
                return self.stop(JsonFault::Escape);
            };
            value = value << 4 | digit as u16;
            self.at += 1;
        }
        Ok(value)
    }

    fn digits(&mut self) -> Result<(), Stop> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        match self.peek() {
            _ if self.at > start => Ok(()),
            None => self.stop(JsonFault::End),
            Some(_) => self.stop(JsonFault::Number),
        }
    }

    fn number(&mut self) -> Result<(), Stop> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
            if let Some(b'0'..=b'9') = self.peek() {
                return self.stop(JsonFault::Number);
            }
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }
}

/// The member names of one object. Most objects are small: a set is made only for the others.
#[derive(Default)]
struct Names<'a> {
    few: Vec<Cow<'a, str>>,
    many: HashSet<Cow<'a, str>>,
}

impl<'a> Names<'a> {
    const FEW: usize = 16;

    fn insert(&mut self, name: Cow<'a, str>) -> bool {
        if self.few.len() < Self::FEW {
            let is_new = !self.few.contains(&name);
            self.few.push(name);
            return is_new;
        }
        if self.many.is_empty() {
            self.many.extend(self.few.iter().cloned());
        }
        self.many.insert(name)
    }
}
