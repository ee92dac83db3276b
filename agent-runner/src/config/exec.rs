//! Which programs each agent may run. A file that has Clawdbot guard them in a way that is none of ours is refused: left
//! out, the guard would be taken for one that holds.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use shared::{AgentId, config::Document};

use super::{Error, invalid};
use crate::{agents::Agents, tool::builtin::exec::Security};

#[derive(Default, Deserialize)]
#[serde(default)]
struct AgentsSection {
    defaults: DefaultsSection,
    list: Vec<ListedAgent>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DefaultsSection {
    sandbox: Value,
}

#[derive(Deserialize)]
struct ListedAgent {
    id: AgentId,
    #[serde(default)]
    sandbox: Value,
    tools: Option<ToolsSection>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ToolsSection {
    exec: ExecSection,
}

/// What of `exec` is for one agent as for all of them.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ExecSection {
    security: Option<Security>,
    ask: Value,
    host: Value,
    safe_bins: Value,
}

/// Returns what each agent may run: what all may, or less.
pub(super) fn load(document: &Document, agents: &Agents) -> Result<HashMap<AgentId, Security>, Error> {
    let global: ExecSection = document.section("tools.exec")?;
    let AgentsSection { defaults, list } = document.section("agents")?;
    let mut securities = HashMap::new();
    for (index, ListedAgent { id, sandbox, tools }) in list.into_iter().enumerate() {
        let (key, own) = (format!("agents.list[{index}]"), tools.unwrap_or_default().exec);
        let (most, wanted) = (global.security.unwrap_or_default(), own.security);
        if wanted.is_some_and(|wanted| wanted > most) {
            let reason = "allows more than `tools.exec.security`, which is the most that an agent can have";
            return Err(invalid(format!("{key}.tools.exec.security"), reason));
        }
        let security = wanted.unwrap_or(most);
        if security != Security::Deny {
            own.refuse_guards(&format!("{key}.tools.exec"))?;
            if !own.safe_bins.is_null() {
                let reason = "is not honoured here: one list is for all agents; remove it, or set `security` to `deny`";
                return Err(invalid(format!("{key}.tools.exec.safeBins"), reason));
            }
            let of_defaults = ("agents.defaults".to_owned(), &defaults.sandbox);
            refuse_sandbox(if sandbox["mode"].is_null() { of_defaults } else { (key, &sandbox) })?;
        }
        securities.insert(id, security);
    }
    let rest = agents.iter().map(|agent| &agent.id).filter(|id| !securities.contains_key(id)).cloned();
    let rest: Vec<AgentId> = rest.collect();
    let is_used = |security: &Security| *security != Security::Deny;
    let of_rest = global.security.unwrap_or_default();
    if securities.values().any(is_used) || (!rest.is_empty() && is_used(&of_rest)) {
        global.refuse_guards("tools.exec")?;
    }
    if !rest.is_empty() && is_used(&of_rest) {
        refuse_sandbox(("agents.defaults".to_owned(), &defaults.sandbox))?;
    }
    securities.extend(rest.into_iter().map(|id| (id, of_rest)));
    Ok(securities)
}

impl ExecSection {
    fn refuse_guards(&self, key: &str) -> Result<(), Error> {
        let refuse = |name: &str, value: &Value, harmless: &str, what: &str| {
            if value.is_null() || value == harmless {
                return Ok(());
            }
            let reason = format!("{what}; set it to `{harmless}`, or `{key}.security` to `deny`");
            Err(invalid(format!("{key}.{name}"), &reason))
        };
        refuse("ask", &self.ask, "off", "nobody is asked here before a program is run")?;
        refuse("host", &self.host, "gateway", "programs are run by the gateway here, in no sandbox")
    }
}

fn refuse_sandbox((key, sandbox): (String, &Value)) -> Result<(), Error> {
    let mode = &sandbox["mode"];
    if mode.is_null() || mode == "off" {
        return Ok(());
    }
    let reason = "programs are run in no sandbox here; set it to `off`, or `tools.exec.security` to `deny`";
    Err(invalid(format!("{key}.sandbox.mode"), reason))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use shared::config::Sources;

    use super::*;
    use crate::agents::Agent;

    /// What the agents `main` and `second` may run.
    fn load_text(text: &str) -> Result<[Security; 2], String> {
        let agents = Agents::new(["main", "second"].map(Agent::called).into(), 0).expect("two agents");
        let document = Document::from_text(text, Path::new("clawdbot.json"), &Sources::default()).expect("is readable");
        let securities = load(&document, &agents).map_err(|error| error.to_string())?;
        Ok(["main", "second"].map(|id| securities[&id.parse::<AgentId>().expect("an id")]))
    }

    #[test]
    fn an_agent_may_run_what_all_may_or_less() {
        let check = |text: &str, expected| assert_eq!(load_text(text), Ok(expected), "{text}");
        check("{}", [Security::Deny; 2]);
        check("{tools: {exec: {security: 'full'}}}", [Security::Full; 2]);
        let own =
            "{tools: {exec: {security: 'full'}}, agents: {list: [{id: 'second', tools: {exec: {security: 'X'}}}]}}";
        check(&own.replace('X', "deny"), [Security::Full, Security::Deny]);
        check(&own.replace('X', "allowlist"), [Security::Full, Security::Allowlist]);
        let error = load_text(&own.replace("'full'", "'deny'").replace('X', "allowlist")).expect_err("is more");
        assert!(error.starts_with("agents.list[0].tools.exec.security: allows more than"), "{error}");
    }

    #[test]
    fn a_guard_that_is_none_here_is_refused_where_something_may_be_run() {
        let all =
            "{tools: {exec: {security: 'full', GLOBAL}}, agents: {defaults: {DEFAULTS}, list: [{id: 'main', OWN}]}}";
        let text = |place: &str, guard: &str| {
            let rest = ["GLOBAL", "DEFAULTS", "OWN"].iter().filter(|other| **other != place);
            rest.fold(all.replace(place, guard), |text, other| text.replace(other, ""))
        };
        for (place, guard, key) in [
            ("GLOBAL", "ask: 'on-miss'", "tools.exec.ask"),
            ("GLOBAL", "ask: 'always'", "tools.exec.ask"),
            ("GLOBAL", "host: 'sandbox'", "tools.exec.host"),
            ("GLOBAL", "host: 'node'", "tools.exec.host"),
            ("DEFAULTS", "sandbox: {mode: 'all'}", "agents.defaults.sandbox.mode"),
            ("OWN", "sandbox: {mode: 'non-main'}", "agents.list[0].sandbox.mode"),
            ("OWN", "tools: {exec: {ask: 'always'}}", "agents.list[0].tools.exec.ask"),
            ("OWN", "tools: {exec: {host: 'sandbox'}}", "agents.list[0].tools.exec.host"),
            ("OWN", "tools: {exec: {safeBins: ['ls']}}", "agents.list[0].tools.exec.safeBins"),
        ] {
            let text = text(place, guard);
            let error = load_text(&text).expect_err(&text);
            assert!(error.starts_with(&format!("{key}: ")), "{text}: {error}");
            load_text(&text.replace("security: 'full'", "security: 'deny'")).expect("nothing is run");
        }
        for (place, harmless) in [
            ("GLOBAL", "ask: 'off', host: 'gateway'"),
            ("DEFAULTS", "sandbox: {mode: 'off'}"),
            ("OWN", "sandbox: {mode: 'off'}, tools: {exec: {ask: 'off'}}"),
        ] {
            load_text(&text(place, harmless)).expect(harmless);
        }
    }
}
