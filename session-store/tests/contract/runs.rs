//! Runs that are recorded, so that others find them.

use proto::session::v1::{CommitTurnRequest, GetRunRequest, PutRunRequest, Run, RunState};
use session_store::SessionConfig;
use tonic::{Code, Status};

use crate::database::{Database, Store, asks, refused, user};

fn run(run_id: &str, runner: &str, fingerprint: &'static str, state: RunState) -> Run {
    Run {
        run_id: run_id.to_owned(),
        session_key: "key".to_owned(),
        runner: runner.to_owned(),
        fingerprint: fingerprint.into(),
        state: state.into(),
        ..Run::default()
    }
}

async fn put_instead_of(store: &Store, replaces_runner: &str, run: Run) -> Run {
    let request = PutRunRequest { run: Some(run), replaces_runner: replaces_runner.to_owned() };
    store.client.clone().put_run(request).await.unwrap().into_inner().run.unwrap()
}

async fn put(store: &Store, run: Run) -> Run {
    put_instead_of(store, "", run).await
}

async fn get(store: &Store, run_id: &str) -> Result<Run, Status> {
    let request = GetRunRequest { run_id: run_id.to_owned() };
    Ok(store.client.clone().get_run(request).await?.into_inner().run.unwrap())
}

pub(crate) async fn a_recorded_run_is_found_until_it_expires(database: Database) {
    let session = SessionConfig { run_ttl: "10s".parse().unwrap(), ..SessionConfig::default() };
    let store = database.open_with(session).await;
    refused(get(&store, "run").await, Code::NotFound);
    let recorded = put(&store, run("run", "one", "print", RunState::Running)).await;
    assert_eq!(recorded.expires_at_ms - recorded.created_at_ms, 10_000);
    let expected = Run {
        created_at_ms: recorded.created_at_ms,
        expires_at_ms: recorded.expires_at_ms,
        ..run("run", "one", "print", RunState::Running)
    };
    assert_eq!(recorded, expected);
    assert_eq!(get(&store, "run").await.unwrap(), expected);

    database.shell.execute("UPDATE runs SET created_at_ms = 1, expires_at_ms = 2").await;
    refused(get(&store, "run").await, Code::NotFound);
    let again = put(&store, run("run", "two", "another", RunState::Running)).await;
    assert_eq!((again.runner.as_str(), &*again.fingerprint), ("two", &b"another"[..]));
    assert!(again.created_at_ms >= recorded.created_at_ms, "{again:?}");
}

pub(crate) async fn a_run_that_goes_on_is_written_by_its_runner_or_who_replaces_it(database: Database) {
    let store = database.open().await;
    let first = put(&store, run("run", "one", "print", RunState::Running)).await;
    assert_eq!(put(&store, run("run", "two", "print", RunState::Running)).await, first);
    assert_eq!(put(&store, run("run", "one", "another", RunState::Running)).await, first);
    assert_eq!(put_instead_of(&store, "three", run("run", "two", "print", RunState::Running)).await, first);
    assert_eq!(put_instead_of(&store, "one", run("run", "two", "another", RunState::Running)).await, first);

    let second = put_instead_of(&store, "one", run("run", "two", "print", RunState::Running)).await;
    assert_eq!((second.runner.as_str(), second.created_at_ms), ("two", first.created_at_ms));
    let failed = put(&store, run("run", "two", "print", RunState::Failed)).await;
    assert_eq!(failed.state(), RunState::Failed);
}

pub(crate) async fn a_run_without_a_turn_is_finished_by_its_runner_and_nobody_else(database: Database) {
    let store = database.open().await;
    let with = |outcome: &'static str, run: Run| Run { outcome: outcome.into(), ..run };
    let running = put(&store, with("taken on", run("run", "one", "print", RunState::Running))).await;
    assert_eq!(&*running.outcome, b"taken on");
    let finished = |runner| with("answer", run("run", runner, "print", RunState::Finished));
    assert_eq!(put(&store, finished("two")).await, running);
    let recorded = put(&store, finished("one")).await;
    assert_eq!((recorded.state(), &*recorded.outcome), (RunState::Finished, &b"answer"[..]));
    assert_eq!(put(&store, run("run", "one", "print", RunState::Failed)).await, recorded);
}

pub(crate) async fn a_failed_run_may_be_run_again_by_anybody(database: Database) {
    let store = database.open().await;
    put(&store, run("run", "one", "print", RunState::Failed)).await;
    let again = put(&store, run("run", "two", "another", RunState::Running)).await;
    assert_eq!((again.runner.as_str(), again.state()), ("two", RunState::Running));
}

pub(crate) async fn a_finished_run_stays_as_it_is(database: Database) {
    let store = database.open().await;
    let finished = Run { outcome: "answer".into(), ..run("run", "one", "print", RunState::Finished) };
    let recorded = put(&store, finished).await;
    assert_eq!(&*recorded.outcome, b"answer");
    assert_eq!(put(&store, run("run", "one", "print", RunState::Running)).await, recorded);
    assert_eq!(put_instead_of(&store, "one", run("run", "two", "print", RunState::Failed)).await, recorded);
    assert_eq!(get(&store, "run").await.unwrap(), recorded);
}

pub(crate) async fn a_commit_ends_its_run_and_a_lost_lease_does_not(database: Database) {
    let store = database.open().await;
    put(&store, run("run-1", "one", "print", RunState::Running)).await;
    let commit = async |begun: &proto::session::v1::BeginTurnResponse| {
        let request = CommitTurnRequest {
            lease: begun.lease.clone(),
            run_id: "run-1".to_owned(),
            messages: vec![user("hi")],
            outcome: "answer".into(),
            ..CommitTurnRequest::default()
        };
        store.client.clone().commit_turn(request).await
    };
    let lost = store.begin(asks("key", "run-1")).await.unwrap();
    let held = store.begin(asks("key", "run-1")).await.unwrap();
    refused(commit(&lost).await, Code::FailedPrecondition);
    assert_eq!(get(&store, "run-1").await.unwrap().state(), RunState::Running);

    commit(&held).await.unwrap();
    let finished = get(&store, "run-1").await.unwrap();
    assert_eq!((finished.state(), &*finished.outcome), (RunState::Finished, &b"answer"[..]));
    commit(&held).await.unwrap();
    assert_eq!(get(&store, "run-1").await.unwrap(), finished);
}

pub(crate) async fn a_session_takes_the_answers_of_its_runs_along(database: Database) {
    let store = database.open().await;
    for deletes in [false, true] {
        store.turn("key", &format!("turn-{deletes}"), &["hi"]).await;
        put(&store, run("finished", "one", "print", RunState::Finished)).await;
        put(&store, run("running", "one", "print", RunState::Running)).await;
        let elsewhere = Run { session_key: "another".to_owned(), ..run("else", "one", "print", RunState::Finished) };
        put(&store, elsewhere).await;
        if deletes {
            store.delete("key").await.unwrap();
        } else {
            store.reset("key").await.unwrap();
        }
        refused(get(&store, "finished").await, Code::NotFound);
        get(&store, "running").await.unwrap();
        get(&store, "else").await.unwrap();
    }
}
