//! `put`, `get`, `ls`, `rm`, `history`: one record at a time.

use std::future::IntoFuture as _;
use std::io::{self, IsTerminal as _, Read as _};

use ate::chain::{Kept, Position};
use ate::{Chain, ChainInfo, Document, ErrorKind, Expect, Json, Receipt};
use serde::Serialize;

use crate::args::{Erase, Get, History, Ls, Put, Rm};
use crate::export::Shown;
use crate::failure::{Code, Failure, fault};
use crate::interrupt;
use crate::lines::{LINE_BYTES_MAX, check_name};
use crate::output::{Count, Output, Time, plural, say, short};
use crate::store::Place;

/// What a single change gave.
#[derive(Serialize)]
struct Written {
    chain: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    position: u64,
    root: String,
}

pub(crate) fn put(place: &Place, args: &Put, out: &mut Output) -> Result<(), Failure> {
    let name = valid_name(&args.name)?;
    // Read before the store is opened: a bad document must not leave a new store behind.
    let json = document(args.value.as_deref())?;
    let store = place.write()?;
    let chain = place.chain_to_write(&store, &args.chain)?;
    interrupt::listen();
    if let Some(stored) = stored(&chain, name)?
        && !stored.is_json()
    {
        return Err(typed(name, &stored.type_name));
    }
    let expect = match (args.if_absent, args.if_version) {
        (true, _) => Expect::Absent,
        (_, Some(version)) => Expect::Version(version),
        _ => Expect::Anything,
    };
    let was_new = chain.is_new();
    let transaction = chain.begin();
    let what = || format!("cannot put `{name}` into chain `{}`", args.chain);
    let receipt = transaction
        .put_if(name, &json, expect)
        .map_err(|error| fault(error).during(what()))
        .and_then(|_| {
            let landed = place.landed(&store, &chain, transaction.commit());
            let landed = landed.map_err(|failure| failure.during(what()))?;
            landed.map_err(|error| fault(error).during(what()))
        })?;
    if was_new {
        place.announce(&store, &chain);
    }
    let version = chain
        .version::<Json>(name)
        .map(|version| version.to_string());
    store.close().wait().map_err(fault)?;
    written(out, &chain, name, "written", version, &receipt)
}

pub(crate) fn rm(place: &Place, args: &Rm, out: &mut Output) -> Result<(), Failure> {
    let name = valid_name(&args.name)?;
    let store = place.write_existing()?;
    let chain = place.chain_to_read(&store, &args.chain)?;
    interrupt::listen();
    let receipt = place
        .landed(&store, &chain, chain.remove::<Json>(name).into_future())?
        .map_err(|error| not_found(error.into(), &args.chain, name))?;
    store.close().wait().map_err(fault)?;
    written(out, &chain, name, "removed", None, &receipt)
}

pub(crate) fn erase(place: &Place, args: &Erase, out: &mut Output) -> Result<(), Failure> {
    let name = valid_name(&args.name)?;
    if !args.yes {
        return Err(Failure::usage(format!(
            "this destroys `{name}` with all its versions, for good"
        ))
        .next("say that you mean it with --yes; `ate erase --help` tells what stays"));
    }
    let store = place.write_existing()?;
    let chain = place.chain_to_read(&store, &args.chain)?;
    interrupt::listen();
    let receipt = place
        .landed(&store, &chain, chain.erase::<Json>(name).into_future())?
        .map_err(|error| not_found(error.into(), &args.chain, name))?;
    store.close().wait().map_err(fault)?;
    written(out, &chain, name, "erased", None, &receipt)
}

pub(crate) fn get(place: &Place, args: &Get, out: &mut Output) -> Result<(), Failure> {
    let name = valid_name(&args.name)?;
    let store = place.read()?;
    let chain = place.chain_to_read(&store, &args.chain)?;
    let found = match args.at {
        None => chain.document::<Json>(name),
        Some(at) => {
            let position = chain.position();
            if at > position.0 {
                return Err(Failure::failed(format!(
                    "chain `{}` has no position {at}",
                    args.chain
                ))
                .why(format_args!("it is at position {position}"))
                .next(format!("`ate log {}` shows every position", args.chain)));
            }
            chain.as_of(Position(at)).document(name)
        }
    };
    let document = found.map_err(|error| not_found(error.into(), &args.chain, name))?;
    if out.is_json() {
        out.object(&Shown::new(Some(name.to_owned()), &document)?)
    } else {
        out.bytes(document.json.as_bytes())?;
        out.bytes(b"\n")
    }
}

