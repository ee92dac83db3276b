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
    header::{ACCEPT, ACCEPT_ENCODING, HeaderMap, HeaderValue},
    redirect::Policy,
};

use super::{MAX_URL_BYTES, address::is_public};
use crate::tool::Error;

const USER_AGENT: &str = concat!("clawdbot/", env!("CARGO_PKG_VERSION"));

/// The addresses of a name on their way.
pub(super) type Addresses = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// What can be reached. Tests have names and addresses of their own.
#[derive(Clone)]
pub(super) struct Reach {
    pub(super) lookup: Arc<dyn Fn(&str) -> Addresses + Send + Sync>,
    pub(super) is_allowed: fn(IpAddr) -> bool,
}

/// A name has no address that may be reached.
#[derive(Debug, thiserror::Error)]
#[error("the name has no public address")]
struct NotPublic;

impl Reach {
    /// The public internet, by the system's resolver.
    pub(super) fn public() -> Self {
        let lookup = |name: &str| -> Addresses {
            let name = name.to_owned();
            Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect()) })
        };
        Self { lookup: Arc::new(lookup), is_allowed: is_public }
    }

    /// Reads a URL, which may be relative to the one that led to it, and refuses what must not be asked. An address in
    /// place of a name is checked here, in whatever form it is written; what a name stands for, when it is looked up.
    pub(super) fn check(&self, url: &str, from: Option<&Url>) -> Result<Url, Error> {
        if url.len() > MAX_URL_BYTES {
            return Err(Error(format!("the URL is longer than {MAX_URL_BYTES} bytes")));
        }
        let parsed = from.map_or_else(|| Url::parse(url), |from| from.join(url));
        let mut parsed = parsed.map_err(|error| Error(format!("argument `url`: {error}")))?;
        let is_downgrade = from.is_some_and(|from| from.scheme() == "https" && parsed.scheme() == "http");
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(Error(format!("only http and https can be fetched, not `{}`", parsed.scheme())));
        }
        if is_downgrade {
            return Err(Error("a redirect leads from https to http, which is not followed".to_owned()));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(Error("a URL with a user name or password is not fetched".to_owned()));
        }
        let ip: Option<IpAddr> = match parsed.host() {
            Some(url::Host::Ipv4(ip)) => Some(ip.into()),
            Some(url::Host::Ipv6(ip)) => Some(ip.into()),
            Some(url::Host::Domain(_)) | None => None,
        };
        if ip.is_some_and(|ip| !(self.is_allowed)(ip)) {
            return Err(not_public(&parsed));
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
pub(super) fn build(reach: &Reach) -> reqwest::Result<Client> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("text/html, text/*;q=0.9, application/json;q=0.9, */*;q=0.1"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    Client::builder()
        .user_agent(USER_AGENT)
        .default_headers(headers)
        .redirect(Policy::none())
        .no_proxy()
        .dns_resolver(Arc::new(reach.clone()))
        .build()
}

/// Why a request failed, in words that say no more than the model knows.
pub(super) fn refusal(url: &Url, error: &reqwest::Error) -> Error {
    let mut source = error.source();
    while let Some(cause) = source {
        if cause.is::<NotPublic>() {
            return not_public(url);
        }
        source = cause.source();
    }
    let what = if error.is_connect() { "cannot be reached" } else { "did not answer as HTTP has it" };
    Error(format!("`{url}` {what}"))
}

fn not_public(url: &Url) -> Error {
    Error(format!("`{url}` is not on the public internet, which is the limit of this tool"))
}
