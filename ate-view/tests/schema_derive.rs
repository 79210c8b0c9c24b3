//! What the derives write: names, attributes, and the shapes of std's types.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::{NonZeroU8, NonZeroU64, Wrapping};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ate_view::{Codec, Descriptor, Plan, Record, Shape, Type, Types, decode, encode, to_json};
use serde::{Deserialize, Serialize};

#[track_caller]
fn round_trip<T: Record + PartialEq + Debug>(value: &T) -> String {
    let body = encode(value).expect("encodes");
    let (again, unknown) =
        decode::<T>(&body, &Plan::of::<T>(Descriptor::of::<T>())).expect("decodes");
    assert_eq!((&again, unknown.is_empty()), (value, true));
    to_json(Descriptor::of::<T>(), &body).expect("can be shown")
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Record)]
#[record(crate = "ate_view")]
struct StdTypes {
    bools: (bool, ()),
    unsigned: (u8, u16, u32, u64, u128, usize),
    signed: (i8, i16, i32, i64, i128, isize),
    floats: (f32, f64),
    text: (char, String, Box<str>, Cow<'static, str>),
    lists: (Vec<u8>, VecDeque<i8>, LinkedList<u16>, Box<[bool]>),
    sets: (BTreeSet<u8>, HashSet<u8>),
    maps: (BTreeMap<String, u8>, HashMap<u8, String>),
    pair_map: BTreeMap<(u8, u8), Vec<u8>>,
    arrays: ([u16; 3], [[u8; 2]; 2], [String; 0]),
    single: (u8,),
    eight: (u8, u8, u8, u8, u8, u8, u8, u8),
    options: (Option<u8>, Option<Option<u8>>, Option<()>),
    boxed: Box<Option<Box<u8>>>,
    times: (Duration, SystemTime),
    addresses: (IpAddr, IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr),
    marker: PhantomData<Vec<u8>>,
    numbers: (NonZeroU8, NonZeroU64, Wrapping<u32>),
    results: (Result<u8, String>, Result<u8, String>),
    ranges: (std::ops::Range<u8>, std::ops::RangeInclusive<u16>),
    path: PathBuf,
}

#[test]
fn std_types_are_what_they_say() {
    let value = StdTypes {
        bools: (true, ()),
        unsigned: (u8::MAX, u16::MAX, u32::MAX, u64::MAX, u128::MAX, usize::MAX),
        signed: (i8::MIN, i16::MIN, i32::MIN, i64::MIN, i128::MIN, -1),
        floats: (0.1, -1e300),
        text: ('é', "a\"\n".into(), "b".into(), "c".into()),
        lists: (vec![0, 255], [-1].into(), [300].into(), [true].into()),
        sets: ([2, 1].into(), [9].into()),
        maps: ([("k".to_owned(), 1)].into(), [(1, "v".to_owned())].into()),
        pair_map: [((1, 2), vec![3])].into(),
        arrays: ([1, 2, 3], [[1, 2], [3, 4]], []),
        single: (1,),
        eight: (1, 2, 3, 4, 5, 6, 7, 8),
        options: (None, Some(None), Some(())),
        boxed: Box::new(Some(Box::new(1))),
        times: (
            Duration::new(1, 5),
            SystemTime::UNIX_EPOCH + Duration::new(7, 9),
        ),
        addresses: (
            "1.2.3.4".parse().expect("an address"),
            "::1".parse().expect("an address"),
            Ipv4Addr::LOCALHOST,
            Ipv6Addr::UNSPECIFIED,
            "1.2.3.4:80".parse().expect("an address"),
        ),
        marker: PhantomData,
        numbers: (NonZeroU8::MIN, NonZeroU64::MAX, Wrapping(3)),
        results: (Ok(1), Err("no".into())),
        ranges: (1..2, 3..=4),
        path: "a/b".into(),
    };
    assert_eq!(
        round_trip(&value),
        concat!(
            r#"{"bools":[true,null],"#,
            r#""unsigned":[255,65535,4294967295,18446744073709551615,340282366920938463463374607431768211455,18446744073709551615],"#,
            r#""signed":[-128,-32768,-2147483648,-9223372036854775808,-170141183460469231731687303715884105728,-1],"#,
            r#""floats":[0.1,-1e+300],"text":["é","a\"\n","b","c"],"lists":[[0,255],[-1],[300],[true]],"sets":[[1,2],[9]],"#,
            r#""maps":[{"k":1},[[1,"v"]]],"pair_map":[[[1,2],[3]]],"arrays":[[1,2,3],[[1,2],[3,4]],[]],"single":[1],"#,
            r#""eight":[1,2,3,4,5,6,7,8],"options":[null,null,null],"boxed":1,"#,
            r#""times":[{"secs":1,"nanos":5},{"secs_since_epoch":7,"nanos_since_epoch":9}],"#,
            r#""addresses":[{"V4":[1,2,3,4]},{"V6":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1]},[127,0,0,1],[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0],"#,
            r#"{"V4":[[1,2,3,4],80]}],"marker":null,"numbers":[1,18446744073709551615,3],"#,
            r#""results":[{"Ok":1},{"Err":"no"}],"ranges":[{"start":1,"end":2},{"start":3,"end":4}],"path":"a/b"}"#
        )
    );
    let descriptor = Descriptor::of::<StdTypes>();
    assert_eq!(
        Descriptor::from_bytes(descriptor.as_bytes()).as_ref(),
        Ok(&**descriptor)
    );
}

#[test]
fn heaps_and_shared_values_describe_themselves() {
    #[derive(Serialize, Deserialize, Record)]
    #[record(crate = "ate_view")]
    struct Heap {
        heap: BinaryHeap<u8>,
    }
    encode(&Heap {
        heap: [3, 1, 2].into(),
    })
    .expect("encodes");
    assert_eq!(
        Descriptor::of::<Heap>().to_string(),
        "record heap (version 1, fields)\n  heap: Set<u8>"
    );
    // Without serde's feature `rc` these cannot be stored; types that store them by other means can name them.
    assert_eq!(<Arc<str>>::shape(&mut Types::default()), Type::String);
    assert_eq!(
        <std::rc::Rc<Option<u8>>>::shape(&mut Types::default()),
        <Option<u8>>::shape(&mut Types::default())
    );
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Record)]
#[record(name = "account", crate = "ate_view")]
#[serde(rename_all = "camelCase", default)]
struct Account {
    e_mail: String,
    #[record(was = "status", default = State::Frozen { by: "law".into() })]
    state: State,
    #[serde(rename = "Balance", alias = "amount")]
    balance: i64,
    #[serde(skip)]
    cached: Option<String>,
    #[record(opaque = "hex-1")]
    #[serde(with = "hex")]
    code: Vec<u8>,
    r#type: Wrapper<Wrapper<u8>>,
    tree: Option<Box<Tree>>,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            e_mail: "nobody".into(),
            state: State::Open,
            balance: -1,
            cached: None,
            code: vec![0xab],
            r#type: Wrapper {
                inner: Wrapper { inner: 3 },
            },
            tree: None,
        }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Shape)]
