//! Named tokens: whose sessions are whose, and which agents each may ask.

use serde_json::{Value, json};

use crate::{
    harness::{Gateway, Request, Topology, each_topology, encoded, soon},
    provider::{Gate, Reply},
};

each_topology![
    a_named_token_opens_the_gateway,
    the_same_user_of_two_tokens_has_two_sessions,
    a_session_key_in_a_header_reaches_no_other_namespace,
    no_token_sees_or_changes_the_sessions_of_another,
    the_main_token_sees_every_namespace,
    a_limited_token_may_use_its_agents_only,
    a_limited_token_has_its_agents_models_only,
    a_limited_token_lists_its_agents_only,
    named_tokens_do_without_a_main_secret,
    a_token_is_logged_by_its_name_only,
];

const KEY: &str = "agent:main:openai-user:alice";
const KEY_OF_ALICE: &str = "@alice:agent:main:openai-user:alice";

fn tokens() -> Value {
    json!({"gateway": {"auth": {"tokens": [
        {"name": "alice", "token": "of-alice"},
        {"name": "bob", "token": "of-bob"},
        {"name": "carol", "token": "of-carol", "agents": ["beta", "alpha"]},
    ]}}})
}

async fn start(topology: Topology) -> Gateway {
    Gateway::with_config(topology, tokens()).await
}

/// Makes a gateway where alice's token has said `one` for the user alice.
async fn with_a_turn_of_alice(topology: Topology) -> Gateway {
    let gateway = start(topology).await;
    let answer = gateway.ask("one").user("alice").bearer("of-alice").send().await;
    assert_eq!(answer.content(), "hello");
    assert_eq!(answer.session_key(), KEY);
    gateway
}

async fn listed(request: Request) -> Vec<String> {
    let list = request.send().await.json();
    let data = list["data"].as_array().unwrap_or_else(|| panic!("no list: {list}"));
    data.iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect()
}

async fn a_named_token_opens_the_gateway(topology: Topology) {
    let gateway = start(topology).await;
    for secret in ["secret", "of-alice", "of-bob"] {
        assert_eq!(gateway.ask("hi").bearer(secret).send().await.content(), "hello", "{secret}");
    }
    for secret in ["alice", "of-alic", "of-alice2", "of-alice of-bob"] {
        let answer = gateway.ask("hi").bearer(secret).send().await;
        answer.assert_error(401, "authentication_error", "invalid_api_key");
    }
}

async fn the_same_user_of_two_tokens_has_two_sessions(topology: Topology) {
    let gateway = with_a_turn_of_alice(topology).await;
    for secret in ["of-bob", "secret"] {
        let answer = gateway.ask("two").user("alice").bearer(secret).send().await;
        assert_eq!(answer.content(), "hello");
        assert_eq!(answer.session_key(), KEY);
        assert_eq!(gateway.provider.last_asked().conversation(), ["user: two"], "{secret}");
    }
    gateway.ask("two").user("Alice").bearer("of-alice").send().await.content();
    let asked = gateway.provider.last_asked();
    assert_eq!(asked.conversation(), ["user: one", "assistant: hello", "user: two"]);
}

async fn a_session_key_in_a_header_reaches_no_other_namespace(topology: Topology) {
    let gateway = with_a_turn_of_alice(topology).await;
    let keys = [KEY, KEY_OF_ALICE, "@alice:openai-user:alice", "@:agent:main:openai-user:alice", "@alice"];
    for header in ["x-clawdbot-session-key", "x-openclaw-session-key", "x-moltbot-session-key"] {
        for key in keys {
            let text = format!("{header} {key}");
            let answer = gateway.ask(&text).user("alice").header(header, key).bearer("of-bob").send().await;
            assert_eq!(answer.content(), "hello", "{text}");
            let asked = gateway.provider.last_asked().conversation();
            assert!(!asked.contains(&"user: one".to_owned()), "{text}: {asked:?}");
        }
    }
    let asked = gateway.ask("two").header("x-clawdbot-session-key", KEY).bearer("of-alice").send().await;
    assert_eq!(asked.content(), "hello");
    let asked = gateway.provider.last_asked();
    assert_eq!(asked.conversation(), ["user: one", "assistant: hello", "user: two"]);
}

