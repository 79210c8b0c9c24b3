//! Opening the store and its chains, and what is said when one is new.

use std::path::{Path, PathBuf};

use ate::{Chain, ChainInfo, ErrorKind, OpenError, Store, StoreBuilder};

use crate::args::Global;
use crate::failure::{Failure, fault};
use crate::output::say;
use crate::passphrase::{self, Given};

/// Where the store is, and how its identity is unsealed.
pub(crate) struct Place {
    dir: PathBuf,
    passphrase: Given,
}

/// What a command needs of the store.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    /// It exists; another process may write it.
    Read,
    /// It exists; this process writes it.
    Write,
    /// This process writes it, and makes it if need be.
    Create,
}

impl Place {
    pub(crate) fn new(global: &Global) -> Self {
        Self {
            dir: global.dir.clone(),
            passphrase: Given::new(global.passphrase_file.clone()),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) const fn passphrase(&self) -> &Given {
        &self.passphrase
    }

    pub(crate) fn shown_dir(&self) -> String {
        self.dir.display().to_string()
    }

    /// Whether nothing is there yet. What cannot be looked at counts as something, so that opening it says why.
    pub(crate) fn is_empty(&self) -> bool {
        match std::fs::read_dir(&self.dir) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        }
    }

    /// Opens it for reading, also beside a process that writes.
    pub(crate) fn read(&self) -> Result<Store, Failure> {
        self.open(Want::Read)
    }

    /// Opens it for writing, and makes it if need be.
    pub(crate) fn write(&self) -> Result<Store, Failure> {
        self.open(Want::Create)
    }

    /// Opens it for writing if it exists.
    pub(crate) fn write_existing(&self) -> Result<Store, Failure> {
        self.open(Want::Write)
    }

    fn open(&self, want: Want) -> Result<Store, Failure> {
        let builder = |passphrase: Option<String>| {
            let builder = Store::builder(&self.dir);
            let builder = match want {
                Want::Read => builder.read_only().must_exist(),
                Want::Write => builder.must_exist(),
                Want::Create => builder,
            };
            match passphrase {
                Some(passphrase) => builder.passphrase(passphrase),
                None => builder,
            }
        };
        let given = self.passphrase.silent()?;
        let was_given = given.is_some();
        let open = |builder: StoreBuilder| builder.open().wait();
        let opened = match open(builder(given)) {
            Err(error) if !was_given && needs_passphrase(&error) => {
                match passphrase::ask(&format!("passphrase of {}: ", self.shown_dir()))? {
                    Some(asked) => open(builder(Some(asked))),
                    None => {
                        return Err(passphrase::needed(&format!(
                            "the identity in {} is sealed by a passphrase",
                            self.shown_dir()
                        )));
                    }
                }
            }
            opened => opened,
        };
        opened.map_err(|error| self.explain(error))
    }

    fn explain(&self, error: OpenError) -> Failure {
        let error = ate::Error::from(error);
        let kind = error.kind();
        let failure = Failure::from(error);
        match kind {
            ErrorKind::NotFound => Failure::failed(format!("no store in {}", self.shown_dir())).next(
                "`ate put CHAIN NAME JSON` makes one; another place is given with --dir or ATE_DIR",
            ),
            ErrorKind::Locked => failure
                .during(format!("cannot write to {}", self.shown_dir()))
                .next(
                    "wait for the other process or end it; reading commands (get, ls, log, export, verify, info) work meanwhile",
                ),
            _ => failure.during(format!("cannot open the store in {}", self.shown_dir())),
        }
    }

    /// A chain that its first write will create if it is not there.
    pub(crate) fn chain_to_write(&self, store: &Store, name: &str) -> Result<Chain, Failure> {
        let what = || format!("cannot open chain `{name}`");
        store
            .chain(name)
            .wait()
            .map_err(|error| fault(error).during(what()))
    }

    /// A chain that exists, by name or id.
    pub(crate) fn chain_to_read(&self, store: &Store, name: &str) -> Result<Chain, Failure> {
        store
            .existing_chain(name)
            .wait()
            .map_err(|error| self.no_chain(error.into(), name))
    }

    /// A chain that exists, by name or id, without loading it: what is damaged cannot be loaded.
    pub(crate) fn chain_info(&self, store: &Store, name: &str) -> Result<ChainInfo, Failure> {
        let chains = store.chains().map_err(fault)?;
        chains
            .into_iter()
            .find(|chain| &*chain.name == name || chain.id.to_string() == name)
            .ok_or_else(|| self.unknown_chain(name))
    }

    fn no_chain(&self, error: ate::Error, name: &str) -> Failure {
        if error.kind() == ErrorKind::NotFound {
            self.unknown_chain(name)
        } else {
            Failure::from(error).during(format!("cannot open chain `{name}`"))
        }
    }

    fn unknown_chain(&self, name: &str) -> Failure {
        Failure::failed(format!("no chain `{name}` in {}", self.shown_dir()))
            .next("`ate ls` lists the chains; only `put` and `import` create one")
    }
}

fn needs_passphrase(error: &OpenError) -> bool {
    matches!(error, OpenError::PassphraseNeeded { .. })
}

/// Says that a chain was created, and at the very first where the identity lies.
pub(crate) fn announce(store: &Store, chain: &Chain) {
    say(format_args!(
        "created chain `{}`, id {}",
        chain.name(),
        chain.id()
    ));
    if store.is_new_identity() {
        let path = store
            .identity_path()
            .map_or_else(String::new, |path| path.display().to_string());
        say(format_args!(
            "created an identity in {path}: whoever loses this file loses the data, whoever gets it can read and write it\n  \
             next: `ate identity export --yes` prints 24 words that restore it; `ate identity passphrase set` seals the file"
        ));
    }
}
