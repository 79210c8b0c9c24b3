//! Cases of names: snake case for record types, and serde's `rename_all`.

use syn::LitStr;

/// A rule of `#[serde(rename_all = "…")]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Lower,
    Upper,
    Pascal,
    Camel,
    Snake,
    ScreamingSnake,
    Kebab,
    ScreamingKebab,
}

impl Case {
    pub(crate) fn parse(literal: &LitStr) -> syn::Result<Self> {
        Ok(match literal.value().as_str() {
            "lowercase" => Self::Lower,
            "UPPERCASE" => Self::Upper,
            "PascalCase" => Self::Pascal,
            "camelCase" => Self::Camel,
            "snake_case" => Self::Snake,
            "SCREAMING_SNAKE_CASE" => Self::ScreamingSnake,
            "kebab-case" => Self::Kebab,
            "SCREAMING-KEBAB-CASE" => Self::ScreamingKebab,
            _ => return Err(syn::Error::new(literal.span(), "unknown case")),
        })
    }

    /// Renames a field, whose name is snake case by custom, as serde does.
    pub(crate) fn of_field(self, name: &str) -> String {
        match self {
            Self::Lower | Self::Snake => name.to_owned(),
            Self::Upper | Self::ScreamingSnake => name.to_ascii_uppercase(),
            Self::Pascal => pascal(name),
            Self::Camel => first_lower(&pascal(name)),
            Self::Kebab => name.replace('_', "-"),
            Self::ScreamingKebab => name.to_ascii_uppercase().replace('_', "-"),
        }
    }

    /// Renames a variant, whose name is Pascal case by custom, as serde does.
    pub(crate) fn of_variant(self, name: &str) -> String {
        match self {
            Self::Pascal => name.to_owned(),
            Self::Lower => name.to_ascii_lowercase(),
            Self::Upper => name.to_ascii_uppercase(),
            Self::Camel => first_lower(name),
            Self::Snake => every_upper(name),
            Self::ScreamingSnake => every_upper(name).to_ascii_uppercase(),
            Self::Kebab => every_upper(name).replace('_', "-"),
            Self::ScreamingKebab => every_upper(name).to_ascii_uppercase().replace('_', "-"),
        }
    }
}

fn pascal(name: &str) -> String {
    let mut out = String::new();
    let mut is_start = true;
    for character in name.chars() {
        if character == '_' {
            is_start = true;
        } else if std::mem::replace(&mut is_start, false) {
            out.push(character.to_ascii_uppercase());
        } else {
            out.push(character);
        }
    }
    out
}

fn first_lower(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_ascii_lowercase().to_string() + characters.as_str()
    })
}

/// Serde's snake case: an underscore before every capital, so `HTTPServer` is `h_t_t_p_server`.
fn every_upper(name: &str) -> String {
    let mut out = String::new();
    for (index, character) in name.char_indices() {
        if index > 0 && character.is_uppercase() {
            out.push('_');
        }
        out.push(character.to_ascii_lowercase());
    }
    out
}

/// The default name of a record type: snake case as people write it, so `HTTPServer2` is `http_server2`.
pub(crate) fn snake(name: &str) -> String {
    let characters: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (index, character) in characters.iter().enumerate() {
        let before = index.checked_sub(1).map(|index| characters[index]);
        let after_word =
            before.is_some_and(|before| before.is_lowercase() || before.is_ascii_digit());
        let before_word = before.is_some_and(char::is_uppercase)
            && characters
                .get(index + 1)
                .is_some_and(|next| next.is_lowercase());
        if character.is_uppercase() && (after_word || before_word) {
            out.push('_');
        }
        out.extend(character.to_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snake_case_of_types() {
        for (name, expected) in [
            ("Account", "account"),
            ("TaskList", "task_list"),
            ("HTTPServer", "http_server"),
            ("V2Item", "v2_item"),
            ("ABC", "abc"),
        ] {
            assert_eq!(snake(name), expected);
        }
    }

    #[test]
    fn cases_as_serde_has_them() {
        for (case, field, variant) in [
            (Case::Lower, "due_at", "veryold"),
            (Case::Upper, "DUE_AT", "VERYOLD"),
            (Case::Pascal, "DueAt", "VeryOld"),
            (Case::Camel, "dueAt", "veryOld"),
            (Case::Snake, "due_at", "very_old"),
            (Case::ScreamingSnake, "DUE_AT", "VERY_OLD"),
            (Case::Kebab, "due-at", "very-old"),
            (Case::ScreamingKebab, "DUE-AT", "VERY-OLD"),
        ] {
            assert_eq!(
                (case.of_field("due_at"), case.of_variant("VeryOld")),
                (field.to_owned(), variant.to_owned())
            );
        }
    }
}