pub(crate) fn ls(place: &Place, args: &Ls, out: &mut Output) -> Result<(), Failure> {
    let store = place.read()?;
    let Some(chain) = &args.chain else {
        return ls_chains(place, &store, args.long, out);
    };
    let chain = place.chain_to_read(&store, chain)?;
    #[derive(Serialize)]
    struct Entry<'a> {
        name: &'a str,
        key: String,
        #[serde(rename = "type")]
        type_name: &'a str,
        version: String,
    }
    let prefix = args.prefix.as_deref().unwrap_or_default();
    for entry in chain.names(prefix).map_err(fault)? {
        let entry = Entry {
            name: &entry.name,
            key: entry.key.to_string(),
            type_name: &entry.type_name,
            version: entry.version.to_string(),
        };
        if out.is_json() {
            out.object(&entry)?;
        } else if args.long {
            out.line(format_args!(
                "{:<10} {:<12} {}",
                entry.version, entry.type_name, entry.name
            ))?;
        } else {
            out.line(entry.name)?;
        }
    }
    Ok(())
}

fn ls_chains(
    place: &Place,
    store: &ate::Store,
    long: bool,
    out: &mut Output,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Entry<'a> {
        name: &'a str,
        id: String,
        root: String,
    }
    let mut chains = store.chains().map_err(fault)?;
    if let Some(node) = place.node()? {
        // A node tells nobody what it has: these are the ones that were opened here.
        let copies = store.replicas();
        let of_node = |info: &ChainInfo| {
            let copy = copies.iter().find(|copy| copy.chain == info.id);
            let address = copy.and_then(|copy| copy.address.as_ref());
            address.is_some_and(|address| match node.node() {
                Some(key) => address.node().node() == Some(key),
                None => address.node().host_port() == node.host_port(),
            })
        };
        chains.retain(of_node);
    }
    for info in &chains {
        let entry = Entry {
            name: &info.name,
            id: info.id.to_string(),
            root: info.root.to_string(),
        };
        if out.is_json() {
            out.object(&entry)?;
        } else if long {
            out.line(format_args!("{}  {}", entry.id, entry.name))?;
        } else {
            out.line(entry.name)?;
        }
    }
    if chains.is_empty() && place.is_remote() {
        say(
            "no chain of this node was opened here yet, and a node lists none: name one, for example `ate ls CHAIN`",
        );
    } else if chains.is_empty() {
        say("no chains yet; next: `ate put universe greeting '{\"hi\": 1}'`");
    }
    Ok(())
}

pub(crate) fn history(place: &Place, args: &History, out: &mut Output) -> Result<(), Failure> {
    let name = valid_name(&args.name)?;
    let store = place.read()?;
    let chain = place.chain_to_read(&store, &args.chain)?;
    #[derive(Serialize)]
    struct Entry {
        version: String,
        position: u64,
        time: Time,
        author: String,
        live: bool,
        bytes: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        gone: Option<&'static str>,
    }
    let versions = chain
        .history::<Json>(name)
        .map_err(|error| not_found(error.into(), &args.chain, name))?;
    for entry in versions {
        let entry = Entry {
            version: entry.version.to_string(),
            position: entry.version.seq + 1,
            time: Time(entry.order_time_ms),
            author: entry.author.to_string(),
            live: entry.live,
            bytes: entry.content_bytes,
            gone: match entry.kept {
                Kept::Erased => Some("erased"),
                Kept::Dropped => Some("dropped"),
                _ => None,
            },
        };
        if out.is_json() {
            out.object(&entry)?;
            continue;
        }
        let bytes = Count(entry.bytes.into());
        let what = match (entry.live, entry.gone) {
            (true, gone) => format!("{bytes} bytes {}", gone.unwrap_or("sealed")),
            (false, Some(gone)) => gone.into(),
            (false, None) => "removed".into(),
        };
        out.line(format_args!(
            "{:<10} position {:<8} {}  {}  {what}",
            entry.version,
            entry.position,
            entry.time,
            short(&entry.author)
        ))?;
    }
    Ok(())
}

