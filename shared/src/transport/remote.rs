//! Network channels: every address of every host of a list of URLs, balanced, and resolved again while running.

use std::{
    collections::HashSet,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::join_all;
use http::Uri;
use tokio::{
    net::TcpStream,
    sync::{mpsc::Sender, watch},
};
use tonic::{
    Status,
    body::Body,
    transport::{Channel, Endpoint, channel::Change},
};
use tower::Service;

use super::{Transport, TransportError};

const RESOLVE_INTERVAL: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// Why a list of service URLs cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// The list has no URL.
    #[error("no URL given")]
    Empty,
    /// This one is not of the form `http://host:port`.
    #[error("`{0}` is not of the form http://host:port")]
    Malformed(String),
}

/// Calls a service over the network. `urls` is one URL or several, separated by commas; a host name stands for all of
/// its addresses. Nothing is connected before the first call, which fails with UNAVAILABLE if that cannot be done.
///
/// Must be called inside a tokio runtime. The task that resolves names ends when the last clone is dropped.
pub fn remote(urls: &str) -> Result<Transport, InvalidUrl> {
    let hosts = parse(urls)?;
    let (channel, changes) = Channel::balance_channel(64);
    let (resolved, is_resolved) = watch::channel(Resolved::NotYet);
    tokio::spawn(resolve(hosts, changes, resolved));
    Ok(Transport::new(Balanced { channel, resolved: is_resolved, is_refusing: false }))
}

/// Whether [`remote`] takes these URLs.
pub fn check(urls: &str) -> Result<(), InvalidUrl> {
    parse(urls).map(drop)
}

/// A channel over the addresses that are known. Without any, a call would wait for one until its deadline; here it is
/// refused at once.
#[derive(Clone)]
struct Balanced {
    channel: Channel,
    resolved: watch::Receiver<Resolved>,
    /// Whether the next call is refused; decided when the service says that it is ready.
    is_refusing: bool,
}

/// What the names of the hosts have come to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Resolved {
    NotYet,
    Nothing,
    Addresses,
}

impl Service<http::Request<Body>> for Balanced {
    type Response = http::Response<Body>;
    type Error = TransportError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, TransportError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.is_refusing = *self.resolved.borrow() == Resolved::Nothing;
        if self.is_refusing {
            return Poll::Ready(Ok(()));
        }
        self.channel.poll_ready(context).map_err(|error| TransportError(error.into()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let refusal = || Status::unavailable("no address of the service is known").into_http();
        if self.is_refusing {
            return Box::pin(async move { Ok(refusal()) });
        }
        let answer = self.channel.call(request);
        let mut resolved = self.resolved.clone();
        Box::pin(async move {
            tokio::select! {
                answer = answer => answer.map_err(|error| TransportError(error.into())),
                // The first look-up was still under way, and found nothing.
                Ok(_) = resolved.wait_for(|resolved| *resolved == Resolved::Nothing) => Ok(refusal()),
            }
        })
    }
}

fn parse(urls: &str) -> Result<Vec<String>, InvalidUrl> {
    let hosts = urls
        .split(',')
        .map(str::trim)
        .filter(|url| !url.is_empty())
        .map(|url| host_and_port(url).ok_or_else(|| InvalidUrl::Malformed(url.to_owned())))
        .collect::<Result<Vec<_>, _>>()?;
    if hosts.is_empty() { Err(InvalidUrl::Empty) } else { Ok(hosts) }
}

fn host_and_port(url: &str) -> Option<String> {
    let uri = url.parse::<Uri>().ok()?;
    let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
    if uri.scheme_str() != Some("http") || !is_bare {
        return None;
    }
    Some(format!("{}:{}", uri.host()?, uri.port_u16().unwrap_or(80)))
}

/// Keeps the channel's addresses those that the names have. A name that cannot be resolved keeps what it had.
async fn resolve(hosts: Vec<String>, changes: Sender<Change<SocketAddr, Endpoint>>, resolved: watch::Sender<Resolved>) {
    let mut found = vec![HashSet::new(); hosts.len()];
    let mut known = HashSet::new();
    while !changes.is_closed() {
        let lookups = join_all(hosts.iter().map(tokio::net::lookup_host)).await;
        for ((host, addresses), lookup) in hosts.iter().zip(&mut found).zip(lookups) {
            match lookup {
                Ok(all) => *addresses = all.collect(),
                Err(error) => tracing::warn!(server.address = host, %error, "cannot resolve a service's name"),
            }
        }
        let wanted = reachable(found.iter().flatten().copied().collect()).await;
        for address in known.difference(&wanted).copied() {
            let _ = changes.send(Change::Remove(address)).await;
        }
        for address in wanted.difference(&known).copied() {
            let _ = changes.send(Change::Insert(address, endpoint(address))).await;
        }
        resolved.send_replace(if wanted.is_empty() { Resolved::Nothing } else { Resolved::Addresses });
        known = wanted;
        tokio::select! {
            () = tokio::time::sleep(RESOLVE_INTERVAL) => {}
            () = changes.closed() => {}
        }
    }
}

/// Leaves out the addresses that refuse connections, unless all do: the balancer gives a dead one its full share of
/// the calls, and each of them fails.
async fn reachable(addresses: HashSet<SocketAddr>) -> HashSet<SocketAddr> {
    if addresses.len() < 2 {
        return addresses;
    }
    let probes = addresses.iter().map(async |&address| {
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
        matches!(connected, Ok(Ok(_))).then_some(address)
    });
    let accepting: HashSet<SocketAddr> = join_all(probes).await.into_iter().flatten().collect();
    if accepting.is_empty() { addresses } else { accepting }
}

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint::from_shared(format!("http://{address}"))
        .expect("a socket address makes a URL")
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(KEEP_ALIVE_INTERVAL))
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart_and_wrong_ones_named() {
        let check = |urls: &str, expected: Result<&[&str], InvalidUrl>| {
            let expected = expected.map(|hosts| hosts.iter().map(|&host| host.to_owned()).collect());
            assert_eq!(parse(urls), expected, "{urls:?}");
        };
        let malformed = |url: &str| Err(InvalidUrl::Malformed(url.to_owned()));
        check("http://127.0.0.1:18790", Ok(&["127.0.0.1:18790"]));
        check(" http://a:1/, http://[::1]:2 ,http://b", Ok(&["a:1", "[::1]:2", "b:80"]));
        check(" , ", Err(InvalidUrl::Empty));
        check("https://a:1", malformed("https://a:1"));
        check("a:1", malformed("a:1"));
        check("http://a:1,http://b/path", malformed("http://b/path"));
    }
}
