//! What can be done with a kept run by those who know its id.

use std::time::SystemTime;

use prost::Message as _;
use proto::{
    agent::v1::{
        Accepted, AttachRequest, CancelRequest, FailureCode, RunEvent, RunOutcome, RunRequest,
        agent_runner_client::AgentRunnerClient, run_event::Kind,
    },
    session::v1::{Message, Role, Run, RunState},
};
use shared::transport::Transport;
use tonic::{Code, Status};

use super::{
    cancel, failure_code,
    fakes::{Begins, Call, FakeStore, Script, Setup, runner, runner_called},
    kinds_after, message, request,
    resumable::{attach, begin, hello, resumable, served, silent, stateless},
    run, text,
};
use crate::{model::Error, service::Capacity};

/// Every event that an attachment tells, or what ends it too early.
pub(super) async fn attached(
    client: &mut AgentRunnerClient<Transport>,
    request: AttachRequest,
) -> Result<Vec<Kind>, Status> {
    let mut seq = request.after_seq;
    let mut events = client.attach(request).await?.into_inner();
    let mut kinds = Vec::new();
    while let Some(response) = events.message().await? {
        let event = response.event.expect("every response has an event");
        seq += 1;
        assert_eq!(event.seq, seq);
        kinds.extend(event.kind);
    }
    Ok(kinds)
}

fn snapshot(run_id: &str, after_seq: u64) -> AttachRequest {
    AttachRequest { is_snapshot: true, ..attach(run_id, after_seq) }
}

fn annotated(request: RunRequest) -> RunRequest {
    RunRequest { owner: "alice".to_owned(), annotation: "{}".to_owned(), ..request }
}

/// What is told first of an annotated run.
fn accepted(stateless: bool) -> Kind {
    let RunRequest { agent_id, session_key, .. } = request("");
    Kind::Accepted(Accepted {
        agent_id,
        session_key,
        stateless,
        owner: "alice".to_owned(),
        annotation: "{}".to_owned(),
    })
}

#[tokio::test]
async fn a_run_says_first_that_it_is_taken_on_and_says_it_once() {
    for (asked, is_stateless) in [(resumable("r1"), false), (stateless("r1"), true)] {
        let store = FakeStore::default();
        let (mut one, _url, _serving) = served(&store, Script::endless([text("a")])).await;
        let (mut another, _another) = runner_called("another", &store, silent());
        let mut first = begin(&mut one, annotated(asked.clone())).await;
        let mut second = another.run(annotated(asked)).await.expect("it is followed").into_inner();
        let event = second.message().await.expect("no break").expect("an event").event;
        assert_eq!(event, Some(RunEvent { seq: 1, kind: Some(accepted(is_stateless)) }));
        let event = second.message().await.expect("no break").expect("an event").event.expect("an event");
        assert!(matches!(event, RunEvent { seq: 2, kind: Some(Kind::Started(_)) }), "{event:?}");
        one.cancel(cancel("r1")).await.expect("it is live");
        assert_eq!(kinds_after(&mut second).await, kinds_after(&mut first).await);
    }
}

#[tokio::test]
async fn a_run_that_ends_with_its_stream_is_not_said_to_be_taken_on() {
    let (mut client, _service) = runner(&FakeStore::default(), hello());
    let kinds = run(&mut client, annotated(request("r1"))).await;
    assert!(matches!(kinds[0], Kind::Started(_)), "{kinds:?}");
}

