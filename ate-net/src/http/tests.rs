//! The pages as a monitor sees them, and peers that mean harm.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream as Socket};

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tokio::runtime::Runtime;

use super::*;
use crate::metrics::Metrics;

struct Node {
    metrics: Metrics,
    ready: Result<(), String>,
}

impl Pages for Node {
    fn metrics(&self) -> String {
        self.metrics.render()
    }

    fn health(&self) -> Result<(), String> {
        Ok(())
    }

    fn ready(&self) -> Result<(), String> {
        self.ready.clone()
    }
}

/// A server that runs until it is dropped.
struct Running {
    at: SocketAddr,
    _runtime: Runtime,
}

fn start(limits: HttpLimits) -> Running {
    let server = HttpServer::bind((Ipv4Addr::LOCALHOST, 0).into(), limits).expect("a free port");
    let at = server.local();
    let runtime = Runtime::new().expect("a runtime");
    let node = Node {
        metrics: Metrics::new(),
        ready: Err("it opens its chains".into()),
    };
    node.metrics.commits_accepted.add(42);
    drop(runtime.spawn(server.run(Arc::new(node))));
    Running {
        at,
        _runtime: runtime,
    }
}

impl Running {
    fn connect(&self) -> Socket {
        let socket = Socket::connect(self.at).expect("it listens");
        let wait = Some(Duration::from_secs(20));
        socket
            .set_read_timeout(wait)
            .expect("a time-out can be set");
        socket
    }

    /// Sends bytes and reads until the other side ends.
    fn ask(&self, request: &[u8]) -> String {
        let mut socket = self.connect();
        // It may refuse before it has read all.
        let _ = socket.write_all(request);
        answer(socket)
    }
}

fn answer(mut socket: Socket) -> String {
    let mut bytes = Vec::new();
    let _ = socket.read_to_end(&mut bytes);
    String::from_utf8(bytes).expect("answers are text")
}

#[test]
fn a_monitor_gets_its_pages() {
    let server = start(HttpLimits::default());
    let metrics = server.ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\nUser-Agent: test\r\n\r\n");
    let (head, body) = metrics.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
    assert!(head.ends_with("Connection: close"));
    assert!(body.contains("\nate_commits_accepted_total 42\n"));
    let health = server.ask(b"GET /health?x=1 HTTP/1.0\n\n");
    assert!(
        health.starts_with("HTTP/1.1 200 OK\r\n") && health.ends_with("\r\n\r\nok\n"),
        "{health}"
    );
    let ready = server.ask(b"GET /ready HTTP/1.1\r\n\r\n");
    assert!(
        ready.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
        "{ready}"
    );
    assert!(ready.ends_with("it opens its chains\n"), "{ready}");
    let head = server.ask(b"HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
}

#[test]
fn what_is_not_needed_is_refused() {
    let server = start(HttpLimits::default());
    let large = format!(
        "GET /health HTTP/1.1\r\nX: {}\r\n\r\n",
        "a".repeat(HTTP_HEAD_BYTES_MAX)
    );
    let endless = "a".repeat(HTTP_HEAD_BYTES_MAX + 1);
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "404"),
        ("GET /metrics/ HTTP/1.1\r\n\r\n", "404"),
        ("GET /../metrics HTTP/1.1\r\n\r\n", "404"),
        (
            "POST /metrics HTTP/1.1\r\nContent-Length: 4\r\n\r\nabcd",
            "405",
        ),
        ("OPTIONS * HTTP/1.1\r\n\r\n", "405"),
        ("GET /metrics HTTP/2.0\r\n\r\n", "505"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"),
        ("GET /metrics\r\n", "400"),
        ("GET  /metrics HTTP/1.1\r\n\r\n", "400"),
        ("get /metrics HTTP/1.1\r\n\r\n", "400"),
        ("GET http://x/metrics HTTP/1.1\r\n\r\n", "400"),
        ("GET /health HTTP/1.1\r\n folded\r\n\r\n", "400"),
        ("GET /health HTTP/1.1\r\nno field\r\n\r\n", "400"),
        ("GET /health HTTP/1.1\r\n: x\r\n\r\n", "400"),
        ("\r\n", "400"),
        ("\u{16}\u{3}\u{1}", "400"),
        (&large, "431"),
        (&endless, "431"),
    ] {
        let answer = server.ask(request.as_bytes());
        let expected = format!("HTTP/1.1 {status} ");
        assert!(
            answer.starts_with(&expected),
            "{:?} gets {answer:?}",
            &request[..request.len().min(60)]
        );
        assert_eq!(answer.contains("Allow: GET, HEAD\r\n"), status == "405");
    }
}

