//! Client-side balancing: each call goes to the less busy of two addresses, and one that certainly did not start is made
//! again elsewhere.

mod peer;
mod verdict;

use std::{
    collections::BTreeMap,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use arc_swap::ArcSwapOption;
use http_body_util::{BodyExt, Full};
use tokio::sync::watch;
use tokio_util::sync::DropGuard;
use tonic::{Status, body::Body, transport::Channel};
use tower::{Service, ServiceExt};
use tracing::Span;

use super::{TransportError, dial::Dial, scope::Scoped, trust::Secrets};
pub(super) use peer::Peer;
use verdict::Reason;

pub(crate) const CALL_RETRIES: &str = "clawdbot_call_retries_total";

/// How often a call that does not start is made at most. Somewhere among so many there is one that takes it, or none does.
const MAX_TRIES: usize = 3;

/// The addresses of a service, and what is known of each.
pub(super) struct Pool {
    /// `None` until names are resolved for the first time.
    peers: ArcSwapOption<Vec<Arc<Peer>>>,
    is_resolved: watch::Sender<bool>,
}

/// Makes calls to a pool. When the last clone is dropped, whoever keeps the pool up to date is told to stop.
#[derive(Clone)]
pub(super) struct Balancer {
    pool: Arc<Pool>,
    /// What each call shows.
    secrets: Option<Arc<Secrets>>,
    _keeper: Arc<DropGuard>,
}

impl Pool {
    pub(super) fn new() -> Self {
        Self { peers: ArcSwapOption::empty(), is_resolved: watch::Sender::new(false) }
    }

    /// What there is now; nothing before names are resolved.
    pub(super) fn peers(&self) -> Arc<Vec<Arc<Peer>>> {
        self.peers.load_full().unwrap_or_default()
    }

    /// Has these addresses take the place of those that there were. What is known of one that stays is kept, and calls
    /// to one that goes are finished.
    pub(super) fn set(&self, addresses: BTreeMap<SocketAddr, Dial>) {
        let before = self.peers();
        let peers = addresses.into_iter().map(|(address, dial)| {
            let known = before.iter().find(|peer| peer.address() == address);
            known.cloned().unwrap_or_else(|| Arc::new(Peer::new(address, dial)))
        });
        self.peers.store(Some(Arc::new(peers.collect())));
        self.is_resolved.send_replace(true);
    }

    /// Waits until names are resolved for the first time.
    async fn resolved(&self) {
        if self.peers.load().is_some() {
            return;
        }
        // It cannot fail: the sender is here.
        let _ = self.is_resolved.subscribe().wait_for(|&is_resolved| is_resolved).await;
    }

    /// The less busy of two that are picked at random among those that are up and were not tried; if there is none, one of
    /// those that were not tried, else any.
    fn pick(&self, tried: &[SocketAddr]) -> Option<Arc<Peer>> {
        let peers = self.peers();
        let is_fresh = |peer: &&Arc<Peer>| !tried.contains(&peer.address());
        two_of(peers.iter().filter(|peer| peer.is_up()).filter(is_fresh))
            .or_else(|| two_of(peers.iter().filter(is_fresh)))
            .or_else(|| two_of(peers.iter()))
            .cloned()
    }
}

/// Picks two at random, and of these the less busy one.
fn two_of<'a>(peers: impl Iterator<Item = &'a Arc<Peer>>) -> Option<&'a Arc<Peer>> {
    let mut picked: [Option<&Arc<Peer>>; 2] = [None; 2];
    for (index, peer) in peers.enumerate() {
        // Each of the first `index + 1` is among the two with the same probability.
        let place = if index < 2 { index } else { fastrand::usize(..=index) };
        if let Some(place) = picked.get_mut(place) {
            *place = Some(peer);
        }
    }
    match picked {
        [Some(one), Some(other)] => {
            let is_one = match one.in_flight().cmp(&other.in_flight()) {
                std::cmp::Ordering::Less => true,
                std::cmp::Ordering::Greater => false,
                std::cmp::Ordering::Equal => fastrand::bool(),
            };
            Some(if is_one { one } else { other })
        }
        [one, other] => one.or(other),
    }
}

impl Balancer {
    pub(super) fn new(pool: Arc<Pool>, keeper: DropGuard, secrets: Option<Arc<Secrets>>) -> Self {
        Self { pool, secrets, _keeper: Arc::new(keeper) }
    }

    async fn make(self, request: http::Request<Body>) -> Result<http::Response<Body>, TransportError> {
        let (mut parts, body) = request.into_parts();
        if let Some(secrets) = &self.secrets {
            secrets.show(&mut parts.headers);
        }
        // A request is one message, which tonic has encoded already: nothing is copied.
        let body = body.collect().await.map_err(|status| TransportError(status.into()))?.to_bytes();
        self.pool.resolved().await;
        let mut tried = Vec::with_capacity(MAX_TRIES);
        loop {
            let Some(peer) = self.pool.pick(&tried) else {
                return Ok(Status::unavailable("no address of the service is known").into_http());
            };
            tried.push(peer.address());
            let span = Span::current();
            span.record("network.peer.address", tracing::field::display(peer.address().ip()));
            span.record("network.peer.port", i64::from(peer.address().port()));
            let request = http::Request::from_parts(parts.clone(), Body::new(Full::new(body.clone())));
            let (in_flight, channel) = Peer::call(&peer);
            let answer = ask(channel, request).await;
            let Some(reason) = verdict::not_started(&answer) else {
                if answer.is_ok() {
                    peer.set_up(true);
                }
                return answer.map(|response| response.map(|body| Scoped::new(body).place(in_flight).boxed()));
            };
            drop(in_flight);
            if reason.is_down() {
                peer.set_up(false);
            }
            // The same address again helps only where a connection had grown old.
            let is_left = || self.pool.peers().iter().any(|peer| !tried.contains(&peer.address()));
            if tried.len() == MAX_TRIES || !(reason == Reason::Closed || is_left()) {
                return answer;
            }
            let service = parts.uri.path().trim_start_matches('/').split('/').next().unwrap_or_default().to_owned();
            metrics::counter!(CALL_RETRIES, "service" => service, "reason" => reason.name()).increment(1);
        }
    }
}

async fn ask(mut channel: Channel, request: http::Request<Body>) -> Result<http::Response<Body>, TransportError> {
    let answer = async { channel.ready().await?.call(request).await };
    answer.await.map_err(|error| TransportError(error.into()))
}

impl Service<http::Request<Body>> for Balancer {
    type Response = http::Response<Body>;
    type Error = TransportError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, TransportError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.clone().make(request))
    }
}

#[cfg(test)]
mod tests;
