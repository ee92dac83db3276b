//! Places in the lines in which turns wait: the rows are in the database, and here is how to wake who stands there.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_postgres::Row;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Replica;

/// How many may stand in one line.
pub(super) const MAX_PER_SESSION: i64 = 32;
/// After how long a place is void whose replica does not put that off.
pub(super) const PLACE_MS: i64 = 10_000;
/// A place is put off when it has less left.
const LEFT_MS: i64 = PLACE_MS - 3_000;
/// How often this replica's places are looked after.
const PAUSE: Duration = Duration::from_secs(1);
/// How many may wait at this replica.
const MAX_WAITING: usize = 512;

/// How to wake the turns that wait at this replica.
#[derive(Debug)]
pub(super) struct Calls {
    by_place: Mutex<HashMap<i64, Arc<Notify>>>,
    last_place: AtomicI64,
    waiting: Arc<Semaphore>,
}

/// Who is first in a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Next {
    pub(super) replica: Uuid,
    pub(super) place: i64,
}

/// A place to wait at, whose row is deleted when this is dropped.
pub(super) struct Place {
    replica: Arc<Replica>,
    session_key: Arc<str>,
    pub(super) number: i64,
    /// When its turn is; none before it is known to be in line.
    pub(super) ticket: Option<i64>,
    /// Whether there may be a row.
    pub(super) is_in_line: bool,
    call: Arc<Notify>,
    _room: OwnedSemaphorePermit,
}

impl Calls {
    /// Of `max_calls` that there may be at once, at most half wait: else those who wait could keep out those that they
    /// wait for.
    pub(super) fn new(max_calls: usize) -> Self {
        let waiting = Arc::new(Semaphore::new(MAX_WAITING.min(max_calls / 2)));
        Self { by_place: Mutex::default(), last_place: AtomicI64::new(0), waiting }
    }

    /// Has the turn at this place look whether it can begin.
    pub(super) fn call(&self, place: i64) {
        if let Some(call) = self.by_place().get(&place) {
            call.notify_one();
        }
    }

    fn by_place(&self) -> MutexGuard<'_, HashMap<i64, Arc<Notify>>> {
        self.by_place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Next {
    /// Reads the columns `replica` and `place`, which are null when nobody is in line.
    pub(super) fn from_row(row: &Row) -> Result<Option<Self>, tokio_postgres::Error> {
        let replica: Option<Uuid> = row.try_get("replica")?;
        let place: Option<i64> = row.try_get("place")?;
        Ok(replica.zip(place).map(|(replica, place)| Self { replica, place }))
    }
}

impl Place {
    /// A place that is in no line yet, if this replica has room for one more.
    pub(super) fn new(replica: &Arc<Replica>, session_key: &Arc<str>) -> Option<Self> {
        let room = replica.calls.waiting.clone().try_acquire_owned().ok()?;
        let number = replica.calls.last_place.fetch_add(1, Ordering::Relaxed) + 1;
        let call = Arc::new(Notify::new());
        replica.calls.by_place().insert(number, call.clone());
        let (replica, session_key) = (replica.clone(), session_key.clone());
        Some(Self { replica, session_key, number, ticket: None, is_in_line: false, call, _room: room })
    }

    /// Waits until the place has to look. A call that came earlier is not lost.
    pub(super) async fn called(&self) {
        self.call.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.replica.calls.by_place().remove(&self.number);
        if self.is_in_line {
            self.replica.spawn(leave(self.replica.clone(), self.session_key.clone(), self.number));
        }
    }
}

/// Puts off the expiry of this replica's places, and calls those that nobody else may have called, until `stop` is
/// cancelled.
pub(super) async fn keep_places(replica: Arc<Replica>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
        let places: Vec<i64> = replica.calls.by_place().keys().copied().collect();
        if places.is_empty() {
            continue;
        }
        let pause_ms = i64::try_from(PAUSE.as_millis()).expect("it is short");
        let sql = "SELECT keep_places($1, $2, $3, $4, $5)";
        match replica.server.query(sql, &[&replica.id, &places, &PLACE_MS, &LEFT_MS, &pause_ms]).await {
            Ok(rows) => rows.iter().for_each(|row| replica.calls.call(row.get(0))),
            Err(error) => tracing::debug!(%error, "places in line could not be kept"),
        }
    }
}

/// Deletes the place's row, and calls who is first then. Should that fail, the row expires.
async fn leave(replica: Arc<Replica>, session_key: Arc<str>, place: i64) {
    let sql = "SELECT * FROM leave_line($1, $2, $3)";
    let left = replica.server.query_one(sql, &[&&*session_key, &replica.id, &place]).await;
    match left.and_then(|row| Ok(Next::from_row(&row)?)) {
        Ok(next) => replica.call(next),
        Err(error) => tracing::debug!(%error, "a place in line could not be given up"),
    }
}
