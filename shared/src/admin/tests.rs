//! What the admin port promises to those who ask it.

use std::{
    net::Ipv4Addr,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::config::{Sources, documented_default};

struct Port {
    admin: Admin,
    address: SocketAddr,
    shutdown: CancellationToken,
}

/// An open port whose metrics are one duration.
async fn port(max_connections: usize) -> Port {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let recorder = recorder::builder().unwrap().build_recorder();
    metrics::with_local_recorder(&recorder, || metrics::histogram!("test_duration_seconds").record(0.2));
    let admin = Admin::on(listener, max_connections, recorder.handle(), shutdown.clone());
    Port { admin, address, shutdown }
}

impl Port {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// The whole answer.
    async fn ask(&self, request_line: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(format!("{request_line} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.unwrap();
        rest(&mut stream).await
    }

    async fn check(&self, request_line: &str, status: u16, body: &str) {
        let answer = self.ask(request_line).await;
        let (head, found) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request_line}: {head}");
        assert_eq!(found, body, "{request_line}");
    }
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

fn document(text: &str) -> Document {
    Document::from_text(text, Path::new("/etc/clawdbot.json"), &Sources::default()).unwrap()
}

#[tokio::test]
async fn the_probes_follow_the_process() {
    let port = port(8).await;
    let readiness = Arc::new(Mutex::new(Readiness::Ready));
    port.check("GET /readyz", 503, "starting").await;
    let told = readiness.clone();
    port.admin.serves(move || *told.lock().unwrap());
    port.check("GET /readyz", 200, "ready").await;
    port.check("HEAD /readyz", 200, "").await;
    *readiness.lock().unwrap() = Readiness::Unreachable;
    port.check("GET /readyz", 503, "unreachable").await;
    *readiness.lock().unwrap() = Readiness::Ready;
    port.shutdown.cancel();
    port.check("GET /readyz", 503, "draining").await;
    port.check("GET /healthz", 200, "ok").await;
    let silent = port.connect().await;
    port.admin.shutdown().await;
    assert!(TcpStream::connect(port.address).await.is_err());
    drop(silent);
}

#[tokio::test]
async fn durations_are_in_buckets() {
    let answer = port(8).await.ask("GET /metrics").await;
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    for line in [
        "# TYPE test_duration_seconds histogram",
        r#"test_duration_seconds_bucket{le="0.1"} 0"#,
        r#"test_duration_seconds_bucket{le="0.25"} 1"#,
        "test_duration_seconds_count 1",
    ] {
        assert!(answer.lines().any(|found| found == line), "{line}: {answer}");
    }
}

#[tokio::test]
async fn there_is_nothing_else() {
    let port = port(8).await;
    for request_line in ["GET /", "GET /metrics/", "GET /healthz/x", "POST /metrics", "DELETE /readyz"] {
        port.check(request_line, 404, "not found").await;
    }
    let mut stream = port.connect().await;
    let long = "x".repeat(20_000);
    // Refused while it is still being written.
    let _ = stream.write_all(format!("GET /{long} HTTP/1.1\r\n").as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn more_connections_than_may_wait_for_their_turn() {
    let port = port(1).await;
    let is_answered = Arc::new(AtomicBool::new(false));
    let tells = is_answered.clone();
    port.admin.serves(move || {
        tells.store(true, Ordering::Relaxed);
        Readiness::Ready
    });
    let first = port.connect().await;
    let mut second = port.connect().await;
    second.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    // Far more turns than the port would need for it.
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    assert!(!is_answered.load(Ordering::Relaxed));
    drop(first);
    assert!(rest(&mut second).await.ends_with("ready"));
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_nothing_is_let_go() {
    let port = port(1).await;
    assert_eq!(rest(&mut port.connect().await).await, "");
}

#[tokio::test]
async fn there_is_no_port_unless_it_is_asked_for() {
    let admin = Admin::start(&document("{}"), &CancellationToken::new()).await.unwrap();
    assert!(admin.running.is_none());
    admin.serves(|| Readiness::Ready);
    admin.shutdown().await;
    let Config { max_connections, .. } = Config::default();
    assert_eq!(documented_default("admin.maxConnections"), Some(max_connections.to_string().as_str()));
}

#[tokio::test]
async fn an_address_that_cannot_be_used_is_named_with_its_setting() {
    let refusal = |text: String| async move {
        Admin::start(&document(&text), &CancellationToken::new()).await.unwrap_err().to_string()
    };
    assert_eq!(
        refusal("{admin: {listen: '9090'}}".to_owned()).await,
        "admin.listen: invalid socket address syntax (in /etc/clawdbot.json)"
    );
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let taken = listener.local_addr().unwrap();
    let text = format!("{{admin: {{listen: '{taken}'}}}}");
    assert_eq!(refusal(text).await, format!("admin.listen: cannot listen on {taken}"));
}
