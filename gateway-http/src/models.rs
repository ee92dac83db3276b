//! `GET /v1/models`: the agents, as models.

use axum::{
    Json,
    extract::{FromRequestParts, Path, Request, State},
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{Gateway, caller::Caller, directory::Agents, error::ApiError};

const OWNER: &str = "clawdbot";

#[derive(Serialize, JsonSchema)]
pub(crate) struct ModelList {
    object: &'static str,
    data: Vec<Model>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Model {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

/// The default agent under its short names, then every agent; of all these, those that the caller may use.
pub(crate) async fn list(caller: Caller, State(gateway): State<Gateway>) -> Result<Json<ModelList>, ApiError> {
    let agents = gateway.inner.directory.agents().await?;
    let data = names(&agents, &caller).into_iter().map(Model::new).collect();
    Ok(Json(ModelList { object: "list", data }))
}

/// One of those that are listed, by its id; the slash in it may be URL-encoded or not.
pub(crate) async fn get(
    caller: Caller,
    State(gateway): State<Gateway>,
    request: Request,
) -> Result<Json<Model>, ApiError> {
    let (mut parts, _) = request.into_parts();
    let Path(id) = Path::<String>::from_request_parts(&mut parts, &gateway)
        .await
        .map_err(|_| ApiError::invalid_value("id", "must be UTF-8, URL-encoded"))?;
    let agents = gateway.inner.directory.agents().await?;
    let names = names(&agents, &caller);
    if names.contains(&id) {
        Ok(Json(Model::new(id)))
    } else {
        let message = format!("there is no model `{id}`; there are: {}", names.join(", "));
        Err(ApiError::model_not_found(message, "id"))
    }
}

impl Model {
    fn new(id: String) -> Self {
        Self { id, object: "model", created: 0, owned_by: OWNER }
    }
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
