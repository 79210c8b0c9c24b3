//! Walking over postcard bytes by a described type, without the Rust type.
//!
//! Nothing here trusts a length: work is bounded by a budget that grows with the input, nesting by a fixed depth.

use super::error::Fault;
use super::types::{Definition, DefinitionKind, Field, Payload, Type};
use crate::json;

/// Levels of nesting that a stored value may have; options, sequences and structs each count as one.
pub(crate) const VALUE_DEPTH_MAX: u32 = 256;

/// Bytes not yet read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    pub(crate) rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, Fault> {
        let (first, rest) = self.rest.split_first().ok_or(Fault::End)?;
        self.rest = rest;
        Ok(*first)
    }

    #[inline]
    pub(crate) fn take(&mut self, count: u64) -> Result<&'a [u8], Fault> {
        let count = usize::try_from(count).map_err(|_| Fault::End)?;
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Fault::End)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A postcard varint of at most `bits` bits; longer than needed is accepted up to the type's width, as postcard does.
    pub(crate) fn varint(&mut self, bits: u32) -> Result<u128, Fault> {
        let mut value = 0u128;
        let mut shift = 0;
        loop {
            let byte = self.byte()?;
            let part = u128::from(byte & 0x7f);
            if shift + 7 > bits && part >> (bits - shift) != 0 {
                return Err(Fault::Varint);
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift += 7;
            if shift >= bits {
                return Err(Fault::Varint);
            }
        }
    }

    /// A count or length inside a postcard value.
    pub(crate) fn length(&mut self) -> Result<u64, Fault> {
        match self.rest.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(byte))
            }
            _ => Ok(u64::try_from(self.varint(64)?).expect("a varint of 64 bits fits")),
        }
    }

    /// A varint of the format itself: 64 bits at most and in its shortest form.
    pub(crate) fn canonical(&mut self) -> Result<u64, Fault> {
        let before = self.rest;
        let value = self.length()?;
        let last = before[..before.len() - self.rest.len()].last();
        if value > 0x7f && last == Some(&0) || value <= 0x7f && before.len() - self.rest.len() > 1 {
            return Err(Fault::Varint);
        }
        Ok(value)
    }

    /// `varint length ‖ bytes`, the frame of a field.
    #[inline]
    pub(crate) fn frame(&mut self) -> Result<&'a [u8], Fault> {
        let length = match self.rest.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.rest = rest;
                u64::from(byte)
            }
            _ => self.canonical()?,
        };
        self.take(length)
    }

    pub(crate) const fn end(&self) -> Result<(), Fault> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Fault::Trailing)
        }
    }
}

/// Writes an unsigned LEB128 in its shortest form.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u128) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Steps left before a walk is called off.
#[derive(Debug)]
pub(crate) struct Budget(u64);

impl Budget {
    /// Enough for any honest body of so many bytes: values without bytes (`()`) are the only ones that could use it up.
    pub(crate) const fn for_bytes(count: usize) -> Self {
        Self(65_536 + 64 * count as u64)
    }

    pub(crate) fn step(&mut self) -> Result<(), Fault> {
        self.0 = self.0.checked_sub(1).ok_or(Fault::Complex)?;
        Ok(())
    }
}

/// Reads past values of described types.
#[derive(Debug)]
pub(crate) struct Walker<'d> {
    pub(crate) definitions: &'d [Definition],
    pub(crate) budget: Budget,
}

impl<'d> Walker<'d> {
    pub(crate) const fn new(definitions: &'d [Definition], bytes: usize) -> Self {
        Self {
            definitions,
            budget: Budget::for_bytes(bytes),
        }
    }

