//! Documents as records, typed and untyped, and any record as a document.

use std::collections::BTreeMap;

use ate_view::{
    Codec, Descriptor, EncodeError, Encoded, Json, Plan, Record, Shape, decode, encode,
    encode_spliced, to_json,
};
use serde::{Deserialize, Serialize};

fn json(text: &str) -> Json {
    text.parse().expect("valid")
}

#[test]
fn documents_keep_their_bytes() {
    let text = " {\"z\": 1.50, \"a\" : [1e3,\t-0],\r\n\"n\":123456789012345678901234567890}\n";
    let body = encode(&json(text)).expect("encodes");
    assert_eq!(body, text.as_bytes());
    let plan = Plan::of::<Json>(Descriptor::of::<Json>());
    let (again, unknown) = decode::<Json>(&body, &plan).expect("decodes");
    assert_eq!((again.as_str(), unknown.is_empty()), (text, true));
    assert_eq!(
        to_json(Descriptor::of::<Json>(), &body).expect("shown"),
        text
    );
    assert_eq!((Json::NAME, Json::CODEC), ("json", Codec::Json));
    assert_eq!(
        Descriptor::of::<Json>().to_string(),
        "record json (version 1, json)"
    );
    assert_eq!(
        Descriptor::of::<Json>().as_bytes(),
        b"\x01\x01\x01\x04json\x00\x00"
    );
}

#[test]
fn stored_documents_are_checked() {
    let plan = Plan::of::<Json>(Descriptor::of::<Json>());
    for body in [
        &b"{\"a\":1,\"a\":2}"[..],
        b"\xff",
        b"",
        b"[1",
        b"\"\\ud800\"",
        &b"[".repeat(100_000),
    ] {
        decode::<Json>(body, &plan).expect_err("no document");
        to_json(Descriptor::of::<Json>(), body).expect_err("no document");
    }
}

mod old {
    use super::*;
    #[derive(Debug, PartialEq, Serialize, Deserialize, Record)]
    #[record(name = "page", codec = "json", crate = "ate_view")]
    pub(super) struct Page {
        pub(super) title: String,
        pub(super) meta: Meta,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(super) note: Option<String>,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Meta {
        pub(super) lang: String,
    }
}

mod new {
    use super::*;
    #[derive(Debug, PartialEq, Serialize, Deserialize, Record)]
    #[record(name = "page", codec = "json", crate = "ate_view")]
    pub(super) struct Page {
        pub(super) title: String,
        pub(super) tags: Vec<String>,
        pub(super) meta: Meta,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Meta {
        pub(super) lang: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(super) words: Option<u32>,
    }
}

fn new_page(words: Option<u32>) -> new::Page {
    new::Page {
        title: "t".into(),
        tags: vec!["x".into(), "y, \"z\"".into()],
        meta: new::Meta {
            lang: "en".into(),
            words,
        },
    }
}

#[test]
fn unknown_members_are_put_back() {
    let body = encode(&new_page(None)).expect("encodes");
    let plan = Plan::of::<old::Page>(Descriptor::of::<new::Page>());
    let (mut page, unknown) = decode::<old::Page>(&body, &plan).expect("decodes");
    assert!(!unknown.is_empty() && unknown.check().is_ok());
    page.title = "changed".into();
    let Encoded { body, descriptor } = encode_spliced(&page, &unknown).expect("encodes");
    assert_eq!(
        String::from_utf8(body.clone()).expect("text"),
        r#"{"title":"changed","meta":{"lang":"en"},"tags":["x","y, \"z\""]}"#
    );
    assert_eq!(&descriptor, Descriptor::of::<new::Page>());
    let (page, unknown) =
        decode::<new::Page>(&body, &Plan::of::<new::Page>(&descriptor)).expect("decodes");
    assert_eq!(
        (page, unknown.is_empty()),
        (
            new::Page {
                title: "changed".into(),
                ..new_page(None)
            },
            true
        )
    );
}

#[test]
fn unknown_nested_members_forbid_a_rewrite() {
    let body = encode(&new_page(Some(3))).expect("encodes");
    let plan = Plan::of::<old::Page>(Descriptor::of::<new::Page>());
    let (page, unknown) = decode::<old::Page>(&body, &plan).expect("decodes");
    let EncodeError::NewerSchema(newer) =
        encode_spliced(&page, &unknown).expect_err("would lose `words`")
    else {
        panic!("another error");
    };
    assert_eq!((&*newer.record, &*newer.field), ("page", "meta.words"));
    assert_eq!(unknown.check(), Err(EncodeError::NewerSchema(newer)));
}

#[test]
fn what_does_not_fit_says_where() {
    let plan = Plan::of::<new::Page>(Descriptor::of::<old::Page>());
    let body = encode(&old::Page {
        title: "t".into(),
        meta: old::Meta { lang: "en".into() },
        note: None,
    })
    .expect("encodes");
    let error = decode::<new::Page>(&body, &plan).expect_err("no tags");
    let source = std::error::Error::source(&error)
        .expect("a place")
        .to_string();
    assert_eq!(source, "line 1, column 34 (byte 33): missing field `tags`");
    let error = decode::<old::Page>(b"{\n \"title\": \"t\",\n \"meta\": 5}", &plan_of_old())
        .expect_err("no struct");
    let source = std::error::Error::source(&error)
        .expect("a place")
        .to_string();
    assert_eq!(
        source,
        "line 3, column 10 (byte 26): invalid type: integer `5`, expected struct Meta"
    );
}

fn plan_of_old() -> Plan {
    Plan::of::<old::Page>(Descriptor::of::<old::Page>())
}

#[test]
fn values_without_json_form_are_refused_every_time() {
    #[derive(Debug, PartialEq, Serialize, Deserialize, Record)]
    #[record(codec = "json", crate = "ate_view")]
    struct Measure {
        value: f64,
    }
    encode(&Measure { value: 1.5 }).expect("encodes");
    // serde_json writes null, which is no f64.
    let error = encode(&Measure { value: f64::NAN }).expect_err("no JSON");
    assert_eq!(
        error.to_string(),
        "`measure` could be written but never read again"
    );

    #[derive(Debug, PartialEq, Serialize, Deserialize, Record)]
    #[record(codec = "json", crate = "ate_view")]
    struct Twice {
        a: u8,
        #[serde(flatten)]
        rest: BTreeMap<String, u8>,
    }
    let error = encode(&Twice {
        a: 1,
        rest: [("a".to_owned(), 2)].into(),
    })
    .expect_err("a twice");
    assert!(
        error.to_string().contains("duplicate member \"a\""),
        "{error}"
    );
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Record)]
#[record(crate = "ate_view")]
struct Shown {
    floats: Vec<f64>,
    small: Vec<f32>,
    keyed: BTreeMap<String, Kind>,
    numbered: BTreeMap<i8, Option<Kind>>,
    #[record(opaque = "blob-2")]
    blob: Vec<u8>,
    nested: Option<Nested>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Shape)]
