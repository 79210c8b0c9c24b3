//! The command line: what can be asked for, with an example for each command.

use std::path::PathBuf;
use std::time::Duration;

use ate::chain::Version;
use clap::{Args, Parser, Subcommand};

use crate::logging::LogOptions;

mod network;

pub(crate) use network::{Answer, Call, Remote, Replicate, Serve, Status};

/// Events of an import's commit: below the format's limit by enough for definitions of types.
const PER_COMMIT_DEFAULT: u32 = 1000;

/// A data store whose every change is signed, sealed and chained, so that nobody who stores it can read or rewrite it.
#[derive(Debug, Parser)]
#[command(
    name = "ate",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    after_help = "\
Start here:
  ate demo                                  the whole story in a few seconds, in a temporary directory
  ate put universe greeting '{\"hi\": 1}'     write a document; makes the store and the chain
  ate get universe greeting                 read it back
  ate verify                                prove every signature, hash and root again
  ate serve                                 let other machines keep and follow chains here; prints an address for their --url

Standard output carries data only; messages go to standard error.
Exit codes: 0 done, 1 failed or not found, 2 usage, 3 damage found, 4 rejected or conflict, 5 unknown outcome,
6 damaged, but what is proven was printed."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Directory of the store
    #[arg(
        long,
        value_name = "DIR",
        env = "ATE_DIR",
        default_value = "./ate-data",
        global = true
    )]
    pub(crate) dir: PathBuf,
    /// Print JSON, one document a line; errors on standard error too
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Read the passphrase of the identity from the first line of a file (else from ATE_PASSPHRASE, else it is asked for)
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) remote: Remote,
    #[command(flatten)]
    pub(crate) log: LogOptions,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the whole story on a store of its own, in a few seconds
    #[command(after_help = "\
Example:
  ate demo                    in a temporary directory that is removed afterwards
  ate demo --keep ./look      leave the store there, to look around in it")]
    Demo(Demo),
    /// Write a JSON document under a name
    #[command(after_help = "\
Examples:
  ate put universe settings/theme '{\"dark\": true}'
  curl -s https://example.org/data.json | ate put universe data
  ate put universe settings/theme '{\"dark\": false}' --if-version 1.1

The bytes of the document are kept as they are; of standard input, without one line break at its end.
A chain that does not exist is created, and so is the store.")]
    Put(Put),
    /// Print a document, or a record that a program wrote, as JSON
    #[command(after_help = "\
Examples:
  ate get universe settings/theme
  ate get universe settings/theme --at 2      as it was at position 2
  ate get universe settings/theme --json      with version, type, author and time")]
    Get(Get),
    /// List chains, or the names in one
    #[command(after_help = "\
Examples:
  ate ls                          the chains of this store
  ate ls universe                 the names in a chain
  ate ls universe settings/       those that begin with `settings/`
  ate ls universe --long          with version, type and size")]
    Ls(Ls),
    /// Remove a record; its history stays readable (see `erase`)
    #[command(after_help = "\
Example:
  ate rm universe settings/theme")]
    Rm(Rm),
    /// Destroy a record with all its versions and its name, for good
    #[command(after_help = "\
Example:
  ate erase universe people/ann --yes

Every content that the record ever had and its name are destroyed in this store, and no copy that follows the chain shows them
any more. The chain stays provable: that a record existed, when it was written, how large it was and by whom stays visible.
It cannot reach copies that do not follow the chain: backups, exports, whoever has read it. A solid-state disk or a file system
with snapshots may keep old blocks until it needs their place: encrypt the disk if that matters. Who held the keys can still
confirm a name that it guesses.")]
    Erase(Erase),
    /// List the versions of one record
    #[command(after_help = "\
Example:
  ate history universe settings/theme
  ate get universe settings/theme --at 2      read what it was then")]
    History(History),
    /// Write newline-delimited JSON, many documents a commit
    #[command(after_help = "\
