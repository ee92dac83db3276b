//! The system as its clients see it: one suite over HTTP, run against one process and against three.
//!
//! Every test starts the real binaries with a state folder, a configuration file and ports of their own, and a
//! provider in this process that records what it is asked and answers as it is told.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on panics, and says on standard error what the processes logged"
)]

mod harness;
mod provider;

mod complaints;
mod contract;
mod history;
mod workspaces;

mod agent_tools;
mod completions;
mod embeddings;
mod fields;
mod images;
mod mcp;
mod streaming;
mod tools;
mod visible_events;

mod conversations;
mod idempotency;
mod kept_responses;
mod ownership;
mod responses;
mod resume;
mod services;
mod session_changes;
mod sessions;
mod sessions_over_http;
mod summaries;

mod caller_limits;
mod connections;
mod error_table;
mod errors;
mod failover;
mod limits;
mod outages;
mod protection;
mod tls;
mod upstream_errors;

mod cancellation;
mod drain;
mod metrics;
mod reload;
mod trace_tree;
mod tracing;

mod agent_command;
mod cli;
mod clients;
mod models;
mod openapi;
mod soak;

use std::time::Duration;

/// The longest that a test may take.
const LIMIT: Duration = Duration::from_mins(1);
/// How many clients of each kind vex the gateway at once.
const SOAK_CLIENTS: usize = 100;
