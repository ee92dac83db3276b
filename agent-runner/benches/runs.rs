//! What a run costs beside its model: the loop, its events and the gRPC in front of it, in memory and on one core, with a
//! model that says what it is told at once.
//!
//! Prints the time of a run and of a token delta, with what they allocate; as a floor it prints the same for reading the
//! model's own stream. Figures of different machines don't compare; the ratios to the floor do.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and one that cannot go on has failed"
)]

use std::{
    alloc::System,
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use agent_runner::{
    Config, Service,
    model::{Event, EventStream, Model, Request},
};
use futures_util::{StreamExt, stream};
use proto::{
    agent::v1::{FinishReason, RunEvent, RunRequest, agent_runner_client::AgentRunnerClient, run_event::Kind},
    session::v1::{Message, Part, Role, part, session_store_client::SessionStoreClient},
};
use shared::{
    config::{Document, Environment, Sources},
    transport::{self, Transport, Trust},
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Deltas of a long answer; a short one has one.
const MANY: usize = 1_000;
/// Runs of one round; the kinds take turns, so that all see the same machine.
const RUNS: usize = 100;
const ROUNDS: usize = 20;

/// Says `answer` in so many deltas of its length.
struct Scripted(usize);

impl Model for Scripted {
    fn stream(&self, _: &Request) -> EventStream {
        let deltas = (0..self.0).map(|_| Event::Text("token ".to_owned()));
        let events = deltas.chain([Event::Finished(FinishReason::Stop)]);
        Box::pin(stream::iter(events.map(Ok).collect::<Vec<_>>()))
    }
}

/// What so many runs took.
#[derive(Clone, Copy, Default)]
struct Cost {
    time: Duration,
    allocations: usize,
    bytes: usize,
    runs: usize,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    rustls::crypto::ring::default_provider().install_default().unwrap();
    runtime.block_on(async {
        let (short, long) = (runner(1).await, runner(MANY).await);
        // Whatever is made once is made now.
        run(&short, 1).await;
        run(&long, MANY).await;
        let mut costs = [Cost::default(); 4];
        for _ in 0..ROUNDS {
            costs[0].add(async || run(&short, 1).await).await;
            costs[1].add(async || run(&long, MANY).await).await;
            costs[2].add(async || read(1).await).await;
            costs[3].add(async || read(MANY).await).await;
        }
        let [short, long, short_floor, long_floor] = costs;
        println!("| | time | allocations | bytes |\n|---|---|---|---|");
        row("a run of one delta", per_run(short));
        row("the model's stream alone", per_run(short_floor));
        row("a further delta", per_delta(short, long));
        row("of which the model's stream", per_delta(short_floor, long_floor));
    });
}

impl Cost {
    async fn add(&mut self, once: impl AsyncFn()) {
        let region = Region::new(ALLOCATOR);
        let began = Instant::now();
        for _ in 0..RUNS {
            once().await;
        }
        self.time += began.elapsed();
        let change = region.change();
        self.allocations += change.allocations + change.reallocations;
        self.bytes += change.bytes_allocated;
        self.runs += RUNS;
    }
}

/// Nanoseconds, allocations and bytes.
type Figures = [f64; 3];

#[expect(clippy::cast_precision_loss, reason = "these are figures to read")]
fn per_run(cost: Cost) -> Figures {
    let runs = cost.runs as f64;
    [cost.time.as_nanos() as f64 / runs, cost.allocations as f64 / runs, cost.bytes as f64 / runs]
}

#[expect(clippy::cast_precision_loss, reason = "these are figures to read")]
fn per_delta(short: Cost, long: Cost) -> Figures {
    let (short, long) = (per_run(short), per_run(long));
    std::array::from_fn(|index| (long[index] - short[index]) / (MANY - 1) as f64)
}

fn row(name: &str, [nanoseconds, allocations, bytes]: Figures) {
    println!("| {name} | {:.2} µs | {allocations:.2} | {bytes:.0} |", nanoseconds / 1_000.0);
}

async fn runner(deltas: usize) -> AgentRunnerClient<Transport> {
    let environment = Environment::new([]);
    let sources = Sources::new(environment.clone(), None, []);
    let text = r#"{
        models: { providers: { scripted: { baseUrl: "http://127.0.0.1:9" } } },
        agents: { defaults: { model: "scripted/model" } },
    }"#;
    let document = Document::from_text(text, Path::new("bench.json5"), &sources).unwrap();
    let models: BTreeMap<String, Arc<dyn Model>> =
        [("scripted".to_owned(), Arc::new(Scripted(deltas)) as Arc<dyn Model>)].into();
    // A stateless run never asks the store.
    let store = SessionStoreClient::new(transport::remote("http://127.0.0.1:9", &Trust::default()).unwrap());
    let config = Config::load(&document, &environment).unwrap();
    let service: Service = config.build_with(models, store, "bench").await.unwrap();
    AgentRunnerClient::new(transport::local(service.server()))
}

async fn run(runner: &AgentRunnerClient<Transport>, deltas: usize) {
    let text = Part { kind: Some(part::Kind::Text("hi".to_owned())) };
    let request = RunRequest {
        run_id: "run".to_owned(),
        agent_id: "main".to_owned(),
        stateless: true,
        input: vec![Message { role: Role::User.into(), parts: vec![text], ..Message::default() }],
        ..RunRequest::default()
    };
    let mut events = runner.clone().run(request).await.unwrap().into_inner();
    let mut heard = 0;
    while let Some(response) = events.message().await.unwrap() {
        let Some(RunEvent { kind: Some(kind), .. }) = response.event else { panic!("an empty event") };
        heard += usize::from(matches!(kind, Kind::TextDelta(_)));
    }
    assert_eq!(heard, deltas);
    // The run's place is free again once its task is over.
    tokio::task::yield_now().await;
}

async fn read(deltas: usize) {
    let events = Scripted(deltas).stream(&Request::default()).count().await;
    assert_eq!(events, deltas + 1);
}
