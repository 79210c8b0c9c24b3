//! Records of any program, shown as JSON from the descriptor that stands in the chain.

use ate_chain::{Position, ReadError as ChainError, RecordKey, Version};
use ate_crypto::KeyId;

use crate::error::ReadError;
use crate::index::NAMED;
use crate::json::Json;
use crate::schema::{Record, to_json};
use crate::session::Session;

/// A record as JSON.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Document {
    /// The document, byte for byte if it was written as one.
    pub json: String,
    /// Name of the record type; `json` for documents.
    pub type_name: String,
    /// Record.
    pub key: RecordKey,
    /// Version shown.
    pub version: Version,
    /// Who signed it.
    pub author: KeyId,
    /// The sequencer's time, in milliseconds since 1970.
    pub order_time_ms: u64,
}

/// A named record below the root record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedEntry {
    /// Name.
    pub name: String,
    /// Record.
    pub key: RecordKey,
    /// Name of the record type; empty if its schema cannot be read.
    pub type_name: String,
    /// Newest version.
    pub version: Version,
}

impl Document {
    /// Whether the record is a JSON document, not a typed record of a program.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.type_name == Json::NAME
    }
}

impl Session {
    pub(crate) fn document(
        &self,
        key: &RecordKey,
        position: Option<Position>,
        name: &str,
    ) -> Result<Document, ReadError> {
        let absent = || ReadError::NotFound {
            name: name.to_owned(),
        };
        let local = self.local();
        let opened = match position {
            None => local.open_content(&self.author, key),
            Some(position) => match self.stood_at(key, position)? {
                Some(version) => local.open_version(&self.author, key, version),
                None => return Err(absent()),
            },
        };
        let opened = opened.map_err(|error| match error {
            ChainError::NotFound { .. } => absent(),
            error => error.into(),
        })?;
        let descriptor = self.descriptor(&opened.scope, opened.schema, *key)?;
        let type_name = descriptor.name().to_owned();
        let json = to_json(&descriptor, &opened.content).map_err(|source| ReadError::Schema {
            name: name.to_owned(),
            source,
        })?;
        Ok(Document {
            json,
            type_name,
            key: *key,
            version: opened.version,
            author: opened.author,
            order_time_ms: opened.order_time_ms,
        })
    }

    pub(crate) fn names(
        &self,
        prefix: &str,
        position: Option<Position>,
    ) -> Result<Vec<NamedEntry>, ReadError> {
        self.refresh_names()?;
        let found = self.index.read().prefix(0, NAMED, prefix);
        let mut entries = Vec::with_capacity(found.len());
        for (name, slot) in found {
            let record = self.local().record_at(slot);
            let version = match position {
                None => record.live.then_some(record.version),
                Some(position) => self.stood_at(&record.key, position)?,
            };
            let Some(version) = version else { continue };
            let descriptor = self.descriptor(&record.sealed.0, record.schema, record.key);
            let type_name = descriptor
                .map(|descriptor| descriptor.name().to_owned())
                .unwrap_or_default();
            entries.push(NamedEntry {
                name: name.to_string(),
                key: record.key,
                type_name,
                version,
            });
        }
        Ok(entries)
    }
}
