//! Runs that a runner tells of as it is told to.

use std::{path::Path, pin::Pin};

use axum::body::Body;
use futures_util::{Stream, stream};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use proto::agent::v1::{
    Accepted, AttachRequest, AttachResponse, CancelRequest, CancelResponse, EmbedRequest, EmbedResponse, Failed,
    FailureCode, ListAgentsRequest, ListAgentsResponse, PreviewPromptRequest, PreviewPromptResponse, RunEvent,
    RunRequest, RunResponse, Started,
    agent_runner_server::{AgentRunner, AgentRunnerServer},
    run_event::Kind,
};
use shared::{
    config::{Document, Sources},
    transport::{self, Layered},
};
use tonic::{Response as Answer, Status};
use tower::ServiceExt as _;

use super::*;
use crate::{Config, chat::Shown, kept::ChatAnnotation, router::router};

/// A runner that has one run, which says this and then nothing more.
#[derive(Clone)]
struct FakeRunner {
    said: Vec<Kind>,
    broken: Option<Status>,
}

type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AgentRunner for FakeRunner {
    type RunStream = Events<RunResponse>;
    type AttachStream = Events<AttachResponse>;

    async fn run(&self, _: tonic::Request<RunRequest>) -> Result<Answer<Self::RunStream>, Status> {
        Err(Status::unimplemented("no test asks for it"))
    }

    async fn attach(&self, _: tonic::Request<AttachRequest>) -> Result<Answer<Self::AttachStream>, Status> {
        let events = (1..).zip(self.said.clone()).map(|(seq, kind)| RunEvent { seq, kind: Some(kind) });
        let responses = events.map(|event| Ok(AttachResponse { event: Some(event) }));
        let all: Vec<_> = responses.chain(self.broken.clone().map(Err)).collect();
        Ok(Answer::new(Box::pin(stream::iter(all))))
    }

    async fn cancel(&self, _: tonic::Request<CancelRequest>) -> Result<Answer<CancelResponse>, Status> {
        Ok(Answer::new(CancelResponse {}))
    }

    async fn preview_prompt(
        &self,
        _: tonic::Request<PreviewPromptRequest>,
    ) -> Result<Answer<PreviewPromptResponse>, Status> {
        Err(Status::unimplemented("no test asks for it"))
    }

    async fn embed(&self, _: tonic::Request<EmbedRequest>) -> Result<Answer<EmbedResponse>, Status> {
        Err(Status::unimplemented("no test asks for it"))
    }

    async fn list_agents(&self, _: tonic::Request<ListAgentsRequest>) -> Result<Answer<ListAgentsResponse>, Status> {
        Err(Status::unimplemented("no test asks for it"))
    }
}

/// What the gateway says of the events after this one.
async fn told(runner: FakeRunner, after: u64) -> (StatusCode, String) {
    let text = r#"{"gateway": {"auth": {"mode": "none"}}}"#;
    let document = Document::from_text(text, Path::new("clawdbot.json"), &Sources::default()).expect("readable");
    let runner = transport::local(Layered::new(AgentRunnerServer::new(runner), 10));
    let gateway = Config::load(&document)
        .expect("a valid configuration")
        .build(runner.clone(), runner)
        .expect("no files are needed");
    let uri = format!("/v1/runs/r1/events?starting_after={after}");
    let request = Request::get(uri).body(Body::empty()).expect("a request");
    let response = router(gateway).oneshot(request).await.expect("the router never fails");
    let status = response.status();
    let body = response.into_body().collect().await.expect("the body does not break").to_bytes();
    (status, String::from_utf8(body.to_vec()).expect("valid UTF-8"))
}

fn accepted() -> Kind {
    let chat = Annotation::Chat(ChatAnnotation {
        model: "clawdbot".to_owned(),
        include_usage: false,
        shown: Shown::default(),
    });
    Kind::Accepted(Accepted { agent_id: "main".to_owned(), annotation: chat.to_json(), ..Accepted::default() })
}

fn failed() -> Kind {
    Kind::Failed(Failed { code: FailureCode::Timeout.into(), message: "too slow".to_owned(), ..Failed::default() })
}

#[tokio::test]
async fn a_run_that_failed_before_it_began_has_a_status_for_who_knows_nothing_of_it() {
    let runner = FakeRunner { said: vec![accepted(), failed()], broken: None };
    let (status, body) = told(runner.clone(), 0).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT, "{body}");
    assert_eq!(told(runner, 1).await, (StatusCode::OK, "id: 2\ndata: [DONE]\n\n".to_owned()));
}

#[tokio::test]
async fn what_the_run_has_not_said_has_no_number() {
    let runner = FakeRunner { said: vec![accepted()], broken: Some(Status::unavailable("gone")) };
    let (status, body) = told(runner.clone(), 0).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");

    let begun = FakeRunner { said: vec![accepted(), Kind::Started(Started::default())], ..runner };
    let (status, body) = told(begun.clone(), 0).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert!(body.starts_with("id: 1\ndata: {") && body.matches("id: ").count() == 1, "{body}");
    let (_, rest) = told(begun, 99).await;
    assert!(rest.starts_with(r#"data: {"error":"#) && rest.ends_with("data: [DONE]\n\n"), "{rest}");
}

#[tokio::test]
async fn what_is_no_chat_is_told_of_elsewhere() {
    let other = Kind::Accepted(Accepted { agent_id: "main".to_owned(), ..Accepted::default() });
    for said in [vec![other], vec![failed()]] {
        let (status, body) = told(FakeRunner { said, broken: None }, 0).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
    }
}

#[test]
fn the_place_is_in_the_query_or_in_the_header() {
    let check = |query: Option<&str>, header: Option<&'static str>, expected: Result<u64, &str>| {
        let headers = header.map(|value| (LAST_EVENT_ID.parse().expect("a name"), value.parse().expect("a value")));
        let found = starting_after(query, &headers.into_iter().collect()).map_err(|error| error.to_json());
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{query:?} {header:?}"),
            (Err(json), Err(name)) => assert!(json.contains(&format!(r#""param":"{name}""#)), "{json}"),
            (found, _) => panic!("{query:?} {header:?}: {found:?}"),
        }
    };
    check(None, None, Ok(0));
    check(Some("x=1"), None, Ok(0));
    check(Some("starting_after=7"), Some("3"), Ok(7));
    check(Some("x=1"), Some("3"), Ok(3));
    for text in ["", "-1", "x", "1.5", "99999999999999999999"] {
        check(Some(&format!("starting_after={text}")), None, Err(STARTING_AFTER));
    }
    check(None, Some("x"), Err(LAST_EVENT_ID));
}
