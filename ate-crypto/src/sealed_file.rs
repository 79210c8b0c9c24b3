//! Bytes at rest under a [`StoreKey`]: one header, then pages that open alone.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | magic `ATE-SEAL` |
//! | 1 | format (1) |
//! | 1 | suite |
//! | 32 | random salt |
//! | … | pages of 65,536 plaintext bytes, the last one shorter or empty, each with its 16-byte tag |
//!
//! Key = `HKDF-Expand(store key, T("ATE-sealed-file-v1") ‖ header ‖ SHA-256(context), 32)`, fresh for every file. Nonce = `page
//! u64 ‖ last u8 ‖ 0 ‖ 0 ‖ 0`. AD of a page = `T("ATE-sealed-page-v1") ‖ header ‖ SHA-256(context) ‖ page u64 ‖ last u8`. So a page
//! cannot be changed, moved, dropped, repeated or cut off, and a file does not open in another context.
//!
//! What it does not do: an older file in its place still opens. Callers put into `context` what must be current.

use zeroize::Zeroizing;

use crate::aead::{Aead, TAG_BYTES};
use crate::error::OpenError;
use crate::hash::{Hash, push_tag, sha256};
use crate::keys::StoreKey;
use crate::random::{self, Random};
use crate::suite::Suite;

const TAG_FILE: &str = "ATE-sealed-file-v1";
const TAG_PAGE: &str = "ATE-sealed-page-v1";
const MAGIC: &[u8; 8] = b"ATE-SEAL";
const FORMAT: u8 = 1;

/// Plaintext bytes of every page but the last.
pub const PAGE_BYTES: usize = 64 * 1024;
/// Bytes of a full page in the file.
pub const SEALED_PAGE_BYTES: usize = PAGE_BYTES + TAG_BYTES;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 8 + 1 + 1 + 32;

/// Seals `plaintext` for `context`. The result has [`sealed_bytes`] bytes.
#[must_use]
pub fn seal(key: &StoreKey, context: &[u8], random: &dyn Random, plaintext: &[u8]) -> Vec<u8> {
    let header = fresh_header(random);
    let file = Reader::derive(key, context, &header);
    let mut out = vec![0; sealed_bytes(plaintext.len())];
    let (head, mut rest) = out.split_at_mut(HEADER_BYTES);
    head.copy_from_slice(&header);
    let count = page_count(plaintext.len());
    for page in 0..count {
        let from = page * PAGE_BYTES;
        let plain = &plaintext[from..plaintext.len().min(from + PAGE_BYTES)];
        let (sealed, after) = rest.split_at_mut(plain.len() + TAG_BYTES);
        let (nonce, ad) = file.place(page as u64, page + 1 == count);
        file.key.seal_into(nonce, &ad, plain, sealed);
        rest = after;
    }
    out
}

/// Like [`seal`], but in the buffer that holds the plaintext: for large files, where the memory of a second buffer costs more
/// than the encryption. Reserve [`sealed_bytes`] when the buffer is made and nothing is moved to a larger one here.
pub fn seal_in_place(key: &StoreKey, context: &[u8], random: &dyn Random, bytes: &mut Vec<u8>) {
    let header = fresh_header(random);
    let file = Reader::derive(key, context, &header);
    let plain = bytes.len();
    let count = page_count(plain);
    bytes.resize(sealed_bytes(plain), 0);
    // Every page moves towards the end, so the last one goes first.
    for page in (0..count).rev() {
        let from = page * PAGE_BYTES;
        let length = (plain - from).min(PAGE_BYTES);
        let to = HEADER_BYTES + page * SEALED_PAGE_BYTES;
        bytes.copy_within(from..from + length, to);
        let (nonce, ad) = file.place(page as u64, page + 1 == count);
        let (body, tag) = bytes[to..to + length + TAG_BYTES].split_at_mut(length);
        tag.copy_from_slice(&file.key.seal_in_place(nonce, &ad, body));
    }
    bytes[..HEADER_BYTES].copy_from_slice(&header);
}

fn fresh_header(random: &dyn Random) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8] = FORMAT;
    header[9] = Suite::Hybrid1.id();
    header[10..].copy_from_slice(&random::array::<32>(random));
    header
}

/// Opens what [`seal`] made, whole or not at all. Allocates no more than the input has.
///
/// # Errors
/// One [`OpenError`] for every cause: not such a file, another key or context, changed, moved, missing or extra bytes.
pub fn open(key: &StoreKey, context: &[u8], bytes: &[u8]) -> Result<Vec<u8>, OpenError> {
    let (file, count) = Reader::of_file(key, context, bytes)?;
    let sealed = &bytes[HEADER_BYTES..];
    let mut out = vec![0; sealed.len() - count * TAG_BYTES];
    let mut rest = &mut out[..];
    for (page, sealed) in sealed.chunks(SEALED_PAGE_BYTES).enumerate() {
        let (plain, after) = rest.split_at_mut(sealed.len() - TAG_BYTES);
        let (nonce, ad) = file.place(page as u64, page + 1 == count);
        file.key.open_into(nonce, &ad, sealed, plain)?;
        rest = after;
    }
    Ok(out)
}

