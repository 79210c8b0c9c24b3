//! Random types, values and bytes: nothing panics, nothing grows without bound, what is equal stays equal.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::descriptor::Descriptor;
use super::plan::{Plan, PlanKind};
use super::transcode::{TRANSCODED_BYTES_MAX, frames, transcode};
use super::types::{Codec, Definition, Field, Payload, Type, Variant};
use super::walk::{Input, Walker, put_varint, unzigzag, zigzag};
use super::{DescriptorError, to_json};

/// Definitions that random types may mention: a struct, a tuple struct, an enum, and one that contains itself.
const DEFINITIONS: u32 = 4;

fn leaf() -> impl Strategy<Value = Type> {
    prop_oneof![
        Just(Type::Unit),
        Just(Type::Bool),
        Just(Type::U8),
        Just(Type::U16),
        Just(Type::U32),
        Just(Type::U64),
        Just(Type::U128),
        Just(Type::I8),
        Just(Type::I16),
        Just(Type::I32),
        Just(Type::I64),
        Just(Type::I128),
        Just(Type::F32),
        Just(Type::F64),
        Just(Type::Char),
        Just(Type::String),
        Just(Type::Json),
    ]
}

fn ty(named: bool) -> impl Strategy<Value = Type> {
    let leaf = if named {
        prop_oneof![4 => leaf(), 1 => (0..DEFINITIONS).prop_map(Type::Named)].boxed()
    } else {
        leaf().boxed()
    };
    leaf.prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|ty| Type::Option(ty.into())),
            inner.clone().prop_map(|ty| Type::List(ty.into())),
            inner.clone().prop_map(|ty| Type::Set(ty.into())),
            (inner.clone(), inner.clone()).prop_map(|pair| Type::Map(pair.into())),
            (0..4u64, inner.clone()).prop_map(|(count, ty)| Type::Array(count, ty.into())),
            vec(inner, 1..4).prop_map(Type::Tuple),
        ]
    })
}

fn fields(named: bool, count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Field>> {
    vec((ty(named), any::<bool>()), count).prop_map(|types| {
        let field = |(index, (ty, has_default))| Field {
            name: format!("f{index}").into(),
            was: vec![format!("was{index}").into()],
            ty,
            has_default,
            default: None,
        };
        types.into_iter().enumerate().map(field).collect()
    })
}

/// A descriptor in canonical order: what is not mentioned is left out by renumbering.
fn descriptor() -> impl Strategy<Value = Descriptor> {
    let definitions = (
        fields(false, 0..4),
        vec(ty(false), 0..3),
        vec(ty(false), 1..3),
        fields(false, 1..3),
        ty(false),
    )
        .prop_map(
            |(of_struct, of_tuple, of_variant, of_struct_variant, inner)| {
                vec![
                    Definition::of_fields("S", of_struct),
                    Definition::of_tuple("T", of_tuple),
                    Definition::of_variants(
                        "E",
                        vec![
                            Variant::of("A", &[], Payload::Unit),
                            Variant::of("B", &["old"], Payload::Tuple(of_variant)),
                            Variant::of("C", &[], Payload::Struct(of_struct_variant)),
                        ],
                    ),
                    // Its index is fixed up with the others.
                    Definition::of_tuple("R", vec![inner, Type::Option(Type::Named(3).into())]),
                ]
            },
        );
    (fields(true, 0..6), definitions)
        .prop_map(|(fields, definitions)| canonical(fields, &definitions))
}

/// Numbers the definitions by first mention.
fn canonical(mut fields: Vec<Field>, definitions: &[Definition]) -> Descriptor {
    let mut order: Vec<u32> = Vec::new();
    let mut renumber = |ty: &mut Type| walk_named(ty, &mut |index| renumbered(index, &mut order));
    fields.iter_mut().for_each(|field| renumber(&mut field.ty));
    let mut out = Vec::new();
    while let Some(index) = order.get(out.len()).copied() {
        let mut definition = definitions[index as usize].clone();
        let mut renumber =
            |ty: &mut Type| walk_named(ty, &mut |index| renumbered(index, &mut order));
        match &mut definition.kind {
            super::DefinitionKind::Struct(fields) => {
                fields.iter_mut().for_each(|field| renumber(&mut field.ty))
            }
            super::DefinitionKind::Tuple(types) => types.iter_mut().for_each(&mut renumber),
            // The variants hold no definitions.
            super::DefinitionKind::Enum(_) => {}
        }
        out.push(definition);
    }
    Descriptor::new("random", 1, Codec::Fields, fields, out)
}

fn renumbered(index: &mut u32, order: &mut Vec<u32>) {
    let at = order
        .iter()
        .position(|known| known == index)
        .unwrap_or_else(|| {
            order.push(*index);
            order.len() - 1
        });
    *index = at as u32;
}

fn walk_named(ty: &mut Type, visit: &mut dyn FnMut(&mut u32)) {
    match ty {
        Type::Named(index) => visit(index),
        Type::Option(inner) | Type::List(inner) | Type::Set(inner) | Type::Array(_, inner) => {
            walk_named(inner, visit)
        }
        Type::Map(pair) => {
            walk_named(&mut pair.0, visit);
            walk_named(&mut pair.1, visit);
        }
        Type::Tuple(types) => types.iter_mut().for_each(|ty| walk_named(ty, visit)),
        _ => {}
    }
}

/// Takes decisions from random bytes, zero when they run out: so values end.
struct Entropy<'a>(&'a [u8]);

