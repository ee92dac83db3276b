//! `GET /v1/models`: the agents, as models.

use axum::{Json, extract::State};
use serde::Serialize;

use crate::{Gateway, auth::Authenticated, directory::Agents, error::ApiError};

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

/// The default agent under its short names, then every agent.
pub(crate) async fn list(_: Authenticated, State(gateway): State<Gateway>) -> Result<Json<ModelList>, ApiError> {
    let agents = gateway.inner.directory.agents().await?;
    let data = names(&agents).into_iter().map(|id| Model { id, object: "model", created: 0, owned_by: OWNER });
    Ok(Json(ModelList { object: "list", data: data.collect() }))
}

fn names(agents: &Agents) -> Vec<String> {
    let mut names = vec!["clawdbot".to_owned(), "clawdbot/default".to_owned()];
    for id in &agents.ids {
        let name = format!("clawdbot/{id}");
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}
