//! What is asked for over the network.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use ate::KeyId;
use clap::Args;

pub(super) const SERVE_HELP: &str = "\
Examples:
  ate --dir ./node serve                                 on UDP port 4433 of all addresses
  ate --dir ./node serve --listen 10.0.0.5:4433
  ate --dir ./node serve --advertise db.example.org --allow ate-key:…   for one identity, under a name

The first line of standard output is the node's address with its key, for the others' --url or ATE_URL:

  export ATE_URL=ate://KEY@db.example.org:4433
  ate put notes greeting '{\"hi\": 1}'      on any machine, with an identity of its own
  ate get notes greeting                    on another one with the same identity (`ate identity export`, `import`)

Names of records and contents are sealed before they come here. The node orders the commits; everybody who follows proves again that
it kept to the rules. It runs until Ctrl-C, answers what it has taken in, and ends.";

pub(super) const REPLICATE_HELP: &str = "\
Examples:
  ate replicate notes shop --url ate://KEY@db.example.org:4433      until Ctrl-C
  ate replicate notes --once                                        until it is in sync; the node stands in ATE_URL
  ate replicate notes --lazy                                        heads and names; contents when they are read

While it runs other commands read the copy beside it. Standard output has a line for every change of standing. What was staged
while the node was out of reach is sent.";

pub(super) const STATUS_HELP: &str = "\
Examples:
  ate status
  ate status notes --json

\"in sync\" means that the node and this store have said the same root for all that either has, and nothing is on its way; \"signed\"
that the node has signed it, so that it can be held to it. \"diverged\" names the file with the evidence.";

pub(super) const CALL_HELP: &str = "\
Examples:
  ate call notes forecast '{\"day\": \"saturday\"}'        the node stands in ATE_URL
  echo 7 | ate call notes count --timeout 300 | head -3

Each answer is a line of standard output as soon as it is there. Request and answers are sealed between caller and server; the node passes
them on unread. Exit code 4: the service answered with an error, or refused; 5: nobody knows whether it was done (deadline, server lost);
1: not done. A service in Rust can be called like this if its types are `ate::Json` or newtypes of it, and `String` for errors.";

pub(super) const ANSWER_HELP: &str = "\
Examples:
  ate answer notes forecast -- ./forecast.py
  ate answer notes count --lines --limit 300 -- sh -c 'seq $(cat)'
  ate answer notes echo --at-once 16 -- cat

The program gets the request, one JSON document and a line break, on standard input, and the caller's verified key in ATE_CALLER. What it
prints is the answer, when it ends with exit code 0. With another code the last line of its standard error is the call's error. It is
killed, with all that it started, when the caller gives up, at --limit, and when its answer is too large. Who may call, and whose answers
are believed, are those whom the chain knows. The first line of standard output says that calls may come. Several may answer one
service. Runs until Ctrl-C, lets the programs that run end, and ends.";

/// Where the chain is, if not here alone.
#[derive(Debug, Args)]
pub(crate) struct Remote {
    /// Address of a node, as `ate serve` prints it: the chain is that node's, and a copy is kept in --dir. CHAIN may be ROOT/NAME then, for another identity's
    #[arg(
        long,
        value_name = "ate://KEY@HOST:PORT",
        env = "ATE_URL",
        global = true
    )]
    pub(crate) url: Option<String>,
    /// How long the node may take to answer; then reads show what is here, and a commit stays staged (exit code 5)
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "10",
        value_parser = seconds,
        global = true,
        hide_short_help = true
    )]
    pub(crate) wait: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// UDP address to listen on; port 0 is one of the system's choice
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:4433")]
    pub(crate) listen: SocketAddr,
    /// Only these identities, as `ate identity show` prints them there; may be repeated
    #[arg(long, value_name = "KEY", value_delimiter = ',', value_parser = key)]
    pub(crate) allow: Vec<KeyId>,
    /// TCP address of the pages /metrics, /health and /ready, in clear: one that the monitoring reaches and nobody else
    #[arg(long, value_name = "ADDR")]
    pub(crate) metrics: Option<SocketAddr>,
    /// The name or address under which others reach this machine: what the first line says
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) advertise: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Replicate {
    /// Chains to keep: NAME, or ROOT/NAME for another identity's
    #[arg(required = true)]
    pub(crate) chains: Vec<String>,
    /// Fetch contents only when they are read
    #[arg(long)]
    pub(crate) lazy: bool,
    /// End as soon as all are in sync
    #[arg(long)]
    pub(crate) once: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Call {
    /// Chain whose members speak: NAME, or ROOT/NAME for another identity's
    pub(crate) chain: String,
    /// Name of the service
    pub(crate) service: String,
    /// The request; without it, standard input is read
    #[arg(value_name = "JSON", allow_negative_numbers = true)]
    pub(crate) request: Option<String>,
    /// By when the whole answer must be there
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// Make the call again if its server is lost before the first answer: it may be done twice
    #[arg(long)]
    pub(crate) retry: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Answer {
    /// Chain whose members speak: NAME, or ROOT/NAME for another identity's
    pub(crate) chain: String,
    /// Name of the service
    pub(crate) service: String,
    /// Each line that the program prints is an answer, sent at once
    #[arg(long)]
    pub(crate) lines: bool,
    /// Programs that run at one time, at most; other calls wait
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) at_once: u16,
    /// How long a program may run
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) limit: Duration,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    pub(crate) program: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Only this chain: its name or id
    pub(crate) chain: Option<String>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a number of seconds from 0 to 86400");
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    if !(0.0..=86_400.0).contains(&seconds) {
        return Err(wrong());
    }
    Ok(Duration::from_secs_f64(seconds))
}

fn key(text: &str) -> Result<KeyId, String> {
    text.parse()
        .map_err(|_| "a key is the `ate-key:` line of `ate identity show`".to_owned())
}
