//! `Shape` of the types of std, as serde and postcard write them.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::{
    NonZeroI8, NonZeroI16, NonZeroI32, NonZeroI64, NonZeroI128, NonZeroIsize, NonZeroU8,
    NonZeroU16, NonZeroU32, NonZeroU64, NonZeroU128, NonZeroUsize, Wrapping,
};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, SystemTime};

use super::{Shape, Types};
use crate::schema::types::{Definition, Field, Payload, Type, Variant};

macro_rules! leaves {
    ($($variant:ident: $($ty:ty),+;)+) => {$($(
        impl Shape for $ty {
            fn shape(_: &mut Types) -> Type {
                Type::$variant
            }
        }
    )+)+};
}

leaves! {
    Unit: ();
    Bool: bool;
    U8: u8, NonZeroU8;
    U16: u16, NonZeroU16;
    U32: u32, NonZeroU32;
    U64: u64, usize, NonZeroU64, NonZeroUsize;
    U128: u128, NonZeroU128;
    I8: i8, NonZeroI8;
    I16: i16, NonZeroI16;
    I32: i32, NonZeroI32;
    I64: i64, isize, NonZeroI64, NonZeroIsize;
    I128: i128, NonZeroI128;
    F32: f32;
    F64: f64;
    Char: char;
    String: str, String, Path, PathBuf;
}

impl<T: ?Sized + 'static> Shape for PhantomData<T> {
    fn shape(_: &mut Types) -> Type {
        Type::Unit
    }
}

// Serde writes these as what they hold.
macro_rules! transparent {
    ($($ty:ident),+) => {$(
        impl<T: Shape + ?Sized> Shape for $ty<T> {
            fn shape(types: &mut Types) -> Type {
                T::shape(types)
            }
        }
    )+};
}

transparent!(Box, Rc, Arc, RefCell, Mutex, RwLock);

impl<T: Shape> Shape for Cell<T> {
    fn shape(types: &mut Types) -> Type {
        T::shape(types)
    }
}

impl<T: Shape> Shape for Wrapping<T> {
    fn shape(types: &mut Types) -> Type {
        T::shape(types)
    }
}

impl<T: Shape> Shape for Reverse<T> {
    fn shape(types: &mut Types) -> Type {
        T::shape(types)
    }
}

impl<T: Shape + ToOwned + ?Sized> Shape for Cow<'static, T> {
    fn shape(types: &mut Types) -> Type {
        T::shape(types)
    }
}

impl<T: Shape> Shape for Option<T> {
    fn shape(types: &mut Types) -> Type {
        Type::Option(Box::new(T::shape(types)))
    }
}

macro_rules! lists {
    ($($ty:ty),+) => {$(
        impl<T: Shape> Shape for $ty {
            fn shape(types: &mut Types) -> Type {
                Type::List(Box::new(T::shape(types)))
            }
        }
    )+};
}

lists!([T], Vec<T>, VecDeque<T>, LinkedList<T>);

impl<T: Shape> Shape for BTreeSet<T> {
    fn shape(types: &mut Types) -> Type {
        Type::Set(Box::new(T::shape(types)))
    }
}

impl<T: Shape, S: 'static> Shape for HashSet<T, S> {
    fn shape(types: &mut Types) -> Type {
        Type::Set(Box::new(T::shape(types)))
    }
}

// A heap keeps repeated elements but no order of its own: reading one back may shuffle the bytes, as with a set.
impl<T: Shape> Shape for BinaryHeap<T> {
    fn shape(types: &mut Types) -> Type {
        Type::Set(Box::new(T::shape(types)))
    }
}

impl<K: Shape, V: Shape> Shape for BTreeMap<K, V> {
    fn shape(types: &mut Types) -> Type {
        Type::Map(Box::new((K::shape(types), V::shape(types))))
    }
}

impl<K: Shape, V: Shape, S: 'static> Shape for HashMap<K, V, S> {
    fn shape(types: &mut Types) -> Type {
        Type::Map(Box::new((K::shape(types), V::shape(types))))
    }
}

