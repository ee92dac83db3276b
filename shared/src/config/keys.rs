//! Which keys of a file are ours, which are Clawdbot's, and which are mistakes.

use std::path::Path;

use serde_json::Value;

use super::error::{Error, Origin};
use super::path::{KeyPath, Part, Segment, children, parts};
use super::settings::SETTINGS;
use super::upstream::{HARMLESS, PROTECTIVE};
use super::{value_error, value_kind};

/// Checks every key of a file and returns warnings about those that have no effect.
pub(super) fn check(root: &Value, file: &Path) -> Result<Vec<String>, Error> {
    let mut check = Check { file, harmless: Vec::new(), protective: Vec::new(), unknown: Vec::new() };
    check.value(&KeyPath::default(), root, &all_patterns())?;
    Ok(check.warnings())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Ours,
    Harmless,
    Protective,
}

/// A pattern of which a key has matched the beginning.
#[derive(Clone)]
struct Candidate {
    owner: Owner,
    rest: Vec<Part>,
}

struct Check<'file> {
    file: &'file Path,
    harmless: Vec<String>,
    protective: Vec<String>,
    unknown: Vec<String>,
}

impl Check<'_> {
    fn value(&mut self, path: &KeyPath, value: &Value, candidates: &[Candidate]) -> Result<(), Error> {
        let (complete, open): (Vec<_>, Vec<_>) =
            candidates.iter().cloned().partition(|candidate| candidate.rest.is_empty());
        match complete.first().map(|candidate| candidate.owner) {
            Some(Owner::Harmless) => self.harmless.push(path.to_string()),
            Some(Owner::Protective) => self.protective.push(path.to_string()),
            Some(Owner::Ours) | None => {}
        }
        let takes_indices = open.iter().any(|candidate| candidate.rest.first() == Some(&Part::AnyIndex));
        if open.is_empty() {
            return Ok(());
        }
        let expected = match (value, takes_indices) {
            (Value::Object(entries), false) => {
                return entries.iter().try_for_each(|(name, child)| self.entry(path, name, child, &open));
            }
            (Value::Array(_), true) => {
                return children(value).try_for_each(|(segment, child)| {
                    let below = advance(&open, &segment);
                    self.value(&path.child(segment), child, &below)
                });
            }
            (_, true) => "an array",
            (_, false) => "an object",
        };
        // A key such as `agents.defaults.model` is a setting itself and holds others.
        if !complete.is_empty() {
            return Ok(());
        }
        let reason = format!("expected {expected}, found {}", value_kind(value));
        Err(value_error(path.to_string(), reason, self.origin()))
    }

    fn entry(&mut self, parent: &KeyPath, name: &str, value: &Value, open: &[Candidate]) -> Result<(), Error> {
        let segment = Segment::Name(name.to_owned());
        let below = advance(open, &segment);
        let path = parent.child(segment);
        if !below.is_empty() {
            return self.value(&path, value, &below);
        }
        if let Some(suggestion) = suggestion(name, open) {
            return Err(Error::UnknownKey {
                key: path.to_string(),
                suggestion: parent.child(Segment::Name(suggestion.to_owned())).to_string(),
                origin: self.origin(),
            });
        }
        self.unknown.push(path.to_string());
        Ok(())
    }

    fn origin(&self) -> Origin {
        Origin::File(self.file.to_owned())
    }

    fn warnings(self) -> Vec<String> {
        let protection = if self.protective.is_empty() {
            String::new()
        } else {
            format!("; nothing enforces {}", listed(&self.protective))
        };
        let without_effect = [self.protective, self.harmless].concat();
        let file = self.file.display();
        let mut warnings = Vec::new();
        if !without_effect.is_empty() {
            let keys = listed(&without_effect);
            warnings.push(format!("{file}: keys of Clawdbot without effect here: {keys}{protection}"));
        }
        if !self.unknown.is_empty() {
            let keys = listed(&self.unknown);
            warnings.push(format!("{file}: unknown keys, ignored: {keys}"));
        }
        warnings
    }
}

fn listed(keys: &[String]) -> String {
    let mut keys = keys.to_vec();
    keys.sort();
    keys.join(", ")
}

fn all_patterns() -> Vec<Candidate> {
    let candidate = |owner| move |pattern| Candidate { owner, rest: parts(pattern).collect() };
    let ours = SETTINGS.iter().map(|setting| setting.key).map(candidate(Owner::Ours));
    let harmless = HARMLESS.iter().copied().map(candidate(Owner::Harmless));
    let protective = PROTECTIVE.iter().copied().map(candidate(Owner::Protective));
    ours.chain(harmless).chain(protective).collect()
}

fn advance(candidates: &[Candidate], segment: &Segment) -> Vec<Candidate> {
    let step = |candidate: &Candidate| {
        let (part, rest) = candidate.rest.split_first()?;
        part.accepts(segment).then(|| Candidate { owner: candidate.owner, rest: rest.to_vec() })
    };
    candidates.iter().filter_map(step).collect()
}

/// Returns the key of ours at this level that was probably meant, unless one of Clawdbot's is nearer.
fn suggestion(name: &str, open: &[Candidate]) -> Option<&'static str> {
    let (distance, nearest, owner) = open
        .iter()
        .filter_map(|candidate| match candidate.rest.first()? {
            Part::Name(known) => Some((distance(name, known), *known, candidate.owner)),
            Part::AnyName | Part::AnyIndex => None,
        })
        .min_by_key(|(distance, _, owner)| (*distance, *owner != Owner::Ours))?;
    let close = distance <= (name.len().max(nearest.len()) / 3).max(1);
    (close && owner == Owner::Ours).then_some(nearest)
}

/// Counts the edits between two names, where neither case nor separators matter.
fn distance(left: &str, right: &str) -> usize {
    let folded = |name: &str| name.replace(['_', '-'], "").to_lowercase();
    strsim::damerau_levenshtein(&folded(left), &folded(right))
}
