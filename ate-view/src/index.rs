//! What a view keeps of every record besides its row: children by parent and collection, and names.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use ate_chain::{CollectionTag, RowChange, Slot};

/// Collection of records that are put by name below the root record.
pub(crate) const NAMED: &str = "";
/// Collection of schema descriptors, below the head of their scope.
pub(crate) const SCHEMAS: &str = "ate.schema";

/// Indexes over rows. Slots of tombstones stay: whoever looks asks the chain whether a record lives.
#[derive(Default)]
pub(crate) struct Index {
    /// In order of creation.
    children: HashMap<(Slot, CollectionTag), Vec<Slot>>,
    /// The list that grew last; it is not in `children`.
    last: ((Slot, CollectionTag), Vec<Slot>),
    /// Names below one parent in one collection, ordered.
    names: HashMap<(Slot, Box<str>), BTreeMap<Arc<str>, Slot>>,
    /// Names of records below the root record in the collection [`NAMED`].
    by_slot: HashMap<Slot, Arc<str>>,
    /// Erased records, with the commit that erased them last: names from before it are gone.
    erased: HashMap<Slot, u64>,
    /// Rows indexed so far: slots are given in order.
    rows: Slot,
    /// Names that could not be opened.
    pub(crate) closed: usize,
}

impl Index {
    /// Takes in a row. Rows that are known are passed over, and so are those before which others are missing: they come again in order. `true` if the
    /// row was taken: nobody can have seen it before.
    pub(crate) fn row(&mut self, change: &RowChange) -> bool {
        if change.slot != self.rows {
            return false;
        }
        self.rows = change.slot + 1;
        if change.slot != change.parent_slot {
            let group = (change.parent_slot, change.collection);
            if self.last.0 != group {
                // Siblings come in runs: the list at hand stays out of the map meanwhile.
                let next = self.children.remove(&group).unwrap_or_default();
                let (done, slots) = std::mem::replace(&mut self.last, (group, next));
                if !slots.is_empty() {
                    self.children.insert(done, slots);
                }
            }
            self.last.1.push(change.slot);
        }
        true
    }

    /// Forgets the name of a record that was erased, and any from before that somebody still brings.
    pub(crate) fn erase(&mut self, change: &RowChange) {
        let slot = change.slot;
        let Some(before) = change.erased_before else {
            return;
        };
        let known = self.erased.entry(slot).or_default();
        if *known == before {
            // The record came back since.
            return;
        }
        *known = before;
        if let Some(name) = self.by_slot.remove(&slot)
            && let Some(names) = self.names.get_mut(&(0, NAMED.into()))
        {
            names.remove(&name);
        }
        // Collections below the parent other than the one above are no work of this crate, and few.
        for ((parent, collection), names) in &mut self.names {
            if *parent == change.parent_slot && !(*parent == 0 && **collection == *NAMED) {
                names.retain(|_, named| *named != slot);
            }
        }
    }

    /// Takes in a name that commit `seq` brought.
    pub(crate) fn name(
        &mut self,
        parent: Slot,
        collection: &str,
        name: &str,
        slot: Slot,
        seq: u64,
    ) {
        if self.erased.get(&slot).is_some_and(|before| seq < *before) {
            return;
        }
        let name: Arc<str> = name.into();
        if collection == SCHEMAS {
            // Descriptors are found by their tags.
            return;
        }
        if parent == 0 && collection == NAMED {
            self.by_slot.insert(slot, name.clone());
        }
        self.names
            .entry((parent, collection.into()))
            .or_default()
            .insert(name, slot);
    }

    pub(crate) fn children(&self, parent: Slot, collection: CollectionTag) -> &[Slot] {
        if self.last.0 == (parent, collection) {
            return &self.last.1;
        }
        self.children
            .get(&(parent, collection))
            .map_or(&[], Vec::as_slice)
    }

    pub(crate) fn find(&self, parent: Slot, collection: &str, name: &str) -> Option<Slot> {
        // The key borrows nothing, so a look-up costs one small allocation unless the collection is the empty one.
        self.names
            .get(&(parent, collection.into()))
            .and_then(|names| names.get(name))
            .copied()
    }

