//! The tool that tells the model where it is.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::tool::{Error, RunFacts, function::Function};

/// Tells what is known of the run.
pub(super) struct SessionStatus;

/// `session_status` needs nothing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {}

impl Function for SessionStatus {
    const NAME: &'static str = "session_status";
    const DESCRIPTION: &'static str =
        "Say which agent, model, session and run this is, how long the session is, and what time it is.";
    type Arguments = Arguments;

    async fn run(&self, _: Arguments, run: &RunFacts) -> Result<String, Error> {
        Ok(status(run, Timestamp::now()))
    }
}

fn status(run: &RunFacts, now: Timestamp) -> String {
    let RunFacts { run_id, agent_id, session_key, model, message_count } = run;
    let session = session_key.as_deref().unwrap_or("none, this run keeps nothing");
    let time = now.strftime("%F %T UTC");
    format!(
        "agent: {agent_id}\nmodel: {model}\nsession: {session}\nmessages before this run: {message_count}\n\
         run: {run_id}\ntime: {time}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_names_what_is_known() {
        let mut run = crate::tool::builtin::tests::run_facts();
        let now = Timestamp::from_second(1_700_000_000).expect("is in range");
        let expected = "agent: main\nmodel: fake/model\nsession: chat\nmessages before this run: 2\nrun: run-1\n\
                        time: 2023-11-14 22:13:20 UTC";
        assert_eq!(status(&run, now), expected);
        run.session_key = None;
        assert!(status(&run, now).contains("session: none"));
    }
}
