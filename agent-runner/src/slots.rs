//! How many runs go on at a time, and how many wait.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use shared::{Counted, transport::overloaded};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use crate::metrics;

/// The places of one runner.
#[derive(Debug)]
pub(crate) struct Slots {
    admitted: Arc<Places>,
    running: Arc<Places>,
}

/// A run's place among those that go on or wait; it is given back when dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    _admitted: Place,
    running: Arc<Places>,
    waiting: Option<Counted>,
}

/// A run's place among those that go on; it is given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    _place: Place,
    _running: Counted,
}

/// Places of which there may be more or fewer later.
#[derive(Debug)]
struct Places {
    free: Arc<Semaphore>,
    count: Mutex<usize>,
    /// How many places are taken that are to be no more once they are given back.
    surplus: AtomicUsize,
}

/// One of them, taken.
#[derive(Debug)]
struct Place {
    permit: Option<OwnedSemaphorePermit>,
    places: Arc<Places>,
}

impl Slots {
    /// `running` runs go on at a time, `waiting` more wait for their turn.
    pub(crate) fn new(running: usize, waiting: usize) -> Self {
        let admitted = running.saturating_add(waiting);
        Self { admitted: Arc::new(Places::new(admitted)), running: Arc::new(Places::new(running)) }
    }

    /// Has so many run and wait from now on. Those that do already may stay.
    pub(crate) fn resize(&self, running: usize, waiting: usize) {
        self.admitted.resize(running.saturating_add(waiting));
        self.running.resize(running);
    }

    /// Takes a run in. `RESOURCE_EXHAUSTED` when as many wait as may.
    pub(crate) fn admit(&self) -> Result<Ticket, Status> {
        let admitted = self.admitted.free.clone().try_acquire_owned();
        let admitted = admitted.map_err(|_| overloaded("the runner has as many runs in flight as it may"))?;
        let waiting = Some(metrics::waiting_run());
        Ok(Ticket { _admitted: Place::new(&self.admitted, admitted), running: self.running.clone(), waiting })
    }
}

impl Ticket {
    /// Waits, first come first served, until the run may go on; it does for as long as the slot is held.
    pub(crate) async fn slot(&mut self) -> Slot {
        let permit = self.running.free.clone().acquire_owned().await.expect("the semaphore is never closed");
        self.waiting = None;
        Slot { _place: Place::new(&self.running, permit), _running: metrics::run() }
    }
}

impl Places {
    fn new(count: usize) -> Self {
        let count = count.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(count)), count: Mutex::new(count), surplus: AtomicUsize::new(0) }
    }

    fn resize(&self, new: usize) {
        let new = new.min(Semaphore::MAX_PERMITS);
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let added = new.saturating_sub(*count);
        let removed = count.saturating_sub(new);
        *count = new;
        drop(count);
        let kept = (0..added).take_while(|_| self.spare_one()).count();
        self.free.add_permits(added - kept);
        // Counted before any is taken, so that a place which is given back meanwhile is not missed.
        self.surplus.fetch_add(removed, Ordering::Relaxed);
        let forgotten = self.free.forget_permits(removed);
        for _ in 0..forgotten {
            if !self.spare_one() {
                self.free.add_permits(1);
            }
        }
    }

    /// Takes one from the surplus, if there is one.
    fn spare_one(&self) -> bool {
        self.surplus.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |surplus| surplus.checked_sub(1)).is_ok()
    }
}

impl Place {
    fn new(places: &Arc<Places>, permit: OwnedSemaphorePermit) -> Self {
        Self { permit: Some(permit), places: places.clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take()
            && self.places.spare_one()
        {
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn there_may_be_fewer_and_more_places_later() {
        let slots = Slots::new(2, 1);
        let mut tickets = [slots.admit().unwrap(), slots.admit().unwrap(), slots.admit().unwrap()].map(Some);
        assert!(slots.admit().is_err());
        // Three are there while one may be.
        slots.resize(1, 0);
        for ticket in &mut tickets {
            assert!(slots.admit().is_err());
            *ticket = None;
        }
        let only = slots.admit().unwrap();
        assert!(slots.admit().is_err());
        slots.resize(1, 1);
        let second = slots.admit().unwrap();
        assert!(slots.admit().is_err());
        // Back before anybody has left.
        slots.resize(1, 0);
        slots.resize(2, 0);
        drop((only, second));
        let _both = [slots.admit().unwrap(), slots.admit().unwrap()];
        assert!(slots.admit().is_err());
    }

    #[tokio::test]
    async fn who_waits_goes_on_when_there_is_more_place() {
        let slots = Slots::new(1, 1);
        let (mut first, mut second) = (slots.admit().unwrap(), slots.admit().unwrap());
        let _slot = first.slot().await;
        let waiting = tokio::spawn(async move { second.slot().await });
        tokio::task::yield_now().await;
        slots.resize(2, 1);
        waiting.await.unwrap();
    }
}
