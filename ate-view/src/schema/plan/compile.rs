//! Compiling two descriptors into steps.

use std::collections::HashMap;

use super::matching::{pair, same};
use super::{
    Absent, ByName, Integer, NamedStep, PayloadStep, Rewrite, Source, Step, StructStep,
    VariantStep, merge,
};
use crate::schema::descriptor::Descriptor;
use crate::schema::descriptor::TypeText;
use crate::schema::error::{DecodeError, NewerSchema};
use crate::schema::types::{Definition, DefinitionKind, Field, Payload, Type, Variant};

/// Matches the fields of both descriptors by name. They must agree in name, version and codec.
pub(super) fn by_name(stored: &Descriptor, known: &Descriptor) -> Result<ByName, DecodeError> {
    let mut compiler = Compiler {
        stored,
        known,
        slots: HashMap::new(),
        open: Vec::new(),
        named: Vec::new(),
        unknown_nested: None,
    };
    let pairs = pair(&stored.fields, &known.fields);
    let mut sources = Vec::with_capacity(known.fields.len());
    for (field, pair) in known.fields.iter().zip(&pairs) {
        sources.push(match *pair {
            Some(index)
                if same(
                    &stored.fields[index].ty,
                    &stored.definitions,
                    &field.ty,
                    &known.definitions,
                ) =>
            {
                Source::Copy(index)
            }
            Some(index) => Source::Step(
                index,
                compiler.step(&stored.fields[index].ty, &field.ty, &field.name)?,
            ),
            None => Source::Absent(compiler.absent(field, &field.name)?),
        });
    }
    compiler.run()?;
    let unknown: Vec<usize> = (0..stored.fields.len())
        .filter(|index| !pairs.contains(&Some(*index)))
        .collect();
    let rewrite = match &compiler.unknown_nested {
        Some(field) => Rewrite::Refused(NewerSchema {
            record: known.name.clone(),
            field: field.clone(),
            stored: stored.id(),
            known: known.id(),
        }),
        None if unknown.is_empty() => Rewrite::Plain,
        None => match merge::splice(stored, known, &sources) {
            Ok(splice) => Rewrite::Splice(splice.into()),
            Err(error) => Rewrite::Unmergeable(error),
        },
    };
    Ok(ByName {
        sources,
        unknown,
        named: compiler.named,
        rewrite,
    })
}

struct Compiler<'a> {
    stored: &'a Descriptor,
    known: &'a Descriptor,
    /// Pairs of definitions that have a slot in `named`.
    slots: HashMap<(u32, u32), usize>,
    /// Pairs that still wait for their step, in the order of their slots. A list, not recursion: stored types may be nested
    /// as deeply as a stranger likes.
    open: Vec<(u32, u32, Box<str>)>,
    named: Vec<NamedStep>,
    /// The first nested thing that the reader does not know.
    unknown_nested: Option<Box<str>>,
}

impl<'a> Compiler<'a> {
    fn run(&mut self) -> Result<(), DecodeError> {
        while let Some((stored, known, path)) = self.open.get(self.named.len()).cloned() {
            let step = self.definition(stored, known, &path)?;
            self.named.push(step);
        }
        Ok(())
    }

    fn incompatible(&self, stored: &Type, known: &Type, path: &str) -> DecodeError {
        DecodeError::Incompatible {
            record: self.known.name.clone(),
            field: path.into(),
            stored: TypeText(stored, &self.stored.definitions)
                .to_string()
                .into(),
            known: TypeText(known, &self.known.definitions).to_string().into(),
        }
    }

    fn absent(&self, field: &Field, path: &str) -> Result<Absent, DecodeError> {
        match (field.default, &field.ty) {
            (Some(default), _) => Ok(Absent::Default(default)),
            (None, Type::Option(_)) => Ok(Absent::None),
            (None, Type::Unit) => Ok(Absent::Empty),
            (None, ty) => Err(DecodeError::MissingField {
                record: self.known.name.clone(),
                field: path.into(),
                expected: TypeText(ty, &self.known.definitions).to_string().into(),
            }),
        }
    }

