//! Whether a call certainly did not start, so that it may be made again.

use std::error::Error;

use tonic::{ConnectError, body::Body};

use crate::transport::{
    TransportError,
    refusal::{self, Refusal},
};

/// Why a call did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// There was no connection.
    Connect,
    /// The connection was closed before the request was sent, or is being closed.
    Closed,
    /// The service said so.
    Refused(Refusal),
}

impl Reason {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Closed => "closed",
            Self::Refused(Refusal::Overload) => "overload",
            Self::Refused(Refusal::Draining) => "draining",
            Self::Refused(Refusal::UnknownCaller) => "unknown_caller",
        }
    }

    /// Whether others had better not try there either.
    pub(super) fn is_down(self) -> bool {
        match self {
            Self::Connect | Self::Closed | Self::Refused(Refusal::Draining | Refusal::UnknownCaller) => true,
            Self::Refused(Refusal::Overload) => false,
        }
    }
}

/// Why the call did not start; `None` if it may have.
pub(super) fn not_started(answer: &Result<http::Response<Body>, TransportError>) -> Option<Reason> {
    match answer {
        Ok(response) => refusal::of(response.headers()).map(Reason::Refused),
        Err(error) => {
            let mut next: Option<&(dyn Error + 'static)> = Some(error);
            std::iter::from_fn(|| {
                let error = next?;
                next = error.source();
                Some(error)
            })
            .find_map(of_error)
        }
    }
}

fn of_error(error: &(dyn Error + 'static)) -> Option<Reason> {
    if error.is::<ConnectError>() {
        return Some(Reason::Connect);
    }
    if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled) {
        return Some(Reason::Closed);
    }
    let error = error.downcast_ref::<h2::Error>()?;
    // Of a connection that is closed in good order, these are the streams that the other side says it has not seen.
    let is_refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    let is_left_out = error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR);
    (is_refused || is_left_out).then_some(Reason::Closed)
}
