//! What others do wrong is said in the log, but not as often as they do it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Between two complaints about the same.
const PAUSE: Duration = Duration::from_secs(60);

/// Something that is complained of at most once a minute.
#[derive(Debug, Default)]
pub(super) struct Complaint(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    said_at: Option<Instant>,
    unsaid: u64,
}

impl Complaint {
    /// How often it has happened without being said, if it is to be said now.
    pub(super) fn due(&self) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.said_at.is_some_and(|said_at| said_at.elapsed() < PAUSE) {
            state.unsaid += 1;
            return None;
        }
        state.said_at = Some(Instant::now());
        Some(std::mem::take(&mut state.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_happens_often_is_said_once_a_minute() {
        let complaint = Complaint::default();
        assert_eq!(complaint.due(), Some(0));
        assert_eq!((complaint.due(), complaint.due()), (None, None));
        tokio::time::advance(PAUSE).await;
        assert_eq!((complaint.due(), complaint.due()), (Some(2), None));
    }
}
