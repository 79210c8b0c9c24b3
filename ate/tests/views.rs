//! Reading: names, documents, residence, and views that stay as they are while writers go on.

use ate::prelude::*;
use ate::{Error, ErrorKind, Json, ReadError};

#[derive(Serialize, Deserialize, Record, PartialEq, Debug)]
struct Note {
    text: String,
}

#[derive(Serialize, Deserialize, Shape)]
enum Mood {
    Calm,
    Angry { at: Vec<String> },
}

#[derive(Serialize, Deserialize, Shape)]
struct Inner {
    mood: Mood,
    pair: (u8, Option<bool>),
}

#[derive(Serialize, Deserialize, Record)]
#[record(name = "nested")]
struct Nested {
    inner: Inner,
    list: Vec<Mood>,
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn note(text: &str) -> Note {
    Note { text: text.into() }
}

fn names(entries: Vec<ate::NamedEntry>) -> Vec<String> {
    entries.into_iter().map(|entry| entry.name).collect()
}

#[test]
fn names_are_text_in_the_order_of_its_bytes() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("names").wait()?;
    let longest = "x".repeat(1024);
    for name in [
        "b/2",
        "a",
        "b/1",
        "b",
        "ä/ö",
        "b/10",
        " ",
        "日本",
        "\u{10ffff}",
        &longest,
    ] {
        chain.put(name, note(name)).wait()?;
        assert_eq!(chain.get::<Note>(name).wait()?.text, name);
    }
    assert_eq!(names(chain.names("b")?), ["b", "b/1", "b/10", "b/2"]);
    assert_eq!(names(chain.names("b/1")?), ["b/1", "b/10"]);
    assert_eq!(names(chain.names("ä")?), ["ä/ö"]);
    assert_eq!(names(chain.names("nothing")?), Vec::<String>::new());
    let all = names(chain.names("")?);
    assert_eq!(all.len(), 10);
    assert!(all.is_sorted());
    let key = chain.key_of::<Note>("ä/ö").ok_or("it stands")?;
    assert_eq!(chain.name_of(&key.raw()).as_deref(), Some("ä/ö"));
    assert_eq!(key.to_string().parse::<Key<Note>>()?, key);
    let too_long = "ä".repeat(513);
    for name in ["", "a\nb", "\0", "\u{7f}", &too_long] {
        let error = chain
            .put(name, note(""))
            .wait()
            .map(drop)
            .expect_err("no name");
        assert_eq!(Error::from(error).kind(), ErrorKind::Limit, "{name:?}");
        assert!(matches!(
            chain.get::<Note>(name).wait(),
            Err(ReadError::Name { .. })
        ));
        assert!(!chain.contains::<Note>(name));
    }
    Ok(())
}

#[test]
fn what_is_not_there_is_not_found() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("absent").wait()?;
    for round in 0..2 {
        let error = chain
            .get::<Note>("nobody")
            .wait()
            .map(drop)
            .expect_err("absent");
        assert_eq!(error.to_string(), "no record `nobody`", "round {round}");
        assert!(chain.peek::<Note>("nobody").is_none());
        assert!(chain.history::<Note>("nobody").is_err());
        assert!(chain.update("nobody", |_: &mut Note| {}).wait().is_err());
        assert!(chain.remove::<Note>("nobody").wait().is_err());
        assert!(chain.names("")?.len() == round);
        assert!(chain.all::<Nested>().is_empty());
        assert!(chain.view().all::<Note>()?.is_empty());
        assert_eq!(chain.keys_in_order().len(), round);
        // The second round looks at a chain that has been written.
        chain.put("somebody", note("x")).wait()?;
    }
    assert!(store.existing_chain("elsewhere").wait().is_err());
    Ok(())
}

#[test]
fn a_key_of_another_type_is_refused_by_its_schema() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("types").wait()?;
    let key = chain.put("n", note("x")).wait()?.key();
    let wrong = Key::<Nested>::from_raw(key.raw());
    for attempt in 0..2 {
        let error = chain.get(wrong).wait().map(drop).expect_err("another type");
        assert!(
            matches!(error, ReadError::Schema { .. }),
            "attempt {attempt}: {error}"
        );
        assert!(chain.get(key).wait().is_ok());
        assert!(chain.peek(wrong).is_none());
    }
    let error = chain
        .put("n", Json::new("{}")?)
        .wait()
        .map(drop)
        .expect_err("a typed record stands there");
    assert!(error.to_string().contains("`n`"), "{error}");
    assert_eq!(Error::from(error).kind(), ErrorKind::Rejected);
    assert_eq!(chain.get(key).wait()?.text, "x");
    Ok(())
}

#[test]
fn peek_tells_what_is_resident() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("peek").wait()?;
    let dao = chain.put("n", note("x")).wait()?;
    assert!(
        chain.peek(&dao).is_none() && chain.contains(&dao),
        "there, not resident"
    );
    chain.get(&dao).wait()?;
    assert_eq!(chain.peek::<Note>("n").ok_or("resident")?.text, "x");
    chain.put("n", note("y")).wait()?;
    assert!(
        chain.peek(&dao).is_none(),
        "what was resident is not the newest"
    );
    assert_eq!(dao.text, "x", "a handle keeps its version");
    chain.get(&dao).wait()?;
    chain.remove(&dao).wait()?;
    assert!(chain.peek(&dao).is_none() && !chain.contains(&dao));
    Ok(())
}

