//! Old and new builds of one record type at one store: each reads, updates and reads back what the other wrote, and what would lose data is refused.

#![allow(unreachable_pub, reason = "the builds stand in modules of a test")]

use std::collections::BTreeMap;
use std::fmt::Debug;

use ate::prelude::*;
use ate::{Error, ErrorKind};

/// `W` puts a record; `R` reads it, updates it and puts it; `W` reads that back. What is refused leaves the chain as it was.
#[track_caller]
fn check<W, R>(
    written: W,
    read: Result<R, ErrorKind>,
    update: fn(&mut R),
    back: Result<W, ErrorKind>,
) where
    W: Record + PartialEq + Debug + Clone,
    R: Record + PartialEq + Debug + Clone,
{
    let store = Store::in_memory().expect("memory");
    let chain = store.chain("builds").wait().expect("opens");
    let (name, kind) = ("r", |error: Error| error.kind());
    let dao = chain.put(name, written.clone()).wait().expect("writes");
    let position = chain.position();
    let found = chain.get::<R>(name).wait().map(|dao| (*dao).clone());
    assert_eq!(found.map_err(|error| kind(error.into())), read, "read");
    // By key in a transaction, read-modify-write.
    let tx = chain.begin();
    let key = Key::<R>::from_raw(dao.key().raw());
    let staged = tx.update(key, update).wait();
    let outcome = match staged {
        Ok(_) => {
            assert!(tx.get(key).wait().is_ok(), "it reads what it staged");
            tx.update(key, |_| {}).wait().expect("and updates it again");
            tx.commit().wait().map(drop)
        }
        Err(error) => Err(error),
    };
    match outcome {
        Err(error) => {
            assert_eq!(Err(kind(error.into())), back, "update");
            assert_eq!(chain.position(), position, "nothing was written");
            if let Ok(value) = read {
                let put = chain.put(name, value).wait().map(drop);
                assert_eq!(
                    put.map_err(|error| kind(error.into())).err(),
                    back.err(),
                    "put"
                );
            }
            assert_eq!(*chain.get::<W>(name).wait().expect("as it was"), written);
            assert_eq!(chain.position(), position, "nothing was written");
        }
        Ok(()) => {
            let found = chain.get::<W>(name).wait().map(|dao| (*dao).clone());
            assert_eq!(found.map_err(|error| kind(error.into())), back, "read back");
            // A put of the whole value keeps what the other build alone knows, too.
            let value = (*chain.get::<R>(name).wait().expect("its own")).clone();
            chain.put(name, value).wait().expect("writes");
            let found = chain.get::<W>(name).wait().map(|dao| (*dao).clone());
            assert_eq!(
                found.map_err(|error| kind(error.into())),
                back,
                "read back after put"
            );
        }
    }
    chain
        .document::<W>(name)
        .expect("shown without its program");
}

const OTHER: ErrorKind = ErrorKind::Rejected;
const NEWER: ErrorKind = ErrorKind::NewerSchema;

macro_rules! pairs {
    ($($pair:ident {
        old $(#[$old_attribute:meta])* { $($old:tt)* }
        new $(#[$new_attribute:meta])* { $($new:tt)* }
        shapes { $($shapes:tt)* }
        $($body:tt)*
    })*) => {$(
        mod $pair {
            #[allow(unused_imports, reason = "not every pair needs all of them")]
            use super::*;
            shapes! { $($shapes)* }
            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Record)]
            #[record(name = "r")]
            $(#[$old_attribute])*
            pub struct Old { $($old)* }
            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Record)]
            #[record(name = "r")]
            $(#[$new_attribute])*
            pub struct New { $($new)* }
            #[test]
            fn both_ways() {
                $($body)*
            }
        }
    )*};
}

macro_rules! shapes {
    ($($item:item)*) => {$(
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Shape)]
        $item
    )*};
}