impl<T: Shape, const N: usize> Shape for [T; N] {
    fn shape(types: &mut Types) -> Type {
        Type::Array(N as u64, Box::new(T::shape(types)))
    }
}

macro_rules! tuples {
    ($(($($name:ident),+))+) => {$(
        impl<$($name: Shape),+> Shape for ($($name,)+) {
            fn shape(types: &mut Types) -> Type {
                Type::Tuple(vec![$($name::shape(types)),+])
            }
        }
    )+};
}

tuples! {
    (A)
    (A, B)
    (A, B, C)
    (A, B, C, D)
    (A, B, C, D, E)
    (A, B, C, D, E, F)
    (A, B, C, D, E, F, G)
    (A, B, C, D, E, F, G, H)
}

impl<T: Shape, E: Shape> Shape for Result<T, E> {
    fn shape(types: &mut Types) -> Type {
        types.named::<Self>(|types| {
            Definition::of_variants(
                "Result",
                vec![
                    Variant::of("Ok", &[], Payload::Tuple(vec![T::shape(types)])),
                    Variant::of("Err", &[], Payload::Tuple(vec![E::shape(types)])),
                ],
            )
        })
    }
}

impl Shape for Duration {
    fn shape(types: &mut Types) -> Type {
        types.named::<Self>(|types| pair::<u64, u32>("Duration", ["secs", "nanos"], types))
    }
}

impl Shape for SystemTime {
    fn shape(types: &mut Types) -> Type {
        types.named::<Self>(|types| {
            pair::<u64, u32>(
                "SystemTime",
                ["secs_since_epoch", "nanos_since_epoch"],
                types,
            )
        })
    }
}

impl<T: Shape> Shape for Range<T> {
    fn shape(types: &mut Types) -> Type {
        types.named::<Self>(|types| pair::<T, T>("Range", ["start", "end"], types))
    }
}

impl<T: Shape> Shape for RangeInclusive<T> {
    fn shape(types: &mut Types) -> Type {
        types.named::<Self>(|types| pair::<T, T>("RangeInclusive", ["start", "end"], types))
    }
}

/// A struct that serde writes with two named fields.
fn pair<A: Shape, B: Shape>(name: &str, fields: [&str; 2], types: &mut Types) -> Definition {
    Definition::of_fields(
        name,
        vec![
            Field::of::<A>(types, fields[0]),
            Field::of::<B>(types, fields[1]),
        ],
    )
}

impl Shape for Ipv4Addr {
    fn shape(types: &mut Types) -> Type {
        <[u8; 4]>::shape(types)
    }
}

impl Shape for Ipv6Addr {
    fn shape(types: &mut Types) -> Type {
        <[u8; 16]>::shape(types)
    }
}

impl Shape for SocketAddrV4 {
    fn shape(types: &mut Types) -> Type {
        <(Ipv4Addr, u16)>::shape(types)
    }
}

impl Shape for SocketAddrV6 {
    fn shape(types: &mut Types) -> Type {
        <(Ipv6Addr, u16)>::shape(types)
    }
}

impl Shape for IpAddr {
    fn shape(types: &mut Types) -> Type {
        types.named::<Self>(|types| versions::<Ipv4Addr, Ipv6Addr>("IpAddr", types))
    }
}

impl Shape for SocketAddr {
    fn shape(types: &mut Types) -> Type {
        types.named::<Self>(|types| versions::<SocketAddrV4, SocketAddrV6>("SocketAddr", types))
    }
}

fn versions<V4: Shape, V6: Shape>(name: &str, types: &mut Types) -> Definition {
    Definition::of_variants(
        name,
        vec![
            Variant::of("V4", &[], Payload::Tuple(vec![V4::shape(types)])),
            Variant::of("V6", &[], Payload::Tuple(vec![V6::shape(types)])),
        ],
    )
}