#[shape(crate = "ate_view")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "PascalCase")]
enum State {
    Open,
    HalfOpen(u8, #[serde(skip)] u8),
    #[shape(was = "cold")]
    Frozen {
        by: String,
    },
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Shape)]
#[shape(crate = "ate_view")]
struct Wrapper<T> {
    inner: T,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Shape)]
#[shape(crate = "ate_view")]
struct Tree(Option<Box<Self>>, Unit, Fixed<2>);

#[derive(Debug, PartialEq, Serialize, Deserialize, Shape)]
#[shape(crate = "ate_view")]
struct Unit;

#[derive(Debug, PartialEq, Serialize, Deserialize, Shape)]
#[shape(crate = "ate_view", opaque = "fixed-1")]
struct Fixed<const N: usize>(u8);

/// Functions for `serde(with)`.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(
            &bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>(),
        )
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digit =
            |at: usize| u8::from_str_radix(&text[at..at + 2], 16).map_err(serde::de::Error::custom);
        (0..text.len() / 2).map(|index| digit(2 * index)).collect()
    }
}

fn account() -> Account {
    Account {
        e_mail: "anna@example.org".into(),
        state: State::HalfOpen(1, 0),
        balance: 12,
        cached: None,
        code: vec![1, 0xff],
        r#type: Wrapper {
            inner: Wrapper { inner: 7 },
        },
        tree: Some(Box::new(Tree(
            Some(Box::new(Tree(None, Unit, Fixed(1)))),
            Unit,
            Fixed(2),
        ))),
    }
}

#[test]
fn names_and_attributes_are_stored() {
    assert_eq!(
        Descriptor::of::<Account>().to_string(),
        "record account (version 1, fields)\n  eMail: String, default\n  state: State, was status, default\n  \
         Balance: i64, was amount, default\n  code: opaque hex-1, default\n  type: Wrapper, default\n  tree: Option<Tree>, default\n\
         enum State\n  OPEN\n  HALF_OPEN(u8)\n  FROZEN, was cold\n    By: String\n\
         struct Wrapper\n  inner: Wrapper\nstruct Tree(Option<Tree>, Unit, opaque fixed-1)\nstruct Wrapper\n  inner: u8\nstruct Unit"
    );
    assert_eq!(
        round_trip(&account()),
        concat!(
            r#"{"eMail":"anna@example.org","state":{"HALF_OPEN":1},"Balance":12,"#,
            r#""code":{"opaque":"hex-1","hex":"0430316666"},"type":{"inner":{"inner":7}},"#,
            r#""tree":{"opaque":"fixed-1","hex":"0101000102"}}"#
        )
    );
}

