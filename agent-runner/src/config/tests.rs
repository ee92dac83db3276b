//! What the configuration means for agents and models.

use std::path::{Path, PathBuf};

use shared::config::Sources;

use super::*;

fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let environment: Environment = environment.iter().copied().collect();
    let sources = Sources { environment: environment.clone(), ..Sources::default() };
    let document = Document::from_text(text, Path::new("clawdbot.json"), &sources).expect("readable");
    Config::load(&document, &environment).map_err(|error| error.to_string())
}

fn models(config: &Config) -> Vec<String> {
    config.agents.iter().map(|agent| format!("{}={}", agent.id, agent.model)).collect()
}

#[test]
fn without_a_file_the_key_names_the_provider() {
    let config = load("{}", &[("OPENAI_API_KEY", "k")]).expect("usable");
    assert_eq!(models(&config), ["main=openai/gpt-5-mini"]);
    let environment = [("OPENAI_BASE_URL", "http://127.0.0.1:11434/v1"), ("CLAWDBOT_MODEL", "openai/llama3.2")];
    assert_eq!(models(&load("{}", &environment).expect("usable")), ["main=openai/llama3.2"]);
}

#[test]
fn a_server_without_a_key_needs_its_model_named() {
    let error = load("{}", &[("OPENAI_BASE_URL", "http://127.0.0.1:11434/v1")]).expect_err("no model is named");
    assert!(error.starts_with("agents.defaults.model: OPENAI_BASE_URL names a server"), "{error}");
}

#[cfg(feature = "local-model")]
#[test]
fn without_a_file_and_a_key_the_embedded_model_answers() {
    let config = load("{}", &[]).expect("usable");
    assert_eq!(models(&config), ["main=local/smollm2-135m-instruct"]);
}

#[cfg(not(feature = "local-model"))]
#[test]
fn without_any_model_the_error_says_what_to_do() {
    let error = load("{}", &[]).expect_err("there is no model");
    assert!(error.starts_with("agents.defaults.model: no model is configured; set OPENAI_API_KEY"), "{error}");
}

#[test]
fn an_agent_has_its_own_model_or_the_default() {
    let text = r#"{
        models: {providers: {a: {baseUrl: "http://a/v1"}, b: {baseUrl: "http://b/v1", models: [{id: "m/1"}]}}},
        agents: {
            defaults: {model: {primary: "a/x", fallbacks: ["b/m/1"]}, systemPrompt: "Be brief."},
            list: [{id: "one"}, {id: "two", model: "b/m/1", systemPrompt: "", default: true}],
        },
    }"#;
    let config = load(text, &[]).expect("usable");
    assert_eq!(models(&config), ["one=a/x", "two=b/m/1"]);
    assert_eq!(config.agents.default_agent().id.as_str(), "two");
    let prompts: Vec<&str> = config.agents.iter().map(|agent| agent.system_prompt.as_str()).collect();
    assert_eq!(prompts, ["Be brief.", ""]);
}

#[test]
fn workspaces_and_what_prompts_take_of_them_can_be_set() {
    let text = "{
        agents: {
            defaults: {workspace: '/srv/a', bootstrapMaxChars: 7},
            list: [{id: 'a'}, {id: 'b', workspace: 'b'}, {id: 'c'}],
        },
        skills: {limits: {maxSkillsInPrompt: 3}},
    }";
    let config = load(text, &[("OPENAI_API_KEY", "k"), ("HOME", "/home/alice")]).expect("usable");
    let workspaces: Vec<_> = config.agents.iter().filter_map(|agent| agent.workspace.as_deref()?.to_str()).collect();
    assert_eq!(workspaces, ["/srv/a", "b", "/home/alice/clawd-c"]);
    let bootstrap::Settings { max_chars, max_skills } = config.bootstrap;
    assert_eq!((max_chars, max_skills), (7, 3));
}

#[test]
fn what_makes_no_sense_is_named() {
    let check = |text: &str, expected: &str| {
        let error = load(text, &[("OPENAI_API_KEY", "k")]).expect_err("it makes no sense");
        assert!(error.contains(expected), "{error}");
    };
    check("{agents: {list: [{id: 'a'}, {id: 'A'}]}}", "agents.list: two agents are called `a`");
    check("{agents: {list: [{id: 'a b'}]}}", "agents.list[0].id");
    check("{agents: {list: [{id: 'a', model: 'x/y'}]}}", "agents.list (a): there is no model provider `x`");
    check("{agents: {defaults: {model: 'gpt'}}}", "agents.defaults.model");
    check("{agents: {defaults: {maxConcurrent: 0}}}", "agents.defaults.maxConcurrent: must be at least 1");
    let fallback = "{agents: {list: [{id: 'a', model: {primary: 'openai/m', fallbacks: ['x/y']}}]}}";
    check(fallback, "agents.list (a): there is no model provider `x`");
    check(
        "{agents: {defaults: {userTimezone: 'Mars/Base'}}}",
        "agents.defaults.userTimezone: this machine knows no time zone `Mars/Base`",
    );
    check("{agents: {list: [{id: 'a', workspace: '~/a'}]}}", "agents.list (a).workspace: `~/a` is in the home folder");
    check("{models: {providers: {x: {}}}}", "models.providers.x.baseUrl: is needed");
    check("{models: {providers: {x: {api: 'telepathy'}}}}", "models.providers.x.api");
    check(
        "{models: {providers: {x: {baseUrl: 'ftp://h'}}}}",
        "models.providers.x.baseUrl: `ftp://h` is no http(s) URL",
    );
    let header = "{models: {providers: {x: {baseUrl: 'http://h', headers: {'a b': 'c'}}}}}";
    check(header, "models.providers.x.headers.a b: holds what no HTTP header may");
}

