//! What a client hears while a service behind the gateway is gone; only where it is a process that can go.

use crate::{
    harness::{Gateway, Topology, assert_error, run},
    provider::{Gate, Reply},
};

#[tokio::test]
async fn without_its_store_a_session_is_unavailable() {
    run(async {
        let mut gateway = Gateway::start(Topology::ThreeProcesses).await;
        assert_eq!(gateway.ask("one").user("alice").send().await.content(), "hello");
        gateway.kill("session-store").await;
        let answer = gateway.ask("two").user("alice").send().await;
        answer.assert_error(503, "api_error", "unavailable");
        assert_says_when_to_retry(answer.header("retry-after"));
        assert_eq!(gateway.provider.asked().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_turn_that_ends_while_the_store_restarts_is_kept() {
    run(async {
        let mut gateway = Gateway::start(Topology::ThreeProcesses).await;
        let gate = Gate::default();
        let reply = Reply::stream().delta("first").wait_for(&gate).finish("stop").usage(7, 3).done();
        gateway.provider.answers_once(reply);
        let mut stream = gateway.ask("one").user("alice").stream().await;
        stream.text("first").await;
        gateway.kill("session-store").await;
        gate.open();
        gateway.revive("session-store");
        assert_eq!(stream.end().await.content(), "first");
        assert_eq!(gateway.ask("two").user("alice").send().await.content(), "hello");
        let asked = gateway.provider.last_asked();
        assert_eq!(asked.conversation(), ["user: one", "assistant: first", "user: two"]);
    })
    .await;
}

#[tokio::test]
async fn without_its_store_a_stateless_request_is_answered() {
    run(async {
        let mut gateway = Gateway::start(Topology::ThreeProcesses).await;
        gateway.kill("session-store").await;
        assert_eq!(gateway.ask("hi").send().await.content(), "hello");
        assert_eq!(gateway.ask("hi").stream().await.end().await.content(), "hello");
    })
    .await;
}

#[tokio::test]
async fn without_its_runner_the_gateway_is_unavailable() {
    run(async {
        let mut gateway = Gateway::start(Topology::ThreeProcesses).await;
        assert_eq!(gateway.ask("hi").send().await.content(), "hello");
        gateway.kill("agent-runner").await;
        let answer = gateway.ask("hi").send().await;
        answer.assert_error(503, "api_error", "unavailable");
        assert_says_when_to_retry(answer.header("retry-after"));
        assert_eq!(gateway.request("GET", "/healthz").send().await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn a_runner_that_dies_in_the_middle_ends_the_stream_with_an_error() {
    run(async {
        let mut gateway = Gateway::start(Topology::ThreeProcesses).await;
        gateway.provider.answers(Reply::stream().delta("half an ans").hang());
        let mut stream = gateway.ask("hi").stream().await;
        stream.text("half an ans").await;
        gateway.kill("agent-runner").await;
        assert_error(&stream.end().await.error(), "api_error", "unavailable");
    })
    .await;
}

/// Runs wait at two runners for a provider that says nothing, and one of the runners is killed.
#[tokio::test]
async fn a_run_whose_runner_dies_before_it_gave_anything_moves_to_another() {
    run(async {
        let mut gateway = Gateway::start(Topology::ThreeProcesses).await;
        gateway.add_runner().await;
        let gate = Gate::default();
        gateway.provider.answers(Reply::text(&["hel", "lo"]).after(&gate));
        let whole = [
            gateway.ask("hi"),
            gateway.ask("hi").user("alice"),
            gateway.ask("hi").user("bob").header("idempotency-key", "k1"),
        ];
        let mut answers: Vec<_> =
            whole.into_iter().map(|request| tokio::spawn(async { request.send().await.content() })).collect();
        let streamed = [
            gateway.ask("hi"),
            gateway.ask("hi").user("carol"),
            gateway.ask("hi").header("x-clawdbot-on-disconnect", "continue"),
        ];
        answers.extend(streamed.map(|request| tokio::spawn(async { request.stream().await.end().await.content() })));
        gateway.provider.request(6).await;
        gateway.kill("agent-runner").await;
        gateway.provider.request(7).await;
        gate.open();
        for answer in answers {
            assert_eq!(answer.await.unwrap(), "hello");
        }
        for user in ["alice", "bob", "carol"] {
            let key = format!("agent:main:openai-user:{user}");
            let messages = gateway.session("GET", &key, "/messages").send().await.json();
            assert_eq!(messages["data"].as_array().map(Vec::len), Some(2), "{user} has one turn: {messages}");
        }
    })
    .await;
}

fn assert_says_when_to_retry(retry_after: &str) {
    assert!(retry_after.parse::<u32>().is_ok(), "{retry_after:?}");
}
