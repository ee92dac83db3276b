//! What is refused, in which words, and what those words keep to themselves.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{FILE, Gateway, check_section, document, sources};
use crate::config::Document;

#[derive(Debug, Deserialize)]
struct Agents {
    #[expect(dead_code, reason = "only the error matters")]
    list: Vec<Agent>,
}

#[derive(Debug, Deserialize)]
struct Agent {
    #[expect(dead_code, reason = "only the error matters")]
    id: String,
}

/// Quotes a header in its error, as a careless validation would.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Value")]
struct Careless;

impl TryFrom<Value> for Careless {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let header = &value["providers"]["p"]["headers"]["x"];
        Err(format!("bad header {header}"))
    }
}

#[test]
fn a_syntax_error_says_where() {
    let check = |text: &str, expected: &str| {
        let error = document(text, &[]).unwrap_err();
        assert_eq!(error.to_string(), format!("{FILE}:{expected}"), "{text}");
    };
    check("{\n  gateway: {\n    port 1 } }", "3:10: expected colon");
    check("{ // comment\n  'é': 1 2 }", "2:10: expected comma");
    check("{} x", "1:4: trailing characters");
    check("{ gateway: {\n", "2:1: unexpected end of the file");
    check("", "1:1: unexpected end of the file");
    check("{ log: {}, log: {} }", r#"1:12: the key "log" is set twice"#);
    check("{ a: Infinity }", "1:6: not a finite number");
    check(
        "{ channels: {\n $include: './x.json' } }",
        "2:2: $include is not supported; move the included settings into this file",
    );
    let deep = "[".repeat(100_000);
    check(&deep, "1:65: nested more than 64 levels deep");
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_its_key_and_origin() {
    let none: &[(&str, &str)] = &[];
    let check = check_section::<Gateway>;
    let in_file = |message: &str| format!("{message} (in {FILE})");
    check("gateway", "[]", none, &in_file("the top level: expected an object, found an array"));
    check("gateway", "{ gateway: 5 }", none, &in_file("gateway: expected an object, found a number"));
    check(
        "gateway",
        "{ gateway: { port: 70000 } }",
        none,
        &in_file("gateway.port: expected an integer from 0 to 65535, found integer `70000`"),
    );
    check(
        "gateway",
        "{ gateway: { port: '7' } }",
        none,
        &in_file(r#"gateway.port: expected an integer from 0 to 65535, found string "7""#),
    );
    check(
        "gateway",
        "{ gateway: { auth: { mode: 'x' } } }",
        none,
        &in_file("gateway.auth.mode: unknown variant `x`, expected `token` or `password`"),
    );
    check_section::<Agents>(
        "agents",
        "{ agents: { list: [{ id: 'a' }, { id: {} }] } }",
        none,
        &in_file("agents.list[1].id: expected a string, found an object"),
    );
    check_section::<Agents>(
        "agents",
        "{ agents: { list: [{}] } }",
        none,
        &in_file("agents.list[0]: missing field `id`"),
    );
    check_section::<Agents>(
        "agents",
        "{ agents: { list: {} } }",
        none,
        &in_file("agents.list: expected an array, found an object"),
    );
    check(
        "gateway",
        "{}",
        &[("CLAWDBOT_GATEWAY_PORT", "x")],
        r#"gateway.port: expected an integer, found "x" (from the environment variable CLAWDBOT_GATEWAY_PORT)"#,
    );
    check(
        "gateway",
        "{ gateway: { port: 1 } }",
        &[("CLAWDBOT_GATEWAY_PORT", "70000")],
        "gateway.port: expected an integer from 0 to 65535, found integer `70000` \
         (from the environment variable CLAWDBOT_GATEWAY_PORT)",
    );
    let flags = sources(&[], &[("gateway.port", "70000")]);
    let document = Document::from_text("{}", Path::new(FILE), &flags).unwrap();
    assert_eq!(
        document.section::<Gateway>("gateway").unwrap_err().to_string(),
        "gateway.port: expected an integer from 0 to 65535, found integer `70000` (from the command line)",
    );
}

#[test]
fn a_misspelt_key_of_ours_is_refused_with_the_right_one() {
    let check = |text: &str, key: &str, meant: &str| {
        let error = document(text, &[]).unwrap_err().to_string();
        assert_eq!(error, format!("{key}: unknown key; did you mean {meant}? (in {FILE})"));
    };
    check("{ gatewy: {} }", "gatewy", "gateway");
    check("{ gateway: { prot: 1 } }", "gateway.prot", "gateway.port");
    check("{ gateway: { auth: { tokn: 'hunter2' } } }", "gateway.auth.tokn", "gateway.auth.token");
    check("{ gateway: { http: { max_body_bytes: 1 } } }", "gateway.http.max_body_bytes", "gateway.http.maxBodyBytes");
    check(
        "{ models: { providers: { x: { models: [{}, { idd: 1 }] } } } }",
        "models.providers.x.models[1].idd",
        "models.providers.x.models[1].id",
    );
    check("{ services: { sessionstore: {} } }", "services.sessionstore", "services.sessionStore");
    check(
        "{ agents: { defaults: { model: { primry: 'a/b' } } } }",
        "agents.defaults.model.primry",
        "agents.defaults.model.primary",
    );
}

#[test]
fn keys_of_clawdbot_and_unknown_keys_are_accepted_and_told() {
    let text = "{
        gateway: { mode: 'local', tls: { enabled: true, caPath: '/ca' }, trustedProxies: ['10.0.0.1'], mood: 1, auth: { allowTailscale: true } },
        channels: { telegram: { port: 1 } },
        agents: { defaults: { repoRoot: '~/w', model: { primary: 'a/b' } }, list: [{ id: 'x', sandbox: {} }] },
        models: { mode: 'merge', providers: { x: { auth: 'api-key', headers: { anything: 'y' } } } },
        session: { scope: 'global' },
        weather: 1,
    }";
    let expected = [
        format!(
            "{FILE}: keys of Clawdbot without effect here: agents.defaults.repoRoot, agents.list[0].sandbox, channels, \
             gateway.auth.allowTailscale, gateway.mode, gateway.tls.caPath, models.mode, \
             models.providers.x.auth, session.scope; \
             nothing enforces agents.list[0].sandbox, gateway.tls.caPath"
        ),
        format!("{FILE}: unknown keys, ignored: gateway.mood, weather"),
    ];
    assert_eq!(document(text, &[]).unwrap().warnings(), expected);
}

#[test]
fn secrets_and_values_of_references_are_shown_nowhere() {
    let environment = [("MODE", "hunter2"), ("CLAWDBOT_GATEWAY_PASSWORD", "hunter2")];
    let flags = [("gateway.auth.token", "hunter2")];
    let sources = sources(&environment, &flags);
    let document = Document::from_text("{ gateway: { bind: 'hunter2' } }", Path::new(FILE), &sources).unwrap();
    let shown = format!("{sources:?} {document:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("CLAWDBOT_GATEWAY_PASSWORD"), "{shown}");

    let check = |text: &str, expected: &str| {
        check_section::<Gateway>("gateway", text, &environment, expected);
    };
    check(
        "{ gateway: { auth: { token: 123 } } }",
        &format!("gateway.auth.token: expected a string, found a number (in {FILE})"),
    );
    check(
        "{ gateway: { auth: { mode: '${MODE}' } } }",
        &format!("gateway.auth.mode: expected `token` or `password`, found a string (from ${{MODE}} in {FILE})"),
    );
    check(
        "{ gateway: { port: '${MODE}' } }",
        &format!("gateway.port: expected an integer from 0 to 65535, found a string (from ${{MODE}} in {FILE})"),
    );
    let models = |value: &str| format!("{{ models: {{ providers: {{ p: {{ headers: {{ x: '{value}' }} }} }} }} }}");
    check_section::<Careless>(
        "models",
        &models(r#"hunter"2"#),
        &[],
        &format!("models: an object that is not valid here (in {FILE})"),
    );
    check_section::<Careless>("models", "{}", &[], &format!("models: bad header null (in {FILE})"));
}

#[test]
fn junk_is_refused_without_a_panic() {
    let tokens = [
        "{", "}", "[", "]", ":", ",", "gateway", "port", "auth", "models", "agents", "list", "'${X}'", "'$${'", "'${",
        "\"", "'", "\\", "\\u00", "\\ud83d", "\\x4", "0x", "0", "1", "-", "+", ".", "e9", "//", "/*", "*/", "\n", "\r",
        "\u{2028}", "\u{feff}", "é", "\0", "null", "true", "NaN", "Infinity", "$include",
    ];
    let mut state = 1_u64;
    let mut random = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % bound
    };
    for _ in 0..20_000 {
        let text: String = (0..random(16)).map(|_| tokens[random(tokens.len())]).collect();
        if let Ok(document) = document(&text, &[("X", "\"é${")]) {
            let _ = document.section::<Gateway>("gateway").map_err(|error| error.to_string());
        }
    }
    let valid = "{ gateway: { port: 1, auth: { token: 'é${X}' } }, agents: { list: [{ id: 'a' }] } } // x";
    for (end, _) in valid.char_indices().take_while(|(end, _)| *end < valid.len() - 5) {
        assert!(document(&valid[..end], &[]).is_err(), "{}", &valid[..end]);
    }
}
