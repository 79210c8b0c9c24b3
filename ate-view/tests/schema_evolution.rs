//! Pairs of old and new builds of one record type: each reads, updates and reads back what the other wrote.

#![allow(unreachable_pub, reason = "the builds stand in modules of a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use ate_view::{
    Descriptor, Encoded, Plan, Record, Shape, decode, encode, encode_spliced, to_json, unknown_of,
};
use serde::{Deserialize, Serialize};

/// `W` writes; `R` reads (`read`), changes the value by `update` and writes it over; `W` reads that (`back`).
/// Errors are compared as text; the error of a rewrite stands in `back`.
#[track_caller]
fn check<W, R>(written: W, read: Result<R, &str>, update: fn(&mut R), back: Result<W, &str>)
where
    W: Record + PartialEq + Debug,
    R: Record + PartialEq + Debug,
{
    let body = encode(&written).expect("encodes");
    let plan = Plan::of::<R>(Descriptor::of::<W>());
    to_json(Descriptor::of::<W>(), &body).expect("shown without its program");
    let (mut value, unknown) = match decode::<R>(&body, &plan) {
        Ok((value, unknown)) => {
            assert_eq!(Ok(&value), read.as_ref(), "read");
            (value, unknown)
        }
        Err(error) => {
            return assert_eq!(
                Err(&*error.to_string()),
                read.as_ref().map_err(|text| *text),
                "read"
            );
        }
    };
    assert_eq!(
        unknown.is_empty(),
        unknown_of::<R>(&body, &plan).expect("readable").is_empty()
    );
    assert_eq!(plan.check_rewrite().is_ok(), unknown.check().is_ok());
    update(&mut value);
    let Encoded { body, descriptor } = match encode_spliced(&value, &unknown) {
        Ok(encoded) => encoded,
        Err(error) => {
            return assert_eq!(
                Err(hash_free(&error.to_string())),
                back.map_err(str::to_owned),
                "rewrite"
            );
        }
    };
    // What a rewrite writes can be stored: its descriptor is canonical.
    assert_eq!(
        Descriptor::from_bytes(descriptor.as_bytes()).as_ref(),
        Ok(&*descriptor)
    );
    to_json(&descriptor, &body).expect("shown without its program");
    let (again, _) =
        decode::<R>(&body, &Plan::of::<R>(&descriptor)).expect("the writer reads what it wrote");
    assert_eq!(again, value);
    match (decode::<W>(&body, &Plan::of::<W>(&descriptor)), back) {
        (Ok((value, _)), back) => assert_eq!(Ok(value), back, "read back"),
        (Err(error), back) => assert_eq!(
            Err(&*error.to_string()),
            back.as_ref().map_err(|text| *text),
            "read back"
        ),
    }
}

/// Cuts the schema ids out of a message.
fn hash_free(text: &str) -> String {
    text.split(" (stored schema")
        .next()
        .unwrap_or(text)
        .to_owned()
}

macro_rules! builds {
    ($($build:ident { $($body:tt)* })+) => {$(
        mod $build {
            #[allow(unused_imports, reason = "not every pair needs all of them")]
            use super::*;
            build! { $($body)* }
        }
    )+};
}

/// Derives on each item: the record `R` first, shapes behind it.
macro_rules! build {
    ($(#[$attribute:meta])* struct R { $($fields:tt)* } $($rest:tt)*) => {
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Record)]
        #[record(name = "r", crate = "ate_view")]
        $(#[$attribute])*
        pub struct R { $($fields)* }
        shapes! { $($rest)* }
    };
}

macro_rules! shapes {
    ($($item:item)*) => {$(
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Shape)]
        #[shape(crate = "ate_view")]
        $item
    )*};
}

