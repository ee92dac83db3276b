//! Network channels: every address of every host of a list of URLs, balanced, and resolved again while running.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use http::Uri;
use tokio_util::sync::CancellationToken;

use super::{
    Transport, Trust,
    balance::{Balancer, Peer, Pool},
    dial::Dial,
};

/// How often addresses that cannot be reached are tried again.
const TICK: Duration = Duration::from_millis(500);
/// Names are resolved, and all addresses tried, every two seconds.
const TICKS_PER_RESOLUTION: u64 = 4;

/// Why a list of service URLs cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// The list has no URL.
    #[error("no URL given")]
    Empty,
    /// This one is not of the form `http://host:port` or `https://host:port`.
    #[error("`{0}` is not of the form http://host:port or https://host:port")]
    Malformed(String),
    /// This one begins with `https`, but there is no certificate for this service.
    #[error("`{0}` needs services.tls, with which services show each other who they are")]
    NeedsTls(String),
    /// This one begins with `http`, but there is a certificate for this service.
    #[error("`{0}` must begin with https:// since services.tls is set")]
    NeedsHttps(String),
}

/// Where a URL leads.
#[derive(Debug, PartialEq, Eq)]
struct Host {
    name: String,
    port: u16,
    is_tls: bool,
}

/// Calls a service over the network. `urls` is one URL or several, separated by commas; a host name stands for all of
/// its addresses. Nothing is connected before the first call, which fails with UNAVAILABLE if that cannot be done.
///
/// Must be called inside a tokio runtime. The task that resolves names ends when the last clone is dropped.
pub fn remote(urls: &str, trust: &Trust) -> Result<Transport, InvalidUrl> {
    let hosts =
        parse(urls)?.into_iter().map(|host| Ok((host.target(), host.dial(trust)?))).collect::<Result<_, _>>()?;
    let (pool, stop) = (Arc::new(Pool::new()), CancellationToken::new());
    tokio::spawn(keep(hosts, pool.clone(), stop.clone()));
    Ok(Transport::new(Balancer::new(pool, stop.drop_guard(), trust.secrets().cloned()), true))
}

/// Whether these URLs are of the form that [`remote`] takes.
pub fn check(urls: &str) -> Result<(), InvalidUrl> {
    parse(urls).map(drop)
}

fn parse(urls: &str) -> Result<Vec<Host>, InvalidUrl> {
    let hosts = urls
        .split(',')
        .map(str::trim)
        .filter(|url| !url.is_empty())
        .map(|url| Host::parse(url).ok_or_else(|| InvalidUrl::Malformed(url.to_owned())))
        .collect::<Result<Vec<_>, _>>()?;
    if hosts.is_empty() { Err(InvalidUrl::Empty) } else { Ok(hosts) }
}

impl Host {
    fn parse(url: &str) -> Option<Self> {
        let uri = url.parse::<Uri>().ok()?;
        let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        let (is_tls, usual_port) = match uri.scheme_str()? {
            "http" => (false, 80),
            "https" => (true, 443),
            _ => return None,
        };
        let host = Self { name: uri.host()?.to_owned(), port: uri.port_u16().unwrap_or(usual_port), is_tls };
        is_bare.then_some(host)
    }

    /// What is looked up.
    fn target(&self) -> String {
        format!("{}:{}", self.name, self.port)
    }

    fn dial(&self, trust: &Trust) -> Result<Dial, InvalidUrl> {
        match trust.tls() {
            Some(tls) if self.is_tls => {
                // An IPv6 address has brackets only in a URL.
                let name = self.name.trim_start_matches('[').trim_end_matches(']');
                Ok(Dial::secured(tls.clone(), name))
            }
            None if !self.is_tls => Ok(Dial::default()),
            Some(_) => Err(InvalidUrl::NeedsHttps(format!("http://{}", self.target()))),
            None => Err(InvalidUrl::NeedsTls(format!("https://{}", self.target()))),
        }
    }
}

/// Keeps the pool's addresses those that the names have, and knows which of them can be reached, until it is told to
/// stop. A name that cannot be resolved keeps what it had.
async fn keep(hosts: Vec<(String, Dial)>, pool: Arc<Pool>, stop: CancellationToken) {
    let mut found = vec![Vec::new(); hosts.len()];
    for tick in 0_u64.. {
        let is_round = tick.is_multiple_of(TICKS_PER_RESOLUTION);
        if is_round {
            let lookups = join_all(hosts.iter().map(|(host, _)| tokio::net::lookup_host(host))).await;
            for (((host, _), addresses), lookup) in hosts.iter().zip(&mut found).zip(lookups) {
                match lookup {
                    Ok(all) => *addresses = all.collect(),
                    Err(error) => tracing::warn!(server.address = host, %error, "cannot resolve a service's name"),
                }
            }
            let dials = hosts.iter().map(|(_, dial)| dial);
            let each =
                dials.zip(&found).flat_map(|(dial, addresses)| addresses.iter().map(move |&at| (at, dial.clone())));
            pool.set(each.collect::<BTreeMap<_, _>>());
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
    peer.set_up(peer.probe().await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart_and_wrong_ones_named() {
        let check = |urls: &str, expected: Result<&[&str], InvalidUrl>| {
            let expected = expected.map(|hosts| hosts.iter().map(|&host| host.to_owned()).collect());
            let parsed = parse(urls).map(|hosts| hosts.iter().map(Host::target).collect::<Vec<_>>());
            assert_eq!(parsed, expected, "{urls:?}");
        };
        let malformed = |url: &str| Err(InvalidUrl::Malformed(url.to_owned()));
        check("http://127.0.0.1:18790", Ok(&["127.0.0.1:18790"]));
        check(" http://a:1/, http://[::1]:2 ,http://b", Ok(&["a:1", "[::1]:2", "b:80"]));
        check(" , ", Err(InvalidUrl::Empty));
        check("https://a,https://b:1", Ok(&["a:443", "b:1"]));
        check("ftp://a:1", malformed("ftp://a:1"));
        check("a:1", malformed("a:1"));
        check("http://a:1,http://b/path", malformed("http://b/path"));
    }
}
