//! What is wrong with a `tools` block: a name that stands for nothing would else open what it was to close.

use super::{
    Scope,
    pattern::{Meaning, Pattern},
};

/// What the rest of the configuration has names for.
pub(crate) struct Known<'a> {
    /// The ids of the model providers.
    pub(crate) providers: Vec<&'a str>,
    /// The MCP servers, those too that are switched off.
    pub(crate) servers: Vec<&'a str>,
}

/// An entry that cannot be meant so.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misnamed {
    /// Its place.
    pub(crate) key: String,
    pub(crate) reason: String,
}

/// What a list does with the tools that it names.
#[derive(Clone, Copy)]
enum List {
    Allow,
    AlsoAllow,
    Deny,
}

impl Scope {
    /// Refuses what names no tool at all, and returns what to tell the operator besides. `key` is the block's place.
    pub(crate) fn check(&self, key: &str, known: &Known<'_>) -> Result<Vec<String>, Misnamed> {
        let also = |list: &Option<Vec<Pattern>>| list.clone().unwrap_or_default();
        let mut warnings = lists(key, known, &self.allow, &also(&self.also_allow), &self.deny)?;
        for (id, rules) in &self.by_provider {
            let key = format!("{key}.byProvider.{id}");
            let provider = id.split_once('/').map_or(&**id, |(provider, _)| provider).trim();
            if !known.providers.iter().any(|known| known.eq_ignore_ascii_case(provider)) {
                warnings.push(format!("{key}: without effect, since there is no model provider `{provider}`"));
            }
            warnings.extend(lists(&key, known, &rules.allow, &also(&rules.also_allow), &rules.deny)?);
        }
        Ok(warnings)
    }
}

fn lists(
    key: &str,
    known: &Known<'_>,
    allow: &[Pattern],
    also_allow: &[Pattern],
    deny: &[Pattern],
) -> Result<Vec<String>, Misnamed> {
    let mut warnings = Vec::new();
    for (name, list, patterns) in
        [("allow", List::Allow, allow), ("alsoAllow", List::AlsoAllow, also_allow), ("deny", List::Deny, deny)]
    {
        for (index, pattern) in patterns.iter().enumerate() {
            let key = format!("{key}.{name}[{index}]");
            match (pattern.meaning(&known.servers), list) {
                (Meaning::Tools, _) | (Meaning::ToolOfOthers, List::Deny) => {}
                (Meaning::ToolOfOthers, List::Allow | List::AlsoAllow) => {
                    warnings.push(format!("{key}: without effect, since there is no `{pattern}` here"));
                }
                (Meaning::ToolOfNoServer(server), _) => {
                    warnings.push(format!("{key}: without effect, since there is no MCP server `{server}`"));
                }
                (Meaning::Nothing, _) => {
                    let tools = Pattern::native().collect::<Vec<_>>().join(", ");
                    let reason = format!("there is no tool `{pattern}`; there are {tools} and `mcp__<server>__<tool>`");
                    return Err(Misnamed { key, reason });
                }
            }
        }
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(block: Value) -> Result<Vec<String>, String> {
        let scope: Scope = serde_json::from_value(block).expect("a valid block");
        let known = Known { providers: vec!["near"], servers: vec!["Files"] };
        scope.check("tools", &known).map_err(|Misnamed { key, reason }| format!("{key}: {reason}"))
    }

    #[test]
    fn a_name_that_stands_for_nothing_is_refused() {
        let refused = |block: Value, expected: &str| {
            let error = check(block).expect_err("it is misspelt");
            assert!(error.starts_with(expected), "{error}");
        };
        let expected = "tools.deny[1]: there is no tool `web_fecth`; there are read, write, ";
        refused(json!({"deny": ["exec", "web_fecth"]}), expected);
        refused(json!({"allow": ["reed"]}), "tools.allow[0]: there is no tool `reed`");
        refused(json!({"alsoAllow": ["exce*"]}), "tools.alsoAllow[0]: there is no tool `exce*`");
        let of_provider = json!({"byProvider": {"near": {"deny": ["mcp"]}}});
        refused(of_provider, "tools.byProvider.near.deny[0]: there is no tool `mcp`");
    }

    #[test]
    fn what_has_no_effect_is_told() {
        let told = |block: Value, expected: &[&str]| assert_eq!(check(block).expect("valid"), expected);
        told(json!({"allow": ["Read", "mcp__files__x", "*", "group:ui", "bash"], "deny": ["browser", "mcp*"]}), &[]);
        told(json!({"byProvider": {"Near": {}, "near/m/1": {}}}), &[]);
        told(json!({"allow": ["browser"]}), &["tools.allow[0]: without effect, since there is no `browser` here"]);
        told(
            json!({"alsoAllow": ["cron"], "deny": ["mcp__fils__*"], "byProvider": {"neer/m": {"deny": ["read"]}}}),
            &[
                "tools.alsoAllow[0]: without effect, since there is no `cron` here",
                "tools.deny[0]: without effect, since there is no MCP server `fils`",
                "tools.byProvider.neer/m: without effect, since there is no model provider `neer`",
            ],
        );
    }
}
