//! What is remembered is what was shown, for every process, and damage is never an empty list.

use std::fs;

use ate_chain::ChainId;
use ate_crypto::{Hash, KeyId};
use ate_net::{NodeAddress, NodeId};

use super::files::FOLDER;
use super::*;

const NOW: u64 = 1_700_000_000_123;

fn address(text: &str) -> NodeAddress {
    text.parse().expect("an address")
}

fn node(byte: u8) -> NodeId {
    NodeId(Hash([byte; 32]))
}

fn chain(byte: u8) -> ChainId {
    ChainId(Hash([byte; 32]))
}

fn checkpoint(size: u64, root: u8) -> KeptCheckpoint {
    KeptCheckpoint {
        size,
        root: Hash([root; 32]),
        note: format!("ate/x\n{size}\nroot {root}\n\n— ate/x sig{root}\n"),
    }
}

/// A directory, and in memory: both behave the same.
fn both(test: impl Fn(&KnownNodes)) {
    let dir = tempfile::tempdir().expect("a directory");
    test(&KnownNodes::in_dir(dir.path()));
    test(&KnownNodes::in_memory());
}

#[test]
fn the_first_key_is_told_and_then_expected() {
    both(|known| {
        let place = address("ate://db.example:5000");
        assert_eq!(known.expected(&place).unwrap(), None);
        let first = known
            .meet(&place, node(1), NOW)
            .unwrap()
            .expect("it is a first use");
        let told = first.to_string();
        assert!(told.starts_with("FIRST USE of db.example:5000: "), "{told}");
        assert!(
            told.contains(&node(1).to_string()) && told.contains("ate nodes forget"),
            "{told}"
        );
        assert_eq!(known.expected(&place).unwrap(), Some(node(1)));
        assert_eq!(known.meet(&place, node(1), NOW + 1).unwrap(), None);
        let [only] = &known.nodes().unwrap()[..] else {
            panic!("one node is known");
        };
        assert_eq!(only.first_seen, NOW / 1000);
        assert_eq!(only.address.node(), Some(node(1)));
        assert_eq!(only.note, "trusted on first use");
    });
}

#[test]
fn a_key_that_the_address_names_needs_no_words() {
    both(|known| {
        let place = address(&format!("ate://{}@[::1]", node(1)));
        assert_eq!(known.expected(&place).unwrap(), Some(node(1)));
        assert_eq!(known.meet(&place, node(1), NOW).unwrap(), None);
        assert_eq!(known.nodes().unwrap()[0].note, "named by its address");
        let other = known.meet(&address(&format!("ate://{}@h", node(1))), node(2), NOW);
        assert!(
            matches!(other, Err(KnownNodesError::Changed { .. })),
            "{other:?}"
        );
        assert_eq!(
            known.nodes().unwrap().len(),
            1,
            "who was refused is not recorded"
        );
    });
}

#[test]
fn a_changed_key_is_an_error_that_names_both_and_the_way_out() {
    both(|known| {
        let place = address("ate://h");
        let _ = known.meet(&place, node(1), NOW).unwrap();
        let named = address(&format!("ate://{}@h", node(2)));
        for error in [
            known.meet(&place, node(2), NOW).unwrap_err(),
            known.expected(&named).unwrap_err(),
            known.meet(&named, node(2), NOW).unwrap_err(),
        ] {
            let told = error.to_string();
            assert!(
                told.contains(&node(1).to_string()) && told.contains(&node(2).to_string()),
                "{told}"
            );
            let way_out = format!("ate nodes pin ate://{}@h:4433", node(2));
            assert!(error.remedy().contains(&way_out), "{}", error.remedy());
        }
        assert_eq!(
            known.expected(&place).unwrap(),
            Some(node(1)),
            "what was known stands"
        );
        let before = known.pin(&named, "new machine", NOW).unwrap();
        assert_eq!(before.map(|before| before.node), Some(node(1)));
        assert_eq!(known.meet(&place, node(2), NOW).unwrap(), None);
        assert_eq!(known.nodes().unwrap()[0].note, "new machine");
    });
}

#[test]
fn what_is_forgotten_is_met_for_the_first_time_again() {
    both(|known| {
        let place = address("ate://h");
        assert_eq!(known.forget(&place).unwrap(), None);
        let _ = known.meet(&place, node(1), NOW).unwrap();
        assert_eq!(
            known.forget(&place).unwrap().map(|known| known.node),
            Some(node(1))
        );
        assert!(known.meet(&place, node(2), NOW).unwrap().is_some());
    });
}

