//! Descriptors and types as text for people.

use std::fmt;

use super::Descriptor;
use crate::schema::types::{Definition, DefinitionKind, Field, Payload, Type};

/// Shows a type with the names of its definitions.
pub(crate) struct TypeText<'a>(pub(crate) &'a Type, pub(crate) &'a [Definition]);

impl fmt::Display for TypeText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = |ty| TypeText(ty, self.1);
        match self.0 {
            Type::Unit => f.write_str("()"),
            Type::Bool => f.write_str("bool"),
            Type::U8 => f.write_str("u8"),
            Type::U16 => f.write_str("u16"),
            Type::U32 => f.write_str("u32"),
            Type::U64 => f.write_str("u64"),
            Type::U128 => f.write_str("u128"),
            Type::I8 => f.write_str("i8"),
            Type::I16 => f.write_str("i16"),
            Type::I32 => f.write_str("i32"),
            Type::I64 => f.write_str("i64"),
            Type::I128 => f.write_str("i128"),
            Type::F32 => f.write_str("f32"),
            Type::F64 => f.write_str("f64"),
            Type::Char => f.write_str("char"),
            Type::String => f.write_str("String"),
            Type::Json => f.write_str("Json"),
            Type::Option(ty) => write!(f, "Option<{}>", inner(ty)),
            Type::List(ty) => write!(f, "Vec<{}>", inner(ty)),
            Type::Set(ty) => write!(f, "Set<{}>", inner(ty)),
            Type::Map(pair) => write!(f, "Map<{}, {}>", inner(&pair.0), inner(&pair.1)),
            Type::Array(count, ty) => write!(f, "[{}; {count}]", inner(ty)),
            Type::Tuple(types) => tuple(f, types, self.1, true),
            Type::Named(index) => match self.1.get(*index as usize) {
                Some(definition) => f.write_str(&definition.name),
                None => write!(f, "type {index}"),
            },
            Type::Opaque(name) => write!(f, "opaque {name}"),
        }
    }
}

fn tuple(
    f: &mut fmt::Formatter<'_>,
    types: &[Type],
    definitions: &[Definition],
    is_type: bool,
) -> fmt::Result {
    f.write_str("(")?;
    for (index, ty) in types.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(f, "{comma}{}", TypeText(ty, definitions))?;
    }
    f.write_str(if is_type && types.len() == 1 {
        ",)"
    } else {
        ")"
    })
}

fn was(f: &mut fmt::Formatter<'_>, names: &[Box<str>]) -> fmt::Result {
    names.iter().try_for_each(|name| write!(f, ", was {name}"))
}

fn fields(
    f: &mut fmt::Formatter<'_>,
    fields: &[Field],
    definitions: &[Definition],
    indent: &str,
) -> fmt::Result {
    for field in fields {
        write!(
            f,
            "\n{indent}{}: {}",
            field.name,
            TypeText(&field.ty, definitions)
        )?;
        was(f, &field.was)?;
        if field.has_default {
            f.write_str(", default")?;
        }
    }
    Ok(())
}

/// One line for each field; structs and enums follow in the order of their mention.
impl fmt::Display for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "record {} (version {}, {})",
            self.name, self.version, self.codec
        )?;
        fields(f, &self.fields, &self.definitions, "  ")?;
        for definition in &self.definitions {
            match &definition.kind {
                DefinitionKind::Struct(of) => {
                    write!(f, "\nstruct {}", definition.name)?;
                    fields(f, of, &self.definitions, "  ")?;
                }
                DefinitionKind::Tuple(types) => {
                    write!(f, "\nstruct {}", definition.name)?;
                    tuple(f, types, &self.definitions, false)?;
                }
                DefinitionKind::Enum(variants) => {
                    write!(f, "\nenum {}", definition.name)?;
                    for variant in variants {
                        write!(f, "\n  {}", variant.name)?;
                        if let Payload::Tuple(types) = &variant.payload {
                            tuple(f, types, &self.definitions, false)?;
                        }
                        was(f, &variant.was)?;
                        if let Payload::Struct(of) = &variant.payload {
                            fields(f, of, &self.definitions, "    ")?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
