//! What upstream promises of `POST /v1/chat/completions`, by our rules: who may ask, which agent answers, and under
//! which session key.

use serde_json::json;

use crate::harness::{Answer, Gateway, Topology, each_topology};

each_topology![
    the_endpoint_can_be_switched_off,
    a_request_without_a_secret_is_refused,
    the_bearer_scheme_is_read_in_any_case,
    password_mode_takes_the_password,
    the_agent_is_named_by_a_header_or_the_model,
    an_agent_in_the_header_beats_one_in_the_model,
    an_unknown_agent_is_refused_with_the_names_of_those_that_exist,
    every_listed_model_can_be_asked,
    one_request_is_one_run,
    the_session_key_follows_from_user_and_agent,
    a_session_key_in_a_header_is_kept,
    a_stateless_request_has_a_key_of_its_own,
    reserved_session_keys_are_refused,
    an_answer_names_its_request_and_its_run,
    probes_need_no_secret,
];

async fn the_endpoint_can_be_switched_off(topology: Topology) {
    let off = json!({"gateway": {"http": {"endpoints": {"chatCompletions": {"enabled": false}}}}});
    let gateway = Gateway::with_config(topology, off).await;
    let answer = gateway.ask("hi").send().await;
    answer.assert_error(404, "invalid_request_error", "not_found");
    assert!(gateway.provider.asked().is_empty());
}

async fn a_request_without_a_secret_is_refused(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let without = [
        gateway.ask("hi").anonymous(),
        gateway.ask("hi").bearer(""),
        gateway.ask("hi").bearer("wrong"),
        gateway.ask("hi").bearer("secre"),
        gateway.ask("hi").bearer("secretsecret"),
        gateway.ask("hi").header("authorization", "Basic secret"),
        gateway.ask("hi").header("authorization", "secret"),
        gateway.request("GET", "/v1/models").anonymous(),
    ];
    for request in without {
        let answer = request.send().await;
        answer.assert_error(401, "authentication_error", "invalid_api_key");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    assert!(gateway.provider.asked().is_empty());
}

async fn the_bearer_scheme_is_read_in_any_case(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    for value in ["Bearer secret", "bearer secret", "BEARER   secret "] {
        let answer = gateway.ask("hi").header("authorization", value).send().await;
        assert_eq!(answer.content(), "hello", "{value:?}");
    }
}

async fn password_mode_takes_the_password(topology: Topology) {
    let gateway = Gateway::on(topology)
        .await
        .without_env("CLAWDBOT_GATEWAY_TOKEN")
        .env("CLAWDBOT_GATEWAY_PASSWORD", "open sesame")
        .start()
        .await;
    assert_eq!(gateway.ask("hi").bearer("open sesame").send().await.content(), "hello");
    let answer = gateway.ask("hi").bearer("secret").send().await;
    answer.assert_error(401, "authentication_error", "invalid_api_key");
}

async fn the_agent_is_named_by_a_header_or_the_model(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let headers = [
        "x-clawdbot-agent-id",
        "x-clawdbot-agent",
        "x-openclaw-agent-id",
        "x-openclaw-agent",
        "x-moltbot-agent-id",
        "x-moltbot-agent",
    ];
    for name in headers {
        let answer = gateway.ask("hi").header(name, "beta").send().await;
        assert_answered_by(&gateway, &answer, "beta", name);
    }
    let of_beta = [
        "clawdbot:beta",
        "clawdbot/beta",
        "openclaw:beta",
        "openclaw/beta",
        "moltbot:beta",
        "moltbot/beta",
        "agent:beta",
        "Clawdbot:BETA",
    ];
    for model in of_beta {
        let answer = gateway.ask("hi").with("model", model).send().await;
        assert_answered_by(&gateway, &answer, "beta", model);
        assert_eq!(answer.json()["model"], model);
    }
    let of_default = ["clawdbot", "clawdbot/default", "openclaw", "moltbot", "openclaw/default", "gpt-4o", "beta"];
    for model in of_default {
        let answer = gateway.ask("hi").with("model", model).send().await;
        assert_answered_by(&gateway, &answer, "main", model);
        assert_eq!(answer.json()["model"], model);
    }
}

async fn an_agent_in_the_header_beats_one_in_the_model(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let ask = gateway.ask("hi").with("model", "clawdbot:beta");
    let answer = ask.header("x-clawdbot-agent-id", "alpha").send().await;
    assert_answered_by(&gateway, &answer, "alpha", "header and model");
}

/// Checks the session key, and by its prompt that it was this agent.
fn assert_answered_by(gateway: &Gateway, answer: &Answer, agent: &str, what: &str) {
    assert_eq!(answer.content(), "hello", "{what}");
    let key = answer.session_key();
    assert!(key.starts_with(&format!("agent:{agent}:")), "{what}: {key}");
    let is_beta = gateway.provider.last_asked().instructions() == ["You are beta."];
    assert_eq!(is_beta, agent == "beta", "{what}");
}

async fn an_unknown_agent_is_refused_with_the_names_of_those_that_exist(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let unknown = [
        gateway.ask("hi").header("x-clawdbot-agent-id", "ghost"),
        gateway.ask("hi").with("model", "clawdbot:ghost"),
        gateway.ask("hi").with("model", "agent:ghost").with("stream", true),
    ];
    for request in unknown {
        let answer = request.send().await;
        let error = answer.assert_error(404, "invalid_request_error", "model_not_found");
        let message = error["message"].as_str().unwrap();
        for name in ["ghost", "main", "beta", "alpha"] {
            assert!(message.contains(name), "{message}");
        }
    }
    assert!(gateway.provider.asked().is_empty());
}

async fn every_listed_model_can_be_asked(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let list = gateway.request("GET", "/v1/models").send().await.json();
    assert_eq!(list["object"], "list");
    let mut prefixes = Vec::new();
    for model in list["data"].as_array().unwrap() {
        assert_eq!(model["object"], "model", "{model}");
        assert!(model["created"].is_u64() && model["owned_by"].is_string(), "{model}");
        let answer = gateway.ask("hi").with("model", model["id"].clone()).send().await;
        assert_eq!(answer.content(), "hello", "{model}");
        prefixes.extend(answer.session_key().split(':').nth(1).map(str::to_owned));
    }
    for agent in ["main", "beta", "alpha"] {
        assert!(prefixes.iter().any(|prefix| prefix == agent), "{list}");
    }
}

async fn one_request_is_one_run(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    assert_eq!(gateway.ask("hi").send().await.content(), "hello");
    let asked = gateway.provider.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].path, "/v1/chat/completions");
    assert_eq!(asked[0].header("authorization"), "Bearer provider-key");
    assert_eq!(asked[0].body["model"], "test-model");
    assert_eq!(asked[0].body["stream"], true);
    assert_eq!(asked[0].body["stream_options"]["include_usage"], true);
}

