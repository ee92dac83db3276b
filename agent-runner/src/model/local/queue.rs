//! The line in which generations wait for a thread.

use std::{
    collections::VecDeque,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Something that may have become pointless while it waited.
pub(super) trait Abandon {
    /// Whether nobody waits for it any more.
    fn is_abandoned(&self) -> bool;
}

/// A bounded line of jobs.
pub(super) struct Queue<J> {
    line: Mutex<Line<J>>,
    changed: Condvar,
    closed: AtomicBool,
    limit: usize,
}

struct Line<J> {
    waiting: VecDeque<J>,
    /// Threads without a job, those that have not begun to wait for one included.
    free_threads: usize,
}

/// Why a job was not taken.
#[derive(Debug, PartialEq)]
pub(super) enum Refused {
    /// As many jobs wait as may.
    Full,
    /// No job will be done any more.
    Closed,
}

impl<J: Abandon> Queue<J> {
    /// A line for so many threads, in which up to `limit` jobs wait beside those that a free thread takes at once.
    pub(super) fn new(limit: usize, threads: usize) -> Self {
        let line = Line { waiting: VecDeque::new(), free_threads: threads };
        Self { line: Mutex::new(line), changed: Condvar::new(), closed: AtomicBool::new(false), limit }
    }

    /// Puts a job at the end; abandoned ones make room.
    pub(super) fn push(&self, job: J) -> Result<(), Refused> {
        let mut line = self.lock();
        if self.is_closed() {
            return Err(Refused::Closed);
        }
        if line.waiting.len() >= self.limit + line.free_threads {
            line.waiting.retain(|job| !job.is_abandoned());
        }
        if line.waiting.len() >= self.limit + line.free_threads {
            return Err(Refused::Full);
        }
        line.waiting.push_back(job);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for the next job; none when the line is closed. The thread is free again when it says so with
    /// [`Self::done`].
    pub(super) fn pop(&self) -> Option<J> {
        let mut line = self.lock();
        while line.waiting.is_empty() && !self.is_closed() {
            line = self.changed.wait(line).unwrap_or_else(PoisonError::into_inner);
        }
        if self.is_closed() {
            return None;
        }
        line.free_threads -= 1;
        line.waiting.pop_front()
    }

    /// Says that a thread is done with the job that it took.
    pub(super) fn done(&self) {
        self.lock().free_threads += 1;
    }

    /// Ends all waiting and returns the jobs that were not begun.
    pub(super) fn close(&self) -> VecDeque<J> {
        let mut line = self.lock();
        self.closed.store(true, Ordering::Relaxed);
        self.changed.notify_all();
        std::mem::take(&mut line.waiting)
    }

    /// Whether [`Self::close`] was called.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Line<J>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Job {
        number: u8,
        abandoned: bool,
    }

    impl Abandon for Job {
        fn is_abandoned(&self) -> bool {
            self.abandoned
        }
    }

    fn job(number: u8) -> Job {
        Job { number, abandoned: false }
    }

    #[test]
    fn jobs_come_out_in_order_and_only_so_many_wait() {
        let queue = Queue::new(1, 1);
        // One for the thread, though it does not wait yet, and one in line.
        assert_eq!(queue.push(job(1)), Ok(()));
        assert_eq!(queue.push(job(2)), Ok(()));
        assert_eq!(queue.push(job(3)), Err(Refused::Full));
        assert_eq!(queue.pop().map(|job| job.number), Some(1));
        assert_eq!(queue.push(job(3)), Err(Refused::Full));
        queue.done();
        assert_eq!(queue.push(job(3)), Ok(()));
        assert_eq!(queue.pop().map(|job| job.number), Some(2));
        queue.done();
        assert_eq!(queue.pop().map(|job| job.number), Some(3));
    }

    #[test]
    fn an_abandoned_job_makes_room() {
        let queue = Queue::new(0, 1);
        assert_eq!(queue.push(Job { number: 1, abandoned: true }), Ok(()));
        assert_eq!(queue.push(job(2)), Ok(()));
        assert_eq!(queue.pop().map(|job| job.number), Some(2));
    }

    #[test]
    fn closing_wakes_who_waits() {
        let queue = Queue::new(0, 1);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.pop().is_none());
            assert!(queue.close().is_empty());
            assert!(waiting.join().unwrap());
        });
        assert_eq!(queue.push(job(1)), Err(Refused::Closed));
    }
}
