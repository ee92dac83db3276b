//! Whose sessions: the part of a session's key that keeps the sessions of one token apart from those of another.

use std::{fmt, str::FromStr};

use crate::AgentId;

/// Starts a session key that has a namespace.
const MARK: char = '@';

/// A namespace of session keys: the main one, or one with a name of the same form as an agent's id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Namespace(String);

/// Why a text does not name a namespace.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to 64 letters, digits, `_` or `-`, and starts with a letter or digit")]
pub struct InvalidNamespace;

impl Namespace {
    /// The main namespace, whose keys do not name it.
    pub const MAIN: Self = Self(String::new());

    /// Takes a session key apart into its namespace's name, empty for the main one, and the rest.
    pub fn split(session_key: &str) -> (&str, &str) {
        let named = session_key.strip_prefix(MARK).and_then(|key| key.split_once(':'));
        match named.filter(|(name, _)| name.parse::<Self>().is_ok_and(|namespace| namespace.0 == *name)) {
            Some((name, rest)) => (name, rest),
            None => ("", session_key),
        }
    }

    /// Puts a key that names no namespace into this one.
    pub fn key(&self, rest: &str) -> String {
        if self.is_main() { rest.to_owned() } else { format!("{MARK}{self}:{rest}") }
    }

    /// A session's key as it is known in this namespace: without the namespace's name if it is in it, and in full
    /// elsewhere.
    pub fn view<'key>(&self, session_key: &'key str) -> &'key str {
        let (name, rest) = Self::split(session_key);
        if name == self.as_str() { rest } else { session_key }
    }

    /// Whether this is the main namespace.
    pub fn is_main(&self) -> bool {
        self.0.is_empty()
    }

    /// The name; empty for the main one.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Namespace {
    type Err = InvalidNamespace;

    fn from_str(name: &str) -> Result<Self, InvalidNamespace> {
        name.parse::<AgentId>().map(|name| Self(name.as_str().to_owned())).map_err(|_| InvalidNamespace)
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_taken_apart_into_what_it_was_made_of() {
        let check = |key: &str, expected: (&str, &str)| assert_eq!(Namespace::split(key), expected, "{key}");
        check("agent:main:x", ("", "agent:main:x"));
        check("@bob:agent:main:x", ("bob", "agent:main:x"));
        check("@bob", ("", "@bob"));
        check("@:agent:main:x", ("", "@:agent:main:x"));
        check("@Bob:agent:main:x", ("", "@Bob:agent:main:x"));
        check("@b b:agent:main:x", ("", "@b b:agent:main:x"));

        let bob: Namespace = "Bob".parse().expect("a name");
        assert_eq!(Namespace::split(&bob.key("agent:main:x")), ("bob", "agent:main:x"));
        assert_eq!(Namespace::split(&Namespace::MAIN.key("agent:main:x")), ("", "agent:main:x"));
        assert_eq!("".parse::<Namespace>(), Err(InvalidNamespace));
    }
}
