//! Runs that are asked for more than once, of one runner and of several.

use std::time::Duration;

use prost::Message;
use proto::agent::v1::{
    Accepted, AttachRequest, CancelRequest, FailureCode, FinishReason, Finished, RunEvent, RunOutcome, RunRequest,
    RunResponse, Started, agent_runner_client::AgentRunnerClient, run_event::Kind,
};
use proto::session::v1::{Run, RunState};
use shared::{
    grpc,
    transport::{Transport, Trust},
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

use super::{
    cancel, failure_code,
    fakes::{Begins, Call, FakeStore, MAX_CALLS, Script, runner, runner_called},
    kept::attached,
    kinds_after, request, run, text,
};
use crate::model::{Error, Event};

pub(super) fn resumable(run_id: &str) -> RunRequest {
    RunRequest { fingerprint: b"hi"[..].into(), ..request(run_id) }
}

pub(super) fn stateless(run_id: &str) -> RunRequest {
    RunRequest { stateless: true, ..resumable(run_id) }
}

pub(super) fn attach(run_id: &str, after_seq: u64) -> AttachRequest {
    AttachRequest { run_id: run_id.to_owned(), after_seq, ..AttachRequest::default() }
}

pub(super) fn hello() -> Script {
    Script::of([text("he"), text("llo"), Event::Finished(FinishReason::Stop)])
}

/// A model that must not be asked.
pub(super) fn silent() -> Script {
    Script::failing([], || Error::Unauthorized)
}

pub(super) async fn begin(client: &mut AgentRunnerClient<Transport>, request: RunRequest) -> Streaming<RunResponse> {
    let mut events = client.run(request).await.expect("the run is taken on").into_inner();
    loop {
        let event = events.message().await.expect("no break").and_then(|response| response.event);
        if matches!(event.expect("it begins").kind, Some(Kind::Started(_))) {
            return events;
        }
    }
}

/// A runner's server in a runtime of its own, so that its connections end with it.
pub(super) struct Served(Option<Runtime>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.take().expect("nothing else takes it").shutdown_background();
    }
}

/// A runner that others can reach, for as long as it is served.
pub(super) async fn served(store: &FakeStore, script: Script) -> (AgentRunnerClient<Transport>, String, Served) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (client, service) = runner_called(&url, store, script);
    let listener = listener.into_std().expect("it is a socket");
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    runtime.spawn(async move {
        let listener = TcpListener::from_std(listener).expect("it is a socket");
        let (listener, stop) = (grpc::Listener::on(listener, Trust::default()), CancellationToken::new());
        let served = grpc::serve(listener, service.server(), proto::DESCRIPTORS, stop, Duration::ZERO, async {});
        served.await.expect("it serves");
    });
    (client, url, Served(Some(runtime)))
}

/// Why a run did not come about.
async fn refusal(client: &mut AgentRunnerClient<Transport>, request: RunRequest) -> Status {
    match client.run(request).await {
        Ok(events) => {
            let mut events = events.into_inner();
            loop {
                match events.message().await {
                    Ok(event) => assert!(event.is_some(), "it is refused"),
                    Err(status) => return status,
                }
            }
        }
        Err(status) => status,
    }
}

#[tokio::test]
async fn a_resumable_run_goes_on_without_its_caller_and_is_never_run_twice() {
    let store = FakeStore::default();
    let (mut client, service) = runner(&store, Script::endless([text("a"), text("b")]));
    drop(begin(&mut client, resumable("r1")).await);
    let mut again = begin(&mut client, resumable("r1")).await;
    let mut attached = client.attach(attach("r1", 3)).await.expect("it is live").into_inner();

    let fourth = RunEvent { seq: 4, kind: Some(Kind::TextDelta("b".to_owned())) };
    assert_eq!(attached.message().await.expect("no break").expect("more").event, Some(fourth));
    client.cancel(cancel("r1")).await.expect("it is live");
    let rest = kinds_after(&mut again).await;
    assert_eq!(rest[..2], [Kind::TextDelta("a".to_owned()), Kind::TextDelta("b".to_owned())]);
    assert_eq!(failure_code(&rest), Some(FailureCode::Cancelled));
    service.shutdown().await;
    assert_eq!(store.calls(), [Call::Begin, Call::Abandon]);
}