async fn no_token_sees_or_changes_the_sessions_of_another(topology: Topology) {
    let gateway = with_a_turn_of_alice(topology).await;
    assert_eq!(listed(gateway.request("GET", "/v1/sessions").bearer("of-bob")).await, [""; 0]);
    for key in [KEY, KEY_OF_ALICE, "@alice:openai-user:alice", "openai-user:alice"] {
        for (method, below) in
            [("GET", ""), ("GET", "/messages"), ("POST", "/reset"), ("POST", "/abort"), ("DELETE", "")]
        {
            let answer = gateway.session(method, key, below).bearer("of-bob").send().await;
            answer.assert_error(404, "invalid_request_error", "not_found");
        }
    }
    let after = format!("/v1/sessions?after={}", encoded(KEY_OF_ALICE));
    let answer = gateway.request("GET", &after).bearer("of-bob").send().await;
    assert_eq!(answer.assert_error(400, "invalid_request_error", "invalid_value")["param"], "after");

    // Nor can bob stop a turn of alice's that is being taken.
    let gate = Gate::default();
    gateway.provider.answers_once(Reply::stream().delta("sec").wait_for(&gate).delta("ond").finish("stop").done());
    let mut stream = gateway.ask("two").user("alice").bearer("of-alice").stream().await;
    stream.text("sec").await;
    for key in [KEY, KEY_OF_ALICE] {
        let answer = gateway.session("POST", key, "/abort").bearer("of-bob").send().await;
        answer.assert_error(404, "invalid_request_error", "not_found");
    }
    gate.open();
    assert_eq!(soon("the stream ends", stream.end()).await.content(), "second");
    let kept = gateway.session("GET", KEY, "").bearer("of-alice").send().await.json();
    assert_eq!((&kept["id"], &kept["message_count"]), (&json!(KEY), &json!(4)), "{kept}");
    assert_eq!(kept.get("namespace"), None, "{kept}");
}

async fn the_main_token_sees_every_namespace(topology: Topology) {
    let gateway = with_a_turn_of_alice(topology).await;
    gateway.ask("of main").user("alice").send().await.content();
    assert_eq!(listed(gateway.request("GET", "/v1/sessions")).await, [KEY, KEY_OF_ALICE]);
    assert_eq!(listed(gateway.request("GET", "/v1/sessions").bearer("of-alice")).await, [KEY]);
    let seen = gateway.session("GET", KEY_OF_ALICE, "").send().await.json();
    assert_eq!((&seen["id"], &seen["namespace"]), (&json!(KEY_OF_ALICE), &json!("alice")), "{seen}");
    let messages = gateway.session("GET", KEY_OF_ALICE, "/messages").send().await.json();
    assert_eq!(messages["data"][0]["content"], "one", "{messages}");

    let answer = gateway.ask("two").header("x-clawdbot-session-key", KEY_OF_ALICE).send().await;
    assert_eq!((answer.content().as_str(), answer.session_key()), ("hello", KEY_OF_ALICE));
    let asked = gateway.provider.last_asked();
    assert_eq!(asked.conversation(), ["user: one", "assistant: hello", "user: two"]);
    assert_eq!(gateway.session("DELETE", KEY_OF_ALICE, "").send().await.json()["deleted"], true);
    assert_eq!(listed(gateway.request("GET", "/v1/sessions").bearer("of-alice")).await, [""; 0]);
    assert_eq!(listed(gateway.request("GET", "/v1/sessions")).await, [KEY]);
}

async fn a_limited_token_may_use_its_agents_only(topology: Topology) {
    let gateway = start(topology).await;
    let ask = || gateway.ask("hi").bearer("of-carol");
    for (request, param) in [
        (ask(), "model"),
        (ask().with("model", "clawdbot:main"), "model"),
        (ask().with("model", "clawdbot:ghost"), "model"),
        (ask().with("model", "clawdbot:beta").header("x-clawdbot-agent-id", "main"), "x-clawdbot-agent-id"),
        (ask().header("x-clawdbot-session-key", "agent:main:x"), "x-clawdbot-session-key"),
        (gateway.session("GET", "agent:main:x", "").bearer("of-carol"), "key"),
        (gateway.session("DELETE", "bare", "").bearer("of-carol"), "key"),
        (gateway.request("GET", "/v1/sessions?agent=main").bearer("of-carol"), "agent"),
    ] {
        let error = request.send().await.assert_error(403, "permission_error", "forbidden");
        assert_eq!(error["param"], param, "{error}");
        assert!(error["message"].as_str().unwrap().contains("it may use: beta, alpha"), "{error}");
    }
    assert!(gateway.provider.asked().is_empty());
    let answer = ask().with("model", "clawdbot:beta").user("alice").send().await;
    assert_eq!((answer.content().as_str(), answer.session_key()), ("hello", "agent:beta:openai-user:alice"));
}

