//! Keeps what is counted and measured, for Prometheus.

use std::time::Duration;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::{runtime::Handle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    telemetry::export,
    transport::{CALL_RETRIES, server},
};

const BUILD_INFO: &str = "clawdbot_build_info";
const EVENT_LOOP_LAG: &str = "clawdbot_event_loop_lag_seconds";
const TASKS: &str = "clawdbot_tasks";

/// The buckets of histograms whose names end in `_seconds`: from what a tool takes to the longest run.
const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];

/// Between two looks at how late a task is woken.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How often samples are moved into their buckets; between two times each takes memory.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Has everything in this process record its metrics; possible once.
pub(super) fn install() -> Result<PrometheusHandle, BuildError> {
    let metrics = builder()?.install_recorder()?;
    describe_gauge!(BUILD_INFO, "1, with the version of the program.");
    describe_counter!(CALL_RETRIES, Unit::Count, "Calls that were made again since they had not started, and why.");
    describe_histogram!(EVENT_LOOP_LAG, Unit::Seconds, "Time by which a task was woken too late, twice a second.");
    describe_gauge!(TASKS, Unit::Count, "Tasks of the process that go on or wait.");
    server::describe();
    export::describe();
    metrics_process::Collector::default().describe();
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(metrics)
}

pub(super) fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
}

/// Does the recorder's chores until `stop` is cancelled.
pub(super) async fn keep_up(metrics: PrometheusHandle, stop: CancellationToken) {
    let chores = async {
        loop {
            tokio::time::sleep(UPKEEP_INTERVAL).await;
            metrics.run_upkeep();
        }
    };
    let looks = async {
        let lag = histogram!(EVENT_LOOP_LAG);
        loop {
            let due = Instant::now() + LOOK_INTERVAL;
            tokio::time::sleep_until(due).await;
            lag.record(due.elapsed());
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = chores => {}
        () = looks => {}
    }
}

/// Measures what is measured only when somebody asks: the process's memory, time and files, and its tasks.
pub(super) fn look() {
    metrics_process::Collector::default().collect();
    let tasks = Handle::current().metrics().num_alive_tasks();
    gauge!(TASKS).set(f64::from(u32::try_from(tasks).unwrap_or(u32::MAX)));
}
