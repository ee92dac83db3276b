//! Pages of other origins: browsers are told which may ask, and what of the answers they may see.

use std::{convert::Infallible, time::Duration};

use axum::{extract::Request, response::Response};
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header::RETRY_AFTER, uri::Authority};
use tower::{Layer, ServiceExt, service_fn};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::Origin;
use crate::trace::TRACE_RESPONSE;

/// The origins that may ask.
#[derive(Clone, Debug)]
pub(crate) struct Cors {
    origins: Vec<Origin>,
    layer: CorsLayer,
}

/// The headers of answers that pages may read beside the usual ones.
const EXPOSED: [HeaderName; 9] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-clawdbot-run-id"),
    HeaderName::from_static("x-clawdbot-session-key"),
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
    HeaderName::from_static("x-should-retry"),
    TRACE_RESPONSE,
    RETRY_AFTER,
];

impl Cors {
    /// Nothing when no origin is listed. Browsers may keep the answer to a preflight for `max_age_seconds`.
    pub(crate) fn new(origins: Vec<Origin>, max_age_seconds: u64) -> Option<Self> {
        if origins.is_empty() {
            return None;
        }
        let exact = origins.iter().filter_map(|origin| match origin {
            Origin::Any => None,
            Origin::Exact(value) => Some(value.clone()),
        });
        let allowed = if origins.contains(&Origin::Any) {
            AllowOrigin::any()
        } else {
            AllowOrigin::list(exact.collect::<Vec<_>>())
        };
        // Whatever headers a client's library sends. Credentials that a browser adds by itself mean nothing here, so they
        // are not allowed: a page shows its token.
        let layer = CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([Method::GET, Method::POST, Method::DELETE])
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(EXPOSED)
            .max_age(Duration::from_secs(max_age_seconds));
        Some(Self { origins, layer })
    }

    /// Whether this origin may ask.
    pub(super) fn lists(&self, origin: &HeaderValue) -> bool {
        self.origins.iter().any(|listed| match listed {
            Origin::Any => true,
            Origin::Exact(listed) => listed == origin,
        })
    }

    /// Whether pages of this host, over any scheme, may ask; `*` lists no host.
    pub(super) fn lists_host(&self, host: &Authority) -> bool {
        self.origins.iter().any(|listed| match listed {
            Origin::Any => false,
            Origin::Exact(listed) => {
                listed.to_str().ok().and_then(|listed| listed.parse::<Uri>().ok()).is_some_and(|uri| {
                    let default = if uri.scheme_str() == Some("http") { 80 } else { 443 };
                    let is_port = host.port_u16().is_none_or(|port| port == uri.port_u16().unwrap_or(default));
                    is_port && uri.host().is_some_and(|listed| listed.eq_ignore_ascii_case(host.host()))
                })
            }
        })
    }

    /// Answers a preflight, and anything else with what `answer` says and the headers that browsers look for.
    pub(super) async fn answer<F>(&self, request: Request, answer: impl FnOnce(Request) -> F + Send) -> Response
    where
        F: Future<Output = Response> + Send,
    {
        let is_preflight = request.method() == Method::OPTIONS;
        let mut answer = Some(answer);
        let service = service_fn(|request| {
            let answer = answer.take().expect("the service is called once");
            async move { Ok::<_, Infallible>(answer(request).await) }
        });
        let Ok(mut response) = self.layer.layer(service).oneshot(request).await;
        if is_preflight {
            *response.status_mut() = StatusCode::NO_CONTENT;
        }
        response
    }
}
