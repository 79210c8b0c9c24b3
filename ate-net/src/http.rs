//! A node's own pages: `/metrics`, `/health`, `/ready`, over HTTP/1.1.
//!
//! Not hyper: three fixed pages need one request head, no body, no pipelining and no upgrade. That is less code than a configured hyper, and no further dependency
//! whose parser stands in front of an unauthenticated port. What is not needed is refused: only `GET` and `HEAD`, one request a connection (`Connection: close`), a
//! head of at most 8 KiB, fixed time-outs, few connections. Bind it to an address that only the monitoring reaches: the pages name no peer, chain or key, but they
//! tell how busy the node is.

mod head;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::limits::{Concurrent, IpPrefix};
use crate::metrics::METRICS_CONTENT_TYPE;
use crate::transport::Task;
use head::{Method, Verdict, judge};

/// Longest request head, line breaks included.
pub const HTTP_HEAD_BYTES_MAX: usize = 8 << 10;

/// How much is read and thrown away after the answer, so that closing does not destroy it on its way.
const DRAIN_BYTES_MAX: usize = 64 << 10;

/// How long to wait after the system gave no connection: it may have no more files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the pages say.
pub trait Pages: Send + Sync + 'static {
    /// The text of `/metrics`.
    fn metrics(&self) -> String;

    /// Whether the process works at all; the error is shown. Asked often: it must not wait.
    ///
    /// # Errors
    /// What is wrong, without names, keys or contents.
    fn health(&self) -> Result<(), String>;

    /// Whether it takes requests: not yet while it opens, no more while it ends.
    ///
    /// # Errors
    /// Why not, without names, keys or contents.
    fn ready(&self) -> Result<(), String>;
}

/// Limits of the pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HttpLimits {
    /// Connections at one moment; further ones are closed at once. Default 64.
    pub connections: u32,
    /// Connections at one moment from one address. Default 16, so that one that holds its own open does not shut the monitoring out.
    pub connections_per_address: u32,
    /// Time for the whole request head, in ms. Default 5000.
    pub head_ms_max: u64,
    /// Time for the whole answer, in ms. Default 10,000.
    pub answer_ms_max: u64,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: 64,
            connections_per_address: 16,
            head_ms_max: 5000,
            answer_ms_max: 10_000,
        }
    }
}

/// Listens, and answers while its task runs.
pub struct HttpServer {
    listener: TcpListener,
    local: SocketAddr,
    limits: HttpLimits,
}

impl HttpServer {
    /// Listens on an address; port 0 takes any free one. Nothing is answered yet.
    ///
    /// # Errors
    /// What the system says.
    pub fn bind(at: SocketAddr, limits: HttpLimits) -> io::Result<Self> {
        let listener = TcpListener::bind(at)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            local: listener.local_addr()?,
            listener,
            limits,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Answers until it is dropped. Needs a tokio runtime with time and I/O.
    ///
    /// # Cancel safety
    /// Dropped, it closes the port and every connection.
    ///
    /// # Errors
    /// Only if the port cannot be watched; a failed connection harms no other.
    pub fn run(self, pages: Arc<dyn Pages>) -> Task<'static, io::Result<()>> {
        Box::pin(async move {
            let listener = tokio::net::TcpListener::from_std(self.listener)?;
            let limits = self.limits;
            let permits =
                Concurrent::<IpPrefix>::new(limits.connections_per_address, limits.connections);
            // Dropped with this task, and all of them with it.
            let mut tasks = tokio::task::JoinSet::new();
            loop {
                while tasks.try_join_next().is_some() {}
                let (stream, peer) = match listener.accept().await {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(%error, "no connection for the pages");
                        sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                };
                let Some(permit) = permits.try_take(peer.ip().into()) else {
                    tracing::debug!("too many connections for the pages");
                    continue;
                };
                let pages = pages.clone();
                tasks.spawn(async move {
                    serve(stream, &*pages, limits).await;
                    drop(permit);
                });
            }
        })
    }
}

impl std::fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpServer")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

/// One connection, from its first byte to its end.
async fn serve(mut stream: TcpStream, pages: &dyn Pages, limits: HttpLimits) {
    let wait = Duration::from_millis(limits.head_ms_max);
    let (answer, method) = match timeout(wait, read_head(&mut stream)).await {
        Ok(Ok(Some(Verdict::Ask { method, path }))) => (page(pages, &path), method),
        Ok(Ok(Some(Verdict::Refuse(status)))) => (Answer::text(status, ""), Method::Get),
        Err(_) => (Answer::text("408 Request Timeout", ""), Method::Get),
        // It went away: nobody waits for an answer.
        Ok(Ok(None) | Err(_)) => return,
    };
    let wait = Duration::from_millis(limits.answer_ms_max);
    let bytes = answer.bytes(method);
    let sent = timeout(wait, async {
        stream.write_all(&bytes).await?;
        stream.shutdown().await?;
        // To close with bytes unread resets the connection, which may overtake the answer.
        let mut rest = [0; 1024];
        let mut drained = 0;
        while drained < DRAIN_BYTES_MAX {
            match stream.read(&mut rest).await? {
                0 => break,
                count => drained += count,
            }
        }
        io::Result::Ok(())
    });
    // Whoever does not read its answer gets none.
    let _ = sent.await;
}

/// The request's head; `None` if the peer ended before it was whole.
async fn read_head(stream: &mut TcpStream) -> io::Result<Option<Verdict>> {
    let mut head = vec![0; HTTP_HEAD_BYTES_MAX];
    let mut filled = 0;
    loop {
        if let Some(verdict) = judge(&head[..filled]) {
            return Ok(Some(verdict));
        }
        if filled == head.len() {
            return Ok(Some(Verdict::Refuse("431 Request Header Fields Too Large")));
        }
        match stream.read(&mut head[filled..]).await? {
            0 => return Ok(None),
            count => filled += count,
        }
    }
}

fn page(pages: &dyn Pages, path: &str) -> Answer {
    let state = |state: Result<(), String>| match state {
        Ok(()) => Answer::text("200 OK", "ok"),
        Err(why) => Answer::text("503 Service Unavailable", &why),
    };
    match path {
        "/metrics" => Answer {
            status: "200 OK",
            content_type: METRICS_CONTENT_TYPE,
            body: pages.metrics(),
        },
        "/health" => state(pages.health()),
        "/ready" => state(pages.ready()),
        _ => Answer::text("404 Not Found", "/metrics, /health, /ready"),
    }
}

struct Answer {
    status: &'static str,
    content_type: &'static str,
    body: String,
}

impl Answer {
    fn text(status: &'static str, body: &str) -> Self {
        let body = if body.is_empty() { status } else { body };
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: format!("{body}\n"),
        }
    }

    fn bytes(&self, method: Method) -> Vec<u8> {
        let (status, content_type, length) = (self.status, self.content_type, self.body.len());
        let allow = if status.starts_with("405") {
            "Allow: GET, HEAD\r\n"
        } else {
            ""
        };
        let mut text = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n{allow}\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
        );
        if method == Method::Get {
            text.push_str(&self.body);
        }
        text.into_bytes()
    }
}
