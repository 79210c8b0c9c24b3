//! What a power cut may leave of one file and of the names.

use std::collections::BTreeMap;

const SECTOR: u64 = 512;

/// What a power cut leaves of writes, lengths and names that were not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Loss {
    /// Nothing of them.
    Everything,
    /// All of them.
    Nothing,
    /// Names are lost, writes stay.
    Names,
    /// Writes are lost, names stay.
    Writes,
    /// Lengths stay, and every even sector.
    OddSectors,
    /// Lengths stay, and every odd sector.
    EvenSectors,
    /// Lengths stay, and the last sector that was written.
    AllButLastSector,
    /// Lengths stay, and all sectors but the last that was written.
    LastSector,
    /// Lengths stay as they became, all bytes are lost.
    Bytes,
    /// Bytes stay as far as the old lengths reach.
    Lengths,
    /// Each sector and length for itself is as it was after some of the calls. Names are as they
    /// were after some of the calls if the seed is even, and each change for itself if it is odd.
    Random {
        /// Which of the many.
        seed: u64,
    },
}

impl Loss {
    /// Every fixed variant and `seeds` random ones.
    pub fn all(seeds: u64) -> impl Iterator<Item = Self> {
        [
            Self::Everything,
            Self::Nothing,
            Self::Names,
            Self::Writes,
            Self::OddSectors,
            Self::EvenSectors,
            Self::AllButLastSector,
            Self::LastSector,
            Self::Bytes,
            Self::Lengths,
        ]
        .into_iter()
        .chain((0..seeds).map(|seed| Self::Random { seed }))
    }

    /// Which names there are.
    pub(super) fn names_after(
        self,
        durable: &BTreeMap<String, usize>,
        pending: &[NameChange],
        random: &mut Random,
    ) -> BTreeMap<String, usize> {
        let mut names = durable.clone();
        let in_order = match self {
            Self::Everything | Self::Names => 0,
            Self::Random { .. } => random.below(pending.len() as u64 + 1) as usize,
            _ => pending.len(),
        };
        let is_scattered = matches!(self, Self::Random { seed } if seed % 2 == 1);
        for (index, change) in pending.iter().enumerate() {
            let is_kept = if is_scattered {
                random.below(2) == 0
            } else {
                index < in_order
            };
            if is_kept {
                change.apply(&mut names);
            }
        }
        names
    }
}

#[derive(Debug, Default)]
pub(super) struct Inode {
    pub(super) live: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) pending: Vec<Change>,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    Length(u64),
    Zero { offset: u64, length: u64 },
}

#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Link(String, usize),
    Rename(String, String),
    Remove(String),
}

impl NameChange {
    pub(super) fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Link(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl Change {
    /// The bytes that it touches in a file of `length` bytes.
    pub(super) fn range(&self) -> (u64, u64) {
        match self {
            Self::Write { offset, bytes } => (*offset, offset + bytes.len() as u64),
            Self::Zero { offset, length } => (*offset, offset + length),
            Self::Length(length) => (*length, u64::MAX),
        }
    }

    pub(super) fn length_after(&self, length: u64) -> u64 {
        match self {
            Self::Write { .. } => length.max(self.range().1),
            Self::Zero { .. } => length,
            Self::Length(length) => *length,
        }
    }

    /// Applies what it does between `from` and `to`, which lie in `file`.
    pub(super) fn apply_between(&self, file: &mut [u8], from: u64, to: u64) {
        let (start, end) = self.range();
        let (start, end) = (start.max(from), end.min(to));
        if start >= end {
            return;
        }
        let target = &mut file[start as usize..end as usize];
        match self {
            Self::Write { offset, bytes } => {
                target.copy_from_slice(&bytes[(start - offset) as usize..(end - offset) as usize]);
            }
            Self::Zero { .. } | Self::Length(_) => target.fill(0),
        }
    }
}

impl Inode {
    pub(super) fn change(&mut self, change: Change) {
        self.live
            .resize(change.length_after(self.live.len() as u64) as usize, 0);
        let length = self.live.len() as u64;
        change.apply_between(&mut self.live, 0, length);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self) {
        self.durable.resize(self.live.len(), 0);
        let length = self.durable.len() as u64;
        for change in self.pending.drain(..) {
            change.apply_between(&mut self.durable, 0, length);
        }
    }

    /// What was pending reads on and counts as written, and is not.
    pub(super) fn forget(&mut self) {
        self.pending.clear();
    }

    /// Length after the first `count` unsynced changes.
    pub(super) fn length_at(&self, count: usize) -> u64 {
        self.pending[..count]
            .iter()
            .fold(self.durable.len() as u64, |length, change| {
                change.length_after(length)
            })
    }

    pub(super) fn after(&self, loss: Loss, random: &mut Random) -> Vec<u8> {
        let count = self.pending.len();
        let length = self.length_at(match loss {
            Loss::Everything | Loss::Writes | Loss::Lengths => 0,
            Loss::Random { .. } => random.below(count as u64 + 1) as usize,
            _ => count,
        });
        let room = (0..=count)
            .map(|count| self.length_at(count))
            .max()
            .unwrap_or(0)
            .next_multiple_of(SECTOR);
        let mut bytes = self.durable.clone();
        bytes.resize(room as usize, 0);
        let written = |change: &&Change| matches!(change, Change::Write { .. });
        let last = self
            .pending
            .iter()
            .filter(written)
            .map(|change| (change.range().1 - 1) / SECTOR)
            .max();
        for sector in 0..room / SECTOR {
            let (from, to) = (sector * SECTOR, (sector + 1) * SECTOR);
            let kept = match loss {
                Loss::Everything | Loss::Writes | Loss::Bytes => 0,
                Loss::Nothing | Loss::Names | Loss::Lengths => count,
                Loss::OddSectors => count * (1 - sector as usize % 2),
                Loss::EvenSectors => count * (sector as usize % 2),
                Loss::AllButLastSector => {
                    if last == Some(sector) {
                        count
                    } else {
                        0
                    }
                }
                Loss::LastSector => {
                    if last == Some(sector) {
                        0
                    } else {
                        count
                    }
                }
                // All or nothing half of the time, anything between in the other half.
                Loss::Random { .. } => match random.below(4) {
                    0 => 0,
                    1 => count,
                    _ => random.below(count as u64 + 1) as usize,
                },
            };
            for change in &self.pending[..kept] {
                change.apply_between(&mut bytes, from, to);
            }
        }
        bytes.truncate(length as usize);
        bytes
    }
}

/// SplitMix64: small, seeded, the same everywhere.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
