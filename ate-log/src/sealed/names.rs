//! Names of sealed files, and which pair they belong to.

use super::{GROUPS_MAX, manifest::MANIFEST_NAME};
use crate::location::{Location, StreamId};

const SEALED: &str = ".seg";
const NEW: &str = ".new";

/// One version of one pair of files.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct PairId {
    /// The log that it belongs to.
    pub(crate) log_id: [u8; 16],
    /// The segment that was sealed.
    pub(crate) file: u32,
    /// Which group of its streams, from 0.
    pub(crate) group: u16,
    /// How many groups there are.
    pub(crate) groups: u16,
    /// How often the pair was written, from 1.
    pub(crate) version: u32,
}

impl PairId {
    pub(crate) fn heads_name(&self) -> String {
        heads_name(self.file, self.group, self.version)
    }

    pub(crate) fn bodies_name(&self) -> String {
        bodies_name(self.file, self.group, self.version)
    }

    /// Where to say that the pair as a whole is damaged.
    pub(super) const fn location(&self) -> Location {
        Location {
            file: self.file,
            offset: 0,
        }
    }
}

/// The group of a stream, `groups` being 1 to [`GROUPS_MAX`].
pub(crate) fn group_of(stream: &StreamId, groups: u16) -> u16 {
    assert!((1..=GROUPS_MAX).contains(&groups), "groups {groups}");
    u16::from(stream.0[0]) % groups
}

/// Which of the two files of a pair.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum PairFile {
    Heads,
    Bodies,
}

/// The name of a heads file.
pub(crate) fn heads_name(file: u32, group: u16, version: u32) -> String {
    format!("heads-{file:08}-{group:02}-{version:04}{SEALED}")
}

/// The name of a bodies file.
pub(crate) fn bodies_name(file: u32, group: u16, version: u32) -> String {
    format!("bodies-{file:08}-{group:02}-{version:04}{SEALED}")
}

/// What a name of a sealed file says: which, segment, group, version. `None` for other files.
pub(crate) fn sealed_file(name: &str) -> Option<(PairFile, u32, u16, u32)> {
    let (kind, rest) = if let Some(rest) = name.strip_prefix("heads-") {
        (PairFile::Heads, rest)
    } else {
        (PairFile::Bodies, name.strip_prefix("bodies-")?)
    };
    let mut numbers = rest.strip_suffix(SEALED)?.split('-');
    let file: u32 = numbers.next()?.parse().ok()?;
    let group: u16 = numbers.next()?.parse().ok()?;
    let version: u32 = numbers.next()?.parse().ok()?;
    // Another spelling of the same numbers is somebody else's file.
    let expected = match kind {
        PairFile::Heads => heads_name(file, group, version),
        PairFile::Bodies => bodies_name(file, group, version),
    };
    (file > 0 && version > 0 && expected == name).then_some((kind, file, group, version))
}

/// What a sealed file or the manifest is called while it is written.
pub(crate) fn new_name(name: &str) -> String {
    format!("{}{NEW}", name.strip_suffix(SEALED).unwrap_or(name))
}

/// Whether a file is a sealed file or a manifest that was being written when that ended.
pub(crate) fn is_sealed_leftover(name: &str) -> bool {
    name.strip_suffix(NEW).is_some_and(|stem| {
        stem == MANIFEST_NAME || sealed_file(&format!("{stem}{SEALED}")).is_some()
    })
}
