//! Segment files: their names and their header. `docs/format.md`, section 6.1.

use crate::{
    error::{Damage, OpenError},
    location::Location,
};

/// The newest format version of segment files that this build reads, and the one it writes.
pub const FORMAT_VERSION: u32 = 2;
/// Size of the header of a segment file; the first frame follows at this offset.
pub const SEGMENT_HEADER_BYTES: u32 = 64;

const MAGIC: [u8; 8] = *b"ATE-LOG\0";
const VERSION: usize = 8;
const FILE: usize = 12;
const LOG_ID: usize = 16;
const FIRST: usize = 32;
const PREVIOUS_FILE: usize = 36;
const PREVIOUS_END: usize = 40;
const LARGE_FILE: usize = 44;
const LARGE_END: usize = 48;
const RESERVED: usize = 52;
const CRC: usize = 60;

const _: () = assert!(LOG_ID + 16 == FIRST && CRC + 4 == SEGMENT_HEADER_BYTES as usize);

/// What a segment file says about itself and about the log before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentHeader {
    pub(crate) file: u32,
    pub(crate) log_id: [u8; 16],
    /// The lowest file number that belonged to the log when this file was made.
    pub(crate) first: u32,
    /// Everything before this place was durable when this file was made, and the file it
    /// names ends there. Zero in the first file of a log.
    pub(crate) previous: Location,
    /// Where the large bodies end that frames before this file name; zero if there are none.
    pub(crate) large_end: Location,
}

impl SegmentHeader {
    /// Where the log id stands.
    pub(crate) const LOG_ID: usize = LOG_ID;

    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES as usize] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
        bytes[..VERSION].copy_from_slice(&MAGIC);
        bytes[VERSION..FILE].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[FILE..LOG_ID].copy_from_slice(&self.file.to_le_bytes());
        bytes[LOG_ID..FIRST].copy_from_slice(&self.log_id);
        bytes[FIRST..PREVIOUS_FILE].copy_from_slice(&self.first.to_le_bytes());
        bytes[PREVIOUS_FILE..PREVIOUS_END].copy_from_slice(&self.previous.file.to_le_bytes());
        bytes[PREVIOUS_END..LARGE_FILE].copy_from_slice(&self.previous.offset.to_le_bytes());
        bytes[LARGE_FILE..LARGE_END].copy_from_slice(&self.large_end.file.to_le_bytes());
        bytes[LARGE_END..RESERVED].copy_from_slice(&self.large_end.offset.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..CRC]);
        bytes[CRC..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header of segment `file`.
    ///
    /// # Errors
    /// [`OpenError::NewerFormat`] and [`OpenError::OlderFormat`] only if the checksum is right, so
    /// that a flipped bit is not mistaken for another format: every version keeps magic, version
    /// and checksum in place.
    pub(crate) fn decode(file: u32, bytes: &[u8]) -> Result<Self, OpenError> {
        let corrupt = || OpenError::Corrupt {
            at: Location { file, offset: 0 },
            damage: Damage::SegmentHeader,
        };
        let bytes: &[u8; SEGMENT_HEADER_BYTES as usize] =
            bytes.first_chunk().ok_or_else(corrupt)?;
        let number = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        if bytes[..VERSION] != MAGIC || crc32c::crc32c(&bytes[..CRC]) != number(CRC) {
            return Err(corrupt());
        }
        let version = number(VERSION);
        if version > FORMAT_VERSION {
            return Err(OpenError::NewerFormat {
                name: segment_name(file),
                found: version,
                supported: FORMAT_VERSION,
            });
        }
        if (1..FORMAT_VERSION).contains(&version) {
            return Err(OpenError::OlderFormat {
                name: segment_name(file),
                found: version,
                supported: FORMAT_VERSION,
            });
        }
        let mut log_id = [0; 16];
        log_id.copy_from_slice(&bytes[LOG_ID..FIRST]);
        let header = Self {
            file: number(FILE),
            log_id,
            first: number(FIRST),
            previous: Location {
                file: number(PREVIOUS_FILE),
                offset: number(PREVIOUS_END),
            },
            large_end: Location {
                file: number(LARGE_FILE),
                offset: number(LARGE_END),
            },
        };
        let plausible = version == FORMAT_VERSION
            && header.file == file
            && (1..=file).contains(&header.first)
            && header.previous.file < file
            && bytes[RESERVED..CRC].iter().all(|byte| *byte == 0);
        plausible.then_some(header).ok_or_else(corrupt)
    }
}

pub(crate) fn segment_name(number: u32) -> String {
    format!("log-{number:08}.seg")
}