impl Entropy<'_> {
    fn next(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    fn wide(&mut self, bits: u32) -> u128 {
        let bytes = (0..bits / 8).fold(0, |value, _| value << 8 | u128::from(self.next()));
        // Small values are the common ones, and the long encodings need to come up too.
        bytes >> (u32::from(self.next()) % bits)
    }
}

/// Writes a random value of the type, as postcard would.
fn put_value(ty: &Type, definitions: &[Definition], entropy: &mut Entropy<'_>, out: &mut Vec<u8>) {
    match ty {
        Type::Unit => {}
        Type::Bool => out.push(entropy.next() & 1),
        Type::U8 | Type::I8 => out.push(entropy.next()),
        Type::U16 | Type::I16 => put_varint(out, entropy.wide(16)),
        Type::U32 | Type::I32 => put_varint(out, entropy.wide(32)),
        Type::U64 | Type::I64 => put_varint(out, entropy.wide(64)),
        Type::U128 | Type::I128 => put_varint(out, entropy.wide(128)),
        Type::F32 => (0..4).for_each(|_| out.push(entropy.next())),
        Type::F64 => (0..8).for_each(|_| out.push(entropy.next())),
        Type::Char => put_text(
            out,
            ["a", "é", "\u{10ffff}", "\0"][usize::from(entropy.next() % 4)],
        ),
        Type::String => put_text(
            out,
            ["", "text", "\"\\\u{1}", "schön"][usize::from(entropy.next() % 4)],
        ),
        Type::Json => put_text(
            out,
            ["null", "{\"a\":[1.50]}", " -1e5 "][usize::from(entropy.next() % 3)],
        ),
        Type::Option(inner) => {
            let is_some = entropy.next() & 1;
            out.push(is_some);
            (0..is_some).for_each(|_| put_value(inner, definitions, entropy, out));
        }
        Type::List(inner) | Type::Set(inner) => {
            let count = entropy.next() % 4;
            out.push(count);
            (0..count).for_each(|_| put_value(inner, definitions, entropy, out));
        }
        Type::Map(pair) => {
            let count = entropy.next() % 4;
            out.push(count);
            for _ in 0..count {
                put_value(&pair.0, definitions, entropy, out);
                put_value(&pair.1, definitions, entropy, out);
            }
        }
        Type::Array(count, inner) => {
            (0..*count).for_each(|_| put_value(inner, definitions, entropy, out))
        }
        Type::Tuple(types) => types
            .iter()
            .for_each(|ty| put_value(ty, definitions, entropy, out)),
        Type::Named(index) => match &definitions[*index as usize].kind {
            super::DefinitionKind::Struct(fields) => fields
                .iter()
                .for_each(|field| put_value(&field.ty, definitions, entropy, out)),
            super::DefinitionKind::Tuple(types) => types
                .iter()
                .for_each(|ty| put_value(ty, definitions, entropy, out)),
            super::DefinitionKind::Enum(variants) => {
                let index = entropy.next() % variants.len() as u8;
                out.push(index);
                match &variants[usize::from(index)].payload {
                    Payload::Unit => {}
                    Payload::Tuple(types) => types
                        .iter()
                        .for_each(|ty| put_value(ty, definitions, entropy, out)),
                    Payload::Struct(fields) => fields
                        .iter()
                        .for_each(|field| put_value(&field.ty, definitions, entropy, out)),
                }
            }
        },
        Type::Opaque(_) => unreachable!("not generated"),
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u128);
    out.extend_from_slice(text.as_bytes());
}

