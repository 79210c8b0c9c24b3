//! What postcard alone gets wrong is right here, or an error at the first write. See `schema_evolution` for what changes
//! between two builds; these are types that cannot be stored as they are.

use std::collections::HashMap;

use ate_view::{
    Descriptor, EncodeError, Json, Plan, Record, Shape, check_round_trip, decode, encode,
};
use serde::ser::{SerializeMap, SerializeStruct};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

fn text<T>(result: Result<T, EncodeError>) -> String {
    let mut error: &dyn std::error::Error = &result.err().expect("must be refused");
    let mut text = error.to_string();
    while let Some(source) = error.source() {
        text += &format!(": {source}");
        error = source;
    }
    text
}

/// Types that serde writes in a way that only a self-describing format can read. The derives refuse them where they see them;
/// behind `opaque` they cannot.
mod foreign {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    pub(super) enum Untagged {
        Number(u64),
        Text(String),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    pub(super) enum Tagged {
        A { x: u8 },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Flattened {
        pub(super) a: u8,
        #[serde(flatten)]
        pub(super) rest: HashMap<String, u8>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Skipping {
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(super) a: Option<u8>,
        pub(super) b: u8,
    }
}

macro_rules! holder {
    ($name:ident, $ty:ty) => {
        #[derive(Debug, PartialEq, Serialize, Deserialize, Record)]
        #[record(crate = "ate_view")]
        struct $name {
            before: u8,
            #[record(opaque = "foreign-1")]
            value: $ty,
        }
    };
}

holder!(HoldsUntagged, foreign::Untagged);
holder!(HoldsTagged, foreign::Tagged);
holder!(HoldsValue, serde_json::Value);
holder!(HoldsFlattened, foreign::Flattened);
holder!(HoldsSkipping, foreign::Skipping);

#[test]
fn what_cannot_be_read_back_is_never_written() {
    let self_describing = "the type needs a self-describing format, which postcard is not";
    assert_eq!(
        text(encode(&HoldsUntagged {
            before: 1,
            value: foreign::Untagged::Number(1)
        })),
        format!(
            "`holds_untagged` could be written but never read again: \
             field `value` of `holds_untagged` does not fit its type: {self_describing}"
        )
    );
    assert_eq!(
        text(encode(&HoldsTagged {
            before: 1,
            value: foreign::Tagged::A { x: 1 }
        })),
        format!(
            "`holds_tagged` could be written but never read again: \
             field `value` of `holds_tagged` does not fit its type: {self_describing}"
        )
    );
    assert_eq!(
        text(check_round_trip(&HoldsValue {
            before: 1,
            value: serde_json::json!({"a": [1, null]})
        })),
        format!(
            "`holds_value` could be written but never read again: \
             field `value` of `holds_value` does not fit its type: {self_describing}"
        )
    );
    assert_eq!(
        text(encode(&HoldsFlattened {
            before: 1,
            value: foreign::Flattened {
                a: 1,
                rest: [("x".to_owned(), 1)].into()
            }
        })),
        "field `value` of `holds_flattened` cannot be encoded: a sequence does not know its length (as with `flatten`)"
    );
    assert_eq!(
        text(encode(&HoldsSkipping {
            before: 1,
            value: foreign::Skipping { a: None, b: 7 }
        })),
        "`holds_skipping` could be written but never read again: \
         field `value` of `holds_skipping` does not fit its type: an option is neither 0 nor 1"
    );
    // A value that happens to encode whole is as good as any.
    encode(&HoldsSkipping {
        before: 1,
        value: foreign::Skipping { a: Some(1), b: 7 },
    })
    .expect("encodes");
}

/// The same types as documents.
#[derive(Debug, PartialEq, Serialize, Deserialize, Record)]
#[record(codec = "json", crate = "ate_view")]
struct Document {
    untagged: Vec<foreign::Untagged>,
    tagged: foreign::Tagged,
    value: serde_json::Value,
    skipping: foreign::Skipping,
    #[serde(flatten)]
    rest: HashMap<String, u8>,
}

#[test]
fn the_json_codec_bears_them() {
    let document = Document {
        untagged: vec![
            foreign::Untagged::Number(1),
            foreign::Untagged::Text("x".into()),
        ],
        tagged: foreign::Tagged::A { x: 1 },
        value: serde_json::json!({"a": [1, null]}),
        skipping: foreign::Skipping { a: None, b: 1 },
        rest: [("more".to_owned(), 3)].into(),
    };
    let body = encode(&document).expect("encodes");
    let (again, unknown) =
        decode::<Document>(&body, &Plan::of::<Document>(Descriptor::of::<Document>()))
            .expect("decodes");
    assert_eq!((again, unknown.is_empty()), (document, true));
}

#[test]
fn dynamic_values_have_a_field_type_of_their_own() {
    #[derive(Debug, PartialEq, Serialize, Deserialize, Record)]
    #[record(crate = "ate_view")]
    struct Holds {
        before: u8,
        value: Json,
        after: Vec<Json>,
    }
    let json = |text: &str| text.parse::<Json>().expect("valid");
    let value = Holds {
        before: 1,
        value: json("{\"b\": 1.50, \"a\": []}"),
        after: vec![json("null"), json("\"x\"")],
    };
    let body = encode(&value).expect("encodes");
    assert_eq!(
        decode::<Holds>(&body, &Plan::of::<Holds>(Descriptor::of::<Holds>()))
            .expect("decodes")
            .0,
        value
    );
    assert_eq!(
        ate_view::to_json(Descriptor::of::<Holds>(), &body).expect("shown"),
        r#"{"before":1,"value":{"b": 1.50, "a": []},"after":[null,"x"]}"#
    );
}

/// A `Shape` by hand that does not say what `Serialize` does.
#[derive(Debug, PartialEq, Deserialize)]
struct Liar {
    a: u32,
    b: String,
}

impl Serialize for Liar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Liar", 2)?;
        out.serialize_field("a", &self.a)?;
        out.serialize_field("b", &self.b)?;
        out.end()
    }
}

impl Shape for Liar {
    fn shape(types: &mut ate_view::Types) -> ate_view::Type {
        <(String, u32)>::shape(types)
    }
}

/// Reads back, but as something else.
#[derive(Debug, PartialEq)]
struct Forgetful(u32);

impl Serialize for Forgetful {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Forgetful {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer).map(|value| Self(value / 2))
    }
}

