//! A part of the settings as a typed value, and what to say when it does not fit.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::Error;
use super::path::{KeyPath, Segment};
use super::{Document, value_error, value_kind};

/// A value that does not fit its type.
pub(super) struct Misfit {
    /// The place within the section.
    path: KeyPath,
    /// In serde's words.
    message: String,
}

/// Deserialises a section.
pub(super) fn read<T: DeserializeOwned>(section: &Value) -> Result<T, Misfit> {
    serde_path_to_error::deserialize(section).map_err(|error| Misfit {
        path: error.path().iter().filter_map(segment).collect(),
        message: error.inner().to_string(),
    })
}

impl Document {
    /// Puts a misfit in the section at a key into words, without secrets.
    pub(super) fn refusal(&self, misfit: &Misfit, section: KeyPath) -> Error {
        let path = section.join(misfit.path.clone());
        let reason = if self.could_reveal(&path, &misfit.message) {
            misfit.reason_without_value(path.find(&self.root))
        } else {
            misfit.reason()
        };
        value_error(path.to_string(), reason, self.origin(&path))
    }
}

impl Misfit {
    /// Says what was expected, and what was found.
    fn reason(&self) -> String {
        match self.mismatch() {
            Some((found, expected)) => {
                format!("expected {}, found {}", plain(expected), plain(found))
            }
            None => self.message.clone(),
        }
    }

    /// Says what was expected, and nothing about `found` but its type.
    fn reason_without_value(&self, found: Option<&Value>) -> String {
        let found = found.map_or("nothing", value_kind);
        if let Some((_, expected)) = self.mismatch() {
            return format!("expected {}, found {found}", plain(expected));
        }
        let names_no_value = ["missing field `", "unknown field `", "data did not match any variant"];
        if names_no_value.iter().any(|start| self.message.starts_with(start)) {
            return self.message.clone();
        }
        let choices = self.message.rsplit_once(", expected ");
        match choices.filter(|_| self.message.starts_with("unknown variant `")) {
            Some((_, choices)) => format!("expected {choices}, found {found}"),
            None => format!("{found} that is not valid here"),
        }
    }

    /// Splits serde's `invalid type: string "x", expected u16` into what it found and expected.
    fn mismatch(&self) -> Option<(&str, &str)> {
        let starts = ["invalid type: ", "invalid value: "];
        let rest = starts.iter().find_map(|start| self.message.strip_prefix(start))?;
        rest.rsplit_once(", expected ")
    }
}

/// Says a type's name to people who do not know Rust or serde.
fn plain(expected: &str) -> &str {
    match expected {
        "u8" => "an integer from 0 to 255",
        "u16" => "an integer from 0 to 65535",
        "u32" => "an integer from 0 to 4294967295",
        "u64" | "usize" => "an integer that is not negative",
        "i32" | "i64" => "an integer",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "sequence" | "a sequence" => "an array",
        "map" | "a map" => "an object",
        other if other.starts_with("struct ") => "an object",
        other => other,
    }
}

fn segment(segment: &serde_path_to_error::Segment) -> Option<Segment> {
    use serde_path_to_error::Segment as Step;
    match segment {
        Step::Seq { index } => Some(Segment::Index(*index)),
        Step::Map { key } => Some(Segment::Name(key.clone())),
        Step::Enum { variant } => Some(Segment::Name(variant.clone())),
        Step::Unknown => None,
    }
}
