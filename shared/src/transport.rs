//! How services talk: the generated clients over one erased tower service, in memory or over the network.
//!
//! A caller cannot tell which of the two it has. Both run the same layers ([`Layered`] around the server, trace context
//! and deadline around the client), and in both a dropped response stops the work behind it.

mod balance;
mod client;
mod deadline;
mod dial;
mod refusal;
mod remote;
mod scope;
pub(crate) mod server;
mod trust;

use std::{
    convert::Infallible,
    error, fmt,
    future::Future,
    task::{Context, Poll},
};

use tonic::body::Body;
use tower::{Service, ServiceExt, util::BoxCloneSyncService};

pub(crate) use balance::CALL_RETRIES;
pub use refusal::{draining, is_broken, is_overload, overloaded};
pub use remote::{InvalidUrl, check, remote};
pub use server::Layered;
pub use trust::{Error as TrustError, Trust};
pub(crate) use trust::{Gate, Tls};

/// The largest gRPC message that either side takes, in bytes. A gateway refuses larger requests long before.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// Calls that are made all the time, whether anybody asks for anything: their spans would bury all others.
const ROUTINE: &[&str] = &["/clawdbot.agent.v1.AgentRunner/ListAgents"];

/// A way to call a service, for the generated clients; cheap to clone.
#[derive(Clone, Debug)]
pub struct Transport {
    service: BoxCloneSyncService<http::Request<Body>, http::Response<Body>, TransportError>,
    is_remote: bool,
}

/// Why a call did not reach the service.
#[derive(Debug)]
pub struct TransportError(Box<dyn error::Error + Send + Sync>);

/// Calls a generated server in this process, without sockets and without copies beyond gRPC's own encoding.
pub fn local<S>(server: Layered<S>) -> Transport
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    Transport::new(server.map_err(|never| match never {}), false)
}

impl Transport {
    /// Whether the service can go away while this process stays.
    pub fn is_remote(&self) -> bool {
        self.is_remote
    }

    fn new<S>(service: S, is_remote: bool) -> Self
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error = TransportError>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        Self { service: BoxCloneSyncService::new(client::Client::new(service)), is_remote }
    }
}

impl Service<http::Request<Body>> for Transport {
    type Response = http::Response<Body>;
    type Error = TransportError;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, TransportError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        self.service.call(request)
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the service cannot be reached")
    }
}

impl error::Error for TransportError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(self.0.as_ref())
    }
}

#[cfg(test)]
mod tests;
