//! Model providers: which there are, and how each becomes a [`Model`].

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use serde::Deserialize;
use shared::config::{Document, Environment};

use super::Error;
use crate::{
    agents::ModelName,
    model::{Model, openai},
};

const OPENAI_BASE_URL: &str = "https://api.openai.com/v1";
const OPENAI_DEFAULT_MODEL: &str = "gpt-5-mini";
const LOCAL: &str = "local";

/// The models that the runner can ask, by provider id.
pub(crate) type Models = HashMap<String, Provided>;

/// A provider that is ready.
#[derive(Clone)]
pub(crate) struct Provided {
    pub(crate) model: Arc<dyn Model>,
    /// The models that may be asked for; empty means any.
    pub(crate) names: Arc<[String]>,
}

/// One provider, as configured.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Provider {
    #[serde(default)]
    base_url: String,
    #[serde(default)]
    api_key: String,
    #[serde(default)]
    api: Api,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    models: Vec<ListedModel>,
    /// Where the weights of a local model are.
    #[cfg_attr(not(feature = "local-model"), expect(dead_code, reason = "only the embedded model has weights"))]
    path: Option<PathBuf>,
    /// Where weights that are fetched are kept.
    #[serde(skip)]
    cache_dir: PathBuf,
}

/// The protocol that a provider speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Api {
    #[default]
    OpenaiCompletions,
    Local,
}

#[derive(Debug, Deserialize)]
struct ListedModel {
    id: String,
}

impl fmt::Debug for Provider {
    /// Leaves out what may be secret: the key and the headers.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Provider")
            .field("base_url", &self.base_url)
            .field("api", &self.api)
            .field("models", &self.models)
            .finish_non_exhaustive()
    }
}

/// Reads `models.providers`, and adds what the environment and this build give: `openai` for `OPENAI_API_KEY`, and the
/// embedded model.
pub(super) fn load(document: &Document, environment: &Environment) -> Result<BTreeMap<String, Provider>, Error> {
    let mut providers: BTreeMap<String, Provider> = document.section("models.providers")?;
    if let (Some(api_key), false) = (environment.get("OPENAI_API_KEY"), providers.contains_key("openai")) {
        let base_url = environment.get("OPENAI_BASE_URL").unwrap_or(OPENAI_BASE_URL);
        providers.insert("openai".to_owned(), Provider::new(Api::OpenaiCompletions, base_url, api_key));
    }
    if cfg!(feature = "local-model") {
        providers.entry(LOCAL.to_owned()).or_insert_with(|| Provider::new(Api::Local, "", ""));
    }
    let cache_dir = cache_dir(environment);
    for (id, provider) in &mut providers {
        provider.check(id)?;
        provider.cache_dir.clone_from(&cache_dir);
    }
    Ok(providers)
}

/// The model of agents that name none: OpenAI's if there is a key, else the first that a provider lists, else the
/// embedded one.
pub(super) fn default_model(providers: &BTreeMap<String, Provider>) -> Result<ModelName, Error> {
    let named = |provider: &str, model: &str| ModelName { provider: provider.to_owned(), model: model.to_owned() };
    if let Some(openai) = providers.get("openai") {
        let first = openai.models.first().map_or(OPENAI_DEFAULT_MODEL, |model| &model.id);
        return Ok(named("openai", first));
    }
    let first = providers.iter().find_map(|(id, provider)| Some(named(id, &provider.models.first()?.id)));
    if let Some(first) = first {
        return Ok(first);
    }
    if cfg!(feature = "local-model") {
        return Ok(named(LOCAL, "smollm2-135m-instruct"));
    }
    Err(Error::Invalid {
        key: "agents.defaults.model".to_owned(),
        reason: "no model is configured; set OPENAI_API_KEY, or name a model here and its provider in \
                 models.providers, or build with the feature `local-model`"
            .to_owned(),
    })
}

/// Makes the providers ready; the embedded model only if an agent uses it, since it takes memory.
pub(super) async fn build(
    providers: BTreeMap<String, Provider>,
    wanted: &BTreeSet<String>,
    idle_timeout: Duration,
) -> Result<Models, Error> {
    let mut models = Models::new();
    for (id, provider) in providers {
        let names = provider.models.iter().map(|model| model.id.clone()).collect();
        let model: Arc<dyn Model> = match provider.api {
            Api::OpenaiCompletions => Arc::new(provider.openai(&id, idle_timeout)?),
            Api::Local if wanted.contains(&id) => provider.local().await?,
            Api::Local => continue,
        };
        models.insert(id, Provided { model, names });
    }
    Ok(models)
}

impl Provider {
    fn new(api: Api, base_url: &str, api_key: &str) -> Self {
        Self {
            base_url: base_url.to_owned(),
            api_key: api_key.to_owned(),
            api,
            headers: BTreeMap::new(),
            models: Vec::new(),
            path: None,
            cache_dir: PathBuf::new(),
        }
    }

    fn check(&self, id: &str) -> Result<(), Error> {
        match self.api {
            Api::OpenaiCompletions if self.base_url.is_empty() => {
                Err(invalid(id, "baseUrl", "is needed, for example http://127.0.0.1:11434/v1"))
            }
            Api::Local if cfg!(not(feature = "local-model")) => {
                Err(invalid(id, "api", "`local` needs a build with the feature `local-model`"))
            }
            Api::OpenaiCompletions | Api::Local => Ok(()),
        }
    }

    fn openai(self, id: &str, idle_timeout: Duration) -> Result<openai::OpenAi, Error> {
        let endpoint = openai::endpoint(&self.base_url)
            .map_err(|error| invalid(id, "baseUrl", &format!("`{}` is no http(s) URL: {error}", self.base_url)))?;
        let headers = openai::headers(&self.api_key, &self.headers)
            .map_err(|name| invalid(id, &name, "holds what no HTTP header may"))?;
        Ok(openai::OpenAi::new(id, endpoint, headers, idle_timeout)?)
    }

    #[cfg(feature = "local-model")]
    async fn local(self) -> Result<Arc<dyn Model>, Error> {
        use crate::model::local::{LocalModel, weights};

        let places = weights::Places { configured: self.path, cache_dir: self.cache_dir };
        let path = weights::find_or_fetch(&places).await?;
        let loading = tokio::task::spawn_blocking(move || LocalModel::load(&path));
        Ok(Arc::new(loading.await.expect("loading does not panic")?))
    }

    #[cfg(not(feature = "local-model"))]
    #[expect(clippy::unused_async, reason = "the other build waits")]
    async fn local(self) -> Result<Arc<dyn Model>, Error> {
        unreachable!("`check` refuses local providers in this build")
    }
}

fn invalid(id: &str, field: &str, reason: &str) -> Error {
    Error::Invalid { key: format!("models.providers.{id}.{field}"), reason: reason.to_owned() }
}

/// `$XDG_CACHE_HOME/clawdbot/models`, or the same under `~/.cache`.
fn cache_dir(environment: &Environment) -> PathBuf {
    let caches = match (environment.get("XDG_CACHE_HOME"), environment.get("HOME")) {
        (Some(caches), _) => PathBuf::from(caches),
        (None, Some(home)) => PathBuf::from(home).join(".cache"),
        (None, None) => PathBuf::from(".cache"),
    };
    caches.join("clawdbot").join("models")
}
