//! One request is one trace through every service to the provider, and nothing that is private is in it or in a log.

use std::{
    collections::{BTreeSet, HashSet},
    time::SystemTime,
};

use crate::{
    harness::{CollectedSpan, Collector, Gateway, Signal, Topology, each_topology},
    provider::Reply,
};

each_topology![
    a_request_is_one_trace_through_every_service,
    a_request_without_a_trace_begins_one,
    without_a_collector_no_answer_names_a_trace,
    a_failed_request_is_marked_in_its_trace,
    nothing_private_is_in_a_trace,
    nothing_private_is_in_a_log,
];

const PROMPT: &str = "the rain in Spain";
const ANSWER: &str = "stays mainly in the plain";
const SECRET: &str = "gateway-token-5f1d";

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// The spans of one turn of a session, by the name that gRPC gives to each call.
const CALLS: [&str; 3] = ["AgentRunner/Run", "SessionStore/BeginTurn", "SessionStore/CommitTurn"];

async fn start(topology: Topology, collector: &Collector) -> Gateway {
    let gateway = Gateway::on(topology)
        .await
        .env("CLAWDBOT_GATEWAY_TOKEN", SECRET)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .start()
        .await;
    gateway.provider.answers(Reply::text(&[ANSWER]));
    gateway
}

fn services(topology: Topology) -> BTreeSet<String> {
    let names: &[_] = match topology {
        Topology::OneProcess => &["clawdbot"],
        Topology::ThreeProcesses => &["agent-runner", "gateway-http", "session-store"],
    };
    names.iter().copied().map(str::to_owned).collect()
}

fn spans_of(trace_id: &str, spans: &[CollectedSpan]) -> Vec<CollectedSpan> {
    spans.iter().filter(|span| span.trace_id() == trace_id).cloned().collect()
}

/// Whether the trace has all of a turn's calls, spans of every service, and every span's parent.
fn is_complete(topology: Topology, trace: &[CollectedSpan]) -> bool {
    let ids: HashSet<_> = trace.iter().map(CollectedSpan::id).collect();
    let services_seen: BTreeSet<_> = trace.iter().map(|span| span.service.clone()).collect();
    let named = |name: &&str| trace.iter().any(|span| span.span.name.contains(name));
    let known = |id: &String| id.is_empty() || id == CALLER || ids.contains(id);
    CALLS.iter().all(named)
        && services_seen == services(topology)
        && trace.iter().map(CollectedSpan::parent_id).all(|parent| known(&parent))
}

async fn a_request_is_one_trace_through_every_service(topology: Topology) {
    let collector = Collector::start();
    let gateway = start(topology, &collector).await;
    let sent_at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    let request = gateway.ask(PROMPT).user("alice").bearer(SECRET);
    let traceparent = format!("00-{TRACE_ID}-{CALLER}-01");
    let answer = request.header("traceparent", &traceparent).send().await;
    assert_eq!(answer.content(), ANSWER);

    let complete = |spans: &[CollectedSpan]| is_complete(topology, &spans_of(TRACE_ID, spans));
    let spans = collector.spans(complete).await;
    for span in &spans {
        let during = u128::from(span.span.start_time_unix_nano) >= sent_at;
        assert!(!during || span.trace_id() == TRACE_ID, "not in the trace: {span:#?}");
    }
    let trace = spans_of(TRACE_ID, &spans);
    let children: Vec<_> = trace.iter().filter(|span| span.parent_id() == CALLER).collect();
    assert_eq!(children.len(), 1, "{children:#?}");
    assert!(services(topology).contains(&children[0].service));
    assert!(["clawdbot", "gateway-http"].contains(&children[0].service.as_str()));
    assert_eq!(children[0].attribute("client.address"), "127.0.0.1");
    assert_eq!(answer.header("traceresponse"), format!("00-{TRACE_ID}-{}-01", children[0].id()));

    let at_the_provider = gateway.provider.last_asked().header("traceparent").to_owned();
    let [version, trace_id, span_id, flags] = at_the_provider.split('-').collect::<Vec<_>>()[..] else {
        panic!("{at_the_provider:?}");
    };
    assert_eq!((version, trace_id, flags), ("00", TRACE_ID, "01"));
    assert!(trace.iter().any(|span| span.id() == span_id), "{at_the_provider}: {trace:#?}");
}