#[shape(crate = "ate_view")]
enum Kind {
    Unit,
    One(u8),
    Two(u8, String),
    Named { x: bool },
    None(),
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Shape)]
#[shape(crate = "ate_view")]
struct Nested {
    #[shape(opaque = "deep-1")]
    deep: u16,
    after: u8,
}

#[test]
fn records_of_any_program_are_shown() {
    let value = Shown {
        floats: vec![
            0.0,
            -0.0,
            1e21,
            0.1,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ],
        small: vec![0.1, 16_777_216.0, f32::NAN],
        keyed: [
            ("a\"".to_owned(), Kind::Unit),
            ("b".to_owned(), Kind::One(1)),
            ("c".to_owned(), Kind::None()),
        ]
        .into(),
        numbered: [
            (-1, Some(Kind::Two(2, "é\u{1}".into()))),
            (1, None),
            (2, Some(Kind::Named { x: true })),
        ]
        .into(),
        blob: vec![1, 255],
        nested: Some(Nested {
            deep: 300,
            after: 7,
        }),
    };
    let body = encode(&value).expect("encodes");
    // Only descriptor and body travel.
    let descriptor =
        Descriptor::from_bytes(Descriptor::of::<Shown>().as_bytes()).expect("canonical");
    assert_eq!(
        to_json(&descriptor, &body).expect("shown"),
        concat!(
            r#"{"floats":[0.0,-0.0,1e+21,0.1,"NaN","Infinity","-Infinity"],"small":[0.1,16777216.0,"NaN"],"#,
            r#""keyed":{"a\"":"Unit","b":{"One":1},"c":{"None":[]}},"#,
            r#""numbered":[[-1,{"Two":[2,"é\u0001"]}],[1,null],[2,{"Named":{"x":true}}]],"#,
            r#""blob":{"opaque":"blob-2","hex":"0201ff"},"nested":{"opaque":"deep-1","hex":"01ac0207"}}"#
        )
    );
}

/// A hostile writer repeats a key; the shown document has no duplicate member.
#[test]
fn repeated_map_keys_are_shown_as_pairs() {
    #[derive(Serialize, Deserialize, Record)]
    #[record(crate = "ate_view")]
    struct Map {
        map: BTreeMap<String, u8>,
    }
    let body = [7, 2, 1, b'a', 1, 1, b'a', 2];
    assert_eq!(
        to_json(Descriptor::of::<Map>(), &body).expect("shown"),
        r#"{"map":[["a",1],["a",2]]}"#
    );
}

/// Long names and many values make more text than there are bytes: that has an end too.
#[test]
fn shown_text_is_bounded() {
    #[derive(Serialize, Deserialize, Record)]
    #[record(crate = "ate_view")]
    struct Many {
        list: Vec<Long>,
    }
    #[derive(Serialize, Deserialize, Shape)]
    #[shape(crate = "ate_view")]
    struct Long {
        #[serde(
            rename = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        )]
        long: (),
    }
    let body = encode(&Many {
        list: (0..20_000).map(|_| Long { long: () }).collect(),
    })
    .expect("encodes");
    let error =
        to_json(Descriptor::of::<Many>(), &body).expect_err("five megabytes out of four bytes");
    assert_eq!(error.to_string(), "`many` is too large to be shown");
}

/// `Json` in other formats: inline in JSON, a string elsewhere.
#[test]
fn json_values_serialise_as_what_they_are() {
    let value = json("{ \"a\": 1.50 }");
    assert_eq!(
        serde_json::to_string(&value).expect("serialises"),
        "{ \"a\": 1.50 }"
    );
    assert_eq!(
        serde_json::from_str::<Json>("{ \"a\": 1.50 }").expect("deserialises"),
        value
    );
    assert!(serde_json::from_str::<Json>("{\"a\":1,\"a\":2}").is_err());
    let bytes = postcard::to_stdvec(&value).expect("serialises");
    assert_eq!(
        postcard::from_bytes::<Json>(&bytes).expect("deserialises"),
        value
    );
    assert!(postcard::from_bytes::<Json>(b"\x02[1").is_err());
}
