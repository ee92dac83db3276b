//! All events of a resumable run, which any number of callers follow from wherever they want.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{Stream, stream};
use prost::Message;
use proto::agent::v1::{RunEvent, RunOutcome, run_event::Kind};
use tokio::sync::Notify;
use tonic::Status;

/// A run's events so far.
pub(crate) struct Log {
    state: Mutex<State>,
    changed: Notify,
    max_bytes: usize,
}

#[derive(Default)]
struct State {
    events: Vec<RunEvent>,
    bytes: usize,
    end: Option<End>,
}

/// Why there will be no more events.
#[derive(Clone)]
enum End {
    /// The last one said so.
    Told,
    /// The run has not come about.
    Refused(Status),
}

/// The run has more events than may be kept.
#[derive(Debug)]
pub(crate) struct Full;

impl From<Full> for Status {
    fn from(Full: Full) -> Self {
        Self::resource_exhausted("the run has more events than may be kept")
    }
}

impl Log {
    /// The log of a run that is yet to be taken on, for events of so many bytes in all.
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), max_bytes }
    }

    /// Adds the next event. A run that is taken over is taken on and begins only once.
    pub(crate) fn push(&self, kind: Kind) -> Result<(), Full> {
        let mut state = self.state();
        let is_there = match kind {
            Kind::Accepted(_) => !state.events.is_empty(),
            Kind::Started(_) => state.events.iter().any(|event| matches!(event.kind, Some(Kind::Started(_)))),
            Kind::TextDelta(_)
            | Kind::ReasoningDelta(_)
            | Kind::RefusalDelta(_)
            | Kind::LogprobsDelta(_)
            | Kind::ToolCallDelta(_)
            | Kind::ToolStarted(_)
            | Kind::ToolFinished(_)
            | Kind::Usage(_)
            | Kind::Finished(_)
            | Kind::Failed(_) => false,
        };
        if is_there {
            return Ok(());
        }
        let event = RunEvent { seq: state.next_seq(), kind: Some(kind) };
        if state.bytes + size(&event) > self.max_bytes {
            return Err(Full);
        }
        state.push(event);
        drop(state);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Adds the last event, for which there is always room.
    pub(crate) fn end(&self, kind: Kind) {
        let mut state = self.state();
        let event = RunEvent { seq: state.next_seq(), kind: Some(kind) };
        state.push(event);
        state.end = Some(End::Told);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Adds all of a finished run's events that are not there yet.
    pub(crate) fn replay(&self, events: Vec<RunEvent>) {
        let mut state = self.state();
        let next = state.events.len();
        events.into_iter().skip(next).for_each(|event| state.push(event));
        state.end = Some(End::Told);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Tells whoever follows that the run has not come about, unless it has ended already.
    pub(crate) fn refuse(&self, status: Status) {
        self.state().end.get_or_insert(End::Refused(status));
        self.changed.notify_waiters();
    }

    /// The number of the last event; 0 when there is none.
    pub(crate) fn last_seq(&self) -> u64 {
        self.state().next_seq() - 1
    }

    /// Whether anybody who follows has been given a piece of the answer.
    pub(crate) fn has_answer(&self) -> bool {
        self.state().events.iter().any(|event| !matches!(event.kind, Some(Kind::Accepted(_) | Kind::Started(_)) | None))
    }

    /// What the run will have come to with this last event, as others keep it.
    pub(crate) fn outcome(&self, last: Kind) -> RunOutcome {
        let state = self.state();
        let last = RunEvent { seq: state.next_seq(), kind: Some(last) };
        RunOutcome { events: state.events.iter().cloned().chain([last]).collect() }
    }

    /// The events after the one numbered `after_seq` that there are, once there are any.
    pub(crate) async fn snapshot(&self, after_seq: u64) -> Vec<Result<RunEvent, Status>> {
        let _ = self.next(0).await;
        let state = self.state();
        let refusal = match &state.end {
            Some(End::Refused(status)) => Some(Err(status.clone())),
            Some(End::Told) | None => None,
        };
        let events = state.events.iter().filter(|event| event.seq > after_seq).cloned().map(Ok);
        events.chain(refusal).collect()
    }

    /// The events after the one numbered `after_seq`, those that are still to come included.
    pub(crate) fn follow(self: Arc<Self>, after_seq: u64) -> impl Stream<Item = Result<RunEvent, Status>> + Send {
        let after = usize::try_from(after_seq).unwrap_or(usize::MAX);
        stream::unfold(Some((self, after)), async |place| {
            let (log, index) = place?;
            match log.next(index).await? {
                Ok(event) => Some((Ok(event), Some((log, index + 1)))),
                Err(status) => Some((Err(status), None)),
            }
        })
    }

    /// The event at an index, once there is one; `None` when there won't be.
    async fn next(&self, index: usize) -> Option<Result<RunEvent, Status>> {
        loop {
            let changed = self.changed.notified();
            {
                let state = self.state();
                if let Some(event) = state.events.get(index) {
                    return Some(Ok(event.clone()));
                }
                match &state.end {
                    Some(End::Told) => return None,
                    Some(End::Refused(status)) => return Some(Err(status.clone())),
                    None => {}
                }
            }
            changed.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much memory an event takes, about: its own place, its texts, and what the allocator adds.
fn size(event: &RunEvent) -> usize {
    const ALLOCATED: usize = 32;
    size_of::<RunEvent>() + event.encoded_len() + ALLOCATED
}

impl State {
    fn next_seq(&self) -> u64 {
        self.events.len() as u64 + 1
    }

    fn push(&mut self, event: RunEvent) {
        self.bytes += size(&event);
        self.events.push(event);
    }
}
