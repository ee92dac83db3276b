//! The name of an agent, by upstream's rules.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, de};

const MAX_BYTES: usize = 64;

/// An agent's id: `[a-z0-9][a-z0-9_-]{0,63}`, always lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentId(String);

/// Why a text is not an agent's id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an agent id is 1 to 64 letters, digits, `_` or `-`, and starts with a letter or digit")]
pub struct InvalidAgentId;

impl AgentId {
    /// The id that upstream makes of any header value: lower case, each run of other characters one `-`, no `-` at
    /// either end, at most 64 characters; `None` when nothing is left.
    pub fn normalise(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(agent_id) = text.parse() {
            return Some(agent_id);
        }
        let mut id = String::with_capacity(text.len());
        for character in text.chars().flat_map(char::to_lowercase) {
            match character {
                'a'..='z' | '0'..='9' | '_' | '-' => id.push(character),
                _ if id.ends_with('-') => {}
                _ => id.push('-'),
            }
        }
        let id = id.trim_matches('-');
        id[..id.len().min(MAX_BYTES)].parse().ok()
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AgentId {
    type Err = InvalidAgentId;

    fn from_str(text: &str) -> Result<Self, InvalidAgentId> {
        let bytes = text.as_bytes();
        let is_valid = bytes.len() <= MAX_BYTES
            && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if is_valid { Ok(Self(text.to_ascii_lowercase())) } else { Err(InvalidAgentId) }
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for AgentId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_id_is_lower_cased_and_anything_else_refused() {
        let check = |text: &str, expected: Option<&str>| {
            let parsed = text.parse::<AgentId>().ok();
            assert_eq!(parsed.as_ref().map(AgentId::as_str), expected, "{text:?}");
        };
        check("main", Some("main"));
        check("My_Agent-2", Some("my_agent-2"));
        check(&"a".repeat(64), Some(&"a".repeat(64)));
        check(&"a".repeat(65), None);
        check("", None);
        check("-main", None);
        check("_main", None);
        check("bad id", None);
        check("é", None);
    }

    #[test]
    fn a_header_value_is_normalised_as_upstream_does() {
        let check = |text: &str, expected: Option<&str>| {
            let normalised = AgentId::normalise(text);
            assert_eq!(normalised.as_ref().map(AgentId::as_str), expected, "{text:?}");
        };
        check(" Beta ", Some("beta"));
        check("My Agent!", Some("my-agent"));
        check("--a  b--", Some("a-b"));
        check(&"x!".repeat(80), Some(&"x-".repeat(32)));
        check("!!!", None);
        check("", None);
    }
}
