//! Opening the store and its chains, and what is said when one is new.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ate::log::{FileLog, FileStorage, LockState, Storage as _};
use ate::{Chain, ChainInfo, ErrorKind, Keystore, Store};

use crate::args::Global;
use crate::documents::valid_name;
use crate::failure::{Code, Failure, fault};
use crate::output::say;
use crate::passphrase::{self, Given};
use crate::remote::{self, Nodes};

/// The file whose lock the writer holds, as docs/format.md gives it.
const LOCK_FILE: &str = "lock";

/// Where the store is, and how its identity is unsealed.
pub(crate) struct Place {
    dir: PathBuf,
    passphrase: Given,
    nodes: Nodes,
    is_json: bool,
    /// Whether something could not be shown, because it is damaged.
    is_partial: Cell<bool>,
}

/// What a command needs of the store.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    /// It exists; another process may write it.
    Read,
    /// It exists, and is read in spite of damage.
    Salvage,
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
            nodes: Nodes::new(&global.remote),
            is_json: global.json,
            is_partial: Cell::new(false),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) const fn nodes(&self) -> &Nodes {
        &self.nodes
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

    /// Whether messages are for programs.
    pub(crate) const fn is_json(&self) -> bool {
        self.is_json
    }

    /// Whether something was left out of what a command shows.
    pub(crate) const fn partial(&self) -> &Cell<bool> {
        &self.is_partial
    }

    /// Opens it for what reads a chain: with a node for writing, as its copy comes into this store.
    pub(crate) fn read(&self) -> Result<Store, Failure> {
        if !self.is_remote() {
            return self.read_here();
        }
        self.node()?;
        match self.try_open(Want::Create)? {
            Ok(store) => {
                announce_identity(&store);
                Ok(store)
            }
            Err(error) if error.kind() == ErrorKind::Locked => {
                say(format_args!(
                    "note: another process has {} open for writing: this is what is here",
                    self.shown_dir()
                ));
                self.read_here()
            }
            Err(error) if error.kind() == ErrorKind::Damaged => self.read_here(),
            Err(error) => Err(self.explain(error)),
        }
    }

    /// Opens it for reading, also beside a process that writes; if it is damaged, as far as it is intact, and says so.
    pub(crate) fn read_here(&self) -> Result<Store, Failure> {
        let opened = self.read_whole().and_then(|store| {
            self.chains(&store)?;
            Ok(store)
        });
        match opened {
            Err(failure) if failure.code() == Code::Damaged => self.salvage(failure),
            opened => opened,
        }
    }

    /// Opens it for reading, if it is not known to be damaged.
    pub(crate) fn read_whole(&self) -> Result<Store, Failure> {
        self.open(Want::Read)
    }

    /// Opens it for reading in spite of damage.
    pub(crate) fn read_rest(&self) -> Result<Store, Failure> {
        self.open(Want::Salvage)
    }

    /// Opens it for writing, and makes it if need be.
    pub(crate) fn write(&self) -> Result<Store, Failure> {
        let store = self.open(Want::Create)?;
        if self.is_remote() {
            // The node may not answer, and the identity was made all the same.
            announce_identity(&store);
        }
        Ok(store)
    }

    /// Says that a chain was created, and at the very first where the identity lies.
    pub(crate) fn announce(&self, store: &Store, chain: &Chain) {
        say(format_args!(
            "created chain `{}`, id {}",
            chain.name(),
            chain.id()
        ));
        if !self.is_remote() {
            announce_identity(store);
        }
    }

    /// Opens it for writing if it exists; for a chain of a node in any case.
    pub(crate) fn write_existing(&self) -> Result<Store, Failure> {
        if self.node()?.is_some() {
            return self.write();
        }
        self.open(Want::Write)
    }

    /// Opens it for writing if it exists, whatever the command says of nodes; the library's error if another process has it.
    pub(crate) fn try_write_here(&self) -> Result<Result<Store, ate::Error>, Failure> {
        self.try_open(Want::Write)
    }

    fn open(&self, want: Want) -> Result<Store, Failure> {
        self.try_open(want)?.map_err(|error| self.explain(error))
    }

    fn try_open(&self, want: Want) -> Result<Result<Store, ate::Error>, Failure> {
        self.check_directory()?;
        let mut builder = Store::builder(&self.dir);
        if want != Want::Create {
            builder = builder.must_exist();
        }
        match want {
            Want::Read => builder = builder.read_only(),
            Want::Salvage => builder = builder.salvage(),
            Want::Write | Want::Create => {}
        }
        // A new store is sealed by a passphrase that was given, but nobody is asked for one.
        let keystore = Keystore::in_dir(&self.dir);
        let passphrase =
            if keystore.exists() && keystore.is_sealed().map_err(|error| self.explain(error))? {
                Some(self.unsealing()?)
            } else {
                self.passphrase.silent()?
            };
        if let Some(passphrase) = passphrase {
            builder = builder.passphrase(passphrase);
        }
        builder = builder.answer_within(self.nodes.wait());
        if self.nodes.is_lazy() {
            builder = builder.lazy_contents();
        }
        Ok(builder.open().wait())
    }

    /// The passphrase of a sealed identity: as given, else asked for.
    pub(crate) fn unsealing(&self) -> Result<String, Failure> {
        if let Some(given) = self.passphrase.silent()? {
            return Ok(given);
        }
        let dir = self.shown_dir();
        passphrase::ask(&format!("passphrase of {dir}: "))?.ok_or_else(|| {
            let what = format!("the identity in {dir} is sealed by a passphrase");
            passphrase::needed(&what, false)
        })
    }

    /// The directory may be absent, but nothing else may be in its place.
    pub(crate) fn check_directory(&self) -> Result<(), Failure> {
        match std::fs::metadata(&self.dir) {
            Ok(metadata) if !metadata.is_dir() => Err(Failure::failed(format!(
                "{} is not a directory",
                self.shown_dir()
            ))
            .next("name the directory of a store with --dir or ATE_DIR")),
            _ => Ok(()),
        }
    }

    /// Says what an error of opening means here.
    pub(crate) fn explain(&self, error: ate::Error) -> Failure {
        let dir = self.shown_dir();
        let kind = error.kind();
        let lost = matches!(error, ate::Error::NoIdentity { .. }) && self.has_log();
        let failure = Failure::from(error);
        match kind {
            ErrorKind::NotFound if lost => failure
                .during(format!("the store in {dir} has lost its identity"))
                .next("put the file back, or restore it from its 24 words with `ate identity import -`"),
            ErrorKind::NotFound => Failure::failed(format!("no store in {dir}")).next(
                "`ate put CHAIN NAME JSON` makes one; another place is given with --dir or ATE_DIR",
            ),
            ErrorKind::Locked => failure.during(format!("cannot write to {dir}")).next(
                "wait for the other process or end it; get, ls, log, history, export, verify and info work meanwhile",
            ),
            _ => failure.during(format!("cannot open the store in {dir}")),
        }
    }

    fn has_log(&self) -> bool {
        let opened = FileLog::open_reader(Arc::new(FileStorage::new(&self.dir)));
        !matches!(opened, Err(ate::log::OpenError::NotFound { .. }))
    }

    /// Whether some process has the store open for writing; asked by those who only read.
    pub(crate) fn is_written(&self) -> bool {
        let state = FileStorage::new(&self.dir).lock_state(LOCK_FILE);
        matches!(state, Ok(LockState::Held(_)))
    }

    /// A chain that its first write will create if it is not there.
    pub(crate) fn chain_to_write(&self, store: &Store, name: &str) -> Result<Chain, Failure> {
        let name = valid_name(name)?;
        if let Some(chain) = self.remote_chain(store, name, remote::Want::Create)? {
            return Ok(chain);
        }
        let what = || format!("cannot open chain `{name}`");
        let opened = store.chain(name).wait();
        tell_notes(store);
        opened.map_err(|error| fault(error).during(what()))
    }

    /// A chain that exists, by name or id; what is damaged of it is told.
    pub(crate) fn chain_to_read(&self, store: &Store, name: &str) -> Result<Chain, Failure> {
        if let Some(chain) = self.remote_chain(store, name, remote::Want::Existing)? {
            return Ok(chain);
        }
        let opened = store.existing_chain(name).wait();
        tell_notes(store);
        let failure = match opened {
            Ok(chain) => {
                self.tell_missing(store, &chain)?;
                return Ok(chain);
            }
            Err(error) => self.no_chain(error, name),
        };
        let is_first_try = store.damage().is_empty() && !store.info().writer;
        if failure.code() != Code::Damaged || !is_first_try {
            return Err(failure);
        }
        // A chain reads on when its store is gone.
        let store = self.salvage(failure)?;
        let chain = store.existing_chain(name).wait();
        let chain = chain.map_err(|error| self.no_chain(error, name))?;
        self.tell_missing(&store, &chain)?;
        Ok(chain)
    }

    /// The chains.
    pub(crate) fn chains(&self, store: &Store) -> Result<Vec<ChainInfo>, Failure> {
        store.chains().map_err(|error| self.explain(error))
    }

    /// A chain that exists, by name or id, without loading it: what is damaged cannot be loaded.
    pub(crate) fn chain_info(&self, store: &Store, name: &str) -> Result<ChainInfo, Failure> {
        self.chains(store)?
            .into_iter()
            .find(|chain| &*chain.name == name || chain.id.to_string() == name)
            .ok_or_else(|| self.unknown_chain(name))
    }

    /// The chain that an argument means, or all; with a node the chain as it has it now, or all that were opened here.
    pub(crate) fn chains_meant(
        &self,
        store: &Store,
        name: Option<&str>,
    ) -> Result<Vec<ChainInfo>, Failure> {
        let Some(name) = name else {
            return self.chains(store);
        };
        let info = match self.remote_chain(store, name, remote::Want::Existing)? {
            Some(chain) => self.chain_info(store, &chain.id().to_string()),
            None => self.chain_info(store, name),
        };
        Ok(vec![info?])
    }

    fn no_chain(&self, error: ate::Error, name: &str) -> Failure {
        if matches!(error, ate::Error::NoChain { .. }) {
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

/// What was mended by itself while opening.
pub(crate) fn tell_notes(store: &Store) {
    for note in store.notes() {
        say(format_args!("note: {note}"));
    }
}

/// Says where the identity lies, if it is new.
pub(crate) fn announce_identity(store: &Store) {
    if store.is_new_identity() {
        let path = store.dir().map(Keystore::in_dir);
        let path = path.map_or_else(String::new, |keystore| {
            keystore.path().display().to_string()
        });
        say(format_args!(
            "created an identity in {path}: whoever loses this file loses the data, whoever gets it can read and write it\n  \
             next: `ate identity export --yes` prints 24 words that restore it; `ate identity passphrase set` seals the file"
        ));
    }
}
