//! What can be configured, and the way from there to a running service.

mod lifetime;
mod reset;

use std::{net::SocketAddr, path::PathBuf, str::FromStr, sync::Arc};

use serde::Deserialize;
use shared::config::Document;

use crate::{
    Error, Service,
    postgres::{self, Postgres},
    sqlite::Sqlite,
    store::Store,
};
pub use lifetime::Lifetime;
pub(crate) use reset::Reset;
pub use reset::{ResetConfig, ResetMode};

/// The store's configuration, read but not yet acted upon.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where sessions are kept.
    pub database: Database,
    /// Where a store of its own listens.
    pub listen: SocketAddr,
    /// How many calls are served at once.
    pub max_concurrent_calls: usize,
    /// How many connections there are to a database server at most, besides the one that listens.
    pub max_connections: usize,
    /// The section `session`.
    pub session: SessionConfig,
}

/// A database, by its URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// `sqlite:<path>`: a file, which is made if there is none.
    Sqlite(PathBuf),
    /// `postgres://…`: a database at a PostgreSQL server.
    Postgres(Box<postgres::Url>),
}

/// How sessions behave: the section `session`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SessionConfig {
    /// How long a lease lasts without a renewal, in milliseconds, when the caller doesn't say; one hour at most.
    pub lease_ms: u64,
    /// How long a turn waits for another run's lease at most, in milliseconds, whatever the caller says.
    pub wait_ms: u64,
    /// How many of the newest messages a turn begins with when the caller doesn't say; 1000 at most.
    pub window_messages: u32,
    /// How long a session is kept after its last turn.
    pub ttl: Lifetime,
    /// How many of the newest messages of one session are kept; 0 means all.
    pub max_messages: u64,
    /// How long a recorded run is kept.
    pub run_ttl: Lifetime,
    /// How long to rest when nothing is left to delete, in milliseconds.
    pub prune_interval_ms: u64,
    /// When a session begins anew by itself.
    pub reset: Option<ResetConfig>,
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StoreSection {
    listen: SocketAddr,
    database: Option<String>,
    max_concurrent_calls: usize,
    max_connections: usize,
}

impl Default for StoreSection {
    fn default() -> Self {
        let listen = ([127, 0, 0, 1], 18791).into();
        Self { listen, database: None, max_concurrent_calls: 1024, max_connections: 16 }
    }
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            lease_ms: 30_000,
            wait_ms: 30_000,
            window_messages: 200,
            ttl: Lifetime::days(30),
            max_messages: 100_000,
            run_ttl: Lifetime::days(1),
            prune_interval_ms: 60_000,
            reset: None,
        }
    }
}

impl SessionConfig {
    /// The rule for a session that begins now.
    pub(crate) fn reset(&self) -> Reset {
        self.reset.as_ref().map_or(Reset::NEVER, ResetConfig::now)
    }
}

impl Config {
    /// The defaults, for a store that is not configured by a document.
    pub fn new(database: Database, session: SessionConfig) -> Self {
        let StoreSection { listen, max_concurrent_calls, max_connections, .. } = StoreSection::default();
        Self { database, listen, max_concurrent_calls, max_connections, session }
    }

    /// Reads the store's sections. Without a database in them, there is a file in the state folder.
    pub fn load(document: &Document) -> Result<Self, Error> {
        let StoreSection { listen, database, max_concurrent_calls, max_connections } =
            document.section("services.sessionStore")?;
        let default = || format!("sqlite:{}", document.state_dir().join("sessions.db").display());
        let database = database.unwrap_or_else(default).parse()?;
        let session = document.section("session")?;
        Ok(Self { database, listen, max_concurrent_calls, max_connections, session })
    }

    /// Opens the database. A file is made if there is none; a server may be out of reach for now.
    pub async fn build(self) -> Result<Service, Error> {
        let Self { database, max_concurrent_calls, max_connections, session, .. } = self;
        let store: Arc<dyn Store> = match database {
            Database::Sqlite(path) => Arc::new(Sqlite::open(path, max_concurrent_calls).await?),
            Database::Postgres(url) => Arc::new(Postgres::open(*url, max_connections, max_concurrent_calls).await?),
        };
        Ok(Service::new(store, session, max_concurrent_calls))
    }
}

impl FromStr for Database {
    type Err = Error;