Examples:
  ate import shop orders.ndjson --key id
  ate import shop orders.ndjson --key country,id        names like [\"at\",\"17\"]
  zcat orders.ndjson.gz | ate import shop - --key id --acks

A document is named after its key: the text of a string, the digits of an integer, or a JSON array of several.
A file is checked whole before the first commit. Standard input cannot be: it stops at the first bad line and says which
are in. Documents that are there already with the same content are left alone, so an import may be repeated. Empty lines
are skipped.")]
    Import(Import),
    /// Print all records of a chain as newline-delimited JSON, in the order they were written
    #[command(after_help = "\
Examples:
  ate export shop > orders.ndjson
  ate export shop --json            with name, type and version of each")]
    Export(Export),
    /// Show the history of a chain, commit by commit
    #[command(after_help = "\
Examples:
  ate log universe
  ate log universe --follow         and what is written from now on
  ate log universe --json           with the bytes of each part")]
    Log(Log),
    /// Show the changes of a chain as they are made
    #[command(after_help = "\
Examples:
  ate watch universe                              from now on, until Ctrl-C
  ate watch universe --prefix settings/ --from 0  all there ever were of these names, and what follows
  ate watch universe --json --count 1             wait for one change
  ate watch shop --type order --as mailer         go on where the last `--as mailer` ended

Every change comes once, in order, as the record was then; what was erased or dropped since says so. With --as the place is kept
in this store: a change that was not printed to the end comes again. Only the process that writes the store can keep it, so no
other may run meanwhile; the first time it begins with what is new, or at --from.")]
    Watch(Watch),
    /// Prove chains again from their first commit
    #[command(after_help = "\
Examples:
  ate verify
  ate verify universe --deep

Every hash, rule, order and root is checked again from the files alone, and the signatures that cover them; with --deep
every single signature. Damage is exit code 3, with its chain, position, file and offset, and every damaged place of the log.")]
    Verify(Verify),
    /// Give back the space of contents that nobody needs any more
    #[command(after_help = "\
Examples:
  ate compact                               finish erasures, drop what stands below the horizons set before
  ate compact shop --older-than 30d         keep no content that was replaced or removed more than 30 days ago
  ate compact shop --before 12000           keep no content that was replaced before position 12000
  ate compact shop --percent 50             only from files of which half would go

A horizon is a signed commit: everybody who follows the chain may drop what was replaced before it; what is current, every
name and every proof stay, and a read of what was dropped says so. It never moves back. Without one, nothing but erased bodies
goes. A store that runs does this by itself, slowly (StoreBuilder::upkeep); this does it now, and moves what was written last to
sealed files as well.")]
    Compact(Compact),
    /// Read everything and check every checksum
    #[command(after_help = "\
Examples:
  ate scrub                   as fast as the disk gives it
  ate scrub --rate 20         at most 20 MiB a second, beside a process that writes

It finds what the disk has damaged, before it is needed. Damage is exit code 3, with every place. A store that runs does it
once a day by itself. `ate verify` proves signatures and hashes on top.")]
    Scrub(Scrub),
    /// Copy the store into another directory, also while another process writes it
    #[command(after_help = "\
Examples:
  ate backup /mnt/disk/ate                    the first time everything, later what is new
  ate backup /mnt/disk/ate --with-identity    and the file that can read it

The copy ends where the store was durable when the command began. What is new in it is read back and checked before it
counts; an interrupted backup leaves the earlier one. What was erased since goes from the copy too. A backup is not opened
for writing; with the identity beside it, `ate --dir /mnt/disk/ate verify` proves it where it is. The identity is NOT copied
unless you say so: keep it, or its 24 words, in another place, or nobody can read the backup.")]
    Backup(Backup),
    /// Put a backup back, in a directory without a store, and prove all of it
    #[command(after_help = "\
Examples:
  ate --dir ./new restore /mnt/disk/ate
  ate --dir ./new restore /mnt/disk/ate --identity /safe/place/identity

Every file is compared with its checksum, then every chain is proved from its first commit with every body; only then the
directory becomes a store. It becomes another store than the original: both may write, and their commits are never mistaken
for one another, but they are two histories from there on. A store that is there is never overwritten.")]
    Restore(Restore),
    /// Mend a damaged store with another copy of it
    #[command(after_help = "\
Examples:
  ate repair --from /mnt/disk/ate             a backup, or a directory that was copied
  ate repair --from /mnt/disk/ate --discard   and remove the damaged files that were kept

Takes what is damaged or missing here from the same place there, if it passes its checksums, then proves every chain with every
body, and only then replaces files. The damaged ones are kept as damaged-NAME. What the copy does not have stays damaged, is
listed, and is exit code 3. Erased content does not come back.")]
    Repair(Repair),
    /// Show, save or restore the key pair that this store writes with
    #[command(after_help = "\
Examples:
  ate identity show
  ate identity export --yes > words.txt            the 24 words that restore it: keep them secret
  ate --dir ./new identity import - < words.txt
  ate identity passphrase set")]
    Identity(IdentityArgs),
    /// Show, vouch for or forget the nodes that this store has met
    #[command(after_help = "\
Examples:
  ate nodes ls                                  whom this store knows, and since when
  ate nodes ls --names                          and which chain each of their names stands for
  ate nodes pin ate://NODE@db.example.org:4433 --note 'told by phone'
  ate nodes pin 'ate://NODE@db.example.org/ROOT/shop?id=CHAIN'
  ate nodes forget db.example.org:4433
  ate nodes forget ate://db.example.org/shop    what that name stands for, and nothing else

The first key that answers at an address without a key is trusted and kept in the file `known-nodes` of the store; another key
there later is an error. `pin` says which key is right, in place of what was known; `forget` makes the next meeting a first one.")]
    Nodes(NodesArgs),
    /// Host chains for others: they write and read with --url, and this store can read nothing of it
    #[command(after_help = network::SERVE_HELP)]
    Serve(Serve),
    /// Keep copies of a node's chains here, up to date
    #[command(after_help = network::REPLICATE_HELP)]
    Replicate(Replicate),
    /// Call a service of a chain: a request and its answers are JSON
    #[command(after_help = network::CALL_HELP)]
    Call(Call),
    /// Answer calls of a chain by running a program for each
    #[command(after_help = network::ANSWER_HELP)]
    Answer(Answer),
    /// Show how the chains here stand to the nodes that they follow
    #[command(after_help = network::STATUS_HELP)]
    Status(Status),
    /// Show paths, identity, chains, disk use and limits
    #[command(after_help = "\
Example:
  ate info --json")]
    Info,
    /// Print a completion script for a shell
    #[command(after_help = "\
Example:
  ate completions bash > ~/.local/share/bash-completion/completions/ate")]
    Completions(Completions),
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Leave the store in this directory, which must not exist or be empty
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Put {
    /// Chain to write to
    pub(crate) chain: String,
    /// Name of the document
    pub(crate) name: String,
    /// The document; without it, standard input is read
    #[arg(value_name = "JSON", allow_negative_numbers = true)]
    pub(crate) value: Option<String>,
    /// Only if there is no record of this name
    #[arg(long, conflicts_with = "if_version")]
    pub(crate) if_absent: bool,
    /// Only if the record is still at this version, for example 12.0
    #[arg(long, value_name = "VERSION")]
    pub(crate) if_version: Option<Version>,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// Chain to read
    pub(crate) chain: String,
    /// Name of the record
    pub(crate) name: String,
    /// Read it as it was at this position
    #[arg(long, value_name = "POSITION")]
    pub(crate) at: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Chain to list
    pub(crate) chain: Option<String>,
    /// Only names that begin like this
    pub(crate) prefix: Option<String>,
    /// Show more than the name
    #[arg(long, short)]
    pub(crate) long: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Chain to write to
    pub(crate) chain: String,
    /// Name of the record
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct Erase {
    /// Chain to write to
    pub(crate) chain: String,
    /// Name of the record
    pub(crate) name: String,
    /// Yes, destroy it: nobody brings it back
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct History {
    /// Chain to read
    pub(crate) chain: String,
    /// Name of the record
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Chain to write to
    pub(crate) chain: String,
    /// File of newline-delimited JSON, or `-` for standard input
    pub(crate) file: PathBuf,
    /// Members of each document that name it
    #[arg(
        long,
        value_name = "FIELD[,FIELD...]",
        value_delimiter = ',',
        required = true
    )]
    pub(crate) key: Vec<String>,
    /// Documents in one commit, at most; fewer if they are large
    #[arg(long, value_name = "N", default_value_t = PER_COMMIT_DEFAULT, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) per_commit: u32,
    /// Print `ack POSITION RECORDS` for each commit as soon as it is durable: so many records of the input are in
    #[arg(long)]
    pub(crate) acks: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Chain to read
    pub(crate) chain: String,
}

#[derive(Debug, Args)]
pub(crate) struct Log {
    /// Chain to read
    pub(crate) chain: String,
    /// Go on with what is written from now on, until Ctrl-C
    #[arg(long, short)]
    pub(crate) follow: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Chain to watch
    pub(crate) chain: String,
    /// Only records whose names begin like this
    #[arg(long, value_name = "PREFIX", conflicts_with = "record")]
    pub(crate) prefix: Option<String>,
    /// Only this record: its name or its key
    #[arg(long, value_name = "KEY")]
    pub(crate) record: Option<String>,
    /// Only records of the type of this name; documents are `json`
    #[arg(long = "type", value_name = "NAME")]
    pub(crate) type_name: Option<String>,
    /// Begin behind this position; 0 is the beginning
    #[arg(long, value_name = "POSITION|now", default_value = "now", value_parser = begin)]
    pub(crate) from: Begin,
    /// Remember under this name what was printed, and go on there
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) consumer: Option<String>,
    /// End after so many changes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Begin {
    Now,
    At(u64),
}

