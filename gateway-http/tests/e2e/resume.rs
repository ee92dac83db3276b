//! Kept runs: a stream that broke goes on where it was, from any gateway, and a run goes on without its client.

use serde_json::json;

use crate::{
    harness::{Answer, Gateway, Request, Signal, Topology, each_topology},
    provider::{Gate, Reply},
};

each_topology![
    a_stream_that_breaks_at_any_byte_is_resumed_to_the_letter,
    a_live_stream_that_breaks_after_any_event_is_resumed_to_the_letter,
    a_stream_that_failed_is_resumed_to_the_letter,
    a_browser_that_connects_again_gets_the_rest,
    after_the_last_event_there_is_nothing,
    what_is_no_event_or_no_policy_is_named,
    an_answer_in_one_piece_is_there_as_a_stream,
    a_run_is_its_owners_to_resume_and_to_cancel,
    a_run_that_is_not_kept_is_not_found,
    a_client_that_has_its_run_go_on_may_hang_up,
    a_setting_has_runs_go_on_and_a_header_beats_it,
    a_run_is_cancelled_from_any_gateway,
    a_run_whose_runner_was_killed_says_so,
];

const GOES_ON: [&str; 2] = ["x-clawdbot-on-disconnect", "continue"];

/// A request whose run goes on without its client, and one that can be made again.
fn kept(gateway: &Gateway) -> [Request; 2] {
    let request = || gateway.ask("hi").with("stream_options", json!({"include_usage": true}));
    let [name, value] = GOES_ON;
    [request().header(name, value), request().header("idempotency-key", "k1").user("alice")]
}

fn run_id(answer: &Answer) -> &str {
    answer.header("x-clawdbot-run-id")
}

/// Asks for the rest of a run's stream, elsewhere.
fn rest(gateway: &Gateway, run_id: &str, after: usize) -> Request {
    gateway.request_elsewhere("GET", &format!("/v1/runs/{run_id}/events?starting_after={after}"))
}

/// The whole events in a part of a stream, and the number of the last, as a client finds it.
fn seen(part: &str) -> (&str, usize) {
    let whole = part.rfind("\n\n").map_or("", |end| &part[..end + 2]);
    let id = whole.lines().rev().find_map(|line| line.strip_prefix("id: "));
    (whole, id.map_or(0, |id| id.parse().unwrap()))
}

async fn a_stream_that_breaks_at_any_byte_is_resumed_to_the_letter(topology: Topology) {
    let mut gateway = Gateway::start(topology).await;
    gateway.add_replica().await;
    gateway.provider.answers(Reply::text(&["hel", "lo «é»"]));
    for request in kept(&gateway) {
        let uncut = request.with("stream", true).send().await;
        let count = uncut.body.matches("id: ").count();
        // The role, two deltas, the finish, the usage and the end.
        assert_eq!(count, 6, "{}", uncut.body);
        let mut rests = Vec::new();
        for after in 0..=count {
            let resumed = rest(&gateway, run_id(&uncut), after).send().await;
            assert_eq!(resumed.status, 200, "{}", resumed.body);
            assert_eq!(resumed.header("content-type"), uncut.header("content-type"));
            assert_eq!(run_id(&resumed), run_id(&uncut));
            assert_eq!(resumed.session_key(), uncut.session_key());
            rests.push(resumed.body);
        }
        for cut in (0..=uncut.body.len()).filter(|cut| uncut.body.is_char_boundary(*cut)) {
            let (whole, last) = seen(&uncut.body[..cut]);
            assert_eq!(format!("{whole}{}", rests[last]), uncut.body);
        }
    }
}

async fn a_live_stream_that_breaks_after_any_event_is_resumed_to_the_letter(topology: Topology) {
    let mut gateway = Gateway::start(topology).await;
    gateway.add_replica().await;
    for count in 0..=7 {
        let gate = Gate::default();
        let reply = Reply::stream().delta("one").delta(" two").wait_for(&gate);
        gateway.provider.answers_once(reply.delta(" three").finish("stop").usage(7, 3).done());
        let [request, _] = kept(&gateway);
        let mut first = request.stream().await;
        // More than the role and two deltas are not to be had before.
        if count > 3 {
            gate.open();
        }
        let (id, begun) = (first.header("x-clawdbot-run-id").to_owned(), first.first(count).await);
        drop(first);
        assert_eq!(seen(&begun), (begun.as_str(), count));
        let second = rest(&gateway, &id, count).follow().await;
        gate.open();
        let resumed = second.end().await.wire.concat();
        let uncut = rest(&gateway, &id, 0).follow().await.end().await;
        assert_eq!(uncut.content(), "one two three");
        assert_eq!(format!("{begun}{resumed}"), uncut.wire.concat());
    }
}

