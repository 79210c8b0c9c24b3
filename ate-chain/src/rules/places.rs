//! Places: what the record tree says at one record, about rights, scope and version.

use ate_crypto::KeyId;

use crate::error::Reject;
use crate::ids::{RecordKey, Ref};
use crate::table::flag;

use super::Check;

/// What the record tree says about writing and sealing at one record.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) may_write: bool,
    pub(super) scope: RecordKey,
    pub(super) depth: u16,
    pub(super) live: bool,
}

impl Check<'_> {
    /// The record stands where the commit says that it does.
    pub(super) fn at_version(&self, key: &RecordKey, version: &Ref) -> Result<(), Reject> {
        let found = self.state.find(key);
        let holds = match (version, &found) {
            (Ref::Absent, None) => true,
            (Ref::At(version), Some(found)) => found.version() == *version,
            (Ref::Lane { number, event }, Some(found)) => {
                let head = &self.commit.head;
                found.version().event == *event
                    && found.came_from(self.state, &head.author, &head.lane, *number)
            }
            _ => false,
        };
        if holds {
            Ok(())
        } else {
            Err(Reject::Conflict {
                key: *key,
                expected: *version,
                stored: found.map(|found| found.version()),
            })
        }
    }

    /// The author had the right to write at the record before this commit.
    pub(super) fn needs_write(&self, key: &RecordKey) -> Result<(), Reject> {
        // A record that this very commit creates belongs to its author.
        if self.state.find(key).is_none() && self.scopes.contains_key(key) {
            return Ok(());
        }
        if self.before(key)?.may_write {
            Ok(())
        } else {
            Err(Reject::Denied {
                author: self.commit.head.author,
                key: *key,
            })
        }
    }

    /// Rights and scope at a parent, which may be a record of this commit.
    pub(super) fn parent_place(&mut self, parent: &RecordKey) -> Result<Place, Reject> {
        if let Some((key, place)) = &self.last_parent
            && key == parent
        {
            return Ok(*place);
        }
        let place = self.resolve(parent, true)?;
        self.last_parent = Some((*parent, place));
        Ok(place)
    }

    /// Rights at a record as the chain stood before this commit.
    fn before(&self, key: &RecordKey) -> Result<Place, Reject> {
        self.resolve(key, false)
    }

    /// What the tree says at `key`. With `in_commit`, as the events so far leave it: records created here count with the policies they were given, and a
    /// record whose read policy changed here heads its new scope. Rights at records that were there before are always those from before.
    fn resolve(&self, key: &RecordKey, in_commit: bool) -> Result<Place, Reject> {
        let author: &KeyId = &self.commit.head.author;
        let (mut may_write, mut scope, mut first) = (None, None, None);
        let mut at = *key;
        loop {
            let target = if in_commit {
                self.targets.get(&at)
            } else {
                None
            };
            let changed = target.map(|target| &self.effects.rows[target.row].1);
            let created = target.is_some_and(|target| target.created);
            let (flags, depth, parent, policy);
            match (changed, self.state.find(&at)) {
                (Some(row), _) if created => {
                    (flags, depth, parent) = (row.flags, row.depth, row.parent);
                    policy = row.write.as_deref();
                }
                (changed, Some(found)) => {
                    flags = changed.map_or_else(|| found.flags(), |row| row.flags);
                    (depth, parent) = (found.depth(), found.parent(self.state));
                    policy = found.write(self.state);
                }
                (_, None) => return Err(Reject::NoRecord { key: at }),
            }
            first.get_or_insert((depth, flags & flag::LIVE != 0));
            if may_write.is_none() {
                may_write = policy.map(|policy| policy.admits(author));
            }
            if scope.is_none() && flags & flag::SCOPE != 0 {
                scope = Some(at);
            }
            if let (Some(may_write), Some(scope), Some((depth, live))) = (may_write, scope, first) {
                return Ok(Place {
                    may_write,
                    scope,
                    depth,
                    live,
                });
            }
            at = parent;
        }
    }
}
