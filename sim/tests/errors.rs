//! A storage call fails at every place of a scripted run, once or for good: a full disk, a broken one, one that is read-only, a write
//! that stops half-way. There is no false acknowledgement, the error says what it is, reading goes on, and opening again works.
//!
//! By default each call fails in one way, another one for each; `ATE_FAULT_ALL=1` tries all.

#![expect(clippy::print_stdout, reason = "what was tried, for `--nocapture`")]

use std::sync::Arc;

use ate::log::{Fault, FaultyStorage, LogOptions, Loss, LossyStorage, MemStorage, Storage};
use ate::{Depth, Error, ErrorKind, Json, Store};
use ate_sim::invariants::{Eyes, judge};
use ate_sim::{ChainOracle, Content, Oracle, Session, Stop, World, content, is_full, text};

/// What became of the runs.
#[derive(Default, Debug)]
struct Tally {
    runs: usize,
    opens_failed: usize,
    full: usize,
    poisoned: usize,
    others: usize,
    written_on: usize,
    unnoticed: usize,
}

/// Everything acknowledged, and nothing else, is shown by the store that has just failed.
fn reads_go_on(world: &World, store: &Store, oracle: &Oracle, context: &str) {
    let mut acknowledged = oracle.clone();
    for known in acknowledged.chains.values_mut() {
        known.states.truncate(known.acknowledged.max(1));
    }
    judge(store, &acknowledged, world, Eyes::Writer)
        .unwrap_or_else(|broken| panic!("{context}: {broken}"));
}

