//! Every protocol over a real connection, to a provider that behaves and to ones that do not.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::{propagation::TraceContextPropagator, trace::SdkTracerProvider};
use proto::{
    agent::v1::FinishReason,
    session::v1::{Image, Message, Role, part::Kind},
};
use reqwest::header::HeaderMap;
use tracing_subscriber::layer::SubscriberExt;

use super::{
    Told, message, part, reasoning, recorded, sse,
    stub::{End, Reply, Stub},
    text, tool_call,
};
use crate::model::{Api, ApiKey, Class, Connections, Error, Event, Model, Profile, Remote, Request, base_url};

const APIS: [(Api, &str); 4] = [
    (Api::OpenaiCompletions, recorded::OPENAI),
    (Api::OpenaiResponses, recorded::RESPONSES),
    (Api::AnthropicMessages, recorded::ANTHROPIC),
    (Api::GoogleGenerativeAi, recorded::GOOGLE),
];

pub(super) fn remote(stub: &Stub, api: Api, idle_timeout: Duration) -> Remote {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Remote {
        api,
        connections: Connections::new("stub", idle_timeout).expect("a client"),
        base_url: base_url(&format!("http://{}/v1", stub.address)).expect("a URL"),
        api_key: Some(ApiKey::new("k").expect("a header")),
        auth_header: false,
        headers: HeaderMap::new(),
    }
}

pub(super) fn question() -> Request {
    Request { model: "m".to_owned(), messages: vec![message(Role::User, vec![text("hi")])], ..Request::default() }
}

async fn ask(remote: &Remote) -> Vec<Result<Event, Error>> {
    remote.stream(&question()).collect().await
}

/// What was told, without the ids that are made up anew each time.
fn told(events: Vec<Result<Event, Error>>) -> Told {
    let plain = |event| match event {
        Ok(Event::ToolCall(mut delta)) => {
            delta.id.clear();
            Ok(Event::ToolCall(delta))
        }
        Ok(event) => Ok(event),
        Err(error) => Err(Error::to_string(&error)),
    };
    events.into_iter().map(plain).collect()
}

pub(super) const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_answer_is_the_same_at_once_and_byte_by_byte() {
    for (api, answer) in APIS {
        let stub = Stub::start([Reply::whole(answer), Reply::dripping(answer)]).await;
        let remote = remote(&stub, api, PATIENCE);
        let at_once = told(ask(&remote).await);
        assert!(at_once.contains(&Ok(Event::Finished(FinishReason::ToolCalls))), "{api:?} {at_once:?}");
        assert_eq!(told(ask(&remote).await), at_once, "{api:?}");
    }
}

