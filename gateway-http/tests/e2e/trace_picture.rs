//! A real answer's trace: checked at a Jaeger that is given, and drawn.

use std::{env, fmt::Write, fs};

use crate::{
    harness::{Collector, Topology, TracedSpan, run},
    trace_tree::{CALLER, Tree, answer, assert_private, of_jaeger, start},
};

const PICTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/trace.svg");
const WIDTH: u64 = 1_000;
const ROW: usize = 22;
/// Where the bars begin, behind the names.
const NAMES: u64 = 480;

/// `CLAWDBOT_TEST_JAEGER` is where its API and page are; traces go to `OTEL_EXPORTER_OTLP_ENDPOINT`, or to the usual port
/// there.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "nobody hands a test its environment")]
async fn trace_check_at_a_jaeger() {
    run(async {
        let url =
            env::var("CLAWDBOT_TEST_JAEGER").expect("CLAWDBOT_TEST_JAEGER is not set: run `just trace-check URL`");
        let endpoint = env::var("OTEL_EXPORTER_OTLP_ENDPOINT").unwrap_or_else(|_| {
            let host = url.rsplit_once(':').map_or(url.as_str(), |(host, _)| host);
            format!("{host}:4317")
        });
        let spans = check_with_jaeger(&url, &endpoint).await;
        eprintln!("{} spans, all as they should be", spans.len());
    })
    .await;
}

/// The whole check, with a Jaeger at `url` that takes traces at `endpoint`.
async fn check_with_jaeger(url: &str, endpoint: &str) -> Vec<TracedSpan> {
    let topology = Topology::ThreeProcesses;
    let gateway = start(topology, &[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]).await;
    let trace_id = format!("{:016x}{:016x}", fastrand::u64(1..), fastrand::u64(1..));
    answer(&gateway, &trace_id).await;
    let spans = of_jaeger(url, &trace_id, topology).await;
    Tree::new(topology, &spans).check();
    assert_private(&spans);
    spans
}

#[tokio::test]
async fn trace_picture_is_drawn() {
    run(async {
        let collector = Collector::start();
        let spans = check_with_jaeger(collector.http_endpoint(), collector.endpoint()).await;
        fs::write(PICTURE, drawn(&spans)).unwrap();
    })
    .await;
}

/// The spans below each other, as wide as they took long.
fn drawn(spans: &[TracedSpan]) -> String {
    let mut rows = Vec::new();
    below(CALLER, 0, spans, &mut rows);
    assert_eq!(rows.len(), spans.len(), "all are drawn");
    let began = rows.iter().map(|(_, span)| span.began).min().unwrap();
    let ended = rows.iter().map(|(_, span)| span.began + span.took).max().unwrap();
    let scale = |micros: u64| micros * (WIDTH - NAMES - 80) / (ended - began).max(1);
    let height = (rows.len() + 1) * ROW;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<title>The trace of one answer, by way of a tool</title>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    for (index, (depth, span)) in rows.iter().enumerate() {
        let (top, left) = (index * ROW + ROW / 2, NAMES + scale(span.began - began));
        let (middle, width) = (top + 14, scale(span.took).max(2));
        let colour = match span.service.as_str() {
            "gateway-http" => "#4c78a8",
            "agent-runner" => "#f58518",
            _ => "#54a24b",
        };
        let indent = 8 + depth * 12;
        let name = span.name.replace('&', "&amp;").replace('<', "&lt;");
        writeln!(svg, "<text x=\"{indent}\" y=\"{middle}\" fill=\"#222\">{name}</text>").unwrap();
        writeln!(svg, "<rect x=\"{left}\" y=\"{}\" width=\"{width}\" height=\"12\" fill=\"{colour}\"/>", top + 4)
            .unwrap();
        let took = format!("{}.{:02} ms", span.took / 1_000, span.took % 1_000 / 10);
        let beside = left + width + 4;
        writeln!(svg, "<text x=\"{beside}\" y=\"{middle}\" fill=\"#666\" font-size=\"10\">{took}</text>").unwrap();
    }
    svg.push_str("</svg>\n");
    svg
}

fn below<'a>(parent: &str, depth: usize, spans: &'a [TracedSpan], rows: &mut Vec<(usize, &'a TracedSpan)>) {
    let mut children: Vec<_> = spans.iter().filter(|span| span.parent_id == parent).collect();
    children.sort_by_key(|span| span.began);
    for child in children {
        rows.push((depth, child));
        below(&child.id, depth + 1, spans, rows);
    }
}