mod added_with_default {
    use super::*;
    builds! {
        old { struct R { pub a: String } }
        new { struct R { pub a: String, #[record(default = 7)] pub b: u32 } }
    }

    #[test]
    fn both_ways() {
        check(
            old::R { a: "x".into() },
            Ok(new::R {
                a: "x".into(),
                b: 7,
            }),
            |r| r.b = 8,
            Ok(old::R { a: "x".into() }),
        );
        check(
            new::R {
                a: "x".into(),
                b: 9,
            },
            Ok(old::R { a: "x".into() }),
            |r| r.a = "y".into(),
            Ok(new::R {
                a: "y".into(),
                b: 9,
            }),
        );
    }
}

mod added_in_front_with_default_trait {
    use super::*;
    builds! {
        old { struct R { pub a: u32 } }
        new { struct R { #[record(default)] pub z: u32, #[serde(default = "five")] pub y: u32, pub a: u32 } }
    }
    fn five() -> u32 {
        5
    }

    #[test]
    fn both_ways() {
        check(
            old::R { a: 1 },
            Ok(new::R { z: 0, y: 5, a: 1 }),
            |r| r.z = 3,
            Ok(old::R { a: 1 }),
        );
        check(
            new::R { z: 1, y: 2, a: 3 },
            Ok(old::R { a: 3 }),
            |r| r.a = 4,
            Ok(new::R { z: 1, y: 2, a: 4 }),
        );
    }
}

mod added_option {
    use super::*;
    builds! {
        old { struct R { pub a: i64 } }
        new { struct R { pub b: Option<String>, pub a: i64, pub mark: () } }
    }

    #[test]
    fn both_ways() {
        check(
            old::R { a: -1 },
            Ok(new::R {
                b: None,
                a: -1,
                mark: (),
            }),
            |r| r.b = Some("s".into()),
            Ok(old::R { a: -1 }),
        );
        check(
            new::R {
                b: Some("s".into()),
                a: 1,
                mark: (),
            },
            Ok(old::R { a: 1 }),
            |r| r.a = 2,
            Ok(new::R {
                b: Some("s".into()),
                a: 2,
                mark: (),
            }),
        );
    }
}

mod added_without_default {
    use super::*;
    builds! {
        old { struct R { pub a: u8 } }
        new { struct R { pub a: u8, pub b: Vec<Option<u16>> } }
    }

    #[test]
    fn both_ways() {
        let error = "field `b: Vec<Option<u16>>` of `r` is not stored and has no default";
        check::<_, new::R>(old::R { a: 1 }, Err(error), |_| {}, Ok(old::R { a: 1 }));
        check(
            new::R {
                a: 1,
                b: vec![Some(300), None],
            },
            Ok(old::R { a: 1 }),
            |r| r.a = 2,
            Ok(new::R {
                a: 2,
                b: vec![Some(300), None],
            }),
        );
    }
}

mod removed {
    use super::*;
    builds! {
        old { struct R { pub a: u8, pub b: String, pub c: u8 } }
        new { struct R { pub a: u8, pub c: u8 } }
    }

    #[test]
    fn both_ways() {
        // The removed field stays in records that had it.
        check(
            old::R {
                a: 1,
                b: "kept".into(),
                c: 3,
            },
            Ok(new::R { a: 1, c: 3 }),
            |r| r.c = 4,
            Ok(old::R {
                a: 1,
                b: "kept".into(),
                c: 4,
            }),
        );
        let error = "field `b: String` of `r` is not stored and has no default";
        check::<_, old::R>(
            new::R { a: 1, c: 3 },
            Err(error),
            |_| {},
            Ok(new::R { a: 1, c: 3 }),
        );
    }
}

mod reordered {
    use super::*;
    builds! {
        old { struct R { pub a: u32, pub b: u32, pub n: N } #[derive(Copy)] pub struct N { pub x: u8, pub y: u8, pub z: u8 } }
        new { struct R { pub n: N, pub b: u32, pub a: u32 } #[derive(Copy)] pub struct N { pub z: u8, pub x: u8, pub y: u8 } }
    }

    #[test]
    fn both_ways() {
        let old = |b| old::R {
            a: 1,
            b,
            n: old::N { x: 3, y: 4, z: 5 },
        };
        let new = |b| new::R {
            a: 1,
            b,
            n: new::N { x: 3, y: 4, z: 5 },
        };
        check(old(2), Ok(new(2)), |r| r.b = 9, Ok(old(9)));
        check(new(2), Ok(old(2)), |r| r.b = 9, Ok(new(9)));
    }
}

mod renamed_with_was {
    use super::*;
    builds! {
        old { struct R { pub first: String, pub second: u8 } }
        new { struct R { #[record(was = "zeroth", was = "first")] pub name: String, pub second: u8, #[record(default)] pub third: bool } }
    }

    #[test]
    fn both_ways() {
        check(
            old::R {
                first: "a".into(),
                second: 1,
            },
            Ok(new::R {
                name: "a".into(),
                second: 1,
                third: false,
            }),
            |r| r.name = "b".into(),
            Ok(old::R {
                first: "b".into(),
                second: 1,
            }),
        );
        // The old build finds its name among the former names of the stored field, and the field keeps its new one.
        check(
            new::R {
                name: "a".into(),
                second: 1,
                third: true,
            },
            Ok(old::R {
                first: "a".into(),
                second: 1,
            }),
            |r| r.first = "b".into(),
            Ok(new::R {
                name: "b".into(),
                second: 1,
                third: true,
            }),
        );
    }
}

mod renamed_without_was {
    use super::*;
    builds! {
        old { struct R { pub first: String } }
        new { struct R { pub name: String } }
    }

    #[test]
    fn both_ways() {
        let error = "field `name: String` of `r` is not stored and has no default";
        check::<_, new::R>(old::R { first: "a".into() }, Err(error), |_| {}, Err(""));
        let error = "field `first: String` of `r` is not stored and has no default";
        check::<_, old::R>(new::R { name: "a".into() }, Err(error), |_| {}, Err(""));
    }
}

mod widened {
    use super::*;
    builds! {
        old { struct R { pub a: u8, pub b: u16, pub c: i8, pub d: u32, pub e: f32, pub f: u64, pub g: i64, pub h: u8 } }
        new { struct R { pub a: u16, pub b: u64, pub c: i16, pub d: i64, pub e: f64, pub f: u128, pub g: i128, pub h: i16 } }
    }

    #[test]
    fn extremes() {
        check(
            old::R {
                a: 255,
                b: 65_535,
                c: -128,
                d: u32::MAX,
                e: -1.5,
                f: u64::MAX,
                g: i64::MIN,
                h: 255,
            },
            Ok(new::R {
                a: 255,
                b: 65_535,
                c: -128,
                d: u32::MAX.into(),
                e: -1.5,
                f: u64::MAX.into(),
                g: i64::MIN.into(),
                h: 255,
            }),
            |_| {},
            Err("field `a` of `r` is stored as u16, which cannot be read as u8"),
        );
        let new = new::R {
            a: 1,
            b: 1,
            c: 1,
            d: 1,
            e: 1.0,
            f: 1,
            g: 1,
            h: 1,
        };
        let error = "field `a` of `r` is stored as u16, which cannot be read as u8";
        check::<_, old::R>(new, Err(error), |_| {}, Err(""));
    }
}

mod sign_changed {
    use super::*;
    builds! {
        old { struct R { pub a: u32 } }
        new { struct R { pub a: i32 } }
    }

    #[test]
    fn both_ways() {
        // Plain postcard reads 5 as -3.
        check::<_, new::R>(
            old::R { a: 5 },
            Err("field `a` of `r` is stored as u32, which cannot be read as i32"),
            |_| {},
            Err(""),
        );
        check::<_, old::R>(
            new::R { a: -3 },
            Err("field `a` of `r` is stored as i32, which cannot be read as u32"),
            |_| {},
            Err(""),
        );
    }
}

mod made_optional {
    use super::*;
    builds! {
        old { struct R { pub a: u8, pub b: Option<u16>, pub c: Vec<u8> } }
        new { struct R { pub a: Option<u32>, pub b: Option<Option<u16>>, pub c: Option<Vec<u8>> } }
    }

    #[test]
    fn both_ways() {
        check(
            old::R {
                a: 1,
                b: Some(2),
                c: vec![3],
            },
            Ok(new::R {
                a: Some(1),
                b: Some(Some(2)),
                c: Some(vec![3]),
            }),
            |_| {},
            Err("field `a` of `r` is stored as Option<u32>, which cannot be read as u8"),
        );
        check(
            old::R {
                a: 1,
                b: None,
                c: vec![],
            },
            Ok(new::R {
                a: Some(1),
                b: None,
                c: Some(vec![]),
            }),
            |_| {},
            Err("field `a` of `r` is stored as Option<u32>, which cannot be read as u8"),
        );
    }
}

mod variants {
    use super::*;
    builds! {
        old {
            struct R { pub a: State }
            pub enum State { Open, Done(u32), Named { by: String } }
        }
        new {
            struct R { pub a: State }
            pub enum State {
                Blocked(String),
                Open,
                #[shape(was = "Done")] Finished(u64),
                Named { #[shape(default = "all".to_owned())] to: String, by: String },
                Gone,
            }
        }
    }

    #[test]
    fn by_name() {
        check(
            old::R {
                a: old::State::Open,
            },
            Ok(new::R {
                a: new::State::Open,
            }),
            |_| {},
            Err(DONE),
        );
        check(
            old::R {
                a: old::State::Done(7),
            },
            Ok(new::R {
                a: new::State::Finished(7),
            }),
            |_| {},
            Err(DONE),
        );
        check(
            old::R {
                a: old::State::Named { by: "x".into() },
            },
            Ok(new::R {
                a: new::State::Named {
                    to: "all".into(),
                    by: "x".into(),
                },
            }),
            |_| {},
            Err(DONE),
        );
    }

    const DONE: &str = "field `a::Finished.0` of `r` is stored as u64, which cannot be read as u32";
}

mod variant_inserted {
    use super::*;
    builds! {
        old { struct R { pub a: State, pub n: u8 } #[derive(Copy)] pub enum State { Open, Done } }
        new { struct R { pub a: State, pub n: u8 } #[derive(Copy)] pub enum State { Open, Blocked, Done } }
    }

    #[test]
    fn both_ways() {
        // Plain postcard reads `Done` as `Blocked`.
        check(
            old::R {
                a: old::State::Done,
                n: 1,
            },
            Ok(new::R {
                a: new::State::Done,
                n: 1,
            }),
            |r| r.n = 2,
            Ok(old::R {
                a: old::State::Done,
                n: 2,
            }),
        );
        check(
            new::R {
                a: new::State::Done,
                n: 1,
            },
            Ok(old::R {
                a: old::State::Done,
                n: 1,
            }),
            |r| r.n = 2,
            Ok(new::R {
                a: new::State::Done,
                n: 2,
            }),
        );
        // The new build writes what the old one does not know.
        check(
            old::R {
                a: old::State::Done,
                n: 1,
            },
            Ok(new::R {
                a: new::State::Done,
                n: 1,
            }),
            |r| r.a = new::State::Blocked,
            Err("field `a` of `r` holds the variant `Blocked`, which this program does not know"),
        );
        let error =
            "field `a` of `r` holds the variant `Blocked`, which this program does not know";
        check::<_, old::R>(
            new::R {
                a: new::State::Blocked,
                n: 1,
            },
            Err(error),
            |_| {},
            Err(""),
        );
    }
}

mod variants_reordered_with_unknown_field {
    use super::*;
    builds! {
        old { struct R { pub a: State } #[derive(Copy)] pub enum State { A, B } }
        new { struct R { pub a: State, pub note: Option<String> } #[derive(Copy)] pub enum State { B, A } }
    }

    #[test]
    fn both_ways() {
        check(
            old::R { a: old::State::A },
            Ok(new::R {
                a: new::State::A,
                note: None,
            }),
            |r| r.a = new::State::B,
            Ok(old::R { a: old::State::B }),
        );
        // The merged descriptor holds the old build's enum and the new build's field.
        check(
            new::R {
                a: new::State::B,
                note: Some("n".into()),
            },
            Ok(old::R { a: old::State::B }),
            |r| r.a = old::State::A,
            Ok(new::R {
                a: new::State::A,
                note: Some("n".into()),
            }),
        );
    }
}

mod variant_payload_changed {
    use super::*;
    builds! {
        old { struct R { pub a: Vec<E> } pub enum E { V(u8) } }
        new { struct R { pub a: Vec<E> } pub enum E { V { x: u8 } } }
    }

    #[test]
    fn both_ways() {
        let error = "field `a[]::V` of `r` is stored as a tuple variant of 1, which cannot be read as a struct variant";
        check::<_, new::R>(old::R { a: vec![] }, Err(error), |_| {}, Err(""));
        let error = "field `a[]::V` of `r` is stored as a struct variant, which cannot be read as a tuple variant of 1";
        check::<_, old::R>(new::R { a: vec![] }, Err(error), |_| {}, Err(""));
    }
}

mod nested_added {
    use super::*;
    builds! {
        old { struct R { pub n: N } pub struct N { pub a: u8 } }
        new { struct R { pub n: N } pub struct N { pub a: u8, #[shape(default = 3)] pub b: u16, pub c: Option<u8> } }
    }

    #[test]
    fn both_ways() {
        check(
            old::R { n: old::N { a: 1 } },
            Ok(new::R {
                n: new::N {
                    a: 1,
                    b: 3,
                    c: None,
                },
            }),
            |r| r.n.b = 4,
            // The old build can read what the new one wrote.
            Ok(old::R { n: old::N { a: 1 } }),
        );
        check(
            new::R {
                n: new::N {
                    a: 1,
                    b: 2,
                    c: Some(3),
                },
            },
            Ok(old::R { n: old::N { a: 1 } }),
            |r| r.n.a = 2,
            Err("`r` was written by a newer program: `n.b` is unknown here and would be lost"),
        );
    }
}

mod nested_added_without_default {
    use super::*;
    builds! {
        old { struct R { pub n: Vec<N> } pub struct N { pub a: u8 } }
        new { struct R { pub n: Vec<N> } pub struct N { pub a: u8, pub b: String } }
    }

    #[test]
    fn both_ways() {
        let error = "field `n[].b: String` of `r` is not stored and has no default";
        check::<_, new::R>(old::R { n: vec![] }, Err(error), |_| {}, Err(""));
        check(
            new::R {
                n: vec![
                    new::N {
                        a: 1,
                        b: "x".into(),
                    },
                    new::N {
                        a: 2,
                        b: "y".into(),
                    },
                ],
            },
            Ok(old::R {
                n: vec![old::N { a: 1 }, old::N { a: 2 }],
            }),
            |_| {},
            Err("`r` was written by a newer program: `n[].b` is unknown here and would be lost"),
        );
    }
}

mod nested_renamed_deep_inside {
    use super::*;
    builds! {
        old {
            struct R { pub m: BTreeMap<u16, Option<(N, [u8; 2])>>, pub s: BTreeSet<u8> }
            pub struct N { pub a: u8, pub b: String }
        }
        new {
            struct R { pub m: BTreeMap<u32, Option<(N, [u16; 2])>>, pub s: BTreeSet<u64> }
            pub struct N { #[shape(was = "b")] pub text: String, #[serde(alias = "a")] pub number: i32 }
        }
    }

    #[test]
    fn old_to_new() {
        check(
            old::R {
                m: [
                    (1, None),
                    (
                        500,
                        Some((
                            old::N {
                                a: 7,
                                b: "x".into(),
                            },
                            [1, 200],
                        )),
                    ),
                ]
                .into(),
                s: [1, 200].into(),
            },
            Ok(new::R {
                m: [
                    (1, None),
                    (
                        500,
                        Some((
                            new::N {
                                text: "x".into(),
                                number: 7,
                            },
                            [1, 200],
                        )),
                    ),
                ]
                .into(),
                s: [1, 200].into(),
            }),
            |_| {},
            Err("field `m[key]` of `r` is stored as u32, which cannot be read as u16"),
        );
    }
}

mod opaque_kept {
    use super::*;
    builds! {
        old { struct R { #[record(opaque = "point-1")] pub p: (f64, f64), pub a: u8 } }
        new { struct R { pub b: Option<u8>, #[record(opaque = "point-1")] pub p: (f64, f64), pub a: u16 } }
    }

    #[test]
    fn both_ways() {
        check(
            old::R {
                p: (1.0, 2.0),
                a: 1,
            },
            Ok(new::R {
                b: None,
                p: (1.0, 2.0),
                a: 1,
            }),
            |_| {},
            Err("field `a` of `r` is stored as u16, which cannot be read as u8"),
        );
    }
}

mod opaque_renamed {
    use super::*;
    builds! {
        old { struct R { #[record(opaque = "point-1")] pub p: (f64, f64) } }
        new { struct R { #[record(opaque = "point-2")] pub p: (f64, f64) } }
    }

    #[test]
    fn both_ways() {
        let error =
            "field `p` of `r` is stored as opaque point-1, which cannot be read as opaque point-2";
        check::<_, new::R>(old::R { p: (1.0, 2.0) }, Err(error), |_| {}, Err(""));
        let error =
            "field `p` of `r` is stored as opaque point-2, which cannot be read as opaque point-1";
        check::<_, old::R>(new::R { p: (1.0, 2.0) }, Err(error), |_| {}, Err(""));
    }
}

mod opaque_inside_what_changed {
    use super::*;
    builds! {
        old { struct R { pub n: N, pub x: u8 } pub struct N { #[shape(opaque = "o-1")] pub o: u64, pub a: u8 } }
        new { struct R { pub n: N, pub x: u8 } pub struct N { #[shape(opaque = "o-1")] pub o: u64, pub a: u16 } }
        other { struct R { pub n: N, pub x: u16 } pub struct N { #[shape(opaque = "o-1")] pub o: u64, pub a: u8 } }
    }

    #[test]
    fn all_ways() {
        let old = || old::R {
            n: old::N { o: 300, a: 1 },
            x: 2,
        };
        let error = "field `n.o` of `r` changed around `opaque o-1`, which cannot be skipped";
        check::<_, new::R>(old(), Err(error), |_| {}, Err(""));
        // As long as the field that holds it is the same, nobody needs to look inside.
        check(
            old(),
            Ok(other::R {
                n: other::N { o: 300, a: 1 },
                x: 2,
            }),
            |_| {},
            Err("field `x` of `r` is stored as u16, which cannot be read as u8"),
        );
    }
}

mod list_and_set {
    use super::*;
    builds! {
        old { struct R { pub a: Vec<u8> } }
        new { struct R { pub a: BTreeSet<u8> } }
    }

    #[test]
    fn both_ways() {
        let error = "field `a` of `r` is stored as Vec<u8>, which cannot be read as Set<u8>";
        check::<_, new::R>(old::R { a: vec![1, 1] }, Err(error), |_| {}, Err(""));
        let error = "field `a` of `r` is stored as Set<u8>, which cannot be read as Vec<u8>";
        check::<_, old::R>(new::R { a: [1].into() }, Err(error), |_| {}, Err(""));
    }
}

mod lengths_changed {
    use super::*;
    builds! {
        old { struct R { pub a: [u8; 2] } }
        new { struct R { pub a: [u8; 3] } }
        tuple { struct R { pub a: (u8, u8) } }
    }

    #[test]
    fn all_ways() {
        let error = "field `a` of `r` is stored as [u8; 2], which cannot be read as [u8; 3]";
        check::<_, new::R>(old::R { a: [1, 2] }, Err(error), |_| {}, Err(""));
        let error = "field `a` of `r` is stored as [u8; 2], which cannot be read as (u8, u8)";
        check::<_, tuple::R>(old::R { a: [1, 2] }, Err(error), |_| {}, Err(""));
        let error = "field `a` of `r` is stored as (u8, u8), which cannot be read as [u8; 3]";
        check::<_, new::R>(tuple::R { a: (1, 2) }, Err(error), |_| {}, Err(""));
    }
}

mod kinds_changed {
    use super::*;
    builds! {
        old { struct R { pub a: N } pub struct N { pub x: u8 } }
        new { struct R { pub a: N } pub enum N { X(u8) } }
        tuple { struct R { pub a: N } pub struct N(pub u8); }
        plain { struct R { pub a: u8 } }
    }

    #[test]
    fn all_ways() {
        let old = || old::R { a: old::N { x: 1 } };
        check::<_, new::R>(
            old(),
            Err("field `a` of `r` is stored as struct N, which cannot be read as enum N"),
            |_| {},
            Err(""),
        );
        let error =
            "field `a` of `r` is stored as struct N, which cannot be read as tuple struct N of 1";
        check::<_, tuple::R>(old(), Err(error), |_| {}, Err(""));
        check::<_, plain::R>(
            old(),
            Err("field `a` of `r` is stored as N, which cannot be read as u8"),
            |_| {},
            Err(""),
        );
        let error = "field `a` of `r` is stored as u8, which cannot be read as N";
        check::<_, tuple::R>(plain::R { a: 1 }, Err(error), |_| {}, Err(""));
    }
}

mod recursive {
    use super::*;
    builds! {
        old { struct R { pub t: Tree } pub struct Tree { pub v: u8, pub below: Vec<Self> } }
        new { struct R { pub t: Tree } pub struct Tree { pub below: Vec<Self>, pub v: u32, #[shape(default = 'd')] pub c: char } }
    }

    #[test]
    fn both_ways() {
        let old = |v, below| old::Tree { v, below };
        let new = |v, below| new::Tree { v, below, c: 'd' };
        check(
            old::R {
                t: old(1, vec![old(2, vec![]), old(3, vec![old(4, vec![])])]),
            },
            Ok(new::R {
                t: new(1, vec![new(2, vec![]), new(3, vec![new(4, vec![])])]),
            }),
            |r| r.t.below.clear(),
            Err("field `t.v` of `r` is stored as u32, which cannot be read as u8"),
        );
    }
}

mod diverged {
    use super::*;
    builds! {
        left { struct R { pub a: u8, pub l: Option<L>, pub wide: u32 } pub struct L { pub s: Shared } pub struct Shared { pub x: u8 } }
        right { struct R { pub r: Option<Q>, pub a: u8, pub wide: u64 } pub struct Q { pub s: Shared, pub more: Vec<Shared> } pub struct Shared { pub x: u8 } }
    }

    #[test]
    fn merged() {
        let (old, plan) = (
            left::R {
                a: 1,
                l: Some(left::L {
                    s: left::Shared { x: 9 },
                }),
                wide: 5,
            },
            Plan::of::<right::R>(Descriptor::of::<left::R>()),
        );
        let (mut value, unknown) =
            decode::<right::R>(&encode(&old).expect("encodes"), &plan).expect("decodes");
        assert_eq!(
            value,
            right::R {
                r: None,
                a: 1,
                wide: 5
            }
        );
        value.r = Some(right::Q {
            s: right::Shared { x: 1 },
            more: vec![right::Shared { x: 2 }],
        });
        value.wide = u64::MAX;
        let Encoded { body, descriptor } = encode_spliced(&value, &unknown).expect("encodes");
        assert_eq!(
            descriptor.to_string(),
            "record r (version 1, fields)\n  a: u8\n  l: Option<L>\n  wide: u64\n  r: Option<Q>\n\
             struct L\n  s: Shared\nstruct Q\n  s: Shared\n  more: Vec<Shared>\nstruct Shared\n  x: u8\nstruct Shared\n  x: u8"
        );
        assert_eq!(
            to_json(&descriptor, &body).expect("shown"),
            r#"{"a":1,"l":{"s":{"x":9}},"wide":18446744073709551615,"r":{"s":{"x":1},"more":[{"x":2}]}}"#
        );
        // A second rewrite keeps the merged descriptor.
        let (value, unknown) =
            decode::<right::R>(&body, &Plan::of::<right::R>(&descriptor)).expect("decodes");
        let again = encode_spliced(&value, &unknown).expect("encodes");
        assert_eq!((again.body, again.descriptor), (body, descriptor));
    }

    #[test]
    fn spliced_under_the_stored_descriptor_if_nothing_is_added() {
        let old = left::R {
            a: 1,
            l: Some(left::L {
                s: left::Shared { x: 9 },
            }),
            wide: 5,
        };
        #[derive(Serialize, Deserialize, Record)]
        #[record(name = "r", crate = "ate_view")]
        struct Small {
            wide: u32,
        }
        let plan = Plan::of::<Small>(Descriptor::of::<left::R>());
        let (value, unknown) =
            decode::<Small>(&encode(&old).expect("encodes"), &plan).expect("decodes");
        let encoded = encode_spliced(&value, &unknown).expect("encodes");
        assert_eq!(&encoded.descriptor, Descriptor::of::<left::R>());
        assert_eq!(encoded.body, encode(&old).expect("encodes"));
    }
}

mod other_record {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize, Record)]
    #[record(crate = "ate_view")]
    struct FirstThing {
        a: u8,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize, Record)]
    #[record(crate = "ate_view")]
    struct SecondThing {
        a: u8,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize, Record)]
    #[record(name = "first_thing", codec = "json", crate = "ate_view")]
    struct Document {
        a: u8,
    }

    #[test]
    fn is_refused() {
        let first = || FirstThing { a: 1 };
        check::<_, SecondThing>(
            first(),
            Err("a `first_thing` stands here, not a `second_thing`"),
            |_| {},
            Err(""),
        );
        check::<_, Document>(
            first(),
            Err("`first_thing` is stored as fields, this program reads json"),
            |_| {},
            Err(""),
        );
        // A plan for another type is not followed blindly.
        let plan = Plan::of::<FirstThing>(Descriptor::of::<FirstThing>());
        assert!(decode::<SecondThing>(&[1, 1], &plan).is_err());
    }
}

mod enum_records {
    use super::*;

    mod old {
        use super::*;
        #[derive(Debug, PartialEq, Serialize, Deserialize, Record)]
        #[record(name = "r", crate = "ate_view")]
        pub(super) enum R {
            A(u8),
            B { x: String },
        }
    }
    mod new {
        use super::*;
        #[derive(Debug, PartialEq, Serialize, Deserialize, Record)]
        #[record(name = "r", crate = "ate_view")]
        pub(super) enum R {
            B { x: String, y: Option<u8> },
            A(u8),
        }
    }

    #[test]
    fn both_ways() {
        check(
            old::R::A(1),
            Ok(new::R::A(1)),
            |r| *r = new::R::A(2),
            Ok(old::R::A(2)),
        );
        check(
            old::R::B { x: "s".into() },
            Ok(new::R::B {
                x: "s".into(),
                y: None,
            }),
            |r| *r = new::R::A(2),
            Ok(old::R::A(2)),
        );
        check(
            new::R::A(1),
            Ok(old::R::A(1)),
            |_| {},
            Err(
                "`r` was written by a newer program: `value::B.y` is unknown here and would be lost",
            ),
        );
    }
}

mod swapped_names {
    use super::*;
    builds! {
        old { struct R { pub a: u8, pub b: u8 } }
        // `b` is another field now, and what was `b` is `c`.
        new { struct R { pub a: u8, #[record(was = "b")] pub c: u8, #[record(default = 42, was = "a")] pub b2: u8 } }
    }

    #[test]
    fn exact_names_go_first() {
        check(
            old::R { a: 1, b: 2 },
            Ok(new::R { a: 1, c: 2, b2: 42 }),
            |r| r.c = 3,
            Ok(old::R { a: 1, b: 3 }),
        );
    }
}

#[test]
fn equal_descriptors_need_no_plan() {
    #[derive(Serialize, Deserialize, Record)]
    #[record(name = "r", crate = "ate_view")]
    struct A {
        x: u8,
    }
    mod copy {
        use super::*;
        #[derive(Serialize, Deserialize, Record)]
        #[record(name = "r", crate = "ate_view")]
        pub(super) struct B {
            pub(super) x: u8,
        }
    }
    assert_eq!(Descriptor::of::<A>().id(), Descriptor::of::<copy::B>().id());
    let stored =
        Arc::new(Descriptor::from_bytes(Descriptor::of::<A>().as_bytes()).expect("canonical"));
    let plan = Plan::of::<copy::B>(&stored);
    let (value, unknown) =
        decode::<copy::B>(&encode(&A { x: 9 }).expect("encodes"), &plan).expect("decodes");
    assert_eq!((value.x, unknown.is_empty()), (9, true));
}
