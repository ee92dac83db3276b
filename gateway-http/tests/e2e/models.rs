//! `GET /v1/models/{id}`: one agent, as a model.

use serde_json::json;

use crate::harness::{Gateway, Topology, each_topology, encoded};

each_topology![
    every_listed_model_is_found_by_its_id,
    an_unknown_model_is_not_found,
    a_token_finds_only_the_models_of_its_agents,
    an_id_that_is_no_text_is_refused,
];

async fn every_listed_model_is_found_by_its_id(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let listed = gateway.request("GET", "/v1/models").send().await.json();
    let models = listed["data"].as_array().unwrap();
    assert_eq!(models.len(), 5, "{listed}");
    for model in models {
        let id = model["id"].as_str().unwrap();
        // OpenAI's clients differ in whether they encode the slash.
        for id in [encoded(id), id.to_owned()] {
            let answer = gateway.request("GET", &format!("/v1/models/{id}")).send().await;
            assert_eq!((answer.status.as_u16(), answer.json()), (200, model.clone()), "{id}");
        }
    }
}

async fn an_unknown_model_is_not_found(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    for id in ["gpt-4o", "clawdbot%2Fghost", "clawdbot/ghost", "clawdbot/main/", "%20"] {
        let answer = gateway.request("GET", &format!("/v1/models/{id}")).send().await;
        let error = answer.assert_error(404, "invalid_request_error", "model_not_found");
        assert!(error["message"].as_str().unwrap().contains("clawdbot/beta"), "{error}");
    }
    let answer = gateway.request("GET", "/v1/models/").send().await;
    answer.assert_error(404, "invalid_request_error", "not_found");
    let answer = gateway.request("GET", "/v1/models/clawdbot").anonymous().send().await;
    answer.assert_error(401, "authentication_error", "invalid_api_key");
}

async fn a_token_finds_only_the_models_of_its_agents(topology: Topology) {
    let tokens = json!([{"name": "bob", "token": "of-bob", "agents": ["beta"]}]);
    let gateway = Gateway::with_config(topology, json!({"gateway": {"auth": {"tokens": tokens}}})).await;
    let get = |id: &str| gateway.request("GET", &format!("/v1/models/{id}")).bearer("of-bob").send();
    assert_eq!(get("clawdbot%2Fbeta").await.status, 200);
    for id in ["clawdbot", "clawdbot%2Fmain"] {
        get(id).await.assert_error(404, "invalid_request_error", "model_not_found");
    }
}

async fn an_id_that_is_no_text_is_refused(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let answer = gateway.request("GET", "/v1/models/%FF").send().await;
    let error = answer.assert_error(400, "invalid_request_error", "invalid_value");
    assert_eq!(error["param"], "id");
}
