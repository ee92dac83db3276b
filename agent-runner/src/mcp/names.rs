//! What the tools of a server are called towards a model, which takes `[a-zA-Z0-9_-]{1,64}` only.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

const MAX_BYTES: usize = 64;
/// How many digits of a name's hash tell it from others that were cut or changed to the same.
const HASH_DIGITS: usize = 8;

/// The names of one server's tools, each made to fit and unlike those before it.
pub(super) struct Names<'a> {
    server: &'a str,
    taken: HashSet<String>,
}

impl<'a> Names<'a> {
    pub(super) fn new(server: &'a str) -> Self {
        Self { server, taken: HashSet::new() }
    }

    /// The name of the next tool: `mcp__<server>__<tool>`, if it fits.
    pub(super) fn of(&mut self, tool: &str) -> String {
        let fitting = |character: char| match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' => character,
            _ => '_',
        };
        let mut name: String = format!("mcp__{}__{tool}", self.server).chars().map(fitting).collect();
        if name.len() > MAX_BYTES {
            name = with_suffix(&name, &hash(tool));
        }
        // Case does not tell names apart, since the policy does not heed it.
        if !self.taken.insert(name.to_ascii_lowercase()) {
            let suffixes = std::iter::once(hash(tool)).chain((2..).map(|number| number.to_string()));
            name = suffixes
                .map(|suffix| with_suffix(&name, &suffix))
                .find(|name| self.taken.insert(name.to_ascii_lowercase()))
                .expect("there are more numbers than names");
        }
        name
    }
}

/// The name with `_<suffix>` at its end, cut before it as far as needed. The name is ASCII.
fn with_suffix(name: &str, suffix: &str) -> String {
    let kept = name.len().min(MAX_BYTES - 1 - suffix.len());
    format!("{}_{suffix}", &name[..kept])
}

fn hash(text: &str) -> String {
    let digest = Sha256::digest(text);
    digest
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .take(HASH_DIGITS)
        .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn for_model(server: &str, tools: &[&str]) -> Vec<String> {
        let mut names = Names::new(server);
        tools.iter().map(|tool| names.of(tool)).collect()
    }

    #[test]
    fn names_fit_and_are_told_apart() {
        let long = "x".repeat(70);
        let longer = format!("{long}y");
        let names = for_model("s", &["read_file", "read.file", "read file", "read.file", "", "ü", &long, &longer]);
        assert_eq!(
            names[..6],
            [
                "mcp__s__read_file",
                "mcp__s__read_file_dd32cdf5",
                "mcp__s__read_file_1214148e",
                "mcp__s__read_file_2",
                "mcp__s__",
                "mcp__s___"
            ]
        );
        for name in &names {
            assert!(name.len() <= MAX_BYTES, "{name}");
        }
        assert_eq!(names[6].len(), MAX_BYTES);
        assert_ne!(names[6], names[7]);
        assert_eq!(for_model("s", &["Echo", "echo"])[0], "mcp__s__Echo");
        assert_ne!(for_model("s", &["Echo", "echo"])[1], "mcp__s__echo");
    }
}