async fn the_session_key_follows_from_user_and_agent(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let of_alice = gateway.ask("hi").user("alice").send().await;
    assert_eq!(of_alice.session_key(), "agent:main:openai-user:alice");
    let in_capitals = gateway.ask("hi").user("Alice").send().await;
    assert_eq!(in_capitals.session_key(), "agent:main:openai-user:alice");
    let with_beta = gateway.ask("hi").user("alice").with("model", "clawdbot:beta").send().await;
    assert_eq!(with_beta.session_key(), "agent:beta:openai-user:alice");
}

async fn a_session_key_in_a_header_is_kept(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let whole = gateway
        .ask("hi")
        .header("x-clawdbot-agent-id", "beta")
        .header("x-clawdbot-session-key", "agent:beta:openai:custom")
        .send()
        .await;
    assert_eq!(whole.session_key(), "agent:beta:openai:custom");
    for name in ["x-clawdbot-session-key", "x-openclaw-session-key", "x-moltbot-session-key"] {
        let bare = gateway.ask("hi").header(name, "foo").user("alice").send().await;
        assert_eq!(bare.session_key(), "agent:main:foo", "{name}");
    }
    let asked = gateway.provider.last_asked();
    assert_eq!(asked.conversation().len(), 5, "all three were one session: {:?}", asked.conversation());
}

async fn a_stateless_request_has_a_key_of_its_own(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let first = gateway.ask("hi").send().await;
    let second = gateway.ask("hi").send().await;
    assert_ne!(first.session_key(), second.session_key());
    let id = first.session_key().strip_prefix("agent:main:openai:").unwrap();
    assert!(uuid::Uuid::parse_str(id).is_ok(), "{id}");
}

async fn reserved_session_keys_are_refused(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    for key in ["subagent:x", "cron:x", "acp:x", "agent:main:subagent:x", "agent:main:cron:x", "agent:main:acp:x"] {
        let answer = gateway.ask("hi").header("x-clawdbot-session-key", key).send().await;
        answer.assert_error(400, "invalid_request_error", "invalid_value");
    }
    assert!(gateway.provider.asked().is_empty());
}

async fn an_answer_names_its_request_and_its_run(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let answer = gateway.ask("hi").send().await;
    assert_ne!(answer.header("x-request-id"), "");
    assert_ne!(answer.header("x-clawdbot-run-id"), "");
    let stream = gateway.ask("hi").stream().await;
    for name in ["x-request-id", "x-clawdbot-run-id", "x-clawdbot-session-key"] {
        assert_ne!(stream.header(name), "", "{name}");
    }
    let refused = gateway.ask("hi").anonymous().send().await;
    assert_ne!(refused.header("x-request-id"), "");
}

async fn probes_need_no_secret(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(gateway.request("GET", path).anonymous().send().await.status, 200, "{path}");
    }
}