#[test]
fn a_view_stays_while_writers_go_on() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("views").wait()?;
    let parent = chain.put("stays", note("parent")).wait()?;
    let child = chain.push(&parent, "parts", note("child")).wait()?;
    let goes = chain.put("goes", note("first life")).wait()?;
    let free = chain.add(note("free")).wait()?;
    let view = chain.view();
    let before = (view.position(), view.root());
    assert_eq!(view.get(&goes).wait()?.text, "first life");
    for round in 0..4 {
        match round {
            0 => {
                chain.remove(&goes).wait()?;
                chain.remove(&child).wait()?;
                chain.put("stays", note("changed")).wait()?;
            }
            1 => {
                chain.put("goes", Json::new("2")?).wait()?;
                chain.push(&parent, "parts", note("later child")).wait()?;
                chain.add(note("later")).wait()?;
                chain.put("new", note("new")).wait()?;
            }
            2 => {
                chain.get::<Json>("goes").wait()?;
                chain.get(&parent).wait()?;
                chain.remove(&free).wait()?;
            }
            _ => {}
        }
        assert_eq!((view.position(), view.root()), before);
        assert_eq!(names(view.names("")?), ["goes", "stays"]);
        assert!(
            view.names("")?
                .iter()
                .all(|entry| entry.type_name == "note")
        );
        assert_eq!(view.get(&goes).wait()?.text, "first life");
        assert_eq!(view.get::<Note>("goes").wait()?.text, "first life");
        assert_eq!(view.document("goes")?.json, r#"{"text":"first life"}"#);
        assert_eq!(view.document(&goes)?.type_name, "note");
        assert_eq!(view.get(&parent).wait()?.text, "parent");
        assert_eq!(view.children::<_, Note>(&parent, "parts")?, [child.key()]);
        assert_eq!(view.all::<Note>()?, [free.key()]);
        assert_eq!(view.get(&child).wait()?.text, "child");
        assert!(view.contains(&child)? && view.contains::<Note>("goes")?);
        assert!(!view.contains::<Note>("new")?);
        assert!(matches!(
            view.get::<Note>("new").wait(),
            Err(ReadError::NotFound { .. })
        ));
        assert!(view.peek::<Note>("new").is_none());
    }
    assert_eq!(chain.names("")?.len(), 3);
    Ok(())
}

#[test]
fn every_version_can_be_had_again() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("versions").wait()?;
    let mut expected = vec![None];
    // The genesis is a commit of its own.
    for step in 0..60u32 {
        let now = match step % 7 {
            5 => {
                chain.remove::<Note>("n").wait()?;
                None
            }
            6 => {
                chain.add(note("something else")).wait()?;
                expected[expected.len() - 1].clone()
            }
            _ => {
                chain.put("n", note(&step.to_string())).wait()?;
                Some(step.to_string())
            }
        };
        while expected.len() < chain.position().0 as usize {
            expected.push(None);
        }
        expected.push(now);
    }
    assert_eq!(expected.len() as u64, chain.position().0 + 1);
    for (position, expected) in expected.iter().enumerate() {
        let view = chain.as_of(Position(position as u64));
        let found = view.get::<Note>("n").wait();
        assert_eq!(
            found.as_ref().ok().map(|dao| &dao.text),
            expected.as_ref(),
            "at {position}"
        );
        assert_eq!(view.contains::<Note>("n")?, expected.is_some());
        assert_eq!(view.names("")?.len(), usize::from(expected.is_some()));
        if expected.is_none() {
            assert!(matches!(found, Err(ReadError::NotFound { .. })));
        }
    }
    let beyond = chain.as_of(Position(u64::MAX));
    assert_eq!(beyond.position(), chain.position());
    let lives: Vec<bool> = chain
        .history::<Note>("n")?
        .iter()
        .map(|entry| entry.live)
        .collect();
    assert_eq!(lives.len(), 52);
    assert_eq!(lives.iter().filter(|live| !**live).count(), 8);
    Ok(())
}

#[test]
fn documents_of_any_type() -> Outcome {
    let store = Store::in_memory()?;
    let chain = store.chain("documents").wait()?;
    let angry = || Mood::Angry {
        at: vec!["rain".into()],
    };
    let inner = Inner {
        mood: angry(),
        pair: (7, Some(true)),
    };
    let nested = chain
        .put(
            "nested",
            Nested {
                inner,
                list: vec![Mood::Calm, angry()],
            },
        )
        .wait()?;
    chain.put("doc", Json::new(r#"{ "b" : 1.50 }"#)?).wait()?;
    let shown = chain.document(&nested)?;
    assert_eq!(
        shown.json,
        r#"{"inner":{"mood":{"Angry":{"at":["rain"]}},"pair":[7,true]},"list":["Calm",{"Angry":{"at":["rain"]}}]}"#
    );
    assert_eq!(
        (shown.type_name.as_str(), shown.is_json()),
        ("nested", false)
    );
    assert_eq!(shown.author, chain.identity().id());
    let doc = chain.document::<Json>("doc")?;
    assert_eq!(
        (doc.json.as_str(), doc.is_json()),
        (r#"{ "b" : 1.50 }"#, true)
    );
    let types: Vec<String> = chain
        .names("")?
        .into_iter()
        .map(|entry| entry.type_name)
        .collect();
    assert_eq!(types, ["json", "nested"]);
    Ok(())
}
