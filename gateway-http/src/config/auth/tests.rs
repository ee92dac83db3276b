//! Which secrets and proxies open the gateway, and which sections are refused.

use serde_json::{Value, json};
use shared::config;

use super::*;
use crate::config::Section;

fn auth_of(section: &AuthSection, proxies: Value) -> Result<Auth, String> {
    let proxies = serde_json::from_value(proxies).expect("valid networks");
    let mut secrets = Secrets::new(Section::default(), None);
    let listen = ([127, 0, 0, 1], 18789).into();
    let built = section.build(listen, &proxies, &CallerLimits::default(), &mut secrets);
    built.map_err(|error| error.to_string())
}

fn build(section: Value) -> Result<Auth, String> {
    auth_of(&serde_json::from_value(section).expect("a valid section"), json!([]))
}

fn caller(auth: &Auth, bearer: &str) -> Option<Caller> {
    auth.caller_with(Some(&format!("Bearer {bearer}")))
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let RateLimitSection { max_attempts, window_ms, lockout_ms, exempt_loopback } = RateLimitSection::default();
    let check = |key: &str, value: &dyn ToString| {
        let key = format!("gateway.auth.rateLimit.{key}");
        assert_eq!(config::documented_default(&key), Some(value.to_string().as_str()), "{key}");
    };
    check("maxAttempts", &max_attempts);
    check("windowMs", &window_ms);
    check("lockoutMs", &lockout_ms);
    check("exemptLoopback", &exempt_loopback);
    let allow_loopback = config::documented_default("gateway.auth.trustedProxy.allowLoopback");
    assert_eq!(allow_loopback, Some("false"));
}

#[test]
fn behind_a_proxy_that_logs_users_in_there_is_no_secret() {
    let build = |patch: Value, proxies: Value| {
        let mut section = json!({"mode": "trusted-proxy", "trustedProxy": {"userHeader": "X-User"}});
        for (key, value) in patch.as_object().expect("an object") {
            section[key] = value.clone();
        }
        auth_of(&serde_json::from_value(section).expect("a valid section"), proxies).err()
    };
    assert_eq!(build(json!({}), json!(["10.0.0.0/8"])), None);
    let check = |patch: Value, proxies: Value, expected: &str| {
        let error = build(patch.clone(), proxies).unwrap_or_else(|| panic!("{patch} is taken"));
        assert!(error.starts_with(expected), "{error}");
    };
    let one = || json!(["10.0.0.1"]);
    check(json!({}), json!([]), "gateway.trustedProxies: is empty");
    check(json!({"trustedProxy": {}}), one(), "gateway.auth.trustedProxy.userHeader: is missing");
    check(json!({"token": "t"}), one(), "gateway.auth.token: is set");
    check(json!({"tokenFile": "/t"}), one(), "gateway.auth.tokenFile: is set");
    check(json!({"password": "p"}), one(), "gateway.auth.password: is set");
    check(json!({"tokens": [{"name": "bob", "token": "b"}]}), one(), "gateway.auth.tokens: is set");
}

#[test]
fn the_mode_follows_the_secret_that_is_set() {
    let check = |section: Value, bearer: &str, expected: bool| {
        let auth = build(section.clone()).expect("a secret is set");
        assert_eq!(caller(&auth, bearer).is_some(), expected, "{section} {bearer:?}");
    };
    check(json!({"token": "t"}), "t", true);
    check(json!({"password": "p"}), "p", true);
    check(json!({"token": "t", "password": " "}), "t", true);
    check(json!({"token": "t", "password": "p"}), "t", false);
    check(json!({"token": "t", "password": "p"}), "p", true);
    check(json!({"mode": "token", "token": "t", "password": "p"}), "t", true);
    check(json!({"mode": "token", "token": "t", "password": "p"}), "p", false);
    check(json!({"mode": "password", "token": "t", "password": "p"}), "p", true);
    check(json!({"mode": "none", "token": "t", "password": "p"}), "anything", true);
}

#[test]
fn a_gateway_without_a_secret_is_refused() {
    let refused = |section| build(section).expect_err("no secret is set");
    let expected = "gateway.auth.token: no secret is configured; set it (or CLAWDBOT_GATEWAY_TOKEN";
    assert!(refused(json!({"token": " "})).starts_with(expected));
    assert!(refused(json!({"mode": "password"})).starts_with("gateway.auth.password: no secret"));
}

#[test]
fn each_named_token_is_a_caller_of_its_own() {
    let named = |name: &str, agents| Some(Caller::named(name.parse().expect("a name"), agents));
    let beta = Some(vec!["beta".parse().expect("an id")]);
    let tokens = json!([{"name": "alice", "token": " a "}, {"name": "Bob", "token": "b", "agents": ["Beta"]}]);
    let with_main = build(json!({"token": "t", "tokens": tokens})).expect("valid");
    let without_main = build(json!({"tokens": tokens})).expect("named tokens do without a main secret");
    for auth in [&with_main, &without_main] {
        assert_eq!(caller(auth, "a"), named("alice", None));
        assert_eq!(caller(auth, "b"), named("bob", beta.clone()));
        assert_eq!(caller(auth, "c"), None);
    }
    assert_eq!(caller(&with_main, "t"), Some(Caller::default()));
    assert_eq!(caller(&without_main, "t"), None);
}

#[test]
fn a_bad_token_is_refused_by_its_key() {
    let check = |second: Value, expected: &str| {
        let tokens = json!([{"name": "alice", "token": "a"}, second]);
        let error = build(json!({"token": "t", "tokens": tokens})).expect_err("the second token is bad");
        assert_eq!(error, format!("gateway.auth.tokens[1].{expected}"));
    };
    check(
        json!({"token": "b"}),
        "name: a name is 1 to 64 letters, digits, `_` or `-`, and starts with a letter or digit",
    );
    check(json!({"name": "Alice", "token": "b"}), "name: two tokens are called `alice`");
    check(json!({"name": "bob"}), "token: is empty");
    check(json!({"name": "bob", "token": " t "}), "token: is the same as the main secret");
    check(json!({"name": "bob", "token": "a"}), "token: is the same as gateway.auth.tokens[0].token");
    let no_agents = json!({"name": "bob", "token": "b", "agents": []});
    check(no_agents, "agents: is empty; leave it out to allow every agent");
    let no_burst = json!({"name": "bob", "token": "b", "limits": {"requestsPerMinute": 2, "requestBurst": 3}});
    check(no_burst, "limits.requestBurst: must be from 1 to the 2 of requestsPerMinute");
    let twice = json!({"name": "bob", "token": "b", "tokenFile": "/b"});
    check(twice, "tokenFile: is set beside gateway.auth.tokens[1].token; leave one of them out");
}

#[test]
fn no_secret_is_shown() {
    let section = json!({"token": "hush", "tokens": [{"name": "bob", "token": "hush-too"}]});
    let section: AuthSection = serde_json::from_value(section).expect("a valid section");
    let shown = format!("{section:?}");
    let auth = auth_of(&section, json!([])).expect("valid");
    let shown = format!("{shown} {auth:?}");
    assert!(shown.contains("bob") && !shown.contains("hush"), "{shown}");
}
