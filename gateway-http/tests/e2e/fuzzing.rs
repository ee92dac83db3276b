//! Requests that schemathesis makes up from `/openapi.json`, and how the gateway answers them.

use std::{env, path::PathBuf, time::Duration};

use tokio::process::Command;

use crate::harness::{Gateway, Topology, run};

/// The fewest cases that count as a run.
const CASES: u32 = 500;
/// How long the run may take.
const PATIENCE: Duration = Duration::from_mins(4);
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,negative_data_rejection";

#[tokio::test]
async fn every_answer_to_a_made_up_request_is_documented() {
    run(async {
        let mut gateway = Gateway::start(Topology::OneProcess).await;
        // The document's examples speak of this session.
        gateway.ask("hi").user("alice").send().await.content();
        let output = tokio::time::timeout(PATIENCE, schemathesis(&gateway).output()).await;
        let output = output.expect("the run is over in time").unwrap();
        let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        eprintln!("{said}");
        assert!(output.status.success(), "{failed}");
        assert!(cases(&said) >= CASES, "fewer than {CASES} cases");
        assert!(gateway.front().exited().is_none());
        assert!(!gateway.logs().contains("panicked"));
        assert_eq!(gateway.ask("hi").send().await.content(), "hello");
    })
    .await;
}

#[expect(clippy::disallowed_methods, reason = "nobody hands a test its environment")]
fn schemathesis(gateway: &Gateway) -> Command {
    let python = env::var_os("CLAWDBOT_TEST_PYTHON").expect("CLAWDBOT_TEST_PYTHON is not set: run `just fuzz-http`");
    let mut command = Command::new(PathBuf::from(python).with_file_name("schemathesis"));
    command
        .args(["run", &format!("{}/openapi.json", gateway.url())])
        .args(["--header", "Authorization: Bearer secret"])
        .args(["--phases", "examples,coverage,fuzzing"])
        .args(["--checks", CHECKS])
        // One thread: more of them trip over a fault of some versions of Python.
        .args(["--max-examples", "100", "--seed", "1", "--workers", "1", "--continue-on-failure", "--no-color"])
        .env("NO_PROXY", "127.0.0.1")
        .current_dir(gateway.installation().home())
        .kill_on_drop(true);
    command
}

/// The number before `generated` in the summary.
fn cases(said: &str) -> u32 {
    let words: Vec<&str> = said.split_whitespace().collect();
    let before = words.windows(2).filter(|pair| pair[1].starts_with("generated"));
    before.filter_map(|pair| pair[0].parse().ok()).max().unwrap_or_default()
}
