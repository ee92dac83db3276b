//! The lines in which turns wait for a session's lease: one per session key, first come, first served.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::Error;

/// How many may stand in one line, the first included.
const MAX_PER_SESSION: usize = 32;
/// How many may wait in all lines together.
const MAX_WAITING: usize = 512;

type Queue = VecDeque<Arc<Notify>>;

/// All lines of this process.
#[derive(Debug)]
pub(super) struct Lines {
    queues: Mutex<HashMap<Arc<str>, Queue>>,
    waiting: Arc<Semaphore>,
}

/// A place in a line, left when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    lines: Arc<Lines>,
    session_key: Arc<str>,
    call: Arc<Notify>,
}

impl Lines {
    /// Of `max_calls` that there may be at once, at most half wait: else those who wait could keep out those that they
    /// wait for.
    pub(super) fn new(max_calls: usize) -> Self {
        let waiting = MAX_WAITING.min(max_calls / 2);
        Self { queues: Mutex::default(), waiting: Arc::new(Semaphore::new(waiting)) }
    }

    /// Joins the end of the session's line.
    pub(super) fn join(self: &Arc<Self>, session_key: &Arc<str>) -> Result<Place, Error> {
        let call = Arc::new(Notify::new());
        let mut queues = self.queues();
        let queue = queues.entry(session_key.clone()).or_default();
        if queue.len() == MAX_PER_SESSION {
            return Err(Error::LineFull);
        }
        queue.push_back(call.clone());
        Ok(Place { lines: self.clone(), session_key: session_key.clone(), call })
    }

    /// Says that the session's lease may be free.
    pub(super) fn call_first(&self, session_key: &str) {
        if let Some(first) = self.queues().get(session_key).and_then(VecDeque::front) {
            first.notify_one();
        }
    }

    /// Room to wait; full is full, since a line for the lines would have no order.
    pub(super) fn room(&self) -> Result<OwnedSemaphorePermit, Error> {
        self.waiting.clone().try_acquire_owned().map_err(|_| Error::LineFull)
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<Arc<str>, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub(super) fn is_first(&self) -> bool {
        let queues = self.lines.queues();
        queues.get(&self.session_key).and_then(VecDeque::front).is_some_and(|first| Arc::ptr_eq(first, &self.call))
    }

    /// Waits until this place may have become the first, or as the first may have its turn. A call that came earlier
    /// is not lost.
    pub(super) async fn called(&self) {
        self.call.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queues = self.lines.queues();
        let Some(queue) = queues.get_mut(&self.session_key) else {
            return;
        };
        let Some(index) = queue.iter().position(|call| Arc::ptr_eq(call, &self.call)) else {
            return;
        };
        queue.remove(index);
        match queue.front() {
            Some(first) if index == 0 => first.notify_one(),
            Some(_) => {}
            None => {
                queues.remove(&self.session_key);
            }
        }
    }
}
