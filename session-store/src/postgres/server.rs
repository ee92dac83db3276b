//! The server: connections to it, and what becomes of its errors.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType};
use tokio_postgres::{Client, Connection, Row, Socket, config::Host, tls::MakeTlsConnect, types::ToSql};
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::Span;

use super::{advice, outage::Outage, tls, url::Url};
use crate::{
    Error,
    statement::{self, POSTGRESQL},
};

/// How long one call may take: longer than the server lets a statement run, so only a server that is gone is given up.
const DEADLINE: Duration = Duration::from_secs(12);
/// How long a call waits for a connection, which others may have or the server may be slow to give.
const CONNECTION_WAIT: Duration = Duration::from_secs(5);

pub(super) type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// The way to a database.
pub(super) struct Server {
    url: Url,
    tls: MakeRustlsConnect,
    pool: Pool,
    outage: Outage,
    /// Whether the layout is known to be the newest.
    is_ready: AtomicBool,
}

/// Why something could not be done at the server.
#[derive(Debug)]
pub(super) enum Failure {
    Driver(tokio_postgres::Error),
    NewerLayout { found: usize, known: usize },
    Silent,
}

impl Server {
    pub(super) fn new(url: Url, max_connections: usize) -> Result<Self, Error> {
        let tls = tls::connector(&url.trust)?;
        let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = Pool::builder(Manager::from_config(url.config.clone(), tls.clone(), config))
            .max_size(max_connections.max(1))
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CONNECTION_WAIT))
            .create_timeout(Some(CONNECTION_WAIT))
            .build()
            .expect("there is a runtime for the timeouts");
        Ok(Self { url, tls, pool, outage: Outage::default(), is_ready: AtomicBool::new(false) })
    }

    /// A connection of the caller's own.
    pub(super) async fn connect(&self) -> Result<(Client, Connection<Socket, Stream>), tokio_postgres::Error> {
        self.url.config.connect(self.tls.clone()).await
    }

    /// Says that the layout is the newest.
    pub(super) fn set_ready(&self) {
        self.is_ready.store(true, Ordering::Release);
        self.outage.over();
    }

    /// Runs a statement, prepared at its first use. It is a transaction of its own, so it is done or it is not, even if
    /// nobody waits for it any more.
    pub(super) async fn query(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Error> {
        statement::measured(POSTGRESQL, statement::summary(sql), self.ask(sql, parameters)).await
    }

    async fn ask(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Error> {
        let (span, config) = (Span::current(), &self.url.config);
        if let Some(Host::Tcp(host)) = config.get_hosts().first() {
            span.record("server.address", host);
        }
        span.record("server.port", config.get_ports().first().map(|&port| i64::from(port)));
        span.record("db.namespace", config.get_dbname());
        if !self.is_ready.load(Ordering::Acquire) {
            return Err(Error::Unavailable("it was not reached since the start".to_owned()));
        }
        let connection = self.pool.get().await.map_err(|error| self.no_connection(error))?;
        let answering = async {
            let statement = connection.prepare_cached(sql).await?;
            connection.query(&statement, parameters).await
        };
        match tokio::time::timeout(DEADLINE, answering).await {
            Ok(Ok(rows)) => {
                self.outage.over();
                Ok(rows)
            }
            Ok(Err(error)) => Err(self.failed(Failure::Driver(error))),
            Err(_) => {
                // Whoever had it next would wait for the same answer.
                drop(Object::take(connection));
                Err(self.failed(Failure::Silent))
            }
        }
    }

    /// The same, for a statement that answers with one row.
    pub(super) async fn query_one(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Row, Error> {
        self.query(sql, parameters).await?.pop().ok_or_else(|| Error::Unavailable("no row came back".to_owned()))
    }

    /// Takes note of a failure. One that everybody meets is said here, and not again for every call.
    pub(super) fn failed(&self, failure: Failure) -> Error {
        match failure {
            Failure::NewerLayout { found, known } => {
                let error = Error::NewerLayout { found, known };
                self.outage.report(&error.to_string(), "update this program as well");
                error
            }
            Failure::Silent => self.out_of_reach("the server does not answer", advice::SERVER_DOWN),
            Failure::Driver(error) if advice::is_outage(&error) => {
                self.out_of_reach(&advice::in_full(&error), advice::of(&error))
            }
            Failure::Driver(error) => Error::Postgres(error),
        }
    }

    /// Takes note of why there is no connection to listen on. Whatever it is, nothing can be done without one.
    pub(super) fn no_link(&self, failure: Failure) -> Error {
        match failure {
            Failure::Driver(error) => self.out_of_reach(&advice::in_full(&error), advice::of(&error)),
            Failure::NewerLayout { .. } | Failure::Silent => self.failed(failure),
        }
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }

    fn no_connection(&self, error: PoolError) -> Error {
        match error {
            PoolError::Backend(error) => self.failed(Failure::Driver(error)),
            PoolError::Timeout(TimeoutType::Wait) => {
                self.out_of_reach("all connections were in use for too long", advice::MORE_CONNECTIONS)
            }
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) => self.failed(Failure::Silent),
            PoolError::Closed => Error::Closed,
            PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                unreachable!("the pool has a runtime and no hooks")
            }
        }
    }

    fn out_of_reach(&self, reason: &str, advice: &str) -> Error {
        self.outage.report(reason, advice);
        Error::Unavailable(reason.to_owned())
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Driver(error)
    }
}
