//! Starts the binaries in either topology and talks to them.

mod client;
mod collector;
mod events;
mod gateway;
mod installation;
mod launch;
mod process;
mod topology;
mod traced;

pub(crate) use client::{Answer, Request, assert_error, user};
pub(crate) use collector::{CollectedSpan, Collector};
pub(crate) use events::EventStream;
pub(crate) use gateway::{Gateway, encoded};
pub(crate) use installation::Installation;
pub(crate) use launch::clawdbot;
pub(crate) use process::{Process, Signal};
pub(crate) use topology::{Topology, each_topology, run};
pub(crate) use traced::TracedSpan;

use std::time::Duration;

/// The longest that anything may take which should happen at once, on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for `future`, and panics with `what` when that takes longer than [`DEADLINE`].
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(value) = tokio::time::timeout(DEADLINE, future).await else {
        panic!("{what}: nothing for {} s", DEADLINE.as_secs());
    };
    value
}

/// Polls `condition` until it holds, and panics with `what` when that takes longer than [`DEADLINE`].
///
/// Only for what no event tells: whether a process is ready, or has gone.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