    fn step(&mut self, stored: &Type, known: &Type, path: &str) -> Result<Step, DecodeError> {
        if let (Some(from), Some(to)) = (integer(stored), integer(known)) {
            return if from == to {
                Ok(Step::Leaf(stored.clone()))
            } else if from.fits_into(to) {
                Ok(Step::Widen { from, to })
            } else {
                Err(self.incompatible(stored, known, path))
            };
        }
        Ok(match (stored, known) {
            (Type::Opaque(name), Type::Opaque(other)) if name == other => {
                return Err(DecodeError::BehindOpaque {
                    record: self.known.name.clone(),
                    field: path.into(),
                    opaque: name.clone(),
                });
            }
            (Type::F32, Type::F64) => Step::F32ToF64,
            (Type::Option(a), Type::Option(b)) => Step::Option(Box::new(self.step(a, b, path)?)),
            (a, Type::Option(b)) => Step::Some(Box::new(self.step(a, b, path).map_err(
                |error| match error {
                    // Name the whole type, not its inside.
                    DecodeError::Incompatible { field, .. } if *field == *path => {
                        self.incompatible(a, known, path)
                    }
                    error => error,
                },
            )?)),
            (Type::List(a), Type::List(b)) | (Type::Set(a), Type::Set(b)) => {
                Step::Many(Box::new(self.step(a, b, &below(path, "[]"))?))
            }
            (Type::Map(a), Type::Map(b)) => Step::Pairs(Box::new((
                self.step(&a.0, &b.0, &below(path, "[key]"))?,
                self.step(&a.1, &b.1, &below(path, "[]"))?,
            ))),
            (Type::Array(n, a), Type::Array(m, b)) if n == m => {
                Step::Array(*n, Box::new(self.step(a, b, &below(path, "[]"))?))
            }
            (Type::Tuple(a), Type::Tuple(b)) if a.len() == b.len() => {
                Step::Each(self.steps(a, b, path)?)
            }
            (Type::Named(a), Type::Named(b)) => Step::Named(self.slot(*a, *b, path)),
            (a, b) if a == b && a.children().next().is_none() => Step::Leaf(a.clone()),
            (a, b) => return Err(self.incompatible(a, b, path)),
        })
    }

    fn steps(
        &mut self,
        stored: &[Type],
        known: &[Type],
        path: &str,
    ) -> Result<Vec<Step>, DecodeError> {
        stored
            .iter()
            .zip(known)
            .enumerate()
            .map(|(index, (a, b))| self.step(a, b, &below(path, &format!(".{index}"))))
            .collect()
    }

    fn slot(&mut self, stored: u32, known: u32, path: &str) -> usize {
        let next = self.open.len();
        *self.slots.entry((stored, known)).or_insert_with(|| {
            self.open.push((stored, known, path.into()));
            next
        })
    }

    fn definition(
        &mut self,
        stored: u32,
        known: u32,
        path: &str,
    ) -> Result<NamedStep, DecodeError> {
        // Indexes come from descriptors that were checked, or made by this program.
        let a: &'a Definition = &self.stored.definitions[stored as usize];
        let b: &'a Definition = &self.known.definitions[known as usize];
        match (&a.kind, &b.kind) {
            (DefinitionKind::Struct(a), DefinitionKind::Struct(b)) => {
                Ok(NamedStep::Struct(self.fields(a, b, path)?))
            }
            (DefinitionKind::Tuple(a), DefinitionKind::Tuple(b)) if a.len() == b.len() => {
                Ok(NamedStep::Tuple(self.steps(a, b, path)?))
            }
            (DefinitionKind::Enum(a), DefinitionKind::Enum(b)) => self.variants(a, b, path),
            _ => Err(DecodeError::Incompatible {
                record: self.known.name.clone(),
                field: path.into(),
                stored: kind_text(a).into(),
                known: kind_text(b).into(),
            }),
        }
    }