impl Shape for Forgetful {
    fn shape(types: &mut ate_view::Types) -> ate_view::Type {
        u32::shape(types)
    }
}

#[test]
fn false_shapes_and_lossy_types_are_found() {
    #[derive(Debug, PartialEq, Serialize, Deserialize, Record)]
    #[record(crate = "ate_view")]
    struct Lies {
        liar: Liar,
    }
    let lies = Lies {
        liar: Liar {
            a: 300,
            b: "x".into(),
        },
    };
    assert!(
        text(encode(&lies)).starts_with(
            "field `liar` of `lies` is not encoded as its shape `(String, u32)` says:"
        )
    );

    #[derive(Debug, PartialEq, Serialize, Deserialize, Record)]
    #[record(crate = "ate_view")]
    struct Forgets {
        kept: u8,
        value: Forgetful,
    }
    assert_eq!(
        text(encode(&Forgets {
            kept: 1,
            value: Forgetful(4)
        })),
        "field `value` of `forgets` reads back as another value"
    );
}

#[test]
fn hash_maps_read_back_in_any_order() {
    #[derive(Debug, PartialEq, Serialize, Deserialize, Record)]
    #[record(crate = "ate_view")]
    struct Maps {
        map: HashMap<u32, String>,
        set: std::collections::HashSet<String>,
    }
    let value = Maps {
        map: (0..200).map(|index| (index, index.to_string())).collect(),
        set: (0..200).map(|index| index.to_string()).collect(),
    };
    let body = encode(&value).expect("encodes");
    assert_eq!(
        decode::<Maps>(&body, &Plan::of::<Maps>(Descriptor::of::<Maps>()))
            .expect("decodes")
            .0,
        value
    );
}

/// A map whose length is not known ahead, as `flatten` makes them.
#[test]
fn a_failing_field_is_named() {
    struct Unsized;
    impl Serialize for Unsized {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_map(None)?.end()
        }
    }
    impl<'de> Deserialize<'de> for Unsized {
        fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Ok(Self)
        }
    }
    #[derive(Serialize, Deserialize, Record)]
    #[record(crate = "ate_view")]
    struct Holder {
        fine: u8,
        #[record(opaque = "unsized-1")]
        odd: Unsized,
    }
    assert!(
        text(encode(&Holder {
            fine: 1,
            odd: Unsized
        }))
        .starts_with("field `odd` of `holder` cannot be encoded")
    );
}

