//! Requests that cannot be served, and what is said about each.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{Gateway, Topology, assert_error, each_topology, soon, user};

each_topology![
    bad_json_is_refused,
    a_bad_field_is_refused_by_its_name,
    a_bad_message_is_refused_by_its_place,
    an_unknown_path_is_not_found,
    a_wrong_method_is_told_the_right_one,
    a_body_that_is_too_large_is_refused,
    a_body_that_is_too_large_is_refused_by_its_declared_length,
    a_body_that_is_too_slow_is_refused,
    a_refusal_leaves_the_gateway_usable,
];

async fn bad_json_is_refused(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    for body in ["", "{", "{\"messages\": [", "no json", "[]", "null", "3", "\"text\"", "{} {}"] {
        let answer = gateway.request("POST", "/v1/chat/completions").text(body).send().await;
        assert_eq!(answer.status, 400, "{body:?}: {}", answer.body);
        assert_error(&answer.json(), "invalid_request_error", "invalid_json");
    }
    assert!(gateway.provider.asked().is_empty());
}

/// Sends each body, which must be refused with this `param`.
async fn check_params(gateway: &Gateway, bad: &[(&str, Value)]) {
    for (param, body) in bad {
        let answer = gateway.chat(body.clone()).send().await;
        assert_eq!(answer.status, 400, "{param}: {body}: {}", answer.body);
        let error = answer.assert_error(400, "invalid_request_error", "invalid_value");
        assert_eq!(error["param"], *param, "{body}: {error}");
    }
    assert!(gateway.provider.asked().is_empty());
}

async fn a_bad_field_is_refused_by_its_name(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let with = |field: &str, value: Value| {
        let mut body = json!({"model": "clawdbot", "messages": [user("hi")]});
        body[field] = value;
        body
    };
    let bad = [
        ("messages", json!({"model": "clawdbot"})),
        ("messages", with("messages", json!("hi"))),
        ("messages", with("messages", json!([]))),
        ("model", with("model", json!(3))),
        ("user", with("user", json!({}))),
        ("stream", with("stream", json!("yes"))),
        ("stream_options.include_usage", with("stream_options", json!({"include_usage": "yes"}))),
        ("temperature", with("temperature", json!("hot"))),
        ("temperature", with("temperature", json!(3))),
        ("top_p", with("top_p", json!(1.5))),
        ("frequency_penalty", with("frequency_penalty", json!(-3))),
        ("presence_penalty", with("presence_penalty", json!(3))),
        ("max_tokens", with("max_tokens", json!(-1))),
        ("max_completion_tokens", with("max_completion_tokens", json!(0))),
        ("seed", with("seed", json!(1.5))),
        ("response_format.type", with("response_format", json!({"type": "poem"}))),
        ("tools", with("tools", json!("hammer"))),
        ("tools[0].function.name", with("tools", json!([{"type": "function", "function": {"name": ""}}]))),
    ];
    check_params(&gateway, &bad).await;
}

async fn a_bad_message_is_refused_by_its_place(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let with = |message: Value| json!({"model": "clawdbot", "messages": [user("hi"), message]});
    let part = |part: Value| with(json!({"role": "user", "content": [part]}));
    let bad = [
        ("messages[1]", with(json!("hi"))),
        ("messages[1].role", with(json!({"role": "wizard", "content": "hi"}))),
        ("messages[1].role", with(json!({"role": 3, "content": "hi"}))),
        ("messages[1].content", with(json!({"role": "user", "content": 3}))),
        ("messages[1].content[0].type", part(json!({"type": "smell"}))),
        ("messages[1].content[0].text", part(json!({"type": "text"}))),
        ("messages[1].content[0].text", part(json!({"type": "text", "text": 3}))),
    ];
    check_params(&gateway, &bad).await;
}

async fn an_unknown_path_is_not_found(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let paths = ["/", "/v1", "/v1/nothing", "/v1/chat/completions/", "/v1/chat/completionsx", "/chat/completions"];
    for path in paths {
        for method in ["GET", "POST"] {
            let answer = gateway.request(method, path).send().await;
            assert_eq!(answer.status, 404, "{method} {path}: {}", answer.body);
            answer.assert_error(404, "invalid_request_error", "not_found");
        }
    }
}

async fn a_wrong_method_is_told_the_right_one(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let right = [("/v1/chat/completions", "POST"), ("/v1/models", "GET"), ("/healthz", "GET"), ("/readyz", "GET")];
    for (path, right) in right {
        for wrong in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            if wrong == right {
                continue;
            }
            for request in [gateway.request(wrong, path), gateway.request(wrong, path).anonymous()] {
                let answer = request.send().await;
                assert_eq!(answer.status, 405, "{wrong} {path}: {}", answer.body);
                answer.assert_error(405, "invalid_request_error", "method_not_allowed");
                let mut allowed = answer.header("allow").split(',').map(str::trim);
                assert!(allowed.any(|method| method == right), "{:?}", answer.headers);
            }
        }
    }
}

async fn a_body_that_is_too_large_is_refused(topology: Topology) {
    let gateway = Gateway::with_config(topology, json!({"gateway": {"http": {"maxBodyBytes": 1_000}}})).await;
    let answer = gateway.ask(&"x".repeat(1_000)).send().await;
    answer.assert_error(413, "invalid_request_error", "request_too_large");
    assert!(gateway.provider.asked().is_empty());
    assert_eq!(gateway.ask(&"x".repeat(500)).send().await.content(), "hello");
}

async fn a_body_that_is_too_large_is_refused_by_its_declared_length(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let answer = raw(&gateway, &head("content-length: 100000000")).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_error(&body_of(&answer), "invalid_request_error", "request_too_large");
}

async fn a_body_that_is_too_slow_is_refused(topology: Topology) {
    let gateway = Gateway::with_config(topology, json!({"gateway": {"http": {"bodyTimeoutMs": 100}}})).await;
    let answer = raw(&gateway, &format!("{}{{\"messages\": ", head("content-length: 100"))).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_error(&body_of(&answer), "invalid_request_error", "request_timeout");
}

fn head(length: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer secret\r\n\
         content-type: application/json\r\nconnection: close\r\n{length}\r\n\r\n"
    )
}

/// Writes `request`, which is not complete, and reads until the gateway closes the connection.
async fn raw(gateway: &Gateway, request: &str) -> String {
    let mut socket = TcpStream::connect(("127.0.0.1", gateway.port())).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = soon("the gateway closes the connection", socket.read_to_end(&mut answer)).await;
    // A reset after the answer is as good as an end, since the request was never read to its own.
    if let Err(error) = read {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    String::from_utf8(answer).unwrap()
}

fn body_of(answer: &str) -> Value {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}

async fn a_refusal_leaves_the_gateway_usable(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    // A client that goes away in the middle of its request, on each of many connections.
    for _ in 0..20 {
        let mut socket = TcpStream::connect(("127.0.0.1", gateway.port())).await.unwrap();
        socket.write_all(head("content-length: 100").as_bytes()).await.unwrap();
    }
    let answered = tokio::time::timeout(Duration::from_secs(5), gateway.ask("hi").send()).await;
    assert_eq!(answered.unwrap().content(), "hello");
}
