//! A server says, signed, that it serves: for whom to seal requests, and for how long.

use std::fmt;

use ate_chain::ChainId;
use ate_crypto::{
    CALL_PUBLIC_BYTES, CallPublic, Hash, Identity, KeyId, Purpose, SIGNATURE_BYTES, Signature,
    Suite, WHO_BYTES, Who, tagged,
};

use super::codec::Reader;
use super::error::FrameError;
use super::limits::{ANNOUNCEMENT_MS_MAX, SKEW_MS_MAX, VERSION, is_service_name};

const TAG: &str = "ATE-call-announcement-v1";

/// The name of an announcement, drawn by the server that makes it: under it a node knows where to forward a session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnnouncementId(pub [u8; 16]);

impl fmt::Debug for AnnouncementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("announcement-")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Who serves what, until when, and the key to which callers encapsulate.
///
/// A value of this type was signed by [`who`](Self::who), for this chain and service. Whether that key may serve is what
/// [`Announcement::verify`] asks its caller.
#[derive(Clone, Debug)]
pub struct Announcement {
    pub(super) chain: ChainId,
    pub(super) service: String,
    pub(super) id: AnnouncementId,
    pub(super) not_before_ms: u64,
    pub(super) not_after_ms: u64,
    pub(super) key: CallPublic,
    pub(super) who: Who,
    pub(super) digest: Hash,
}

/// Where an announcement is filed, as it says itself: nothing of it is verified.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Route {
    /// The chain.
    pub chain: ChainId,
    /// The service.
    pub service: String,
    /// The name of the announcement.
    pub id: AnnouncementId,
    /// Who is said to have signed it.
    pub who: KeyId,
}

/// Bytes of the largest announcement.
pub const ANNOUNCEMENT_BYTES_MAX: usize =
    1 + 1 + 32 + 1 + 255 + 16 + 8 + 8 + CALL_PUBLIC_BYTES + WHO_BYTES + SIGNATURE_BYTES;

impl Announcement {
    /// Signs an announcement.
    pub(super) fn sign(
        identity: &Identity,
        chain: ChainId,
        service: &str,
        id: AnnouncementId,
        (not_before_ms, not_after_ms): (u64, u64),
        key: &CallPublic,
    ) -> (Self, Vec<u8>) {
        let mut content = Vec::with_capacity(ANNOUNCEMENT_BYTES_MAX);
        content.extend_from_slice(&[VERSION, Suite::Hybrid1.id()]);
        content.extend_from_slice(&chain.0.0);
        content.push(u8::try_from(service.len()).expect("a checked name is short"));
        content.extend_from_slice(service.as_bytes());
        content.extend_from_slice(&id.0);
        content.extend_from_slice(&not_before_ms.to_le_bytes());
        content.extend_from_slice(&not_after_ms.to_le_bytes());
        content.extend_from_slice(key.as_bytes());
        content.extend_from_slice(identity.who().as_bytes());
        let announcement = Self {
            chain,
            service: service.to_owned(),
            id,
            not_before_ms,
            not_after_ms,
            key: key.clone(),
            who: identity.who().clone(),
            digest: tagged(TAG, &[&content]),
        };
        let signature = identity.sign(Purpose::Call, &signed(&content));
        content.extend_from_slice(signature.as_bytes());
        (announcement, content)
    }

    /// Reads an announcement and checks that it is one of this chain and service, that it holds now, that `may_serve` knows its key, and, last since it
    /// costs most (about 80 µs), the signature.
    ///
    /// # Errors
    /// [`FrameError`]: the bytes announce nothing that may be believed.
    pub fn verify(
        bytes: &[u8],
        chain: ChainId,
        service: &str,
        now_ms: u64,
        may_serve: &dyn Fn(&KeyId) -> bool,
    ) -> Result<Self, FrameError> {
        let (announcement, signature) = Self::decode(bytes)?;
        if announcement.chain != chain {
            return Err(FrameError::Elsewhere { what: "chain" });
        }
        if announcement.service != service {
            return Err(FrameError::Elsewhere { what: "service" });
        }
        if !announcement.holds_at(now_ms) {
            return Err(FrameError::Expired);
        }
        if !may_serve(&announcement.who.id()) {
            return Err(FrameError::UnknownKey);
        }
        let content = &bytes[..bytes.len() - SIGNATURE_BYTES];
        announcement
            .who
            .verify(Purpose::Call, &signed(content), &signature)
            .map_err(|_| FrameError::Signature)?;
        Ok(announcement)
    }

    /// Where a node files an announcement. **Not verified**: for nodes, which forward and decide nothing.
    ///
    /// # Errors
    /// [`FrameError`]: no server makes such bytes.
    pub fn route(bytes: &[u8]) -> Result<Route, FrameError> {
        let (read, _) = Self::decode(bytes)?;
        Ok(Route {
            chain: read.chain,
            id: read.id,
            who: read.who.id(),
            service: read.service,
        })
    }

    fn decode(bytes: &[u8]) -> Result<(Self, Signature), FrameError> {
        let malformed = |what| FrameError::Malformed { what };
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return Err(malformed("unknown version"));
        }
        Suite::try_from(reader.u8()?).map_err(|_| malformed("unknown suite"))?;
        let chain = ChainId(Hash(reader.array()?));
        let service = read_service(&mut reader)?;
        let id = AnnouncementId(reader.array()?);
        let (not_before_ms, not_after_ms) = (reader.u64()?, reader.u64()?);
        if not_after_ms.saturating_sub(not_before_ms) > ANNOUNCEMENT_MS_MAX {
            return Err(FrameError::Limit {
                what: "time of an announcement",
            });
        }
        let key = CallPublic::from_bytes(reader.take(CALL_PUBLIC_BYTES)?)
            .map_err(|_| malformed("bad key"))?;
        let who = Who::from_bytes(reader.take(WHO_BYTES)?).map_err(|_| malformed("bad key"))?;
        let content = &bytes[..reader.offset()];
        let signature = Signature::from_slice(reader.take(SIGNATURE_BYTES)?)
            .map_err(|_| FrameError::Signature)?;
        reader.finish()?;
        let announcement = Self {
            chain,
            service: service.to_owned(),
            id,
            not_before_ms,
            not_after_ms,
            key,
            who,
            digest: tagged(TAG, &[content]),
        };
        Ok((announcement, signature))
    }

    /// Whether a session may be opened on it now, clocks being as far apart as [`SKEW_MS_MAX`].
    #[must_use]
    pub fn holds_at(&self, now_ms: u64) -> bool {
        now_ms.saturating_add(SKEW_MS_MAX) >= self.not_before_ms && now_ms < self.not_after_ms
    }

    /// The name of the announcement.
    #[must_use]
    pub fn id(&self) -> AnnouncementId {
        self.id
    }

    /// Who serves.
    #[must_use]
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// When it ends, in milliseconds since 1970.
    #[must_use]
    pub fn not_after_ms(&self) -> u64 {
        self.not_after_ms
    }
}

pub(super) fn read_service<'a>(reader: &mut Reader<'a>) -> Result<&'a str, FrameError> {
    std::str::from_utf8(reader.short()?)
        .ok()
        .filter(|name| is_service_name(name))
        .ok_or(FrameError::Malformed {
            what: "bad name of a service",
        })
}

/// What is signed: `T("ATE-call-announcement-v1") ‖ content`, so that it passes for no opening.
fn signed(content: &[u8]) -> Vec<u8> {
    super::labelled(TAG, &[content])
}
