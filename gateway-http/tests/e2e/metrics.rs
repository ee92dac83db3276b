//! What the admin port tells of a system at work.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::{
    harness::{Gateway, Signal, Topology, each_topology, eventually},
    provider::{Gate, Provider, Reply},
};

each_topology![
    a_failover_is_seen_in_the_metrics,
    every_part_of_an_answer_is_counted,
    every_process_has_probes_that_follow_it,
];

/// The process in which agents run.
fn runner(topology: Topology) -> &'static str {
    match topology {
        Topology::OneProcess => "clawdbot",
        Topology::ThreeProcesses => "agent-runner",
    }
}

/// The value of a series; none when there is no such series.
fn value(metrics: &str, series: &str) -> Option<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

async fn a_failover_is_seen_in_the_metrics(topology: Topology) {
    let other = Provider::start().await;
    let gateway = Gateway::on(topology)
        .await
        .with_admin_ports()
        .config(json!({
            "models": {"providers": {"other": {"baseUrl": other.base_url(), "apiKey": "other-key"}}},
            "agents": {"defaults": {
                "model": {"primary": "stub/test-model", "fallbacks": ["other/test-model"]},
                "modelRetries": 0,
            }},
        }))
        .start()
        .await;
    gateway.provider.answers_once(Reply::error(401, "error", "invalid_api_key", "no"));
    let began_at = unix_seconds();
    assert_eq!(gateway.ask("a private question").user("alice").send().await.content(), "hello");
    let made_up = gateway.ask("hi").header("x-clawdbot-model", "other/made-up");
    assert_eq!(made_up.send().await.content(), "hello");

    let answer = gateway.admin(runner(topology), "/metrics").send().await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("content-type")),
        (200, "text/plain; version=0.0.4; charset=utf-8")
    );
    let metrics = answer.body;
    for (series, expected) in [
        (r#"clawdbot_model_calls_total{provider="stub",model="test-model",outcome="auth"}"#, 1.0),
        (r#"clawdbot_model_calls_total{provider="other",model="test-model",outcome="ok"}"#, 1.0),
        (r#"clawdbot_model_calls_total{provider="other",model="other",outcome="ok"}"#, 1.0),
        (r#"clawdbot_model_call_duration_seconds_count{provider="other",model="test-model"}"#, 1.0),
        (r#"clawdbot_time_to_first_token_seconds_count{provider="other",model="test-model"}"#, 1.0),
        (r#"clawdbot_tokens_total{agent="main",model="test-model",kind="prompt"}"#, 7.0),
        (r#"clawdbot_tokens_total{agent="main",model="test-model",kind="completion"}"#, 3.0),
        (r#"clawdbot_failovers_total{from_provider="stub",class="auth"}"#, 1.0),
        (r#"clawdbot_cooldowns_total{provider="stub",what="key",class="auth"}"#, 1.0),
        (r#"clawdbot_cooldown_until_seconds{provider="stub",key="all"}"#, 0.0),
        (r#"clawdbot_cooldown_until_seconds{provider="other",key="0"}"#, 0.0),
        (r#"clawdbot_runs_total{agent="main",outcome="ok"}"#, 2.0),
        ("clawdbot_runs_in_flight", 0.0),
        ("clawdbot_runs_waiting", 0.0),
        (concat!(r#"clawdbot_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""}"#), 1.0),
    ] {
        assert_eq!(value(&metrics, series), Some(expected), "{series}\n{metrics}");
    }
    // A minute from the failure on.
    let until = value(&metrics, r#"clawdbot_cooldown_until_seconds{provider="stub",key="0"}"#).unwrap();
    assert!((began_at + 59.0..began_at + 90.0).contains(&until), "{began_at} {until}");
    for name in metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()) {
        assert!(metrics.contains(&format!("# HELP {name} ")), "{name} is not described");
    }
    for private in ["private question", "alice", "made-up", "other-key"] {
        assert!(!metrics.contains(private), "{private}\n{metrics}");
    }
}

async fn every_process_has_probes_that_follow_it(topology: Topology) {
    let mut gateway = Gateway::on(topology).await.with_admin_ports().start().await;
    let names: Vec<String> = gateway.processes().iter().map(|process| process.name().to_owned()).collect();
    for name in &names {
        for (path, expected) in [("/healthz", "ok"), ("/readyz", "ready")] {
            let answer = gateway.admin(name, path).send().await;
            assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, expected), "{name}{path}");
        }
        let metrics = gateway.admin(name, "/metrics").send().await.body;
        assert!(metrics.contains("clawdbot_build_info{"), "{name}: {metrics}");
        assert_eq!(gateway.admin(name, "/v1/models").send().await.status, 404, "{name}");
    }
    let gate = Gate::default();
    let reply = Reply::stream().delta("one ").wait_for(&gate);
    gateway.provider.answers_once(reply.delta("two").finish("stop").usage(7, 3).done());
    let mut stream = gateway.ask("count").stream().await;
    stream.text("one ").await;
    let runner = runner(topology);
    let metrics = gateway.admin(runner, "/metrics").send().await.body;
    assert_eq!(value(&metrics, "clawdbot_runs_in_flight"), Some(1.0), "{metrics}");
    let draining = match topology {
        Topology::OneProcess => vec!["clawdbot"],
        Topology::ThreeProcesses => vec!["gateway-http", "agent-runner"],
    };
    for name in draining {
        gateway.process(name).signal(Signal::SIGTERM);
        eventually("the process drains", async || {
            let answer = gateway.admin(name, "/readyz").send().await;
            (answer.status.as_u16(), answer.body.as_str()) == (503, "draining")
        })
        .await;
        assert_eq!(gateway.admin(name, "/healthz").send().await.status, 200, "{name}");
    }
    gate.open();
    assert_eq!(stream.end().await.content(), "one two");
    assert_eq!(gateway.process(runner).exit().await.code(), Some(0));
    assert!(gateway.admin(runner, "/healthz").try_send().await.is_none());
}

async fn every_part_of_an_answer_is_counted(topology: Topology) {
    let gateway = Gateway::on(topology).await.with_admin_ports().start().await;
    let mut stream = gateway.ask("hi").user("alice").stream().await;
    stream.first(1).await;
    stream.end().await.content();
    gateway.ask("hi").bearer("wrong").send().await.assert_error(401, "authentication_error", "invalid_api_key");
    gateway.request("GET", "/made-up").send().await.assert_error(404, "invalid_request_error", "not_found");
    let processes: &[_] = match topology {
        Topology::OneProcess => &["clawdbot"],
        Topology::ThreeProcesses => &["gateway-http", "agent-runner", "session-store"],
    };
    let mut metrics = String::new();
    for name in processes {
        metrics.push_str(&gateway.admin(name, "/metrics").send().await.body);
    }
    for (series, expected) in [
        (r#"clawdbot_http_requests_total{route="/v1/chat/completions",method="POST",status="200"}"#, 1.0),
        (r#"clawdbot_http_requests_total{route="/v1/chat/completions",method="POST",status="401"}"#, 1.0),
        (r#"clawdbot_http_requests_total{route="none",method="GET",status="404"}"#, 1.0),
        (r#"clawdbot_http_request_duration_seconds_count{route="/v1/chat/completions"}"#, 2.0),
        ("clawdbot_http_streams_open", 0.0),
        ("clawdbot_http_stream_duration_seconds_count", 1.0),
        (r#"clawdbot_http_streams_total{outcome="ok"}"#, 1.0),
        (r#"clawdbot_http_streams_total{outcome="error"}"#, 0.0),
        (r#"clawdbot_failed_logins_total{outcome="wrong"}"#, 1.0),
        ("clawdbot_leases_lost_total", 0.0),
        (r#"clawdbot_leases_total{outcome="ok"}"#, 1.0),
        ("clawdbot_lease_wait_seconds_count", 1.0),
        ("clawdbot_turns_waiting", 0.0),
        (r#"clawdbot_turn_commits_total{outcome="ok"}"#, 1.0),
        (r#"clawdbot_database_statements_total{statement="commit_turn",outcome="ok"}"#, 1.0),
        (r#"clawdbot_database_duration_seconds_count{statement="begin_turn"}"#, 1.0),
        (r#"clawdbot_rpc_server_calls_total{method="BeginTurn",code="Ok"}"#, 1.0),
        (r#"clawdbot_rpc_server_duration_seconds_count{method="Run"}"#, 1.0),
    ] {
        assert_eq!(value(&metrics, series), Some(expected), "{series}\n{metrics}");
    }
    assert!(metrics.contains("\nprocess_cpu_seconds_total "), "{metrics}");
    for name in ["process_resident_memory_bytes", "clawdbot_tasks"] {
        assert!(value(&metrics, name).is_some_and(|value| value > 0.0), "{name}\n{metrics}");
    }
    assert!(!metrics.contains("made-up") && !metrics.contains("alice"), "{metrics}");
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}
