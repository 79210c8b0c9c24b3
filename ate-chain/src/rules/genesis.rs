//! The first commit of a chain.

use std::sync::Arc;

use crate::commit::Event;
use crate::error::Reject;
use crate::event::{Change, Genesis};
use crate::head::{CommitHead, Seen};
use crate::ids::{RecordKey, Version};
use crate::policy::{ReadPolicy, WritePolicy};
use crate::scope::{GrantFacts, Scope};
use crate::state::LaneBook;
use crate::table::flag;

use super::{Check, PendingRow, invalid};

impl Check<'_> {
    /// It makes the root record and its scope, grants the scope's keys, and is signed by the root it names.
    pub(super) fn genesis(&mut self) -> Result<(), Reject> {
        let commit = self.commit;
        let head = &commit.head;
        let Some((first, rest)) = commit.events.split_first() else {
            return Err(invalid("a chain begins with a genesis event"));
        };
        let Change::Genesis(genesis) = &first.head.change else {
            return Err(invalid("a chain begins with a genesis event"));
        };
        if genesis.root.id() != head.author {
            return Err(invalid("the genesis is not signed by the root it names"));
        }
        let nothing = Seen {
            size: 0,
            root: self.state.root_at(0),
        };
        if head.number != 1 || head.after != 0 || head.seen != nothing {
            return Err(invalid("a genesis has seen nothing"));
        }
        let (Some(write), Some(read)) = (&first.head.write, &first.head.read) else {
            return Err(invalid("a genesis needs both policies"));
        };
        if matches!(write, WritePolicy::Inherit) {
            return Err(invalid("the root record cannot inherit"));
        }
        follows_itself(genesis, head)?;
        let scope = root_scope(read, rest)?;
        if head
            .commitments
            .iter()
            .any(|commitment| commitment.scope != RecordKey::ROOT || commitment.epoch != 1)
        {
            return Err(invalid("a genesis knows one scope"));
        }
        let row = PendingRow {
            write: Some(Arc::new(write.clone())),
            sealed: (RecordKey::ROOT, 1),
            flags: flag::LIVE | flag::SCOPE,
            ..PendingRow::of(0, first)
        };
        self.effects.rows.push((RecordKey::ROOT, row));
        self.effects.keys.push(genesis.root.clone());
        self.effects.genesis = Some(Arc::new((**genesis).clone()));
        self.effects.lane_book = Some(LaneBook {
            lanes: vec![head.lane],
            dropped_at: 0,
        });
        self.scopes.insert(RecordKey::ROOT, scope);
        Ok(())
    }
}

/// The commit is under the rules and a suite that it fixes for the chain.
fn follows_itself(genesis: &Genesis, head: &CommitHead) -> Result<(), Reject> {
    if genesis.rule_version != head.rule_version {
        return Err(invalid("the chain follows other rules than its genesis"));
    }
    if !genesis.suites.is_sorted_by(|a, b| a.id() < b.id()) || !genesis.suites.contains(&head.suite)
    {
        return Err(invalid("the chain does not list the suite of its genesis"));
    }
    Ok(())
}

/// The root scope in its first epoch, with the grants that follow the genesis event.
fn root_scope(read: &ReadPolicy, grants: &[Event]) -> Result<Scope, Reject> {
    let mut scope = Scope::default();
    if !scope.begin(read) {
        return Err(invalid("the root record cannot inherit"));
    }
    for (event, index) in grants.iter().zip(1..) {
        match &event.head.change {
            Change::Grant(grant) if grant.scope == RecordKey::ROOT && grant.epoch == 1 => {
                scope.grants.push(GrantFacts {
                    epoch: 1,
                    recipient: grant.recipient,
                    at: Version {
                        seq: 0,
                        event: index,
                    },
                });
            }
            _ => {
                return Err(invalid(
                    "only grants of the root scope may follow a genesis event",
                ));
            }
        }
    }
    Ok(scope)
}