fn begin(text: &str) -> Result<Begin, String> {
    if text == "now" {
        return Ok(Begin::Now);
    }
    let position = text.parse().map_err(|_| "a position or `now`");
    Ok(Begin::At(position?))
}

#[derive(Debug, Args)]
pub(crate) struct Compact {
    /// Chain to compact; all chains by default
    pub(crate) chain: Option<String>,
    /// Move the horizon to this position first
    #[arg(long, value_name = "POSITION", conflicts_with = "older_than")]
    pub(crate) before: Option<u64>,
    /// Move the horizon to where the chain stood so long ago: a number with s, m, h, d or w
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub(crate) older_than: Option<Duration>,
    /// Rewrite a file only if at least this share of its contents would go
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) percent: u8,
    /// Rewrite a file only if at least so many bytes would go
    #[arg(long, default_value_t = 0)]
    pub(crate) least_bytes: u64,
    /// Most MiB a second; 0: as fast as it goes
    #[arg(long, default_value_t = 0, value_name = "MIB")]
    pub(crate) rate: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Scrub {
    /// Most MiB a second; 0: as fast as it goes
    #[arg(long, default_value_t = 0, value_name = "MIB")]
    pub(crate) rate: u32,
}

/// A length of time: a whole number and its unit.
fn age(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a number followed by s, m, h, d or w");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        'w' => 7 * 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let seconds = number.checked_mul(seconds).ok_or_else(wrong)?;
    Ok(Duration::from_secs(seconds))
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Chain to prove; all without it
    pub(crate) chain: Option<String>,
    /// Verify every single signature, also those that a later one covers
    #[arg(long)]
    pub(crate) deep: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// Directory of the backup: empty, or with earlier backups of this store
    pub(crate) dest: PathBuf,
    /// Copy the identity file too: whoever gets the backup can then read it, and write as you
    #[arg(long)]
    pub(crate) with_identity: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Repair {
    /// Directory of the other copy: a backup, or a copied directory of this store
    #[arg(long, value_name = "DIR")]
    pub(crate) from: PathBuf,
    /// Remove the damaged files, if nothing is damaged any more
    #[arg(long)]
    pub(crate) discard: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// Directory of the backup
    pub(crate) source: PathBuf,
    /// Identity file to put into the restored store
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct IdentityArgs {
    #[command(subcommand)]
    pub(crate) command: IdentityCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    /// Print the public half and where the secret one lies
    Show,
    /// Print the 24 words that restore the identity
    Export {
        /// Yes, print the secret to standard output
        #[arg(long)]
        yes: bool,
    },
    /// Restore an identity from its 24 words, in a directory that has none yet
    Import {
        /// `-`: the words are read from standard input
        #[arg(value_name = "-", value_parser = ["-"])]
        from: String,
    },
    /// Seal the identity file by a passphrase, or unseal it
    Passphrase {
        #[command(subcommand)]
        command: PassphraseCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PassphraseCommand {
    /// Seal the identity file; asks for the passphrase twice, or takes it as --passphrase-file says
    Set {
        /// Read the new passphrase from the first line of a file, where the old one is given by other means
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: Option<PathBuf>,
    },
    /// Store the identity without a passphrase again
    Clear,
}

#[derive(Debug, Args)]
pub(crate) struct NodesArgs {
    #[command(subcommand)]
    pub(crate) command: NodesCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodesCommand {
    /// List the nodes that are known, with their keys
    Ls {
        /// List also which chain each name stands for
        #[arg(long)]
        names: bool,
    },
    /// Forget the key of a place, or, with the address of a chain, what its name stands for
    Forget {
        /// host:port, ate://host:port, or ate://host:port/[ROOT/]CHAIN
        address: String,
    },
    /// Vouch for the key of a node and, with the address of a chain, for the chain of that name
    Pin {
        /// ate://NODE@host:port, or ate://NODE@host:port/[ROOT/]CHAIN?id=ID
        address: String,
        /// Why it is trusted, for those who look later
        #[arg(long, value_name = "TEXT", default_value = "pinned")]
        note: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_teaches_by_example() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string);
            assert!(
                help.is_some_and(|help| help.contains("Example")),
                "`{}` has no example",
                command.get_name()
            );
        }
    }
}
