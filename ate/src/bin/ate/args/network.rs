//! What is asked for over the network.

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
