//! The same promises, kept in memory and over a socket.

use std::{pin::Pin, sync::Arc, time::Duration};

use proto::agent::v1::{
    AttachRequest, AttachResponse, CancelRequest, CancelResponse, EmbedRequest, EmbedResponse, ListAgentsRequest,
    ListAgentsResponse, PreviewPromptRequest, PreviewPromptResponse, RunEvent, RunRequest, RunResponse,
    agent_runner_client::AgentRunnerClient,
    agent_runner_server::{AgentRunner, AgentRunnerServer},
    run_event::Kind,
};
use tokio::sync::{Notify, mpsc};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};

use super::{Layered, MAX_MESSAGE_BYTES, Transport, Trust, is_overload, local, remote};
use crate::grpc;

pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A runner whose answers the test decides: `run` streams what `answers` holds and says when it is dropped; `cancel`
/// never answers.
#[derive(Clone, Default)]
pub(super) struct Scripted {
    answers: Vec<String>,
    dropped: Arc<Notify>,
}

type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AgentRunner for Scripted {
    type RunStream = Events<RunResponse>;
    type AttachStream = Events<AttachResponse>;

    async fn run(&self, _: Request<RunRequest>) -> Result<Response<Self::RunStream>, Status> {
        let (sender, receiver) = mpsc::channel(1);
        let (answers, dropped) = (self.answers.clone(), self.dropped.clone());
        tokio::spawn(async move {
            for (seq, text) in (1..).zip(answers) {
                let event = RunEvent { seq, kind: Some(Kind::TextDelta(text)) };
                let _ = sender.send(Ok(RunResponse { event: Some(event) })).await;
            }
            sender.closed().await;
            dropped.notify_one();
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn attach(&self, _: Request<AttachRequest>) -> Result<Response<Self::AttachStream>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn cancel(&self, _: Request<CancelRequest>) -> Result<Response<CancelResponse>, Status> {
        std::future::pending().await
    }

    async fn preview_prompt(
        &self,
        _: Request<PreviewPromptRequest>,
    ) -> Result<Response<PreviewPromptResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn embed(&self, _: Request<EmbedRequest>) -> Result<Response<EmbedResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn list_agents(&self, _: Request<ListAgentsRequest>) -> Result<Response<ListAgentsResponse>, Status> {
        Ok(Response::new(ListAgentsResponse { default_agent_id: "main".to_owned(), ..Default::default() }))
    }
}

pub(super) fn layered(runner: Scripted, max_calls: usize) -> Layered<AgentRunnerServer<Scripted>> {
    let server = AgentRunnerServer::new(runner)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    Layered::new(server, max_calls)
}

pub(super) fn client(transport: Transport) -> AgentRunnerClient<Transport> {
    AgentRunnerClient::new(transport).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

/// Runs the case once in memory and once over a socket.
async fn both_ways<F>(
    runner: impl Fn() -> Scripted,
    max_calls: usize,
    case: impl Fn(AgentRunnerClient<Transport>, Scripted) -> F,
) where
    F: Future<Output = ()>,
{
    let in_memory = runner();
    case(client(local(layered(in_memory.clone(), max_calls))), in_memory).await;

    let networked = runner();
    let listener = grpc::listen(([127, 0, 0, 1], 0).into(), &Trust::default()).await.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    let shutdown = CancellationToken::new();
    let service = layered(networked.clone(), max_calls);
    let serving =
        tokio::spawn(grpc::serve(listener, service, proto::DESCRIPTORS, shutdown.clone(), PATIENCE, async {}));
    let transport = remote(&format!("http://{address}"), &Trust::default()).expect("a valid URL");
    case(client(transport), networked).await;
    shutdown.cancel();
    serving.await.expect("the server does not panic").expect("the server ends well");
}

#[tokio::test]
async fn a_stream_arrives_whole_and_in_order() {
    let answers = || vec!["x".repeat(6_000_000), "y".to_owned(), "z".to_owned()];
    let runner = || Scripted { answers: answers(), ..Scripted::default() };
    both_ways(runner, 8, |mut client, _| async move {
        let mut stream = client.run(RunRequest::default()).await.expect("the run starts").into_inner();
        for (seq, text) in (1..).zip(answers()) {
            let event = stream.next().await.expect("an event").expect("no error").event;
            assert_eq!(event, Some(RunEvent { seq, kind: Some(Kind::TextDelta(text)) }));
        }
    })
    .await;
}

#[tokio::test]
async fn a_dropped_stream_stops_the_work_behind_it() {
    both_ways(Scripted::default, 8, |mut client, runner| async move {
        let stream = client.run(RunRequest::default()).await.expect("the run starts");
        drop(stream);
        tokio::time::timeout(PATIENCE, runner.dropped.notified()).await.expect("the runner hears of it");
    })
    .await;
}

#[tokio::test]
async fn a_call_ends_at_its_deadline() {
    both_ways(Scripted::default, 8, |mut client, _| async move {
        let mut request = Request::new(CancelRequest::default());
        request.set_timeout(Duration::from_millis(20));
        let status = client.cancel(request).await.expect_err("it never answers");
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");

        let mut request = Request::new(RunRequest::default());
        request.set_timeout(Duration::from_millis(20));
        // On a busy machine the time may be over before the stream begins.
        let status = match client.run(request).await {
            Ok(stream) => stream.into_inner().next().await.expect("an end").expect_err("it never ends by itself"),
            Err(status) => status,
        };
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    })
    .await;
}

#[tokio::test]
async fn a_service_with_enough_to_do_refuses_more_until_a_stream_ends() {
    both_ways(Scripted::default, 1, |mut client, runner| async move {
        let stream = client.run(RunRequest::default()).await.expect("the run starts");
        let status = client.list_agents(ListAgentsRequest {}).await.expect_err("there is no room");
        assert_eq!((status.code(), is_overload(&status)), (Code::ResourceExhausted, true), "{status:?}");
        drop(stream);
        runner.dropped.notified().await;
        let agents = client.list_agents(ListAgentsRequest {}).await.expect("there is room again");
        assert_eq!(agents.into_inner().default_agent_id, "main");
    })
    .await;
}

#[tokio::test]
async fn a_name_without_an_address_is_unavailable_at_once() {
    let mut client = client(remote("http://no-such-host.invalid:1", &Trust::default()).expect("a valid URL"));
    for _ in 0..2 {
        let call = tokio::time::timeout(PATIENCE, client.list_agents(ListAgentsRequest {}));
        let status = call.await.expect("an answer").expect_err("there is nobody");
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    }
}

#[tokio::test]
async fn an_address_that_refuses_gets_no_calls() {
    let dead = grpc::listen(([127, 0, 0, 1], 0).into(), &Trust::default()).await.expect("a free port");
    let dead_address = dead.local_addr().expect("a bound address");
    drop(dead);
    let listener = grpc::listen(([127, 0, 0, 1], 0).into(), &Trust::default()).await.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    let shutdown = CancellationToken::new();
    let service = layered(Scripted::default(), 8);
    let serving = grpc::serve(listener, service, proto::DESCRIPTORS, shutdown.clone(), PATIENCE, async {});
    let serving = tokio::spawn(serving);
    let mut client =
        client(remote(&format!("http://{dead_address},http://{address}"), &Trust::default()).expect("valid URLs"));
    for _ in 0..32 {
        client.list_agents(ListAgentsRequest {}).await.expect("only the living one is asked");
    }
    shutdown.cancel();
    serving.await.expect("the server does not panic").expect("the server ends well");
}

#[tokio::test]
async fn a_service_that_is_not_there_is_unavailable() {
    let listener = grpc::listen(([127, 0, 0, 1], 0).into(), &Trust::default()).await.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    drop(listener);
    let transport = remote(&format!("http://{address}"), &Trust::default()).expect("a valid URL");
    let status = client(transport).list_agents(ListAgentsRequest {}).await.expect_err("nobody listens");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
}