#[test]
fn pins_and_notes_have_limits() {
    both(|known| {
        let no_key = known.pin(&address("ate://h"), "", NOW);
        assert!(
            matches!(no_key, Err(KnownNodesError::NoKey { .. })),
            "{no_key:?}"
        );
        let place = address(&format!("ate://{}@h", node(1)));
        for note in ["a\nb", &"a".repeat(NODE_NOTE_BYTES_MAX + 1)] {
            let refused = known.pin(&place, note, NOW);
            assert!(matches!(refused, Err(KnownNodesError::Note)), "{refused:?}");
        }
        assert!(known.pin(&place, "", NOW).unwrap().is_none());
        assert_eq!(known.nodes().unwrap()[0].note, "");
    });
}

#[test]
fn the_file_is_for_people() {
    let dir = tempfile::tempdir().unwrap();
    let known = KnownNodes::in_dir(dir.path());
    let _ = known
        .meet(&address("ate://b.example:1"), node(1), NOW)
        .unwrap();
    let _ = known.meet(&address("ate://[::1]"), node(2), NOW).unwrap();
    let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
    let expected = format!(
        "# ate known-nodes 1: host:port node-id first-seen note\n\
         [::1]:4433 {} 2023-11-14T22:13:20Z trusted on first use\n\
         b.example:1 {} 2023-11-14T22:13:20Z trusted on first use\n\
         # end\n",
        node(2),
        node(1)
    );
    assert_eq!(text, expected);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(dir.path().join(FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn damage_is_an_error_with_its_line_and_never_an_empty_list() {
    let dir = tempfile::tempdir().unwrap();
    let known = KnownNodes::in_dir(dir.path());
    let path = dir.path().join(FILE);
    let _ = known.meet(&address("ate://a"), node(1), NOW).unwrap();
    let _ = known.meet(&address("ate://b"), node(2), NOW).unwrap();
    let good = fs::read(&path).unwrap();
    let text = String::from_utf8(good.clone()).unwrap();
    // Cut anywhere, it is not taken for a shorter list.
    for length in 0..good.len() {
        fs::write(&path, &good[..length]).unwrap();
        let error = known.nodes().expect_err("a cut file is damaged");
        assert!(
            matches!(error, KnownNodesError::Damaged { .. }),
            "{length}: {error:?}"
        );
        assert!(known.meet(&address("ate://a"), node(9), NOW).is_err());
    }
    let line = text.lines().nth(1).unwrap();
    for (damaged, at) in [
        (text.replacen("a:4433", "a:0", 1), 2),
        (text.replacen("a:4433 01", "a:4433 0", 1), 2),
        (text.replacen("b:4433", "a:4433", 1), 3),
        (text.replacen("2023-11-14T", "2023-11-34T", 1), 2),
        (text.replacen(line, "", 1), 2),
        (text.replacen(line, "# a comment", 1), 2),
        (text.replacen("# ate", "# eat", 1), 1),
    ] {
        assert_ne!(damaged, text);
        fs::write(&path, &damaged).unwrap();
        match known.nodes() {
            Err(KnownNodesError::Damaged { line, .. }) => assert_eq!(line, at, "{damaged}"),
            other => panic!("{damaged}: {other:?}"),
        }
    }
    fs::write(&path, b"# ate known-nodes 1\xff").unwrap();
    assert!(matches!(
        known.nodes(),
        Err(KnownNodesError::Damaged { line: 1, .. })
    ));
    fs::write(&path, text.replacen("nodes 1:", "nodes 2:", 1)).unwrap();
    assert!(matches!(known.nodes(), Err(KnownNodesError::Newer { .. })));
    fs::write(&path, vec![b'\n'; FORM.bytes_max + 1]).unwrap();
    assert!(matches!(
        known.nodes(),
        Err(KnownNodesError::Damaged { .. })
    ));
    fs::write(&path, &good).unwrap();
    assert_eq!(known.nodes().unwrap().len(), 2);
}

#[test]
fn many_writers_lose_nothing_and_one_first_use_wins() {
    let dir = tempfile::tempdir().unwrap();
    let results = std::thread::scope(|scope| {
        // A value each, as processes have: only the lock file is between them.
        let threads: Vec<_> = (0..8u8)
            .map(|number| {
                let known = KnownNodes::in_dir(dir.path());
                scope.spawn(move || {
                    for round in 0..10 {
                        let own = address(&format!("ate://h{number}-{round}"));
                        assert!(known.meet(&own, node(number), NOW).unwrap().is_some());
                    }
                    known.meet(&address("ate://shared"), node(number), NOW)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect::<Vec<_>>()
    });
    let first = results
        .iter()
        .filter(|result| matches!(result, Ok(Some(_))))
        .count();
    let changed = results
        .iter()
        .filter(|result| matches!(result, Err(KnownNodesError::Changed { .. })))
        .count();
    assert_eq!((first, changed), (1, 7), "{results:?}");
    assert_eq!(KnownNodes::in_dir(dir.path()).nodes().unwrap().len(), 81);
}

#[test]
fn what_an_interrupted_writer_left_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let known = KnownNodes::in_dir(dir.path());
    let _ = known.keep(node(1), chain(1), &checkpoint(1, 1)).unwrap();
    fs::write(dir.path().join("known-nodes.new"), "half a li").unwrap();
    fs::write(
        dir.path()
            .join(FOLDER)
            .join(format!("names-{}.new", node(1))),
        "ha",
    )
    .unwrap();
    assert!(known.nodes().unwrap().is_empty());
    assert!(known.names().unwrap().is_empty());
    assert!(
        known
            .meet(&address("ate://h"), node(1), NOW)
            .unwrap()
            .is_some()
    );
    assert_eq!(known.nodes().unwrap().len(), 1);
}

#[test]
fn a_name_stands_for_one_chain_of_a_node_and_root() {
    both(|known| {
        let (mine, other) = (KeyId([1; 32]), KeyId([2; 32]));
        assert!(
            known
                .meet_name(node(1), mine, "my shop/é", chain(1), NOW)
                .unwrap()
        );
        assert!(
            !known
                .meet_name(node(1), mine, "my shop/é", chain(1), NOW)
                .unwrap()
        );
        assert_eq!(
            known.pinned(node(1), mine, "my shop/é").unwrap(),
            Some(chain(1))
        );
        assert!(
            known
                .meet_name(node(1), other, "my shop/é", chain(2), NOW)
                .unwrap()
        );
        assert!(
            known
                .meet_name(node(2), mine, "my shop/é", chain(3), NOW)
                .unwrap()
        );
        let error = known
            .meet_name(node(1), mine, "my shop/é", chain(9), NOW)
            .unwrap_err();
        let told = error.to_string();
        assert!(
            told.contains(&chain(1).to_string()) && told.contains(&chain(9).to_string()),
            "{told}"
        );
        assert_eq!(known.names().unwrap().len(), 3);
        let pin = NamePin {
            node: node(1),
            root: mine,
            name: "my shop/é".into(),
            chain: chain(9),
            first_seen: NOW / 1000,
        };
        let before = known.pin_name(pin.clone()).unwrap();
        assert_eq!(before.map(|pin| pin.chain), Some(chain(1)));
        assert_eq!(
            known.forget_name(node(1), mine, "my shop/é").unwrap(),
            Some(pin)
        );
        assert_eq!(known.forget_name(node(1), mine, "my shop/é").unwrap(), None);
        assert_eq!(known.pinned(node(1), mine, "my shop/é").unwrap(), None);
        assert_eq!(known.names().unwrap().len(), 2);
    });
}

#[test]
fn a_later_checkpoint_takes_the_place_of_an_earlier_one() {
    both(|known| {
        assert_eq!(known.kept(node(1), chain(1)).unwrap(), None);
        assert_eq!(
            known.keep(node(1), chain(1), &checkpoint(5, 1)).unwrap(),
            Kept::First
        );
        assert_eq!(
            known.keep(node(1), chain(1), &checkpoint(5, 1)).unwrap(),
            Kept::Same
        );
        assert_eq!(
            known.keep(node(1), chain(1), &checkpoint(7, 2)).unwrap(),
            Kept::Advanced
        );
        assert_eq!(
            known.kept(node(1), chain(1)).unwrap(),
            Some(checkpoint(7, 2))
        );
        assert_eq!(
            known.keep(node(2), chain(1), &checkpoint(1, 3)).unwrap(),
            Kept::First
        );
        assert_eq!(
            known.keep(node(1), chain(2), &checkpoint(1, 3)).unwrap(),
            Kept::First
        );
        let of_chain = known.kept_of_chain(chain(1)).unwrap();
        assert_eq!(
            of_chain,
            [(node(1), checkpoint(7, 2)), (node(2), checkpoint(1, 3))]
        );
        assert_eq!(known.evidence(node(1), chain(1)).unwrap(), None);
    });
}

#[test]
fn two_roots_of_one_size_are_an_error_and_both_are_kept() {
    both(|known| {
        let _ = known.keep(node(1), chain(1), &checkpoint(5, 1)).unwrap();
        let error = known
            .keep(node(1), chain(1), &checkpoint(5, 2))
            .unwrap_err();
        assert!(
            matches!(error, KnownNodesError::Contradiction { .. }),
            "{error:?}"
        );
        assert_eq!(
            known.kept(node(1), chain(1)).unwrap(),
            Some(checkpoint(5, 1))
        );
        let pair = Some((checkpoint(5, 1), checkpoint(5, 2)));
        assert_eq!(known.evidence(node(1), chain(1)).unwrap(), pair);
        let error = known
            .keep(node(1), chain(1), &checkpoint(4, 3))
            .unwrap_err();
        assert!(
            matches!(
                error,
                KnownNodesError::RolledBack {
                    kept: 5,
                    shown: 4,
                    ..
                }
            ),
            "{error:?}"
        );
        assert_eq!(
            known.evidence(node(1), chain(1)).unwrap(),
            pair,
            "the first evidence stays"
        );
    });
}

#[test]
fn an_accusation_is_laid_beside_what_was_kept() {
    both(|known| {
        known.accuse(node(1), chain(1), &checkpoint(9, 9)).unwrap();
        assert_eq!(
            known.evidence(node(1), chain(1)).unwrap(),
            None,
            "nothing contradicts it"
        );
        let _ = known.keep(node(1), chain(1), &checkpoint(5, 1)).unwrap();
        known.accuse(node(1), chain(1), &checkpoint(9, 9)).unwrap();
        let pair = Some((checkpoint(5, 1), checkpoint(9, 9)));
        assert_eq!(known.evidence(node(1), chain(1)).unwrap(), pair);
        let long = KeptCheckpoint {
            note: "a".repeat(CHECKPOINT_NOTE_BYTES_MAX) + "\n",
            ..checkpoint(1, 1)
        };
        for bad in [
            long,
            KeptCheckpoint {
                note: "no line".into(),
                ..checkpoint(1, 1)
            },
        ] {
            let refused = known.keep(node(3), chain(3), &bad);
            assert!(
                matches!(refused, Err(KnownNodesError::Checkpoint)),
                "{refused:?}"
            );
        }
        let largest = KeptCheckpoint {
            note: "a".repeat(CHECKPOINT_NOTE_BYTES_MAX - 1) + "\n",
            ..checkpoint(u64::MAX, 1)
        };
        let _ = known.keep(node(3), chain(3), &largest).unwrap();
        known.accuse(node(3), chain(3), &largest).unwrap();
        assert_eq!(
            known.evidence(node(3), chain(3)).unwrap(),
            Some((largest.clone(), largest))
        );
    });
}

#[test]
fn a_cut_checkpoint_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let known = KnownNodes::in_dir(dir.path());
    let _ = known.keep(node(1), chain(1), &checkpoint(5, 1)).unwrap();
    let name = format!("checkpoint-{}-{}", node(1), chain(1));
    let path = dir.path().join(FOLDER).join(name);
    let good = fs::read(&path).unwrap();
    for length in 0..good.len() {
        fs::write(&path, &good[..length]).unwrap();
        let error = known
            .keep(node(1), chain(1), &checkpoint(6, 2))
            .unwrap_err();
        assert!(
            matches!(error, KnownNodesError::Damaged { .. }),
            "{length}: {error:?}"
        );
    }
    fs::write(&path, &good).unwrap();
    assert_eq!(
        known.kept(node(1), chain(1)).unwrap(),
        Some(checkpoint(5, 1))
    );
}

#[test]
fn times_read_as_they_were_printed() {
    for (time, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (1_700_000_000, "2023-11-14T22:13:20Z"),
        (4_107_542_399, "2100-02-28T23:59:59Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
    ] {
        assert_eq!(seconds::print(time), text);
        assert_eq!(seconds::parse(text), Some(time));
    }
    for day in 0..80_000u64 {
        let time = day * 86_400 + 43_201;
        assert_eq!(seconds::parse(&seconds::print(time)), Some(time));
    }
    for text in [
        "",
        "2023-11-14",
        "2023-02-29T00:00:00Z",
        "2023-13-01T00:00:00Z",
        "2023-11-14T24:00:00Z",
        "2023-11-14T22:13:20z",
        "2023-11-14 22:13:20Z",
        "+023-11-14T22:13:20Z",
        "1969-12-31T23:59:59Z",
        "0000-01-01T00:00:00Z",
        "2023-11-14T22:13:20ZZ",
        "2023-11-1éT22:13:20Z",
    ] {
        assert_eq!(seconds::parse(text), None, "{text}");
    }
    assert_eq!(seconds::print(u64::MAX), "9999-12-31T23:59:59Z");
}
