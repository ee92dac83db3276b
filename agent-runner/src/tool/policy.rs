//! Which tools an agent may use with a model: steps as in Clawdbot, each of which can only take tools away.

mod check;
mod pattern;

use std::collections::BTreeMap;

use serde::Deserialize;

use self::pattern::{MCP_PREFIX, Pattern};
use crate::agents::ModelName;

pub(crate) use check::Known;

/// What one agent may use, before its model is known.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    profile: Option<Profile>,
    also_allow: Vec<Pattern>,
    global: Scope,
    own: Scope,
}

/// A `tools` block: rules for every model, and more for the models of a provider.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Scope {
    profile: Option<Profile>,
    also_allow: Option<Vec<Pattern>>,
    allow: Vec<Pattern>,
    deny: Vec<Pattern>,
    by_provider: BTreeMap<String, Rules>,
}

/// The rules for the models of one provider, or for one model.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Rules {
    profile: Option<Profile>,
    also_allow: Option<Vec<Pattern>>,
    allow: Vec<Pattern>,
    deny: Vec<Pattern>,
}

/// A set of tools to start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Profile {
    Minimal,
    Coding,
    Messaging,
    Full,
}

/// Which of the rules by provider hold for a model. There are only as many as the configuration has rules, however many
/// models there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Variant {
    global: Option<String>,
    own: Option<String>,
}

/// What an agent may use with a model.
#[derive(Debug)]
pub(crate) struct Filter<'a> {
    profiles: [Option<(Profile, &'a [Pattern])>; 2],
    /// What each step allows and denies.
    lists: Vec<(&'a [Pattern], &'a [Pattern])>,
}

impl Policy {
    /// The policy of an agent, from the block for all agents and its own. Without any block it allows nothing, so that
    /// models which know no tools keep working.
    pub(crate) fn new(global: Option<&Scope>, own: Option<&Scope>) -> Self {
        if global.is_none() && own.is_none() {
            return Self::default();
        }
        let (global, own) = (global.cloned().unwrap_or_default(), own.cloned().unwrap_or_default());
        let also_allow = own.also_allow.clone().or_else(|| global.also_allow.clone()).unwrap_or_default();
        Self { profile: Some(own.profile.or(global.profile).unwrap_or(Profile::Minimal)), also_allow, global, own }
    }

    /// Whether no tool can pass, whatever the model.
    pub(crate) fn allows_nothing(&self) -> bool {
        self.profile.is_none()
    }

    /// The rules by provider that hold for a model.
    pub(crate) fn variant(&self, model: &ModelName) -> Variant {
        Variant { global: self.global.key_for(model), own: self.own.key_for(model) }
    }

    /// What passes with a model of this variant.
    pub(crate) fn filter(&self, variant: &Variant) -> Filter<'_> {
        let global = variant.global.as_ref().and_then(|key| self.global.by_provider.get(key));
        let own = variant.own.as_ref().and_then(|key| self.own.by_provider.get(key));
        let of_provider = own.and_then(|rules| rules.profile).or_else(|| global.and_then(|rules| rules.profile));
        let also_allow = own.and_then(|rules| rules.also_allow.as_deref());
        let also_allow = also_allow.or_else(|| global.and_then(|rules| rules.also_allow.as_deref()));
        let mut lists = vec![(&self.global.allow[..], &self.global.deny[..])];
        lists.extend(global.map(|rules| (&rules.allow[..], &rules.deny[..])));
        lists.push((&self.own.allow, &self.own.deny));
        lists.extend(own.map(|rules| (&rules.allow[..], &rules.deny[..])));
        let profiles = [
            self.profile.map(|profile| (profile, &self.also_allow[..])),
            of_provider.map(|profile| (profile, also_allow.unwrap_or_default())),
        ];
        Filter { profiles, lists }
    }
}

impl Scope {
    /// The key of the rules for a model: that of the model itself is nearer than that of its provider.
    fn key_for(&self, model: &ModelName) -> Option<String> {
        let named = |wanted: &str| self.by_provider.keys().find(|key| key.trim().eq_ignore_ascii_case(wanted)).cloned();
        named(&model.to_string()).or_else(|| named(&model.provider))
    }
}

impl Filter<'_> {
    /// Whether the tool of this name may be used.
    pub(crate) fn allows(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let in_profiles =
            self.profiles.iter().flatten().all(|(profile, also)| profile.has(&name) || allowed(also, &name));
        let in_lists = self.lists.iter().all(|(allow, deny)| {
            !deny.iter().any(|pattern| pattern.matches(&name)) && (allow.is_empty() || allowed(allow, &name))
        });
        self.profiles[0].is_some() && in_profiles && in_lists
    }

    /// Whether some tool of an MCP server may be used, as far as that can be told before its tools are known.
    pub(crate) fn may_allow_server(&self, server: &str) -> bool {
        let prefix = format!("{MCP_PREFIX}{server}__").to_ascii_lowercase();
        let in_lists = self.lists.iter().all(|(allow, deny)| {
            !deny.iter().any(|pattern| pattern.matches_all_from(&prefix))
                && (allow.is_empty() || allow.iter().any(|pattern| pattern.may_match_from(&prefix)))
        });
        self.profiles[0].is_some() && in_lists
    }
}

impl Profile {
    /// MCP tools are in every profile: the operator listed their server on purpose.
    fn has(self, name: &str) -> bool {
        let groups: &[pattern::Group] = match self {
            Self::Minimal | Self::Messaging => &[pattern::Group::Sessions],
            Self::Coding => {
                &[pattern::Group::Fs, pattern::Group::Runtime, pattern::Group::Sessions, pattern::Group::Memory]
            }
            Self::Full => return true,
        };
        name.starts_with(MCP_PREFIX) || groups.iter().any(|group| group.has(name))
    }
}

/// Whoever may run commands may patch files too.
fn allowed(patterns: &[Pattern], name: &str) -> bool {
    let named = |name: &str| patterns.iter().any(|pattern| pattern.matches(name));
    named(name) || (name == "apply_patch" && named("exec"))
}

#[cfg(test)]
mod tests;
