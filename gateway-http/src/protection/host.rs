//! The names by which a gateway without secrets is asked. A page's own host name can be made to lead to the gateway (DNS
//! rebinding); its browser then takes the gateway for the page's own server, and names the page's host.

use std::net::IpAddr;

use axum::extract::Request;
use http::{header::HOST, uri::Authority};

use super::Cors;
use crate::error::ApiError;

/// Names that nobody can register: of this machine (RFC 6761), the local network (RFC 6762, RFC 8375), private ones, and
/// services in a cluster.
const PRIVATE: [&str; 8] = ["localhost", "local", "home.arpa", "internal", "lan", "svc", "test", "localdomain"];

/// Refuses a request for a host that could be a page's own: neither an address, nor a name that only this network has,
/// nor that of a listed origin.
pub(super) fn check(request: &Request, cors: Option<&Cors>) -> Result<(), ApiError> {
    let named = match request.headers().get(HOST) {
        Some(host) => host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()),
        None => match request.uri().authority() {
            Some(authority) => Some(authority.clone()),
            // HTTP/1.0 has no hosts, and browsers do not speak it.
            None => return Ok(()),
        },
    };
    let is_ours = |host: &Authority| is_private(host.host()) || cors.is_some_and(|cors| cors.lists_host(host));
    if named.is_some_and(|host| is_ours(&host)) {
        return Ok(());
    }
    let message = "without a secret the gateway is asked only by an address or a name of its own network; list the \
                   origin of this host in gateway.http.cors.origins, or set a secret";
    Err(ApiError::forbidden(message, "host"))
}

fn is_private(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let is_address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    let is_below = |name: &str| host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    is_address || !host.contains('.') || PRIVATE.into_iter().any(is_below)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::HeaderValue;

    use super::{super::Origin, *};

    #[test]
    fn only_names_that_no_page_can_have_are_taken() {
        let listed = Cors::new(vec![Origin::Exact(HeaderValue::from_static("https://agents.example.com"))], 0);
        let compare = |host: &str, expected: bool| {
            let request = Request::builder().header(HOST, host).body(Body::empty()).expect("valid");
            assert_eq!(check(&request, listed.as_ref()).is_ok(), expected, "{host}");
        };
        for host in
            ["127.0.0.1:18789", "[::1]:18789", "192.0.2.7", "localhost:18789", "gateway", "GATEWAY.local", "nas.lan"]
        {
            compare(host, true);
        }
        for host in ["clawdbot-gateway.agents.svc", "clawdbot-gateway.agents.svc.cluster.local", "my.localhost."] {
            compare(host, true);
        }
        compare("agents.example.com", true);
        compare("agents.example.com:443", true);
        compare("agents.example.com:8443", false);
        compare("a b.example.org", false);
        for host in
            ["example.org", "evil.example.org:18789", "notlocal", "127.0.0.1.example.org", "localhost.example.org"]
        {
            compare(host, !host.contains('.'));
        }
    }
}
