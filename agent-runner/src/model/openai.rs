//! Providers that speak OpenAI's Chat Completions: OpenAI, vLLM, Ollama, LM Studio, llama.cpp, OpenRouter and others.

mod error;
mod request;
mod response;
mod sse;

use std::{collections::BTreeMap, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::{
    Client, Response, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use shared::telemetry;
use tracing::Span;

use super::{Error, EventStream, Model, Request};
use request::MaxTokensField;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle connections that are kept for the next requests.
const IDLE_CONNECTIONS: usize = 256;

/// One provider with its connections.
#[derive(Debug)]
pub struct OpenAi {
    client: Client,
    provider_id: String,
    endpoint: Url,
    headers: HeaderMap,
    max_tokens_field: MaxTokensField,
    idle_timeout: Duration,
}

/// The address that requests go to, for a base URL like `https://api.openai.com/v1`.
pub fn endpoint(base_url: &str) -> Result<Url, String> {
    let url = format!("{}/chat/completions", base_url.trim_end_matches('/'));
    match Url::parse(&url) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        Ok(url) => Err(format!("its scheme is `{}`", url.scheme())),
        Err(error) => Err(error.to_string()),
    }
}

/// The headers of every request; an empty key sends none. Fails with the name of what cannot be a header.
pub fn headers(api_key: &str, extra: &BTreeMap<String, String>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if !api_key.is_empty() {
        let mut bearer = HeaderValue::try_from(format!("Bearer {api_key}")).map_err(|_| "apiKey".to_owned())?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
    }
    for (name, value) in extra {
        let at_fault = || format!("headers.{name}");
        let mut value = HeaderValue::try_from(value).map_err(|_| at_fault())?;
        value.set_sensitive(true);
        headers.insert(HeaderName::try_from(name).map_err(|_| at_fault())?, value);
    }
    Ok(headers)
}

impl OpenAi {
    /// Makes the connection pool; connects to nothing yet. `idle_timeout` is the longest that a provider may be
    /// silent, before its answer and within it.
    pub fn new(
        provider_id: &str,
        endpoint: Url,
        headers: HeaderMap,
        idle_timeout: Duration,
    ) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .user_agent(concat!("clawdbot/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(idle_timeout)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let max_tokens_field = match endpoint.host_str() {
            Some("api.openai.com") => MaxTokensField::MaxCompletionTokens,
            Some(_) | None => MaxTokensField::MaxTokens,
        };
        Ok(Self { client, provider_id: provider_id.to_owned(), endpoint, headers, max_tokens_field, idle_timeout })
    }
}

impl Model for OpenAi {
    fn stream(&self, request: &Request) -> EventStream {
        let mut headers = self.headers.clone();
        telemetry::inject(&Span::current(), &mut headers);
        let call = self
            .client
            .post(self.endpoint.clone())
            .headers(headers)
            .body(request::body(request, self.max_tokens_field));
        let (provider_id, idle_timeout) = (self.provider_id.clone(), self.idle_timeout);
        let open = async move {
            let broken = |error: &reqwest::Error| error::from_transport(&provider_id, error, idle_timeout);
            let response = call.send().await.map_err(|error| broken(&error))?;
            let response = accepted(&provider_id, response).await?;
            let bytes =
                response.bytes_stream().map_err(move |error| error::from_transport(&provider_id, &error, idle_timeout));
            Ok(response::Events::new(bytes.boxed()))
        };
        Box::pin(stream::once(open).try_flatten())
    }
}

/// The response if the provider answers at all; else what its error means.
async fn accepted(provider_id: &str, response: Response) -> Result<Response, Error> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let retry_after = error::retry_after(response.headers());
    let body = error::read_body(response).await;
    Err(error::from_status(provider_id, status, retry_after, &body))
}

#[cfg(test)]
mod tests;
