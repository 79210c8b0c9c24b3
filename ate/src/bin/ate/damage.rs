//! Where stored bytes are not what was written: chain, position, file and offset, for people and programs.

use std::error::Error as StdError;

use ate::chain::OpenError;
use ate::log::{DamagedRange, FrameKind, Location};
use ate::{ChainId, Hash};
use serde::Serialize;

/// The place of a damage.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Damage {
    /// Chain id, if it is the damage of one chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) chain: Option<String>,
    /// Everything up to here holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) position: Option<u64>,
    pub(crate) file: String,
    pub(crate) offset: u32,
}

impl Damage {
    /// The place that an error names, if it names one.
    pub(crate) fn of(error: &ate::Error) -> Option<Self> {
        match error {
            ate::Error::Chain(error) => of_chain(error),
            ate::Error::Log(error) => of_log(error),
            ate::Error::LogRead(error) => of_read(error),
            ate::Error::Backup(ate::log::BackupError::Source(error)) => of_read(error),
            ate::Error::Backup(ate::log::BackupError::SourceDamaged { found }) => {
                found.first().map(|(at, _)| Self::at(*at))
            }
            ate::Error::Read(ate::ReadError::Chain(error)) => match error {
                ate::chain::ReadError::Damaged { at, .. } => Some(Self::at(*at)),
                ate::chain::ReadError::Log(error) => of_read(error),
                _ => None,
            },
            _ => None,
        }
    }

    fn at(at: Location) -> Self {
        Self {
            chain: None,
            position: None,
            file: file_name(at.file),
            offset: at.offset,
        }
    }

    /// In words.
    pub(crate) fn text(&self) -> String {
        let place = format!("file {}, offset {}", self.file, self.offset);
        match self.position {
            Some(position) => format!("{place}, behind position {position}"),
            None => place,
        }
    }
}

/// A damaged place of the log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Range {
    pub(crate) file: String,
    pub(crate) offset: u32,
    /// Where it ends.
    pub(crate) end: u32,
    pub(crate) why: String,
    /// Chain whose frame stood there, if that can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) chain: Option<String>,
    /// The position that a commit there gave the chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) position: Option<u64>,
}

impl Range {
    pub(crate) fn of(range: &DamagedRange) -> Self {
        let commit = range
            .frame
            .filter(|frame| frame.kind == FrameKind::Commit)
            .map(|frame| frame.number + 1);
        Self {
            file: file_name(range.at.file),
            offset: range.at.offset,
            end: range.end,
            why: range.damage.to_string(),
            chain: range
                .frame
                .map(|frame| ChainId(Hash(frame.stream.0)).to_string()),
            position: commit,
        }
    }

    /// In words.
    pub(crate) fn text(&self) -> String {
        let place = format!(
            "file {}, offset {} to {}: {}",
            self.file, self.offset, self.end, self.why
        );
        match (&self.chain, self.position) {
            (Some(chain), Some(position)) => {
                format!("{place}; the commit of position {position} of chain {chain}")
            }
            (Some(chain), None) => format!("{place}; a proof of chain {chain}"),
            _ => place,
        }
    }
}

/// The name of a segment of the log, as docs/format.md gives it.
fn file_name(number: u32) -> String {
    format!("log-{number:08}.seg")
}

fn of_chain(error: &OpenError) -> Option<Damage> {
    let (chain, position, at) = match error {
        OpenError::Format { chain, at, .. } => (chain, None, at),
        OpenError::Invalid { chain, seq, at, .. } | OpenError::Damaged { chain, seq, at, .. } => {
            (chain, Some(*seq), at)
        }
        OpenError::Log(error) => return of_read(error),
        _ => return None,
    };
    Some(Damage {
        chain: Some(chain.to_string()),
        position,
        ..Damage::at(*at)
    })
}

fn of_log(error: &ate::log::OpenError) -> Option<Damage> {
    match error {
        ate::log::OpenError::Corrupt { at, .. } => Some(Damage::at(*at)),
        _ => None,
    }
}

fn of_read(error: &ate::log::ReadError) -> Option<Damage> {
    match error {
        ate::log::ReadError::Corrupt { at, .. } => Some(Damage::at(*at)),
        _ => None,
    }
}

/// What failed, without the place that is told beside it.
pub(crate) fn why(error: &ate::Error) -> Option<String> {
    Some(match error {
        ate::Error::Chain(OpenError::Damaged { why, .. }) => (*why).to_owned(),
        ate::Error::Chain(OpenError::Format { source, .. }) => format!("bad bytes: {source}"),
        ate::Error::Chain(OpenError::Invalid { source, .. }) => {
            format!("a commit that the rules refuse: {source}")
        }
        ate::Error::Chain(OpenError::Log(ate::log::ReadError::Corrupt { damage, .. }))
        | ate::Error::LogRead(ate::log::ReadError::Corrupt { damage, .. })
        | ate::Error::Log(ate::log::OpenError::Corrupt { damage, .. }) => damage.to_string(),
        ate::Error::Read(ate::ReadError::Chain(ate::chain::ReadError::Damaged { why, .. })) => {
            (*why).to_owned()
        }
        error => error.source()?.to_string(),
    })
}
