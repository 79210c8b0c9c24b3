//! Where passphrases come from: a file, the environment, or the terminal without echo.

use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The variable that may hold it.
pub(crate) const VARIABLE: &str = "ATE_PASSPHRASE";
/// Longest passphrase in bytes.
const BYTES_MAX: u64 = 1024;

/// What the command line and the environment say.
pub(crate) struct Given {
    file: Option<PathBuf>,
}

impl Given {
    pub(crate) fn new(file: Option<PathBuf>) -> Self {
        Self { file }
    }

    /// The passphrase without asking anybody; `None` if none was given.
    pub(crate) fn silent(&self) -> Result<Option<String>, Failure> {
        match &self.file {
            Some(file) => from_file(file).map(Some),
            None => Ok(std::env::var(VARIABLE).ok().filter(|text| !text.is_empty())),
        }
    }
}

/// The first line of a file.
pub(crate) fn from_file(path: &Path) -> Result<String, Failure> {
    let failed = |error: io::Error| {
        Failure::failed(format!(
            "cannot read the passphrase from {}",
            path.display()
        ))
        .because(&error)
        .next("name a file whose first line is the passphrase")
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut line = String::new();
    BufReader::new(file.take(BYTES_MAX + 2))
        .read_line(&mut line)
        .map_err(failed)?;
    let line = line.trim_end_matches(['\n', '\r']);
    accept(line).map_err(|failure| failure.during(path.display().to_string()))
}

/// Asks on the terminal; `None` where there is none.
pub(crate) fn ask(prompt: &str) -> Result<Option<String>, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(None);
    }
    let line = rpassword::prompt_password(prompt).map_err(|error| {
        Failure::failed("cannot read the passphrase from the terminal")
            .because(&error)
            .next(format!("give it in {VARIABLE} or with --passphrase-file"))
    })?;
    accept(&line).map(Some)
}

/// Asks for a new one twice.
pub(crate) fn ask_new() -> Result<Option<String>, Failure> {
    let Some(first) = ask("new passphrase: ")? else {
        return Ok(None);
    };
    match ask("again: ")? {
        Some(second) if second == first => Ok(Some(first)),
        _ => {
            Err(Failure::failed("the two passphrases differ")
                .next("try again; nothing was changed"))
        }
    }
}

/// Nothing was given and nobody can be asked.
pub(crate) fn needed(what: &str, is_change: bool) -> Failure {
    Failure::failed(what).next(if is_change {
        "give it with --new-passphrase-file, or run this on a terminal".to_owned()
    } else {
        format!(
            "give the passphrase in {VARIABLE} or with --passphrase-file, or run this on a terminal"
        )
    })
}

fn accept(text: &str) -> Result<String, Failure> {
    if text.is_empty() {
        Err(Failure::failed("the passphrase is empty")
            .next("give one, or `ate identity passphrase clear`"))
    } else if text.len() as u64 > BYTES_MAX {
        Err(Failure::failed("the passphrase is longer than 1024 bytes")
            .next("choose a shorter one"))
    } else {
        Ok(text.to_owned())
    }
}
