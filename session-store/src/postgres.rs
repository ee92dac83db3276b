//! Sessions in PostgreSQL, for any number of replicas.
//!
//! Each call is one statement, most of them a call of a function that the migrations make: one round trip, one
//! transaction, and the database's clock. Nothing is kept in this process but how to wake its own turns that wait; the
//! line that they wait in is a table, so it has one order for all replicas.

pub(crate) mod advice;
mod line;
mod link;
mod outage;
mod runs;
mod schema;
mod server;
mod sessions;
mod tls;
mod transcript;
mod turns;
mod url;
mod waiting;

use std::{sync::Arc, time::Duration};

use proto::session::v1::{CommitTurnResponse, ListMessagesResponse, ListSessionsResponse, Run, Session};
use tokio::{runtime::Handle, sync::Semaphore};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tracing::Instrument;
use uuid::Uuid;

use crate::{
    Error,
    store::{BeginTurn, CommitTurn, Lease, MessagesPage, PutRun, SessionsPage, Store, Turn},
};
use line::{Calls, Next};
use server::Server;
pub use url::Url;

/// How long the start waits for the database to be ready.
const START_WAIT: Duration = Duration::from_secs(15);

/// An open database.
pub(crate) struct Postgres {
    replica: Arc<Replica>,
    draining: CancellationToken,
    closed: CancellationToken,
    // The tasks that go on by themselves end with this.
    _stop: DropGuard,
}

/// This process among those that have the database open.
struct Replica {
    id: Uuid,
    server: Server,
    calls: Calls,
    /// For every call that goes on, though its caller may be gone.
    room: Arc<Semaphore>,
    tasks: TaskTracker,
    runtime: Handle,
}

impl Postgres {
    /// Opens the database and brings its layout up to date; once it can be reached, if it can't be yet. Of `max_calls`
    /// at a time, some may wait.
    pub(crate) async fn open(url: Url, max_connections: usize, max_calls: usize) -> Result<Self, Error> {
        let replica = Arc::new(Replica {
            id: Uuid::new_v4(),
            server: Server::new(url, max_connections)?,
            calls: Calls::new(max_calls),
            room: Arc::new(Semaphore::new(max_calls.min(Semaphore::MAX_PERMITS))),
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
        });
        let closed = CancellationToken::new();
        let link = match tokio::time::timeout(START_WAIT, link::connect(&replica)).await {
            Ok(Ok(link)) => Some(link),
            Ok(Err(error @ Error::NewerLayout { .. })) => return Err(error),
            // It goes on beside what needs no database.
            Ok(Err(_)) | Err(_) => None,
        };
        replica.spawn(link::hold(replica.clone(), link, closed.clone()));
        replica.spawn(line::keep_places(replica.clone(), closed.clone()));
        let stop = closed.clone().drop_guard();
        Ok(Self { replica, draining: CancellationToken::new(), closed, _stop: stop })
    }

    /// Does the work to its end, even if the caller goes away.
    async fn run<T, Work>(&self, work: impl FnOnce(Arc<Replica>) -> Work) -> Result<T, Error>
    where
        T: Send + 'static,
        Work: Future<Output = Result<T, Error>> + Send + 'static,
    {
        if self.closed.is_cancelled() {
            return Err(Error::Closed);
        }
        let room = self.replica.room.clone().acquire_owned().await.map_err(|_| Error::Closed)?;
        let work = work(self.replica.clone());
        let work = async move {
            let _room = room;
            work.await
        };
        self.replica.tasks.spawn(work.in_current_span()).await.map_err(|_| Error::Closed)?
    }
}

impl Replica {
    /// Starts what goes on by itself. Nothing comes of it where the runtime is gone.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, &self.runtime);
    }

    /// Calls who is first in line after a lease was given back, wherever that is.
    fn call(self: &Arc<Self>, next: Option<Next>) {
        match next {
            Some(next) if next.replica == self.id => self.calls.call(next.place),
            Some(next) => self.spawn(link::notify(self.clone(), next)),
            None => {}
        }
    }
}

#[tonic::async_trait]
impl Store for Postgres {
    async fn begin_turn(&self, begin: BeginTurn, wait: Duration) -> Result<Turn, Error> {
        waiting::begin(self, begin, wait).await
    }

    async fn renew_lease(&self, lease: Lease, lease_ms: u64) -> Result<(), Error> {
        self.run(|replica| turns::renew(replica, lease, lease_ms)).await
    }

    async fn commit_turn(&self, commit: CommitTurn) -> Result<CommitTurnResponse, Error> {
        self.run(|replica| turns::commit(replica, commit)).await
    }

    async fn abandon_turn(&self, lease: Lease) -> Result<(), Error> {
        self.run(|replica| turns::abandon(replica, lease)).await
    }

    async fn get_session(&self, session_key: String) -> Result<Session, Error> {
        self.run(|replica| sessions::get(replica, session_key)).await
    }

    async fn list_sessions(&self, page: SessionsPage) -> Result<ListSessionsResponse, Error> {
        self.run(|replica| sessions::list(replica, page)).await
    }

    async fn list_messages(&self, page: MessagesPage) -> Result<ListMessagesResponse, Error> {
        self.run(|replica| transcript::list(replica, page)).await
    }

    async fn reset_session(&self, session_key: String) -> Result<Session, Error> {
        self.run(|replica| sessions::reset(replica, session_key)).await
    }

    async fn delete_session(&self, session_key: String) -> Result<(), Error> {
        self.run(|replica| sessions::delete(replica, session_key)).await
    }

    async fn put_run(&self, put: PutRun) -> Result<Run, Error> {
        self.run(|replica| runs::put(replica, put)).await
    }

    async fn get_run(&self, run_id: String) -> Result<Run, Error> {
        self.run(|replica| runs::get(replica, run_id)).await
    }

    async fn prune(&self, ttl_ms: Option<u64>) -> Result<bool, Error> {
        self.run(|replica| sessions::prune(replica, ttl_ms)).await
    }

    fn drain(&self) {
        self.draining.cancel();
    }

    async fn close(&self) {
        self.closed.cancel();
        self.replica.tasks.close();
        self.replica.tasks.wait().await;
        self.replica.server.close();
    }
}

#[cfg(test)]
mod tests;
