//! The answers as OpenAI's published description has them, by a check that is kept outside of this project.

use std::{env, path::PathBuf};

use tokio::process::Command;

use crate::harness::{Gateway, Topology, each_topology, soon};

each_topology![answers_are_as_published];

#[expect(clippy::disallowed_methods, reason = "nobody hands a test its environment")]
async fn answers_are_as_published(topology: Topology) {
    let set = |name| env::var_os(name).unwrap_or_else(|| panic!("{name} is not set: run `just check-wire FOLDER`"));
    let folder = PathBuf::from(set("CLAWDBOT_TEST_WIRE"));
    let gateway = Gateway::start(topology).await;
    let mut command = Command::new(set("CLAWDBOT_TEST_PYTHON"));
    command
        .arg(folder.join("check_wire.py"))
        .arg(folder.join("chat-completions.openapi.json"))
        .env("BASE_URL", format!("{}/v1", gateway.url()))
        .env("MODEL", "clawdbot")
        .env("API_KEY_ENV", "GATEWAY_TOKEN")
        .env("GATEWAY_TOKEN", "secret")
        .env("NO_PROXY", "127.0.0.1")
        .kill_on_drop(true);
    let output = soon("the check ends", command.output()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("ok check_wire"), "{said}");
}