async fn a_stream_that_failed_is_resumed_to_the_letter(topology: Topology) {
    let mut gateway = Gateway::start(topology).await;
    gateway.add_replica().await;
    gateway.provider.answers(Reply::stream().delta("one").break_off());
    let [request, _] = kept(&gateway);
    let uncut = request.with("stream", true).send().await;
    for after in 0..=4 {
        let resumed = rest(&gateway, run_id(&uncut), after).follow().await.end().await;
        let begun: String = uncut.body.split_inclusive("\n\n").take(after).collect();
        assert_eq!(format!("{begun}{}", resumed.wire.concat()), uncut.body);
    }
    let whole = rest(&gateway, run_id(&uncut), 0).follow().await.end().await;
    assert_eq!(whole.error()["error"]["code"], "upstream_error");
}

async fn a_browser_that_connects_again_gets_the_rest(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let [request, _] = kept(&gateway);
    let uncut = request.with("stream", true).send().await;
    let resumed = gateway.request("GET", &format!("/v1/runs/{}/events", run_id(&uncut)));
    let resumed = resumed.header("last-event-id", "2").send().await;
    assert_eq!(resumed.body, rest(&gateway, run_id(&uncut), 2).send().await.body);
    assert!(resumed.body.starts_with("id: 3\n"), "{}", resumed.body);
}

async fn after_the_last_event_there_is_nothing(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let gate = Gate::default();
    gateway.provider.answers(Reply::stream().delta("one").wait_for(&gate).finish("stop").done());
    let [request, _] = kept(&gateway);
    let first = request.stream().await;
    let id = first.header("x-clawdbot-run-id").to_owned();
    let live = rest(&gateway, &id, 99).follow().await;
    gate.open();
    assert_eq!(live.end().await.wire, [""; 0]);
    first.end().await.content();
    let finished = rest(&gateway, &id, 99).send().await;
    assert_eq!((finished.status.as_u16(), finished.body.as_str()), (200, ""));
}

async fn what_is_no_event_or_no_policy_is_named(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let [request, _] = kept(&gateway);
    let run = request.send().await;
    for number in ["-1", "x", ""] {
        let path = format!("/v1/runs/{}/events?starting_after={number}", run_id(&run));
        let answer = gateway.request("GET", &path).send().await;
        let error = answer.assert_error(400, "invalid_request_error", "invalid_value");
        assert_eq!(error["param"], "starting_after");
    }
    let answer = gateway.ask("hi").header(GOES_ON[0], "detach").send().await;
    let error = answer.assert_error(400, "invalid_request_error", "invalid_value");
    assert_eq!(error["param"], GOES_ON[0]);
}

async fn an_answer_in_one_piece_is_there_as_a_stream(topology: Topology) {
    let mut gateway = Gateway::start(topology).await;
    gateway.add_replica().await;
    for request in kept(&gateway) {
        let answer = request.clone().send().await;
        let events = rest(&gateway, run_id(&answer), 0).follow().await.end().await;
        assert_eq!(events.content(), answer.content());
        assert_eq!(events.chunks()[0]["id"], answer.json()["id"]);
        assert_eq!(events.chunks()[0]["created"], answer.json()["created"]);
    }
}

async fn a_run_is_its_owners_to_resume_and_to_cancel(topology: Topology) {
    let tokens = json!([
        {"name": "alice", "token": "of-alice"},
        {"name": "bob", "token": "of-bob"},
    ]);
    let gateway = Gateway::with_config(topology, json!({"gateway": {"auth": {"tokens": tokens}}})).await;
    let [request, _] = kept(&gateway);
    let run = request.bearer("of-alice").send().await;
    let cancel = gateway.request_elsewhere("POST", &format!("/v1/runs/{}/cancel", run_id(&run)));
    for secret in ["of-alice", "secret"] {
        rest(&gateway, run_id(&run), 0).bearer(secret).follow().await.end().await.content();
        assert_eq!(cancel.clone().bearer(secret).send().await.json()["cancelled"], false);
    }
    for request in [rest(&gateway, run_id(&run), 0), cancel] {
        let answer = request.clone().bearer("of-bob").send().await;
        answer.assert_error(404, "invalid_request_error", "not_found");
        request.anonymous().send().await.assert_error(401, "authentication_error", "invalid_api_key");
    }
}

