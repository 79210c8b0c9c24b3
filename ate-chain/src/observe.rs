//! What observers see of a confirmed commit.

use ate_crypto::{KeyId, Salt};

use crate::commit::Event;
use crate::event::EventHead;
use crate::ids::{CollectionTag, Epoch, RecordKey, SchemaTag, Version};
use crate::state::State;
use crate::table::{Slot, flag};

/// One confirmed change of a record.
#[derive(Clone, Copy, Debug)]
pub struct RowChange {
    /// Record.
    pub key: RecordKey,
    /// Its row.
    pub slot: Slot,
    /// Row of the record above; its own for the root record.
    pub parent_slot: Slot,
    /// Record above.
    pub parent: RecordKey,
    /// Collection within the parent.
    pub collection: CollectionTag,
    /// Schema of the content.
    pub schema: SchemaTag,
    /// Whether the record exists now.
    pub live: bool,
    /// Whether it was created with a name.
    pub named: bool,
    /// Whether it is a schema descriptor.
    pub defines: bool,
    /// Version now.
    pub version: Version,
    /// Scope that a name in this event is sealed under.
    pub name_scope: RecordKey,
    /// Number of the commit that erased the record last: names and contents from before it are gone.
    pub erased_before: Option<u64>,
}

/// A commit that is verified, durable and part of the confirmed state.
pub struct ConfirmedCommit<'a> {
    pub(crate) seq: u64,
    pub(crate) order_time_ms: u64,
    pub(crate) author: KeyId,
    pub(crate) salt: Salt,
    pub(crate) commitments: &'a [crate::head::KeyCommitment],
    pub(crate) events: &'a [Event],
    pub(crate) heads: &'a [u8],
    pub(crate) metas: &'a [u8],
    pub(crate) changes: &'a [RowChange],
}

/// A sealed name with what it takes to open it.
pub struct SealedName<'a> {
    /// Index into [`ConfirmedCommit::changes`].
    pub change: usize,
    /// Event index.
    pub event: u32,
    /// Epoch of the read key.
    pub epoch: Epoch,
    /// The event head up to its body hashes.
    pub prefix: &'a [u8],
    /// Sealed bytes.
    pub sealed: &'a [u8],
}

impl<'a> ConfirmedCommit<'a> {
    /// Leaf number.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The sequencer's time, never going back.
    pub fn order_time_ms(&self) -> u64 {
        self.order_time_ms
    }

    /// Signing key.
    pub fn author(&self) -> KeyId {
        self.author
    }

    /// Salt of the commit's seals.
    pub fn salt(&self) -> &Salt {
        &self.salt
    }

    /// The records changed, in event order.
    pub fn changes(&self) -> &'a [RowChange] {
        self.changes
    }

    /// Whether the commit changes keys: scopes, epochs or grants.
    pub fn changes_keys(&self) -> bool {
        use crate::event::Change::{Genesis, Grant, Rotate};
        self.events.iter().any(|event| {
            event.head.read.is_some()
                || matches!(event.head.change, Grant(_) | Rotate(_) | Genesis(_))
        })
    }

    /// The heads of the events.
    pub fn events(&self) -> impl Iterator<Item = &'a EventHead> {
        self.events.iter().map(|event| &event.head)
    }

    /// The sealed names in the commit.
    pub fn names(&self) -> impl Iterator<Item = SealedName<'a>> + '_ {
        let mut offset = 0usize;
        let mut change = 0usize;
        self.events
            .iter()
            .enumerate()
            .filter_map(move |(index, event)| {
                let target = event.head.target().is_some();
                let at = change;
                change += usize::from(target);
                let meta = event.head.meta?;
                let sealed = self.metas.get(offset..offset + meta.bytes as usize)?;
                offset += meta.bytes as usize;
                let scope = self.changes.get(at)?.name_scope;
                let epoch = self
                    .commitments
                    .iter()
                    .find(|commitment| commitment.scope == scope)?
                    .epoch;
                let prefix = self
                    .heads
                    .get(event.start as usize..(event.start + event.prefix) as usize)?;
                Some(SealedName {
                    change: at,
                    event: index as u32,
                    epoch,
                    prefix,
                    sealed,
                })
            })
    }
}

impl RowChange {
    pub(crate) fn of(state: &State, slot: Slot, name_scope: RecordKey) -> Self {
        let row = state.table.row(slot);
        Self {
            key: row.key,
            slot,
            parent_slot: row.parent,
            parent: state.parent_of(row),
            collection: *state.collections.value(row.collection),
            schema: *state.schemas.value(row.schema),
            live: row.is(flag::LIVE),
            named: row.is(flag::NAMED),
            defines: row.is(flag::DEFINES),
            version: Version {
                seq: row.seq.into(),
                event: row.event.into(),
            },
            name_scope,
            erased_before: state.gone.erased_before(row, slot),
        }
    }
}
