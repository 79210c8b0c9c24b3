//! Bytes in and out, strict as those of the chain: nothing is allocated by a length that was told, varints have one form, nothing may be left over.

use super::error::FrameError;

/// Consumes a byte slice from the front.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    whole: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            whole: bytes.len(),
        }
    }

    /// Bytes consumed so far.
    pub(super) fn offset(&self) -> usize {
        self.whole - self.bytes.len()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], FrameError> {
        let (head, rest) = self
            .bytes
            .split_at_checked(count)
            .ok_or(FrameError::Malformed {
                what: "it is cut short",
            })?;
        self.bytes = rest;
        Ok(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("as many bytes as were asked for"))
    }

    pub(super) fn u8(&mut self) -> Result<u8, FrameError> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u32(&mut self) -> Result<u32, FrameError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, FrameError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// `length u8 ‖ bytes`.
    pub(super) fn short(&mut self) -> Result<&'a [u8], FrameError> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.bytes
    }

    /// Ends the decoding: bytes left over are an error.
    pub(super) fn finish(self) -> Result<(), FrameError> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(FrameError::Malformed {
                what: "it is too long",
            })
        }
    }
}
