//! The figures, for people.

use super::{deployment::Deployment, measure::Measured};

/// A row: what it is, and how a deployment's figure reads beside that of asking directly.
type Row = (&'static str, fn(&Measured, &Measured) -> String);

const ROWS: [Row; 12] = [
    ("requests/s at 32 callers (ratio to directly)", |ours, direct| {
        rate(ours.requests_per_second, direct.requests_per_second)
    }),
    ("CPU per request, µs", |ours, _| format!("{:.0}", ours.cpu_per_request * 1e6)),
    ("turns/s in sessions, SQLite, at 32 callers", |ours, direct| rate(ours.turns_per_second, direct.turns_per_second)),
    ("CPU per turn, µs", |ours, _| format!("{:.0}", ours.cpu_per_turn * 1e6)),
    ("added to the first token, 64 paced streams, p50 / p99 ms", |ours, direct| added(ours, direct, 0)),
    ("the same, 512", |ours, direct| added(ours, direct, 1)),
    ("tokens/s, 64 streams at full speed (ratio)", |ours, direct| {
        rate(ours.tokens_per_second, direct.tokens_per_second)
    }),
    ("CPU per token of these, µs", |ours, _| format!("{:.2}", ours.cpu_per_token * 1e6)),
    ("CPU per token of 512 paced streams, µs", |ours, _| format!("{:.1}", ours.cpu_per_paced_token * 1e6)),
    ("memory idle, MB", |ours, _| format!("{:.1}", ours.idle_bytes / 1e6)),
    ("memory per open stream, KiB", |ours, _| format!("{:.1}", ours.bytes_per_stream / 1024.0)),
    ("streams at 20 tokens/s that fill one core", |ours, _| format!("{:.0}", 0.05 / ours.cpu_per_paced_token)),
];

/// A table in Markdown.
pub(super) fn table(deployments: &[Deployment], measured: &[Measured]) -> String {
    let names: Vec<&str> = deployments.iter().map(|deployment| deployment.name).collect();
    let mut lines = vec![format!("| | {} |", names.join(" | ")), format!("|---|{}", "---|".repeat(names.len()))];
    let direct = &measured[0];
    for (name, figure) in ROWS {
        let figures: Vec<String> = measured.iter().map(|measured| figure(measured, direct)).collect();
        lines.push(format!("| {name} | {} |", figures.join(" | ")));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn rate(ours: f64, direct: f64) -> String {
    format!("{ours:.0} ({:.3})", ours / direct)
}

fn added(ours: &Measured, direct: &Measured, streams: usize) -> String {
    let [p50, p99] = [0, 1].map(|which| (ours.first_token[streams][which] - direct.first_token[streams][which]) * 1e3);
    format!("{p50:+.2} / {p99:+.2}")
}
