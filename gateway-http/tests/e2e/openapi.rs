//! `GET /openapi.json`: the document says what there is, and what there is is as the document says.

use std::{collections::BTreeSet, env, path::Path};

use serde_json::json;
use tokio::process::Command;

use crate::{
    harness::{Gateway, Topology, each_topology, soon},
    provider::Reply,
};

each_topology![the_document_has_the_methods_of_every_path, every_answer_is_as_the_document_says];

async fn the_document_has_the_methods_of_every_path(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let answer = gateway.request("GET", "/openapi.json").anonymous().send().await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
    for (path, methods) in document["paths"].as_object().unwrap() {
        let documented: BTreeSet<String> =
            methods.as_object().unwrap().keys().map(|name| name.to_uppercase()).collect();
        let path = path.replace("{key}", "x").replace("{id}", "x");
        let answer = gateway.request("PATCH", &path).send().await;
        answer.assert_error(405, "invalid_request_error", "method_not_allowed");
        let allowed = answer.header("allow").split(',').map(|method| method.trim().to_owned());
        // Whoever may read may ask for the head alone.
        let allowed: BTreeSet<String> = allowed.filter(|method| method != "HEAD").collect();
        assert_eq!(documented, allowed, "{path}");
    }
}

/// A script asks for everything once and compares bodies, events and errors with their schemas.
#[expect(clippy::disallowed_methods, reason = "nobody hands a test its environment")]
async fn every_answer_is_as_the_document_says(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let call = json!([{
        "index": 0, "id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{\"a\":1}"},
    }]);
    // Of each, one for an answer and one for a stream.
    for _ in 0..2 {
        gateway.provider.answers_once(Reply::text(&["he", "llo"]));
        gateway.provider.answers_once(Reply::stream().tool_calls(&call).finish("tool_calls").usage(7, 3).done());
        gateway.provider.answers_once(Reply::stream().delta("half").finish("length").usage(7, 3).done());
        gateway.provider.answers_once(Reply::stream().delta("half an ans").break_off());
    }
    let python = env::var_os("CLAWDBOT_TEST_PYTHON").expect("CLAWDBOT_TEST_PYTHON is not set: run `just test`");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/clients/document.py");
    let mut command = Command::new(python);
    command.arg(script).arg(gateway.url()).env("NO_PROXY", "127.0.0.1").kill_on_drop(true);
    let output = soon("the script ends", command.output()).await.unwrap();
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{failed}");
    // What was not asked cannot be wrong.
    assert_eq!(said.trim(), "12 bodies, 16 events, 7 errors");
}