    fn fields(
        &mut self,
        stored: &[Field],
        known: &[Field],
        path: &str,
    ) -> Result<StructStep, DecodeError> {
        let pairs = pair(stored, known);
        let mut sources = Vec::with_capacity(known.len());
        for (field, pair) in known.iter().zip(&pairs) {
            let path = below(path, &format!(".{}", field.name));
            sources.push(match *pair {
                Some(index) => Source::Step(index, self.step(&stored[index].ty, &field.ty, &path)?),
                None => Source::Absent(self.absent(field, &path)?),
            });
        }
        if let Some(index) = (0..stored.len()).find(|index| !pairs.contains(&Some(*index))) {
            self.unknown_nested
                .get_or_insert_with(|| below(path, &format!(".{}", stored[index].name)).into());
        }
        Ok(StructStep {
            stored: stored.iter().map(|field| field.ty.clone()).collect(),
            sources,
        })
    }

    fn variants(
        &mut self,
        stored: &[Variant],
        known: &[Variant],
        path: &str,
    ) -> Result<NamedStep, DecodeError> {
        let pairs = pair(stored, known);
        let mut steps = Vec::with_capacity(stored.len());
        for (index, variant) in stored.iter().enumerate() {
            let Some(known_index) = pairs.iter().position(|pair| *pair == Some(index)) else {
                steps.push(VariantStep::Unknown {
                    field: path.into(),
                    variant: variant.name.clone(),
                });
                continue;
            };
            let path = below(path, &format!("::{}", variant.name));
            let payload = match (&variant.payload, &known[known_index].payload) {
                (Payload::Unit, Payload::Unit) => PayloadStep::Unit,
                (Payload::Tuple(a), Payload::Tuple(b)) if a.len() == b.len() => {
                    PayloadStep::Tuple(self.steps(a, b, &path)?)
                }
                (Payload::Struct(a), Payload::Struct(b)) => {
                    PayloadStep::Struct(self.fields(a, b, &path)?)
                }
                (a, b) => {
                    return Err(DecodeError::Incompatible {
                        record: self.known.name.clone(),
                        field: path.into(),
                        stored: payload_text(a).into(),
                        known: payload_text(b).into(),
                    });
                }
            };
            steps.push(VariantStep::Known {
                index: known_index as u32,
                payload,
            });
        }
        Ok(NamedStep::Enum(steps))
    }
}

/// Extends a path, up to a length that still helps: stored types may be nested without end.
fn below(path: &str, step: &str) -> String {
    const PATH_BYTES_MAX: usize = 256;
    if path.len() + step.len() <= PATH_BYTES_MAX {
        format!("{path}{step}")
    } else if path.ends_with('…') {
        path.to_owned()
    } else {
        format!("{path}…")
    }
}

fn kind_text(definition: &Definition) -> String {
    match &definition.kind {
        DefinitionKind::Struct(_) => format!("struct {}", definition.name),
        DefinitionKind::Tuple(types) => {
            format!("tuple struct {} of {}", definition.name, types.len())
        }
        DefinitionKind::Enum(_) => format!("enum {}", definition.name),
    }
}

fn payload_text(payload: &Payload) -> String {
    match payload {
        Payload::Unit => "a variant without data".to_owned(),
        Payload::Tuple(types) => format!("a tuple variant of {}", types.len()),
        Payload::Struct(_) => "a struct variant".to_owned(),
    }
}

const fn integer(ty: &Type) -> Option<Integer> {
    let (bits, is_signed) = match ty {
        Type::U8 => (8, false),
        Type::U16 => (16, false),
        Type::U32 => (32, false),
        Type::U64 => (64, false),
        Type::U128 => (128, false),
        Type::I8 => (8, true),
        Type::I16 => (16, true),
        Type::I32 => (32, true),
        Type::I64 => (64, true),
        Type::I128 => (128, true),
        _ => return None,
    };
    Some(Integer { bits, is_signed })
}

impl Integer {
    /// Whether every value of this type is one of `wider`.
    const fn fits_into(self, wider: Self) -> bool {
        self.bits < wider.bits && (!self.is_signed || wider.is_signed)
    }
}
