//! `ate call` and `ate answer`: programs that answer, and what a caller is told when they do not.

use std::io::{BufRead as _, BufReader};
use std::time::Duration;

use crate::node::{Client, Node, Running};
use crate::support::{Place, interrupt, json_lines};

/// A node, and a client with a chain `notes` on it.
struct Setting<'a> {
    node: Node,
    server: Client<'a>,
    caller: Client<'a>,
}

fn setting(place: &Place) -> Setting<'_> {
    let node = Node::start(place, &[]);
    let server = Client::new(place, "server", &node.url);
    server.good(&["put", "notes", "greeting", "1"]);
    let caller = server.twin("caller");
    Setting {
        node,
        server,
        caller,
    }
}

impl Setting<'_> {
    /// Answers calls of `service` when this returns.
    fn answer(&self, service: &str, more: &[&str]) -> Running {
        let args = [&["answer", "notes", service], more].concat();
        let mut running = self.server.start(&args);
        let mut line = String::new();
        let out = running.child().stdout.take().expect("piped");
        let read = BufReader::new(out).read_line(&mut line);
        read.expect("a first line");
        if !line.contains("answering") {
            panic!("{:?}", running.ended());
        }
        running
    }
}

/// How often it is looked for something that must come, 10 ms apart.
const LOOKS_MAX: u32 = 6000;

/// Waits for a file that a program writes, and gives what it says.
fn written(place: &Place, name: &str) -> String {
    for _ in 0..LOOKS_MAX {
        match std::fs::read_to_string(place.path(name)) {
            Ok(text) if text.ends_with('\n') => return text,
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    panic!("no {name}")
}

/// Waits until a process is no more.
fn gone(process: &str) {
    let status = format!("/proc/{}/stat", process.trim());
    for _ in 0..LOOKS_MAX {
        match std::fs::read_to_string(&status) {
            // A zombie has ended too; whoever inherited it has not looked yet.
            Ok(stat) if !stat.contains(") Z ") => std::thread::sleep(Duration::from_millis(10)),
            _ => return,
        }
    }
    panic!("{process} still runs")
}

#[test]
fn a_program_answers_with_what_it_prints_and_its_caller_is_known_to_it() {
    let place = Place::new();
    let setting = setting(&place);
    let line = r#"read -r r; printf '{"asked": %s,\n"by": "%s", "p": "%s"}' "$r" "$ATE_CALLER" "$ATE_PASSPHRASE""#;
    let answering = setting.answer("echo", &["--", "sh", "-c", line]);
    let asked = setting.caller.good(&["call", "notes", "echo", "1.50"]);
    assert!(
        asked.starts_with(r#"{"asked": 1.50, "by": "ate-key:"#),
        "{asked}"
    );
    assert_eq!(asked.lines().count(), 1);
    let own = json_lines(&setting.caller.good(&["identity", "show", "--json"]));
    let answer = json_lines(&asked).remove(0);
    assert_eq!((&answer["by"], &answer["p"]), (&own[0]["id"], &"".into()));
    // Beside the process that has the store, and without saying where the node is.
    let beside = setting.server.ate(&["call", "notes", "echo", "2"]);
    assert!(beside.good().contains("2"));
    let here = setting.caller.here(&["call", "notes", "echo", "3"]);
    assert!(here.good().contains("3"));
    drop(answering);
}

#[test]
fn the_lines_of_a_program_come_as_they_are_printed() {
    let place = Place::new();
    let setting = setting(&place);
    let go = place.path("go");
    let line = format!(
        "echo 1; while ! test -e {}; do sleep 0.01; done; seq 2 200; printf 201",
        go.display()
    );
    let _answering = setting.answer("count", &["--lines", "--", "sh", "-c", &line]);
    let mut call = setting.caller.start(&["call", "notes", "count", "null"]);
    let out = call.child().stdout.take().expect("piped");
    let mut lines = BufReader::new(out).lines();
    let mut next = || lines.next().map(|line| line.expect("readable"));
    assert_eq!(next().as_deref(), Some("1"));
    std::fs::write(go, "").expect("written");
    for number in 2..=201 {
        assert_eq!(next(), Some(number.to_string()));
    }
    assert_eq!(next(), None);
    assert_eq!(call.ended().code, 0);
}

#[test]
fn what_is_not_answered_says_why_and_what_to_do() {
    let place = Place::new();
    let setting = setting(&place);
    let line = r#"read -r r; case $r in
        1) echo first >&2; echo 'no such day' >&2; echo '{}'; exit 7;;
        2) exit 3;;
        3) echo 'not json';;
        4) head -c 17000000 /dev/zero;;
        5) ;;
        esac"#;
    let _answering = setting.answer("days", &["--", "sh", "-c", line]);
    let call = |request| setting.caller.ate(&["call", "notes", "days", request]);
    call("1").failed(4, &["answered with an error: no such day", "days"]);
    call("2").failed(4, &["exit status: 3"]);
    call("3").failed(4, &["not acceptable JSON"]);
    call("4").failed(4, &["too large"]);
    assert_eq!(call("5").good(), "");
    call("{").failed(1, &["not acceptable JSON"]);
    let other = setting.caller.ate(&["call", "notes", "nights", "1"]);
    other.failed(1, &["no server", "ate answer notes nights"]);
    let args = ["call", "typo", "days", "1"];
    setting.caller.ate(&args).failed(1, &["no chain `typo`"]);
    let stranger = Client::new(&place, "stranger", "");
    stranger.good(&["put", "own", "x", "1"]);
    let args = ["call", "own", "days", "1"];
    stranger.ate(&args).failed(2, &["follows no node", "--url"]);
    let args = ["answer", "notes", "days", "--", "no-such-program"];
    setting.caller.ate(&args).failed(2, &["no program"]);
}

