//! The place of a value in the settings, and patterns for such places.

use std::fmt;

use serde_json::Value;

/// The place of one value, such as `agents.list[0].id`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyPath(Vec<Segment>);

/// One step of a [`KeyPath`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Segment {
    Name(String),
    Index(usize),
}

/// One step of a pattern: `name`, `<any name>` or `[]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Name(&'static str),
    AnyName,
    AnyIndex,
}

impl KeyPath {
    /// Splits a path of plain names, such as `services.sessionStore`.
    pub(super) fn of_names(dotted: &str) -> Self {
        dotted.split('.').map(|name| Segment::Name(name.into())).collect()
    }

    pub(super) fn child(&self, segment: Segment) -> Self {
        self.0.iter().cloned().chain([segment]).collect()
    }

    pub(super) fn join(mut self, rest: Self) -> Self {
        self.0.extend(rest.0);
        self
    }

    /// Whether this is `ancestor` or lies below it.
    pub(super) fn is_within(&self, ancestor: &Self) -> bool {
        self.0.starts_with(&ancestor.0)
    }

    /// Whether one of the two lies within the other.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.is_within(other) || other.is_within(self)
    }

    /// Whether this is a place that `pattern` describes, or lies below one.
    pub(super) fn is_within_pattern(&self, pattern: &'static str) -> bool {
        let mut segments = self.0.iter();
        parts(pattern).all(|part| segments.next().is_some_and(|segment| part.accepts(segment)))
    }

    /// Whether this is a place that `pattern` describes.
    pub(super) fn matches(&self, pattern: &'static str) -> bool {
        self.0.len() == parts(pattern).count() && self.is_within_pattern(pattern)
    }

    /// Whether places that `pattern` describes lie below this one.
    pub(super) fn is_above_pattern(&self, pattern: &'static str) -> bool {
        let mut parts = parts(pattern);
        self.0.iter().all(|segment| parts.next().is_some_and(|part| part.accepts(segment))) && parts.next().is_some()
    }

    /// Returns the value at this place.
    pub(super) fn find<'value>(&self, root: &'value Value) -> Option<&'value Value> {
        self.0.iter().try_fold(root, |value, segment| segment.of(value))
    }
}

impl Segment {
    /// Returns what an object or an array holds at this step.
    pub(super) fn of<'value>(&self, value: &'value Value) -> Option<&'value Value> {
        match self {
            Self::Name(name) => value.get(name),
            Self::Index(index) => value.get(index),
        }
    }
}

impl FromIterator<Segment> for KeyPath {
    fn from_iter<Segments: IntoIterator<Item = Segment>>(segments: Segments) -> Self {
        Self(segments.into_iter().collect())
    }
}

/// Names that a dot would make ambiguous are shown in brackets: `providers["gpt-4.1"]`.
impl fmt::Display for KeyPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("the top level");
        }
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(formatter, "[{index}]")?,
                Segment::Name(name) if !is_plain(name) => write!(formatter, "[{name:?}]")?,
                Segment::Name(name) if position == 0 => formatter.write_str(name)?,
                Segment::Name(name) => write!(formatter, ".{name}")?,
            }
        }
        Ok(())
    }
}

impl Part {
    pub(super) fn accepts(self, segment: &Segment) -> bool {
        match (self, segment) {
            (Self::Name(expected), Segment::Name(name)) => expected == name,
            (Self::AnyName, Segment::Name(_)) | (Self::AnyIndex, Segment::Index(_)) => true,
            (Self::Name(_) | Self::AnyName, Segment::Index(_)) | (Self::AnyIndex, Segment::Name(_)) => false,
        }
    }
}

/// Splits a pattern such as `models.providers.<id>.models[].id`.
pub(super) fn parts(pattern: &'static str) -> impl Iterator<Item = Part> {
    pattern.split('.').flat_map(|step| {
        let (name, index) = match step.strip_suffix("[]") {
            Some(name) => (name, Some(Part::AnyIndex)),
            None => (step, None),
        };
        let name = if name.starts_with('<') { Part::AnyName } else { Part::Name(name) };
        [name].into_iter().chain(index)
    })
}

/// Returns what an object or an array holds.
pub(super) fn children(value: &Value) -> impl Iterator<Item = (Segment, &Value)> {
    let entries = value.as_object().into_iter().flatten();
    let items = value.as_array().into_iter().flatten().enumerate();
    entries
        .map(|(name, child)| (Segment::Name(name.clone()), child))
        .chain(items.map(|(index, child)| (Segment::Index(index), child)))
}

fn is_plain(name: &str) -> bool {
    let plain = |character: char| character.is_alphanumeric() || "_-$/".contains(character);
    !name.is_empty() && name.chars().all(plain)
}
