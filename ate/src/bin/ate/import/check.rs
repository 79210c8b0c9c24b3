//! What is to be done with each record of an import.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use ate::Chain;
use ate::crypto::sha256;

use crate::documents::{stored, typed};
use crate::failure::Failure;
use crate::lines::Parsed;

/// What is to be done with a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Write,
    /// It stands in the chain, or further up in the input, with the same content.
    Unchanged,
}

/// Half a SHA-256: no two names or contents of one input meet by chance.
type Digest = [u8; 16];

struct First {
    line: u64,
    content: Digest,
}

/// Judges records in order. Takes about 80 bytes a record.
pub(super) struct Check<'a> {
    chain: Option<&'a Chain>,
    seen: HashMap<Digest, First>,
}

impl<'a> Check<'a> {
    /// `chain` as it is before the import; `None` if there is none yet.
    pub(super) fn new(chain: Option<&'a Chain>) -> Self {
        Self {
            chain,
            seen: HashMap::new(),
        }
    }

    pub(super) fn judge(&mut self, parsed: &Parsed) -> Result<Verdict, Failure> {
        let content = digest(parsed.json.as_str());
        match self.seen.entry(digest(&parsed.name)) {
            Entry::Occupied(first) => {
                let first = first.get();
                return if first.content == content {
                    Ok(Verdict::Unchanged)
                } else {
                    Err(Failure::failed(format!(
                        "key `{}` stands in line {} already, with other content",
                        parsed.name, first.line
                    )))
                };
            }
            Entry::Vacant(place) => place.insert(First {
                line: parsed.number,
                content,
            }),
        };
        let Some(chain) = self.chain else {
            return Ok(Verdict::Write);
        };
        match stored(chain, &parsed.name)? {
            Some(stored) if !stored.is_json() => Err(typed(&parsed.name, &stored.type_name)),
            Some(stored) if stored.json == parsed.json.as_str() => Ok(Verdict::Unchanged),
            _ => Ok(Verdict::Write),
        }
    }
}

fn digest(text: &str) -> Digest {
    let hash = sha256(&[text.as_bytes()]);
    let (half, _) = hash.0.split_first_chunk().expect("a hash has 32 bytes");
    *half
}
