//! Responses that outlive their requests: in the background, taken up again, stopped, and asked for twice.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    harness::{Gateway, Signal, Topology, each_topology, eventually, run},
    provider::{Gate, Reply},
    responses::{created, events, id, over, respond, sessions, text},
};

each_topology![
    a_response_in_the_background_is_waited_for_anywhere,
    a_stream_in_the_background_is_taken_up_after_any_event,
    a_response_in_the_background_is_cancelled,
    a_client_that_hangs_up_cancels_what_is_not_in_the_background,
    what_is_not_stored_goes_on_without_its_client_if_that_is_asked_for,
    a_client_that_hangs_up_at_once_leaves_nothing_that_runs,
    a_repeat_with_a_key_gets_the_same_response,
    a_failure_in_the_background_is_kept_with_a_key_too,
    what_cannot_be_recorded_is_not_taken_on,
    a_response_in_the_background_counts_until_it_is_over,
    what_is_being_said_goes_with_its_session,
    a_gateway_that_ends_leaves_a_kept_response_alone,
];

async fn a_response_in_the_background_is_waited_for_anywhere(topology: Topology) {
    let mut gateway = Gateway::start(topology).await;
    gateway.add_replica().await;
    let gate = Gate::default();
    gateway.provider.answers(Reply::stream().delta("hel").wait_for(&gate).delta("lo").finish("stop").done());
    let response = created(&gateway, json!({"input": "hi", "background": true})).await;
    assert!(["queued", "in_progress"].contains(&response["status"].as_str().expect("a status")), "{response}");
    assert_eq!((&response["background"], &response["output"]), (&json!(true), &json!([])));
    gate.open();
    let whole = over(&gateway, &id(&response)).await;
    assert_eq!((whole["status"].as_str(), text(&whole)), (Some("completed"), "hello".to_owned()));
    assert_eq!(whole["created_at"], response["created_at"]);
}

async fn a_stream_in_the_background_is_taken_up_after_any_event(topology: Topology) {
    let mut gateway = Gateway::start(topology).await;
    gateway.add_replica().await;
    gateway.provider.answers(Reply::text(&["hel", "lo"]));
    let body = json!({"input": "hi", "background": true, "stream": true});
    let uncut = respond(&gateway, body).send().await;
    let count = events(&uncut).len();
    let id = uncut.header("x-clawdbot-run-id").to_owned();
    let rest = |query: String| gateway.request_elsewhere("GET", &format!("/v1/responses/{id}?stream=true{query}"));
    assert_eq!(rest(String::new()).send().await.body, uncut.body);
    for last in 0..count {
        let resumed = rest(format!("&starting_after={last}")).send().await;
        let cut = uncut.body.find(&format!("\"sequence_number\":{last},")).expect("the event");
        let end = cut + uncut.body[cut..].find("\n\n").expect("its end") + 2;
        assert_eq!(resumed.body, uncut.body[end..], "after {last}");
    }
    for (query, param) in [("&starting_after=x", "starting_after"), ("&stream=maybe", "stream")] {
        let error = rest(query.to_owned()).send().await.assert_error(400, "invalid_request_error", "invalid_value");
        assert_eq!(error["param"], param);
    }
}

async fn a_response_in_the_background_is_cancelled(topology: Topology) {
    let mut gateway = Gateway::start(topology).await;
    gateway.add_replica().await;
    gateway.provider.answers(Reply::stream().delta("hel").hang());
    let response = created(&gateway, json!({"input": "hi", "background": true})).await;
    gateway.provider.request(1).await;
    let path = format!("/v1/responses/{}/cancel", id(&response));
    let cancelled = gateway.request_elsewhere("POST", &path).send().await;
    assert_eq!(cancelled.json()["status"], "cancelled", "{}", cancelled.body);
    gateway.provider.hang_up().await;
    assert_eq!(over(&gateway, &id(&response)).await["status"], "cancelled");

    gateway.provider.answers(Reply::text(&["hello"]));
    let in_front = created(&gateway, json!({"input": "hi"})).await;
    let path = format!("/v1/responses/{}/cancel", id(&in_front));
    gateway.request("POST", &path).send().await.assert_error(400, "invalid_request_error", "invalid_value");
}

