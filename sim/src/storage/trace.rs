//! Every call of a storage, folded into one number.

use std::collections::VecDeque;
use std::io;

/// How many calls a failure shows.
const LAST_CALLS: usize = 24;

/// A running hash of all calls: which, on what file, where, how much, which bytes, and how it ended. Two runs with one hash did the same.
#[derive(Debug, Default)]
pub(super) struct Trace {
    hash: u64,
    calls: u64,
    last: VecDeque<String>,
}

/// One call, before it is folded in.
pub(super) struct Call<'a> {
    pub(super) what: &'static str,
    pub(super) name: &'a str,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) bytes: &'a [u8],
}

impl Trace {
    pub(super) fn take<T>(&mut self, call: &Call<'_>, answer: &io::Result<T>) {
        self.calls += 1;
        let mut hash = Fold(self.hash ^ self.calls);
        hash.bytes(call.what.as_bytes());
        hash.bytes(call.name.as_bytes());
        hash.word(call.offset);
        hash.word(call.length);
        hash.bytes(call.bytes);
        let ending = match answer {
            Ok(_) => "",
            Err(error) => {
                hash.bytes(format!("{:?}", error.kind()).as_bytes());
                " FAILED"
            }
        };
        self.hash = hash.0;
        if self.last.len() == LAST_CALLS {
            self.last.pop_front();
        }
        let Call {
            what,
            name,
            offset,
            length,
            ..
        } = call;
        let calls = self.calls;
        self.last
            .push_back(format!("{calls} {what} {name} {offset}+{length}{ending}"));
    }

    pub(super) const fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn last(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}

/// Not for anything that somebody might want to forge.
struct Fold(u64);

impl Fold {
    const fn word(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 29;
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
    }
}