#[test]
fn a_call_that_is_given_up_and_a_program_that_takes_too_long_end_with_all_they_started() {
    let place = Place::new();
    let setting = setting(&place);
    let pid = place.path("pid");
    let line = format!(
        "sleep 900 & echo $! > {0}.part; mv {0}.part {0}; wait",
        pid.display()
    );
    let late = setting.answer("late", &["--", "sh", "-c", &line]);
    let args = ["call", "notes", "late", "1", "--timeout", "1.5"];
    let called = setting.caller.ate(&args);
    called.failed(5, &["deadline", "may have been done"]);
    gone(&written(&place, "pid"));
    std::fs::remove_file(&pid).expect("removed");
    late.kill();
    let _limited = setting.answer("limited", &["--limit", "0.5", "--", "sh", "-c", &line]);
    let called = setting.caller.ate(&["call", "notes", "limited", "1"]);
    called.failed(4, &["it may take 0.5 s"]);
    gone(&written(&place, "pid"));
}

#[test]
fn no_more_programs_run_at_once_than_allowed() {
    let place = Place::new();
    let setting = setting(&place);
    let dir = place.path("locks");
    std::fs::create_dir(&dir).expect("made");
    // Says how many run beside it.
    let line = format!(
        "cd {}; touch $$; ls | wc -l; sleep 0.1; rm $$",
        dir.display()
    );
    let _answering = setting.answer("busy", &["--at-once", "2", "--", "sh", "-c", &line]);
    // Those who come while another has the store open use the copy beside it.
    setting.caller.good(&["get", "notes", "greeting"]);
    let calls = [(); 6].map(|()| setting.caller.start(&["call", "notes", "busy", "1"]));
    for call in calls {
        let answer = call.ended().good();
        let running: u32 = answer.trim().parse().expect("a number");
        assert!((1..=2).contains(&running), "{running}");
    }
}

#[test]
fn a_server_that_is_told_to_end_lets_the_program_that_runs_answer() {
    let place = Place::new();
    let setting = setting(&place);
    let (pid, go) = (place.path("pid"), place.path("go"));
    let line = format!(
        "echo $$ > {}; while ! test -e {}; do sleep 0.01; done; echo 7",
        pid.display(),
        go.display()
    );
    let mut answering = setting.answer("slow", &["--", "sh", "-c", &line]);
    let call = setting.caller.start(&["call", "notes", "slow", "1"]);
    written(&place, "pid");
    interrupt(answering.child());
    // It takes no more, and waits for this one.
    std::thread::sleep(Duration::from_millis(300));
    std::fs::write(go, "").expect("written");
    assert_eq!(call.ended().good(), "7\n");
    let ended = answering.ended();
    assert_eq!(ended.code, 0, "{ended:?}");
    let none = setting.caller.ate(&["call", "notes", "slow", "1"]);
    none.failed(1, &["no server"]);
}

#[test]
fn a_server_that_dies_in_a_call_leaves_it_unknown_and_one_that_is_ended_at_once_leaves_no_program()
{
    let place = Place::new();
    let mut setting = setting(&place);
    let pid = place.path("pid");
    let line = format!(
        "echo $$ > {0}.part; mv {0}.part {0}; sleep 20",
        pid.display()
    );
    let mut answering = setting.answer("slow", &["--", "sh", "-c", &line]);
    let args = ["call", "notes", "slow", "1", "--timeout", "4"];
    let call = setting.caller.start(&args);
    let process = written(&place, "pid");
    interrupt(answering.child());
    std::thread::sleep(Duration::from_millis(200));
    interrupt(answering.child());
    assert_eq!(answering.ended().code, 5);
    gone(&process);
    call.ended().failed(5, &["may have been done"]);

    std::fs::remove_file(&pid).expect("removed");
    let answering = setting.answer("slow", &["--", "sh", "-c", &line]);
    let call = setting.caller.start(&args);
    written(&place, "pid");
    answering.kill();
    call.ended().failed(5, &["may have been done"]);
    setting.node.kill();
    let args = [
        "call",
        "notes",
        "slow",
        "1",
        "--timeout",
        "1",
        "--wait",
        "0.2",
    ];
    let called = setting.caller.ate(&args);
    assert!([1, 5].contains(&called.code), "{called:?}");
}
