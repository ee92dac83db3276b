//! What a failed call says of itself: whether the service has begun with it, so that its caller may make it again at
//! another address, and whether it was the service at all that failed.

use std::error::Error;

use tonic::{Code, Status, metadata::MetadataValue};

const HEADER: &str = "clawdbot-not-started";
const OVERLOAD: &str = "overload";
const DRAINING: &str = "draining";
const UNKNOWN_CALLER: &str = "unknown-caller";

/// Why a service has not begun with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It has no room.
    Overload,
    /// It is about to end.
    Draining,
    /// It does not know the caller.
    UnknownCaller,
}

/// A service has as much to do as it may: `RESOURCE_EXHAUSTED`.
pub fn overloaded(message: &'static str) -> Status {
    marked(Code::ResourceExhausted, message, OVERLOAD)
}

/// A service is about to end, and takes nothing new: `UNAVAILABLE`.
pub fn draining(message: &'static str) -> Status {
    marked(Code::Unavailable, message, DRAINING)
}

/// A service does not know its caller: `UNAUTHENTICATED`.
pub(super) fn unknown_caller(message: &'static str) -> Status {
    marked(Code::Unauthenticated, message, UNKNOWN_CALLER)
}

/// Whether a call was refused because the service had as much to do as it may, rather than for what the service itself
/// means by `RESOURCE_EXHAUSTED`.
pub fn is_overload(status: &Status) -> bool {
    status.metadata().get(HEADER).is_some_and(|why| why == OVERLOAD)
}

/// Whether it was not the service that said so, but the way to it that broke: what is made of a broken connection has a
/// source.
pub fn is_broken(status: &Status) -> bool {
    status.source().is_some()
}

/// The refusal that an answer's head is, if it is one.
pub(super) fn of(headers: &http::HeaderMap) -> Option<Refusal> {
    match headers.get(HEADER)?.to_str().ok()? {
        OVERLOAD => Some(Refusal::Overload),
        DRAINING => Some(Refusal::Draining),
        UNKNOWN_CALLER => Some(Refusal::UnknownCaller),
        _ => None,
    }
}

fn marked(code: Code, message: &'static str, why: &'static str) -> Status {
    let mut status = Status::new(code, message);
    status.metadata_mut().insert(HEADER, MetadataValue::from_static(why));
    status
}
