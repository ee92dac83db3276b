//! `GET /v1/models`: the agents, as models.

use axum::{Json, extract::State};
use serde::Serialize;

use crate::{Gateway, caller::Caller, directory::Agents, error::ApiError};

const OWNER: &str = "clawdbot";

#[derive(Serialize)]
pub(crate) struct ModelList {
    object: &'static str,
    data: Vec<Model>,
}

#[derive(Serialize)]
struct Model {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

/// The default agent under its short names, then every agent; of all these, those that the caller may use.
pub(crate) async fn list(caller: Caller, State(gateway): State<Gateway>) -> Result<Json<ModelList>, ApiError> {
    let agents = gateway.inner.directory.agents().await?;
    let data = names(&agents, &caller).into_iter().map(|id| Model { id, object: "model", created: 0, owned_by: OWNER });
    Ok(Json(ModelList { object: "list", data: data.collect() }))
}

fn names(agents: &Agents, caller: &Caller) -> Vec<String> {
    let mut names = Vec::new();
    if caller.may_use(&agents.default_id) {
        names.extend(["clawdbot".to_owned(), "clawdbot/default".to_owned()]);
    }
    for id in agents.ids.iter().filter(|id| caller.may_use(id)) {
        let name = format!("clawdbot/{id}");
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}