/// One more commit to the store that failed with `error`, now that the storage works again; `true` if it was written.
fn writes_as_promised(session: &mut Session, error: &Error, context: &str) -> bool {
    let chains = &session.oracle.chains;
    let is_there = |(_, known): &(&String, &ChainOracle)| known.acknowledged > 0;
    // After a failure the list of chains grows no more, so one that is there already has to refuse.
    let Some(name) = chains.iter().find(is_there).map(|(name, _)| name.clone()) else {
        return false;
    };
    let change = (
        "after".to_owned(),
        Some(r#"{"after": "the failure"}"#.to_owned()),
    );
    let answer = match session.commit(&name, vec![change]) {
        Ok(()) => Ok(()),
        Err(Stop::Store(next)) => Err(next),
        Err(broken) => panic!("{context}: {broken}"),
    };
    match (error.kind(), &answer) {
        (ErrorKind::Poisoned | ErrorKind::Unknown, Err(next)) => {
            assert_eq!(
                next.kind(),
                ErrorKind::Poisoned,
                "{context}: after {error:?}: {next:?}"
            );
        }
        (ErrorKind::Poisoned | ErrorKind::Unknown, Ok(())) => {
            panic!("{context}: wrote on after {error:?}")
        }
        (_, Err(next)) if is_full(error) => panic!("{context}: space again, but {next:?}"),
        _ => {}
    }
    answer.is_ok()
}

fn fail(world: &Arc<World>, call: u64, fault: Fault, is_for_good: bool, tally: &mut Tally) {
    let context = format!(
        "{fault:?} at call {call}{}",
        if is_for_good { " and ever after" } else { "" }
    );
    let disk = LossyStorage::new();
    let storage = FaultyStorage::new(Arc::new(disk.clone()));
    if is_for_good {
        storage.fail_from(call, fault);
    } else {
        storage.fail_once(call, fault);
    }
    let mut session = Session::new(world.clone(), Arc::new(storage.clone()));
    let outcome = session.run_script();
    storage.heal();
    tally.runs += 1;
    match outcome {
        Ok(()) => tally.unnoticed += 1,
        Err(Stop::Broken(broken)) => panic!("{context}: {broken}"),
        Err(Stop::Store(error)) => {
            let kind = error.kind();
            assert!(
                matches!(
                    kind,
                    ErrorKind::Io | ErrorKind::Full | ErrorKind::Unknown | ErrorKind::Poisoned
                ),
                "{context}: {kind:?} is not what happened: {error:?}"
            );
            match &session.store {
                None => tally.opens_failed += 1,
                Some(_) if is_full(&error) => tally.full += 1,
                Some(_) if kind == ErrorKind::Io => tally.others += 1,
                Some(_) => tally.poisoned += 1,
            }
            if let Some(store) = &session.store {
                let context = format!("{context}: {error:?}");
                reads_go_on(world, store, &session.oracle, &context);
                tally.written_on += usize::from(writes_as_promised(&mut session, &error, &context));
            }
        }
    }
    let oracle = session.oracle.clone();
    // The power goes now, or it does not.
    for loss in [Loss::Everything, Loss::Random { seed: call }] {
        let left: Arc<dyn Storage> = Arc::new(LossyStorage::from_image(disk.image_after_cut(loss)));
        opens_again(world, left, &oracle, &format!("{context}, {loss:?}"));
    }
    session.store = None;
    opens_again(world, Arc::new(storage), &oracle, &context);
}

fn opens_again(world: &World, storage: Arc<dyn Storage>, oracle: &Oracle, context: &str) {
    let store = world
        .open(storage)
        .unwrap_or_else(|error| panic!("{context}: does not open again: {error:?}"));
    judge(&store, oracle, world, Eyes::Writer)
        .unwrap_or_else(|broken| panic!("{context}: {broken}"));
    let chain = store
        .chain("bank")
        .wait()
        .unwrap_or_else(|error| panic!("{context}: {error:?}"));
    let value = Json::new("1").expect("JSON");
    chain
        .put("again", value)
        .wait()
        .unwrap_or_else(|error| panic!("{context}: {error:?}"));
}

#[test]
fn a_call_that_fails_never_makes_a_false_acknowledgement() {
    let world = Arc::new(World::new(1, LogOptions::default()));
    let quiet = FaultyStorage::new(Arc::new(LossyStorage::new()));
    let mut session = Session::new(world.clone(), Arc::new(quiet.clone()));
    session.run_script().expect("without a fault all goes well");
    let calls = quiet.calls();
    assert!(calls > 100, "{calls}");
    let mut tally = Tally::default();
    for call in 1..=calls {
        let ways = Fault::ALL
            .into_iter()
            .flat_map(|fault| [(fault, false), (fault, true)]);
        let ways: Vec<(Fault, bool)> = if std::env::var_os("ATE_FAULT_ALL").is_some() {
            ways.collect()
        } else {
            // Neighbouring calls are alike: what one of them skips, the next one tries.
            ways.cycle().skip(call as usize * 3).take(1).collect()
        };
        for (fault, is_for_good) in ways {
            fail(&world, call, fault, is_for_good, &mut tally);
        }
    }
    println!("{calls} calls: {tally:?}");
    assert!(
        tally.opens_failed > 5 && tally.poisoned > 10 && tally.written_on > 0,
        "{tally:?}"
    );
    assert!(tally.unnoticed < tally.runs / 2, "{tally:?}");
}

/// Documents of the test below that fit into the first segment.
const FIT: u64 = 16;

/// Writes until the next commit needs a new segment, has that one fail for want of space from its call `nth` on, and goes on with space.
/// `true` if it was refused as promised.
fn full_for_a_while(world: &World, nth: u64) -> bool {
    let disk = LossyStorage::new();
    let storage = FaultyStorage::new(Arc::new(disk.clone()));
    let store = world
        .open(Arc::new(storage.clone()))
        .expect("nothing stands in the way");
    let chain = store
        .chain("bank")
        .wait()
        .expect("nothing stands in the way");
    let put = |label: u64| {
        let value = Json::new(text(label, 60_000)).expect("JSON");
        chain
            .put(format!("document {label}").as_str(), value)
            .wait()
            .map(drop)
            .map_err(Error::from)
    };
    // The first segment has one MiB, and larger documents would stand elsewhere.
    (0..FIT).for_each(|label| put(label).expect("nothing stands in the way"));
    let (before, position) = (chain.root(), chain.position());
    storage.fail_from(storage.calls() + nth, Fault::NoSpace);
    let error = put(FIT).expect_err("there is no space");
    assert_eq!(chain.root(), before, "nothing of it is visible: {error:?}");
    storage.heal();
    let is_refused = is_full(&error);
    if is_refused {
        assert!(error.to_string().contains("full"), "{error}");
        put(FIT).expect("there is space again");
        put(FIT + 1).expect("there is space again");
    } else {
        assert_eq!(error.kind(), ErrorKind::Unknown, "call {nth}: {error:?}");
        assert_eq!(
            put(FIT).expect_err("the log has ended").kind(),
            ErrorKind::Poisoned
        );
    }
    let root = chain.root();
    drop((chain, store));
    let left = LossyStorage::from_image(disk.image_after_cut(Loss::Everything));
    let store = world.open(Arc::new(left)).expect("it opens again");
    let chain = store.existing_chain("bank").wait().expect("it is there");
    // What failed with an unknown outcome may be there or not.
    let position = if is_refused {
        chain.position()
    } else {
        position
    };
    assert_eq!(chain.root_at(position), Some(root));
    is_refused
}

#[test]
fn a_disk_that_is_full_for_a_while_refuses_and_goes_on() {
    let world = Arc::new(World::new(1, LogOptions::default()));
    let refused = (1..=8).filter(|nth| full_for_a_while(&world, *nth)).count();
    assert!((1..8).contains(&refused), "{refused} of 8 refused");
}

/// Everything in the store, or the first error.
fn read_all(store: &Store) -> Result<Vec<(String, Content)>, Error> {
    let chains = store.chains()?;
    let read = |info: ate::ChainInfo| {
        let chain = store.existing_chain(&info.name).wait()?;
        Ok((info.name, content(&chain)?))
    };
    chains.into_iter().map(read).collect()
}

#[test]
fn a_read_that_fails_is_neither_damage_nor_absence() {
    let world = Arc::new(World::new(1, LogOptions::default()));
    let disk = MemStorage::new();
    let mut session = Session::new(world.clone(), Arc::new(disk.clone()));
    session.run_script().expect("nothing stands in the way");
    let image = disk.image();
    let read = |storage: &FaultyStorage, is_reader: bool| {
        let builder = world.builder(Arc::new(storage.clone())).must_exist();
        let builder = if is_reader {
            builder.read_only()
        } else {
            builder
        };
        let store = builder.open().wait()?;
        let shown = read_all(&store)?;
        let chains = store.chains()?;
        let verified: Vec<_> = chains
            .iter()
            .map(|info| store.verify(&info.id, Depth::Deep, |_| {}))
            .collect::<Result<_, _>>()?;
        Ok::<_, Error>((shown, verified))
    };
    let fresh = || FaultyStorage::new(Arc::new(MemStorage::from_image(image.clone())));
    for is_reader in [true, false] {
        let quiet = fresh();
        let expected = read(&quiet, is_reader).expect("nothing stands in the way");
        let mut failed = 0;
        for call in 1..=quiet.calls() {
            let storage = fresh();
            storage.fail_once(call, Fault::Io);
            match read(&storage, is_reader) {
                Ok(shown) => assert_eq!(shown, expected, "call {call}, reader: {is_reader}"),
                Err(error) => {
                    assert_eq!(
                        error.kind(),
                        ErrorKind::Io,
                        "call {call}, reader: {is_reader}: {error:?}"
                    );
                    failed += 1;
                }
            }
        }
        assert!(failed > 20, "only {failed} failures were noticed");
    }
}
