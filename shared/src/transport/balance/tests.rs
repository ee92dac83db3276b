//! Several servers on loopback, good and bad ones, behind one transport.

use std::sync::atomic::{AtomicUsize, Ordering};

use proto::agent::v1::{ListAgentsRequest, RunRequest};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::*;
use crate::{
    grpc,
    transport::{
        Transport, Trust, is_overload,
        tests::{PATIENCE, Scripted, client, layered},
    },
};

/// A server that is asked to end when this is dropped.
struct Server {
    address: SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<Result<(), grpc::Error>>,
}

impl Server {
    /// Takes so many calls at once.
    async fn start(max_calls: usize) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), max_calls).await
    }

    async fn at(address: SocketAddr, max_calls: usize) -> Self {
        let listener = grpc::listen(address, &Trust::default()).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let shutdown = CancellationToken::new();
        let service = layered(Scripted::default(), max_calls);
        let serving = grpc::serve(listener, service, proto::DESCRIPTORS, shutdown.clone(), PATIENCE, async {});
        Self { address, shutdown, serving: tokio::spawn(serving) }
    }

    async fn end(self) {
        self.shutdown.cancel();
        self.serving.await.expect("the server does not panic").expect("the server ends well");
    }
}

/// What HTTP/2 does to the first requests of a connection.
#[derive(Clone, Copy)]
enum Fault {
    /// Refuses the stream, which says that nothing was done about it.
    Refused,
    /// Closes the connection with the request in its hands.
    Lost,
}

/// A server with a fault; counts the requests that it has seen.
async fn faulty(fault: Fault) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = seen.clone();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let counter = counter.clone();
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(connection).await else { return };
                while let Some(Ok((_request, mut response))) = connection.accept().await {
                    counter.fetch_add(1, Ordering::Relaxed);
                    match fault {
                        Fault::Refused => response.send_reset(h2::Reason::REFUSED_STREAM),
                        Fault::Lost => return,
                    }
                }
            });
        }
    });
    (address, seen)
}

fn dialled(addresses: &[SocketAddr]) -> BTreeMap<SocketAddr, Dial> {
    addresses.iter().map(|&address| (address, Dial::default())).collect()
}

fn balanced(addresses: &[SocketAddr]) -> (Arc<Pool>, Transport) {
    let pool = Arc::new(Pool::new());
    pool.set(dialled(addresses));
    let keeper = CancellationToken::new().drop_guard();
    (pool.clone(), Transport::new(Balancer::new(pool, keeper, None), true))
}

#[tokio::test]
async fn streams_are_spread_evenly() {
    let servers = [Server::start(99).await, Server::start(99).await];
    let (pool, transport) = balanced(&servers.each_ref().map(|server| server.address));
    let mut client = client(transport);
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(client.run(RunRequest::default()).await.expect("the run starts"));
    }
    let busy = || pool.peers().iter().map(|peer| peer.in_flight()).collect::<Vec<_>>();
    assert_eq!(busy(), [10, 10]);
    streams.clear();
    assert_eq!(busy(), [0, 0], "a dropped stream counts no more");
}

#[tokio::test]
async fn a_service_without_room_is_passed_over_unless_all_are() {
    let (full, free) = (Server::start(0).await, Server::start(99).await);
    let (pool, transport) = balanced(&[full.address, free.address]);
    let mut client = client(transport);
    for _ in 0..20 {
        client.list_agents(ListAgentsRequest {}).await.expect("the other one has room");
    }
    assert!(pool.peers().iter().all(|peer| peer.is_up()), "to be full is not to be gone");
    pool.set(dialled(&[full.address]));
    let status = client.list_agents(ListAgentsRequest {}).await.expect_err("there is no room");
    assert_eq!((status.code(), is_overload(&status)), (Code::ResourceExhausted, true), "{status:?}");
}

#[tokio::test]
async fn a_dead_address_is_left_alone_once_that_is_known() {
    let (dead, alive) = (Server::start(99).await, Server::start(99).await);
    let dead_address = dead.address;
    dead.end().await;
    let (pool, transport) = balanced(&[dead_address, alive.address]);
    let mut client = client(transport);
    for _ in 0..20 {
        client.list_agents(ListAgentsRequest {}).await.expect("the living one is asked");
    }
    let is_up = |address| pool.peers().iter().any(|peer| peer.address() == address && peer.is_up());
    assert_eq!((is_up(dead_address), is_up(alive.address)), (false, true));
    // If there is no other, it is tried all the same: it may be back.
    pool.set(dialled(&[dead_address]));
    let status = client.list_agents(ListAgentsRequest {}).await.expect_err("nobody is there");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let back = Server::at(dead_address, 99).await;
    client.list_agents(ListAgentsRequest {}).await.expect("it is back");
    assert!(pool.peers()[0].is_up());
    back.end().await;
}

#[tokio::test]
async fn a_call_that_was_refused_is_made_elsewhere() {
    let (bad, seen) = faulty(Fault::Refused).await;
    let good = Server::start(99).await;
    let (pool, transport) = balanced(&[bad, good.address]);
    let mut client = client(transport);
    for _ in 0..20 {
        client.list_agents(ListAgentsRequest {}).await.expect("the good one answers");
        pool.peers().iter().for_each(|peer| peer.set_up(true));
    }
    assert_ne!(seen.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_call_that_may_have_started_is_never_repeated() {
    let (bad, seen) = faulty(Fault::Lost).await;
    let (_pool, transport) = balanced(&[bad]);
    let mut client = client(transport);
    for calls in 1..=5 {
        client.list_agents(ListAgentsRequest {}).await.expect_err("its answer is lost");
        assert_eq!(seen.load(Ordering::Relaxed), calls);
    }
}

#[tokio::test]
async fn nothing_is_lost_while_one_after_the_other_is_restarted() {
    let mut servers = [Server::start(999).await, Server::start(999).await];
    let (_pool, transport) = balanced(&servers.each_ref().map(|server| server.address));
    let stop = CancellationToken::new();
    let callers = (0..8).map(|_| {
        let (mut client, stop) = (client(transport.clone()), stop.clone());
        tokio::spawn(async move {
            let mut calls = 0;
            while !stop.is_cancelled() {
                client.list_agents(ListAgentsRequest {}).await.expect("somebody answers");
                calls += 1;
            }
            calls
        })
    });
    let callers: Vec<JoinHandle<usize>> = callers.collect();
    for _ in 0..5 {
        for server in &mut servers {
            let address = server.address;
            let again = Server::start(999).await;
            std::mem::replace(server, again).end().await;
            let spare = std::mem::replace(server, Server::at(address, 999).await);
            spare.end().await;
        }
    }
    stop.cancel();
    for caller in callers {
        assert_ne!(caller.await.expect("no call is lost"), 0);
    }
}

#[tokio::test]
async fn new_addresses_are_called_and_old_ones_are_not() {
    let servers = [Server::start(99).await, Server::start(99).await];
    let (pool, transport) = balanced(&[servers[0].address]);
    let mut client = client(transport);
    let old = client.run(RunRequest::default()).await.expect("the run starts");
    pool.set(dialled(&[servers[1].address]));
    let new = client.run(RunRequest::default()).await.expect("the run starts");
    let peers = pool.peers();
    assert_eq!((peers.len(), peers[0].address(), peers[0].in_flight()), (1, servers[1].address, 1));
    drop((old, new));
}
