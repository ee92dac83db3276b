//! What takes minutes, or needs something from outside: each check has a recipe of its own in the `justfile`, and
//! `cargo test` without its name leaves them out.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on panics, and says on standard error what the processes logged"
)]

#[allow(dead_code, unused_imports, reason = "the end-to-end suite uses what is not used here")]
mod harness;
#[allow(dead_code, unused_imports, reason = "the end-to-end suite uses what is not used here")]
mod provider;

mod fuzzing;
mod published_wire;
mod soak;
mod trace_picture;
#[allow(dead_code, reason = "the end-to-end suite uses what is not used here")]
mod trace_tree;

use std::time::Duration;

/// The longest that a check may take.
const LIMIT: Duration = Duration::from_mins(10);
/// How many clients of each kind vex the gateway at once.
const SOAK_CLIENTS: usize = 1_000;
