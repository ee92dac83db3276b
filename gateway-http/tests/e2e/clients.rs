//! Clients that others have written, as their users run them.

use std::{env, path::Path};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    harness::{Gateway, Topology, each_topology, soon},
    provider::Reply,
};

each_topology![openais_python_client_streams_a_chat_with_usage, openais_python_client_raises_its_own_errors,];

/// Runs the script with the official Python client, and reads the JSON that it prints.
#[expect(clippy::disallowed_methods, reason = "nobody hands a test its environment")]
async fn python(gateway: &Gateway) -> Value {
    let python = env::var_os("CLAWDBOT_TEST_PYTHON")
        .expect("CLAWDBOT_TEST_PYTHON is not set: run `just test`, which installs the client first");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/clients/openai_client.py");
    let mut command = Command::new(python);
    command
        .arg(script)
        .env("OPENAI_BASE_URL", format!("{}/v1", gateway.url()))
        .env("OPENAI_API_KEY", "secret")
        .env("NO_PROXY", "127.0.0.1")
        .kill_on_drop(true);
    let output = soon("the client ends", command.output()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn openais_python_client_streams_a_chat_with_usage(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    gateway.provider.answers(Reply::text(&["he", "llo"]));
    let seen = python(&gateway).await;
    let expected = json!({
        "models": true,
        "text": "hello",
        "roles": ["assistant"],
        "finish_reasons": ["stop"],
        "usage": [7, 3, 10],
        "whole": {"text": "hello", "finish_reason": "stop", "usage": [7, 3, 10]},
        "errors": {},
    });
    assert_eq!(seen, expected);
}

async fn openais_python_client_raises_its_own_errors(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    gateway.provider.answers(Reply::stream().delta("half an ans").break_off());
    let seen = python(&gateway).await;
    assert_eq!(seen["text"], "half an ans");
    assert_eq!(seen["errors"], json!({"stream": "APIError", "whole": "InternalServerError"}));
}
