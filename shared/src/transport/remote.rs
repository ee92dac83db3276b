//! Network channels: every address of every host of a list of URLs, balanced, and resolved again while running.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::future::join_all;
use http::Uri;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use super::{
    Transport,
    balance::{Balancer, Peer, Pool},
};

/// How often addresses that cannot be reached are tried again.
const TICK: Duration = Duration::from_millis(500);
/// Names are resolved, and all addresses tried, every two seconds.
const TICKS_PER_RESOLUTION: u64 = 4;
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
    let (pool, stop) = (Arc::new(Pool::new()), CancellationToken::new());
    tokio::spawn(keep(hosts, pool.clone(), stop.clone()));
    Ok(Transport::new(Balancer::new(pool, stop.drop_guard()), true))
}

/// Whether [`remote`] takes these URLs.
pub fn check(urls: &str) -> Result<(), InvalidUrl> {
    parse(urls).map(drop)
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

/// Keeps the pool's addresses those that the names have, and knows which of them can be reached, until it is told to
/// stop. A name that cannot be resolved keeps what it had.
async fn keep(hosts: Vec<String>, pool: Arc<Pool>, stop: CancellationToken) {
    let mut found = vec![Vec::new(); hosts.len()];
    for tick in 0_u64.. {
        let is_round = tick.is_multiple_of(TICKS_PER_RESOLUTION);
        if is_round {
            let lookups = join_all(hosts.iter().map(tokio::net::lookup_host)).await;
            for ((host, addresses), lookup) in hosts.iter().zip(&mut found).zip(lookups) {
                match lookup {
                    Ok(all) => *addresses = all.collect(),
                    Err(error) => tracing::warn!(server.address = host, %error, "cannot resolve a service's name"),
                }
            }
            let all: BTreeSet<SocketAddr> = found.iter().flatten().copied().collect();
            pool.set(&all.into_iter().collect::<Vec<_>>(), connect);
        }
        // Calls find out about a single one by themselves.
        let peers = pool.peers();
        if peers.len() > 1 {
            join_all(peers.iter().filter(|peer| is_round || !peer.is_up()).map(probe)).await;
        }
        if stop.run_until_cancelled(tokio::time::sleep(TICK)).await.is_none() {
            return;
        }
    }
}

/// Looks whether an address can be reached: a call that goes to one that cannot waits for long, or fails.
async fn probe(peer: &Arc<Peer>) {
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(peer.address())).await;
    peer.set_up(matches!(connected, Ok(Ok(_))));
}

fn connect(address: SocketAddr) -> Channel {
    endpoint(address).connect_lazy()
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
