//! What an entry of an allow or deny list stands for.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// How the name of every tool of an MCP server begins.
pub(crate) const MCP_PREFIX: &str = "mcp__";

const FS: &[&str] = &["read", "write", "edit", "apply_patch"];
const RUNTIME: &[&str] = &["exec"];
const SESSIONS: &[&str] = &["session_status"];
const MEMORY: &[&str] = &["memory_search"];
const WEB: &[&str] = &["web_fetch"];
const NATIVE: [&[&str]; 5] = [FS, RUNTIME, SESSIONS, MEMORY, WEB];
/// Tools of Clawdbot that there are not here. Its files may name them.
const VACANT: [&str; 18] = [
    "agents_list",
    "browser",
    "canvas",
    "cron",
    "gateway",
    "image",
    "memory_get",
    "message",
    "nodes",
    "process",
    "sessions_history",
    "sessions_list",
    "sessions_send",
    "sessions_spawn",
    "subagents",
    "tts",
    "web_search",
    "whatsapp_login",
];

/// One entry of a list: a group, or a name in lower case that may have `*` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    Group(Group),
    Name(String),
}

/// What an entry stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// Tools that there are, or that an MCP server may have.
    Tools,
    /// A tool that only Clawdbot has.
    ToolOfOthers,
    /// A tool of an MCP server that there is not.
    ToolOfNoServer(&'a str),
    /// Nothing.
    Nothing,
}

/// Tools that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    Fs,
    Runtime,
    Sessions,
    Memory,
    Web,
    Mcp,
    Native,
    /// One of Clawdbot's of which there is no tool here.
    Vacant(&'static str),
}

impl Pattern {
    /// Whether a tool's name, in lower case, is meant.
    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Group(group) => group.has(name),
            Self::Name(pattern) => wildcard(pattern, name),
        }
    }

    /// Whether every name that begins so is meant. Only what ends in its only `*` is seen to.
    pub(super) fn matches_all_from(&self, prefix: &str) -> bool {
        match self {
            Self::Group(group) => *group == Group::Mcp && prefix.starts_with(MCP_PREFIX),
            Self::Name(pattern) => match pattern.split_once('*') {
                Some((start, "")) => prefix.starts_with(start),
                Some(_) | None => false,
            },
        }
    }

    /// Whether a name that begins so may be meant.
    pub(super) fn may_match_from(&self, prefix: &str) -> bool {
        match self {
            Self::Group(group) => *group == Group::Mcp && prefix.starts_with(MCP_PREFIX),
            Self::Name(pattern) => match pattern.split_once('*') {
                Some((start, _)) => prefix.starts_with(start) || start.starts_with(prefix),
                None => pattern.starts_with(prefix),
            },
        }
    }

    /// What is meant, where there are these MCP servers.
    pub(super) fn meaning(&self, servers: &[&str]) -> Meaning<'_> {
        let Self::Name(name) = self else { return Meaning::Tools };
        if Self::native().any(|native| self.matches(native)) {
            return Meaning::Tools;
        }
        if self.may_match_from(MCP_PREFIX) {
            let server = name.strip_prefix(MCP_PREFIX).and_then(|rest| Some(rest.split_once("__")?.0));
            return match server.filter(|server| !server.contains('*')) {
                Some(server) if !servers.iter().any(|known| known.eq_ignore_ascii_case(server)) => {
                    Meaning::ToolOfNoServer(server)
                }
                Some(_) | None => Meaning::Tools,
            };
        }
        if VACANT.iter().any(|vacant| self.matches(vacant)) { Meaning::ToolOfOthers } else { Meaning::Nothing }
    }

    /// The names of all tools that no MCP server has.
    pub(super) fn native() -> impl Iterator<Item = &'static str> {
        NATIVE.into_iter().flatten().copied()
    }
}

impl Group {
    const ALL: [(&'static str, Self); 13] = [
        ("fs", Self::Fs),
        ("runtime", Self::Runtime),
        ("sessions", Self::Sessions),
        ("memory", Self::Memory),
        ("web", Self::Web),
        ("mcp", Self::Mcp),
        ("clawdbot", Self::Native),
        ("openclaw", Self::Native),
        ("automation", Self::Vacant("automation")),
        ("media", Self::Vacant("media")),
        ("messaging", Self::Vacant("messaging")),
        ("nodes", Self::Vacant("nodes")),
        ("ui", Self::Vacant("ui")),
    ];

    pub(super) fn has(self, name: &str) -> bool {
        match self {
            Self::Fs => FS.contains(&name),
            Self::Runtime => RUNTIME.contains(&name),
            Self::Sessions => SESSIONS.contains(&name),
            Self::Memory => MEMORY.contains(&name),
            Self::Web => WEB.contains(&name),
            Self::Mcp => name.starts_with(MCP_PREFIX),
            Self::Native => !name.starts_with(MCP_PREFIX),
            Self::Vacant(_) => false,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => formatter.write_str(name),
            Self::Group(group) => {
                let named = Group::ALL.iter().find(|(_, known)| known == group);
                write!(formatter, "group:{}", named.map_or("", |(name, _)| name))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?.trim().to_ascii_lowercase();
        if let Some(name) = text.strip_prefix("group:") {
            let known = Group::ALL.iter().find(|(known, _)| *known == name);
            let unknown = || {
                let names: Vec<String> = Group::ALL.iter().map(|(known, _)| format!("group:{known}")).collect();
                de::Error::custom(format!("unknown group `{text}`; there are {}", names.join(", ")))
            };
            return known.map(|(_, group)| Self::Group(*group)).ok_or_else(unknown);
        }
        Ok(Self::Name(match text.as_str() {
            "" => return Err(de::Error::custom("the name of a tool is empty")),
            "bash" => "exec".to_owned(),
            "apply-patch" => "apply_patch".to_owned(),
            _ => text,
        }))
    }
}

/// Whether `name` is `pattern`, where each `*` stands for any text.
fn wildcard(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(start) else { return false };
    // The last part must be at the end; those before it are found from the left, each as early as can be.
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    name.ends_with(end)
}
