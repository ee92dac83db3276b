//! `clawdbot` on a command line: a single run, checking the configuration, and the first start.

use std::{fs, os::unix::fs::PermissionsExt, process::Output};

use serde_json::{Value, json};

use crate::{
    harness::{Gateway, Installation, Signal, Topology, clawdbot, run, soon},
    provider::{Provider, Reply},
};

/// Runs `clawdbot` with these arguments to its end.
pub(crate) async fn clawdbot_with(installation: &Installation, arguments: &[&str]) -> Output {
    let mut command = installation.command(&clawdbot());
    let what = format!("clawdbot {arguments:?} ends");
    soon(&what, command.args(arguments).kill_on_drop(true).output()).await.unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test]
async fn a_run_prints_its_answer() {
    let provider = Provider::start().await;
    let installation = Installation::new(&provider);
    provider.answers(Reply::text(&["he", "llo"]));
    let output = clawdbot_with(&installation, &["agent", "--message", "hi"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(stdout(&output), "hello\n");
    assert_eq!(provider.last_asked().conversation(), ["user: hi"]);
}

#[tokio::test]
async fn a_run_prints_its_events_as_json() {
    let provider = Provider::start().await;
    let installation = Installation::new(&provider);
    provider.answers(Reply::text(&["he", "llo"]));
    let output = clawdbot_with(&installation, &["agent", "--message", "hi", "--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let stdout = stdout(&output);
    let events: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event["seq"], index + 1, "{stdout}");
    }
    assert_eq!(events.first().unwrap()["type"], "started", "{stdout}");
    let deltas = events.iter().filter(|event| event["type"] == "text_delta");
    let text: String = deltas.map(|event| event["text"].as_str().unwrap()).collect();
    assert_eq!(text, "hello");
    let finished = events.last().unwrap();
    assert_eq!(finished["type"], "finished", "{stdout}");
    assert_eq!(finished["reason"], "stop", "{stdout}");
    assert_eq!(finished["usage"]["prompt_tokens"], 7, "{stdout}");
}

#[tokio::test]
async fn a_run_can_be_a_turn_of_a_session() {
    let provider = Provider::start().await;
    let installation = Installation::new(&provider);
    for arguments in [["--user", "alice"], ["--session-key", "foo"]] {
        let first = [&["agent", "--message", "one"], &arguments[..]].concat();
        assert_eq!(clawdbot_with(&installation, &first).await.status.code(), Some(0));
        let second = [&["agent", "--message", "two"], &arguments[..]].concat();
        assert_eq!(clawdbot_with(&installation, &second).await.status.code(), Some(0));
        let asked = provider.last_asked();
        assert_eq!(asked.conversation(), ["user: one", "assistant: hello", "user: two"]);
    }
}

#[tokio::test]
async fn a_run_can_name_its_agent() {
    let provider = Provider::start().await;
    let installation = Installation::new(&provider);
    let output = clawdbot_with(&installation, &["agent", "--message", "hi", "--agent", "beta"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(provider.last_asked().instructions(), ["You are beta."]);
    let output = clawdbot_with(&installation, &["agent", "--message", "hi", "--agent", "ghost"]).await;
    assert_ne!(output.status.code(), Some(0), "{output:?}");
    assert!(stderr(&output).contains("ghost"), "{output:?}");
}

#[tokio::test]
async fn a_failed_run_says_so_and_fails() {
    let provider = Provider::start().await;
    let installation = Installation::new(&provider);
    provider.answers(Reply::error(400, "invalid_request_error", "invalid_value", "no such thing"));
    let output = clawdbot_with(&installation, &["agent", "--message", "hi"]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(stdout(&output), "");
    assert!(stderr(&output).contains("no such thing"), "{output:?}");
}

#[tokio::test]
async fn a_good_configuration_passes_its_check() {
    let provider = Provider::start().await;
    let mut installation = Installation::new(&provider);
    let output = clawdbot_with(&installation, &["config", "check"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // A key of Clawdbot's own that we have no use for.
    installation.configure(json!({"channels": {"telegram": {"enabled": true}}}));
    let output = clawdbot_with(&installation, &["config", "check"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    installation.configure(json!({"tools": {"byProvider": {"stup": {"deny": ["read"]}}}}));
    let output = clawdbot_with(&installation, &["config", "check"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(stdout(&output).contains("tools.byProvider.stup: without effect"), "{output:?}");
}

#[tokio::test]
async fn a_bad_configuration_is_refused_by_its_key() {
    let provider = Provider::start().await;
    let bad = [
        (json!({"gateway": {"drainMs": "many"}}), vec!["gateway.drainMs"]),
        (json!({"gateway": {"http": {"keepAliveMs": -1}}}), vec!["gateway.http.keepAliveMs"]),
        (
            json!({"gateway": {"auth": {"tokens": [{"name": "bob", "token": "b"}, {"name": "Bob", "token": "c"}]}}}),
            vec!["gateway.auth.tokens[1].name", "bob"],
        ),
        (
            json!({"gateway": {"auth": {"tokens": [{"name": "bob", "token": "b", "agents": ["a b"]}]}}}),
            vec!["gateway.auth.tokens[0].agents[0]"],
        ),
        (json!({"log": {"format": "pretty"}}), vec!["log.format"]),
        (json!({"services": {"sessionStore": {"database": "mysql://db"}}}), vec!["services.sessionStore.database"]),
        (json!({"models": {"providers": {"stub": {"baseUrl": "ftp://h"}}}}), vec!["models.providers.stub.baseUrl"]),
        (json!({"tools": {"deny": ["exce"]}}), vec!["tools.deny[0]", "exce", "exec"]),
        (
            json!({"services": {"agentRunner": {"lisen": "127.0.0.1:1"}}}),
            vec!["services.agentRunner.lisen", "did you mean", "listen"],
        ),
        (
            json!({"models": {"providers": {"stub": {"apiKey": "${NOT_SET}"}}}}),
            vec!["models.providers.stub.apiKey", "NOT_SET"],
        ),
    ];
    for (patch, expected) in bad {
        let mut installation = Installation::new(&provider);
        installation.configure(patch);
        // Neither the check nor a start accepts it.
        for arguments in [&["config", "check"][..], &["gateway"]] {
            let output = clawdbot_with(&installation, arguments).await;
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            for part in &expected {
                assert!(stderr(&output).contains(part), "{part:?} is not in {output:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_first_start_makes_a_token_that_lasts() {
    run(async {
        let without = Gateway::on(Topology::OneProcess).await.without_env("CLAWDBOT_GATEWAY_TOKEN");
        let mut gateway = without.start().await;
        let file = gateway.installation().state().join("gateway.token");
        let token = fs::read_to_string(&file).unwrap().trim().to_owned();
        assert!(token.len() >= 32, "{token:?}");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

        let printed = gateway.logs();
        let curl = printed.lines().find(|line| line.contains("curl ")).expect("a curl line is printed");
        assert!(curl.contains("/v1/chat/completions"), "{printed}");
        assert!(curl.contains(&format!("Authorization: Bearer {token}")), "{printed}");
        assert_eq!(gateway.ask("hi").bearer(&token).send().await.content(), "hello");
        let answer = gateway.ask("hi").anonymous().send().await;
        answer.assert_error(401, "authentication_error", "invalid_api_key");

        gateway.restart(Signal::SIGTERM).await;
        assert_eq!(gateway.ask("hi").bearer(&token).send().await.content(), "hello");
        assert_eq!(fs::read_to_string(&file).unwrap().trim(), token);
    })
    .await;
}

#[tokio::test]
async fn an_open_bind_needs_a_secret() {
    let provider = Provider::start().await;
    for bind in ["lan", "0.0.0.0"] {
        let mut installation = Installation::new(&provider);
        installation.remove_env("CLAWDBOT_GATEWAY_TOKEN");
        installation.set_env("CLAWDBOT_GATEWAY_BIND", bind);
        installation.set_env("CLAWDBOT_GATEWAY_PORT", "0");
        let output = clawdbot_with(&installation, &["gateway"]).await;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(stderr(&output).contains("gateway.auth"), "{output:?}");
    }
}

#[tokio::test]
async fn an_open_bind_without_a_secret_can_be_wanted() {
    run(async {
        let gateway = Gateway::on(Topology::OneProcess)
            .await
            .config(json!({"gateway": {"auth": {"mode": "none"}}}))
            .without_env("CLAWDBOT_GATEWAY_TOKEN")
            .env("CLAWDBOT_GATEWAY_BIND", "lan")
            .start()
            .await;
        assert_eq!(gateway.ask("hi").anonymous().send().await.content(), "hello");
    })
    .await;
}