#[tokio::test]
async fn a_finished_run_is_answered_again_by_any_runner() {
    let store = FakeStore::default();
    let (mut one, _one) = runner_called("one", &store, hello());
    let (mut another, _another) = runner_called("another", &store, silent());
    let first = run(&mut one, resumable("r1")).await;
    assert_eq!(first.len(), 5, "{first:?}");
    for client in [&mut one, &mut another] {
        assert_eq!(run(client, resumable("r1")).await, first);
        let mut attached = client.attach(attach("r1", 4)).await.expect("it is kept").into_inner();
        let last = attached.message().await.expect("no break").expect("an event").event;
        assert_eq!(last, Some(RunEvent { seq: 5, kind: first.last().cloned() }));
        assert_eq!(attached.message().await.expect("no break"), None);
    }
    assert_eq!(store.calls().len(), 2, "one turn was taken");
}

#[tokio::test]
async fn a_finished_stateless_run_is_answered_again_by_any_runner_and_takes_no_turn() {
    let store = FakeStore::default();
    let (mut one, _one) = runner_called("one", &store, hello());
    let (mut another, _another) = runner_called("another", &store, silent());
    let first = run(&mut one, stateless("r1")).await;
    assert!(matches!(first.last(), Some(Kind::Finished(_))), "{first:?}");
    assert_eq!(run(&mut another, stateless("r1")).await, first);
    assert_eq!(attached(&mut another, attach("r1", 0)).await.expect("it is kept"), first);
    assert_eq!(store.calls(), []);
}

#[tokio::test]
async fn an_answer_that_cannot_be_recorded_is_told_all_the_same() {
    let store = FakeStore { cannot_finish: true, ..FakeStore::default() };
    let (mut client, _service) = runner(&store, hello());
    let kinds = run(&mut client, stateless("r1")).await;
    assert!(matches!(kinds.last(), Some(Kind::Finished(_))), "{kinds:?}");
}

#[tokio::test]
async fn another_request_under_the_same_id_is_refused() {
    let store = FakeStore::default();
    let other = |run_id| RunRequest { fingerprint: b"ho"[..].into(), ..resumable(run_id) };
    let (mut client, _service) = runner(&store, Script::endless([]));
    let _live = begin(&mut client, resumable("live")).await;
    assert_eq!(refusal(&mut client, other("live")).await.code(), Code::AlreadyExists);
    assert_eq!(refusal(&mut client, request("live")).await.code(), Code::AlreadyExists);

    let (mut client, _service) = runner(&store, hello());
    run(&mut client, resumable("recorded")).await;
    assert_eq!(refusal(&mut client, other("recorded")).await.code(), Code::AlreadyExists);
    run(&mut client, stateless("kept")).await;
    assert_eq!(refusal(&mut client, RunRequest { stateless: true, ..other("kept") }).await.code(), Code::AlreadyExists);
}

#[tokio::test]
async fn a_run_at_another_runner_is_followed_and_cancelled_there() {
    let store = FakeStore::default();
    let (mut one, url, _serving) = served(&store, Script::endless([text("a")])).await;
    let (mut another, _another) = runner_called("another", &store, silent());

    let mut first = begin(&mut one, resumable("r1")).await;
    let mut second = begin(&mut another, resumable("r1")).await;
    let elsewhere = CancelRequest { run_id: "r1".to_owned(), runner: url };
    another.cancel(elsewhere).await.expect("it is there");
    let seen = kinds_after(&mut first).await;
    assert_eq!(failure_code(&seen), Some(FailureCode::Cancelled));
    assert_eq!(kinds_after(&mut second).await, seen);

    let mut first = begin(&mut one, resumable("r2")).await;
    let mut second = begin(&mut another, resumable("r2")).await;
    let mut attached = another.attach(attach("r2", 1)).await.expect("it is there").into_inner();
    attached.message().await.expect("no break").expect("an event");
    another.cancel(cancel("r2")).await.expect("it is followed");
    let seen = kinds_after(&mut first).await;
    assert_eq!(failure_code(&seen), Some(FailureCode::Cancelled));
    assert_eq!(kinds_after(&mut second).await, seen);
}

#[tokio::test]
async fn a_run_whose_runner_is_gone_is_taken_over() {
    for gone in ["http://127.0.0.1:9", "process:1"] {
        let store = FakeStore::default();
        let recorded = Run { run_id: "r1".to_owned(), runner: gone.to_owned(), ..Run::default() };
        store.set_run(Run { fingerprint: b"hi"[..].into(), state: RunState::Running.into(), ..recorded });
        let (mut client, _service) = runner(&store, hello());
        let kinds = run(&mut client, resumable("r1")).await;
        assert!(matches!(kinds.last(), Some(Kind::Finished(_))), "{kinds:?}");
    }
}

