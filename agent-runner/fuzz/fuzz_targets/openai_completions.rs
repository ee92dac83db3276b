//! The decoder of `openai-completions`.
#![no_main]

use agent_runner::model::Api;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| agent_runner_fuzz::check_answer(Api::OpenaiCompletions, bytes));
