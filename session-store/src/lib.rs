//! Maps session keys to sessions and keeps their turns: the service `clawdbot.session.v1.SessionStore`.
//!
//! A turn is begun, which takes the session's lease, and then committed or abandoned, which gives it back. Every write
//! is fenced by the lease's token, so that a run that lost its lease can never write. Nothing is kept in this process
//! but the lines of those who wait; whatever is promised is in the database.

mod config;
mod error;
mod metrics;
mod postgres;
mod prune;
mod request;
mod service;
mod sqlite;
mod statement;
mod store;

pub use config::{Config, Database, Lifetime, ResetConfig, ResetMode, SessionConfig};
pub use error::Error;
pub use postgres::Url as PostgresUrl;
pub use service::Service;
