//! A store that is closed and opened again answers as before: by snapshot, by replay, from an older snapshot, with a damaged one, with too new a one.
//! Seeded runs of random operations against a model.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ate::prelude::*;
use ate::{Depth, Error, Identity, RecordKey, Seed, Version};

#[derive(Serialize, Deserialize, Record, PartialEq, Debug, Clone)]
struct Item {
    number: u64,
    filling: String,
}

#[derive(Serialize, Deserialize, Record, PartialEq, Debug, Clone)]
struct Part {
    number: u64,
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Numbers from a seed: SplitMix64.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// What the chain should hold.
#[derive(Default, Clone, PartialEq, Debug)]
struct Model {
    named: BTreeMap<String, Item>,
    free: Vec<(Key<Item>, Item)>,
    parts: Vec<(Key<Item>, Key<Part>, u64)>,
}

/// Everything a chain answers.
#[derive(PartialEq, Debug)]
struct Answers {
    model: Model,
    versions: Vec<(RecordKey, Version)>,
    root: ate::Hash,
    position: Position,
    records: u64,
    roots: Vec<Option<ate::Hash>>,
}

fn answers(chain: &Chain, parents: &[Key<Item>]) -> Result<Answers, Error> {
    let mut model = Model::default();
    for entry in chain.names("")? {
        assert_eq!(chain.name_of(&entry.key).as_deref(), Some(&*entry.name));
        assert_eq!(entry.type_name, "item");
        let dao = chain.get::<Item>(entry.name.as_str()).wait()?;
        assert_eq!((dao.key().raw(), dao.version()), (entry.key, entry.version));
        model.named.insert(entry.name, (*dao).clone());
    }
    for key in chain.all::<Item>() {
        model.free.push((key, (*chain.get(key).wait()?).clone()));
    }
    for parent in parents {
        for key in chain.children::<_, Part>(*parent, "parts")? {
            model
                .parts
                .push((*parent, key, chain.get(key).wait()?.number));
        }
    }
    let versions = chain.keys_in_order();
    let versions = versions.into_iter().map(|key| {
        let version = chain.version(Key::<Item>::from_raw(key));
        (key, version.expect("listed records stand"))
    });
    let position = chain.position();
    Ok(Answers {
        model,
        versions: versions.collect(),
        root: chain.root(),
        position,
        records: chain.record_count(),
        roots: (0..=position.0 + 1)
            .map(|at| chain.root_at(Position(at)))
            .collect(),
    })
}

struct World {
    numbers: Numbers,
    model: Model,
    parents: Vec<Key<Item>>,
}

impl World {
    fn item(&mut self) -> Item {
        let number = self.numbers.below(1 << 40);
        // Large enough that a few commits make a snapshot worth its while.
        Item {
            number,
            filling: "x".repeat(self.numbers.below(3000) as usize),
        }
    }

    fn name(&mut self) -> String {
        format!("n/{}", self.numbers.below(12))
    }

    fn step(&mut self, chain: &Chain) -> Result<(), Box<dyn std::error::Error>> {
        match self.numbers.below(9) {
            0..=2 => {
                let (name, item) = (self.name(), self.item());
                chain.put(&name, item.clone()).wait()?;
                self.model.named.insert(name, item);
            }
            3 => {
                let name = self.name();
                let removed = chain.remove::<Item>(&name).wait();
                assert_eq!(removed.is_ok(), self.model.named.remove(&name).is_some());
            }
            4 => {
                let item = self.item();
                let key = chain.add(item.clone()).wait()?.key();
                self.parents.push(key);
                self.model.free.push((key, item));
            }
            5 if !self.model.free.is_empty() => {
                let index = self.numbers.below(self.model.free.len() as u64) as usize;
                let key = self.model.free[index].0;
                if self.numbers.below(3) == 0 {
                    chain.remove(key).wait()?;
                    self.model.free.remove(index);
                } else {
                    chain.update(key, |item| item.number += 1).wait()?;
                    self.model.free[index].1.number += 1;
                }
            }
            6 if !self.model.free.is_empty() => {
                let index = self.numbers.below(self.model.free.len() as u64) as usize;
                let parent = self.model.free[index].0;
                let number = self.numbers.below(100);
                let key = chain.push(parent, "parts", Part { number }).wait()?.key();
                self.model.parts.push((parent, key, number));
            }
            _ => {
                let tx = chain.begin();
                let mut written = Vec::new();
                for _ in 0..self.numbers.below(6) + 1 {
                    let (name, item) = (self.name(), self.item());
                    if self.numbers.below(4) == 0 {
                        let removed = tx.remove::<Item>(&name);
                        assert_eq!(removed.is_ok(), self.model.named.remove(&name).is_some());
                    } else {
                        tx.put(&name, &item)?;
                        self.model.named.insert(name, item);
                    }
                }
                let (item, number) = (self.item(), self.numbers.below(100));
                let key = tx.add(&item)?;
                let part = tx.push(key, "parts", &Part { number })?;
                written.push((key, item));
                tx.commit().wait()?;
                self.parents.push(key);
                self.model.free.extend(written);
                self.model.parts.push((key, part, number));
            }
        }
        Ok(())
    }

