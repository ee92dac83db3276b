//! How providers are reached: one pool of connections for each.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use reqwest::{Client, Response, Url, header::HeaderMap};
use shared::telemetry;
use tracing::Span;

use super::{Error, provider_error};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle connections that are kept for the next requests.
const IDLE_CONNECTIONS: usize = 256;
/// The longest answer that is no stream: 2048 vectors of 3072 dimensions in JSON are about so long.
const MAX_WHOLE_BYTES: usize = 128 * 1024 * 1024;

/// The connections to one provider; clones share them.
#[derive(Clone, Debug)]
pub struct Connections {
    client: Client,
    pub(super) provider_id: Arc<str>,
    idle_timeout: Duration,
}

/// The body of an answer as it comes.
pub(super) type Body = BoxStream<'static, Result<Bytes, Error>>;

impl Connections {
    /// Makes the pool; connects to nothing yet. `idle_timeout` is the longest that a provider may be silent, before its
    /// answer and within it.
    pub fn new(provider_id: &str, idle_timeout: Duration) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .user_agent(concat!("clawdbot/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(idle_timeout)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { client, provider_id: provider_id.into(), idle_timeout })
    }

    /// The longest that the provider may be silent.
    pub(crate) fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// Sends a request, with the trace context of the present span. Nothing happens before the first poll.
    pub(super) fn post(
        &self,
        url: Url,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> impl Future<Output = Result<Body, Error>> + Send + use<> {
        let sending = self.send(url, headers, body);
        let (provider_id, idle_timeout) = (Arc::clone(&self.provider_id), self.idle_timeout);
        async move {
            let response = sending.await?;
            if provider_error::is_json(response.headers()) {
                // Some proxies report their errors with 200.
                let body = provider_error::read_body(response).await;
                return Err(provider_error::from_json(&provider_id, &body));
            }
            let bytes = response
                .bytes_stream()
                .map_err(move |error| provider_error::from_transport(&provider_id, &error, idle_timeout));
            Ok(bytes.boxed())
        }
    }

    /// The same for an answer that is no stream, read to its end.
    pub(super) fn post_for_whole(
        &self,
        url: Url,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> impl Future<Output = Result<Vec<u8>, Error>> + Send + use<> {
        let sending = self.send(url, headers, body);
        let (provider_id, idle_timeout) = (Arc::clone(&self.provider_id), self.idle_timeout);
        async move {
            let mut response = sending.await?;
            let mut body = Vec::new();
            loop {
                let chunk = response.chunk().await;
                match chunk.map_err(|error| provider_error::from_transport(&provider_id, &error, idle_timeout))? {
                    Some(chunk) if body.len() + chunk.len() > MAX_WHOLE_BYTES => {
                        return Err(Error::Failed("its answer is too long".to_owned()));
                    }
                    Some(chunk) => body.extend_from_slice(&chunk),
                    None => return Ok(body),
                }
            }
        }
    }

    /// The head of an answer, if it is a good one.
    fn send(
        &self,
        url: Url,
        mut headers: HeaderMap,
        body: Vec<u8>,
    ) -> impl Future<Output = Result<Response, Error>> + Send + use<> {
        telemetry::inject(&Span::current(), &mut headers);
        let call = self.client.post(url).headers(headers).body(body);
        let (provider_id, idle_timeout) = (Arc::clone(&self.provider_id), self.idle_timeout);
        async move {
            let sent = call.send().await;
            let response = sent.map_err(|error| provider_error::from_transport(&provider_id, &error, idle_timeout))?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            let retry_after = provider_error::retry_after(response.headers());
            let body = provider_error::read_body(response).await;
            Err(provider_error::from_status(&provider_id, status, retry_after, &body))
        }
    }
}
