//! `${NAME}` in the strings of a file, replaced from the environment.

use std::collections::BTreeMap;

use serde_json::Value;

use super::environment::Environment;
use super::path::{KeyPath, Segment};
use super::settings;

/// What happened to the strings of a file.
#[derive(Default)]
pub(super) struct Substitutions {
    /// The variables that each changed value refers to.
    pub(super) references: BTreeMap<KeyPath, Vec<String>>,
    /// The first variable of each value that is unset or empty; such a value stays as it was.
    pub(super) missing: BTreeMap<KeyPath, String>,
    /// Where a `${` is followed by something that cannot be a variable's name.
    pub(super) not_names: Vec<String>,
}

impl Substitutions {
    /// Replaces what is in `value`, which lies at `path`.
    pub(super) fn apply(&mut self, path: &KeyPath, value: &mut Value, environment: &Environment) {
        match value {
            Value::Object(entries) => {
                for (name, child) in entries {
                    let path = path.child(Segment::Name(name.clone()));
                    self.apply(&path, child, environment);
                }
            }
            Value::Array(items) => {
                for (index, child) in items.iter_mut().enumerate() {
                    self.apply(&path.child(Segment::Index(index)), child, environment);
                }
            }
            Value::String(text) if text.contains("${") => {
                let expansion = Expansion::of(text, environment);
                if let Some(replacement) = self.note(path, expansion) {
                    *value = replacement;
                }
            }
            Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn note(&mut self, path: &KeyPath, expansion: Expansion) -> Option<Value> {
        if expansion.has_other_name {
            self.not_names.push(path.to_string());
        }
        if let Some(name) = expansion.missing {
            self.missing.insert(path.clone(), name);
            return None;
        }
        if expansion.variables.is_empty() {
            return Some(expansion.text.into());
        }
        self.references.insert(path.clone(), expansion.variables);
        let kind = settings::find(path).map(|setting| setting.kind);
        let typed = kind.and_then(|kind| kind.read(&expansion.text));
        Some(typed.unwrap_or(expansion.text.into()))
    }
}

#[derive(Default)]
struct Expansion {
    text: String,
    variables: Vec<String>,
    missing: Option<String>,
    has_other_name: bool,
}

impl Expansion {
    fn of(template: &str, environment: &Environment) -> Self {
        let mut expansion = Self::default();
        let mut rest = template;
        while let Some(start) = rest.find("${") {
            let (before, reference) = rest.split_at(start);
            let after = &reference["${".len()..];
            if let Some(before) = before.strip_suffix('$') {
                expansion.text.push_str(before);
                expansion.text.push_str("${");
                rest = after;
                continue;
            }
            expansion.text.push_str(before);
            rest = expansion.reference(after, environment);
        }
        expansion.text.push_str(rest);
        expansion
    }

    /// Replaces the reference whose text after `${` is `after`, and returns what follows it.
    fn reference<'text>(&mut self, after: &'text str, environment: &Environment) -> &'text str {
        let Some((name, rest)) = after.split_once('}').filter(|(name, _)| is_name(name)) else {
            self.has_other_name = true;
            self.text.push_str("${");
            return after;
        };
        if let Some(value) = environment.get(name) {
            self.text.push_str(value);
        } else {
            self.missing.get_or_insert_with(|| name.to_owned());
        }
        self.variables.push(name.to_owned());
        rest
    }
}

/// Whether Clawdbot would take this for a variable's name.
fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase() || first == '_')
        && name
            .chars()
            .all(|character| character.is_ascii_uppercase() || character.is_ascii_digit() || character == '_')
}