    /// Names that begin with `prefix`, ascending by their bytes.
    pub(crate) fn prefix(
        &self,
        parent: Slot,
        collection: &str,
        prefix: &str,
    ) -> Vec<(Arc<str>, Slot)> {
        let Some(names) = self.names.get(&(parent, collection.into())) else {
            return Vec::new();
        };
        let from = (Bound::Included(prefix), Bound::Unbounded);
        names
            .range::<str, _>(from)
            .take_while(|(name, _)| name.starts_with(prefix))
            .map(|(name, slot)| (name.clone(), *slot))
            .collect()
    }

    /// The name of a record below the root record.
    pub(crate) fn name_of(&self, slot: Slot) -> Option<&Arc<str>> {
        self.by_slot.get(&slot)
    }

    /// Bytes held, allocations included; names are counted at a usual length.
    pub(crate) fn memory_bytes(&self) -> usize {
        const NAME_BYTES: usize = 100;
        self.rows as usize * size_of::<Slot>()
            + self.children.capacity() * size_of::<((Slot, CollectionTag), Vec<Slot>)>()
            + self.by_slot.len() * NAME_BYTES
    }

    /// Takes the names of `other`; `false`, and nothing is taken, if they name rows that do not exist.
    pub(crate) fn take_names(&mut self, other: Self) -> bool {
        let fits = |slot: &Slot| *slot < self.rows;
        if !other.names.values().all(|names| names.values().all(fits)) {
            return false;
        }
        (self.names, self.by_slot, self.closed) = (other.names, other.by_slot, other.closed);
        true
    }

    /// Bytes for a sealed file: the names. Children follow from the rows.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![1];
        out.extend_from_slice(&(self.closed as u64).to_le_bytes());
        out.extend_from_slice(&(self.names.len() as u64).to_le_bytes());
        let text = |text: &str, out: &mut Vec<u8>| {
            out.extend_from_slice(&(text.len() as u32).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        };
        // In the order of their keys, so that one state has one snapshot.
        let mut groups: Vec<_> = self.names.iter().collect();
        groups.sort_unstable_by_key(|(group, _)| *group);
        for ((parent, collection), names) in groups {
            out.extend_from_slice(&parent.to_le_bytes());
            text(collection, &mut out);
            out.extend_from_slice(&(names.len() as u64).to_le_bytes());
            for (name, slot) in names {
                out.extend_from_slice(&slot.to_le_bytes());
                text(name, &mut out);
            }
        }
        out
    }

    /// Takes in what [`Index::encode`] gave; `None` if the bytes are of no shape that could have been written.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
            let (head, rest) = bytes.split_at_checked(count)?;
            *bytes = rest;
            Some(head)
        }
        fn number<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
            take(bytes, N)?.try_into().ok()
        }
        fn text<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
            let length = u32::from_le_bytes(number(bytes)?) as usize;
            std::str::from_utf8(take(bytes, length)?).ok()
        }
        if take(&mut bytes, 1)? != [1] {
            return None;
        }
        let mut index = Self {
            closed: usize::try_from(u64::from_le_bytes(number(&mut bytes)?)).ok()?,
            ..Self::default()
        };
        for _ in 0..u64::from_le_bytes(number(&mut bytes)?) {
            let parent = Slot::from_le_bytes(number(&mut bytes)?);
            let collection = text(&mut bytes)?;
            let mut names = Vec::new();
            for _ in 0..u64::from_le_bytes(number(&mut bytes)?) {
                let slot = Slot::from_le_bytes(number(&mut bytes)?);
                let name: Arc<str> = text(&mut bytes)?.into();
                if parent == 0 && collection == NAMED {
                    index.by_slot.insert(slot, name.clone());
                }
                names.push((name, slot));
            }
            index
                .names
                .insert((parent, collection.into()), names.into_iter().collect());
        }
        bytes.is_empty().then_some(index)
    }
}
