//! Runs from the outside: the generated client on the generated server, a store that records, a model that obeys.

mod again;
mod agent;
mod embeddings;
mod fakes;
mod images;
mod kept;
mod metrics;
mod preview;
mod reload;
mod resumable;

use std::time::Duration;

use proto::{
    agent::v1::{
        CancelRequest, FailureCode, FinishReason, RunRequest, agent_runner_client::AgentRunnerClient, run_event::Kind,
    },
    session::v1::{Message, Role, Usage},
};
use shared::transport::Transport;
use tonic::{Code, Streaming};

use crate::model::{Error, Event};
use fakes::{Call, FakeStore, Script, runner};

fn message(role: Role, text: &str) -> Message {
    let parts = vec![crate::prompt::text(text.to_owned())];
    Message { role: role.into(), parts, ..Message::default() }
}

fn request(run_id: &str) -> RunRequest {
    RunRequest {
        run_id: run_id.to_owned(),
        agent_id: "main".to_owned(),
        session_key: "agent:main:openai-user:alice".to_owned(),
        input: vec![message(Role::User, "hi")],
        ..RunRequest::default()
    }
}

fn text(text: &str) -> Event {
    Event::Text(text.to_owned())
}

async fn kinds(events: &mut Streaming<proto::agent::v1::RunResponse>) -> Vec<Kind> {
    let mut kinds = Vec::new();
    while let Some(response) = events.message().await.expect("the stream does not break") {
        let event = response.event.expect("every response has an event");
        kinds.push(event.kind.expect("every event has a kind"));
        assert_eq!(event.seq, kinds.len() as u64);
    }
    kinds
}

async fn run(client: &mut AgentRunnerClient<Transport>, request: RunRequest) -> Vec<Kind> {
    let mut events = client.run(request).await.expect("the run is taken on").into_inner();
    kinds(&mut events).await
}

fn failure_code(kinds: &[Kind]) -> Option<FailureCode> {
    match kinds.last() {
        Some(Kind::Failed(failed)) => Some(failed.code()),
        _ => None,
    }
}

#[tokio::test]
async fn a_turn_is_kept_before_the_run_says_that_it_is_finished() {
    let store = FakeStore::default();
    let usage = Usage { prompt_tokens: 3, completion_tokens: 2, ..Usage::default() };
    let script = Script::of([text("he"), text("llo"), Event::Finished(FinishReason::Stop), Event::Usage(usage)]);
    let (mut client, _service) = runner(&store, script);
    let kinds = run(&mut client, request("r1")).await;
    assert!(matches!(kinds[0], Kind::Started(_)), "{kinds:?}");
    assert_eq!(kinds[1..3], [Kind::TextDelta("he".to_owned()), Kind::TextDelta("llo".to_owned())]);
    let Some(Kind::Finished(finished)) = kinds.last() else { panic!("{kinds:?}") };
    assert_eq!((finished.reason(), finished.usage), (FinishReason::Stop, Some(usage)));
    // What the provider counted is kept, for the next turn to know how long the conversation is.
    let answer = Message { context_tokens: 5, ..message(Role::Assistant, "hello") };
    let committed = vec![message(Role::User, "hi"), answer];
    assert_eq!(store.calls(), [Call::Begin, Call::Commit(committed)]);
}

#[tokio::test]
async fn history_counts_only_where_nothing_is_kept_yet() {
    let history = vec![message(Role::User, "first"), message(Role::Assistant, "answer")];
    let check = async |transcript: Vec<Message>, expected: Vec<Message>| {
        let store = FakeStore { transcript, ..FakeStore::default() };
        let (mut client, _service) = runner(&store, Script::of([text("ok"), Event::Finished(FinishReason::Stop)]));
        run(&mut client, RunRequest { history: history.clone(), ..request("r1") }).await;
        assert_eq!(store.calls(), [Call::Begin, Call::Commit(expected)]);
    };
    let (new, answer) = (message(Role::User, "hi"), message(Role::Assistant, "ok"));
    let imported = vec![history[0].clone(), history[1].clone(), new.clone(), answer.clone()];
    check(vec![], imported).await;
    check(history.clone(), vec![new, answer]).await;
}