#[tokio::test]
async fn what_is_told_of_a_run_is_bounded() {
    let (mut client, _service) = runner(&FakeStore::default(), silent());
    for request in [
        RunRequest { owner: "x".repeat(257), ..resumable("r1") },
        RunRequest { annotation: "x".repeat(262_145), ..resumable("r1") },
        RunRequest { session_key: String::new(), ..stateless("r1") },
        RunRequest { after_run_id: "r0".to_owned(), ..stateless("r1") },
    ] {
        assert_eq!(client.run(request).await.expect_err("it is refused").code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn a_failure_is_kept_on_request_and_told_by_any_runner() {
    for asked in [resumable("r1"), stateless("r1")] {
        let store = FakeStore::default();
        let (mut one, _one) = runner_called("one", &store, silent());
        let (mut another, _another) = runner_called("another", &store, hello());
        let asked = RunRequest { keeps_failure: true, ..asked };
        let failed = run(&mut one, asked.clone()).await;
        assert_eq!(failure_code(&failed), Some(FailureCode::UpstreamAuth), "{failed:?}");
        for client in [&mut one, &mut another] {
            assert_eq!(run(client, asked.clone()).await, failed);
            assert_eq!(attached(client, snapshot("r1", 0)).await.expect("it is kept"), failed);
        }
    }
}

#[tokio::test]
async fn a_snapshot_ends_with_what_there_is() {
    let store = FakeStore::default();
    let (mut one, _url, _serving) = served(&store, Script::endless([text("a")])).await;
    let (mut another, _another) = runner_called("another", &store, silent());
    let mut events = begin(&mut one, resumable("r1")).await;
    events.message().await.expect("no break").expect("an event");
    for client in [&mut one, &mut another] {
        let kinds = attached(client, snapshot("r1", 0)).await.expect("it is live");
        assert_eq!(kinds.len(), 3, "{kinds:?}");
        assert_eq!(attached(client, snapshot("r1", 2)).await.expect("it is live"), kinds[2..]);
        assert_eq!(attached(client, snapshot("r1", 9)).await.expect("it is live"), []);
    }
}

#[tokio::test]
async fn a_turn_follows_the_run_that_it_is_to_follow_or_none() {
    let said = |text: &str| vec![message(Role::User, text)];
    let check = async |transcript: Vec<Message>, is_refused: bool| {
        let store = FakeStore { transcript, newest_run: "r1", ..FakeStore::default() };
        let (mut client, _service) = runner(&store, hello());
        let after = if is_refused { "r0" } else { "r1" };
        let kinds = run(&mut client, RunRequest { after_run_id: after.to_owned(), ..request("r2") }).await;
        let code = if is_refused { Some(FailureCode::SessionMoved) } else { None };
        assert_eq!(failure_code(&kinds), code, "{kinds:?}");
        assert_eq!(store.calls().last() == Some(&Call::Abandon), is_refused);
    };
    check(said("before"), false).await;
    check(said("before"), true).await;
    check(vec![], true).await;
}

#[tokio::test]
async fn a_run_is_cancelled_from_any_runner_by_its_id_alone() {
    let store = FakeStore::default();
    let (mut one, _url, _serving) = served(&store, Script::endless([text("a")])).await;
    let (mut another, _another) = runner_called("another", &store, silent());
    let mut events = begin(&mut one, stateless("r1")).await;
    another.cancel(cancel("r1")).await.expect("it is found");
    assert_eq!(failure_code(&kinds_after(&mut events).await), Some(FailureCode::Cancelled));
    assert_eq!(another.cancel(cancel("r1")).await.expect_err("it is over").code(), Code::NotFound);
    assert_eq!(another.cancel(cancel("r2")).await.expect_err("there is none").code(), Code::NotFound);

    let (mut finished, _service) = runner(&store, hello());
    run(&mut finished, stateless("r3")).await;
    assert_eq!(another.cancel(cancel("r3")).await.expect_err("it is over").code(), Code::NotFound);
}

#[tokio::test]
async fn a_run_that_waits_for_its_place_can_be_cancelled() {
    let store = FakeStore::default();
    let setup = Setup { capacity: Capacity { calls: 9, running: 1, waiting: 1 }, ..Setup::of(Script::endless([])) };
    let (mut client, _service) = setup.runner(&store);
    let _running = begin(&mut client, stateless("r1")).await;
    let mut waiting = client.run(stateless("r2")).await.expect("it waits").into_inner();
    waiting.message().await.expect("no break").expect("it is taken on");
    client.cancel(cancel("r2")).await.expect("it waits");
    assert_eq!(failure_code(&kinds_after(&mut waiting).await), Some(FailureCode::Cancelled));
}

#[tokio::test]
async fn a_run_that_waits_for_its_turn_can_be_cancelled() {
    let store = FakeStore { begins: Begins::Never, ..FakeStore::default() };
    let (mut client, _service) = runner(&store, silent());
    let mut waiting = client.run(resumable("r1")).await.expect("it waits").into_inner();
    waiting.message().await.expect("no break").expect("it is taken on");
    client.cancel(cancel("r1")).await.expect("it waits");
    assert_eq!(failure_code(&kinds_after(&mut waiting).await), Some(FailureCode::Cancelled));
}

#[tokio::test]
async fn of_a_run_whose_runner_is_gone_there_is_what_it_was_and_an_error() {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("a clock").as_millis();
    let now = u64::try_from(now).expect("milliseconds");
    // One that cannot be reached, one that has no address, one that would be over, and this one, which was started
    // again.
    for (gone, created_at_ms, is_lost) in [
        ("http://127.0.0.1:9", now, false),
        ("process:1", now, false),
        ("process:1", now - 24 * 3_600_000, true),
        ("this runner", now, true),
    ] {
        let store = FakeStore::default();
        let event = RunEvent { seq: 1, kind: Some(accepted(false)) };
        store.set_run(Run {
            run_id: "r1".to_owned(),
            runner: gone.to_owned(),
            fingerprint: b"hi"[..].into(),
            state: RunState::Running.into(),
            outcome: RunOutcome { events: vec![event] }.encode_to_vec().into(),
            created_at_ms,
            ..Run::default()
        });
        let (mut client, _service) = runner(&store, silent());
        for request in [attach("r1", 0), snapshot("r1", 0)] {
            let mut events = client.attach(request.clone()).await.expect("it is known").into_inner();
            let first = events.message().await.expect("no break").and_then(|response| response.event);
            assert_eq!(first.and_then(|event| event.kind), Some(accepted(false)), "{gone}");
            let next = events.message().await;
            if is_lost && request.is_snapshot {
                let last = next.expect("it is known how it ended").and_then(|response| response.event);
                assert_eq!(last.as_ref().map(|event| event.seq), Some(2), "{gone}");
                let kind = last.and_then(|event| event.kind);
                assert_eq!(failure_code(&[kind.expect("an event")]), Some(FailureCode::Unavailable), "{gone}");
            } else {
                assert_eq!(next.expect_err("its runner is gone").code(), Code::Unavailable, "{gone}");
            }
        }
        let expected = if gone == "this runner" { Code::NotFound } else { Code::Unavailable };
        assert_eq!(client.cancel(cancel("r1")).await.expect_err("its runner is gone").code(), expected, "{gone}");
    }
}

#[tokio::test]
async fn a_runner_records_what_a_run_is_before_it_begins() {
    let store = FakeStore::default();
    let (mut client, _service) = runner(&store, Script::endless([]));
    let _events = begin(&mut client, annotated(stateless("r1"))).await;
    let recorded = store.run("r1").expect("it is recorded");
    assert_eq!((recorded.state(), recorded.runner.as_str()), (RunState::Running, "this runner"));
    let outcome = RunOutcome::decode(recorded.outcome).expect("an outcome");
    assert_eq!(outcome.events, [RunEvent { seq: 1, kind: Some(accepted(true)) }]);
}

#[tokio::test]
async fn a_run_that_is_cut_off_with_its_runner_is_no_fault_of_the_one_that_tells_of_it() {
    let store = FakeStore::default();
    let (mut one, _url, serving) = served(&store, Script::endless([text("a")])).await;
    let (mut another, _another) = runner_called("another", &store, silent());
    let _first = begin(&mut one, resumable("r1")).await;
    let mut events = another.attach(attach("r1", 2)).await.expect("it is live").into_inner();
    events.message().await.expect("no break").expect("an event");
    drop(serving);
    assert_eq!(events.message().await.expect_err("its runner is gone").code(), Code::Unavailable);
}

#[tokio::test]
async fn a_runner_that_is_named_is_asked_and_no_other() {
    let store = FakeStore::default();
    let (mut one, url, _serving) = served(&store, silent()).await;
    let (mut another, _another) = runner_called("another", &store, Script::endless([]));
    let _events = begin(&mut another, stateless("r1")).await;
    let elsewhere = CancelRequest { run_id: "r1".to_owned(), runner: url };
    assert_eq!(another.cancel(elsewhere.clone()).await.expect_err("not there").code(), Code::NotFound);
    assert_eq!(one.cancel(elsewhere).await.expect_err("not here").code(), Code::NotFound);
    let script = Script::failing([], || Error::Unauthorized);
    let (mut third, _third) = runner_called("third", &store, script);
    assert_eq!(third.cancel(cancel("r1")).await.expect_err("it has no address").code(), Code::Unavailable);
}
