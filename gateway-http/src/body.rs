//! Reading a request's body, within bounds of size and time.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_LENGTH};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::{Limits, error::ApiError};

/// Reads the whole body. One that says it is too large is refused unread.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limits: &Limits) -> Result<Bytes, ApiError> {
    let limit_bytes = limits.max_body_bytes;
    let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: usize| length > limit_bytes) {
        return Err(ApiError::request_too_large(limit_bytes));
    }
    let reading = Limited::new(body, limit_bytes).collect();
    match tokio::time::timeout(limits.body_timeout, reading).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::request_too_large(limit_bytes)),
        Ok(Err(error)) => Err(ApiError::invalid_json(&format!("it broke off ({error})"))),
        Err(_) => Err(ApiError::request_timeout(limits.body_timeout)),
    }
}
