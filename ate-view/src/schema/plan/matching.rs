//! Which stored field is which known field, and whether two types have one wire form.

use std::collections::HashSet;

use crate::schema::types::{Definition, DefinitionKind, Field, Payload, Type, Variant};

/// A name and the names before it.
pub(crate) trait Named {
    fn name(&self) -> &str;
    fn was(&self) -> &[Box<str>];
}

impl Named for Field {
    fn name(&self) -> &str {
        &self.name
    }

    fn was(&self) -> &[Box<str>] {
        &self.was
    }
}

impl Named for Variant {
    fn name(&self) -> &str {
        &self.name
    }

    fn was(&self) -> &[Box<str>] {
        &self.was
    }
}

/// For each of `known` the index of its counterpart in `stored`. One to one: equal names first, then names that the known
/// side says it had, then names that the stored side says it had (the writer renamed what the reader knows by its old name).
pub(crate) fn pair<T: Named>(stored: &[T], known: &[T]) -> Vec<Option<usize>> {
    let mut pairs = vec![None; known.len()];
    let mut taken = vec![false; stored.len()];
    let rules: [fn(&T, &T) -> bool; 3] = [
        |stored, known| stored.name() == known.name(),
        |stored, known| known.was().iter().any(|was| **was == *stored.name()),
        |stored, known| stored.was().iter().any(|was| **was == *known.name()),
    ];
    for rule in rules {
        for (known, pair) in known.iter().zip(&mut pairs) {
            if pair.is_none() {
                *pair = stored
                    .iter()
                    .zip(&taken)
                    .position(|(stored, taken)| !taken && rule(stored, known));
                if let Some(index) = *pair {
                    taken[index] = true;
                }
            }
        }
    }
    pairs
}

/// Whether values of both types have the same bytes with the same meaning: equal types, and definitions with equal names of
/// fields and variants in equal order. Names of definitions, former names and defaults play no part.
pub(crate) fn same(
    a: &Type,
    a_definitions: &[Definition],
    b: &Type,
    b_definitions: &[Definition],
) -> bool {
    let mut assumed = HashSet::new();
    let mut open = vec![(a, b)];
    while let Some((a, b)) = open.pop() {
        match (a, b) {
            (Type::Named(i), Type::Named(j)) => {
                // A pair that was met before is equal unless something else differs.
                if assumed.insert((*i, *j)) {
                    let (Some(a), Some(b)) = (
                        a_definitions.get(*i as usize),
                        b_definitions.get(*j as usize),
                    ) else {
                        return false;
                    };
                    if !same_definition(a, b, &mut open) {
                        return false;
                    }
                }
            }
            (Type::Option(a), Type::Option(b))
            | (Type::List(a), Type::List(b))
            | (Type::Set(a), Type::Set(b)) => open.push((a, b)),
            (Type::Map(a), Type::Map(b)) => open.extend([(&a.0, &b.0), (&a.1, &b.1)]),
            (Type::Array(n, a), Type::Array(m, b)) if n == m => open.push((a, b)),
            (Type::Tuple(a), Type::Tuple(b)) if a.len() == b.len() => open.extend(a.iter().zip(b)),
            (a, b) if a == b && a.children().next().is_none() => {}
            _ => return false,
        }
    }
    true
}

fn same_definition<'a>(
    a: &'a Definition,
    b: &'a Definition,
    open: &mut Vec<(&'a Type, &'a Type)>,
) -> bool {
    match (&a.kind, &b.kind) {
        (DefinitionKind::Struct(a), DefinitionKind::Struct(b)) => same_fields(a, b, open),
        (DefinitionKind::Tuple(a), DefinitionKind::Tuple(b)) => same_types(a, b, open),
        (DefinitionKind::Enum(a), DefinitionKind::Enum(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|(a, b)| {
                    a.name == b.name
                        && match (&a.payload, &b.payload) {
                            (Payload::Unit, Payload::Unit) => true,
                            (Payload::Tuple(a), Payload::Tuple(b)) => same_types(a, b, open),
                            (Payload::Struct(a), Payload::Struct(b)) => same_fields(a, b, open),
                            _ => false,
                        }
                })
        }
        _ => false,
    }
}

fn same_types<'a>(a: &'a [Type], b: &'a [Type], open: &mut Vec<(&'a Type, &'a Type)>) -> bool {
    open.extend(a.iter().zip(b));
    a.len() == b.len()
}

fn same_fields<'a>(a: &'a [Field], b: &'a [Field], open: &mut Vec<(&'a Type, &'a Type)>) -> bool {
    open.extend(a.iter().zip(b).map(|(a, b)| (&a.ty, &b.ty)));
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.name == b.name)
}
