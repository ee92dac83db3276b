//! JSON5 text to a tree, without what the format allows and a configuration should not: a key that
//! is set twice, nesting without a bound, and Clawdbot's `$include`.

use std::fmt;
use std::path::Path;

use json5::Position;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::error::Error;

/// Deeper text could exhaust the stack.
const DEEPEST_NESTING: usize = 64;

/// Parses the text of the file at `path`.
pub(super) fn parse(text: &str, path: &Path) -> Result<Value, Error> {
    let error = match json5::from_str(text) {
        Ok(Root(value)) => return Ok(value),
        Err(error) => error,
    };
    let reason = error.code().map_or_else(|| message(&error), |code| code.to_string());
    let (reason, position) = if reason.starts_with("EOF") {
        let end = Position::from_offset(text.len(), text);
        ("unexpected end of the file".to_owned(), end)
    } else {
        let start = Position { line: 0, column: 0 };
        (reason, error.position().unwrap_or(start))
    };
    Err(Error::Syntax { path: path.to_owned(), line: position.line + 1, column: position.column + 1, reason })
}

/// Returns what an error of ours or of the standard library says, without the position.
fn message(error: &json5::Error) -> String {
    let text = error.to_string();
    match error.position() {
        Some(position) => text.replace(&format!(" at {position}"), ""),
        None => text,
    }
}

struct Root(Value);

impl<'de> Deserialize<'de> for Root {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Tree { depth: 0 }.deserialize(deserializer).map(Self)
    }
}

#[derive(Clone, Copy)]
struct Tree {
    depth: usize,
}

impl Tree {
    fn below<E: de::Error>(self) -> Result<Self, E> {
        if self.depth == DEEPEST_NESTING {
            return Err(E::custom(format!("nested more than {DEEPEST_NESTING} levels deep")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Tree {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON5 value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(below)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut entries = Map::new();
        while let Some(name) = access.next_key_seed(NewName(&entries))? {
            entries.insert(name, access.next_value_seed(below)?);
        }
        Ok(Value::Object(entries))
    }
}

/// The name of an entry that the object does not have yet.
struct NewName<'object>(&'object Map<String, Value>);

impl<'de> DeserializeSeed<'de> for NewName<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NewName<'_> {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<String, E> {
        // Ignoring it could drop the settings that protect the gateway.
        if name == "$include" {
            return Err(E::custom("$include is not supported; move the included settings into this file"));
        }
        if self.0.contains_key(name) {
            return Err(E::custom(format!("the key {name:?} is set twice")));
        }
        Ok(name.to_owned())
    }
}
