//! A configuration file that changes while everything runs.

use serde_json::json;

use crate::{
    harness::{Gateway, Signal, Topology, each_topology, eventually},
    provider::{Gate, Reply},
};

each_topology![
    an_agent_comes_and_goes,
    a_stream_in_flight_keeps_its_model_and_new_runs_get_the_new_one,
    a_token_comes_and_goes,
    a_limit_of_the_gateway_changes,
    a_bad_file_is_refused_and_the_old_one_stays,
    what_needs_a_restart_is_named,
    a_change_that_needs_another_file_is_applied_once_that_is_there,
];

async fn an_agent_comes_and_goes(topology: Topology) {
    let mut gateway = Gateway::start(topology).await;
    let ask = |gateway: &Gateway| gateway.ask("hi").header("x-clawdbot-agent-id", "gamma");
    ask(&gateway).send().await.assert_error(404, "invalid_request_error", "model_not_found");
    gateway.rewrite_config(
        json!({"agents": {"list": [{"id": "main"}, {"id": "gamma", "systemPrompt": "You are gamma."}]}}),
    );
    for process in gateway.processes() {
        process.signal(Signal::SIGHUP);
    }
    eventually("gamma answers", async || ask(&gateway).send().await.status == 200).await;
    assert_eq!(gateway.provider.last_asked().instructions(), ["You are gamma."]);
    gateway.rewrite_config(json!({"agents": {"list": [{"id": "main"}]}}));
    eventually("gamma is gone", async || ask(&gateway).send().await.status == 404).await;
    let listed = async || gateway.request("GET", "/v1/models").send().await.body;
    eventually("gamma is not listed", async || !listed().await.contains("gamma")).await;
    let logs = gateway.logs();
    assert!(logs.contains("agents.list[1].systemPrompt"), "the log names what has changed");
    assert!(!logs.contains("You are gamma."), "and never its value");
}

async fn a_stream_in_flight_keeps_its_model_and_new_runs_get_the_new_one(topology: Topology) {
    let mut gateway = Gateway::start(topology).await;
    let gate = Gate::default();
    let slow = Reply::stream().delta("be").wait_for(&gate).delta("fore").finish("stop").usage(7, 3).done();
    gateway.provider.answers_once(slow);
    let mut old = gateway.ask("hi").stream().await;
    old.text("be").await;
    gateway
        .rewrite_config(json!({"agents": {"defaults": {"model": "stub/new-model", "systemPrompt": "You are new."}}}));
    eventually("the new model answers", async || {
        assert_eq!(gateway.ask("hi").send().await.content(), "hello");
        gateway.provider.last_asked().body["model"] == "new-model"
    })
    .await;
    assert_eq!(gateway.provider.last_asked().instructions(), ["You are new."]);
    gate.open();
    assert_eq!(old.end().await.content(), "before");
    assert_eq!(gateway.provider.asked()[0].body["model"], "test-model");
}

async fn a_token_comes_and_goes(topology: Topology) {
    let mut gateway = Gateway::start(topology).await;
    let ask = |gateway: &Gateway| gateway.request("GET", "/v1/models").bearer("of-alice");
    assert_eq!(ask(&gateway).send().await.status, 401);
    let tokens = json!([{"name": "alice", "token": "of-alice", "agents": ["beta"]}]);
    gateway.rewrite_config(json!({"gateway": {"auth": {"tokens": tokens}}}));
    eventually("alice is known", async || ask(&gateway).send().await.status == 200).await;
    let listed = ask(&gateway).send().await.body;
    assert!(listed.contains("beta") && !listed.contains("alpha"), "{listed}");
    gateway.rewrite_config(json!({"gateway": {"auth": {"tokens": null}}}));
    eventually("alice is unknown", async || ask(&gateway).send().await.status == 401).await;
    assert!(!gateway.logs().contains("of-alice"));
}

async fn a_limit_of_the_gateway_changes(topology: Topology) {
    let mut gateway = Gateway::start(topology).await;
    gateway.rewrite_config(json!({"gateway": {"http": {"maxBodyBytes": 10}}}));
    eventually("large bodies are refused", async || gateway.ask("hi").send().await.status == 413).await;
    gateway.rewrite_config(json!({"gateway": {"http": null}}));
    eventually("they are taken again", async || gateway.ask("hi").send().await.status == 200).await;
}

