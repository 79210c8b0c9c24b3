//! Records of any program, shown as JSON from the descriptor that stands in the chain.

use std::collections::HashSet;
use std::sync::Arc;

use ate_chain::{Change, Opened, Position, RecordKey, Version};
use ate_crypto::KeyId;

use crate::error::ReadError;
use crate::index::NAMED;
use crate::json::Json;
use crate::schema::{Descriptor, Record, to_json};
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
        let (opened, _) = self.open_at(key, position, &|| name.to_owned())?;
        self.document_of(&opened, key, name)
    }

    /// A body as JSON.
    pub(crate) fn document_of(
        &self,
        opened: &Opened,
        key: &RecordKey,
        name: &str,
    ) -> Result<Document, ReadError> {
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
        let mut known = HashSet::new();
        for (name, slot) in found {
            let record = self.local().record_at(slot);
            known.insert(record.key);
            let version = match position {
                None => record.live.then_some(record.version),
                Some(position) => self.stood_at(&record.key, position)?,
            };
            let Some(version) = version else { continue };
            let descriptor = if version == record.version {
                self.descriptor(&record.sealed.0, record.schema, record.key)
            } else {
                self.descriptor_of(&record.key, version)
            };
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
        // A view stands at a position, and what is staged has none.
        let staged = match position {
            None => self.staged_names(),
            Some(_) => Vec::new(),
        };
        for (key, name) in staged {
            let record = self.live(&key).filter(|_| name.starts_with(prefix));
            let Some(record) = record.filter(|_| known.insert(key)) else {
                continue;
            };
            let descriptor = self.descriptor(&record.sealed.0, record.schema, key);
            entries.push(NamedEntry {
                name,
                key,
                type_name: descriptor
                    .map(|descriptor| descriptor.name().to_owned())
                    .unwrap_or_default(),
                version: record.version,
            });
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    /// The names below the root record that staged commits give.
    pub(crate) fn staged_names(&self) -> Vec<(RecordKey, String)> {
        self.local()
            .staged_names(&self.author, &RecordKey::ROOT, NAMED)
    }

    /// The descriptor of an older version.
    fn descriptor_of(
        &self,
        key: &RecordKey,
        version: Version,
    ) -> Result<Arc<Descriptor>, ReadError> {
        let missing = || ReadError::Descriptor {
            key: *key,
            source: None,
        };
        let commit = self.local().commit_at(version.seq)?;
        let event = commit.events.get(version.event as usize);
        let tag = match event.map(|event| &event.change) {
            Some(Change::Create { schema, .. } | Change::Update { schema, .. }) => *schema,
            _ => return Err(missing()),
        };
        // Which of the commit's scopes it was sealed under is not said: a tag fits one of them.
        commit
            .head
            .commitments
            .iter()
            .find_map(|sealed| self.descriptor(&sealed.scope, tag, *key).ok())
            .ok_or_else(missing)
    }
}
