//! The runs that go on here.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prost::bytes::Bytes;
use proto::agent::v1::RunRequest;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{resumable::Log, slots::Ticket};

/// How many bytes of memory one resumable run's events may take, about. The session store takes more.
const MAX_RUN_BYTES: usize = 16 * 1024 * 1024;

/// Which runs there are, by their ids. Touched when a run begins and ends, never while it streams.
#[derive(Default)]
pub(crate) struct Live {
    runs: Mutex<Runs>,
}

type Runs = HashMap<String, Entry>;

struct Entry {
    cancelled: CancellationToken,
    resumable: Option<Known>,
}

/// A run that can be resumed.
struct Known {
    fingerprint: Bytes,
    log: Arc<Log>,
}

/// What comes of a run that is to be entered.
pub(crate) enum Entered {
    /// It is new.
    New(New),
    /// It is known.
    Known(Arc<Log>),
}

/// A new run that can be resumed.
pub(crate) struct New {
    pub(crate) registration: Registration,
    pub(crate) log: Arc<Log>,
    pub(crate) ticket: Ticket,
}

/// A run's place among the live ones, given up when this is dropped.
pub(crate) struct Registration {
    live: Arc<Live>,
    run_id: String,
    cancelled: CancellationToken,
}

impl Live {
    /// Enters a run that cannot be resumed; a run with the same id must not be known.
    pub(crate) fn enter(self: &Arc<Self>, run_id: &str) -> Result<Registration, Status> {
        let mut runs = self.runs();
        if runs.contains_key(run_id) {
            return Err(Status::already_exists(format!("the run `{run_id}` is already going on")));
        }
        Ok(self.register(&mut runs, run_id, None))
    }

    /// Enters a run that can be resumed, unless it is known. `ALREADY_EXISTS` when another one has its id, and
    /// what `admit` says when it does not let a new one in.
    pub(crate) fn enter_resumable(
        self: &Arc<Self>,
        request: &RunRequest,
        admit: impl FnOnce() -> Result<Ticket, Status>,
    ) -> Result<Entered, Status> {
        let RunRequest { run_id, fingerprint, .. } = request;
        let mut runs = self.runs();
        match runs.get(run_id).map(|entry| &entry.resumable) {
            Some(Some(known)) if known.fingerprint == *fingerprint => Ok(Entered::Known(known.log.clone())),
            Some(_) => Err(is_another(run_id)),
            None => {
                let ticket = admit()?;
                let log = Arc::new(Log::new(MAX_RUN_BYTES));
                let resumable = Known { fingerprint: fingerprint.clone(), log: log.clone() };
                let registration = self.register(&mut runs, run_id, Some(resumable));
                Ok(Entered::New(New { registration, log, ticket }))
            }
        }
    }

    /// The log of a resumable run.
    pub(crate) fn log(&self, run_id: &str) -> Option<Arc<Log>> {
        self.runs().get(run_id)?.resumable.as_ref().map(|resumable| resumable.log.clone())
    }

    /// Stops a live run; says whether there is one.
    pub(crate) fn cancel(&self, run_id: &str) -> bool {
        self.runs().get(run_id).inspect(|entry| entry.cancelled.cancel()).is_some()
    }

    fn register(self: &Arc<Self>, runs: &mut Runs, run_id: &str, resumable: Option<Known>) -> Registration {
        let cancelled = CancellationToken::new();
        runs.insert(run_id.to_owned(), Entry { cancelled: cancelled.clone(), resumable });
        Registration { live: self.clone(), run_id: run_id.to_owned(), cancelled }
    }

    fn runs(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run has the id that is not the one that was asked for.
pub(crate) fn is_another(run_id: &str) -> Status {
    Status::already_exists(format!("the run `{run_id}` is of another request"))
}

impl Registration {
    pub(crate) fn run_id(&self) -> &str {
        &self.run_id
    }

    /// What stops the run.
    pub(crate) fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let entry = self.live.runs().remove(&self.run_id);
        if let Some(Known { log, .. }) = entry.and_then(|entry| entry.resumable) {
            // One that has not ended by now has panicked.
            log.refuse(Status::internal("the run ended without an outcome"));
        }
    }
}