    /// Errors don't repeat the URL, which may hold a password.
    fn from_str(url: &str) -> Result<Self, Error> {
        match url.split_once(':') {
            Some(("sqlite", path)) => match path.strip_prefix("//").unwrap_or(path) {
                "" | ":memory:" => Err(Error::Url("names no file".to_owned())),
                path => Ok(Self::Sqlite(path.into())),
            },
            Some(("postgres" | "postgresql", _)) => {
                let url = postgres::Url::parse(url).map_err(|reason| Error::Url(reason.to_owned()))?;
                Ok(Self::Postgres(Box::new(url)))
            }
            Some((scheme, _)) => Err(Error::Url(format!("has the scheme `{scheme}`, which is not supported"))),
            None => Err(Error::Url("has no scheme".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use shared::config::{Environment, Sources};

    use super::*;

    #[test]
    fn a_database_url_names_a_file_or_is_refused() {
        let check = |url: &str, expected: Result<&str, &str>| match (url.parse(), expected) {
            (Ok(Database::Sqlite(path)), Ok(expected)) => assert_eq!(path, PathBuf::from(expected), "{url}"),
            (Err::<Database, Error>(error), Err(reason)) => {
                let expected = format!(
                    "services.sessionStore.database: the URL {reason}; \
                     use sqlite:<path>, for example sqlite:/var/lib/sessions.db, \
                     or postgres://<user>:<password>@<host>:<port>/<database>"
                );
                assert_eq!(error.to_string(), expected, "{url}");
            }
            (outcome, _) => panic!("{url}: {outcome:?}"),
        };
        check("sqlite:/var/lib/sessions.db", Ok("/var/lib/sessions.db"));
        check("sqlite:///var/lib/sessions.db", Ok("/var/lib/sessions.db"));
        check("sqlite:sessions.db", Ok("sessions.db"));
        check("sqlite:", Err("names no file"));
        check("sqlite::memory:", Err("names no file"));
        check("postgres://", Err("names no host"));
        let unreadable =
            "cannot be read; the special characters of a user, password or database name are written as %XX";
        check("postgres://alice:hunter2@db.example.com:port/sessions", Err(unreadable));
        check("mysql://db", Err("has the scheme `mysql`, which is not supported"));
        check("/var/lib/sessions.db", Err("has no scheme"));
        check("", Err("has no scheme"));
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let check = |key, value: u64| {
            assert_eq!(shared::config::documented_default(key), Some(value.to_string().as_str()), "{key}");
        };
        let session = SessionConfig::default();
        check("session.leaseMs", session.lease_ms);
        check("session.waitMs", session.wait_ms);
        check("session.windowMessages", session.window_messages.into());
        check("session.maxMessages", session.max_messages);
        check("session.pruneIntervalMs", session.prune_interval_ms);
        for (key, lifetime) in [("session.ttl", session.ttl), ("session.runTtl", session.run_ttl)] {
            let documented = shared::config::documented_default(key).map(|text| text.parse().ok());
            assert_eq!(documented, Some(Some(lifetime)), "{key}");
        }
        check("services.sessionStore.maxConcurrentCalls", StoreSection::default().max_concurrent_calls as u64);
        check("services.sessionStore.maxConnections", StoreSection::default().max_connections as u64);
        let listen = StoreSection::default().listen.to_string();
        assert_eq!(shared::config::documented_default("services.sessionStore.listen"), Some(listen.as_str()));
    }

    #[test]
    fn settings_are_read_over_their_defaults() {
        let check = |text: &str, expected: (&str, usize, u64, u64, u32)| {
            let environment = Environment::from_iter([("CLAWDBOT_STATE_DIR", "/state")]);
            let sources = Sources { environment, ..Sources::default() };
            let document = Document::from_text(text, Path::new("clawdbot.json"), &sources).unwrap();
            let Config { database, max_concurrent_calls, session, .. } = Config::load(&document).unwrap();
            let SessionConfig { lease_ms, wait_ms, window_messages, .. } = session;
            let Database::Sqlite(path) = database else { panic!("{database:?}") };
            let database = path.to_str().unwrap();
            assert_eq!((database, max_concurrent_calls, lease_ms, wait_ms, window_messages), expected);
        };
        check("{}", ("/state/sessions.db", 1024, 30_000, 30_000, 200));
        check(
            "{services: {sessionStore: {database: 'sqlite:x.db', maxConcurrentCalls: 7}}, session: {leaseMs: 1000}}",
            ("x.db", 7, 1000, 30_000, 200),
        );
    }
}