async fn a_run_that_is_not_kept_is_not_found(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let unkept = gateway.ask("hi").send().await;
    for id in [run_id(&unkept), "chatcmpl_x", &"x".repeat(129), "%00", "%20"] {
        rest(&gateway, id, 0).send().await.assert_error(404, "invalid_request_error", "not_found");
        let cancel = gateway.request("POST", &format!("/v1/runs/{id}/cancel")).send().await;
        cancel.assert_error(404, "invalid_request_error", "not_found");
    }
}

async fn a_client_that_has_its_run_go_on_may_hang_up(topology: Topology) {
    let mut gateway = Gateway::start(topology).await;
    gateway.add_replica().await;
    let gate = Gate::default();
    gateway.provider.answers_once(Reply::stream().delta("one").wait_for(&gate).delta(" two").finish("stop").done());
    let [request, _] = kept(&gateway);
    let mut stream = request.user("alice").stream().await;
    stream.text("one").await;
    let id = stream.header("x-clawdbot-run-id").to_owned();
    drop(stream);
    gate.open();
    assert_eq!(rest(&gateway, &id, 0).follow().await.end().await.content(), "one two");
    gateway.ask("and now").user("alice").send().await.content();
    assert_eq!(gateway.provider.last_asked().conversation(), ["user: hi", "assistant: one two", "user: and now"]);
}

async fn a_setting_has_runs_go_on_and_a_header_beats_it(topology: Topology) {
    let goes_on = json!({"gateway": {"http": {"onDisconnect": "continue"}}});
    let gateway = Gateway::with_config(topology, goes_on).await;
    let gate = Gate::default();
    gateway.provider.answers_once(Reply::stream().delta("one").wait_for(&gate).delta(" two").finish("stop").done());
    // Nobody waits for the answer in one piece, which nobody has seen the id of.
    let request = tokio::spawn(gateway.ask("hi").user("alice").send());
    gateway.provider.request(1).await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    gate.open();
    gateway.ask("and now").user("alice").send().await.content();
    assert_eq!(gateway.provider.last_asked().conversation(), ["user: hi", "assistant: one two", "user: and now"]);

    gateway.provider.answers_once(Reply::stream().delta("one").hang());
    let mut stream = gateway.ask("hi").header("x-openclaw-on-disconnect", "cancel").stream().await;
    stream.text("one").await;
    drop(stream);
    gateway.provider.hang_up().await;
}

async fn a_run_is_cancelled_from_any_gateway(topology: Topology) {
    let mut gateway = Gateway::start(topology).await;
    gateway.add_replica().await;
    gateway.provider.answers(Reply::stream().delta("one").hang());
    for request in kept(&gateway) {
        let mut stream = request.stream().await;
        stream.text("one").await;
        let id = stream.header("x-clawdbot-run-id").to_owned();
        let cancel = gateway.request_elsewhere("POST", &format!("/v1/runs/{id}/cancel"));
        let cancelled = cancel.clone().send().await.json();
        assert_eq!(cancelled, json!({"id": id, "object": "run", "cancelled": true}));
        let said = stream.end().await;
        assert_eq!(said.error()["error"]["code"], "unavailable");
        gateway.provider.hang_up().await;
    }
    let [request, _] = kept(&gateway);
    gateway.provider.answers(Reply::text(&["hello"]));
    let finished = request.send().await;
    let cancel = gateway.request_elsewhere("POST", &format!("/v1/runs/{}/cancel", run_id(&finished)));
    assert_eq!(cancel.send().await.json()["cancelled"], false);
}

async fn a_run_whose_runner_was_killed_says_so(topology: Topology) {
    let mut gateway = Gateway::start(topology).await;
    gateway.add_replica().await;
    gateway.provider.answers(Reply::stream().delta("one").hang());
    let [request, _] = kept(&gateway);
    let mut stream = request.stream().await;
    stream.text("one").await;
    let id = stream.header("x-clawdbot-run-id").to_owned();
    if topology == Topology::OneProcess {
        drop(stream);
        gateway.restart(Signal::SIGKILL).await;
    } else {
        let elsewhere = rest(&gateway, &id, 1).follow().await;
        gateway.kill("agent-runner").await;
        for stream in [stream, elsewhere] {
            let said = stream.end().await;
            assert_eq!(said.error()["error"]["code"], "unavailable");
            // The run has not said so, and what it says has the number of its place.
            assert!(said.wire.last().is_some_and(|event| !event.contains("id: ")), "{said:?}");
        }
    }
    let answer = rest(&gateway, &id, 0).send().await;
    answer.assert_error(503, "api_error", "unavailable");
    assert_ne!(answer.header("retry-after"), "");
}