async fn a_client_that_hangs_up_cancels_what_is_not_in_the_background(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    gateway.provider.answers(Reply::stream().delta("hel").hang());
    let mut stream = respond(&gateway, json!({"input": "hi", "stream": true})).stream().await;
    stream.first(1).await;
    gateway.provider.request(1).await;
    drop(stream);
    gateway.provider.hang_up().await;
    gateway.provider.idle().await;
    // In one piece, likewise.
    let whole = tokio::spawn(respond(&gateway, json!({"input": "hi"})).try_send());
    gateway.provider.request(2).await;
    assert_eq!(gateway.provider.open(), 1);
    whole.abort();
    gateway.provider.idle().await;
}

async fn what_is_not_stored_goes_on_without_its_client_if_that_is_asked_for(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let gate = Gate::default();
    gateway.provider.answers(Reply::stream().delta("hel").wait_for(&gate).delta("lo").finish("stop").done());
    let request = respond(&gateway, json!({"input": "hi", "stream": true, "store": false}));
    let mut stream = request.header("x-clawdbot-on-disconnect", "continue").stream().await;
    stream.first(1).await;
    let id = stream.header("x-clawdbot-run-id").to_owned();
    drop(stream);
    gate.open();
    assert_eq!(text(&over(&gateway, &id).await), "hello");
    assert_eq!(sessions(&gateway).await, 0);
}

async fn a_client_that_hangs_up_at_once_leaves_nothing_that_runs(topology: Topology) {
    let mut gateway = Gateway::start(topology).await;
    gateway.add_replica().await;
    gateway.provider.answers(Reply::stream().delta("hel").hang());
    for milliseconds in 0..24 {
        let request = respond(&gateway, json!({"input": "hi", "stream": milliseconds % 2 == 0}));
        let hasty = tokio::time::timeout(Duration::from_millis(milliseconds), request.try_send());
        assert!(hasty.await.is_err(), "the answer never ends");
    }
    // One that stays, so that the others have had their time.
    let mut last = respond(&gateway, json!({"input": "hi", "stream": true})).stream().await;
    last.first(3).await;
    eventually("the others are stopped", async || gateway.provider.open() == 1).await;
    drop(last);
    gateway.provider.idle().await;
}

async fn a_repeat_with_a_key_gets_the_same_response(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let first = created(&gateway, json!({"input": "one"})).await;
    let keyed = |key: &'static str, body: &Value| respond(&gateway, body.clone()).header("idempotency-key", key);
    for (key, body) in [
        ("k1", json!({"input": "two"})),
        // Once it is answered, the first response is no longer the newest of its session.
        ("k2", json!({"input": "two", "previous_response_id": id(&first)})),
        ("k3", json!({"input": "two", "store": false})),
        ("k4", json!({"input": "two", "user": "alice"})),
    ] {
        let asked = gateway.provider.asked().len();
        let answers = [keyed(key, &body).send().await.json(), keyed(key, &body).send().await.json()];
        assert_eq!(text(&answers[0]), "hello");
        assert_eq!(answers[0], answers[1], "{key}");
        assert_eq!(gateway.provider.asked().len(), asked + 1, "{key}");
    }
    let other = keyed("k2", &json!({"input": "three", "previous_response_id": id(&first)})).send().await;
    other.assert_error(409, "invalid_request_error", "idempotency_conflict");

    let body = json!({"input": "two", "background": true});
    let begun = keyed("k5", &body).send().await.json();
    over(&gateway, &id(&begun)).await;
    assert_eq!(keyed("k5", &body).send().await.json()["status"], "completed");
}

async fn a_failure_in_the_background_is_kept_with_a_key_too(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    gateway.provider.answers_once(Reply::error(400, "invalid_request_error", "bad", "no such thing"));
    let body = json!({"input": "hi", "background": true});
    let response = respond(&gateway, body).header("idempotency-key", "k1").send().await.json();
    assert_eq!(over(&gateway, &id(&response)).await["status"], "failed");
}

async fn what_cannot_be_recorded_is_not_taken_on(topology: Topology) {
    let mut gateway = Gateway::start(topology).await;
    let body = json!({"input": "hi", "background": true});
    match topology {
        Topology::OneProcess => {
            let database = gateway.installation().state().join("sessions.db");
            std::fs::rename(&database, database.with_extension("gone")).expect("it is there");
        }
        Topology::ThreeProcesses => gateway.kill("session-store").await,
    }
    respond(&gateway, body).send().await.assert_error(503, "api_error", "unavailable");
    assert_eq!(gateway.provider.asked().len(), 0);
}

