//! The settings of tools: what each agent may use, and which MCP servers there are.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use reqwest::{
    Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use shared::{
    AgentId,
    config::{Document, Environment},
};

use super::{Error, exec, invalid, providers::Provider};
use crate::{
    agents::Agents,
    mcp::{Endpoint, ServerConfig, Servers},
    tool::{
        self,
        builtin::{Builtin, exec::Security},
        policy::{Known, Policy, Scope},
        toolset::{Tools, Workspaces},
    },
    workspace::Workspace,
};

/// What a server's process has of our own environment: what programs need to find their way, and no secret.
const INHERITED: [&str; 12] =
    ["HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "SHELL", "TEMP", "TMP", "TMPDIR", "TZ", "USER"];
const MAX_SERVER_NAME_BYTES: usize = 32;

/// The settings of tools, checked.
#[derive(Debug)]
pub(super) struct ToolsConfig {
    policies: HashMap<AgentId, Policy>,
    /// What each agent may run.
    exec: HashMap<AgentId, Security>,
    servers: Vec<ServerConfig>,
    builtin: tool::Settings,
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct ListedAgent {
    id: AgentId,
    tools: Option<Scope>,
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ServerSection {
    enabled: bool,
    command: Option<String>,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    cwd: Option<PathBuf>,
    url: Option<String>,
    headers: BTreeMap<String, String>,
    start_timeout_seconds: u64,
}

impl Default for ServerSection {
    fn default() -> Self {
        Self {
            enabled: true,
            command: None,
            args: Vec::new(),
            env: BTreeMap::new(),
            cwd: None,
            url: None,
            headers: BTreeMap::new(),
            start_timeout_seconds: 30,
        }
    }
}

/// Reads `tools` and each agent's own `tools`.
pub(super) fn load(
    document: &Document,
    environment: &Environment,
    agents: &Agents,
    providers: &BTreeMap<String, Provider>,
) -> Result<ToolsConfig, Error> {
    let servers: BTreeMap<String, ServerSection> = document.section("tools.mcp.servers")?;
    let known = Known {
        providers: providers.keys().map(String::as_str).collect(),
        servers: servers.keys().map(String::as_str).collect(),
    };
    let check = |scope: &Scope, key: &str| {
        let checked = scope.check(key, &known);
        checked.map_err(|misnamed| Error::Invalid { key: misnamed.key, reason: misnamed.reason })
    };
    // A `tools` block without anything in it cannot be told from none.
    let is_given = !document.section::<Map<String, Value>>("tools")?.is_empty();
    let global = if is_given { Some(document.section::<Scope>("tools")?) } else { None };
    let mut warnings = global.as_ref().map(|global| check(global, "tools")).transpose()?.unwrap_or_default();
    let list: Vec<ListedAgent> = document.section::<AgentsSection>("agents")?.list;
    let mut own: HashMap<AgentId, Scope> = HashMap::new();
    for (index, ListedAgent { id, tools }) in list.into_iter().enumerate() {
        if let Some(scope) = tools {
            warnings.extend(check(&scope, &format!("agents.list[{index}].tools"))?);
            own.insert(id, scope);
        }
    }
    let policy = |agent_id: &AgentId| (agent_id.clone(), Policy::new(global.as_ref(), own.get(agent_id)));
    let policies: HashMap<AgentId, Policy> = agents.iter().map(|agent| policy(&agent.id)).collect();
    let check = |(name, section): (String, ServerSection)| section.check(name, environment).transpose();
    let servers = servers.into_iter().filter_map(check).collect::<Result<_, Error>>()?;
    let builtin = tool::Settings::load(document, environment)?;
    let exec = exec::load(document, agents)?;
    for agent in agents.iter().filter(|agent| agent.workspace.is_none()) {
        if policies.get(&agent.id).is_some_and(|policy| !policy.allows_nothing()) {
            let id = &agent.id;
            warnings.push(format!(
                "agents.list ({id}).workspace: there is none, since HOME is not set: `{id}` has no tools for files, no \
                 `memory_search` and no `exec`"
            ));
        }
    }
    Ok(ToolsConfig { policies, exec, servers, builtin, warnings })
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AgentsSection {
    list: Vec<ListedAgent>,
}

impl ToolsConfig {
    /// What to tell the operator.
    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Puts the tools of all agents together, with what goes on of those `before`. A call is given `call_timeout` by
    /// whoever makes it. Nothing is started yet, and no workspace is made.
    pub(super) fn build(mut self, agents: &Agents, call_timeout: Duration, before: Option<&Tools>) -> Tools {
        let known = before.map(Tools::workspaces);
        let mut workspaces = Workspaces::new();
        let builtin = Builtin::new(self.builtin, call_timeout);
        let mut with_tools = Vec::new();
        for agent in agents.iter() {
            let policy = self.policies.remove(&agent.id).unwrap_or_default();
            let security = self.exec.get(&agent.id).copied().unwrap_or_default();
            let workspace = agent.workspace.as_ref().map(|path| {
                let known = || known.and_then(|known| known.get(path)).cloned();
                let new = || known().unwrap_or_else(|| Arc::new(Workspace::new(path.clone())));
                &*workspaces.entry(path.clone()).or_insert_with(new)
            });
            with_tools.push((agent.id.clone(), builtin.tools(workspace, security), policy));
        }
        let servers = match before {
            Some(before) => before.servers().next(self.servers),
            None => Servers::new(self.servers),
        };
        Tools::new(with_tools, servers, workspaces)
    }
}

impl ServerSection {
    /// `None` for one that is switched off.
    fn check(self, name: String, environment: &Environment) -> Result<Option<ServerConfig>, Error> {
        let key = format!("tools.mcp.servers.{name}");
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if !(1..=MAX_SERVER_NAME_BYTES).contains(&name.len()) || !name.bytes().all(plain) {
            return Err(invalid(key, "the name of a server is 1 to 32 letters, digits, `_` or `-`"));
        }
        if name.contains("__") || name.ends_with('_') {
            return Err(invalid(key, "the name of a server has no `__` in it and no `_` at its end"));
        }
        if self.start_timeout_seconds == 0 {
            return Err(invalid(format!("{key}.startTimeoutSeconds"), "must be at least 1"));
        }
        let start_timeout = Duration::from_secs(self.start_timeout_seconds);
        let enabled = self.enabled;
        let endpoint = self.endpoint(&key, environment)?;
        Ok(enabled.then_some(ServerConfig { name, endpoint, start_timeout }))
    }

    fn endpoint(self, key: &str, environment: &Environment) -> Result<Endpoint, Error> {
        let process_only = !self.args.is_empty() || !self.env.is_empty() || self.cwd.is_some();
        match (self.command.filter(|command| !command.is_empty()), self.url) {
            (Some(command), None) if self.headers.is_empty() => {
                let inherited = INHERITED.into_iter().filter_map(|name| Some((name, environment.get(name)?)));
                let inherited = inherited.map(|(name, value)| (name.to_owned(), value.to_owned()));
                let environment = inherited.chain(self.env).collect();
                Ok(Endpoint::Stdio { command, args: self.args, environment, cwd: self.cwd })
            }
            (None, Some(url)) if !process_only => {
                let is_http = |url: &Url| matches!(url.scheme(), "http" | "https");
                let url = Url::parse(&url).ok().filter(is_http);
                let url = url.ok_or_else(|| invalid(format!("{key}.url"), "must be an http(s) URL"))?;
                Ok(Endpoint::Http { url, headers: headers(key, &self.headers)? })
            }
            (Some(_), None) => Err(invalid(format!("{key}.headers"), "is for a server with `url`")),
            (None, Some(_)) => Err(invalid(key.to_owned(), "`args`, `env` and `cwd` are for a server with `command`")),
            (Some(_), Some(_)) | (None, None) => Err(invalid(key.to_owned(), "needs either `command` or `url`")),
        }
    }
}

fn headers(key: &str, section: &BTreeMap<String, String>) -> Result<HeaderMap, Error> {
    let header = |(name, value): (&String, &String)| {
        let refused = || invalid(format!("{key}.headers.{name}"), "holds what no HTTP header may");
        let parsed = HeaderName::try_from(name).map_err(|_| refused())?;
        let mut value = HeaderValue::try_from(value).map_err(|_| refused())?;
        value.set_sensitive(true);
        Ok((parsed, value))
    };
    section.iter().map(header).collect()
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use shared::config::{Sources, documented_default};

    use super::*;
    use crate::agents::Agent;

    fn agents() -> Agents {
        agents_in(Some("/home/alice/clawd"))
    }

    fn agents_in(workspace: Option<&str>) -> Agents {
        let agent = |id: &str| Agent { workspace: workspace.map(PathBuf::from), ..Agent::called(id) };
        Agents::new(vec![agent("main"), agent("second")], 0).expect("two agents")
    }

    fn load_text(text: &str) -> Result<ToolsConfig, String> {
        let environment: Environment =
            [("PATH", "/bin"), ("OPENAI_API_KEY", "secret"), ("LANG", "C")].into_iter().collect();
        let sources = Sources { environment: environment.clone(), ..Sources::default() };
        let document =
            Document::from_text(text, Path::new("clawdbot.json"), &sources).map_err(|error| error.to_string())?;
        load(&document, &environment, &agents(), &BTreeMap::new()).map_err(|error| error.to_string())
    }

    fn allows(config: &ToolsConfig, agent_id: &str, tool: &str) -> bool {
        let policy = &config.policies[&agent_id.parse::<AgentId>().expect("an id")];
        policy.filter(&policy.variant(&"p/m".parse().expect("a model"))).allows(tool)
    }

    #[test]
    fn only_an_agent_with_a_block_has_tools() {
        let config = load_text("{}").expect("usable");
        assert!(config.policies.values().all(Policy::allows_nothing));
        let own = r#"{agents: {list: [{id: "main"}, {id: "second", tools: {profile: "coding", deny: ["write"]}}]}}"#;
        let config = load_text(own).expect("usable");
        assert!(!allows(&config, "main", "session_status"));
        assert!(allows(&config, "second", "read") && !allows(&config, "second", "write"));
        let config = load_text("{tools: {mcp: {servers: {}}}}").expect("usable");
        assert!(allows(&config, "main", "session_status") && allows(&config, "main", "mcp__a__b"));
    }

    #[test]
    fn a_server_is_a_command_or_an_address() {
        let config = load_text(
            r#"{tools: {mcp: {servers: {
                files: {command: "npx", args: ["-y", "x"], env: {TOKEN: "t", LANG: "de"}, cwd: "/tmp", startTimeoutSeconds: 5},
                web: {url: "https://example.com/mcp", headers: {Authorization: "Bearer t"}},
                off: {command: "x", enabled: false},
            }}}}"#,
        );
        let config = config.expect("usable");
        let [files, web] = &config.servers[..] else { panic!("two servers: {:?}", config.servers) };
        assert_eq!((files.name.as_str(), files.start_timeout), ("files", Duration::from_secs(5)));
        let Endpoint::Stdio { command, args, environment, cwd } = &files.endpoint else { panic!("{files:?}") };
        assert_eq!(
            (command.as_str(), &args[..], cwd.as_deref()),
            ("npx", &["-y".to_owned(), "x".to_owned()][..], Some(Path::new("/tmp")))
        );
        let environment: Vec<String> = environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(environment, ["LANG=de", "PATH=/bin", "TOKEN=t"]);
        let default = documented_default("tools.mcp.servers.<name>.startTimeoutSeconds");
        assert_eq!(default, Some(web.start_timeout.as_secs().to_string().as_str()));
        assert!(!format!("{config:?}").contains("Bearer"), "secrets are not shown");
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_key() {
        let check = |text: &str, expected: &str| {
            let error = load_text(text).expect_err(text);
            assert!(error.starts_with(expected), "{error}");
        };
        let server = |name: &str, body: &str| format!(r#"{{tools: {{mcp: {{servers: {{"{name}": {body}}}}}}}}}"#);
        check(&server("a b", r#"{command: "x"}"#), "tools.mcp.servers.a b: the name of a server is 1 to 32");
        check(
            &server(&"a".repeat(33), r#"{command: "x"}"#),
            &format!("tools.mcp.servers.{}: the name", "a".repeat(33)),
        );
        check(&server("a__b", r#"{command: "x"}"#), "tools.mcp.servers.a__b: the name of a server has no `__`");
        check(&server("a", "{}"), "tools.mcp.servers.a: needs either `command` or `url`");
        check(&server("a", r#"{command: "x", url: "http://a"}"#), "tools.mcp.servers.a: needs either");
        check(&server("a", r#"{command: "x", headers: {a: "b"}}"#), "tools.mcp.servers.a.headers: is for a server");
        check(&server("a", r#"{url: "http://a", args: ["x"]}"#), "tools.mcp.servers.a: `args`, `env` and `cwd`");
        check(&server("a", r#"{url: "file:///a"}"#), "tools.mcp.servers.a.url: must be an http(s) URL");
        check(
            &server("a", r#"{url: "http://a", headers: {"a b": "c"}}"#),
            "tools.mcp.servers.a.headers.a b: holds what",
        );
        check(
            &server("a", r#"{command: "x", startTimeoutSeconds: 0}"#),
            "tools.mcp.servers.a.startTimeoutSeconds: must",
        );
        check(r#"{tools: {deny: ["group:x"]}}"#, "tools.deny[0]: unknown group `group:x`");
        check(r#"{tools: {profile: "x"}}"#, "tools.profile: unknown variant `x`");
        check(
            r#"{agents: {list: [{id: "main", tools: {byProvider: {p: {allow: ["group:x"]}}}}]}}"#,
            "agents.list[0].tools.byProvider.p.allow[0]: unknown group",
        );
    }

    #[test]
    fn what_has_no_effect_is_told_and_what_names_nothing_refused() {
        let config = load_text(r#"{tools: {profile: "coding", alsoAllow: ["browser"]}}"#).expect("usable");
        assert_eq!(config.warnings(), ["tools.alsoAllow[0]: without effect, since there is no `browser` here"]);
        let own = r#"{agents: {list: [{id: "main", tools: {byProvider: {p: {deny: ["mcp__off__x"]}}}}]},
            tools: {mcp: {servers: {off: {command: "x", enabled: false}}}}}"#;
        let expected = "agents.list[0].tools.byProvider.p: without effect, since there is no model provider `p`";
        assert_eq!(load_text(own).expect("usable").warnings(), [expected]);
        let error = load_text(r#"{agents: {list: [{id: "main", tools: {deny: ["exce"]}}]}}"#).expect_err("no tool");
        assert!(error.starts_with("agents.list[0].tools.deny[0]: there is no tool `exce`"), "{error}");
    }

    #[test]
    fn an_agent_that_lacks_tools_for_want_of_a_workspace_is_told_of() {
        let document = |text: &str| {
            Document::from_text(text, Path::new("clawdbot.json"), &Sources::default()).expect("is readable")
        };
        let agents = agents_in(None);
        let warnings = |text: &str| {
            let loaded = load(&document(text), &Environment::default(), &agents, &BTreeMap::new());
            loaded.expect("usable").warnings
        };
        assert_eq!(warnings("{}"), Vec::<String>::new());
        let warnings = warnings("{tools: {profile: 'full'}}");
        assert!(warnings[0].starts_with("agents.list (main).workspace: there is none"), "{warnings:?}");
    }
}