    /// The definition of that index.
    pub(crate) fn definition(&self, index: u32) -> Result<&'d Definition, Fault> {
        self.definitions
            .get(index as usize)
            .ok_or(Fault::Definition)
    }

    /// Counts one step and one level.
    pub(crate) fn enter(&mut self, depth: u32) -> Result<u32, Fault> {
        self.budget.step()?;
        if depth >= VALUE_DEPTH_MAX {
            Err(Fault::Deep)
        } else {
            Ok(depth + 1)
        }
    }

    /// Moves `input` behind one value of type `ty` and checks it on the way.
    pub(crate) fn skip(
        &mut self,
        ty: &Type,
        input: &mut Input<'_>,
        depth: u32,
    ) -> Result<(), Fault> {
        let depth = self.enter(depth)?;
        match ty {
            Type::Unit => {}
            Type::Bool => {
                if input.byte()? > 1 {
                    return Err(Fault::Bool);
                }
            }
            Type::U8 | Type::I8 => drop(input.byte()?),
            Type::U16 | Type::I16 => drop(input.varint(16)?),
            Type::U32 | Type::I32 => drop(input.varint(32)?),
            Type::U64 | Type::I64 => drop(input.varint(64)?),
            Type::U128 | Type::I128 => drop(input.varint(128)?),
            Type::F32 => drop(input.take(4)?),
            Type::F64 => drop(input.take(8)?),
            Type::Char => drop(character(input)?),
            Type::String => drop(text(input)?),
            Type::Json => drop(document(input)?),
            Type::Option(inner) => {
                if option(input)? {
                    self.skip(inner, input, depth)?;
                }
            }
            Type::List(inner) | Type::Set(inner) => {
                let count = input.length()?;
                self.skip_many(inner, count, input, depth)?;
            }
            Type::Array(count, inner) => self.skip_many(inner, *count, input, depth)?,
            Type::Map(pair) => {
                for _ in 0..input.length()? {
                    self.skip(&pair.0, input, depth)?;
                    self.skip(&pair.1, input, depth)?;
                }
            }
            Type::Tuple(types) => self.skip_each(types, input, depth)?,
            Type::Named(index) => self.skip_definition(self.definition(*index)?, input, depth)?,
            Type::Opaque(_) => return Err(Fault::Opaque),
        }
        Ok(())
    }

    fn skip_many(
        &mut self,
        inner: &Type,
        count: u64,
        input: &mut Input<'_>,
        depth: u32,
    ) -> Result<(), Fault> {
        if matches!(inner, Type::U8 | Type::I8) {
            input.take(count)?;
            return Ok(());
        }
        (0..count).try_for_each(|_| self.skip(inner, input, depth))
    }

    pub(crate) fn skip_each(
        &mut self,
        types: &[Type],
        input: &mut Input<'_>,
        depth: u32,
    ) -> Result<(), Fault> {
        types.iter().try_for_each(|ty| self.skip(ty, input, depth))
    }

    fn skip_fields(
        &mut self,
        fields: &[Field],
        input: &mut Input<'_>,
        depth: u32,
    ) -> Result<(), Fault> {
        fields
            .iter()
            .try_for_each(|field| self.skip(&field.ty, input, depth))
    }

    fn skip_definition(
        &mut self,
        definition: &Definition,
        input: &mut Input<'_>,
        depth: u32,
    ) -> Result<(), Fault> {
        match &definition.kind {
            DefinitionKind::Struct(fields) => self.skip_fields(fields, input, depth),
            DefinitionKind::Tuple(types) => self.skip_each(types, input, depth),
            DefinitionKind::Enum(variants) => {
                match &variants.get(variant(input)?).ok_or(Fault::Variant)?.payload {
                    Payload::Unit => Ok(()),
                    Payload::Tuple(types) => self.skip_each(types, input, depth),
                    Payload::Struct(fields) => self.skip_fields(fields, input, depth),
                }
            }
        }
    }

    /// Checks that `bytes` are exactly one value of type `ty`.
    pub(crate) fn check(&mut self, ty: &Type, bytes: &[u8]) -> Result<(), Fault> {
        let mut input = Input::new(bytes);
        self.skip(ty, &mut input, 0)?;
        input.end()
    }
}

pub(crate) fn option(input: &mut Input<'_>) -> Result<bool, Fault> {
    match input.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Fault::Option),
    }
}

/// The index of an enum's variant.
pub(crate) fn variant(input: &mut Input<'_>) -> Result<usize, Fault> {
    usize::try_from(input.varint(32)?).map_err(|_| Fault::Variant)
}

pub(crate) fn text<'a>(input: &mut Input<'a>) -> Result<&'a str, Fault> {
    let length = input.length()?;
    std::str::from_utf8(input.take(length)?).map_err(|_| Fault::Utf8)
}

pub(crate) fn character(input: &mut Input<'_>) -> Result<char, Fault> {
    let mut characters = text(input)?.chars();
    match (characters.next(), characters.next()) {
        (Some(character), None) => Ok(character),
        _ => Err(Fault::Char),
    }
}

pub(crate) fn document<'a>(input: &mut Input<'a>) -> Result<&'a str, Fault> {
    let text = text(input)?;
    json::check(text).map_err(Fault::Json)?;
    Ok(text)
}

/// Undoes the zigzag form of signed integers.
pub(crate) const fn unzigzag(value: u128) -> i128 {
    (value >> 1) as i128 ^ -((value & 1) as i128)
}

/// The zigzag form of a signed integer.
pub(crate) const fn zigzag(value: i128) -> u128 {
    ((value << 1) ^ (value >> 127)) as u128
}
