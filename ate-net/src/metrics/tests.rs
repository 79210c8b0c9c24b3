//! The text is what the format says, and its length is known.

use std::collections::BTreeSet;

use super::*;

/// Every line of a text: name, labels, value.
fn lines(text: &str) -> Vec<(&str, &str, f64)> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let parsed = samples.map(|line| {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = series.split_at(series.find('{').unwrap_or(series.len()));
        (name, labels, value.parse().expect("a number"))
    });
    parsed.collect()
}

fn value(text: &str, series: &str) -> f64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.expect("the series is there")
        .parse()
        .expect("a number")
}

#[test]
fn what_was_counted_is_told() {
    let metrics = Metrics::new();
    metrics.commits_accepted.add(3);
    metrics.connections_open.add(5);
    metrics.connections_open.sub(2);
    metrics.disk_bytes.set(7);
    metrics
        .connections_refused
        .add(ConnectionRefusal::Draining, 2);
    metrics
        .requests
        .add(RequestKind::Fetch, RequestEnd::Limited, 4);
    metrics.limits_hit.add(LimitKind::CommitBytes, 1);
    let text = metrics.render();
    for (series, expected) in [
        ("ate_commits_accepted_total", 3.0),
        ("ate_connections_open", 3.0),
        ("ate_disk_bytes", 7.0),
        ("ate_connections_refused_total{reason=\"draining\"}", 2.0),
        ("ate_requests_total{kind=\"fetch\",end=\"limited\"}", 4.0),
        ("ate_requests_total{kind=\"fetch\",end=\"done\"}", 0.0),
        ("ate_limits_hit_total{limit=\"commit_bytes\"}", 1.0),
    ] {
        assert_eq!(value(&text, series), expected, "{series}");
    }
}

#[test]
fn a_histogram_sums_up_and_ends_with_all() {
    let metrics = Metrics::new();
    for ms in [0, 1, 2, 3, 5, 6, 10_000, 10_001] {
        metrics.commit_ms.record(ms);
    }
    assert_eq!(metrics.commit_ms.count(), 8);
    let text = metrics.render();
    let name = "ate_commit_duration_seconds";
    for (le, count) in [
        ("0.001", 2.0),
        ("0.002", 3.0),
        ("0.005", 5.0),
        ("0.010", 6.0),
        ("10.000", 7.0),
        ("+Inf", 8.0),
    ] {
        assert_eq!(
            value(&text, &format!("{name}_bucket{{le=\"{le}\"}}")),
            count,
            "{le}"
        );
    }
    assert_eq!(value(&text, &format!("{name}_sum")), 20.018);
    assert_eq!(value(&text, &format!("{name}_count")), 8.0);
}

#[test]
fn the_text_has_the_form_of_the_format() {
    let text = Metrics::new().render();
    assert!(text.ends_with('\n') && text.is_ascii());
    assert!(text.len() < 64 << 10, "{}", text.len());
    let mut series = BTreeSet::new();
    for (name, labels, value) in lines(&text) {
        assert!(name.starts_with("ate_"), "{name}");
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'),
            "{name}"
        );
        assert!(value >= 0.0);
        assert!(
            series.insert((name, labels)),
            "{name}{labels} is told twice"
        );
    }
    let mut kinds = BTreeSet::new();
    let mut before = "";
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a kind");
            assert!(kinds.insert(name), "{name} has two types");
            assert!(
                before.starts_with(&format!("# HELP {name} ")),
                "{name} has no help before its type"
            );
            assert_eq!(
                kind == "counter",
                name.ends_with("_total"),
                "{name} is a {kind}"
            );
        }
        before = line;
    }
}

#[test]
fn numbers_add_no_lines() {
    let metrics = Metrics::new();
    let before = lines(&metrics.render()).len();
    metrics.received_bytes.add(u64::MAX);
    metrics.send_buffer_bytes.set(u64::MAX);
    metrics.call_ms.record(u64::MAX);
    assert_eq!(lines(&metrics.render()).len(), before);
}

#[test]
fn labels_stand_where_their_index_says() {
    fn check<L: Label + std::fmt::Debug>() {
        let names: BTreeSet<_> = L::ALL.iter().map(|value| value.as_str()).collect();
        assert_eq!(names.len(), L::ALL.len());
        for (index, value) in L::ALL.iter().enumerate() {
            assert_eq!(value.index(), index, "{value:?}");
            assert!(
                value
                    .as_str()
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            );
        }
    }
    check::<ConnectionRefusal>();
    check::<HandshakeEnd>();
    check::<RequestKind>();
    check::<RequestEnd>();
    check::<CommitRefusal>();
    check::<LimitKind>();
}

#[test]
fn a_gauge_goes_down_when_its_guard_goes() {
    let metrics = Metrics::new();
    let entered = metrics.calls_open.enter();
    let again = metrics.calls_open.enter();
    assert_eq!(metrics.calls_open.value(), 2);
    drop(entered);
    drop(again);
    assert_eq!(metrics.calls_open.value(), 0);
    metrics.calls_open.sub(1);
    assert_eq!(value(&metrics.render(), "ate_calls_open"), 0.0);
}

#[test]
fn many_threads_lose_nothing() {
    let metrics = Metrics::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    metrics.commits_accepted.add(1);
                    metrics.commit_bytes.record(300);
                }
            });
        }
    });
    assert_eq!(metrics.commits_accepted.value(), 40_000);
    assert_eq!(metrics.commit_bytes.count(), 40_000);
}
