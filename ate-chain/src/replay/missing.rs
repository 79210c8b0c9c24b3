//! Bodies that a pass over the log did not find, until it shows whether they may be missing.
//!
//! What allows it stands later in the chain than the body: an erasure of its record, or a horizon above the version that superseded it.

use std::collections::HashMap;

use ate_crypto::Part;
use ate_log::Location;

use crate::commit::{Commit, MissingPart, Verified};
use crate::ids::RecordKey;
use crate::state::State;

/// One body that is not there.
struct Body {
    part: Part,
    seq: u64,
    /// Frame of its commit.
    at: Location,
    /// Commit that superseded the version.
    successor: Option<u64>,
}

/// All bodies that were not there, by record.
#[derive(Default)]
pub(super) struct Missing(HashMap<RecordKey, Vec<Body>>);

impl Missing {
    /// Takes in the next commit, number `seq`: what it supersedes, and what of it is not there.
    pub(super) fn take_in(
        &mut self,
        commit: &Commit<Verified>,
        seq: u64,
        at: Location,
        missing: &[MissingPart],
    ) {
        if !self.0.is_empty() {
            let targets = commit.events.iter().filter_map(|event| event.head.target());
            for key in targets {
                for body in self.0.get_mut(&key).into_iter().flatten() {
                    body.successor.get_or_insert(seq);
                }
            }
        }
        for (index, part) in missing {
            let key = commit.events[*index as usize].head.target();
            let body = Body {
                part: *part,
                seq,
                at,
                successor: None,
            };
            self.0
                .entry(key.expect("only events of records have bodies"))
                .or_default()
                .push(body);
        }
    }

    /// How many bodies are missing, all of which may be; else commit and frame of the first that may not.
    pub(super) fn settle(&mut self, state: &State) -> Result<u64, (u64, Location)> {
        let (mut count, mut first) = (0, None);
        for (key, bodies) in self.0.drain() {
            let erased_before = state.erased_before(&key).unwrap_or(0);
            for body in bodies {
                let erased = body.seq < erased_before;
                let dropped = matches!(body.part, Part::Content)
                    && body
                        .successor
                        .is_some_and(|next| next < state.gone.horizon.0);
                if erased || dropped {
                    count += 1;
                } else if first.is_none_or(|(seq, _)| body.seq < seq) {
                    first = Some((body.seq, body.at));
                }
            }
        }
        first.map_or(Ok(count), Err)
    }
}