    fn check(&self, answers: &Answers) {
        let mut found = answers.model.clone();
        let mut expected = self.model.clone();
        assert_eq!(found.free, expected.free, "in order of creation");
        let order = |part: &(Key<Item>, Key<Part>, u64)| part.0.raw();
        found.parts.sort_by_key(order);
        expected.parts.sort_by_key(order);
        assert_eq!(found, expected);
    }
}

fn snapshots(dir: &Path) -> Result<Vec<PathBuf>, std::io::Error> {
    let files = fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
    let is_snapshot = |path: &PathBuf| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        name.contains("chain-") || name.contains("directory")
    };
    Ok(files
        .into_iter()
        .map(|entry| entry.path())
        .filter(is_snapshot)
        .collect())
}

fn run(seed: u64) -> Outcome {
    let dir = tempfile::tempdir()?;
    let mut world = World {
        numbers: Numbers(seed),
        model: Model::default(),
        parents: Vec::new(),
    };
    let mut older: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    let reader_identity = Identity::from_seed(&Seed::from_bytes([9; 32]));
    for round in 0..8 {
        let store = Store::open(dir.path()).wait()?;
        let chain = store.chain("model").wait()?;
        if round == 1 {
            chain
                .share(
                    Key::<Item>::from_raw(RecordKey::ROOT),
                    reader_identity.who(),
                )
                .wait()?;
        }
        for _ in 0..world.numbers.below(60) + 10 {
            world.step(&chain)?;
        }
        let expected = answers(&chain, &world.parents)?;
        world.check(&expected);
        store.close().wait()?;
        drop((chain, store));
        let files = snapshots(dir.path())?;
        let way = world.numbers.below(5);
        match way {
            0 => {}
            1 => files.iter().try_for_each(fs::remove_file)?,
            2 => {
                for file in &files {
                    let mut bytes = fs::read(file)?;
                    let at = world.numbers.below(bytes.len() as u64) as usize;
                    bytes[at] ^= 1 << world.numbers.below(8);
                    fs::write(file, bytes)?;
                }
            }
            3 => {
                for (file, bytes) in &older {
                    fs::write(file, bytes)?;
                }
            }
            _ => {
                for file in &files {
                    let bytes = fs::read(file)?;
                    fs::write(
                        file,
                        &bytes[..world.numbers.below(bytes.len() as u64) as usize],
                    )?;
                }
            }
        }
        if way == 0 {
            older = files
                .iter()
                .map(|file| Ok((file.clone(), fs::read(file)?)))
                .collect::<Result<_, std::io::Error>>()?;
        }
        for read_only in [true, false] {
            let builder = Store::builder(dir.path());
            let store = if read_only {
                builder.read_only().open().wait()?
            } else {
                builder.open().wait()?
            };
            let chain = store.existing_chain("model").wait()?;
            let found = answers(&chain, &world.parents)?;
            assert!(found == expected, "seed {seed} round {round} way {way}");
            let damaged = matches!(way, 2 | 4) && !files.is_empty();
            assert_eq!(
                store.notes().is_empty(),
                !damaged,
                "seed {seed} round {round} way {way}: {:?}",
                store.notes()
            );
            if round > 0 {
                let other = answers(&chain.as_identity(&reader_identity), &world.parents)?;
                assert!(
                    other == expected,
                    "as another identity, seed {seed} round {round} way {way}"
                );
            }
            let verified = store.verify(&chain.id(), Depth::Bodies, |_| {})?;
            assert_eq!(
                (verified.position, verified.root),
                (expected.position, expected.root)
            );
            if way == 3 && !read_only {
                // Leave no older snapshot behind that a later round would take for the newest.
                break;
            }
        }
    }
    Ok(())
}