/// Like [`open`], but in the buffer that holds the file: for large files, where the memory of a second buffer costs more than
/// the decryption.
///
/// # Errors
/// As [`open`]; the buffer is empty then.
pub fn open_in_place(key: &StoreKey, context: &[u8], bytes: &mut Vec<u8>) -> Result<(), OpenError> {
    let opened = Reader::of_file(key, context, bytes).and_then(|(file, count)| {
        let (mut from, mut to) = (HEADER_BYTES, 0);
        for page in 0..count {
            let until = bytes.len().min(from + SEALED_PAGE_BYTES);
            let (nonce, ad) = file.place(page as u64, page + 1 == count);
            let plain = file
                .key
                .open_in_place(nonce, &ad, &mut bytes[from..until])?
                .len();
            bytes.copy_within(from..from + plain, to);
            (from, to) = (until, to + plain);
        }
        Ok(to)
    });
    bytes.truncate(*opened.as_ref().unwrap_or(&0));
    opened.map(|_| ())
}

/// Bytes of the sealed form of a plaintext.
#[must_use]
pub const fn sealed_bytes(plaintext: usize) -> usize {
    HEADER_BYTES + plaintext + page_count(plaintext) * TAG_BYTES
}

/// Pages of a plaintext: at least one, so that an empty file is authenticated too.
#[must_use]
pub const fn page_count(plaintext: usize) -> usize {
    if plaintext == 0 {
        1
    } else {
        plaintext.div_ceil(PAGE_BYTES)
    }
}

/// Opens single pages, for files that are read in pieces. Page `n` stands at `HEADER_BYTES + n · SEALED_PAGE_BYTES`.
///
/// A reader that skips pages does not learn whether they are intact; that the file is complete shows only when its last page
/// opens with `last = true`.
pub struct Reader {
    key: Aead,
    /// Associated data with an empty place at its end.
    ad: [u8; AD_BYTES],
}

/// `T(tag) ‖ header ‖ context hash ‖ page u64 ‖ last u8`.
const AD_BYTES: usize = 1 + TAG_PAGE.len() + HEADER_BYTES + Hash::BYTES + 8 + 1;

impl Reader {
    /// Reads a header and derives the file's key.
    ///
    /// # Errors
    /// [`OpenError`] if `header` does not have [`HEADER_BYTES`] bytes or is not one. A wrong key or context shows at the first
    /// page.
    pub fn new(key: &StoreKey, context: &[u8], header: &[u8]) -> Result<Self, OpenError> {
        let header: &[u8; HEADER_BYTES] = header.try_into().map_err(|_| OpenError)?;
        if &header[..8] != MAGIC || header[8] != FORMAT || Suite::try_from(header[9]).is_err() {
            return Err(OpenError);
        }
        Ok(Self::derive(key, context, header))
    }

    /// The reader of a whole file, and the number of its pages.
    fn of_file(key: &StoreKey, context: &[u8], bytes: &[u8]) -> Result<(Self, usize), OpenError> {
        let (header, sealed) = bytes.split_at_checked(HEADER_BYTES).ok_or(OpenError)?;
        let count = sealed.len().div_ceil(SEALED_PAGE_BYTES).max(1);
        // Every page before the last is full; the last one has at least its tag.
        if sealed.len() - (count - 1) * SEALED_PAGE_BYTES < TAG_BYTES {
            return Err(OpenError);
        }
        Ok((Self::new(key, context, header)?, count))
    }

    /// Opens page `page`, which is the `last` one or not.
    ///
    /// # Errors
    /// [`OpenError`] if it is not this page of this file.
    pub fn open_page(&self, page: u64, last: bool, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let plain = sealed
            .len()
            .checked_sub(TAG_BYTES)
            .filter(|plain| *plain <= PAGE_BYTES)
            .ok_or(OpenError)?;
        let mut out = vec![0; plain];
        let (nonce, ad) = self.place(page, last);
        self.key.open_into(nonce, &ad, sealed, &mut out)?;
        Ok(out)
    }

    fn derive(key: &StoreKey, context: &[u8], header: &[u8; HEADER_BYTES]) -> Self {
        let context = sha256(&[context]);
        let key = Zeroizing::new(key.prf().expand_tagged(TAG_FILE, &[header, &context.0]));
        let mut fixed = Vec::with_capacity(AD_BYTES);
        push_tag(&mut fixed, TAG_PAGE);
        fixed.extend_from_slice(header);
        fixed.extend_from_slice(&context.0);
        let mut ad = [0; AD_BYTES];
        ad[..fixed.len()].copy_from_slice(&fixed);
        Self {
            key: Aead::new(&key),
            ad,
        }
    }

    /// Nonce and associated data of a page.
    fn place(&self, page: u64, last: bool) -> ([u8; 12], [u8; AD_BYTES]) {
        let (mut nonce, mut ad) = ([0; 12], self.ad);
        nonce[..8].copy_from_slice(&page.to_le_bytes());
        nonce[8] = u8::from(last);
        ad[AD_BYTES - 9..].copy_from_slice(&nonce[..9]);
        (nonce, ad)
    }
}

#[cfg(test)]
mod tests;