async fn a_bad_file_is_refused_and_the_old_one_stays(topology: Topology) {
    let mut gateway = Gateway::on(topology).await.with_admin_ports().start().await;
    let runner = match topology {
        Topology::OneProcess => "clawdbot",
        Topology::ThreeProcesses => "agent-runner",
    };
    let said = |gateway: &mut Gateway, text: &str| gateway.process(runner).log().contains(text);
    gateway.spoil_config("{ agents: {");
    eventually("the log says why", async || said(&mut gateway, "clawdbot.json:1:12: unexpected end of the file")).await;
    assert_eq!(gateway.ask("hi").send().await.content(), "hello");
    gateway.rewrite_config(json!({"agents": {"list": [{"id": "main", "model": "nowhere/m"}]}}));
    eventually("the log says why", async || said(&mut gateway, "there is no model provider `nowhere`")).await;
    assert_eq!(gateway.ask("hi").send().await.content(), "hello");
    let metrics = gateway.admin(runner, "/metrics").send().await.body;
    for series in [r#"{outcome="applied"} 0"#, r#"{outcome="refused"} 2"#] {
        assert!(metrics.contains(&format!("clawdbot_config_reloads_total{series}")), "{metrics}");
    }
    gateway.rewrite_config(json!({"agents": {"list": [{"id": "main", "systemPrompt": "You are back."}]}}));
    eventually("the good file is applied", async || {
        assert_eq!(gateway.ask("hi").send().await.content(), "hello");
        gateway.provider.last_asked().instructions() == ["You are back."]
    })
    .await;
}

async fn what_needs_a_restart_is_named(topology: Topology) {
    let mut gateway = Gateway::start(topology).await;
    let changed = json!({"gateway": {"bind": "127.0.0.2", "drainMs": 29_000}, "log": {"format": "text"}});
    gateway.rewrite_config(changed);
    let warning = "where it takes effect only after a restart: gateway.bind, log.format";
    eventually("the log names it", async || gateway.front().log().contains(warning)).await;
    assert_eq!(gateway.ask("hi").send().await.content(), "hello");
    assert!(gateway.front().log().contains("\"keys\":\"gateway.drainMs\""), "the rest is applied");
}

#[tokio::test]
async fn a_token_that_the_gateway_made_lasts_until_the_file_has_one() {
    let start = Gateway::on(Topology::OneProcess).await.without_env("CLAWDBOT_GATEWAY_TOKEN").start();
    let mut gateway = start.await;
    let made = std::fs::read_to_string(gateway.installation().state().join("gateway.token")).unwrap();
    let status = async |gateway: &Gateway, token: &str| {
        gateway.request("GET", "/v1/models").bearer(token).send().await.status.as_u16()
    };
    let limited = json!({"gateway": {"http": {"maxBodyBytes": 10}}});
    gateway.rewrite_config(limited);
    let ask = |gateway: &Gateway| gateway.ask("hi").bearer(made.trim());
    eventually("the change is applied", async || ask(&gateway).send().await.status == 413).await;
    assert_eq!(status(&gateway, made.trim()).await, 200);
    gateway.rewrite_config(json!({"gateway": {"auth": {"token": "of-mine"}}}));
    eventually("the file's token is known", async || status(&gateway, "of-mine").await == 200).await;
    assert_eq!(status(&gateway, made.trim()).await, 401);
    std::fs::write(gateway.installation().home().join("token"), "of-a-file").unwrap();
    gateway.rewrite_config(json!({"gateway": {"auth": {"token": null, "tokenFile": "~/token"}}}));
    eventually("the token in the file is known", async || status(&gateway, "of-a-file").await == 200).await;
    gateway.rewrite_config(json!({"gateway": {"auth": {"tokenFile": null, "mode": "none"}}}));
    eventually("none is needed", async || status(&gateway, "whatever").await == 200).await;
}

async fn a_change_that_needs_another_file_is_applied_once_that_is_there(topology: Topology) {
    let mut gateway = Gateway::start(topology).await;
    let tokens = json!([{"name": "alice", "tokenFile": "of-alice"}]);
    gateway.rewrite_config(json!({"gateway": {"auth": {"tokens": tokens}}}));
    eventually("the change is refused", async || gateway.logs().contains("tokenFile: cannot read ")).await;
    // Beside the configuration.
    std::fs::write(gateway.installation().home().join("of-alice"), "alices-secret").unwrap();
    let ask = || gateway.request("GET", "/v1/models").bearer("alices-secret").send();
    eventually("alice is known", async || ask().await.status == 200).await;
    assert_eq!(gateway.logs().matches("the changed configuration is refused").count(), 1);
}
