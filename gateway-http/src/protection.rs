//! What stands around every endpoint: where a request comes from, which pages may send it, and what every answer says
//! to browsers.

mod cors;
mod host;
mod origin;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS},
};
use tracing::Span;

use crate::{
    Gateway, Limits, Settings,
    address::{Source, TrustedProxies},
    error::ApiError,
    limits::RateReport,
};

pub(crate) use cors::Cors;
pub(crate) use origin::Origin;

/// What the configuration says of clients and their browsers.
#[derive(Debug)]
pub(crate) struct Protection {
    pub(crate) proxies: TrustedProxies,
    /// The pages of other origins that may ask; none without it.
    pub(crate) cors: Option<Cors>,
    /// Sent with every answer, where the gateway is reached by TLS only.
    pub(crate) strict_transport_security: Option<HeaderValue>,
}

/// Finds the client's address, refuses what must not come in, and writes the headers that every answer has.
pub(crate) async fn layer(State(gateway): State<Gateway>, mut request: Request, next: Next) -> Response {
    let settings = gateway.settings();
    let protection = &settings.protection;
    let source = request.extensions().get::<Source>().copied().unwrap_or_default();
    let source = source.through(&protection.proxies, request.headers());
    if let Some(address) = source.client {
        Span::current().record("client.address", tracing::field::display(address));
    }
    let report = RateReport::default();
    request.extensions_mut().insert(source);
    request.extensions_mut().insert(report.clone());

    let mut response = match &protection.cors {
        Some(cors) => cors.answer(request, |request| pass(&settings, request, next)).await,
        None => pass(&settings, request, next).await,
    };
    report.write(response.headers_mut());
    secure(response.headers_mut(), protection.strict_transport_security.as_ref());
    response
}

async fn pass(settings: &Settings, request: Request, next: Next) -> Response {
    match check(settings, &request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn check(settings: &Settings, request: &Request) -> Result<(), ApiError> {
    settings.limits.check_headers(request)?;
    if !settings.auth.is_open_to_browsers() {
        return Ok(());
    }
    // A page cannot know a secret, but where none is needed any page could use the agents.
    let cors = settings.protection.cors.as_ref();
    origin::check(request, cors)?;
    if settings.auth.is_open() { host::check(request, cors) } else { Ok(()) }
}

impl Limits {
    fn check_headers(&self, request: &Request) -> Result<(), ApiError> {
        let headers = request.headers();
        if headers.len() > self.max_headers {
            let message = format!("the request has more than {} headers", self.max_headers);
            return Err(ApiError::headers_too_large(message));
        }
        let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
        if target + headers.iter().map(size).sum::<usize>() > self.max_header_bytes {
            let message = format!("the request's head has more than {} bytes", self.max_header_bytes);
            return Err(ApiError::headers_too_large(message));
        }
        Ok(())
    }
}

/// Nothing that the gateway answers is to be sniffed at, stored, or told to other sites.
fn secure(headers: &mut HeaderMap, strict_transport_security: Option<&HeaderValue>) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if let Some(value) = strict_transport_security {
        headers.insert(STRICT_TRANSPORT_SECURITY, value.clone());
    }
}
