//! What differs between two states of the settings, by key and never by value.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use super::Document;
use super::path::{KeyPath, Segment, children};
use super::settings::{self, SETTINGS};

/// A setting that is other than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    key: KeyPath,
    /// Whether a process that runs keeps the value it started with.
    pub needs_restart: bool,
}

impl Change {
    /// Whether the setting lies in one of these sections, such as `services.sessionStore`.
    pub fn is_in(&self, sections: &[&str]) -> bool {
        sections.iter().any(|section| self.key.overlaps(&KeyPath::of_names(section)))
    }
}

/// Shows the key.
impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(formatter)
    }
}

impl Document {
    /// Returns the settings of ours that `newer` sets otherwise, in the order of their keys.
    pub fn changes(&self, newer: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        compare(&KeyPath::default(), Some(&self.root), Some(&newer.root), &mut changes);
        changes
    }
}

fn compare(path: &KeyPath, old: Option<&Value>, new: Option<&Value>, changes: &mut Vec<Change>) {
    if old == new {
        return;
    }
    let setting = settings::find(path);
    let is_divided = SETTINGS.iter().any(|setting| path.is_above_pattern(setting.key));
    let segments: BTreeSet<Segment> =
        [old, new].into_iter().flatten().flat_map(children).map(|(segment, _)| segment).collect();
    if is_divided && !segments.is_empty() {
        for segment in segments {
            let (old, new) = (old.and_then(|old| segment.of(old)), new.and_then(|new| segment.of(new)));
            compare(&path.child(segment), old, new, changes);
        }
    } else if setting.is_some() || is_divided {
        // An empty object can mean something else than none.
        let needs_restart = setting.is_some_and(|setting| setting.needs_restart);
        changes.push(Change { key: path.clone(), needs_restart });
    }
}
