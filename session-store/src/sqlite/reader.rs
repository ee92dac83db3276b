//! The one thread that reads, beside the one that writes.

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    file::Access,
    worker::{Jobs, Worker},
};
use crate::{
    Error,
    statement::{self, SQLITE},
};

/// The reading thread.
pub(super) struct Reader(Worker<Job>);

type Job = Box<dyn FnOnce(&mut Access) + Send>;

impl Reader {
    pub(super) fn spawn(access: Access) -> Self {
        Self(Worker::spawn("sqlite-reader", move |jobs| read_all(access, &jobs)))
    }

    /// Reads one state of the database, whatever is written meanwhile. `summary` says in traces what it is.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        summary: &str,
        work: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let reading = async {
            let queue = self.0.queue();
            let room = queue.room().await?;
            let (answer, answered) = oneshot::channel();
            queue.send(Box::new(move |access| {
                let _room = room;
                if !answer.is_closed() {
                    let outcome = access.run(|connection| work(&*connection.transaction()?));
                    // The caller may be gone, and nothing is lost with it.
                    let _ = answer.send(outcome);
                }
            }));
            answered.await.map_err(|_| Error::Closed)?
        };
        statement::measured(SQLITE, summary.to_owned(), reading).await
    }

    pub(super) async fn close(&self) {
        self.0.close().await;
    }
}

fn read_all(mut access: Access, jobs: &Jobs<Job>) {
    while let Some(job) = jobs.next() {
        job(&mut access);
    }
}