/// A type that contains itself is read only as deep as the limit, and written no deeper.
#[test]
fn depth_is_checked_at_both_ends() {
    #[derive(Debug, PartialEq, Serialize, Deserialize, Shape)]
    #[shape(crate = "ate_view")]
    struct Node {
        next: Option<Box<Self>>,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize, Record)]
    #[record(crate = "ate_view")]
    struct List {
        first: Node,
    }
    let list = |length| List {
        first: (0..length).fold(Node { next: None }, |node, _| Node {
            next: Some(Box::new(node)),
        }),
    };
    let plan = Plan::of::<List>(Descriptor::of::<List>());
    let body = encode(&list(100)).expect("encodes");
    assert_eq!(decode::<List>(&body, &plan).expect("decodes").0, list(100));
    assert_eq!(
        text(encode(&list(200))),
        "field `first` of `list` is not encoded as its shape `Node` says: values are nested too deeply"
    );
    // A million levels would overflow the stack of serde.
    let mut body = vec![0xc1, 0x84, 0x3d];
    body.extend(vec![1; 1_000_000]);
    body.push(0);
    let error = decode::<List>(&body, &plan).expect_err("too deep");
    assert_eq!(
        error.to_string(),
        "field `first` of `list` does not fit its type: values are nested too deeply"
    );
}

/// Elements without bytes would make serde count to any number.
#[test]
fn counts_without_bytes_are_bounded() {
    #[derive(Debug, PartialEq, Serialize, Deserialize, Record)]
    #[record(crate = "ate_view")]
    struct Marks {
        marks: Vec<()>,
    }
    let plan = Plan::of::<Marks>(Descriptor::of::<Marks>());
    let marks = Marks {
        marks: vec![(); 60_000],
    };
    assert_eq!(
        decode::<Marks>(&encode(&marks).expect("encodes"), &plan)
            .expect("decodes")
            .0,
        marks
    );
    let error = decode::<Marks>(
        &[9, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        &plan,
    )
    .expect_err("too many");
    assert_eq!(
        error.to_string(),
        "field `marks` of `marks` does not fit its type: too many values for so few bytes"
    );
}

#[test]
fn damaged_bodies_name_the_field() {
    #[derive(Debug, PartialEq, Serialize, Deserialize, Record)]
    #[record(crate = "ate_view")]
    struct Pair {
        flag: bool,
        name: String,
    }
    let plan = Plan::of::<Pair>(Descriptor::of::<Pair>());
    let check = |body: &[u8], expected: &str| {
        assert_eq!(
            decode::<Pair>(body, &plan)
                .expect_err("damaged")
                .to_string(),
            expected,
            "{body:?}"
        );
    };
    let body = encode(&Pair {
        flag: true,
        name: "ab".into(),
    })
    .expect("encodes");
    assert_eq!(body, [1, 1, 3, 2, b'a', b'b']);
    check(
        &[1, 2, 3, 2, b'a', b'b'],
        "field `flag` of `pair` does not fit its type: a bool is neither 0 nor 1",
    );
    check(
        &[2, 1, 0, 3, 2, b'a', b'b'],
        "field `flag` of `pair` does not fit its type: bytes are left over",
    );
    check(
        &[1, 1, 3, 2, b'a', 0xff],
        "field `name` of `pair` does not fit its type: text is not UTF-8",
    );
    check(
        &[1, 1, 2, 2, b'a'],
        "field `name` of `pair` does not fit its type: the bytes end too early",
    );
    check(
        &[1, 1, 3, 2, b'a'],
        "the body of `pair` is not framed as its descriptor says: the bytes end too early",
    );
    check(
        &[1, 1, 3, 2, b'a', b'b', 0],
        "the body of `pair` is not framed as its descriptor says: bytes are left over",
    );
    check(
        &[0x81, 0, 1, 3, 2, b'a', b'b'],
        "the body of `pair` is not framed as its descriptor says: a number is not well encoded",
    );
    check(
        &[],
        "the body of `pair` is not framed as its descriptor says: the bytes end too early",
    );
    for cut in 0..body.len() {
        decode::<Pair>(&body[..cut], &plan).expect_err("cut");
    }
}
