//! `export`: all records of a chain in the order they were written.

use ate::{Document, Json, Key};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::args::Export;
use crate::failure::{Failure, fault};
use crate::output::{Output, Time, one_line, plural, raw, say};
use crate::store::Place;

/// A record as `--json` shows it.
#[derive(Serialize)]
pub(crate) struct Shown {
    name: Option<String>,
    key: String,
    #[serde(rename = "type")]
    type_name: String,
    version: String,
    author: String,
    time: Time,
    value: Box<RawValue>,
}

impl Shown {
    pub(crate) fn new(name: Option<String>, document: &Document) -> Result<Self, Failure> {
        Ok(Self {
            name,
            key: document.key.to_string(),
            type_name: document.type_name.to_string(),
            version: document.version.to_string(),
            author: document.author.to_string(),
            time: Time(document.order_time_ms),
            value: raw(&document.json)?,
        })
    }
}

pub(crate) fn run(place: &Place, args: &Export, out: &mut Output) -> Result<(), Failure> {
    let store = place.read()?;
    let chain = place.chain_to_read(&store, &args.chain)?;
    let mut folded = 0;
    for key in chain.keys_in_order() {
        let document = match chain.document(Key::<Json>::from_raw(key)) {
            Ok(document) => document,
            Err(error) => {
                let name = chain.name_of(&key).unwrap_or_else(|| key.to_string());
                place.leave_out(format_args!("record `{name}`"), fault(error))?;
                continue;
            }
        };
        if out.is_json() {
            out.object(&Shown::new(chain.name_of(&key), &document)?)?;
            continue;
        }
        let line = one_line(&document.json);
        folded += u64::from(matches!(line, std::borrow::Cow::Owned(_)));
        out.bytes(line.as_bytes())?;
        out.bytes(b"\n")?;
    }
    out.flush()?;
    if folded > 0 {
        say(format_args!(
            "note: {} had line breaks between members, which are spaces here; `ate get` prints the exact bytes",
            plural(folded, "document")
        ));
    }
    Ok(())
}
