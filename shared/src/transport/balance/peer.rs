//! One address of a service: its connections, and how busy they are.

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tonic::transport::Channel;

use crate::transport::dial::Dial;

/// Each connection is one task at either end, so one core at most.
const MAX_CONNECTIONS: usize = 4;
/// Calls in flight over one connection, streams included, beyond which another is opened.
const CALLS_PER_CONNECTION: usize = 100;

/// An address of a service.
pub(crate) struct Peer {
    address: SocketAddr,
    dial: Dial,
    connections: [Connection; MAX_CONNECTIONS],
    /// Whether it takes calls, as far as is known.
    is_up: AtomicBool,
}

#[derive(Default)]
struct Connection {
    channel: OnceLock<Channel>,
    in_flight: AtomicUsize,
}

/// One call, counted until this is dropped.
pub(super) struct InFlight {
    peer: Arc<Peer>,
    connection: usize,
}

impl Peer {
    pub(super) fn new(address: SocketAddr, dial: Dial) -> Self {
        Self { address, dial, connections: Default::default(), is_up: AtomicBool::new(true) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Looks whether it can be reached.
    pub(crate) async fn probe(&self) -> bool {
        self.dial.probe(self.address).await
    }

    pub(crate) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    /// Notes whether it takes calls.
    pub(crate) fn set_up(&self, is_up: bool) {
        if self.is_up.swap(is_up, Ordering::Relaxed) == is_up {
            return;
        }
        if is_up {
            tracing::info!(network.peer.address = %self.address, "a service's address takes calls again");
        } else {
            tracing::warn!(network.peer.address = %self.address, "a service's address takes no calls");
        }
    }

    /// The calls of this process that are in flight there.
    pub(super) fn in_flight(&self) -> usize {
        self.connections.iter().map(|connection| connection.in_flight.load(Ordering::Relaxed)).sum()
    }

    /// Counts a call, and says over which connection it goes: the first with room, else the least busy one.
    pub(super) fn call(peer: &Arc<Self>) -> (InFlight, Channel) {
        let busy = |connection: &Connection| connection.in_flight.load(Ordering::Relaxed);
        let connections = || peer.connections.iter().map(busy).enumerate();
        let with_room = connections().find(|&(_, busy)| busy < CALLS_PER_CONNECTION);
        let (index, _) = with_room.or_else(|| connections().min_by_key(|&(_, busy)| busy)).unwrap_or_default();
        let connection = &peer.connections[index];
        connection.in_flight.fetch_add(1, Ordering::Relaxed);
        let channel = connection.channel.get_or_init(|| peer.dial.channel(peer.address)).clone();
        (InFlight { peer: peer.clone(), connection: index }, channel)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.peer.connections[self.connection].in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn another_connection_is_opened_when_one_is_full() {
        let peer = Arc::new(Peer::new(([127, 0, 0, 1], 9).into(), Dial::default()));
        let opened = || peer.connections.iter().filter(|connection| connection.channel.get().is_some()).count();
        let mut calls: Vec<InFlight> = (0..CALLS_PER_CONNECTION).map(|_| Peer::call(&peer).0).collect();
        assert_eq!(opened(), 1);
        calls.push(Peer::call(&peer).0);
        assert_eq!(opened(), 2);
        calls.extend((0..CALLS_PER_CONNECTION * MAX_CONNECTIONS).map(|_| Peer::call(&peer).0));
        assert_eq!((opened(), peer.in_flight()), (MAX_CONNECTIONS, calls.len()));
        calls.clear();
        assert_eq!(peer.in_flight(), 0);
    }
}
