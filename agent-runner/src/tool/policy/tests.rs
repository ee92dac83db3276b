//! The steps of the policy, as a table.

use serde_json::{Value, json};

use super::*;

const NAMES: [&str; 10] = [
    "read",
    "write",
    "edit",
    "apply_patch",
    "exec",
    "session_status",
    "memory_search",
    "web_fetch",
    "mcp__files__Read",
    "mcp__web__get",
];

fn scope(block: Value) -> Option<Scope> {
    (!block.is_null()).then(|| serde_json::from_value(block).expect("a valid block"))
}

/// The names that pass, for the model `near/m/1`.
fn passing(global: Value, own: Value) -> String {
    let policy = Policy::new(scope(global).as_ref(), scope(own).as_ref());
    let variant = policy.variant(&"near/m/1".parse().expect("a model"));
    let filter = policy.filter(&variant);
    let passing: Vec<&str> = NAMES.into_iter().filter(|name| filter.allows(name)).collect();
    for (server, prefix) in [("files", "mcp__files__"), ("web", "mcp__web__")] {
        let some = passing.iter().any(|name| name.starts_with(prefix));
        assert!(!some || filter.may_allow_server(server), "{server} is asked for its tools");
    }
    passing.join(" ")
}

#[track_caller]
fn check(global: Value, own: Value, expected: &str) {
    assert_eq!(passing(global, own), expected);
}

const MCP: &str = "mcp__files__Read mcp__web__get";

#[test]
fn without_a_block_nothing_passes() {
    check(Value::Null, Value::Null, "");
    assert!(Policy::new(None, None).allows_nothing());
}

#[test]
fn a_profile_is_where_it_starts() {
    let minimal = &format!("session_status {MCP}");
    check(json!({}), Value::Null, minimal);
    check(Value::Null, json!({}), minimal);
    check(json!({"profile": "minimal"}), Value::Null, minimal);
    check(json!({"profile": "messaging"}), Value::Null, minimal);
    let coding = &format!("read write edit apply_patch exec session_status memory_search {MCP}");
    check(json!({"profile": "coding"}), Value::Null, coding);
    check(json!({"profile": "full"}), Value::Null, &NAMES.join(" "));
    check(json!({"profile": "full"}), json!({"profile": "minimal"}), minimal);
    check(json!({"profile": "minimal"}), json!({"profile": "coding"}), coding);
    check(json!({"alsoAllow": ["read"]}), Value::Null, &format!("read session_status {MCP}"));
    check(json!({"alsoAllow": ["read"]}), json!({"alsoAllow": ["web_*"]}), &format!("session_status web_fetch {MCP}"));
}

#[test]
fn a_list_only_takes_away_and_deny_wins() {
    let full = |rules: Value| {
        let mut block = json!({"profile": "full"});
        block.as_object_mut().expect("an object").extend(rules.as_object().expect("an object").clone());
        block
    };
    check(full(json!({"allow": ["Read", " WRITE "]})), Value::Null, "read write");
    check(full(json!({"allow": ["read", "exec"], "deny": ["exec"]})), Value::Null, "read apply_patch");
    check(full(json!({"allow": ["bash"]})), Value::Null, "apply_patch exec");
    check(full(json!({"allow": ["exec"], "deny": ["apply-patch"]})), Value::Null, "exec");
    check(full(json!({"allow": []})), Value::Null, &NAMES.join(" "));
    check(full(json!({"deny": ["*"]})), Value::Null, "");
    check(json!({"profile": "minimal", "allow": ["read"]}), Value::Null, "");
    check(full(json!({"allow": ["read"]})), json!({"allow": ["write"]}), "");
    check(full(json!({"deny": ["read"]})), json!({"allow": ["read", "write"]}), "write");
}

