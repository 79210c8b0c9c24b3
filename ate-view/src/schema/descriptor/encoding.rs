//! The canonical encoding of descriptors (docs/format.md, 7.2).

use std::collections::HashSet;

use super::{
    DESCRIPTOR_BYTES_MAX, Descriptor, FIELDS_MAX, SCHEMA_NAME_BYTES_MAX, TYPE_DEPTH_MAX, TYPES_MAX,
};
use crate::schema::digest::Hash;
use crate::schema::error::{DescriptorError, Fault};
use crate::schema::types::{Codec, Definition, DefinitionKind, Field, Payload, Type, Variant};
use crate::schema::walk::{Input, put_varint};

/// The only version of the encoding.
const VERSION: u8 = 1;
/// Flag of a field with a default.
const HAS_DEFAULT: u8 = 1;

mod tag {
    //! First byte of a type.
    pub(super) const OPTION: u8 = 17;
    pub(super) const LIST: u8 = 18;
    pub(super) const SET: u8 = 19;
    pub(super) const MAP: u8 = 20;
    pub(super) const ARRAY: u8 = 21;
    pub(super) const TUPLE: u8 = 22;
    pub(super) const NAMED: u8 = 23;
    pub(super) const OPAQUE: u8 = 24;
}

/// The types without parameters; the tag is the index.
const LEAVES: [Type; 17] = [
    Type::Unit,
    Type::Bool,
    Type::U8,
    Type::U16,
    Type::U32,
    Type::U64,
    Type::U128,
    Type::I8,
    Type::I16,
    Type::I32,
    Type::I64,
    Type::I128,
    Type::F32,
    Type::F64,
    Type::Char,
    Type::String,
    Type::Json,
];

const _: () = assert!(LEAVES.len() == tag::OPTION as usize);

pub(super) fn encode(descriptor: &Descriptor) -> Vec<u8> {
    let mut out = vec![VERSION, codec_byte(descriptor.codec)];
    put_varint(&mut out, descriptor.version.into());
    put_text(&mut out, &descriptor.name);
    put_fields(&mut out, &descriptor.fields);
    put_varint(&mut out, descriptor.definitions.len() as u128);
    for definition in &descriptor.definitions {
        put_text(&mut out, &definition.name);
        match &definition.kind {
            DefinitionKind::Struct(fields) => {
                out.push(0);
                put_fields(&mut out, fields);
            }
            DefinitionKind::Tuple(types) => {
                out.push(1);
                put_types(&mut out, types);
            }
            DefinitionKind::Enum(variants) => {
                out.push(2);
                put_varint(&mut out, variants.len() as u128);
                variants
                    .iter()
                    .for_each(|variant| put_variant(&mut out, variant));
            }
        }
    }
    out
}

const fn codec_byte(codec: Codec) -> u8 {
    match codec {
        Codec::Fields => 0,
        Codec::Json => 1,
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u128);
    out.extend_from_slice(text.as_bytes());
}

fn put_names(out: &mut Vec<u8>, names: &[Box<str>]) {
    put_varint(out, names.len() as u128);
    names.iter().for_each(|name| put_text(out, name));
}

fn put_fields(out: &mut Vec<u8>, fields: &[Field]) {
    put_varint(out, fields.len() as u128);
    for field in fields {
        put_text(out, &field.name);
        put_names(out, &field.was);
        out.push(if field.has_default { HAS_DEFAULT } else { 0 });
        put_type(out, &field.ty);
    }
}

fn put_variant(out: &mut Vec<u8>, variant: &Variant) {
    put_text(out, &variant.name);
    put_names(out, &variant.was);
    match &variant.payload {
        Payload::Unit => out.push(0),
        Payload::Tuple(types) => {
            out.push(1);
            put_types(out, types);
        }
        Payload::Struct(fields) => {
            out.push(2);
            put_fields(out, fields);
        }
    }
}

fn put_types(out: &mut Vec<u8>, types: &[Type]) {
    put_varint(out, types.len() as u128);
    types.iter().for_each(|ty| put_type(out, ty));
}