pairs! {
    added_with_default {
        old { pub a: u8 }
        new { pub a: u8, #[record(default = 7)] pub b: u32 }
        shapes {}
        check(Old { a: 1 }, Ok(New { a: 1, b: 7 }), |r| r.b = 8, Ok(Old { a: 1 }));
        check(New { a: 1, b: 9 }, Ok(Old { a: 1 }), |r| r.a = 2, Ok(New { a: 2, b: 9 }));
    }
    added_option {
        old { pub a: u8 }
        new { pub b: Option<String>, pub a: u8 }
        shapes {}
        check(Old { a: 1 }, Ok(New { b: None, a: 1 }), |r| r.b = Some("s".into()), Ok(Old { a: 1 }));
        check(New { b: Some("s".into()), a: 1 }, Ok(Old { a: 1 }), |r| r.a = 2, Ok(New { b: Some("s".into()), a: 2 }));
    }
    added_without_default {
        old { pub a: u8 }
        new { pub a: u8, pub b: u32 }
        shapes {}
        check(Old { a: 1 }, Err::<New, _>(OTHER), |_| {}, Err(OTHER));
        check(New { a: 1, b: 9 }, Ok(Old { a: 1 }), |r| r.a = 2, Ok(New { a: 2, b: 9 }));
    }
    removed {
        old { pub a: u8, pub b: String, pub c: u8 }
        new { pub a: u8, pub c: u8 }
        shapes {}
        check(Old { a: 1, b: "kept".into(), c: 3 }, Ok(New { a: 1, c: 3 }), |r| r.c = 4, Ok(Old { a: 1, b: "kept".into(), c: 4 }));
        check(New { a: 1, c: 3 }, Err::<Old, _>(OTHER), |_| {}, Err(OTHER));
    }
    reordered {
        old { pub a: u32, pub b: u32 }
        new { pub b: u32, pub a: u32 }
        shapes {}
        check(Old { a: 1, b: 2 }, Ok(New { a: 1, b: 2 }), |r| r.a = 5, Ok(Old { a: 5, b: 2 }));
        check(New { a: 1, b: 2 }, Ok(Old { a: 1, b: 2 }), |r| r.a = 5, Ok(New { a: 5, b: 2 }));
    }
    renamed {
        old { pub first: String }
        new { #[record(was = "first")] pub name: String }
        shapes {}
        check(Old { first: "x".into() }, Ok(New { name: "x".into() }), |r| r.name.push('y'), Ok(Old { first: "xy".into() }));
        check(New { name: "x".into() }, Ok(Old { first: "x".into() }), |r| r.first.push('y'), Ok(New { name: "xy".into() }));
    }
    widened_unsigned {
        old { pub a: u8 }
        new { pub a: u64 }
        shapes {}
        check(Old { a: 200 }, Ok(New { a: 200 }), |_| {}, Err(OTHER));
        check(New { a: 200 }, Err::<Old, _>(OTHER), |_| {}, Err(OTHER));
    }
    widened_to_signed {
        old { pub a: u32 }
        new { pub a: i64 }
        shapes {}
        check(Old { a: 5 }, Ok(New { a: 5 }), |r| r.a = -3, Err(OTHER));
        check(New { a: -3 }, Err::<Old, _>(OTHER), |_| {}, Err(OTHER));
    }
    widened_float {
        old { pub a: f32, pub b: i16 }
        new { pub a: f64, pub b: i128 }
        shapes {}
        check(Old { a: 0.5, b: -7 }, Ok(New { a: 0.5, b: -7 }), |_| {}, Err(OTHER));
        check(New { a: 0.5, b: 1 }, Err::<Old, _>(OTHER), |_| {}, Err(OTHER));
    }
    made_optional {
        old { pub a: String }
        new { pub a: Option<String> }
        shapes {}
        check(Old { a: "x".into() }, Ok(New { a: Some("x".into()) }), |r| r.a = None, Err(OTHER));
        check(New { a: None }, Err::<Old, _>(OTHER), |_| {}, Err(OTHER));
    }
    another_type {
        old { pub a: String, pub b: u8 }
        new { pub a: u32, pub b: u8 }
        shapes {}
        check(Old { a: "5".into(), b: 1 }, Err::<New, _>(OTHER), |_| {}, Err(OTHER));
        check(New { a: 5, b: 1 }, Err::<Old, _>(OTHER), |_| {}, Err(OTHER));
    }
    variant_added {
        old { pub s: OldState }
        new { pub s: NewState }
        shapes {
            pub enum OldState { Open, Closed { by: u8 } }
            pub enum NewState { Open, Waiting(u8), Closed { by: u8 } }
        }
        check(Old { s: OldState::Closed { by: 3 } }, Ok(New { s: NewState::Closed { by: 3 } }), |r| r.s = NewState::Open, Ok(Old { s: OldState::Open }));
        check(Old { s: OldState::Open }, Ok(New { s: NewState::Open }), |r| r.s = NewState::Waiting(1), Err(OTHER));
        check(New { s: NewState::Waiting(1) }, Err::<Old, _>(OTHER), |_| {}, Err(OTHER));
        check(New { s: NewState::Closed { by: 3 } }, Ok(Old { s: OldState::Closed { by: 3 } }), |r| r.s = OldState::Open, Ok(New { s: NewState::Open }));
    }
    variants_reordered {
        old { pub s: OldState }
        new { pub s: NewState }
        shapes {
            pub enum OldState { A, B, C }
            pub enum NewState { C, A, B }
        }
        check(Old { s: OldState::B }, Ok(New { s: NewState::B }), |r| r.s = NewState::C, Ok(Old { s: OldState::C }));
        check(New { s: NewState::C }, Ok(Old { s: OldState::C }), |r| r.s = OldState::A, Ok(New { s: NewState::A }));
    }
    nested_field_added {
        old { pub n: OldInner, pub z: u8 }
        new { pub n: NewInner, pub z: u8 }
        shapes {
            pub struct OldInner { pub a: u8 }
            pub struct NewInner { pub a: u8, pub b: Option<u8> }
        }
        check(Old { n: OldInner { a: 1 }, z: 2 }, Ok(New { n: NewInner { a: 1, b: None }, z: 2 }), |r| r.z = 3, Ok(Old { n: OldInner { a: 1 }, z: 3 }));
        check(New { n: NewInner { a: 1, b: Some(5) }, z: 2 }, Ok(Old { n: OldInner { a: 1 }, z: 2 }), |r| r.z = 3, Err(NEWER));
    }
    nested_in_a_list {
        old { pub n: Vec<OldInner> }
        new { pub n: Vec<NewInner> }
        shapes {
            pub struct OldInner { pub a: u8 }
            pub struct NewInner { #[shape(default = 4)] pub b: u8, pub a: u16 }
        }
        check(Old { n: vec![OldInner { a: 1 }] }, Ok(New { n: vec![NewInner { b: 4, a: 1 }] }), |_| {}, Err(OTHER));
        check(New { n: vec![] }, Err::<Old, _>(OTHER), |_| {}, Err(OTHER));
    }
    elements_widened {
        old { pub v: Vec<u8>, pub m: BTreeMap<String, u16> }
        new { pub v: Vec<u16>, pub m: BTreeMap<String, u32> }
        shapes {}
        check(
            Old { v: vec![1, 255], m: BTreeMap::from([("k".into(), 300)]) },
            Ok(New { v: vec![1, 255], m: BTreeMap::from([("k".into(), 300)]) }),
            |_| {},
            Err(OTHER),
        );
        check(New { v: vec![1], m: BTreeMap::new() }, Err::<Old, _>(OTHER), |_| {}, Err(OTHER));
    }
    tuple_longer {
        old { pub t: (u8, u8) }
        new { pub t: (u8, u8, u8) }
        shapes {}
        check(Old { t: (1, 2) }, Err::<New, _>(OTHER), |_| {}, Err(OTHER));
        check(New { t: (1, 2, 3) }, Err::<Old, _>(OTHER), |_| {}, Err(OTHER));
    }
    array_longer {
        old { pub t: [u8; 2] }
        new { pub t: [u8; 3] }
        shapes {}
        check(Old { t: [1, 2] }, Err::<New, _>(OTHER), |_| {}, Err(OTHER));
        check(New { t: [1, 2, 3] }, Err::<Old, _>(OTHER), |_| {}, Err(OTHER));
    }
    diverged {
        old { pub a: u8, #[record(default)] pub left: String }
        new { pub a: u8, #[record(default)] pub right: u64 }
        shapes {}
        check(Old { a: 1, left: "l".into() }, Ok(New { a: 1, right: 0 }), |r| r.right = 9, Ok(Old { a: 1, left: "l".into() }));
        check(New { a: 1, right: 9 }, Ok(Old { a: 1, left: String::new() }), |r| r.left = "l".into(), Ok(New { a: 1, right: 9 }));
    }
    list_made_a_map {
        old { pub a: Vec<String> }
        new { pub a: BTreeMap<String, String> }
        shapes {}
        check(Old { a: vec![] }, Err::<New, _>(OTHER), |_| {}, Err(OTHER));
        check(New { a: BTreeMap::new() }, Err::<Old, _>(OTHER), |_| {}, Err(OTHER));
    }
    another_codec {
        old { pub a: u8 }
        new #[record(codec = "json")] { pub a: u8 }
        shapes {}
        check(Old { a: 1 }, Err::<New, _>(OTHER), |_| {}, Err(OTHER));
        check(New { a: 1 }, Err::<Old, _>(OTHER), |_| {}, Err(OTHER));
    }
    documents_grow {
        old #[record(codec = "json")] { pub a: u8 }
        new #[record(codec = "json")] { pub a: u8, #[serde(default)] pub b: Option<u8> }
        shapes {}
        check(New { a: 1, b: Some(2) }, Ok(Old { a: 1 }), |r| r.a = 5, Ok(New { a: 5, b: Some(2) }));
        check(Old { a: 1 }, Ok(New { a: 1, b: None }), |r| r.b = Some(3), Ok(Old { a: 1 }));
    }
    only_the_name_of_an_inner_type {
        old { pub n: Before }
        new { pub n: After }
        shapes {
            pub struct Before { pub a: u8 }
            pub struct After { pub a: u8 }
        }
        check(Old { n: Before { a: 1 } }, Ok(New { n: After { a: 1 } }), |r| r.n.a = 2, Ok(Old { n: Before { a: 2 } }));
        check(New { n: After { a: 1 } }, Ok(Old { n: Before { a: 1 } }), |r| r.n.a = 2, Ok(New { n: After { a: 2 } }));
    }
}

#[derive(Serialize, Deserialize, Record, Debug, Clone)]
struct Untagged {
    either: Either,
}

#[derive(Serialize, Deserialize, Debug, Clone)]
#[serde(untagged)]
enum Either {
    Number(u64),
    Text(String),
}

impl Shape for Either {
    fn shape(types: &mut ate::view::Types) -> ate::view::Type {
        u64::shape(types)
    }
}

#[test]
fn what_postcard_cannot_read_back_is_not_written() {
    let store = Store::in_memory().expect("memory");
    let chain = store.chain("builds").wait().expect("opens");
    for value in [Either::Number(1), Either::Text("x".into())] {
        let value = Untagged { either: value };
        let error = chain
            .add(value.clone())
            .wait()
            .map(drop)
            .expect_err("unreadable");
        assert_eq!(Error::from(error).kind(), ErrorKind::Rejected);
        assert!(chain.begin().put("n", &value).is_err());
        assert!(chain.is_new(), "nothing was written");
    }
}

/// A blind put that is overtaken by a newer program keeps what that one wrote.
#[test]
fn a_put_that_follows_keeps_newer_fields() {
    use added_with_default::{New, Old};
    let store = Store::in_memory().expect("memory");
    let chain = store.chain("builds").wait().expect("opens");
    chain.put("r", Old { a: 1 }).wait().expect("writes");
    let tx = chain.begin();
    tx.put("r", &Old { a: 5 }).expect("stages");
    chain.put("r", New { a: 2, b: 42 }).wait().expect("writes");
    tx.commit().wait().expect("follows");
    assert_eq!(
        *chain.get::<New>("r").wait().expect("reads"),
        New { a: 5, b: 42 }
    );
}