#[test]
fn a_runner_is_reached_where_it_says_or_listens() {
    let url = |runner: &str| {
        let text = format!("{{services: {{agentRunner: {{{runner}}}}}}}");
        load(&text, &[("OPENAI_API_KEY", "k")]).map(|config| config.url())
    };
    assert_eq!(url("").as_deref(), Ok("http://127.0.0.1:18790"));
    assert_eq!(url("listen: '[::1]:7'").as_deref(), Ok("http://[::1]:7"));
    let advertised = url("listen: '0.0.0.0:7', advertiseUrl: 'http://runner-1.runner:7'");
    assert_eq!(advertised.as_deref(), Ok("http://runner-1.runner:7"));
    let wrong = url("advertiseUrl: 'runner-1:7'").expect_err("not a URL");
    assert_eq!(
        wrong,
        "services.agentRunner.advertiseUrl: `runner-1:7` is not of the form http://host:port or https://host:port"
    );
    let two = url("advertiseUrl: 'http://a:1,http://b:1'").expect_err("two URLs");
    assert_eq!(two, "services.agentRunner.advertiseUrl: must be one URL, of at most 256 bytes");
    let url = url("listen: '0.0.0.0:7'").expect("usable");
    let address = url.strip_prefix("http://").and_then(|address| address.parse::<SocketAddr>().ok());
    assert!(address.is_some_and(|address| !address.ip().is_unspecified() && address.port() == 7), "{url}");
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let check = |key, value: u64| {
        assert_eq!(config::documented_default(key), Some(value.to_string().as_str()), "{key}");
    };
    let (defaults, session) = (agents::Defaults::default(), SessionSection::default());
    check("agents.defaults.timeoutSeconds", defaults.timeout_seconds);
    check("agents.defaults.idleTimeoutSeconds", defaults.idle_timeout_seconds);
    check("agents.defaults.maxConcurrent", defaults.max_concurrent as u64);
    check("agents.defaults.maxQueued", defaults.max_queued as u64);
    check("agents.defaults.maxModelCalls", defaults.max_model_calls.into());
    check("agents.defaults.maxToolCalls", defaults.max_tool_calls.into());
    check("agents.defaults.maxParallelTools", defaults.max_parallel_tools as u64);
    check("agents.defaults.toolTimeoutSeconds", defaults.tool_timeout_seconds);
    check("agents.defaults.toolOutputMaxChars", defaults.tool_output_max_chars as u64);
    check("agents.defaults.modelRetries", defaults.model_retries.into());
    check("agents.defaults.modelRetryMaxDelayMs", defaults.model_retry_max_delay_ms);
    check("agents.defaults.compaction.reserveTokensFloor", defaults.compaction.reserve_tokens_floor);
    check("agents.defaults.compaction.keepRecentTokens", defaults.compaction.keep_recent_tokens);
    check("agents.defaults.bootstrapMaxChars", defaults.bootstrap_max_chars as u64);
    let user_timezone = Some(defaults.user_timezone.as_str());
    assert_eq!(config::documented_default("agents.defaults.userTimezone"), user_timezone);
    check("session.waitMs", session.wait_ms);
    check("session.windowMessages", session.window_messages.into());
    check("services.agentRunner.maxConcurrentCalls", RunnerSection::default().max_concurrent_calls as u64);
    check("services.agentRunner.drainMs", RunnerSection::default().drain_ms);
    let listen = RunnerSection::default().listen.to_string();
    assert_eq!(config::documented_default("services.agentRunner.listen"), Some(listen.as_str()));
    check("services.sessionStore.callTimeoutMs", StoreSection::default().call_timeout_ms);
}

#[tokio::test]
async fn workspaces_are_shared_with_the_configuration_before() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().expect("a folder");
    let config = |agents: &str| {
        let environment = [("OPENAI_API_KEY", "k"), ("HOME", folder.path().to_str().expect("it is text"))];
        load(&format!("{{agents: {agents}, tools: {{profile: 'coding'}}}}"), &environment).expect("usable")
    };
    let own = Own::new();
    let before = config("{list: [{id: 'a'}, {id: 'b'}]}").configure(&own, None).await.expect("it is built");
    let check = async |agents: &str, is_same_look: bool, shared: &[&str]| {
        let after = config(agents).configure(&own, Some(&before)).await.expect("it is built");
        let looks = [&before, &after].map(|configured| configured.shared.prompts.bootstrap());
        assert_eq!(Arc::ptr_eq(looks[0], looks[1]), is_same_look, "{agents}");
        let [old, new] = [&before, &after].map(|configured| configured.shared.tools.workspaces());
        let is_shared = |path: &&PathBuf| old.get(*path).is_some_and(|old| Arc::ptr_eq(old, &new[*path]));
        let names: Vec<_> = new.keys().filter(is_shared).filter_map(|path| path.file_name()?.to_str()).collect();
        assert_eq!(names, shared, "{agents}");
    };
    check("{list: [{id: 'a', systemPrompt: 'x'}, {id: 'b'}]}", true, &["clawd", "clawd-b"]).await;
    check("{list: [{id: 'a'}, {id: 'c'}]}", false, &["clawd"]).await;
    check("{defaults: {bootstrapMaxChars: 7}, list: [{id: 'a'}, {id: 'b'}]}", false, &["clawd", "clawd-b"]).await;
}
