//! `/v1/sessions/{key}`: a session can be reset and deleted, and its turn in flight be stopped.

use serde_json::{Value, json};

use crate::{
    harness::{Answer, Gateway, Topology, assert_error, each_topology, run, soon},
    provider::{Gate, Reply},
};

each_topology![
    a_reset_session_begins_anew,
    a_deleted_session_is_gone,
    an_abort_stops_the_turn_in_flight,
    an_abort_without_a_turn_says_so,
    a_session_can_be_reset_while_a_turn_streams,
    a_session_can_be_deleted_while_a_turn_streams,
];

const KEY: &str = "agent:main:openai-user:alice";

/// Makes a gateway whose user alice has said `one` and was answered `hello`.
async fn with_a_turn(topology: Topology) -> Gateway {
    let gateway = Gateway::start(topology).await;
    assert_eq!(gateway.ask("one").user("alice").send().await.session_key(), KEY);
    gateway
}

async fn a_reset_session_begins_anew(topology: Topology) {
    let gateway = with_a_turn(topology).await;
    let before = gateway.session("GET", KEY, "").send().await.json();
    let after = gateway.session("POST", KEY, "/reset").send().await.json();
    assert_eq!((&after["id"], &after["object"], &after["message_count"]), (&json!(KEY), &json!("session"), &json!(0)));
    assert_ne!(after["session_id"], before["session_id"]);
    assert_eq!(after["usage"]["total_tokens"], 0, "{after}");
    gateway.ask("two").user("alice").send().await.content();
    assert_eq!(gateway.provider.last_asked().conversation(), ["user: two"]);
}

async fn a_deleted_session_is_gone(topology: Topology) {
    let gateway = with_a_turn(topology).await;
    assert_eq!(gateway.session("DELETE", KEY, "").send().await.json()["deleted"], true);
    let again = gateway.session("DELETE", KEY, "").send().await;
    again.assert_error(404, "invalid_request_error", "not_found");
    assert_eq!(gateway.request("GET", "/v1/sessions").send().await.json()["data"], json!([]));
    gateway.ask("two").user("alice").send().await.content();
    assert_eq!(gateway.provider.last_asked().conversation(), ["user: two"]);
}

async fn an_abort_stops_the_turn_in_flight(topology: Topology) {
    let gateway = with_a_turn(topology).await;
    gateway.provider.answers_once(Reply::stream().delta("half an ans").hang());
    let mut stream = gateway.ask("lost").user("alice").stream().await;
    stream.text("half an ans").await;
    let run_id = stream.header("x-clawdbot-run-id").to_owned();
    let in_flight = gateway.session("GET", KEY, "").send().await.json();
    assert_eq!(in_flight["turn_in_flight"], json!({"run_id": run_id}), "{in_flight}");

    let aborted = gateway.session("POST", KEY, "/abort").send().await.json();
    assert_eq!(aborted, json!({"id": KEY, "object": "session.abort", "aborted": true, "run_id": run_id}));
    assert_error(&stream.end().await.error(), "api_error", "unavailable");
    gateway.provider.hang_up().await;
    gateway.ask("two").user("alice").send().await.content();
    let asked = gateway.provider.last_asked();
    assert_eq!(asked.conversation(), ["user: one", "assistant: hello", "user: two"]);
    assert_eq!(gateway.session("GET", KEY, "").send().await.json()["turn_in_flight"], Value::Null);
}

async fn an_abort_without_a_turn_says_so(topology: Topology) {
    let gateway = with_a_turn(topology).await;
    let aborted = gateway.session("POST", KEY, "/abort").send().await.json();
    assert_eq!(aborted, json!({"id": KEY, "object": "session.abort", "aborted": false, "run_id": null}));
}

/// Takes the session away from a turn that streams, which must end with an error and keep nothing.
async fn taken_away(gateway: &Gateway, method: &str, below: &str) -> Answer {
    let gate = Gate::default();
    let reply = Reply::stream().delta("la").wait_for(&gate).delta("te").finish("stop").usage(7, 3).done();
    gateway.provider.answers_once(reply);
    let mut stream = gateway.ask("lost").user("alice").stream().await;
    stream.text("la").await;
    let answer = gateway.session(method, KEY, below).send().await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    gate.open();
    assert_error(&soon("the stream ends", stream.end()).await.error(), "rate_limit_error", "session_busy");
    answer
}

async fn a_session_can_be_reset_while_a_turn_streams(topology: Topology) {
    let gateway = with_a_turn(topology).await;
    let reset = taken_away(&gateway, "POST", "/reset").await.json();
    assert_eq!((&reset["message_count"], &reset["turn_in_flight"]), (&json!(0), &Value::Null), "{reset}");
    gateway.ask("two").user("alice").send().await.content();
    assert_eq!(gateway.provider.last_asked().conversation(), ["user: two"]);
}

async fn a_session_can_be_deleted_while_a_turn_streams(topology: Topology) {
    let gateway = with_a_turn(topology).await;
    taken_away(&gateway, "DELETE", "").await;
    let answer = gateway.session("GET", KEY, "").send().await;
    answer.assert_error(404, "invalid_request_error", "not_found");
    gateway.ask("two").user("alice").send().await.content();
    assert_eq!(gateway.provider.last_asked().conversation(), ["user: two"]);
}

#[tokio::test]
async fn an_abort_frees_a_session_whose_runner_has_died() {
    run(async {
        let mut gateway = Gateway::start(Topology::ThreeProcesses).await;
        gateway.provider.answers_once(Reply::stream().delta("half an ans").hang());
        let mut stream = gateway.ask("lost").user("alice").stream().await;
        stream.text("half an ans").await;
        gateway.kill("agent-runner").await;
        stream.end().await.error();
        let aborted = gateway.session("POST", KEY, "/abort").send().await.json();
        assert_eq!(aborted["aborted"], true, "{aborted}");
        let freed = gateway.session("GET", KEY, "").send().await.json();
        assert_eq!(freed["turn_in_flight"], Value::Null, "{freed}");
    })
    .await;
}
