//! The first message of a session: who calls, signed once for all calls of the session, and the encapsulation from which its keys come.

use ate_chain::ChainId;
use ate_crypto::{
    CALL_CT_BYTES, Hash, Identity, KeyId, Purpose, SIGNATURE_BYTES, Signature, Suite, WHO_BYTES,
    Who, tagged,
};

use super::announcement::{Announcement, AnnouncementId, read_service};
use super::codec::Reader;
use super::error::FrameError;
use super::frame::{KIND_OPENING, SessionId};
use super::labelled;
use super::limits::{SESSION_MS_MAX, VERSION};

const TAG: &str = "ATE-call-opening-v1";
const TAG_TRANSCRIPT: &str = "ATE-call-transcript-v1";
const TAG_REFUSAL: &str = "ATE-call-refusal-v1";

/// Bytes of the largest opening.
pub const OPENING_BYTES_MAX: usize =
    3 + 16 + 32 + 1 + 255 + 32 + 16 + 8 + 4 + CALL_CT_BYTES + WHO_BYTES + SIGNATURE_BYTES;

/// An opening as it was read; the signature is not checked yet.
pub(super) struct Opening<'a> {
    pub(super) session: SessionId,
    pub(super) chain: ChainId,
    pub(super) service: &'a str,
    pub(super) instance: KeyId,
    pub(super) announcement: AnnouncementId,
    pub(super) opened_at_ms: u64,
    pub(super) lifetime_ms: u32,
    pub(super) ct: &'a [u8],
    pub(super) caller: Who,
    content: &'a [u8],
    signature: Signature,
}

/// What the signature of an opening covers, beside the announcement that it answers.
pub(super) struct Opened {
    pub(super) bytes: Vec<u8>,
    pub(super) transcript: Hash,
}

/// Writes and signs an opening.
pub(super) fn sign(
    identity: &Identity,
    to: &Announcement,
    session: SessionId,
    opened_at_ms: u64,
    lifetime_ms: u32,
    ct: &[u8; CALL_CT_BYTES],
) -> Opened {
    let mut bytes = Vec::with_capacity(OPENING_BYTES_MAX);
    bytes.extend_from_slice(&[KIND_OPENING, VERSION, Suite::Hybrid1.id()]);
    bytes.extend_from_slice(&session.0);
    bytes.extend_from_slice(&to.chain.0.0);
    bytes.push(u8::try_from(to.service.len()).expect("a checked name is short"));
    bytes.extend_from_slice(to.service.as_bytes());
    bytes.extend_from_slice(&to.who.id().0);
    bytes.extend_from_slice(&to.id.0);
    bytes.extend_from_slice(&opened_at_ms.to_le_bytes());
    bytes.extend_from_slice(&lifetime_ms.to_le_bytes());
    bytes.extend_from_slice(ct);
    bytes.extend_from_slice(identity.who().as_bytes());
    let transcript = transcript(&bytes, &to.digest);
    let signature = identity.sign(Purpose::Call, &labelled(TAG, &[&bytes, &to.digest.0]));
    bytes.extend_from_slice(signature.as_bytes());
    Opened { bytes, transcript }
}

impl<'a> Opening<'a> {
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let malformed = |what| FrameError::Malformed { what };
        let mut reader = Reader::new(bytes);
        if reader.u8()? != KIND_OPENING {
            return Err(malformed("not an opening"));
        }
        if reader.u8()? != VERSION {
            return Err(malformed("unknown version"));
        }
        Suite::try_from(reader.u8()?).map_err(|_| malformed("unknown suite"))?;
        let session = SessionId(reader.array()?);
        let chain = ChainId(Hash(reader.array()?));
        let service = read_service(&mut reader)?;
        let instance = KeyId(reader.array()?);
        let announcement = AnnouncementId(reader.array()?);
        let (opened_at_ms, lifetime_ms) = (reader.u64()?, reader.u32()?);
        if lifetime_ms > SESSION_MS_MAX {
            return Err(FrameError::Limit {
                what: "time of a session",
            });
        }
        let ct = reader.take(CALL_CT_BYTES)?;
        let caller = Who::from_bytes(reader.take(WHO_BYTES)?).map_err(|_| malformed("bad key"))?;
        let content = &bytes[..reader.offset()];
        let signature = Signature::from_slice(reader.take(SIGNATURE_BYTES)?)
            .map_err(|_| FrameError::Signature)?;
        reader.finish()?;
        Ok(Self {
            session,
            chain,
            service,
            instance,
            announcement,
            opened_at_ms,
            lifetime_ms,
            ct,
            caller,
            content,
            signature,
        })
    }

    /// Checks that the caller signed this opening in answer to this announcement. About 80 µs.
    pub(super) fn check(&self, announcement: &Hash) -> Result<(), FrameError> {
        let content = labelled(TAG, &[self.content, &announcement.0]);
        self.caller
            .verify(Purpose::Call, &content, &self.signature)
            .map_err(|_| FrameError::Signature)
    }

    pub(super) fn transcript(&self, announcement: &Hash) -> Hash {
        transcript(self.content, announcement)
    }
}

/// The hash of all that both sides said, signatures left out: those are hedged and prove without being hashed.
fn transcript(content: &[u8], announcement: &Hash) -> Hash {
    tagged(TAG_TRANSCRIPT, &[content, &announcement.0])
}

/// In place of the transcript for the keys of a refusal. A refusal keeps no state, so its key may be used again for the same opening: then for the
/// same bytes, since the reason is part of it.
pub(super) fn refusal(transcript: &Hash, reason: u8) -> Hash {
    tagged(TAG_REFUSAL, &[&transcript.0, &[reason]])
}
