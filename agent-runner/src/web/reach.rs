//! The HTTP client that reaches public addresses only: it connects to the very address that was checked, and takes no
//! proxy and no redirect of its own.

use std::{
    error::Error as _,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
};

use reqwest::{
    Client, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header::HeaderMap,
    redirect::Policy,
};

use super::{Error, MAX_URL_BYTES, address::is_public};

const USER_AGENT: &str = concat!("clawdbot/", env!("CARGO_PKG_VERSION"));

/// The addresses of a name on their way.
pub(crate) type Addresses = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// What can be reached. Tests have names and addresses of their own.
#[derive(Clone)]
pub(crate) struct Reach {
    pub(crate) lookup: Arc<dyn Fn(&str) -> Addresses + Send + Sync>,
    pub(crate) is_allowed: fn(IpAddr) -> bool,
}

/// A name has no address that may be reached.
#[derive(Debug, thiserror::Error)]
#[error("the name has no public address")]
struct NotPublic;

impl Reach {
    /// The public internet, by the system's resolver.
    pub(crate) fn public() -> Self {
        let lookup = |name: &str| -> Addresses {
            let name = name.to_owned();
            Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect()) })
        };
        Self { lookup: Arc::new(lookup), is_allowed: is_public }
    }

    /// Reads a URL, which may be relative to the one that led to it, and refuses what must not be asked. An address in
    /// place of a name is checked here, in whatever form it is written; what a name stands for, when it is looked up.
    pub(crate) fn check(&self, url: &str, from: Option<&Url>) -> Result<Url, Error> {
        if url.len() > MAX_URL_BYTES {
            return Err(Error::TooLong);
        }
        let mut parsed = from.map_or_else(|| Url::parse(url), |from| from.join(url))?;
        let is_downgrade = from.is_some_and(|from| from.scheme() == "https" && parsed.scheme() == "http");
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(Error::OtherScheme(parsed.scheme().to_owned()));
        }
        if is_downgrade {
            return Err(Error::Downgrade);
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(Error::WithUser);
        }
        let ip: Option<IpAddr> = match parsed.host() {
            Some(url::Host::Ipv4(ip)) => Some(ip.into()),
            Some(url::Host::Ipv6(ip)) => Some(ip.into()),
            Some(url::Host::Domain(_)) | None => None,
        };
        if ip.is_some_and(|ip| !(self.is_allowed)(ip)) {
            return Err(Error::NotPublic(parsed));
        }
        parsed.set_fragment(None);
        Ok(parsed)
    }
}

impl Resolve for Reach {
    fn resolve(&self, name: Name) -> Resolving {
        let (addresses, is_allowed) = ((self.lookup)(name.as_str()), self.is_allowed);
        Box::pin(async move {
            let mut addresses = addresses.await?;
            addresses.retain(|ip| is_allowed(*ip));
            if addresses.is_empty() {
                return Err(NotPublic.into());
            }
            // The client puts in the port of the URL.
            Ok(Box::new(addresses.into_iter().map(|ip| SocketAddr::new(ip, 0))) as Addrs)
        })
    }
}

/// Makes the client.
pub(super) fn build(reach: &Reach, headers: HeaderMap) -> reqwest::Result<Client> {
    Client::builder()
        .user_agent(USER_AGENT)
        .default_headers(headers)
        .redirect(Policy::none())
        .no_proxy()
        .dns_resolver(Arc::new(reach.clone()))
        .build()
}

/// Why a request failed, in words that say no more than whoever asked knows.
pub(super) fn refusal(url: &Url, error: &reqwest::Error) -> Error {
    let mut source = error.source();
    while let Some(cause) = source {
        if cause.is::<NotPublic>() {
            return Error::NotPublic(url.clone());
        }
        source = cause.source();
    }
    if error.is_connect() { Error::Unreachable(url.clone()) } else { Error::NotHttp(url.clone()) }
}