/// A segment file under construction; a leftover of it means nothing.
pub(crate) fn segment_name_new(number: u32) -> String {
    format!("log-{number:08}.new")
}

/// The number in a segment file's name, `None` for any other file.
pub(crate) fn segment_number(name: &str) -> Option<u32> {
    let number: u32 = name
        .strip_prefix("log-")?
        .strip_suffix(".seg")?
        .parse()
        .ok()?;
    (number > 0 && segment_name(number) == name).then_some(number)
}

/// A file of large bodies.
pub(crate) fn large_name(number: u32) -> String {
    format!("large-{number:08}.seg")
}

/// The number in a large file's name, `None` for any other file.
pub(crate) fn large_number(name: &str) -> Option<u32> {
    let number: u32 = name
        .strip_prefix("large-")?
        .strip_suffix(".seg")?
        .parse()
        .ok()?;
    (number > 0 && large_name(number) == name).then_some(number)
}

const SNAPSHOT: &str = "snapshot-";
const NEW: &str = ".new";

pub(crate) fn snapshot_file(name: &str) -> String {
    format!("{SNAPSHOT}{name}")
}

pub(crate) fn snapshot_file_new(name: &str) -> String {
    format!("{SNAPSHOT}{name}{NEW}")
}

/// The snapshot's name in a file name, `None` for any other file.
pub(crate) fn snapshot_name(file: &str) -> Option<&str> {
    file.strip_prefix(SNAPSHOT)
        .filter(|name| is_snapshot_name(name))
}

pub(crate) fn is_snapshot_name(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Whether a file is one that this crate was making when it was interrupted.
pub(crate) fn is_leftover(file: &str) -> bool {
    let Some(stem) = file.strip_suffix(NEW) else {
        return false;
    };
    snapshot_name(stem).is_some() || segment_number(&format!("{stem}.seg")).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: SegmentHeader = SegmentHeader {
        file: 5,
        log_id: [3; 16],
        first: 1,
        previous: Location {
            file: 4,
            offset: 900,
        },
        large_end: Location {
            file: 2,
            offset: 70_000,
        },
    };

    #[test]
    fn a_header_comes_back_and_every_flipped_bit_is_found() {
        let bytes = HEADER.encode();
        assert_eq!(SegmentHeader::decode(5, &bytes).unwrap(), HEADER);
        assert!(
            matches!(
                SegmentHeader::decode(6, &bytes),
                Err(OpenError::Corrupt { .. })
            ),
            "another file"
        );
        assert!(
            matches!(
                SegmentHeader::decode(5, &bytes[..63]),
                Err(OpenError::Corrupt { .. })
            ),
            "short"
        );
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(
                matches!(
                    SegmentHeader::decode(5, &flipped),
                    Err(OpenError::Corrupt { .. })
                ),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn another_version_is_named() {
        let mut bytes = HEADER.encode();
        bytes[VERSION] = FORMAT_VERSION as u8 + 1;
        let crc = crc32c::crc32c(&bytes[..CRC]);
        bytes[CRC..].copy_from_slice(&crc.to_le_bytes());
        assert!(matches!(
            SegmentHeader::decode(5, &bytes),
            Err(OpenError::NewerFormat {
                supported: FORMAT_VERSION,
                ..
            })
        ));
        bytes[VERSION] = 1;
        let crc = crc32c::crc32c(&bytes[..CRC]);
        bytes[CRC..].copy_from_slice(&crc.to_le_bytes());
        assert!(matches!(
            SegmentHeader::decode(5, &bytes),
            Err(OpenError::OlderFormat { found: 1, .. })
        ));
    }

    #[test]
    fn names_are_told_apart() {
        assert_eq!(segment_number(&segment_name(7)), Some(7));
        assert_eq!(
            segment_number(&segment_name(123_456_789)),
            Some(123_456_789)
        );
        for other in [
            "log-7.seg",
            "log-00000000.seg",
            "log-00000007.new",
            "log-+0000007.seg",
            "lock",
        ] {
            assert_eq!(segment_number(other), None, "{other}");
        }
        assert!(is_leftover(&segment_name_new(7)) && is_leftover(&snapshot_file_new("a-1")));
        assert!(
            !is_leftover("notes.new")
                && !is_leftover(&snapshot_file("a"))
                && !is_leftover(&segment_name(1))
        );
        assert_eq!(snapshot_name(&snapshot_file("a-1")), Some("a-1"));
        assert_eq!(snapshot_name(&snapshot_file_new("a-1")), None);
        assert!(!is_snapshot_name("") && !is_snapshot_name("A") && !is_snapshot_name("../x"));
        assert!(is_snapshot_name(&"x".repeat(100)) && !is_snapshot_name(&"x".repeat(101)));
    }
}
