//! Runs as they are counted while they go on, and once they are over.

use std::sync::Arc;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use proto::agent::v1::{FunctionTool, ToolCallDelta};
use tokio::sync::Notify;

use super::{
    fakes::{Dialogue, Setup},
    *,
};
use crate::{
    service::Capacity,
    tool::{self, Calling, Tool},
};

/// A tool that tells when it is called, and comes back when it may.
struct Gate {
    definition: FunctionTool,
    begun: Arc<Notify>,
    open: Arc<Notify>,
}

impl Tool for Gate {
    fn definition(&self) -> &FunctionTool {
        &self.definition
    }

    fn is_exclusive(&self) -> bool {
        false
    }

    fn call<'a>(&'a self, _: tool::Call<'a>) -> Calling<'a> {
        Box::pin(async {
            self.begun.notify_one();
            self.open.notified().await;
            Ok(String::new())
        })
    }
}

fn calls(names: &[&str]) -> Script {
    let deltas = names.iter().zip(0..).map(|(name, index)| {
        let (id, name) = (format!("c{index}"), (*name).to_owned());
        Event::ToolCall(ToolCallDelta { index, id, name, arguments: String::new() })
    });
    Script::of(deltas.chain([Event::Finished(FinishReason::ToolCalls)]))
}

#[track_caller]
fn check(metrics: &PrometheusHandle, expected: &[&str]) {
    let rendered = metrics.render();
    for line in expected {
        assert!(rendered.lines().any(|shown| shown == *line), "{line}\n{rendered}");
    }
}

#[tokio::test]
async fn a_run_is_counted_as_long_as_it_waits_and_goes_on() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _recording = ::metrics::set_default_local_recorder(&recorder);
    let (begun, open) = (Arc::<Notify>::default(), Arc::<Notify>::default());
    let definition = FunctionTool { name: "gate".to_owned(), ..FunctionTool::default() };
    let gate = Gate { definition, begun: begun.clone(), open: open.clone() };
    let answer = Script::of([text("hello"), Event::Finished(FinishReason::Stop)]);
    let setup = Setup {
        tools: vec![Arc::new(gate)],
        capacity: Capacity { calls: 10, running: 1, waiting: 1 },
        ..Setup::of(Dialogue::of([calls(&["gate", "made_up"]), answer]))
    };
    let (mut client, _service) = setup.runner(&FakeStore::default());
    let mut first = client.run(request("r1")).await.expect("taken in").into_inner();
    begun.notified().await;
    let mut second = client.run(request("r2")).await.expect("taken in").into_inner();
    check(&metrics, &["clawdbot_runs_in_flight 1", "clawdbot_runs_waiting 1"]);
    open.notify_one();
    kinds(&mut first).await;
    kinds(&mut second).await;
    check(
        &metrics,
        &[
            r#"clawdbot_runs_total{agent="main",outcome="ok"} 2"#,
            r#"clawdbot_tool_calls_total{tool="gate",outcome="ok"} 1"#,
            r#"clawdbot_tool_calls_total{tool="unknown",outcome="error"} 1"#,
            r#"clawdbot_model_calls_total{provider="fake",model="m",outcome="ok"} 3"#,
            "clawdbot_runs_in_flight 0",
            "clawdbot_runs_waiting 0",
        ],
    );
}