fn written(
    out: &mut Output,
    chain: &Chain,
    name: &str,
    done: &str,
    version: Option<String>,
    receipt: &Receipt,
) -> Result<(), Failure> {
    if out.is_json() {
        return out.object(&Written {
            chain: chain.name().to_string(),
            name: name.to_owned(),
            version,
            position: receipt.position.0,
            root: receipt.root.to_string(),
        });
    }
    let what = version.map_or_else(|| done.to_owned(), |version| format!("version {version}"));
    say(format_args!(
        "{}: `{name}` {what}, position {}",
        chain.name(),
        receipt.position
    ));
    Ok(())
}

/// The document of `put`: the argument, or standard input without one line break at its end.
/// A document that was given as an argument, or else on standard input.
pub(crate) fn document(value: Option<&str>) -> Result<Json, Failure> {
    let text = match value {
        Some(value) => value.to_owned(),
        None => {
            if io::stdin().is_terminal() {
                say("reading the document from standard input; end it with Ctrl-D");
            }
            let mut bytes = Vec::new();
            io::stdin()
                .lock()
                .take(LINE_BYTES_MAX + 3)
                .read_to_end(&mut bytes)
                .map_err(|error| {
                    Failure::failed("cannot read standard input")
                        .because(&error)
                        .next("give the document as an argument, or by a pipe")
                })?;
            if bytes.pop_if(|byte| *byte == b'\n').is_some() {
                bytes.pop_if(|byte| *byte == b'\r');
            }
            String::from_utf8(bytes).map_err(|error| bad_document(&error).why("JSON is UTF-8"))?
        }
    };
    if text.len() as u64 > LINE_BYTES_MAX {
        return Err(Failure::failed("the document is too large")
            .why(format_args!(
                "more than {}, the limit of a record",
                plural(LINE_BYTES_MAX >> 20, "MiB").trim_end_matches('s')
            ))
            .next("split it into several records"));
    }
    Json::new(text).map_err(|error| bad_document(&error))
}

fn bad_document(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::failed("the document is not acceptable JSON")
        .because(error)
        .next("correct it; in a shell, put the document in single quotes")
}

/// A name of a record or a chain.
pub(crate) fn valid_name(name: &str) -> Result<&str, Failure> {
    check_name(name).map_err(|why| {
        Failure::usage("not a name")
            .why(why)
            .next("names have 1 to 1024 bytes of UTF-8 without control characters")
    })?;
    Ok(name)
}

/// A record that a program wrote stands where a document should go.
pub(crate) fn typed(name: &str, type_name: &str) -> Failure {
    Failure::new(
        Code::Rejected,
        format!("`{name}` is a record of type `{type_name}`, not a document"),
    )
    .why("a document in its place could not be read by the program that wrote it")
    .next("take another name, or `ate rm` the record first")
}

/// What stands under a name.
pub(crate) fn stored(chain: &Chain, name: &str) -> Result<Option<Document>, Failure> {
    match chain.document::<Json>(name) {
        Ok(document) => Ok(Some(document)),
        Err(error) => {
            let error = ate::Error::from(error);
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Gone) {
                Ok(None)
            } else {
                Err(error.into())
            }
        }
    }
}

fn not_found(error: ate::Error, chain: &str, name: &str) -> Failure {
    if error.kind() == ErrorKind::NotFound {
        Failure::failed(format!("no record `{name}` in chain `{chain}`")).next(format!(
            "`ate ls {chain}` lists its names; `ate history {chain} {name}` shows whether it was removed"
        ))
    } else {
        Failure::from(error).during(format!("cannot use `{name}` in chain `{chain}`"))
    }
}