#[tokio::test]
async fn a_failed_run_leaves_nothing_and_runs_again() {
    let store = FakeStore::default();
    for again in [resumable("r1"), stateless("r2")] {
        let (mut client, _service) = runner(&store, silent());
        for _ in 0..2 {
            let kinds = run(&mut client, again.clone()).await;
            assert_eq!(failure_code(&kinds), Some(FailureCode::UpstreamAuth), "{kinds:?}");
        }
        let run_id = again.run_id.as_str();
        assert_eq!(client.attach(attach(run_id, 0)).await.expect_err("nothing").code(), Code::NotFound);
    }
    let (mut client, _service) = runner(&store, hello());
    let kinds = run(&mut client, resumable("r1")).await;
    assert!(matches!(kinds.last(), Some(Kind::Finished(_))), "{kinds:?}");
}

#[tokio::test]
async fn an_answer_too_long_to_keep_fails() {
    let store = FakeStore::default();
    let text = text(&"x".repeat(1024 * 1024));
    let (mut client, _service) = runner(&store, Script::endless(std::iter::repeat_n(text, 17)));
    let kinds = run(&mut client, resumable("r1")).await;
    let Some(Kind::Failed(failed)) = kinds.last() else { panic!("{} events", kinds.len()) };
    assert_eq!((failed.code(), failed.param.as_str()), (FailureCode::InvalidRequest, ""));
}

#[tokio::test]
async fn a_run_that_was_followed_is_completed_from_what_is_kept_when_its_runner_dies() {
    for is_kept in [true, false] {
        let store = FakeStore::default();
        let (mut one, url, serving) = served(&store, Script::endless([text("a")])).await;
        let (mut another, _another) = runner_called("another", &store, silent());
        let mut first = begin(&mut one, resumable("r1")).await;
        let mut second = begin(&mut another, resumable("r1")).await;
        let a = second.message().await.expect("no break").expect("an event").event.expect("an event");
        assert_eq!(a.kind, Some(Kind::TextDelta("a".to_owned())));
        first.message().await.expect("no break").expect("an event");

        let finished = Kind::Finished(Finished { reason: FinishReason::Stop.into(), usage: None });
        let accepted = Kind::Accepted(Accepted::default());
        let kinds = [accepted, Kind::Started(Started::default()), Kind::TextDelta("a".to_owned()), finished.clone()];
        let events = (1..).zip(kinds).map(|(seq, kind)| RunEvent { seq, kind: Some(kind) }).collect();
        if is_kept {
            let outcome = RunOutcome { events }.encode_to_vec().into();
            let recorded = Run { run_id: "r1".to_owned(), runner: url, outcome, ..Run::default() };
            store.set_run(Run { fingerprint: b"hi"[..].into(), state: RunState::Finished.into(), ..recorded });
        }
        drop(serving);
        if is_kept {
            assert_eq!(kinds_after(&mut second).await, [finished]);
        } else {
            assert_eq!(second.message().await.expect_err("it broke off").code(), Code::Unavailable);
        }
    }
}

#[tokio::test]
async fn a_runner_that_shuts_down_leaves_alone_what_it_follows() {
    let store = FakeStore::default();
    let (mut one, _url, _serving) = served(&store, Script::endless([text("a")])).await;
    let (mut another, follower) = runner_called("another", &store, silent());
    let mut first = begin(&mut one, resumable("r1")).await;
    let mut second = begin(&mut another, resumable("r1")).await;
    second.message().await.expect("no break").expect("an event");
    follower.drain(Duration::ZERO).await;
    follower.shutdown().await;
    assert_eq!(second.message().await.expect_err("it shut down").code(), Code::Unavailable);
    one.cancel(cancel("r1")).await.expect("it goes on");
    assert_eq!(failure_code(&kinds_after(&mut first).await), Some(FailureCode::Cancelled));
}

#[tokio::test]
async fn runs_that_nobody_reads_are_bounded_too() {
    let store = FakeStore::default();
    let (mut client, _service) = runner(&store, Script::endless([]));
    for number in 0..MAX_CALLS {
        drop(begin(&mut client, stateless(&format!("r{number}"))).await);
    }
    assert_eq!(refusal(&mut client, stateless("more")).await.code(), Code::ResourceExhausted);
    begin(&mut client, stateless("r0")).await;
}

#[tokio::test]
async fn a_run_whose_answer_was_forgotten_is_not_run_again() {
    let store = FakeStore { begins: Begins::Committed, ..FakeStore::default() };
    let (mut client, _service) = runner(&store, hello());
    assert_eq!(refusal(&mut client, resumable("r1")).await.code(), Code::AlreadyExists);
    assert_eq!(store.calls(), [Call::Begin]);
}