#[test]
fn a_head_that_never_ends_is_cut_off() {
    let server = start(HttpLimits {
        head_ms_max: 200,
        ..HttpLimits::default()
    });
    let mut slow = server.connect();
    let mut feeding = slow.try_clone().unwrap();
    // One byte now and then does not buy more time.
    let feeder = std::thread::spawn(move || {
        let mut sent = 0;
        for byte in b"GET /health HTTP/1.1\r\nX: "
            .iter()
            .chain(std::iter::repeat(&b'a'))
        {
            if sent >= 1000 || feeding.write_all(&[*byte]).is_err() {
                break;
            }
            sent += 1;
            std::thread::sleep(Duration::from_millis(5));
        }
        sent
    });
    let mut first = [0; 12];
    slow.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 408");
    drop(slow);
    let sent = feeder.join().unwrap();
    assert!(sent <= 1000);
    let silent = server.connect();
    assert!(
        answer(silent).starts_with("HTTP/1.1 408 "),
        "silence is cut off too"
    );
}

#[test]
fn idle_connections_do_not_shut_the_monitor_out_for_long() {
    let limits = HttpLimits {
        connections: 8,
        connections_per_address: 4,
        head_ms_max: 2000,
        ..HttpLimits::default()
    };
    let server = start(limits);
    let held: Vec<Socket> = (0..4).map(|_| server.connect()).collect();
    // Those beyond get nothing, at once.
    let beyond: Vec<String> = (0..20)
        .map(|_| server.ask(b"GET /health HTTP/1.1\r\n\r\n"))
        .collect();
    assert!(beyond.iter().any(String::is_empty), "{beyond:?}");
    for socket in held {
        drop(answer(socket));
    }
    let again = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        server
            .ask(b"GET /health HTTP/1.1\r\n\r\n")
            .starts_with("HTTP/1.1 200")
    });
    assert!(again, "it answers when the time of the others is over");
}

#[test]
fn a_peer_that_does_not_read_is_let_go() {
    let limits = HttpLimits {
        connections_per_address: 1,
        answer_ms_max: 200,
        ..HttpLimits::default()
    };
    let server = start(limits);
    let mut deaf = server.connect();
    deaf.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    // It neither reads nor closes; its place is free again all the same.
    let again = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        server
            .ask(b"GET /health HTTP/1.1\r\n\r\n")
            .starts_with("HTTP/1.1 200")
    });
    assert!(again);
    drop(deaf);
}

#[test]
fn a_dropped_server_closes_its_port() {
    let server = start(HttpLimits::default());
    assert!(!server.ask(b"GET /health HTTP/1.1\r\n\r\n").is_empty());
    let at = server.at;
    drop(server);
    assert!(Socket::connect(at).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn garbage_is_judged_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..400), start in 0usize..4) {
        let mut head = [&b""[..], b"GET ", b"GET /metrics HTTP/1.1\r\n", b"HEAD /x HTTP/1.0\r\nA: "][start].to_vec();
        head.extend_from_slice(&bytes);
        let _ = judge(&head);
    }

    /// What is judged early is judged the same with more bytes, and a head is answered however it is cut.
    #[test]
    fn the_pieces_in_which_a_head_comes_make_no_difference(
        text in "(GET|HEAD|PUT|get) /[a-z]{0,7}( HTTP/1.[01])?\r?\n([A-Za-z-]{0,5}(: ?[a-z]{0,5})?\r?\n){0,3}\r?\n",
    ) {
        let bytes = text.as_bytes();
        let whole = judge(bytes);
        prop_assert!(whole.is_some());
        let first = (0..=bytes.len()).find_map(|length| judge(&bytes[..length]));
        prop_assert_eq!(first, whole);
    }
}