fn put_body(descriptor: &Descriptor, entropy: &[u8]) -> Vec<u8> {
    let mut entropy = Entropy(entropy);
    let mut body = Vec::new();
    for field in descriptor.fields() {
        let mut value = Vec::new();
        put_value(&field.ty, &descriptor.definitions, &mut entropy, &mut value);
        put_varint(&mut body, value.len() as u128);
        body.extend(value);
    }
    body
}

/// The same descriptor with fields and variants reversed and every type widened as far as the rules allow, and a default for
/// everything: a reader's descriptor that must be able to read all bodies.
fn evolved(stored: &Descriptor) -> Descriptor {
    let mut fields = stored.fields.clone();
    let mut definitions = stored.definitions.clone();
    for definition in &mut definitions {
        match &mut definition.kind {
            super::DefinitionKind::Struct(fields) => evolve_fields(fields),
            super::DefinitionKind::Tuple(types) => types.iter_mut().for_each(widen),
            super::DefinitionKind::Enum(variants) => {
                variants.reverse();
                variants.insert(1, Variant::of("New", &[], Payload::Tuple(vec![Type::U8])));
                for variant in variants {
                    match &mut variant.payload {
                        Payload::Unit => {}
                        Payload::Tuple(types) => types.iter_mut().for_each(widen),
                        Payload::Struct(fields) => evolve_fields(fields),
                    }
                }
            }
        }
    }
    evolve_fields(&mut fields);
    canonical(fields, &definitions)
}

fn evolve_fields(fields: &mut Vec<Field>) {
    fields.reverse();
    fields.iter_mut().for_each(|field| widen(&mut field.ty));
    fields.push(Field {
        name: "new".into(),
        was: Vec::new(),
        ty: Type::String,
        has_default: true,
        default: Some(|| Some(b"\x03abc".to_vec())),
    });
}

fn widen(ty: &mut Type) {
    *ty = match ty {
        Type::U8 => Type::I16,
        Type::U16 => Type::U128,
        Type::U32 => Type::I64,
        Type::I8 => Type::I32,
        Type::I64 => Type::I128,
        Type::F32 => Type::F64,
        Type::Char => Type::Option(Type::Char.into()),
        Type::Option(inner) | Type::List(inner) | Type::Set(inner) | Type::Array(_, inner) => {
            widen(inner);
            return;
        }
        Type::Map(pair) => {
            widen(&mut pair.0);
            widen(&mut pair.1);
            return;
        }
        Type::Tuple(types) => return types.iter_mut().for_each(widen),
        _ => return,
    };
}

/// Brings a body into the known form, by the plan.
fn transcoded(stored: &Arc<Descriptor>, known: &Arc<Descriptor>, body: &[u8]) -> Option<Vec<u8>> {
    let plan = Plan::new(stored, known);
    match &plan.kind {
        PlanKind::Same => Some(body.to_vec()),
        PlanKind::Broken(_) => None,
        PlanKind::ByName(by_name) => {
            let transcoded = transcode(&plan, by_name, body).ok()?;
            assert!(transcoded.scratch.len() <= TRANSCODED_BYTES_MAX + (1 << 20));
            let mut out = Vec::new();
            for slot in &transcoded.slots {
                let bytes = slot.bytes(&transcoded.scratch);
                put_varint(&mut out, bytes.len() as u128);
                out.extend_from_slice(bytes);
            }
            Some(out)
        }
    }
}

