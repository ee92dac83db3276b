//! One request is one trace through every service to the provider, and nothing that is private is in it or in a log.

use std::{
    collections::{BTreeSet, HashSet},
    time::SystemTime,
};

use tokio::net::TcpListener;

use crate::{
    harness::{CollectedSpan, Collector, Gateway, Signal, Topology, TracedSpan, each_topology, run, soon},
    provider::Reply,
    trace_tree::{self, Tree},
};

each_topology![
    a_request_is_one_trace_through_every_service,
    an_answer_by_way_of_a_tool_is_told_whole,
    what_was_said_is_told_only_if_asked_for,
    traces_go_over_http_too,
    log_lines_name_their_trace,
    a_dead_collector_hinders_nobody,
    a_collector_that_hangs_is_given_up_and_asked_again,
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

/// The trace as it is told once it is whole.
async fn whole(topology: Topology, collector: &Collector) -> Vec<TracedSpan> {
    let is_whole = |spans: &[CollectedSpan]| Tree::new(topology, &traced(TRACE_ID, spans)).is_whole();
    traced(TRACE_ID, &collector.spans(is_whole).await)
}

fn traced(trace_id: &str, spans: &[CollectedSpan]) -> Vec<TracedSpan> {
    spans_of(trace_id, spans).iter().map(TracedSpan::from).collect()
}

async fn an_answer_by_way_of_a_tool_is_told_whole(topology: Topology) {
    let collector = Collector::start();
    let gateway = trace_tree::start(topology, &[("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())]).await;
    trace_tree::answer(&gateway, TRACE_ID).await;
    let spans = whole(topology, &collector).await;
    Tree::new(topology, &spans).check();
    trace_tree::assert_private(&spans);
    // As a Jaeger would tell it, it is the same.
    let told = trace_tree::of_jaeger(collector.http_endpoint(), TRACE_ID, topology).await;
    Tree::new(topology, &told).check();
}

async fn what_was_said_is_told_only_if_asked_for(topology: Topology) {
    let collector = Collector::start();
    let capture = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT";
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()), (capture, "true"), ("RUST_LOG", "debug")];
    let gateway = trace_tree::start(topology, &environment).await;
    trace_tree::answer(&gateway, TRACE_ID).await;
    trace_tree::assert_captured(&whole(topology, &collector).await);
    assert!(!gateway.logs().contains(PROMPT), "never in a log");
}

async fn traces_go_over_http_too(topology: Topology) {
    let collector = Collector::start();
    let protocol = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.http_endpoint()), protocol];
    let gateway = trace_tree::start(topology, &environment).await;
    trace_tree::answer(&gateway, TRACE_ID).await;
    Tree::new(topology, &whole(topology, &collector).await).check();
}

async fn log_lines_name_their_trace(topology: Topology) {
    let collector = Collector::start();
    let gateway = start(topology, &collector).await;
    gateway.provider.answers(Reply::error(500, "server_error", "server_error", "out of order"));
    let request = gateway.ask(PROMPT).bearer(SECRET).header("x-request-id", "the-request");
    request.header("traceparent", &format!("00-{TRACE_ID}-{CALLER}-01")).send().await;
    let logs = gateway.logs();
    let lines = logs.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let of_trace: Vec<_> = lines.filter(|line| line["trace_id"] == TRACE_ID).collect();
    let says = |text: &str| {
        let found = of_trace.iter().find(|line| line["message"] == text);
        found.unwrap_or_else(|| panic!("no line of the trace says {text:?}: {logs}"))
    };
    assert_eq!(says("the run failed")["span_id"].as_str().map(str::len), Some(16));
    assert_eq!(says("answered")["request.id"], "\"the-request\"");
}

async fn a_dead_collector_hinders_nobody(topology: Topology) {
    // Nobody listens at the discard port.
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"), ("OTEL_BSP_MAX_QUEUE_SIZE", "64")];
    let mut gateway = trace_tree::start(topology, &environment).await;
    gateway.provider.answers(Reply::text(&[ANSWER]));
    for _ in 0..100 {
        assert_eq!(gateway.ask(PROMPT).user("alice").send().await.content(), ANSWER);
    }
    for process in gateway.processes() {
        process.signal(Signal::SIGTERM);
        process.exit().await;
    }
}

async fn a_collector_that_hangs_is_given_up_and_asked_again(topology: Topology) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let timeout = ("OTEL_EXPORTER_OTLP_TIMEOUT", "200");
    let protocol = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    let gateway = trace_tree::start(topology, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), timeout, protocol]).await;
    gateway.provider.answers(Reply::text(&[ANSWER]));
    let mut held = Vec::new();
    for _ in 0..6 {
        assert_eq!(gateway.ask(PROMPT).user("alice").send().await.content(), ANSWER);
        // Whoever connects is never answered.
        held.push(soon("spans are sent again", listener.accept()).await.unwrap());
    }
    assert_eq!(gateway.logs().matches("traces cannot be sent").count().min(1), 1, "{}", gateway.logs());
}

#[tokio::test]
async fn a_protocol_that_there_is_not_is_named() {
    run(async {
        let provider = crate::provider::Provider::start().await;
        let mut installation = crate::harness::Installation::new(&provider);
        installation.set_env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
        installation.set_env("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon");
        let output = crate::cli::clawdbot_with(&installation, &["gateway"]).await;
        assert!(!output.status.success());
        let expected = "OTEL_EXPORTER_OTLP_PROTOCOL: `carrier-pigeon` is none of grpc, http/protobuf";
        assert!(crate::cli::stderr(&output).contains(expected), "{}", crate::cli::stderr(&output));
    })
    .await;
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
    let is_whole = |spans: &[CollectedSpan]| {
        let spans = traced(trace_id, spans);
        ["POST ", "invoke_agent "].iter().all(|name| spans.iter().any(|span| span.name.starts_with(name)))
    };
    let spans = traced(trace_id, &collector.spans(is_whole).await);
    for (name, error) in [("POST ", "502"), ("invoke_agent main", "upstream_error"), ("chat test-model", "network")] {
        let found = spans.iter().filter(|span| span.name.starts_with(name)).collect::<Vec<_>>();
        assert!(!found.is_empty(), "{name}: {spans:#?}");
        for span in found {
            assert!(span.is_error, "{span:#?}");
            assert_eq!(span.attribute("error.type"), error, "{span:#?}");
        }
    }
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
