//! `info`, and what a bare `ate` says.

use ate::Keystore;
use serde::Serialize;

use crate::failure::{Failure, fault};
use crate::output::{Bytes, Output, plural};
use crate::store::Place;

/// A limit and its value.
const LIMITS: [(&str, &str); 8] = [
    ("document", "16 MiB"),
    (
        "name",
        "1 to 1,024 bytes of UTF-8 without control characters",
    ),
    ("commit", "31 MiB and 65,536 events"),
    ("commits in a chain", "2^32"),
    ("depth of records", "64"),
    ("depth of JSON", "128"),
    ("writers", "one process at a time, any number of readers"),
    (
        "a copied directory",
        "is a fork: never write to both; a backup that was restored is none",
    ),
];

pub(crate) fn run(place: &Place, out: &mut Output) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Shown {
        version: &'static str,
        directory: String,
        identity: String,
        identity_file: String,
        chains: usize,
        format: u32,
        durable_to: String,
        disk_bytes: u64,
        written_by_another_process: bool,
    }
    let store = place.read_here()?;
    let info = store.info();
    let shown = Shown {
        version: env!("CARGO_PKG_VERSION"),
        directory: place.shown_dir(),
        identity: info.identity.to_string(),
        identity_file: Keystore::in_dir(place.dir()).path().display().to_string(),
        chains: store.chains().map_err(fault)?.len(),
        format: info.format,
        durable_to: info.durable.to_string(),
        disk_bytes: info.disk_bytes,
        written_by_another_process: place.is_written(),
    };
    if out.is_json() {
        return out.object(&shown);
    }
    let writer = if shown.written_by_another_process {
        "open in another process"
    } else {
        "nobody"
    };
    for (what, value) in [
        ("directory", shown.directory),
        ("identity", shown.identity),
        ("identity file", shown.identity_file),
        ("chains", shown.chains.to_string()),
        ("on disk", Bytes(shown.disk_bytes).to_string()),
        ("durable to", shown.durable_to),
        ("writer", writer.to_owned()),
        ("format", shown.format.to_string()),
        ("version", shown.version.to_owned()),
    ] {
        out.line(format_args!("{what:<20} {value}"))?;
    }
    out.line("limits")?;
    for (what, value) in LIMITS {
        out.line(format_args!("  {what:<18} {value}"))?;
    }
    Ok(())
}

/// What to do now, for somebody who only typed `ate`.
pub(crate) fn next_step(place: &Place, out: &mut Output) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Shown {
        directory: String,
        state: String,
        next: Vec<String>,
    }
    let (state, next) = if place.is_empty() {
        (
            "no store yet".to_owned(),
            vec![
                "ate demo".to_owned(),
                "ate put universe greeting '{\"hi\": 1}'".to_owned(),
            ],
        )
    } else {
        let store = place.read_here()?;
        let chains = store.chains().map_err(fault)?;
        match chains.first() {
            None => (
                "a store without chains".to_owned(),
                vec!["ate put universe greeting '{\"hi\": 1}'".to_owned()],
            ),
            Some(chain) => (
                format!("a store with {}", plural(chains.len() as u64, "chain")),
                vec![
                    "ate ls".to_owned(),
                    format!("ate log {}", quoted(&chain.name)),
                    "ate verify".to_owned(),
                ],
            ),
        }
    };
    let shown = Shown {
        directory: place.shown_dir(),
        state,
        next,
    };
    if out.is_json() {
        return out.object(&shown);
    }
    out.line(format_args!("{}: {}", shown.directory, shown.state))?;
    for (index, next) in shown.next.iter().enumerate() {
        let label = if index == 0 { "next:" } else { "" };
        out.line(format_args!("{label:<6}{next}"))?;
    }
    out.line("all commands: ate --help")
}

/// A name as a shell takes it.
fn quoted(name: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "-_./".contains(char);
    if name.chars().all(plain) {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn names_survive_a_shell() {
        assert_eq!(quoted("universe"), "universe");
        assert_eq!(quoted("my chain"), "'my chain'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
