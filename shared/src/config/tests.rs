//! What settings and their sources promise.

mod change;
mod errors;

use std::fmt::Debug;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Document, Environment, Error, Fallback, SETTINGS, Setting, Sources};

const FILE: &str = "/etc/clawdbot.json";

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Gateway {
    port: u16,
    bind: Option<String>,
    auth: Auth,
    http: Http,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Auth {
    mode: Option<Mode>,
    token: Option<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Token,
    Password,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Http {
    max_body_bytes: Option<u64>,
    endpoints: Value,
}

fn sources(environment: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Sources {
    Sources {
        environment: environment.iter().copied().collect(),
        config_path: None,
        flags: flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect(),
        fallbacks: Vec::new(),
    }
}

fn document(text: &str, environment: &[(&str, &str)]) -> Result<Document, Error> {
    Document::from_text(text, Path::new(FILE), &sources(environment, &[]))
}

fn check_section<T: Debug + DeserializeOwned>(section: &str, text: &str, environment: &[(&str, &str)], expected: &str) {
    let result = document(text, environment).and_then(|document| document.section::<T>(section));
    assert_eq!(result.unwrap_err().to_string(), expected, "{text}");
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default() {
    let check = |text: &str, environment: &[_], flags: &[_], expected: u16| {
        let sources = sources(environment, flags);
        let document = Document::from_text(text, Path::new(FILE), &sources).unwrap();
        assert_eq!(document.section::<Gateway>("gateway").unwrap().port, expected);
    };
    let file = "{ gateway: { port: 1, bind: 'lan' } }";
    let environment = [("CLAWDBOT_GATEWAY_PORT", "2")];
    check("{}", &[], &[], 0);
    check(file, &[], &[], 1);
    check(file, &[("CLAWDBOT_GATEWAY_PORT", "")], &[], 1);
    check(file, &environment, &[], 2);
    check("{}", &environment, &[], 2);
    check(file, &environment, &[("gateway.port", "3")], 3);
    // What beats a value also beats the variable that the file refers to.
    check("{ gateway: { port: '${NONE}' } }", &environment, &[], 2);
}

#[test]
fn a_fallback_holds_where_it_is_needed() {
    let check = |text: &str, environment: &[(&str, &str)], expected: &str| {
        let is_needed = |document: &Document| {
            let auth = document.section::<Gateway>("gateway").map(|gateway| gateway.auth);
            auth.is_ok_and(|auth| auth.token.is_none_or(|token| token.trim().is_empty()))
        };
        let fallbacks = vec![Fallback { key: "gateway.auth.token", value: "made".to_owned(), is_needed }];
        let sources = Sources { fallbacks, ..sources(environment, &[]) };
        let document = Document::from_text(text, Path::new(FILE), &sources).unwrap();
        assert_eq!(document.section::<Gateway>("gateway").unwrap().auth.token.as_deref(), Some(expected), "{text}");
    };
    check("{}", &[], "made");
    check("{ gateway: { auth: { token: ' ' } } }", &[], "made");
    check("{ gateway: { auth: { token: 'mine' } } }", &[], "mine");
    check("{}", &[("CLAWDBOT_GATEWAY_TOKEN", "mine")], "mine");
}

#[test]
fn a_path_leads_home_or_beside_the_file() {
    let sources = sources(&[("HOME", "/home/alice")], &[]);
    let document = Document::from_text("{}", Path::new("/etc/clawdbot/clawdbot.json"), &sources).unwrap();
    let check = |path: &str, expected: &str| assert_eq!(document.resolve(Path::new(path)), Path::new(expected));
    check("/run/token", "/run/token");
    check("~/token", "/home/alice/token");
    check("~", "/home/alice");
    check("token", "/etc/clawdbot/token");
}

#[test]
fn every_environment_variable_and_flag_reaches_its_key() {
    let environment = [
        ("CLAWDBOT_GATEWAY_BIND", "lan"),
        ("CLAWDBOT_GATEWAY_TOKEN", "123"),
        ("CLAWDBOT_AGENT_RUNNER_URL", "http://runner:1"),
        ("CLAWDBOT_SESSION_STORE_DATABASE", "sqlite:/x"),
        ("CLAWDBOT_LOG_FORMAT", "json"),
        ("CLAWDBOT_MODEL", "openai/x"),
    ];
    let file = "{ agents: { defaults: { model: { primary: 'a/b', fallbacks: ['c/d'] } } } }";
    let flags = [("gateway.http.endpoints.chatCompletions.enabled", "false")];
    let sources = sources(&environment, &flags);
    let document = Document::from_text(file, Path::new(FILE), &sources).unwrap();
    let expected = json!({
        "gateway": {
            "bind": "lan",
            "auth": { "token": "123" },
            "http": { "endpoints": { "chatCompletions": { "enabled": false } } },
        },
        "services": { "agentRunner": { "url": "http://runner:1" }, "sessionStore": { "database": "sqlite:/x" } },
        "log": { "format": "json" },
        "agents": { "defaults": { "model": "openai/x" } },
    });
    assert_eq!(document.root, expected);
}

#[test]
fn a_section_that_nothing_sets_is_read_from_an_empty_object() {
    let document = document("{}", &[]).unwrap();
    assert_eq!(document.section::<Gateway>("gateway").unwrap(), Gateway::default());
    assert_eq!(document.section::<Value>("services.sessionStore").unwrap(), json!({}));
}

#[test]
fn references_are_replaced_and_become_what_the_setting_is() {
    let check = |written: &str, expected: Value| {
        let text = format!("{{ {written} }}");
        let environment = [("PORT", "7"), ("ON", "true"), ("_N1", "a"), ("NESTED", "${PORT}")];
        let document = document(&text, &environment).unwrap();
        assert_eq!(document.root, expected, "{written}");
        document.warnings().to_vec()
    };
    check("gateway: { port: '${PORT}' }", json!({ "gateway": { "port": 7 } }));
    check("gateway: { bind: '${PORT}' }", json!({ "gateway": { "bind": "7" } }));
    check("gateway: { port: '7' }", json!({ "gateway": { "port": "7" } }));
    let enabled = |value: Value| json!({ "agents": { "list": [{ "default": value }] } });
    check("agents: { list: [{ default: '${ON}' }] }", enabled(json!(true)));
    check("agents: { list: [{ default: 'x${_N1}-${PORT}y' }] }", enabled(json!("xa-7y")));
    let bind = |value: &str| json!({ "gateway": { "bind": value } });
    check("gateway: { bind: '${NESTED}' }", bind("${PORT}"));
    check("gateway: { bind: '$${PORT} $$ $PORT $' }", bind("${PORT} $$ $PORT $"));
    let warnings = check("gateway: { bind: '${port} ${} ${PORT' }", bind("${port} ${} ${PORT"));
    let expected = format!("{FILE}: not a reference to a variable, kept as it is: ${{ in gateway.bind");
    assert_eq!(warnings, [expected]);
}

#[test]
fn a_missing_variable_matters_to_the_sections_that_hold_it() {
    let text = "{ models: { providers: { 'gpt-4.1': { apiKey: 'x${OPENAI_API_KEY}' } } } }";
    let key = r#"models.providers["gpt-4.1"].apiKey"#;
    let expected = format!("{key}: the environment variable OPENAI_API_KEY is not set or empty (in {FILE})");
    check_section::<Value>("models", text, &[], &expected);
    check_section::<Value>("models", text, &[("OPENAI_API_KEY", "")], &expected);
    let document = document(text, &[]).unwrap();
    assert!(document.section::<Gateway>("gateway").is_ok());
}

#[test]
fn the_file_is_the_flags_then_the_environments_then_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let write = |name: &str, port: u16| {
        let path = home.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("{{ gateway: {{ port: {port} }} }}")).unwrap();
        path
    };
    let load = |config_path: Option<&str>, variable: &str| {
        let sources = Sources {
            environment: [("HOME", home.to_str().unwrap()), ("CLAWDBOT_CONFIG_PATH", variable)].into_iter().collect(),
            config_path: config_path.map(|name| home.join(name)),
            ..Sources::default()
        };
        Document::load(&sources)
    };
    let check = |config_path, variable, expected: Option<(&str, u16)>| {
        let document = load(config_path, variable).unwrap();
        let port = document.section::<Gateway>("gateway").unwrap().port;
        let (path, expected) = expected.map_or((None, 0), |(name, port)| (Some(home.join(name)), port));
        assert_eq!((document.path(), port), (path.as_deref(), expected));
        assert_eq!(document.state_dir(), home.join(".clawdbot"));
    };
    check(None, "", None);
    write(".clawdbot/clawdbot.json", 1);
    check(None, "", Some((".clawdbot/clawdbot.json", 1)));
    write("b.json", 2);
    check(None, "~/b.json", Some(("b.json", 2)));
    let flag = write("c.json", 3);
    check(Some("c.json"), "~/b.json", Some(("c.json", 3)));

    std::fs::remove_file(&flag).unwrap();
    let reason = "No such file or directory (os error 2)";
    let missing = |named_by| format!("{}, named by {named_by}: {reason}", flag.display());
    assert_eq!(load(Some("c.json"), "").unwrap_err().to_string(), missing("--config"));
    assert_eq!(load(None, "~/c.json").unwrap_err().to_string(), missing("CLAWDBOT_CONFIG_PATH"));

    let elsewhere: Environment = [("CLAWDBOT_STATE_DIR", "/var/lib/x")].into_iter().collect();
    let sources = Sources { environment: elsewhere, ..Sources::default() };
    assert_eq!(Document::from_text("{}", Path::new(FILE), &sources).unwrap().state_dir(), Path::new("/var/lib/x"));
}

#[test]
fn the_readme_lists_every_setting() {
    let readme = include_str!("../../../README.md");
    for setting in SETTINGS {
        let row = readme_row(setting);
        assert!(readme.contains(&row), "README.md lacks this row: {row}");
    }
}

fn readme_row(setting: &Setting) -> String {
    let environment = setting.environment.map_or(String::new(), |name| format!("`{name}`"));
    let restart = if setting.needs_restart { "; needs a restart" } else { "" };
    format!("| `{}` | {environment} | {} | {}{restart} |", setting.key, setting.default, setting.help)
}
