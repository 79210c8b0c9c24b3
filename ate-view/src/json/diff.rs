//! What a document holds that a value made from it does not give back.

use std::collections::HashMap;

use super::JsonError;
use super::scan::Scanner;

/// The difference of two documents, as far as something would be lost.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    /// Members of the top-level object that are missing, each as `"name":value`.
    pub(crate) members: Vec<Box<str>>,
    /// Path of the first thing deeper inside that is missing.
    pub(crate) nested: Option<String>,
}

/// Compares `stored` with `known`, the document that its typed value serialises to. Both must have been checked.
pub(crate) fn lost(stored: &str, known: &str) -> Result<Lost, JsonError> {
    let (stored, known) = (stored.trim(), known.trim());
    let mut lost = Lost::default();
    if stored.starts_with('{') && known.starts_with('{') {
        let values = members(known)?;
        let mut found = Vec::new();
        Scanner::new(stored)
            .members(&mut |member| found.push(member))
            .map_err(|stop| JsonError::stopped(stored, stop))?;
        for member in found {
            match values.get(&*member.name) {
                Some(value) => nested(member.value, value, &member.name, &mut lost.nested)?,
                None => lost
                    .members
                    .push(format!("{}:{}", member.quoted, member.value).into()),
            }
        }
    } else {
        nested(stored, known, "", &mut lost.nested)?;
    }
    Ok(lost)
}

fn members(text: &str) -> Result<HashMap<String, &str>, JsonError> {
    let mut values = HashMap::new();
    Scanner::new(text)
        .members(&mut |member| {
            values.insert(member.name.into_owned(), member.value);
        })
        .map_err(|stop| JsonError::stopped(text, stop))?;
    Ok(values)
}

fn elements(text: &str) -> Result<Vec<&str>, JsonError> {
    let mut values = Vec::new();
    Scanner::new(text)
        .elements(&mut |value| values.push(value))
        .map_err(|stop| JsonError::stopped(text, stop))?;
    Ok(values)
}

/// Recursion is as deep as the documents, which were checked.
fn nested(
    stored: &str,
    known: &str,
    path: &str,
    found: &mut Option<String>,
) -> Result<(), JsonError> {
    if found.is_some() {
        return Ok(());
    }
    match (stored.as_bytes().first(), known.as_bytes().first()) {
        (Some(b'{'), Some(b'{')) => {
            let (stored, known) = (members(stored)?, members(known)?);
            // Sorted, so that the same documents always name the same member.
            let mut names: Vec<_> = stored.into_iter().collect();
            names.sort_unstable();
            for (name, value) in names {
                let path = format!("{path}.{name}");
                match known.get(&name) {
                    Some(known) => nested(value, known, &path, found)?,
                    None => *found = Some(path),
                }
                if found.is_some() {
                    break;
                }
            }
        }
        (Some(b'['), Some(b'[')) => {
            let (stored, known) = (elements(stored)?, elements(known)?);
            let path = format!("{path}[]");
            if stored.len() != known.len() {
                *found = Some(path);
                return Ok(());
            }
            for (stored, known) in stored.into_iter().zip(known) {
                nested(stored, known, &path, found)?;
            }
        }
        (Some(b'{' | b'['), _) => *found = Some(path.to_owned()),
        _ => {}
    }
    Ok(())
}
