//! The decoder of server-sent events.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| agent_runner_fuzz::check_sse(bytes));