async fn a_request_without_a_trace_begins_one(topology: Topology) {
    let collector = Collector::start();
    let gateway = start(topology, &collector).await;
    gateway.ask(PROMPT).user("alice").bearer(SECRET).stream().await.end().await.content();
    let at_the_provider = gateway.provider.last_asked().header("traceparent").to_owned();
    let trace_id = at_the_provider.split('-').nth(1).unwrap_or_default();
    let complete = |spans: &[CollectedSpan]| is_complete(topology, &spans_of(trace_id, spans));
    let trace = spans_of(trace_id, &collector.spans(complete).await);
    let roots = trace.iter().filter(|span| span.parent_id().is_empty()).count();
    assert_eq!(roots, 1, "{trace:#?}");
}

async fn without_a_collector_no_answer_names_a_trace(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let answer = gateway.ask(PROMPT).header("traceparent", &format!("00-{TRACE_ID}-{CALLER}-01")).send().await;
    assert_ne!(answer.header("x-request-id"), "");
    assert_eq!(answer.header("traceresponse"), "");
}

async fn a_failed_request_is_marked_in_its_trace(topology: Topology) {
    let collector = Collector::start();
    let gateway = start(topology, &collector).await;
    gateway.provider.answers(Reply::error(500, "server_error", "server_error", "out of order"));
    let answer = gateway.ask(PROMPT).bearer(SECRET).send().await;
    answer.assert_error(502, "api_error", "upstream_error");
    let at_the_provider = gateway.provider.last_asked().header("traceparent").to_owned();
    let trace_id = at_the_provider.split('-').nth(1).unwrap_or_default();
    // The code 2 is `STATUS_CODE_ERROR`.
    let is_marked = |span: &CollectedSpan| span.span.status.as_ref().is_some_and(|status| status.code == 2);
    collector.spans(|spans| spans_of(trace_id, spans).iter().any(is_marked)).await;
}

async fn nothing_private_is_in_a_trace(topology: Topology) {
    let collector = Collector::start();
    let gateway = start(topology, &collector).await;
    gateway.ask(PROMPT).user("alice").bearer(SECRET).send().await.content();
    gateway.ask(PROMPT).bearer("a-wrong-secret").send().await;
    gateway.provider.answers(Reply::error(500, "server_error", "server_error", ANSWER));
    gateway.ask(PROMPT).user("bob").bearer(SECRET).send().await;
    let last = gateway.provider.last_asked().header("traceparent").to_owned();
    let last = last.split('-').nth(1).unwrap_or_default();
    let spans = collector.spans(|spans| !spans_of(last, spans).is_empty()).await;
    assert_private(&format!("{spans:?}"));
}

async fn nothing_private_is_in_a_log(topology: Topology) {
    let collector = Collector::start();
    let mut gateway = start(topology, &collector).await;
    gateway.ask(PROMPT).user("alice").bearer(SECRET).send().await.content();
    gateway.ask(PROMPT).bearer("a-wrong-secret").send().await;
    gateway.request("POST", "/v1/chat/completions").text(PROMPT).bearer(SECRET).send().await;
    gateway.provider.answers(Reply::error(500, "server_error", "server_error", ANSWER));
    gateway.ask(PROMPT).user("alice").bearer(SECRET).send().await;
    for process in gateway.processes() {
        process.signal(Signal::SIGTERM);
        process.exit().await;
    }
    let logs = gateway.logs();
    assert_ne!(logs, "", "a failure is logged");
    assert_private(&logs);
}

/// Checks that no prompt, answer or secret is in `text`.
fn assert_private(text: &str) {
    for private in [PROMPT, ANSWER, SECRET, "a-wrong-secret", "provider-key"] {
        assert!(!text.contains(private), "{private:?} is in {text}");
    }
}