#[test]
fn defaults_come_from_where_they_are_declared() {
    #[derive(Serialize, Deserialize, Record)]
    #[record(name = "account", crate = "ate_view")]
    struct Empty {}

    let plan = Plan::of::<Account>(Descriptor::of::<Empty>());
    let (value, unknown) =
        decode::<Account>(&encode(&Empty {}).expect("encodes"), &plan).expect("all have defaults");
    assert_eq!(
        value,
        Account {
            state: State::Frozen { by: "law".into() },
            ..Account::default()
        }
    );
    assert!(unknown.is_empty());
}

#[test]
fn default_names_are_snake_case() {
    #[derive(Serialize, Deserialize, Record)]
    #[record(crate = "ate_view")]
    struct HTTPLogEntry2 {}

    assert_eq!(
        (HTTPLogEntry2::NAME, HTTPLogEntry2::CODEC),
        ("http_log_entry2", Codec::Fields)
    );
}

#[test]
fn other_kinds_of_records() {
    #[derive(Debug, PartialEq, Serialize, Deserialize, Record)]
    #[record(crate = "ate_view")]
    struct Marker;

    #[derive(Debug, PartialEq, Serialize, Deserialize, Record)]
    #[record(crate = "ate_view")]
    struct Point(f64, f64);

    #[derive(Debug, PartialEq, Serialize, Deserialize, Record)]
    #[record(crate = "ate_view")]
    enum Event {
        Started { at: u64 },
        Stopped,
    }

    assert_eq!(round_trip(&Marker), r#"{"value":{}}"#);
    assert_eq!(round_trip(&Point(1.0, -0.5)), r#"{"value":[1.0,-0.5]}"#);
    assert_eq!(
        round_trip(&Event::Started { at: 3 }),
        r#"{"value":{"Started":{"at":3}}}"#
    );
    assert_eq!(round_trip(&Event::Stopped), r#"{"value":"Stopped"}"#);
    assert_eq!(
        Descriptor::of::<Point>().to_string(),
        "record point (version 1, fields)\n  value: Point\nstruct Point(f64, f64)"
    );
}

#[test]
fn records_stand_inside_records() {
    #[derive(Debug, PartialEq, Serialize, Deserialize, Record)]
    #[record(crate = "ate_view")]
    struct Outer {
        inner: Vec<Account>,
    }
    let mut value = Outer {
        inner: vec![account(), account()],
    };
    value.inner[0].tree = None;
    let body = encode(&value).expect("encodes");
    let (again, _) =
        decode::<Outer>(&body, &Plan::of::<Outer>(Descriptor::of::<Outer>())).expect("decodes");
    assert_eq!(again, value);
}

/// These bytes are in chains: they may never change.
#[test]
fn bytes_are_frozen() {
    #[derive(Debug, PartialEq, Serialize, Deserialize, Record)]
    #[record(name = "task", crate = "ate_view")]
    struct Task {
        title: String,
        #[record(was = "mins", default = 5)]
        minutes: u16,
        state: State,
        next: Option<Box<Next>>,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize, Shape)]
    #[shape(crate = "ate_view")]
    enum State {
        Open,
        Closed(i32),
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize, Shape)]
    #[shape(crate = "ate_view")]
    struct Next {
        after: Vec<Self>,
    }
    let descriptor = Descriptor::of::<Task>();
    assert_eq!(
        descriptor.as_bytes(),
        b"\x01\x00\x01\x04task\x04\
          \x05title\x00\x00\x0f\
          \x07minutes\x01\x04mins\x01\x03\
          \x05state\x00\x00\x17\x00\
          \x04next\x00\x00\x11\x17\x01\
          \x02\
          \x05State\x02\x02\x04Open\x00\x00\x06Closed\x00\x01\x01\x09\
          \x04Next\x00\x01\x05after\x00\x00\x12\x17\x01"
    );
    assert_eq!(
        descriptor.id().to_string(),
        "a436a6eb5380325d5c95de1cdc68e7d54b713631136958679e0a9fd62d29faba"
    );
    let task = Task {
        title: "a".repeat(130),
        minutes: 300,
        state: State::Closed(-1),
        next: Some(Box::new(Next {
            after: vec![Next { after: vec![] }],
        })),
    };
    let mut expected = vec![0x84, 0x01, 0x82, 0x01];
    expected.extend([b'a'; 130]);
    expected.extend([2, 0xac, 2, 2, 1, 1, 3, 1, 1, 0]);
    assert_eq!(encode(&task).expect("encodes"), expected);
}
