//! `backup` and `restore`: a copy of a store, and a store of a copy.

use std::ops::ControlFlow;
use std::path::Path;

use ate::{Keystore, RestoreStep};
use serde::Serialize;

use crate::args::{Backup, Restore};
use crate::failure::{Failure, fault};
use crate::interrupt;
use crate::output::{Bytes, Output, plural, say};
use crate::progress::Progress;
use crate::store::Place;

/// A chain of a copy.
#[derive(Serialize)]
struct Copied {
    chain: String,
    id: String,
    position: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<String>,
}

/// A backup that was made.
#[derive(Serialize)]
struct Made {
    backup: String,
    files_copied: u64,
    files_kept: u64,
    bytes_copied: u64,
    bytes: u64,
    end: String,
    identity: bool,
    chains: Vec<Copied>,
}

/// A store that was restored.
#[derive(Serialize)]
struct Restored {
    restored: String,
    files: u64,
    bytes: u64,
    end: String,
    identity: bool,
    chains: Vec<Copied>,
}

pub(crate) fn run(place: &Place, args: &Backup, out: &mut Output) -> Result<(), Failure> {
    place.check_directory()?;
    interrupt::listen_to("ending before the backup is complete; the earlier one stays");
    let to = args.dest.display();
    let progress = Progress::bytes("copying", None);
    let done = ate::backup(place.dir(), &args.dest, |bytes| {
        progress.reached(bytes);
        go_on()
    });
    drop(progress);
    let done = done.map_err(|error| match error {
        ate::Error::Log(_) => place.explain(error),
        error => fault(error).during(format!("no backup was made in {to}")),
    })?;
    let identity = Keystore::in_dir(place.dir());
    if args.with_identity {
        let copied = identity.copy(&Keystore::in_dir(&args.dest));
        copied
            .map_err(|error| fault(error).during("the store was copied, its identity was not"))?;
    }
    let shown = Made {
        backup: to.to_string(),
        files_copied: done.copied.files_copied,
        files_kept: done.copied.files_kept,
        bytes_copied: done.copied.bytes_copied,
        bytes: done.copied.bytes,
        end: done.copied.end.to_string(),
        identity: args.with_identity,
        chains: done
            .chains
            .iter()
            .map(|(chain, position)| Copied {
                chain: chain.name.clone(),
                id: chain.id.to_string(),
                position: position.0,
                root: None,
            })
            .collect(),
    };
    show_made(&shown, out)?;
    if !args.with_identity {
        say(format_args!(
            "the identity is NOT in the backup: without {} or its 24 words nobody can read it\n  \
             next: keep that file elsewhere, or `ate identity export --yes` for the words; --with-identity copies the file",
            identity.path().display()
        ));
    }
    Ok(())
}

pub(crate) fn restore(place: &Place, args: &Restore, out: &mut Output) -> Result<(), Failure> {
    place.check_directory()?;
    // Before hours of copying: a file that is none would be found at the end.
    let identity = args.identity.clone().map(Keystore::at);
    if let Some(identity) = &identity {
        identity.is_sealed().map_err(fault)?;
    }
    interrupt::listen_to(
        "ending before the restore is complete; it is begun anew when it is asked for again",
    );
    let (source, to) = (args.source.display(), place.shown_dir());
    let progress = Progress::bytes("copying and proving", None);
    let (mut copied, mut proved) = (0, 0);
    let done = ate::restore(&args.source, place.dir(), |step| {
        match step {
            RestoreStep::Copied(bytes) => copied = bytes,
            RestoreStep::Proved(so_far) => proved = so_far.body_bytes,
            _ => {}
        }
        progress.reached(copied + proved);
        go_on()
    });
    drop(progress);
    let done =
        done.map_err(|error| fault(error).during(format!("{source} was not restored into {to}")))?;
    if let Some(identity) = &identity {
        let put = identity.copy(&Keystore::in_dir(place.dir()));
        put.map_err(|error| {
            fault(error).during("the store was restored, the identity was not put there")
        })?;
    }
    let shown = Restored {
        restored: to.clone(),
        files: done.copied.files,
        bytes: done.copied.bytes,
        end: done.copied.end.to_string(),
        identity: done.has_identity || identity.is_some(),
        chains: done
            .chains
            .iter()
            .map(|(chain, position, root)| Copied {
                chain: chain.name.clone(),
                id: chain.id.to_string(),
                position: position.0,
                root: Some(root.to_string()),
            })
            .collect(),
    };
    show_restored(&shown, out)?;
    if !shown.identity {
        tell_missing_identity(place, &args.source);
    }
    Ok(())
}

fn show_made(shown: &Made, out: &mut Output) -> Result<(), Failure> {
    if out.is_json() {
        return out.object(shown);
    }
    out.line(format_args!(
        "{}: a backup to {}, {}",
        shown.backup,
        shown.end,
        Bytes(shown.bytes)
    ))?;
    out.line(format_args!(
        "  copied      {}, {}\n  kept        {} from the backup before",
        plural(shown.files_copied, "file"),
        Bytes(shown.bytes_copied),
        plural(shown.files_kept, "file"),
    ))?;
    for chain in &shown.chains {
        out.line(format_args!(
            "  {:<11} to position {}",
            chain.chain, chain.position
        ))?;
    }
    Ok(())
}

fn show_restored(shown: &Restored, out: &mut Output) -> Result<(), Failure> {
    if out.is_json() {
        return out.object(shown);
    }
    out.line(format_args!(
        "{}: restored to {}, {} in {}, every chain and every body verified",
        shown.restored,
        shown.end,
        Bytes(shown.bytes),
        plural(shown.files, "file"),
    ))?;
    for chain in &shown.chains {
        let root = chain.root.as_deref().unwrap_or_default();
        out.line(format_args!(
            "  {:<11} to position {}, root {root}",
            chain.chain, chain.position
        ))?;
    }
    Ok(())
}

fn tell_missing_identity(place: &Place, source: &Path) {
    let dir = place.shown_dir();
    let next = if Keystore::in_dir(source).exists() {
        format!("copy {} there", Keystore::in_dir(source).path().display())
    } else {
        format!(
            "put the identity file there, or `ate --dir {dir} identity import -` with its 24 words"
        )
    };
    say(format_args!(
        "there is no identity in {dir}: the store cannot be read or written yet\n  next: {next}"
    ));
}

fn go_on() -> ControlFlow<()> {
    if interrupt::is_asked() {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}
