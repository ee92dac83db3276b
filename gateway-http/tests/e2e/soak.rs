//! Many clients that read slowly, and many that vanish, leave nothing behind.

use std::{io, net::Ipv4Addr, time::Duration};

use futures_util::{StreamExt, stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::{
    SOAK_CLIENTS,
    harness::{Gateway, Process, Topology, each_topology, eventually, soon},
    provider::Reply,
};

each_topology![
    a_client_that_does_not_read_stops_the_provider,
    slow_and_vanishing_clients_leave_memory_and_calls_where_they_were,
];

/// How much a client reads at once.
const READ_BYTES: usize = 64 * 1024;
/// How many connections begin at once; more would be refused by the system.
const AT_ONCE: usize = 50;
/// What a client may leave behind before it counts as a leak, and what the allocators may keep for themselves.
const LEFT_KIB: u64 = 16;
const KEPT_KIB: u64 = 16 * 1024;

async fn a_client_that_does_not_read_stops_the_provider(topology: Topology) {
    const CLIENTS: usize = 4;
    /// Far more than all sockets on the way hold.
    const ANSWER_MIB: usize = 64;
    let mut gateway = Gateway::start(topology).await;
    let begun = memory_kib(&mut gateway);
    gateway.provider.answers(long(ANSWER_MIB * 1024 * 1024, 512));
    let clients = begin(&gateway, CLIENTS).await;
    let stalled = settled_kib(&mut gateway).await;
    assert_eq!(gateway.provider.open(), CLIENTS, "an answer that nobody reads was taken in");
    let (held_kib, said_kib) = (stalled.saturating_sub(begun), ANSWER_MIB * 1024 * CLIENTS);
    assert!(held_kib < u64::try_from(said_kib / 4).unwrap(), "too much waits in memory: {held_kib} KiB");
    drop(clients);
    gateway.provider.idle().await;
}

async fn slow_and_vanishing_clients_leave_memory_and_calls_where_they_were(topology: Topology) {
    let mut gateway = Gateway::start(topology).await;
    // The allocators keep more for themselves after each round, but ever less; what leaks does so in every one.
    let mut rounds = Vec::new();
    for _ in 0..4 {
        slow_readers(&gateway).await;
        vanishing(&gateway).await;
        rounds.push(settled_kib(&mut gateway).await);
    }
    eprintln!("{topology:?}: {rounds:?} KiB after the rounds");
    let grown = rounds.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).min().unwrap();
    let left = LEFT_KIB * u64::try_from(SOAK_CLIENTS).unwrap();
    assert!(grown <= KEPT_KIB + left, "memory is left behind: {rounds:?} KiB");
    assert_eq!(gateway.ask("hi").user("alice").send().await.content(), "hello");
}

/// All begin to read and stop, and when all have, they read on to the end.
async fn slow_readers(gateway: &Gateway) {
    gateway.provider.answers(long(256 * 1024, 16 * 1024));
    let clients = begin(gateway, SOAK_CLIENTS).await;
    stream::iter(clients).for_each_concurrent(AT_ONCE, SlowClient::read_to_end).await;
    gateway.provider.idle().await;
}

/// A stream of so many bytes, in pieces of so many.
fn long(bytes: usize, piece_bytes: usize) -> Reply {
    let piece = "x".repeat(piece_bytes);
    let begun = Reply::stream().delta("first");
    let said = (0..bytes / piece_bytes).fold(begun, |reply, _| reply.delta(&piece));
    said.finish("stop").usage(7, 3).done()
}

/// All read the beginning and are gone.
async fn vanishing(gateway: &Gateway) {
    gateway.provider.answers(Reply::stream().delta("first").hang());
    drop(begin(gateway, SOAK_CLIENTS).await);
    gateway.provider.answers(Reply::text(&["hello"]));
    gateway.provider.idle().await;
}

/// The memory when it grows no more.
async fn settled_kib(gateway: &mut Gateway) -> u64 {
    let mut last = 0;
    eventually("the memory grows no more", async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = memory_kib(gateway);
        now <= std::mem::replace(&mut last, now) + 256
    })
    .await;
    last
}

async fn begin(gateway: &Gateway, clients: usize) -> Vec<SlowClient> {
    let begun = stream::iter(0..clients).map(|_| SlowClient::begin(gateway.port()));
    begun.buffer_unordered(AT_ONCE).collect().await
}

fn memory_kib(gateway: &mut Gateway) -> u64 {
    gateway.processes().iter().map(Process::memory_kib).sum()
}

/// A client whose system holds next to nothing for it.
struct SlowClient(TcpStream);

impl SlowClient {
    /// Asks for a stream and reads its first text.
    async fn begin(port: u16) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(32 * 1024).unwrap();
        let mut stream = soon("a connection", socket.connect((Ipv4Addr::LOCALHOST, port).into())).await.unwrap();
        let body = r#"{"model":"clawdbot","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer secret\r\n\
             content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut client = Self(stream);
        client.read_until("first").await;
        client
    }

    async fn read_to_end(mut self) {
        self.read_until("data: [DONE]").await;
        let rest = soon("the end", self.0.read_to_end(&mut Vec::new())).await;
        assert!(rest.is_ok_and(|length| length < 64), "more follows after the end");
    }

    /// Reads on, keeping only what could be the beginning of `text`.
    async fn read_until(&mut self, text: &str) {
        let mut seen = Vec::new();
        loop {
            seen.reserve(READ_BYTES);
            match soon(text, self.0.read_buf(&mut seen)).await {
                Ok(1..) => {}
                Ok(0) => panic!("no {text:?}, but {:?}", String::from_utf8_lossy(&seen)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => panic!("no {text:?}: {error}"),
            }
            if seen.windows(text.len()).any(|window| window == text.as_bytes()) {
                return;
            }
            seen.drain(..seen.len().saturating_sub(text.len()));
        }
    }
}
