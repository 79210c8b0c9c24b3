//! The peer of the network rows: `nats-server`, if it is installed, over its own text protocol on the loopback interface.
//!
//! Three figures: request and reply with 1 and 50 callers, publish and subscribe, and JetStream with a sync before each answer where the version knows it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ate_benches::{now, percentile, row};

use crate::publish::of_nats;
use crate::{Bench, Outcome};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// A server that is ended with this.
pub(crate) struct Server {
    process: Child,
    port: u16,
    can_always_sync: bool,
}

impl Server {
    /// `None` if it is not installed.
    pub(crate) fn start(bench: &Bench) -> Result<Option<Self>, Failed> {
        // With a sync before each answer first: older versions refuse that setting.
        for sync in [", sync_interval: always", ""] {
            let dir = bench.fresh("nats")?;
            std::fs::create_dir_all(&dir)?;
            let port = std::net::TcpListener::bind("127.0.0.1:0")?
                .local_addr()?
                .port();
            let store = dir.join("js");
            let text = format!(
                "host: 127.0.0.1\nport: {port}\njetstream {{ store_dir: \"{}\"{sync} }}\n",
                store.display()
            );
            let config = dir.join("nats.conf");
            std::fs::write(&config, text)?;
            let spawned = Command::new("nats-server")
                .arg("-c")
                .arg(&config)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            let Ok(process) = spawned else {
                return Ok(None);
            };
            let mut server = Self {
                process,
                port,
                can_always_sync: !sync.is_empty(),
            };
            for _ in 0..100 {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Ok(Some(server));
                }
                if server.process.try_wait()?.is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Err("nats-server does not answer".into())
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// One connection.
pub(crate) struct Client {
    write: TcpStream,
    read: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(port: u16) -> Result<Self, Failed> {
        let write = TcpStream::connect(("127.0.0.1", port))?;
        write.set_nodelay(true)?;
        let mut read = BufReader::new(write.try_clone()?);
        let mut line = String::new();
        read.read_line(&mut line)?;
        let mut client = Self { write, read };
        client.send(b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\nPING\r\n")?;
        client.until_pong()?;
        Ok(client)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        Ok(self.write.write_all(bytes)?)
    }

    pub(crate) fn until_pong(&mut self) -> Result<(), Failed> {
        loop {
            let mut line = String::new();
            if self.read.read_line(&mut line)? == 0 {
                return Err("the server has gone".into());
            }
            if line.starts_with("PONG") {
                return Ok(());
            }
        }
    }

    /// The next message: where an answer goes, and its length.
    pub(crate) fn message(&mut self) -> Result<(String, Vec<u8>), Failed> {
        loop {
            let mut line = String::new();
            if self.read.read_line(&mut line)? == 0 {
                return Err("the server has gone".into());
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["PING"] => self.send(b"PONG\r\n")?,
                ["MSG", _, _, rest @ ..] | ["HMSG", _, _, rest @ ..] => {
                    let bytes: usize = rest.last().ok_or("no length")?.parse()?;
                    let reply = rest
                        .first()
                        .filter(|_| rest.len() > 1)
                        .map_or("", |reply| reply);
                    let reply = reply.to_owned();
                    let mut body = vec![0; bytes + 2];
                    std::io::Read::read_exact(&mut self.read, &mut body)?;
                    body.truncate(bytes);
                    return Ok((reply, body));
                }
                _ => {}
            }
        }
    }
}

const BODY: &[u8; 16] = b"0123456789abcdef";

pub(crate) fn nats(bench: &Bench) -> Outcome {
    let Some(server) = Server::start(bench)? else {
        row("nats", 0.0, "", "nats-server is not installed: no figures");
        return Ok(());
    };
    let mut responder = Client::connect(server.port)?;
    responder.send(b"SUB echo 1\r\nPING\r\n")?;
    responder.until_pong()?;
    std::thread::spawn(move || -> Result<(), Failed> {
        loop {
            let (reply, body) = responder.message()?;
            let mut answer = format!("PUB {reply} {}\r\n", body.len()).into_bytes();
            answer.extend_from_slice(&body);
            answer.extend_from_slice(b"\r\n");
            responder.send(&answer)?;
        }
    });
    request_reply(&server, bench, 1)?;
    request_reply(&server, bench, 50)?;
    of_nats(&server, bench)?;
    durable_publish(&server, bench)
}

fn request_reply(server: &Server, bench: &Bench, callers: usize) -> Outcome {
    let stop = Arc::new(AtomicBool::new(false));
    let mut threads = Vec::new();
    let begun = now();
    for number in 0..callers {
        let (stop, port) = (stop.clone(), server.port);
        threads.push(std::thread::spawn(
            move || -> Result<Vec<Duration>, Failed> {
                let mut client = Client::connect(port)?;
                let inbox = format!("inbox.{number}");
                client.send(format!("SUB {inbox} 1\r\n").as_bytes())?;
                let mut request = format!("PUB echo {inbox} {}\r\n", BODY.len()).into_bytes();
                request.extend_from_slice(BODY);
                request.extend_from_slice(b"\r\n");
                let mut times = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let at = now();
                    client.send(&request)?;
                    client.message()?;
                    times.push(at.elapsed());
                }
                Ok(times)
            },
        ));
    }
    std::thread::sleep(bench.length);
    stop.store(true, Ordering::Relaxed);
    let mut times = Vec::new();
    for thread in threads {
        times.extend(thread.join().map_err(|_| "a caller failed")??);
    }
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    times.sort_unstable();
    let note = format!(
        "p50 {:?} p99 {:?}",
        percentile(&times, 50),
        percentile(&times, 99)
    );
    row(
        &format!("nats request/reply, {callers} callers"),
        rate,
        "calls/s",
        &note,
    );
    Ok(())
}

fn durable_publish(server: &Server, bench: &Bench) -> Outcome {
    let mut client = Client::connect(server.port)?;
    client.send(b"SUB inbox.js 1\r\n")?;
    let create = br#"{"name":"S","subjects":["durable.>"],"storage":"file","num_replicas":1}"#;
    let mut request =
        format!("PUB $JS.API.STREAM.CREATE.S inbox.js {}\r\n", create.len()).into_bytes();
    request.extend_from_slice(create);
    request.extend_from_slice(b"\r\n");
    client.send(&request)?;
    client.message()?;
    let body = [b'x'; 200];
    let mut publish = b"PUB durable.a inbox.js 200\r\n".to_vec();
    publish.extend_from_slice(&body);
    publish.extend_from_slice(b"\r\n");
    let (mut times, begun) = (Vec::new(), now());
    while begun.elapsed() < bench.length {
        let at = now();
        client.send(&publish)?;
        client.message()?;
        times.push(at.elapsed());
    }
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    times.sort_unstable();
    let how = if server.can_always_sync {
        "sync_interval: always"
    } else {
        "this version cannot sync before it answers, and does so every two minutes"
    };
    let note = format!(
        "p50 {:?} p99 {:?}; {how}",
        percentile(&times, 50),
        percentile(&times, 99)
    );
    row(
        "nats jetstream publish, 1 caller",
        rate,
        "messages/s",
        &note,
    );
    Ok(())
}
