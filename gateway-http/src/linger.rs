//! Requests that are refused before their body is read. HTTP/1 clients that are still sending would find the connection
//! closed, and some of them then miss the answer: so the rest is read and dropped first, within bounds.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use http::{StatusCode, Version, header::EXPECT};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::oneshot;

use crate::Gateway;

/// How long a client has to finish, and how many times as much as the largest body it may send.
const MAX_WAIT: Duration = Duration::from_secs(2);
const MAX_BODIES: usize = 4;

/// A body that goes back to where it came from when it is dropped before its end.
struct Returned {
    body: Option<Body>,
    back: Option<oneshot::Sender<Body>>,
}

pub(crate) async fn layer(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    // Whoever waits for a word before sending is sending nothing; over HTTP/2 a body can be refused by itself.
    let is_sending = !request.body().is_end_stream() && !request.headers().contains_key(EXPECT);
    if request.version() > Version::HTTP_11 || !is_sending {
        return next.run(request).await;
    }
    let (back, mut returned) = oneshot::channel();
    let request = request.map(|body| Body::new(Returned { body: Some(body), back: Some(back) }));
    let response = next.run(request).await;
    // One that was too slow has had its time.
    if response.status() != StatusCode::REQUEST_TIMEOUT
        && let Ok(body) = returned.try_recv()
    {
        let max_bytes = gateway.settings().limits.max_body_bytes.saturating_mul(MAX_BODIES);
        let _ = tokio::time::timeout(MAX_WAIT, discard(body, max_bytes)).await;
    }
    response
}

async fn discard(mut body: Body, max_bytes: usize) {
    let mut left = max_bytes;
    while let Some(Ok(frame)) = body.frame().await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

impl http_body::Body for Returned {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = std::task::ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for Returned {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.body.take().filter(|body| !body.is_end_stream()), self.back.take()) {
            // If nobody takes it, there is nobody to answer.
            let _ = back.send(body);
        }
    }
}
