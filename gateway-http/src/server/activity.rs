//! What goes on over one connection, so that an idle one can be told from one whose answers take long.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::Instant;

/// The requests that are being answered over a connection; cheap to clone.
#[derive(Clone)]
pub(super) struct Activity(Arc<Mutex<State>>);

struct State {
    in_flight: usize,
    /// Since when there are none.
    idle_since: Instant,
}

/// One request, until this is dropped.
pub(super) struct InFlight(Activity);

/// An answer that is in flight until its end.
struct Answer {
    body: Body,
    _in_flight: InFlight,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State { in_flight: 0, idle_since: Instant::now() })))
    }

    pub(super) fn begin(&self) -> InFlight {
        self.with(|state| state.in_flight += 1);
        InFlight(self.clone())
    }

    /// Becomes ready once nothing was in flight for that long.
    pub(super) async fn idle(&self, timeout: Duration) {
        loop {
            let idle_since = self.with(|state| (state.in_flight == 0).then_some(state.idle_since));
            let until = idle_since.unwrap_or_else(Instant::now) + timeout;
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }

    /// Nothing that is done with the lock takes time.
    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl InFlight {
    /// Has the request be in flight until its answer is.
    pub(super) fn hold(self, body: Body) -> Body {
        if body.is_end_stream() { body } else { Body::new(Answer { body, _in_flight: self }) }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.with(|state| {
            state.in_flight -= 1;
            state.idle_since = Instant::now();
        });
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_once_its_answers_are_long_over() {
        let activity = Activity::new();
        let began = Instant::now();
        let answer = activity.begin().hold(Body::from("hello"));
        let ended = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(100)).await;
            drop(answer);
        });
        activity.idle(TIMEOUT).await;
        assert!(began.elapsed() >= Duration::from_secs(130), "{:?}", began.elapsed());
        ended.await.expect("it does not panic");
        let next = activity.begin().hold(Body::empty());
        assert!(next.is_end_stream(), "what has no body is over");
        activity.idle(TIMEOUT).await;
    }
}
