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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventHead;
    use crate::tests::world::*;

    const ROOT: RecordKey = RecordKey::ROOT;
    const META: MissingPart = (0, Part::Meta);
    const CONTENT: MissingPart = (0, Part::Content);

    /// A chain, and a pass over it that misses bodies.
    struct Pass {
        world: World,
        missing: Missing,
    }

    impl Pass {
        fn new() -> Self {
            Self {
                world: World::new(),
                missing: Missing::default(),
            }
        }

        fn next(&mut self, event: EventHead, missing: &[MissingPart]) -> u64 {
            let raw = self.world.raw(vec![event]);
            let commit = raw.commit(&self.world.state.chain);
            let seq = self.world.good(raw);
            let at = Location {
                file: 1,
                offset: seq as u32,
            };
            self.missing.take_in(&commit, seq, at, missing);
            seq
        }

        /// How many bodies may be missing, or the commit of one that may not.
        fn end(mut self) -> Result<u64, u64> {
            let settled = self.missing.settle(&self.world.state);
            settled.map_err(|(seq, at)| {
                assert_eq!(u64::from(at.offset), seq);
                seq
            })
        }
    }

    fn named() -> EventHead {
        let mut head = create(ROOT, 1);
        head.meta = Some(BODY);
        head
    }

    #[test]
    fn an_erasure_covers_what_came_before_it_and_nothing_after() {
        let key = key_of(ROOT, 1);
        let mut pass = Pass::new();
        let first = pass.next(named(), &[META, CONTENT]);
        let second = pass.next(update(key, at(first, 0)), &[CONTENT]);
        let erased = pass.next(erase(key, at(second, 0)), &[]);
        pass.next(create_at(ROOT, 1, at(erased, 0)), &[]);
        assert_eq!(pass.end(), Ok(3));

        let mut pass = Pass::new();
        let first = pass.next(named(), &[META, CONTENT]);
        let erased = pass.next(erase(key, at(first, 0)), &[]);
        let back = pass.next(create_at(ROOT, 1, at(erased, 0)), &[CONTENT]);
        pass.next(update(key, at(back, 0)), &[]);
        assert_eq!(pass.end(), Err(back));
    }

    #[test]
    fn nothing_else_covers_a_body() {
        let (key, other) = (key_of(ROOT, 1), key_of(ROOT, 2));
        for part in [META, CONTENT] {
            let mut pass = Pass::new();
            let first = pass.next(named(), &[part]);
            let beside = pass.next(create(ROOT, 2), &[]);
            pass.next(erase(other, at(beside, 0)), &[]);
            pass.next(remove(key, at(first, 0)), &[]);
            assert_eq!(pass.end(), Err(first));
        }
        // Of several the first is named.
        let mut pass = Pass::new();
        let first = pass.next(create(ROOT, 1), &[CONTENT]);
        pass.next(create(ROOT, 2), &[CONTENT]);
        assert_eq!(pass.end(), Err(first));
    }

    #[test]
    fn a_horizon_covers_contents_superseded_below_it() {
        let key = key_of(ROOT, 1);
        // The successor stands below the horizon, or right at it.
        for (below, outcome) in [(1, true), (0, false)] {
            for by_removal in [false, true] {
                let mut pass = Pass::new();
                let first = pass.next(named(), &[CONTENT]);
                let next = match by_removal {
                    true => remove(key, at(first, 0)),
                    false => update(key, at(first, 0)),
                };
                let next = pass.next(next, &[]);
                pass.next(horizon(next + below), &[]);
                assert_eq!(pass.end().is_ok(), outcome);
            }
        }
        // Names stay, and so does what was not superseded.
        let mut pass = Pass::new();
        let first = pass.next(named(), &[META]);
        let next = pass.next(update(key, at(first, 0)), &[]);
        pass.next(horizon(next + 1), &[]);
        assert_eq!(pass.end(), Err(first));
        let mut pass = Pass::new();
        let first = pass.next(named(), &[CONTENT]);
        pass.next(horizon(first + 1), &[]);
        assert_eq!(pass.end(), Err(first));
    }
}