async fn a_limited_token_has_its_agents_models_only(topology: Topology) {
    let gateway = start(topology).await;
    for (secret, status) in [("of-carol", 403), ("of-alice", 200), ("secret", 200)] {
        let request = gateway.ask("hi").bearer(secret).header("x-clawdbot-agent-id", "beta");
        let answer = request.header("x-clawdbot-model", "stub/most-expensive").send().await;
        assert_eq!(answer.status, status, "{secret}: {answer:?}");
    }
    assert_eq!(gateway.provider.asked().len(), 2);
}

async fn a_limited_token_lists_its_agents_only(topology: Topology) {
    let mut gateway = start(topology).await;
    let models = |list: Value| -> Vec<String> {
        list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
    };
    let of_carol = gateway.request("GET", "/v1/models").bearer("of-carol").send().await.json();
    assert_eq!(models(of_carol), ["clawdbot/beta", "clawdbot/alpha"]);
    let of_bob = gateway.request("GET", "/v1/models").bearer("of-bob").send().await.json();
    let all = ["clawdbot", "clawdbot/default", "clawdbot/main", "clawdbot/beta", "clawdbot/alpha"];
    assert_eq!(models(of_bob), all);

    // Carol's sessions with an agent that is hers no longer are not listed, wherever they stand in the store's pages.
    for model in ["clawdbot:beta", "clawdbot:alpha", "clawdbot:alpha", "clawdbot:beta"] {
        let user = format!("user-{}", gateway.provider.asked().len());
        gateway.ask("hi").with("model", model).user(&user).bearer("of-carol").send().await.content();
    }
    let only_beta = json!({"gateway": {"auth": {"tokens": [
        {"name": "carol", "token": "of-carol", "agents": ["beta"]},
    ]}}});
    gateway.reconfigure(only_beta).await;
    let (newest, oldest) = ("agent:beta:openai-user:user-3", "agent:beta:openai-user:user-0");
    assert_eq!(listed(gateway.request("GET", "/v1/sessions").bearer("of-carol")).await, [newest, oldest]);
    let first = gateway.request("GET", "/v1/sessions?limit=1").bearer("of-carol").send().await.json();
    assert_eq!((&first["last_id"], &first["has_more"]), (&json!(newest), &json!(true)), "{first}");
    let next = format!("/v1/sessions?limit=1&after={}", encoded(newest));
    assert_eq!(listed(gateway.request("GET", &next).bearer("of-carol")).await, [oldest]);
}

async fn named_tokens_do_without_a_main_secret(topology: Topology) {
    let started = Gateway::on(topology).await.config(tokens()).without_env("CLAWDBOT_GATEWAY_TOKEN").start().await;
    assert_eq!(started.ask("hi").bearer("of-bob").send().await.content(), "hello");
    for request in [started.ask("hi").anonymous(), started.ask("hi").bearer("secret")] {
        request.send().await.assert_error(401, "authentication_error", "invalid_api_key");
    }
    // One process on this machine makes itself a main token, as it does without named ones.
    let file = started.installation().state().join("gateway.token");
    assert_eq!(file.exists(), topology == Topology::OneProcess);
    if topology == Topology::OneProcess {
        let token = std::fs::read_to_string(file).unwrap();
        assert_eq!(started.ask("hi").bearer(token.trim()).send().await.content(), "hello");
    }
}

async fn a_token_is_logged_by_its_name_only(topology: Topology) {
    let gateway = Gateway::on(topology).await.config(tokens()).env("RUST_LOG", "debug").start().await;
    gateway.ask("hi").bearer("of-bob").send().await.content();
    let logs = gateway.logs();
    assert!(logs.contains("token.name"), "{logs}");
    assert!(!logs.contains("of-bob") && !logs.contains("of-carol"), "{logs}");
}
