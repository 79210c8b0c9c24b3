//! `identity`: show, save, restore, seal and unseal the key pair that a store writes with.

use std::io::{self, IsTerminal as _, Read as _};
use std::path::Path;

use ate::{Identity, Keystore, Seed};
use serde::Serialize;

use crate::ambient::SystemRandom;
use crate::args::{IdentityCommand, PassphraseCommand};
use crate::failure::{Failure, fault};
use crate::output::{Output, say};
use crate::passphrase;
use crate::store::Place;

/// 24 words of at most 8 letters, and generous space between them.
const WORDS_BYTES_MAX: u64 = 4096;

pub(crate) fn run(
    place: &Place,
    command: IdentityCommand,
    out: &mut Output,
) -> Result<(), Failure> {
    place.check_directory()?;
    let keystore = Keystore::in_dir(place.dir());
    match command {
        IdentityCommand::Show => show(place, &keystore, out),
        IdentityCommand::Export { yes } => export(place, &keystore, yes, out),
        IdentityCommand::Import { from: _ } => import(place, &keystore, out),
        IdentityCommand::Passphrase { command } => match command {
            PassphraseCommand::Set {
                new_passphrase_file,
            } => set(place, &keystore, new_passphrase_file.as_deref(), out),
            PassphraseCommand::Clear => clear(place, &keystore, out),
        },
    }
}

#[derive(Serialize)]
struct Shown {
    id: String,
    public: String,
    file: String,
    sealed: bool,
}

fn show(place: &Place, keystore: &Keystore, out: &mut Output) -> Result<(), Failure> {
    let seed = seed(place, keystore)?;
    describe(&Identity::from_seed(&seed), keystore, out)
}

fn describe(identity: &Identity, keystore: &Keystore, out: &mut Output) -> Result<(), Failure> {
    let shown = Shown {
        id: identity.id().to_string(),
        public: identity.who().to_string(),
        file: keystore.path().display().to_string(),
        sealed: keystore.is_sealed().map_err(fault)?,
    };
    if out.is_json() {
        return out.object(&shown);
    }
    let sealed = if shown.sealed {
        "by a passphrase"
    } else {
        "no: whoever reads the file has the identity"
    };
    for (what, value) in [
        ("id", shown.id.as_str()),
        ("file", &shown.file),
        ("sealed", sealed),
        ("public", &shown.public),
    ] {
        out.line(format_args!("{what:<8} {value}"))?;
    }
    Ok(())
}

fn export(place: &Place, keystore: &Keystore, yes: bool, out: &mut Output) -> Result<(), Failure> {
    if !yes {
        return Err(
            Failure::usage("the 24 words are the identity: a secret on standard output")
                .next("`ate identity export --yes`, where nobody looks and nothing records it"),
        );
    }
    let seed = seed(place, keystore)?;
    let words = seed.to_words();
    if out.is_json() {
        #[derive(Serialize)]
        struct Words<'a> {
            words: &'a str,
        }
        return out.object(&Words { words: &words });
    }
    out.line(&*words)
}

fn import(place: &Place, keystore: &Keystore, out: &mut Output) -> Result<(), Failure> {
    // Asked first, so that nobody types 24 words in vain.
    if keystore.exists() {
        return Err(fault(ate::Error::IdentityExists {
            path: keystore.path().to_owned(),
        }));
    }
    if io::stdin().is_terminal() {
        say("type the 24 words on one or more lines; end them with Ctrl-D");
    }
    let mut words = String::new();
    io::stdin()
        .lock()
        .take(WORDS_BYTES_MAX)
        .read_to_string(&mut words)
        .map_err(|error| {
            Failure::failed("cannot read the words")
                .because(&error)
                .next("give the 24 words as text on standard input")
        })?;
    let seed = Seed::from_words(&words).map_err(|error| {
        Failure::failed("these are not the 24 words of an identity")
            .because(&error)
            .next("give all 24 words in their order, as `ate identity export --yes` printed them")
    })?;
    let passphrase = place.passphrase().silent()?;
    keystore
        .create(&seed, passphrase.as_deref(), &SystemRandom)
        .map_err(fault)?;
    say(format_args!(
        "restored the identity into {}",
        keystore.path().display()
    ));
    if out.is_json() {
        describe(&Identity::from_seed(&seed), keystore, out)?;
    }
    Ok(())
}

fn set(
    place: &Place,
    keystore: &Keystore,
    new_file: Option<&Path>,
    out: &mut Output,
) -> Result<(), Failure> {
    let was_sealed = is_sealed(place, keystore)?;
    let seed = seed(place, keystore)?;
    let given = match new_file {
        Some(file) => Some(passphrase::from_file(file)?),
        // The usual place holds the old one if there is an old one.
        None if was_sealed => None,
        None => place.passphrase().silent()?,
    };
    let new = match given {
        Some(new) => new,
        None => passphrase::ask_new()?
            .ok_or_else(|| passphrase::needed("there is no new passphrase", was_sealed))?,
    };
    keystore
        .replace(&seed, Some(&new), &SystemRandom)
        .map_err(fault)?;
    say(format_args!(
        "sealed {}; without the passphrase or the 24 words the data is lost",
        keystore.path().display()
    ));
    answer(&seed, keystore, out)
}

fn clear(place: &Place, keystore: &Keystore, out: &mut Output) -> Result<(), Failure> {
    let seed = seed(place, keystore)?;
    if is_sealed(place, keystore)? {
        keystore
            .replace(&seed, None, &SystemRandom)
            .map_err(fault)?;
        say(format_args!(
            "{} has no passphrase any more: whoever reads it has the identity",
            keystore.path().display()
        ));
    } else {
        say("there is no passphrase");
    }
    answer(&seed, keystore, out)
}

fn answer(seed: &Seed, keystore: &Keystore, out: &mut Output) -> Result<(), Failure> {
    if out.is_json() {
        describe(&Identity::from_seed(seed), keystore, out)?;
    }
    Ok(())
}

fn is_sealed(place: &Place, keystore: &Keystore) -> Result<bool, Failure> {
    keystore.is_sealed().map_err(|error| place.explain(error))
}

/// The seed, with the passphrase from wherever it comes.
pub(crate) fn seed(place: &Place, keystore: &Keystore) -> Result<Seed, Failure> {
    let passphrase = if is_sealed(place, keystore)? {
        Some(place.unsealing()?)
    } else {
        None
    };
    keystore
        .seed(passphrase.as_deref())
        .map_err(|error| place.explain(error))
}