#[test]
fn seed_1() -> Outcome {
    run(1)
}

#[test]
fn seed_2() -> Outcome {
    run(2)
}

#[test]
fn seed_3() -> Outcome {
    run(3)
}

#[test]
fn a_snapshot_of_another_identity_or_chain_is_rebuilt() -> Outcome {
    let (one, two) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let fill = |dir: &Path, names: &[&str]| -> Outcome {
        let store = Store::open(dir).wait()?;
        for name in names {
            let chain = store.chain(name).wait()?;
            for number in 0..50 {
                chain
                    .put(
                        format!("n{number}"),
                        Item {
                            number,
                            filling: "y".repeat(2000),
                        },
                    )
                    .wait()?;
            }
        }
        Ok(store.close().wait()?)
    };
    fill(one.path(), &["a", "b"])?;
    fill(two.path(), &["a"])?;
    let chains: Vec<PathBuf> = snapshots(one.path())?
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("chain-"))
        .collect();
    assert_eq!(chains.len(), 2);
    let other: Vec<PathBuf> = snapshots(two.path())?
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("chain-"))
        .collect();
    let (first, second) = (fs::read(&chains[0])?, fs::read(&chains[1])?);
    for (bytes_0, bytes_1) in [
        (second, first),
        (fs::read(&other[0])?, fs::read(&other[0])?),
    ] {
        fs::write(&chains[0], &bytes_0)?;
        fs::write(&chains[1], &bytes_1)?;
        let store = Store::builder(one.path()).read_only().open().wait()?;
        for name in ["a", "b"] {
            let chain = store.existing_chain(name).wait()?;
            assert_eq!(chain.names("")?.len(), 50);
            assert_eq!(chain.get::<Item>("n7").wait()?.number, 7);
        }
        assert_eq!(store.notes().len(), 2, "{:?}", store.notes());
    }
    Ok(())
}

#[test]
fn a_reader_that_opened_from_a_snapshot_follows_names() -> Outcome {
    let dir = tempfile::tempdir()?;
    let put = |chain: &Chain, number: u64| {
        chain
            .put(
                format!("n{number}"),
                Item {
                    number,
                    filling: "z".repeat(2000),
                },
            )
            .wait()
            .map(drop)
    };
    {
        let store = Store::open(dir.path()).wait()?;
        let chain = store.chain("c").wait()?;
        (0..50).try_for_each(|number| put(&chain, number))?;
    }
    let store = Store::open(dir.path()).wait()?;
    let chain = store.chain("c").wait()?;
    let reader = Store::builder(dir.path()).read_only().open().wait()?;
    let seen = reader.existing_chain("c").wait()?;
    put(&chain, 50)?;
    seen.catch_up()?;
    assert_eq!(seen.names("")?.len(), 51);
    assert_eq!(seen.get::<Item>("n50").wait()?.number, 50);
    assert_eq!(chain.names("")?.len(), 51);
    Ok(())
}

#[test]
fn an_older_snapshot_is_caught_up_with() -> Outcome {
    let dir = tempfile::tempdir()?;
    let mut kept = Vec::new();
    for round in 0..2u64 {
        let store = Store::open(dir.path()).wait()?;
        let chain = store.chain("c").wait()?;
        for number in round * 50..(round + 1) * 50 {
            let item = Item {
                number,
                filling: "z".repeat(2000),
            };
            chain.put(format!("n{number}"), item).wait()?;
        }
        store.close().wait()?;
        if round == 0 {
            for file in snapshots(dir.path())? {
                kept.push((file.clone(), fs::read(file)?));
            }
        }
    }
    assert!(!kept.is_empty());
    for (file, bytes) in &kept {
        fs::write(file, bytes)?;
    }
    let store = Store::open(dir.path()).wait()?;
    let chain = store.chain("c").wait()?;
    assert_eq!(chain.names("")?.len(), 100);
    assert_eq!(chain.get::<Item>("n99").wait()?.number, 99);
    assert_eq!(store.notes(), Vec::<String>::new());
    Ok(())
}
