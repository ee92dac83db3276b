//! The one thread that writes: it commits together what has come in together, so that many turns share one wait for
//! the disk.

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{
    file::Access,
    trouble::reason,
    worker::{self, Jobs, Worker},
};
use crate::{
    Error,
    statement::{self, SQLITE},
};

/// How many writes share a transaction at most.
const MAX_BATCH: usize = 256;

/// The writing thread.
pub(super) struct Writer(Worker<Box<dyn Job>>);

/// The way to the writing thread, for who has room already.
#[derive(Clone)]
pub(super) struct Queue(worker::Queue<Box<dyn Job>>);

/// The transaction that a write happens in.
pub(super) struct Write<'a> {
    transaction: &'a Transaction<'a>,
    now_ms: u64,
    released: &'a mut Vec<String>,
}

/// A write: what to do, and how to answer once that is on disk.
trait Job: Send {
    /// Fails only if the database does, and then happens again if the rest of its batch can go on without it.
    fn run(&mut self, write: &mut Write<'_>) -> Result<(), Error>;
    fn answer(self: Box<Self>, committed: Result<(), Error>);
}

struct Pending<T, Work, Answer> {
    work: Work,
    answer: Answer,
    outcome: Option<Result<T, Error>>,
}

impl Writer {
    pub(super) fn spawn(access: Access, released: impl Fn(&str) + Send + 'static) -> Self {
        Self(Worker::spawn("sqlite-writer", move |jobs| write_all(access, &jobs, &released)))
    }

    pub(super) fn queue(&self) -> Queue {
        Queue(self.0.queue())
    }

    /// Writes in a transaction and answers when that is on disk. `work` runs again if its transaction is rolled back
    /// for another's sake; it refuses before it writes, since a refusal rolls nothing back. `summary` says in traces what
    /// it is.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        summary: &str,
        work: impl FnMut(&mut Write<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.write_then(summary, work, |outcome, room| {
            drop(room);
            outcome
        })
        .await
    }

    /// The same, with `wrap` called on what is on disk before it is known whether the caller is still there. It gets
    /// the job's room, to undo the job with if need be.
    pub(super) async fn write_then<T: Send + 'static, R: Send + 'static>(
        &self,
        summary: &str,
        work: impl FnMut(&mut Write<'_>) -> Result<T, Error> + Send + 'static,
        wrap: impl FnOnce(T, OwnedSemaphorePermit) -> R + Send + 'static,
    ) -> Result<R, Error> {
        let writing = async {
            let queue = self.queue();
            let room = queue.0.room().await?;
            let (answer, answered) = oneshot::channel();
            queue.submit(work, move |outcome| {
                // A caller who is gone wants no answer; dropping it undoes what must be undone.
                let _ = answer.send(outcome.map(|outcome| wrap(outcome, room)));
            });
            answered.await.map_err(|_| Error::Closed)?
        };
        statement::measured(SQLITE, summary.to_owned(), writing).await
    }

    pub(super) async fn close(&self) {
        self.0.close().await;
    }
}

impl Queue {
    /// Writes without waiting for room; `answer` owns it.
    pub(super) fn submit<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Write<'_>) -> Result<T, Error> + Send + 'static,
        answer: impl FnOnce(Result<T, Error>) + Send + 'static,
    ) {
        self.0.send(Box::new(Pending { work, answer, outcome: None }));
    }
}

impl Write<'_> {
    pub(super) fn transaction(&self) -> &Transaction<'_> {
        self.transaction
    }

    /// The time by the database's clock.
    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Says that the session's lease is free, which is told to those who wait once this is on disk.
    pub(super) fn release(&mut self, session_key: String) {
        self.released.push(session_key);
    }
}

impl<T, Work, Answer> Job for Pending<T, Work, Answer>
where
    T: Send,
    Work: FnMut(&mut Write<'_>) -> Result<T, Error> + Send,
    Answer: FnOnce(Result<T, Error>) + Send,
{
    fn run(&mut self, write: &mut Write<'_>) -> Result<(), Error> {
        match (self.work)(write) {
            Err(error @ Error::Database(_)) => Err(error),
            outcome => {
                self.outcome = Some(outcome);
                Ok(())
            }
        }
    }

    fn answer(self: Box<Self>, committed: Result<(), Error>) {
        let Self { answer, outcome, .. } = *self;
        answer(committed.and_then(|()| outcome.expect("a batch is committed after all of its jobs have run")));
    }
}

fn write_all(mut access: Access, jobs: &Jobs<Box<dyn Job>>, released: &dyn Fn(&str)) {
    while let Some(first) = jobs.next() {
        let mut batch = vec![first];
        while batch.len() < MAX_BATCH
            && let Some(job) = jobs.next_ready()
        {
            batch.push(job);
        }
        write_batch(&mut access, batch, released);
    }
}

/// Commits the batch, without the jobs that the database refuses, and answers all.
fn write_batch(access: &mut Access, mut batch: Vec<Box<dyn Job>>, released: &dyn Fn(&str)) {
    while !batch.is_empty() {
        let mut culprit = None;
        match access.run(|connection| try_write(connection, &mut batch, &mut culprit)) {
            Ok(session_keys) => {
                batch.drain(..).for_each(|job| job.answer(Ok(())));
                for session_key in session_keys {
                    released(&session_key);
                }
            }
            Err(error) => match culprit {
                Some(index) => batch.remove(index).answer(Err(error)),
                None => batch.drain(..).for_each(|job| job.answer(Err(for_one_of_many(&error)))),
            },
        }
    }
}

/// Commits the whole batch or nothing; says whose leases it released. `culprit` is the job that failed, if it was not
/// the transaction itself.
fn try_write(
    connection: &mut Connection,
    batch: &mut [Box<dyn Job>],
    culprit: &mut Option<usize>,
) -> Result<Vec<String>, Error> {
    // IMMEDIATE, so that waiting for another process happens here and not in the middle.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let now_ms = now_ms(&transaction)?;
    let mut released = Vec::new();
    for (index, job) in batch.iter_mut().enumerate() {
        let mut write = Write { transaction: &transaction, now_ms, released: &mut released };
        job.run(&mut write).inspect_err(|_| *culprit = Some(index))?;
    }
    transaction.commit()?;
    Ok(released)
}

fn for_one_of_many(error: &Error) -> Error {
    if let Error::Database(error) = error { Error::Database(error.clone()) } else { Error::Unavailable(reason(error)) }
}

/// The time by the database's clock.
pub(super) fn now_ms(connection: &Connection) -> Result<u64, rusqlite::Error> {
    connection.prepare_cached("SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)")?.query_row([], |row| row.get(0))
}
