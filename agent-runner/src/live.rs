//! The runs that go on here, and what the finished stateless ones came to.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prost::bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{resumable::Log, slots::Ticket};

/// How many bytes of memory one resumable run's events may take, about. The session store takes more.
const MAX_RUN_BYTES: usize = 16 * 1024 * 1024;

/// Which runs there are. Touched when a run begins and ends, never while it streams.
pub(crate) struct Live {
    runs: Mutex<Runs>,
    keep: Keep,
}

/// How much of finished stateless runs is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep {
    /// For how long.
    pub(crate) lifetime: Duration,
    /// How many bytes of memory in all, about; the oldest go first.
    pub(crate) bytes: usize,
}

#[derive(Default)]
struct Runs {
    by_id: HashMap<String, Entry>,
    /// The finished ones, oldest first.
    kept: VecDeque<Kept>,
    kept_bytes: usize,
}

struct Entry {
    cancelled: CancellationToken,
    resumable: Option<Known>,
    is_over: bool,
}

/// A run that can be resumed.
struct Known {
    fingerprint: Bytes,
    log: Arc<Log>,
}

struct Kept {
    run_id: String,
    bytes: usize,
    until: Instant,
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
    is_kept: bool,
}

impl Live {
    pub(crate) fn new(keep: Keep) -> Self {
        Self { runs: Mutex::default(), keep }
    }

    /// Enters a run that cannot be resumed; a run with the same id must not be known.
    pub(crate) fn enter(self: &Arc<Self>, run_id: &str) -> Result<Registration, Status> {
        let mut runs = self.runs();
        if runs.by_id.contains_key(run_id) {
            return Err(Status::already_exists(format!("the run `{run_id}` is already going on")));
        }
        Ok(self.register(&mut runs, run_id, None))
    }

    /// Enters a run that can be resumed, unless it is known. `ALREADY_EXISTS` when another one has its id, and
    /// what `admit` says when it does not let a new one in.
    pub(crate) fn enter_resumable(
        self: &Arc<Self>,
        run_id: &str,
        fingerprint: &Bytes,
        admit: impl FnOnce() -> Result<Ticket, Status>,
    ) -> Result<Entered, Status> {
        let mut runs = self.runs();
        runs.forget_expired();
        match runs.by_id.get(run_id).map(|entry| &entry.resumable) {
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
        let mut runs = self.runs();
        runs.forget_expired();
        runs.by_id.get(run_id)?.resumable.as_ref().map(|resumable| resumable.log.clone())
    }

    /// Stops a live run; says whether there is one.
    pub(crate) fn cancel(&self, run_id: &str) -> bool {
        let runs = self.runs();
        let live = runs.by_id.get(run_id).filter(|entry| !entry.is_over);
        live.inspect(|entry| entry.cancelled.cancel()).is_some()
    }

    fn register(self: &Arc<Self>, runs: &mut Runs, run_id: &str, resumable: Option<Known>) -> Registration {
        let cancelled = CancellationToken::new();
        runs.by_id.insert(run_id.to_owned(), Entry { cancelled: cancelled.clone(), resumable, is_over: false });
        Registration { live: self.clone(), run_id: run_id.to_owned(), cancelled, is_kept: false }
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

    /// Keeps what the finished run came to, as long and as far as is allowed.
    pub(crate) fn keep(mut self, log: &Log) {
        let keep = self.live.keep;
        let kept = Kept { run_id: self.run_id.clone(), bytes: log.bytes(), until: Instant::now() + keep.lifetime };
        let mut runs = self.live.runs();
        if let Some(entry) = runs.by_id.get_mut(&self.run_id) {
            entry.is_over = true;
        }
        runs.kept_bytes += kept.bytes;
        runs.kept.push_back(kept);
        while runs.kept_bytes > keep.bytes {
            runs.forget_oldest();
        }
        drop(runs);
        self.is_kept = true;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        let entry = self.live.runs().by_id.remove(&self.run_id);
        if let Some(Known { log, .. }) = entry.and_then(|entry| entry.resumable) {
            // One that has not ended by now has panicked.
            log.refuse(Status::internal("the run ended without an outcome"));
        }
    }
}

impl Runs {
    fn forget_expired(&mut self) {
        let now = Instant::now();
        while self.kept.front().is_some_and(|kept| kept.until <= now) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(kept) = self.kept.pop_front() {
            self.kept_bytes -= kept.bytes;
            self.by_id.remove(&kept.run_id);
        }
    }
}