#[tokio::test]
async fn a_turn_that_fails_is_given_back() {
    let check = async |script: Script, expected: FailureCode| {
        let store = FakeStore::default();
        let (mut client, _service) = runner(&store, script);
        let kinds = run(&mut client, request("r1")).await;
        assert_eq!(failure_code(&kinds), Some(expected), "{kinds:?}");
        assert_eq!(store.calls(), [Call::Begin, Call::Abandon]);
    };
    check(Script::failing([text("a")], || Error::Unauthorized), FailureCode::UpstreamAuth).await;
    // An answer that does not say why it ended broke off.
    check(Script::of([text("a")]), FailureCode::UpstreamError).await;
}

#[tokio::test]
async fn a_session_with_nothing_new_is_refused() {
    let history = vec![message(Role::User, "first"), message(Role::Assistant, "answer")];
    let store = FakeStore { transcript: history.clone(), ..FakeStore::default() };
    let (mut client, _service) = runner(&store, Script::of([]));
    let kinds = run(&mut client, RunRequest { history, input: vec![], ..request("r1") }).await;
    assert_eq!(failure_code(&kinds), Some(FailureCode::InvalidRequest), "{kinds:?}");
    assert_eq!(store.calls(), [Call::Begin, Call::Abandon]);
}

#[tokio::test]
async fn a_stateless_run_never_asks_the_store() {
    let store = FakeStore::default();
    let (mut client, _service) = runner(&store, Script::of([text("ok"), Event::Finished(FinishReason::Stop)]));
    let kinds = run(&mut client, RunRequest { stateless: true, ..request("r1") }).await;
    assert!(matches!(kinds.last(), Some(Kind::Finished(_))), "{kinds:?}");
    assert_eq!(store.calls(), []);
}

#[tokio::test]
async fn a_live_run_is_cancelled_by_its_id_and_never_run_twice() {
    let store = FakeStore::default();
    let (mut client, service) = runner(&store, Script::endless([text("a")]));
    let mut events = client.run(request("r1")).await.expect("the run is taken on").into_inner();
    events.message().await.expect("no break").expect("it has begun");

    let again = client.run(request("r1")).await.expect_err("the run is live");
    assert_eq!(again.code(), Code::AlreadyExists);
    client.cancel(cancel("r1")).await.expect("the run is live");
    let rest = kinds_after(&mut events).await;
    assert_eq!(failure_code(&rest), Some(FailureCode::Cancelled), "{rest:?}");
    service.shutdown().await;
    assert_eq!(store.calls(), [Call::Begin, Call::Abandon]);
    assert_eq!(client.cancel(cancel("r1")).await.expect_err("it is over").code(), Code::NotFound);
}

fn cancel(run_id: &str) -> CancelRequest {
    CancelRequest { run_id: run_id.to_owned(), ..CancelRequest::default() }
}

async fn kinds_after(events: &mut Streaming<proto::agent::v1::RunResponse>) -> Vec<Kind> {
    let mut kinds = Vec::new();
    while let Some(response) = events.message().await.expect("the stream does not break") {
        kinds.extend(response.event.and_then(|event| event.kind));
    }
    kinds
}

#[tokio::test]
async fn a_dropped_stream_stops_the_model_and_gives_the_turn_back() {
    let store = FakeStore::default();
    let script = Script::endless([text("a")]);
    let stopped = script.stopped();
    let (mut client, service) = runner(&store, script);
    let mut events = client.run(request("r1")).await.expect("the run is taken on").into_inner();
    events.message().await.expect("no break").expect("it has begun");
    drop(events);
    stopped.notified().await;
    service.shutdown().await;
    assert_eq!(store.calls(), [Call::Begin, Call::Abandon]);
}

