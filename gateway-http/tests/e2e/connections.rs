//! Connections: how many, how slow, and with how large a head.

use std::time::Duration;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    harness::{Gateway, Topology, each_topology, eventually, soon},
    provider::{Gate, Reply},
};

each_topology![
    a_head_that_is_too_large_is_refused,
    a_client_that_sends_no_request_is_let_go,
    there_are_so_many_connections,
    an_http_2_connection_is_told_its_limits,
    an_http_2_connection_that_is_not_used_is_closed,
    who_is_still_sending_hears_that_it_is_too_much,
];

async fn a_head_that_is_too_large_is_refused(topology: Topology) {
    let small = json!({"gateway": {"limits": {"maxHeaderBytes": 10_000, "maxHeaders": 20}}});
    let gateway = Gateway::with_config(topology, small).await;
    let large = gateway.ask("hi").header("x-large", &"x".repeat(10_000)).send().await;
    large.assert_error(431, "invalid_request_error", "headers_too_large");
    let head = "x-many: y\r\n".repeat(20);
    let many =
        raw(&gateway, &format!("GET /v1/models HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{head}\r\n")).await;
    assert!(many.starts_with("HTTP/1.1 431 ") && many.contains("headers_too_large"), "{many}");
    // Of which not even the whole is read, so that the answer may get lost.
    let huge = raw(&gateway, &format!("GET /healthz HTTP/1.1\r\nx-huge: {}\r\n\r\n", "x".repeat(300_000))).await;
    assert!(!huge.contains(" 200 "), "{huge}");
    assert_eq!(gateway.ask("hi").header("x-large", &"x".repeat(9_000)).send().await.content(), "hello");
}

async fn a_client_that_sends_no_request_is_let_go(topology: Topology) {
    let hasty = json!({"gateway": {"http": {"headTimeoutMs": 100}}});
    let gateway = Gateway::with_config(topology, hasty).await;
    for begun in ["", "GET /v1/models HTTP/1.1\r\nhost: "] {
        let answer = raw(&gateway, begun).await;
        assert!(!answer.contains("200"), "{answer}");
    }
    assert_eq!(gateway.ask("hi").send().await.content(), "hello");
}

async fn there_are_so_many_connections(topology: Topology) {
    let few = json!({"gateway": {"limits": {"maxConnections": 2}}});
    let gateway = Gateway::with_config(topology, few).await;
    let mut held = Vec::new();
    // Connections of those who waited for the gateway may still be closing.
    eventually("two connections are taken", async || {
        let mut socket = TcpStream::connect(("127.0.0.1", gateway.port())).await.unwrap();
        if is_answered(&mut socket).await {
            held.push(socket);
        }
        held.len() == 2
    })
    .await;
    let mut third = TcpStream::connect(("127.0.0.1", gateway.port())).await.unwrap();
    assert!(!is_answered(&mut third).await);
    for socket in &mut held {
        assert!(is_answered(socket).await, "those who were there first stay");
    }
    drop(held);
    eventually("there is room again", async || gateway.ask("hi").try_send().await.is_some()).await;
    assert!(gateway.logs().contains("too many connections"));
}

async fn an_http_2_connection_is_told_its_limits(topology: Topology) {
    let few = json!({"gateway": {"limits": {"maxConcurrentRequests": 7, "maxHeaderBytes": 10_000}}});
    let gateway = Gateway::with_config(topology, few).await;
    let mut socket = TcpStream::connect(("127.0.0.1", gateway.port())).await.unwrap();
    // The preface and an empty frame of settings, which the gateway answers with its own.
    socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut head = [0; 9];
    soon("a frame begins", socket.read_exact(&mut head)).await.unwrap();
    let [_, high, low, kind, ..] = head;
    assert_eq!(kind, 4, "settings come first");
    let mut settings = vec![0; usize::from(u16::from_be_bytes([high, low]))];
    soon("the settings", socket.read_exact(&mut settings)).await.unwrap();
    let value = |id: u8| {
        let setting = settings.chunks(6).find(|setting| setting[..2] == [0, id])?;
        Some(u32::from_be_bytes(setting[2..].try_into().unwrap()))
    };
    assert_eq!(value(3), Some(7), "streams at a time");
    assert_eq!(value(6), Some(20_000), "twice the size, so that what is a little too large gets an answer");
}

/// Whether a request over this connection gets an answer, rather than an end.
async fn is_answered(socket: &mut TcpStream) -> bool {
    let asked = socket.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let mut answer = [0; 4_096];
    asked.is_ok() && soon("an answer or an end", socket.read(&mut answer)).await.is_ok_and(|size| size > 0)
}

/// Writes `request` and reads until the gateway closes the connection.
async fn raw(gateway: &Gateway, request: &str) -> String {
    let mut socket = TcpStream::connect(("127.0.0.1", gateway.port())).await.unwrap();
    let _ = socket.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    // A reset after the answer is as good as an end, since the request was never read to its own.
    let _ = soon("the gateway closes the connection", socket.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn an_http_2_connection_that_is_not_used_is_closed(topology: Topology) {
    let hasty = json!({"gateway": {"http": {"headTimeoutMs": 200}}});
    let gateway = Gateway::with_config(topology, hasty).await;
    let gate = Gate::default();
    gateway
        .provider
        .answers_once(Reply::stream().delta("he").wait_for(&gate).delta("llo").finish("stop").usage(7, 3).done());
    let socket = TcpStream::connect(("127.0.0.1", gateway.port())).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    let closed = tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let body = json!({"stream": true, "messages": [{"role": "user", "content": "hi"}]}).to_string();
    let request = http::Request::post(format!("{}/v1/chat/completions", gateway.url()));
    let request = request.header("authorization", "Bearer secret").body(()).unwrap();
    let (answer, mut sending) = client.send_request(request, false).unwrap();
    sending.send_data(body.into(), true).unwrap();
    let mut answer = answer.await.unwrap().into_body();
    let mut text = String::new();
    // An answer takes as long as it takes.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!closed.is_finished());
    gate.open();
    while let Some(data) = soon("the answer goes on", answer.data()).await {
        text.push_str(&String::from_utf8_lossy(&data.unwrap()));
    }
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    soon("the connection is closed", closed).await.unwrap().unwrap();
}

async fn who_is_still_sending_hears_that_it_is_too_much(topology: Topology) {
    let gateway = Gateway::with_config(topology, json!({"gateway": {"http": {"maxBodyBytes": 2_000_000}}})).await;
    let body = vec![b'x'; 5_000_000];
    for (secret, status) in [("secret", 413), ("wrong", 401)] {
        let mut socket = TcpStream::connect(("127.0.0.1", gateway.port())).await.unwrap();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {secret}\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        // It reads nothing before it has sent everything.
        soon("everything is taken", socket.write_all(&body)).await.unwrap();
        let mut answer = vec![0; 12];
        soon("there is an answer", socket.read_exact(&mut answer)).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"));
    }
}