fn is_valid(descriptor: &Descriptor, body: &[u8]) -> bool {
    let mut walker = Walker::new(&descriptor.definitions, body.len());
    frames("random", descriptor.fields.len(), body).is_ok_and(|frames| {
        descriptor
            .fields
            .iter()
            .zip(frames)
            .all(|(field, frame)| walker.check(&field.ty, frame).is_ok())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn descriptors_survive_their_encoding(descriptor in descriptor()) {
        let again = Descriptor::from_bytes(descriptor.as_bytes()).expect("what is made here is canonical");
        prop_assert_eq!(again.id(), descriptor.id());
        prop_assert_eq!(again.to_string(), descriptor.to_string());
        prop_assert_eq!(&again.fields, &descriptor.fields);
        prop_assert_eq!(&again.definitions, &descriptor.definitions);
        prop_assert_eq!(again, descriptor);
    }

    /// There is one encoding: whatever else is accepted encodes to itself.
    #[test]
    fn damaged_descriptors_are_refused_or_canonical(
        descriptor in descriptor(),
        at in any::<prop::sample::Index>(),
        bit in 0..8u8,
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = descriptor.as_bytes().to_vec();
        prop_assert!(Descriptor::from_bytes(&bytes[..cut.index(bytes.len())]).is_err());
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(other) = Descriptor::from_bytes(&bytes) {
            let again = Descriptor::new(&other.name, other.version, other.codec, other.fields.clone(), other.definitions.clone());
            prop_assert_eq!(again.as_bytes(), &bytes);
            prop_assert_ne!(again.id(), descriptor.id());
        }
        bytes = descriptor.as_bytes().to_vec();
        bytes.push(0);
        prop_assert!(Descriptor::from_bytes(&bytes).is_err());
    }

    #[test]
    fn random_bytes_are_no_descriptor_but_no_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = Descriptor::from_bytes(&bytes).is_ok();
        let mut bytes = bytes;
        bytes.splice(0..0, [1, 0, 1, 1, b'r']);
        let _ = Descriptor::from_bytes(&bytes).is_ok();
    }

    #[test]
    fn values_are_walked_to_their_end(descriptor in descriptor(), entropy in vec(any::<u8>(), 0..200)) {
        let body = put_body(&descriptor, &entropy);
        prop_assert!(is_valid(&descriptor, &body));
        let shown = to_json(&descriptor, &body).expect("valid bodies can be shown");
        crate::Json::new(shown).expect("what is shown is JSON");
    }

    #[test]
    fn random_bodies_never_panic(
        stored in descriptor(),
        other in descriptor(),
        entropy in vec(any::<u8>(), 0..200),
        noise in vec(any::<u8>(), 0..100),
        at in any::<prop::sample::Index>(),
        bit in 0..8u8,
    ) {
        let (known, other, stored) = (Arc::new(evolved(&stored)), Arc::new(other), Arc::new(stored));
        let mut body = put_body(&stored, &entropy);
        if !body.is_empty() {
            let at = at.index(body.len());
            body[at] ^= 1 << bit;
        }
        for body in [&body, &noise] {
            let is_valid_now = is_valid(&stored, body);
            let shown = to_json(&stored, body);
            prop_assert_eq!(shown.is_ok(), is_valid_now);
            // Whatever comes out of a transcoding is a value of the known type.
            for known in [&known, &other] {
                if let Some(out) = transcoded(&stored, known, body) {
                    prop_assert!(!is_valid_now || is_valid(known, &out));
                }
            }
        }
    }

    #[test]
    fn evolved_types_read_everything(stored in descriptor(), entropy in vec(any::<u8>(), 0..200)) {
        let known = evolved(&stored);
        prop_assert!(Descriptor::from_bytes(known.as_bytes()).is_ok());
        let (stored, known) = (Arc::new(stored), Arc::new(known));
        let plan = Plan::new(&stored, &known);
        prop_assert_eq!(plan.check(), Ok(()));
        prop_assert_eq!(plan.check_rewrite(), Ok(()));
        let body = put_body(&stored, &entropy);
        let out = transcoded(&stored, &known, &body).expect("transcodes");
        prop_assert!(is_valid(&known, &out));
        // What is shown is the same, apart from order, additions and the digits of f32.
        let (before, after) = (to_json(&stored, &body).expect("shown"), to_json(&known, &out).expect("shown"));
        prop_assert!(!before.contains("true") || after.contains("true"));
        prop_assert!(after.contains("\"new\":\"abc\""));
    }

    #[test]
    fn zigzag_is_reversible(value in any::<i128>(), bits in prop::sample::select(std::vec![16u32, 32, 64, 128])) {
        let value = value >> (128 - bits);
        prop_assert_eq!(unzigzag(zigzag(value)), value);
        let mut out = Vec::new();
        put_varint(&mut out, zigzag(value));
        prop_assert_eq!(Input::new(&out).varint(bits), Ok(zigzag(value)));
    }

    #[test]
    fn walked_numbers_are_postcards(value in any::<(u16, u32, u64, u128, i16, i32, i64, i128)>(), noise in vec(any::<u8>(), 0..24)) {
        let types = [Type::U16, Type::U32, Type::U64, Type::U128, Type::I16, Type::I32, Type::I64, Type::I128];
        let bytes = postcard::to_stdvec(&value).expect("numbers encode");
        prop_assert_eq!(Walker::new(&[], bytes.len()).check(&Type::Tuple(types.to_vec()), &bytes), Ok(()));
        macro_rules! same {
            ($($index:literal $ty:ty),+) => {$(
                prop_assert_eq!(
                    Walker::new(&[], noise.len()).check(&types[$index], &noise).is_ok(),
                    postcard::take_from_bytes::<$ty>(&noise).is_ok_and(|(_, rest)| rest.is_empty())
                );
            )+};
        }
        same!(0 u16, 1 u32, 2 u64, 3 u128, 4 i16, 5 i32, 6 i64, 7 i128);
    }
}

fn one_field(ty: Type, definitions: Vec<Definition>) -> Descriptor {
    Descriptor::new(
        "r",
        1,
        Codec::Fields,
        vec![Field {
            name: "f".into(),
            was: Vec::new(),
            ty,
            has_default: false,
            default: None,
        }],
        definitions,
    )
}

#[test]
fn lengths_are_not_trusted() {
    // A list of 2^60 elements in ten bytes, of elements with and without bytes.
    let mut value = Vec::new();
    put_varint(&mut value, 1 << 60);
    for inner in [
        Type::Unit,
        Type::U8,
        Type::String,
        Type::Array(1 << 60, Type::Unit.into()),
        Type::Tuple(vec![Type::Unit; 3]),
    ] {
        let stored = Arc::new(one_field(Type::List(inner.clone().into()), Vec::new()));
        let known = Arc::new(one_field(
            Type::Option(Type::List(inner.into()).into()),
            Vec::new(),
        ));
        let mut body = vec![value.len() as u8];
        body.extend(&value);
        assert!(to_json(&stored, &body).is_err());
        assert_eq!(transcoded(&stored, &known, &body), None);
    }
}

#[test]
fn deep_values_are_refused() {
    let definitions = || {
        vec![Definition::of_tuple(
            "Node",
            vec![Type::Option(Type::Named(0).into())],
        )]
    };
    let descriptor = Arc::new(one_field(Type::Named(0), definitions()));
    assert!(Descriptor::from_bytes(descriptor.as_bytes()).is_ok());
    let known = Arc::new(one_field(
        Type::Option(Type::Named(0).into()),
        definitions(),
    ));
    for (levels, expected) in [(100, true), (1_000_000, false)] {
        let mut body = Vec::new();
        put_varint(&mut body, levels as u128 + 1);
        body.extend(vec![1; levels]);
        body.push(0);
        assert_eq!(is_valid(&descriptor, &body), expected);
        assert_eq!(to_json(&descriptor, &body).is_ok(), expected);
        assert_eq!(transcoded(&descriptor, &known, &body).is_some(), expected);
    }
}

#[test]
fn limits_of_descriptors() {
    let check = |descriptor: &Descriptor, expected: Result<(), &str>| {
        let result = Descriptor::from_bytes(descriptor.as_bytes());
        assert_eq!(
            result.as_ref().map(|_| ()).map_err(ToString::to_string),
            expected.map_err(str::to_owned)
        );
    };
    let nested = |levels| (1..levels).fold(Type::U8, |ty, _| Type::Option(ty.into()));
    check(&one_field(nested(32), Vec::new()), Ok(()));
    check(
        &one_field(nested(33), Vec::new()),
        Err("type depth 33 is over the limit of 32"),
    );
    check(
        &one_field(Type::Tuple(vec![Type::U8; 1024]), Vec::new()),
        Ok(()),
    );
    check(
        &one_field(Type::Tuple(vec![Type::U8; 1025]), Vec::new()),
        Err("tuple length 1025 is over the limit of 1024"),
    );
    check(
        &one_field(Type::Opaque("x".repeat(255).into()), Vec::new()),
        Ok(()),
    );
    check(
        &one_field(Type::Opaque("x".repeat(256).into()), Vec::new()),
        Err("name length 256 is over the limit of 255"),
    );
    let chain = |count: u32| {
        let link = |index| {
            Definition::of_tuple(
                "L",
                if index + 1 < count {
                    vec![Type::Named(index + 1)]
                } else {
                    Vec::new()
                },
            )
        };
        one_field(Type::Named(0), (0..count).map(link).collect())
    };
    check(&chain(4096), Ok(()));
    check(
        &chain(4097),
        Err("type count 4097 is over the limit of 4096"),
    );
    let long = |count: usize| {
        one_field(
            Type::Tuple(
                (0..count)
                    .map(|index| Type::Opaque(format!("{index:0>253}").into()))
                    .collect(),
            ),
            Vec::new(),
        )
    };
    check(&long(250), Ok(()));
    check(
        &long(300),
        Err("descriptor length 76814 is over the limit of 65536"),
    );
    let out_of_order = one_field(
        Type::Tuple(vec![Type::Named(1), Type::Named(0)]),
        vec![
            Definition::of_tuple("A", Vec::new()),
            Definition::of_tuple("B", Vec::new()),
        ],
    );
    check(
        &out_of_order,
        Err("bad descriptor at byte 14: definitions are not in the order of their mention"),
    );
    let unmentioned = one_field(Type::U8, vec![Definition::of_tuple("A", Vec::new())]);
    check(
        &unmentioned,
        Err("bad descriptor at byte 12: a definition that nothing mentions"),
    );
    let undefined = one_field(Type::Named(0), Vec::new());
    check(
        &undefined,
        Err("bad descriptor at byte 13: a type without definition"),
    );
    let control = Descriptor::new("a\u{1b}[2J", 1, Codec::Fields, Vec::new(), Vec::new());
    check(
        &control,
        Err("bad descriptor at byte 9: a control character in a name"),
    );
    check(
        &Descriptor::new("", 1, Codec::Fields, Vec::new(), Vec::new()),
        Err("bad descriptor at byte 4: an empty name"),
    );
    check(
        &Descriptor::new("r", 0, Codec::Fields, Vec::new(), Vec::new()),
        Err("bad descriptor at byte 3: version zero"),
    );
    assert_eq!(
        Descriptor::from_bytes(&[2]),
        Err(DescriptorError::UnknownVersion { got: 2 })
    );
}

/// A chain of definitions, each holding the next, meets a type that holds itself: as many pairs as the stranger likes.
#[test]
fn long_chains_of_definitions_need_no_stack() {
    let count = 4096;
    let link = |index: u32| {
        let next = if index + 1 < count { index + 1 } else { 0 };
        Definition::of_tuple("L", vec![Type::Option(Type::Named(next).into())])
    };
    let stored = Arc::new(one_field(Type::Named(0), (0..count).map(link).collect()));
    assert!(Descriptor::from_bytes(stored.as_bytes()).is_ok());
    let same = one_field(
        Type::Named(0),
        vec![Definition::of_tuple(
            "N",
            vec![Type::Option(Type::Named(0).into())],
        )],
    );
    let plan = Plan::new(&stored, &Arc::new(same));
    assert_eq!(plan.check(), Ok(()));
    let other = one_field(
        Type::Option(Type::Named(0).into()),
        vec![Definition::of_tuple(
            "N",
            vec![Type::Option(Type::Named(0).into())],
        )],
    );
    assert_eq!(
        transcoded(&stored, &Arc::new(other), &[3, 1, 1, 0]),
        Some(vec![4, 1, 1, 1, 0])
    );
}
