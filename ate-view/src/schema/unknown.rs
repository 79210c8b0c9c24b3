//! What a stored record holds beyond what the reading program knows.

use std::sync::Arc;

use super::error::{EncodeError, NewerSchema};
use super::plan::{Rewrite, Splice};

/// The part of a stored record that the reading program does not know, kept so that a rewrite can put it back.
///
/// Empty for records of the program's own schema, and then free.
#[derive(Debug, Clone, Default)]
pub struct Unknown(pub(crate) Option<Arc<UnknownPart>>);

#[derive(Debug)]
pub(crate) enum UnknownPart {
    /// Raw bytes of unknown top-level fields, and the descriptor under which they are written again.
    Fields {
        splice: Arc<Splice>,
        bytes: Vec<Box<[u8]>>,
    },
    /// Members of a JSON object, each as `"key":value`.
    Members(Vec<Box<str>>),
    /// Something nested: the record must not be rewritten.
    Nested(NewerSchema),
    /// The record cannot be rewritten for another reason.
    Refused(EncodeError),
}

impl Unknown {
    pub(crate) fn of(rewrite: &Rewrite, record: &str, bytes: Vec<Box<[u8]>>) -> Self {
        Self::part(match rewrite {
            Rewrite::Plain => return Self(None),
            Rewrite::Splice(splice) => UnknownPart::Fields {
                splice: Arc::clone(splice),
                bytes,
            },
            Rewrite::Refused(newer) => UnknownPart::Nested(newer.clone()),
            Rewrite::Unmergeable(source) => UnknownPart::Refused(EncodeError::Descriptor {
                record: record.into(),
                source: source.clone(),
            }),
        })
    }

    pub(crate) fn part(part: UnknownPart) -> Self {
        Self(Some(Arc::new(part)))
    }

    /// Whether this program knows everything in the record.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether the record may be rewritten: [`crate::encode_spliced`] gives the same error.
    ///
    /// # Errors
    /// `EncodeError::NewerSchema` if something nested would be lost.
    pub fn check(&self) -> Result<(), EncodeError> {
        match self.0.as_deref() {
            Some(UnknownPart::Nested(newer)) => Err(newer.clone().into()),
            Some(UnknownPart::Refused(error)) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Heap bytes held, for cache budgets.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match self.0.as_deref() {
            None => 0,
            Some(UnknownPart::Fields { bytes, .. }) => {
                64 + bytes.iter().map(|bytes| 16 + bytes.len()).sum::<usize>()
            }
            Some(UnknownPart::Members(members)) => {
                64 + members.iter().map(|text| 16 + text.len()).sum::<usize>()
            }
            Some(_) => 256,
        }
    }
}
