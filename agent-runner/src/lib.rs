//! The one agent codepath: every way in (HTTP, `clawdbot agent`) becomes a [`proto::agent::v1::RunRequest`], and every
//! answer is the event stream of one run.

mod agents;
mod bootstrap;
mod config;
mod configured;
mod conversation;
mod embeddings;
mod failover;
mod failure;
mod images;
mod live;
mod mcp;
mod metrics;
pub mod model;
mod prompt;
mod resumable;
mod run;
mod service;
mod slots;
mod tool;
mod turn;
mod web;
mod workspace;

pub use config::{Config, Error};
pub use service::Service;