#[tokio::test]
async fn a_shutdown_ends_the_runs_and_takes_no_more() {
    let store = FakeStore::default();
    let (mut client, service) = runner(&store, Script::endless([]));
    let mut events = client.run(request("r1")).await.expect("the run is taken on").into_inner();
    events.message().await.expect("no break").expect("it has begun");
    service.shutdown().await;
    assert_eq!(store.calls(), [Call::Begin, Call::Abandon]);
    assert_eq!(client.run(request("r2")).await.expect_err("shut down").code(), Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_run_has_a_time_limit_and_keeps_its_lease_meanwhile() {
    let store = FakeStore { lease_ms: 30_000, ..FakeStore::default() };
    let (mut client, _service) = runner(&store, Script::endless([text("a")]));
    let kinds = run(&mut client, request("r1")).await;
    assert_eq!(failure_code(&kinds), Some(FailureCode::Timeout), "{kinds:?}");
    // The fakes' time limit is 65 s, and a lease is renewed after a third of its time.
    let mut expected = vec![Call::Begin];
    expected.extend(std::iter::repeat_n(Call::Renew, 6));
    expected.push(Call::Abandon);
    assert_eq!(store.calls(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_lost_its_lease_ends_and_never_writes() {
    let store = FakeStore { lease_ms: 30_000, loses_lease: true, ..FakeStore::default() };
    let (mut client, _service) = runner(&store, Script::endless([text("a")]));
    let kinds = run(&mut client, request("r1")).await;
    assert_eq!(failure_code(&kinds), Some(FailureCode::SessionBusy), "{kinds:?}");
    assert_eq!(store.calls(), [Call::Begin, Call::Renew, Call::Abandon]);
}

#[tokio::test]
async fn a_commit_that_fails_is_tried_once_more() {
    let store = FakeStore::default();
    store.fail_next_commit();
    let (mut client, _service) = runner(&store, Script::of([text("ok"), Event::Finished(FinishReason::Stop)]));
    let kinds = run(&mut client, request("r1")).await;
    assert!(matches!(kinds.last(), Some(Kind::Finished(_))), "{kinds:?}");
    let committed = Call::Commit(vec![message(Role::User, "hi"), message(Role::Assistant, "ok")]);
    assert_eq!(store.calls(), [Call::Begin, committed.clone(), committed]);
}

#[tokio::test]
async fn a_bad_request_is_refused_before_there_is_a_run() {
    let store = FakeStore::default();
    let (mut client, _service) = runner(&store, Script::of([]));
    let mut check = async |request: RunRequest, code: Code, message: &str| {
        let status = client.run(request).await.expect_err("it is bad");
        assert_eq!((status.code(), status.message()), (code, message));
    };
    let unknown = RunRequest { agent_id: "x".to_owned(), ..request("r1") };
    check(unknown, Code::NotFound, "there is no agent `x`; there are: main").await;
    check(request(""), Code::InvalidArgument, "run_id: must have 1 to 128 bytes").await;
    let empty = RunRequest { input: vec![], ..request("r1") };
    check(empty, Code::InvalidArgument, "messages: there is nothing to answer").await;
    let model = |model: &str| RunRequest { model: model.to_owned(), ..request("r1") };
    check(model("gpt"), Code::InvalidArgument, "x-clawdbot-model: expected `provider/model`").await;
    check(model("x/y"), Code::InvalidArgument, "x-clawdbot-model: there is no model provider `x`").await;
    check(model("fake/y"), Code::InvalidArgument, "x-clawdbot-model: the provider `fake` has no model `y`").await;
    assert_eq!(store.calls(), []);
    tokio::time::timeout(Duration::from_secs(10), run(&mut client, model("fake/m"))).await.expect("it is taken on");
}