async fn a_response_in_the_background_counts_until_it_is_over(topology: Topology) {
    let config = json!({"gateway": {"limits": {"maxRunsPerToken": 1}}});
    let gateway = Gateway::with_config(topology, config).await;
    for is_stream in [false, true] {
        let gate = Gate::default();
        gateway.provider.answers_once(Reply::text(&["hello"]).after(&gate));
        let body = json!({"input": "hi", "background": true, "stream": is_stream});
        let id = if is_stream {
            let mut stream = respond(&gateway, body.clone()).stream().await;
            stream.first(1).await;
            stream.header("x-clawdbot-run-id").to_owned()
        } else {
            id(&created(&gateway, body.clone()).await)
        };
        let refused = respond(&gateway, json!({"input": "hi"})).send().await;
        refused.assert_error(429, "rate_limit_error", "overloaded");
        gate.open();
        over(&gateway, &id).await;
        eventually("it counts no more", async || gateway.ask("hi").send().await.status == 200).await;
    }
}

async fn what_is_being_said_goes_with_its_session(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let gate = Gate::default();
    gateway.provider.answers_once(Reply::stream().delta("hel").wait_for(&gate).delta("lo").finish("stop").done());
    let begun = respond(&gateway, json!({"input": "hi", "background": true})).send().await;
    let path = format!("/v1/responses/{}", id(&begun.json()));
    eventually("it says something", async || gateway.request("GET", &path).send().await.body.contains("hel")).await;
    assert_eq!(gateway.session("DELETE", begun.session_key(), "").send().await.status, 200);
    gate.open();
    eventually("it is gone", async || gateway.request("GET", &path).send().await.status == 404).await;
}

async fn a_gateway_that_ends_leaves_a_kept_response_alone(topology: Topology) {
    let hasty = json!({"gateway": {"drainMs": 100}, "services": {"agentRunner": {"drainMs": 100}}});
    let mut gateway = Gateway::with_config(topology, hasty).await;
    gateway.add_replica().await;
    let gate = Gate::default();
    gateway.provider.answers(Reply::stream().delta("hel").wait_for(&gate).delta("lo").finish("stop").done());
    let mut stream = respond(&gateway, json!({"input": "hi", "stream": true})).stream().await;
    stream.first(4).await;
    let id = stream.header("x-clawdbot-run-id").to_owned();
    gateway.front().signal(Signal::SIGTERM);
    let end = stream.end().await;
    assert_eq!(end.data.last().map(String::as_str), Some("[DONE]"));
    assert_eq!(gateway.front().exit().await.code(), Some(0));
    if topology == Topology::ThreeProcesses {
        let error: Value = serde_json::from_str(&end.data[end.data.len() - 2]).expect("JSON");
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("unavailable")));
        // What is next has the number after it.
        let path = format!("/v1/responses/{id}?stream=true&starting_after={}", error["sequence_number"]);
        let rest = tokio::spawn(gateway.request_elsewhere("GET", &path).send());
        gate.open();
        let rest = events(&rest.await.expect("an answer"));
        assert_eq!(rest[0]["sequence_number"].as_u64(), error["sequence_number"].as_u64().map(|number| number + 1));
        assert_eq!(text(&rest.last().expect("an end")["response"]), "hello");
    }
}

#[tokio::test]
async fn a_response_that_died_with_its_runner_has_failed() {
    run(died_with_its_runner()).await;
}

async fn died_with_its_runner() {
    let mut gateway = Gateway::start(Topology::ThreeProcesses).await;
    gateway.provider.answers(Reply::stream().delta("hel").hang());
    let response = created(&gateway, json!({"input": "hi", "background": true})).await;
    gateway.provider.request(1).await;
    gateway.kill("agent-runner").await;
    let path = format!("/v1/responses/{}", id(&response));
    gateway.request("GET", &path).send().await.assert_error(503, "api_error", "unavailable");
    gateway.revive("agent-runner");
    eventually("the runner is back", async || gateway.request("GET", &path).send().await.status == 200).await;
    let failed = gateway.request("GET", &path).send().await.json();
    assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("failed"), &json!("server_error")));
    // Who follows it is told so too, whatever they have of it.
    for after in ["", "&starting_after=3"] {
        let told = events(&gateway.request("GET", &format!("{path}?stream=true{after}")).send().await);
        assert_eq!(told.last().expect("an end")["type"], "error");
    }
}
