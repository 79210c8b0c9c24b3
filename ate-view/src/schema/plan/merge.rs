//! The descriptor of a record that holds fields of two programs.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Piece, Source, Splice};
use crate::schema::descriptor::Descriptor;
use crate::schema::error::DescriptorError;
use crate::schema::types::{Definition, DefinitionKind, Field, Payload, Type, Variant};

/// The stored fields in their order, those that this program widened in its form, then the fields that only it has.
/// If this program has nothing of its own, that is the stored descriptor again.
pub(super) fn splice(
    stored: &Descriptor,
    known: &Descriptor,
    sources: &[Source],
) -> Result<Splice, DescriptorError> {
    let mut merger = Merger {
        tables: [&stored.definitions, &known.definitions],
        indexes: HashMap::new(),
        order: Vec::new(),
    };
    let mut fields = Vec::new();
    let mut pieces = Vec::new();
    let mut unknown_count = 0;
    for (index, field) in stored.fields.iter().enumerate() {
        let by_known = sources.iter().position(|source| match source {
            Source::Copy(from) | Source::Step(from, _) => *from == index,
            Source::Absent(_) => false,
        });
        let (piece, side, from) = match by_known {
            Some(at) if matches!(sources[at], Source::Step(..)) => {
                (Piece::Known(at), KNOWN, &known.fields[at])
            }
            Some(at) => (Piece::Known(at), STORED, field),
            None => (Piece::Unknown(unknown_count), STORED, field),
        };
        unknown_count += usize::from(by_known.is_none());
        let mut merged = merger.field(side, from);
        if let Some(at) = by_known
            && known.fields[at].was.contains(&field.name)
        {
            // This program is the one that renamed it.
            merged.name = known.fields[at].name.clone();
            merged.was = known.fields[at].was.clone();
        } else {
            merged.name = field.name.clone();
            merged.was = field.was.clone();
        }
        fields.push(merged);
        pieces.push(piece);
    }
    for (at, source) in sources.iter().enumerate() {
        if matches!(source, Source::Absent(_)) {
            fields.push(merger.field(KNOWN, &known.fields[at]));
            pieces.push(Piece::Known(at));
        }
    }
    let definitions = merger.into_definitions();
    let merged = Descriptor::new(&known.name, known.version, known.codec, fields, definitions);
    Descriptor::from_bytes(merged.as_bytes())?;
    Ok(Splice {
        merged: Arc::new(merged),
        pieces,
    })
}

const STORED: usize = 0;
const KNOWN: usize = 1;

struct Merger<'a> {
    tables: [&'a [Definition]; 2],
    indexes: HashMap<(usize, u32), u32>,
    order: Vec<(usize, u32)>,
}

impl Merger<'_> {
    fn ty(&mut self, side: usize, ty: &Type) -> Type {
        match ty {
            Type::Option(inner) => Type::Option(Box::new(self.ty(side, inner))),
            Type::List(inner) => Type::List(Box::new(self.ty(side, inner))),
            Type::Set(inner) => Type::Set(Box::new(self.ty(side, inner))),
            Type::Map(pair) => {
                Type::Map(Box::new((self.ty(side, &pair.0), self.ty(side, &pair.1))))
            }
            Type::Array(count, inner) => Type::Array(*count, Box::new(self.ty(side, inner))),
            Type::Tuple(types) => Type::Tuple(self.types(side, types)),
            Type::Named(index) => {
                let next = self.order.len() as u32;
                Type::Named(*self.indexes.entry((side, *index)).or_insert_with(|| {
                    self.order.push((side, *index));
                    next
                }))
            }
            leaf => leaf.clone(),
        }
    }

    fn types(&mut self, side: usize, types: &[Type]) -> Vec<Type> {
        types.iter().map(|ty| self.ty(side, ty)).collect()
    }

    fn field(&mut self, side: usize, field: &Field) -> Field {
        Field {
            ty: self.ty(side, &field.ty),
            default: None,
            ..field.clone()
        }
    }

    fn fields(&mut self, side: usize, fields: &[Field]) -> Vec<Field> {
        fields.iter().map(|field| self.field(side, field)).collect()
    }

    fn into_definitions(mut self) -> Vec<Definition> {
        let mut definitions = Vec::new();
        while let Some((side, index)) = self.order.get(definitions.len()).copied() {
            let definition = &self.tables[side][index as usize];
            let kind = match &definition.kind {
                DefinitionKind::Struct(fields) => DefinitionKind::Struct(self.fields(side, fields)),
                DefinitionKind::Tuple(types) => DefinitionKind::Tuple(self.types(side, types)),
                DefinitionKind::Enum(variants) => DefinitionKind::Enum(
                    variants
                        .iter()
                        .map(|variant| self.variant(side, variant))
                        .collect(),
                ),
            };
            definitions.push(Definition {
                name: definition.name.clone(),
                kind,
            });
        }
        definitions
    }

    fn variant(&mut self, side: usize, variant: &Variant) -> Variant {
        let payload = match &variant.payload {
            Payload::Unit => Payload::Unit,
            Payload::Tuple(types) => Payload::Tuple(self.types(side, types)),
            Payload::Struct(fields) => Payload::Struct(self.fields(side, fields)),
        };
        Variant {
            name: variant.name.clone(),
            was: variant.was.clone(),
            payload,
        }
    }
}