fn put_type(out: &mut Vec<u8>, ty: &Type) {
    match ty {
        Type::Option(inner) => put_with(out, tag::OPTION, inner),
        Type::List(inner) => put_with(out, tag::LIST, inner),
        Type::Set(inner) => put_with(out, tag::SET, inner),
        Type::Map(pair) => {
            put_with(out, tag::MAP, &pair.0);
            put_type(out, &pair.1);
        }
        Type::Array(count, inner) => {
            out.push(tag::ARRAY);
            put_varint(out, (*count).into());
            put_type(out, inner);
        }
        Type::Tuple(types) => {
            out.push(tag::TUPLE);
            put_types(out, types);
        }
        Type::Named(index) => {
            out.push(tag::NAMED);
            put_varint(out, (*index).into());
        }
        Type::Opaque(name) => {
            out.push(tag::OPAQUE);
            put_text(out, name);
        }
        leaf => {
            let index = LEAVES
                .iter()
                .position(|known| known == leaf)
                .expect("every type without parameters is listed");
            out.push(index as u8);
        }
    }
}

fn put_with(out: &mut Vec<u8>, tag: u8, inner: &Type) {
    out.push(tag);
    put_type(out, inner);
}

/// Decodes and checks everything; bytes and id of the result are still empty.
pub(super) fn decode(bytes: &[u8]) -> Result<Descriptor, DescriptorError> {
    if bytes.len() > DESCRIPTOR_BYTES_MAX {
        return Err(limit(
            "descriptor length",
            bytes.len() as u64,
            DESCRIPTOR_BYTES_MAX as u64,
        ));
    }
    let mut reader = Reader {
        input: Input::new(bytes),
        total: bytes.len(),
        mentioned: 0,
    };
    let version = reader.byte()?;
    if version != VERSION {
        return Err(DescriptorError::UnknownVersion { got: version });
    }
    let codec = match reader.byte()? {
        0 => Codec::Fields,
        1 => Codec::Json,
        _ => return Err(reader.malformed("unknown codec")),
    };
    let version =
        u32::try_from(reader.varint()?).map_err(|_| reader.malformed("version over 32 bits"))?;
    if version == 0 {
        return Err(reader.malformed("version zero"));
    }
    let name = reader.name()?;
    let fields = reader.fields()?;
    let count = reader.count("type count", TYPES_MAX)?;
    let mut definitions = Vec::new();
    for index in 0..count {
        // The order of definitions is the order of their first mention: one encoding for one type.
        if index >= reader.mentioned {
            return Err(reader.malformed("a definition that nothing mentions"));
        }
        definitions.push(reader.definition()?);
    }
    if reader.mentioned != count {
        return Err(reader.malformed("a type without definition"));
    }
    if codec == Codec::Json && !fields.is_empty() {
        return Err(reader.malformed("fields in a JSON record"));
    }
    reader.input.end().map_err(|fault| reader.fault(fault))?;
    Ok(Descriptor {
        name,
        version,
        codec,
        fields,
        definitions,
        bytes: Box::default(),
        id: Hash([0; 32]),
    })
}

fn limit(what: &'static str, got: u64, limit: u64) -> DescriptorError {
    DescriptorError::Limit { what, got, limit }
}

struct Reader<'a> {
    input: Input<'a>,
    total: usize,
    /// How many definitions have been mentioned so far.
    mentioned: u64,
}

