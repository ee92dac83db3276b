//! A service that is told to go finishes what it has begun, and begins nothing new.

use serde_json::json;

use crate::{
    harness::{EventStream, Gateway, Signal, Topology, assert_error, each_topology, eventually, run},
    provider::{Gate, Reply},
};

each_topology![
    a_stream_in_flight_is_finished,
    an_answer_in_flight_is_finished,
    what_outlasts_the_drain_ends_with_an_error,
    an_idle_gateway_goes_at_once,
    every_process_goes_in_peace,
    a_run_that_goes_on_without_its_client_is_finished,
];

/// Begins a stream that has said `one`, and says `two` when the gate is opened.
async fn begun(gateway: &Gateway) -> (EventStream, Gate) {
    let gate = Gate::default();
    let reply = Reply::stream().delta("one ").wait_for(&gate);
    gateway.provider.answers_once(reply.delta("two").finish("stop").usage(7, 3).done());
    let mut stream = gateway.ask("count").stream().await;
    stream.text("one ").await;
    (stream, gate)
}

async fn a_stream_in_flight_is_finished(topology: Topology) {
    let mut gateway = Gateway::start(topology).await;
    let (stream, gate) = begun(&gateway).await;
    gateway.front().signal(Signal::SIGTERM);
    eventually("the gateway is no longer ready", async || !gateway.is_ready().await).await;
    let late = gateway.ask("hi").try_send().await;
    if let Some(late) = late {
        late.assert_error(503, "api_error", "unavailable");
    }
    assert_eq!(gateway.provider.asked().len(), 1);
    gate.open();
    assert_eq!(stream.end().await.content(), "one two");
    assert_eq!(gateway.front().exit().await.code(), Some(0));
}

async fn an_answer_in_flight_is_finished(topology: Topology) {
    let mut gateway = Gateway::start(topology).await;
    let gate = Gate::default();
    gateway.provider.answers(Reply::text(&["hello"]).after(&gate));
    let answer = tokio::spawn(gateway.ask("hi").user("alice").send());
    gateway.provider.request(1).await;
    gateway.front().signal(Signal::SIGTERM);
    eventually("the gateway is no longer ready", async || !gateway.is_ready().await).await;
    gate.open();
    assert_eq!(answer.await.unwrap().content(), "hello");
    assert_eq!(gateway.front().exit().await.code(), Some(0));
}

async fn what_outlasts_the_drain_ends_with_an_error(topology: Topology) {
    let hasty = json!({"gateway": {"drainMs": 100}});
    let mut gateway = Gateway::with_config(topology, hasty).await;
    gateway.provider.answers_once(Reply::stream().delta("one ").hang());
    gateway.provider.answers_once(Reply::silence());
    let mut stream = gateway.ask("count").stream().await;
    stream.text("one ").await;
    let answer = tokio::spawn(gateway.ask("hi").send());
    gateway.provider.request(2).await;
    gateway.front().signal(Signal::SIGTERM);
    assert_error(&stream.end().await.error(), "api_error", "unavailable");
    answer.await.unwrap().assert_error(503, "api_error", "unavailable");
    assert_eq!(gateway.front().exit().await.code(), Some(0));
}

async fn an_idle_gateway_goes_at_once(topology: Topology) {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut gateway = Gateway::start(topology).await;
        assert_eq!(gateway.ask("hi").send().await.content(), "hello");
        let told = std::time::Instant::now();
        gateway.front().signal(signal);
        assert_eq!(gateway.front().exit().await.code(), Some(0));
        assert!(told.elapsed().as_secs() < 5, "{:?}", told.elapsed());
    }
}

async fn every_process_goes_in_peace(topology: Topology) {
    let mut gateway = Gateway::start(topology).await;
    gateway.ask("hi").user("alice").send().await.content();
    for process in gateway.processes() {
        process.signal(Signal::SIGTERM);
    }
    for process in gateway.processes() {
        assert_eq!(process.exit().await.code(), Some(0), "{}", process.name());
    }
}

async fn a_run_that_goes_on_without_its_client_is_finished(topology: Topology) {
    let mut gateway = Gateway::start(topology).await;
    let keyed = |gateway: &Gateway| gateway.ask("count").user("alice").header("idempotency-key", "k1");
    let gate = Gate::default();
    let reply = Reply::stream().delta("one ").wait_for(&gate);
    gateway.provider.answers_once(reply.delta("two").finish("stop").usage(7, 3).done());
    let mut stream = keyed(&gateway).stream().await;
    stream.text("one ").await;
    drop(stream);
    let runner = match topology {
        Topology::OneProcess => "clawdbot",
        Topology::ThreeProcesses => "agent-runner",
    };
    gateway.process(runner).signal(Signal::SIGTERM);
    eventually("the gateway is no longer ready", async || !gateway.is_ready().await).await;
    gate.open();
    assert_eq!(gateway.process(runner).exit().await.code(), Some(0));
    gateway.revive(runner);
    eventually("the gateway is ready again", async || gateway.is_ready().await).await;
    assert_eq!(keyed(&gateway).stream().await.end().await.content(), "one two");
    assert_eq!(gateway.provider.asked().len(), 1);
}

#[tokio::test]
async fn a_runner_finishes_the_run_that_it_has() {
    run(async {
        let mut gateway = Gateway::start(Topology::ThreeProcesses).await;
        let (stream, gate) = begun(&gateway).await;
        gateway.process("agent-runner").signal(Signal::SIGTERM);
        eventually("the runner takes no more runs", async || gateway.ask("hi").send().await.status == 503).await;
        gate.open();
        assert_eq!(stream.end().await.content(), "one two");
        assert_eq!(gateway.process("agent-runner").exit().await.code(), Some(0));
    })
    .await;
}
