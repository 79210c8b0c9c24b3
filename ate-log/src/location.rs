//! Names of streams and places in the log.

use std::fmt;

/// The identity of one stream of frames: in ATE, a chain.
///
/// The log only compares and stores it. `Display` and `Debug` print 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub [u8; 32]);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamId({self})")
    }
}

/// The place of a byte: a segment file, counted from 1, and an offset in it.
///
/// Places are ordered as the log is: a later file is a later place. They are local to one log
/// and mean nothing on another node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Location {
    /// Number of the segment file, from 1.
    pub file: u32,
    /// Byte offset from the start of that file.
    pub offset: u32,
}

/// Where a next frame starts.
///
/// The cursor at the end of a file and the one at the first frame of the next file mean the
/// same to [`Log::scan`](crate::Log::scan).
pub type Cursor = Location;

impl Location {
    /// One number with the same order: the file in the upper 32 bits, the offset in the lower.
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        ((self.file as u64) << 32) | self.offset as u64
    }

    /// The inverse of [`to_u64`](Self::to_u64).
    #[must_use]
    pub const fn from_u64(value: u64) -> Self {
        Self {
            file: (value >> 32) as u32,
            offset: value as u32,
        }
    }

    /// The place `bytes` further on in the same file, `None` past the 32-bit end of a file.
    #[must_use]
    pub const fn advance(self, bytes: u32) -> Option<Self> {
        match self.offset.checked_add(bytes) {
            Some(offset) => Some(Self {
                file: self.file,
                offset,
            }),
            None => None,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file {} offset {}", self.file, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_survives_packing() {
        let places = [
            Location {
                file: 1,
                offset: u32::MAX,
            },
            Location { file: 2, offset: 0 },
            Location { file: 2, offset: 1 },
        ];
        for pair in places.windows(2) {
            assert!(pair[0] < pair[1] && pair[0].to_u64() < pair[1].to_u64());
        }
        for place in places {
            assert_eq!(Location::from_u64(place.to_u64()), place);
        }
    }

    #[test]
    fn a_place_past_the_end_of_a_file_does_not_exist() {
        assert_eq!(
            Location {
                file: 1,
                offset: u32::MAX
            }
            .advance(1),
            None
        );
        assert_eq!(
            Location { file: 1, offset: 1 }.advance(2),
            Some(Location { file: 1, offset: 3 })
        );
    }

    #[test]
    fn a_stream_prints_as_hex() {
        let mut id = [0; 32];
        id[0] = 0xa7;
        assert_eq!(StreamId(id).to_string(), format!("a7{}", "0".repeat(62)));
    }
}