impl Reader<'_> {
    fn malformed(&self, reason: &'static str) -> DescriptorError {
        DescriptorError::Malformed {
            offset: (self.total - self.input.rest.len()) as u64,
            reason,
        }
    }

    fn fault(&self, fault: Fault) -> DescriptorError {
        self.malformed(match fault {
            Fault::End => "ends too early",
            Fault::Trailing => "bytes are left over",
            _ => "a number is not in its shortest form",
        })
    }

    fn byte(&mut self) -> Result<u8, DescriptorError> {
        self.input.byte().map_err(|fault| self.fault(fault))
    }

    fn varint(&mut self) -> Result<u64, DescriptorError> {
        self.input.canonical().map_err(|fault| self.fault(fault))
    }

    fn count(&mut self, what: &'static str, max: u64) -> Result<u64, DescriptorError> {
        let count = self.varint()?;
        if count > max {
            Err(limit(what, count, max))
        } else {
            Ok(count)
        }
    }

    fn name(&mut self) -> Result<Box<str>, DescriptorError> {
        let length = self.count("name length", SCHEMA_NAME_BYTES_MAX)?;
        let bytes = self.input.take(length).map_err(|fault| self.fault(fault))?;
        let name = std::str::from_utf8(bytes).map_err(|_| self.malformed("a name is not UTF-8"))?;
        if name.is_empty() {
            return Err(self.malformed("an empty name"));
        }
        // Names reach terminals.
        if name.chars().any(char::is_control) {
            return Err(self.malformed("a control character in a name"));
        }
        Ok(name.into())
    }

    fn names(&mut self) -> Result<Vec<Box<str>>, DescriptorError> {
        let count = self.count("count of former names", FIELDS_MAX)?;
        (0..count).map(|_| self.name()).collect()
    }

    fn fields(&mut self) -> Result<Vec<Field>, DescriptorError> {
        let count = self.count("field count", FIELDS_MAX)?;
        let mut seen = HashSet::new();
        let mut fields = Vec::new();
        for _ in 0..count {
            let name = self.name()?;
            if !seen.insert(name.clone()) {
                return Err(self.malformed("two fields of one name"));
            }
            let was = self.names()?;
            let has_default = match self.byte()? {
                0 => false,
                HAS_DEFAULT => true,
                _ => return Err(self.malformed("unknown field flags")),
            };
            fields.push(Field {
                name,
                was,
                ty: self.ty(0)?,
                has_default,
                default: None,
            });
        }
        Ok(fields)
    }

    fn definition(&mut self) -> Result<Definition, DescriptorError> {
        let name = self.name()?;
        let kind = match self.byte()? {
            0 => DefinitionKind::Struct(self.fields()?),
            1 => DefinitionKind::Tuple(self.types(0)?),
            2 => DefinitionKind::Enum(self.variants()?),
            _ => return Err(self.malformed("unknown kind of definition")),
        };
        Ok(Definition { name, kind })
    }

    fn variants(&mut self) -> Result<Vec<Variant>, DescriptorError> {
        let count = self.count("variant count", FIELDS_MAX)?;
        let mut seen = HashSet::new();
        let mut variants = Vec::new();
        for _ in 0..count {
            let name = self.name()?;
            if !seen.insert(name.clone()) {
                return Err(self.malformed("two variants of one name"));
            }
            let was = self.names()?;
            let payload = match self.byte()? {
                0 => Payload::Unit,
                1 => Payload::Tuple(self.types(0)?),
                2 => Payload::Struct(self.fields()?),
                _ => return Err(self.malformed("unknown payload of a variant")),
            };
            variants.push(Variant { name, was, payload });
        }
        Ok(variants)
    }

    fn types(&mut self, depth: u32) -> Result<Vec<Type>, DescriptorError> {
        let count = self.count("tuple length", FIELDS_MAX)?;
        (0..count).map(|_| self.ty(depth)).collect()
    }

    fn ty(&mut self, depth: u32) -> Result<Type, DescriptorError> {
        if depth >= TYPE_DEPTH_MAX {
            return Err(limit(
                "type depth",
                u64::from(depth) + 1,
                TYPE_DEPTH_MAX.into(),
            ));
        }
        let depth = depth + 1;
        let tag = self.byte()?;
        if let Some(leaf) = LEAVES.get(usize::from(tag)) {
            return Ok(leaf.clone());
        }
        Ok(match tag {
            tag::OPTION => Type::Option(Box::new(self.ty(depth)?)),
            tag::LIST => Type::List(Box::new(self.ty(depth)?)),
            tag::SET => Type::Set(Box::new(self.ty(depth)?)),
            tag::MAP => Type::Map(Box::new((self.ty(depth)?, self.ty(depth)?))),
            tag::ARRAY => Type::Array(self.varint()?, Box::new(self.ty(depth)?)),
            tag::TUPLE => match self.types(depth)? {
                types if types.is_empty() => return Err(self.malformed("an empty tuple")),
                types => Type::Tuple(types),
            },
            tag::NAMED => {
                let index = self.varint()?;
                if index > self.mentioned || index >= TYPES_MAX {
                    return Err(self.malformed("definitions are not in the order of their mention"));
                }
                self.mentioned = self.mentioned.max(index + 1);
                Type::Named(index as u32)
            }
            tag::OPAQUE => Type::Opaque(self.name()?),
            _ => return Err(self.malformed("unknown type")),
        })
    }
}
