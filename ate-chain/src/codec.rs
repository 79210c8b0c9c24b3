//! Bytes in and out: the reader and writer under every format of this crate.
//!
//! Both are strict. A [`Reader`] never allocates by a length it was told, refuses varints that are not in their shortest form, and its owner calls
//! [`Reader::finish`] so that nothing is left over. What decodes therefore has exactly one encoding.

use crate::error::FormatError;

/// Consumes a byte slice from the front.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    whole: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            whole: bytes.len(),
        }
    }

    /// Bytes consumed so far.
    pub(crate) fn offset(&self) -> usize {
        self.whole - self.bytes.len()
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], FormatError> {
        let (head, rest) =
            self.bytes
                .split_at_checked(count)
                .ok_or_else(|| FormatError::Truncated {
                    offset: self.offset(),
                })?;
        self.bytes = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (head, rest) =
            self.bytes
                .split_first_chunk::<N>()
                .ok_or_else(|| FormatError::Truncated {
                    offset: self.offset(),
                })?;
        self.bytes = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, FormatError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Unsigned LEB128 in its shortest form, at most 64 bits.
    pub(crate) fn varint(&mut self) -> Result<u64, FormatError> {
        let start = self.offset();
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let low = u64::from(byte & 0x7f);
            if shift == 63 && low > 1 {
                return Err(FormatError::Varint { offset: start });
            }
            value |= low << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(FormatError::Varint { offset: start });
                }
                return Ok(value);
            }
        }
        Err(FormatError::Varint { offset: start })
    }

    /// A varint that must fit 32 bits.
    pub(crate) fn varint32(&mut self) -> Result<u32, FormatError> {
        let start = self.offset();
        u32::try_from(self.varint()?).map_err(|_| FormatError::Varint { offset: start })
    }

    /// `varint length ‖ bytes`, at most `bytes_max`.
    pub(crate) fn bytes(&mut self, bytes_max: usize) -> Result<&'a [u8], FormatError> {
        let start = self.offset();
        let length = self.varint()?;
        match usize::try_from(length) {
            Ok(length) if length <= bytes_max => self.take(length),
            _ => Err(FormatError::Limit {
                what: "length",
                got: length,
                max: bytes_max as u64,
                offset: start,
            }),
        }
    }

    /// Ends the decoding: bytes left over are an error.
    pub(crate) fn finish(self) -> Result<(), FormatError> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(FormatError::Trailing {
                offset: self.offset(),
            })
        }
    }

    /// Bytes that are left.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Appends unsigned LEB128 in its shortest form.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends `varint length ‖ bytes`.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_round_trip_and_have_one_form() {
        for value in [
            0,
            1,
            127,
            128,
            300,
            16_383,
            16_384,
            u64::from(u32::MAX),
            u64::MAX - 1,
            u64::MAX,
        ] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            let mut reader = Reader::new(&out);
            assert_eq!(reader.varint().unwrap(), value);
            reader.finish().unwrap();
        }
        for bad in [
            &[0x80, 0x00][..],
            &[0xff, 0x00],
            &[0x80],
            &[0xff; 10],
            &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02],
        ] {
            assert!(Reader::new(bad).varint().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn lengths_are_not_trusted() {
        let mut out = Vec::new();
        put_varint(&mut out, u64::MAX);
        assert!(matches!(
            Reader::new(&out).bytes(10),
            Err(FormatError::Limit { .. })
        ));
        assert!(matches!(
            Reader::new(&[5, 1, 2]).bytes(10),
            Err(FormatError::Truncated { .. })
        ));
        assert!(Reader::new(&[1]).finish().is_err());
    }
}
