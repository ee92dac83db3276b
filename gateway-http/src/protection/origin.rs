//! Origins of pages: as the configuration lists them, and as browsers name them.

use axum::extract::Request;
use http::{
    HeaderValue, Uri,
    header::{HOST, ORIGIN},
};
use serde::{Deserialize, Deserializer, de};

use super::Cors;
use crate::error::ApiError;

/// An origin that may ask: one by its scheme, host and port, or every one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Any,
    Exact(HeaderValue),
}

/// Refuses a request of a page that is neither the gateway's own nor a listed one.
pub(super) fn check(request: &Request, cors: Option<&Cors>) -> Result<(), ApiError> {
    let Some(origin) = request.headers().get(ORIGIN) else { return Ok(()) };
    if is_own(origin, request).unwrap_or_default() || cors.is_some_and(|cors| cors.lists(origin)) {
        return Ok(());
    }
    let message = "pages of this origin may not use the gateway; list it in gateway.http.cors.origins";
    Err(ApiError::forbidden(message, "origin"))
}

/// Whether the page came from where the request goes to.
fn is_own(origin: &HeaderValue, request: &Request) -> Option<bool> {
    let origin: Uri = origin.to_str().ok()?.parse().ok()?;
    let asked = match request.headers().get(HOST) {
        Some(host) => host.to_str().ok()?.parse().ok()?,
        None => request.uri().authority()?.clone(),
    };
    // A browser leaves out the port that belongs to the scheme.
    let default = match origin.scheme_str()? {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let own = origin.host()?.eq_ignore_ascii_case(asked.host());
    Some(own && origin.port_u16().unwrap_or(default) == asked.port_u16().unwrap_or(default))
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "*" {
            return Ok(Self::Any);
        }
        let (scheme, authority) = text.split_once("://").unwrap_or_default();
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase());
        let is_authority =
            authority.parse::<http::uri::Authority>().is_ok_and(|parsed| !parsed.as_str().contains(['@', '*']));
        let is_lower_case = !text.contains(|character: char| character.is_ascii_uppercase());
        let value = HeaderValue::from_str(&text).ok().filter(|_| is_scheme && is_authority && is_lower_case);
        value.map(Self::Exact).ok_or_else(|| {
            let expected = "a scheme, a host and its port if it is not the usual one, in lower case, and no path";
            de::Error::custom(format_args!("`{text}` is neither `*` nor an origin: {expected}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_is_of_the_gateway_when_host_and_port_are_the_same() {
        let compare = |origin: &str, host: &str, expected: bool| {
            let request = Request::builder().header(HOST, host).header(ORIGIN, origin).body(Body::empty());
            let request = request.expect("valid");
            assert_eq!(check(&request, None).is_ok(), expected, "{origin} {host}");
        };
        compare("http://127.0.0.1:18789", "127.0.0.1:18789", true);
        compare("https://agents.example.com", "agents.example.com", true);
        compare("https://agents.example.com", "AGENTS.example.com:443", true);
        compare("http://agents.example.com", "agents.example.com:443", false);
        compare("http://127.0.0.1:3000", "127.0.0.1:18789", false);
        compare("https://example.com", "agents.example.com", false);
        compare("null", "agents.example.com", false);
        compare("file://", "agents.example.com", false);
    }

    #[test]
    fn a_listed_page_may_ask_too() {
        let cors = Cors::new(vec![Origin::Exact(HeaderValue::from_static("https://example.com"))], 0).expect("one");
        let may_ask = |origin: &str| {
            let request = Request::builder().header(HOST, "localhost").header(ORIGIN, origin).body(Body::empty());
            check(&request.expect("valid"), Some(&cors)).is_ok()
        };
        assert!(may_ask("https://example.com"));
        assert!(!may_ask("https://example.org"));
    }

    #[test]
    fn an_origin_has_a_scheme_and_a_host() {
        let parse = |text: &str| serde_json::from_value::<Origin>(json!(text)).ok();
        for origin in ["https://example.com", "http://localhost:3000", "app://obsidian.md", "capacitor://localhost"] {
            assert_eq!(parse(origin), Some(Origin::Exact(origin.parse().expect("a header value"))));
        }
        assert_eq!(parse("*"), Some(Origin::Any));
        for bad in ["", "example.com", "https://example.com/", "https://", "https://*", "HTTPS://example.com", "null"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