#[tokio::test]
async fn a_connection_is_used_again_whatever_the_key() {
    let answer = sse(&[r#"{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}"#]);
    let stub = Stub::start([Reply::whole(&answer)]).await;
    let one = remote(&stub, Api::OpenaiCompletions, PATIENCE);
    let other = Remote {
        connections: one.connections.clone(),
        api_key: Some(ApiKey::new("k2").expect("a header")),
        ..remote(&stub, Api::OpenaiCompletions, PATIENCE)
    };
    for remote in [&one, &other, &one] {
        assert_eq!(ask(remote).await.len(), 2);
    }
    let connections: Vec<_> = stub.asked().iter().map(|asked| asked.connection).collect();
    assert_eq!(connections, [0, 0, 0]);
    let keys: Vec<_> = stub.asked().iter().map(|asked| asked.head.contains("Bearer k2")).collect();
    assert_eq!(keys, [false, true, false]);
}

#[tokio::test]
async fn a_request_has_the_trace_context_and_the_models_headers() {
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let tracer = SdkTracerProvider::builder().build().tracer("test");
    let subscriber = tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(tracer));
    let stub = Stub::start([Reply::whole("")]).await;
    let mut headers = HeaderMap::new();
    headers.insert("x-of-model", "yes".parse().expect("a header"));
    let profile = Profile { api: Some(Api::AnthropicMessages), headers, ..Profile::default() };
    let request = Request { profile: profile.into(), ..question() };
    let remote = remote(&stub, Api::OpenaiCompletions, PATIENCE);
    let events = tracing::subscriber::with_default(subscriber, || {
        tracing::info_span!("asking").in_scope(|| remote.stream(&request))
    });
    events.collect::<Vec<_>>().await;
    let asked = &stub.asked()[0];
    assert!(asked.head.starts_with("POST /v1/messages HTTP/1.1\r\n"), "{}", asked.head);
    assert!(asked.head.contains("\r\ntraceparent: 00-"), "{}", asked.head);
    assert!(asked.head.contains("\r\nx-of-model: yes\r\n"), "{}", asked.head);
    assert!(asked.head.contains("\r\nx-api-key: k\r\n"), "{}", asked.head);
    assert!(asked.body.starts_with(r#"{"model":"m","max_tokens":8192,"#), "{}", asked.body);
}

#[tokio::test]
async fn a_refusal_is_of_its_class() {
    let refusals = [
        (400, "bad", Class::BadRequest),
        (400, r#"{"error":{"message":"m","code":"context_length_exceeded"}}"#, Class::ContextOverflow),
        (401, "", Class::Auth),
        (402, "", Class::Billing),
        (429, "", Class::RateLimit),
        (500, "", Class::Network),
        (503, "", Class::Overloaded),
        (504, "", Class::Timeout),
        (529, "", Class::Overloaded),
    ];
    for (api, _) in APIS {
        let replies = refusals.map(|(status, body, _)| Reply::refusal(status, "retry-after: 7\r\n", body));
        let stub = Stub::start(replies).await;
        let remote = remote(&stub, api, PATIENCE);
        for (status, _, class) in refusals {
            let events = ask(&remote).await;
            let [Err(error)] = &events[..] else { panic!("{events:?}") };
            assert_eq!(error.class(), class, "{api:?} {status} {error}");
            let is_told_when = matches!(class, Class::RateLimit | Class::Overloaded);
            assert_eq!(error.retry_after(), is_told_when.then_some(Duration::from_secs(7)), "{api:?} {status}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_ends_with_an_error() {
    for (api, answer) in APIS {
        let half = &answer[..answer.find('🦀').expect("there is one")];
        let half = &half[..half.rfind("data: ").expect("an event")];
        for (end, reason) in [
            (End::Broken, "the model provider failed: the connection to it broke"),
            (End::Whole, "the model provider failed: it broke off in the middle of its answer"),
        ] {
            let stub = Stub::start([Reply::ending(half, end)]).await;
            let told = told(ask(&remote(&stub, api, PATIENCE)).await);
            let (last, before) = told.split_last().expect("at least an error");
            assert_eq!(last, &Err(reason.to_owned()), "{api:?}");
            assert!(!before.is_empty() && before.iter().all(Result::is_ok), "{api:?} {before:?}");
        }
    }
}

#[tokio::test]
async fn a_silent_provider_is_given_up() {
    for (api, _) in APIS {
        let stub = Stub::start([Reply::ending(": hello\n\n", End::Silent)]).await;
        let idle_timeout = Duration::from_millis(50);
        let events = ask(&remote(&stub, api, idle_timeout)).await;
        assert!(matches!(events[..], [Err(Error::Idle(idle))] if idle == idle_timeout), "{api:?} {events:?}");
    }
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_a_failure_of_the_network() {
    let stub = Stub::start([Reply::whole("")]).await;
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let nowhere = Remote {
        base_url: base_url(&format!("http://{}", listener.local_addr().expect("it is bound"))).expect("a URL"),
        ..remote(&stub, Api::OpenaiCompletions, PATIENCE)
    };
    drop(listener);
    let told = told(ask(&nowhere).await);
    assert_eq!(told, [Err("the model provider failed: it cannot be reached".to_owned())]);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let stub = Stub::start([Reply::refusal(307, "location: http://127.0.0.1:1/\r\n", "")]).await;
    let told = told(ask(&remote(&stub, Api::OpenaiCompletions, PATIENCE)).await);
    assert_eq!(told, [Err("the model provider failed: HTTP 307".to_owned())]);
}

#[tokio::test]
async fn a_model_without_eyes_is_told_where_pictures_were() {
    let image = Image { url: "data:image/png;base64,QQ==".to_owned(), ..Image::default() };
    let messages = vec![message(Role::User, vec![part(Kind::Image(image))])];
    for (api, answer) in APIS {
        let stub = Stub::start([Reply::whole(answer)]).await;
        for takes_images in [true, false] {
            let profile = Arc::new(Profile { takes_images, ..Profile::default() });
            let request = Request { messages: messages.clone(), profile, ..question() };
            let events: Vec<_> = remote(&stub, api, PATIENCE).stream(&request).collect().await;
            assert!(events.iter().all(Result::is_ok), "{events:?}");
        }
        let asked = stub.asked().into_iter().map(|asked| asked.body);
        let seen: Vec<_> = asked.map(|body| (body.contains("QQ=="), body.contains(r#""[image]""#))).collect();
        assert_eq!(seen, [(true, false), (false, true)], "{api:?}");
    }
}

#[tokio::test]
async fn a_thought_that_is_refused_is_left_out_of_one_more_try() {
    let refusal = |message: &str| {
        let body = format!(r#"{{"error":{{"type":"invalid_request_error","message":"{message}"}}}}"#);
        Reply::refusal(400, "", &body)
    };
    let thinking = Message {
        tool_calls: vec![tool_call("c", "{}")],
        ..message(Role::Assistant, vec![reasoning("stub/anthropic-messages", "hm", "sig")])
    };
    let request = Request {
        model: "claude-opus-4-6".to_owned(),
        messages: [question().messages, vec![thinking]].concat(),
        ..question()
    };
    let check = async |replies: Vec<Reply>, request: &Request, had_thoughts: &[bool], is_answered: bool| {
        let stub = Stub::start(replies).await;
        let events = remote(&stub, Api::AnthropicMessages, PATIENCE).stream(request).collect::<Vec<_>>().await;
        let asked: Vec<_> = stub.asked().iter().map(|asked| asked.body.contains("sig")).collect();
        assert_eq!(asked, had_thoughts, "{events:?}");
        assert_eq!(events.iter().all(Result::is_ok), is_answered, "{events:?}");
    };
    let signature = || refusal("messages.1.content.0: Invalid `signature` in `thinking` block");
    let answer = || Reply::whole(recorded::ANTHROPIC);
    check(vec![signature(), answer()], &request, &[true, false], true).await;
    check(vec![signature(), signature(), answer()], &request, &[true, false], false).await;
    check(vec![refusal("no such model"), answer()], &request, &[true], false).await;
    check(vec![signature(), answer()], &question(), &[false], false).await;
    check(vec![answer()], &request, &[true], true).await;
}

#[tokio::test]
async fn json_in_place_of_a_stream_is_an_error_of_its_kind() {
    let check = async |body: &str, expected: &str| {
        let stub = Stub::start([Reply::refusal(200, "content-type: application/json; charset=utf-8\r\n", body)]).await;
        assert_eq!(told(ask(&remote(&stub, Api::OpenaiCompletions, PATIENCE)).await), [Err(expected.to_owned())]);
    };
    let limited = "the model provider limits the rate of requests; try again later";
    check(r#"{"error":{"message":"slow down","code":429}}"#, limited).await;
    let too_long = "the conversation is longer than the model can take: input is too long";
    check(r#"{"object":"error","message":"input is too long"}"#, too_long).await;
    check(r#"{"choices":[]}"#, "the model provider failed: it sent no stream").await;
}

#[tokio::test]
async fn a_client_is_not_told_the_key() {
    let body = r#"{"error":{"message":"bad key sk-0123456789 in Bearer sk-0123456789"}}"#;
    let stub = Stub::start([Reply::refusal(400, "", body)]).await;
    let api_key = Some(ApiKey::new("sk-0123456789").expect("a header"));
    for api in [Api::OpenaiCompletions, Api::AnthropicMessages] {
        let remote = Remote { api_key: api_key.clone(), ..remote(&stub, api, PATIENCE) };
        let expected = "the model provider refused the request: bad key *** in Bearer ***";
        assert_eq!(told(ask(&remote).await), [Err(expected.to_owned())]);
    }
}