#[test]
fn groups_and_wildcards_stand_for_many() {
    let allow = |entry: &str| json!({"profile": "full", "allow": [entry]});
    check(allow("group:fs"), Value::Null, "read write edit apply_patch");
    check(allow("group:runtime"), Value::Null, "apply_patch exec");
    check(allow("group:sessions"), Value::Null, "session_status");
    check(allow("group:memory"), Value::Null, "memory_search");
    check(allow("group:web"), Value::Null, "web_fetch");
    check(allow("GROUP:MCP"), Value::Null, MCP);
    check(allow("group:ui"), Value::Null, "");
    for native in ["group:clawdbot", "group:openclaw"] {
        check(allow(native), Value::Null, &NAMES[..8].join(" "));
    }
    check(allow("*e*t*"), Value::Null, "edit session_status web_fetch mcp__web__get");
    check(allow("mcp__*__read"), Value::Null, "mcp__files__Read");
    check(allow("mcp__web__*"), Value::Null, "mcp__web__get");
    check(json!({"deny": ["group:mcp"]}), Value::Null, "session_status");
    check(json!({"deny": ["mcp__files__*"]}), Value::Null, "session_status mcp__web__get");
}

#[test]
fn an_allow_list_of_tools_that_there_are_not_allows_nothing() {
    check(json!({"allow": ["browser"]}), Value::Null, "");
    check(json!({"allow": ["browser", "mcp__gone__x"]}), Value::Null, "");
}

#[test]
fn a_provider_or_a_model_can_have_less() {
    let by = |key: &str, rules: Value| json!({"profile": "coding", "byProvider": {key: rules}});
    let minimal = &format!("session_status {MCP}");
    check(by("Near", json!({"profile": "minimal"})), Value::Null, minimal);
    check(by("near/m/1", json!({"allow": ["read"]})), Value::Null, "read");
    check(
        by("near", json!({"profile": "minimal", "alsoAllow": ["exec", "web_fetch"]})),
        Value::Null,
        &format!("apply_patch exec session_status {MCP}"),
    );
    check(
        by("far", json!({"deny": ["*"]})),
        json!({"deny": ["group:fs", "exec", "mcp*"]}),
        "session_status memory_search",
    );
    let both =
        json!({"profile": "full", "byProvider": {"near": {"allow": ["read"]}, "near/M/1": {"allow": ["write"]}}});
    check(both.clone(), Value::Null, "write");
    check(both, json!({"byProvider": {"near": {"deny": ["write"]}}}), "");
    check(
        by("near", json!({"profile": "minimal"})),
        json!({"byProvider": {"near": {"profile": "full"}}}),
        &format!("read write edit apply_patch exec session_status memory_search {MCP}"),
    );
}

#[test]
fn a_server_of_which_nothing_can_pass_is_not_asked() {
    let may = |rules: Value| {
        let policy = Policy::new(scope(rules).as_ref(), None);
        policy.filter(&Variant::default()).may_allow_server("files")
    };
    assert!(may(json!({})));
    assert!(may(json!({"allow": ["mcp__files__read"]})));
    assert!(may(json!({"allow": ["mcp*read"]})));
    assert!(may(json!({"deny": ["mcp__files__read", "mcp__web__*"]})));
    assert!(!may(json!({"allow": ["read"]})));
    assert!(!may(json!({"allow": ["mcp__web__*"]})));
    assert!(!may(json!({"deny": ["mcp__FILES__*"]})));
    assert!(!may(json!({"deny": ["group:mcp"]})));
    assert!(!may(json!({"deny": ["*"]})));
}

#[test]
fn an_unknown_group_or_profile_is_refused() {
    let refusal = |block: Value| serde_json::from_value::<Scope>(block).expect_err("not valid").to_string();
    let error = refusal(json!({"deny": ["group:everything"]}));
    assert!(error.starts_with("unknown group `group:everything`; there are group:fs, "), "{error}");
    assert!(refusal(json!({"profile": "root"})).starts_with("unknown variant `root`, expected one of `minimal`"));
}
