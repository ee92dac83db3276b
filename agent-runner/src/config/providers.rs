//! Model providers: which there are, and how each becomes a [`Model`].

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use reqwest::{
    Url,
    header::{AUTHORIZATION, HeaderMap},
};
use serde::Deserialize;
use shared::config::{Document, Environment};

use super::Error;
#[cfg(feature = "local-model")]
use crate::model::local::{LocalModel, weights};
use crate::{
    agents::ModelName,
    model::{Model, Profile, openai},
};

const OPENAI: &str = "openai";
const OPENAI_BASE_URL: &str = "https://api.openai.com/v1";
const OPENAI_DEFAULT_MODEL: &str = "gpt-5-mini";
const LOCAL: &str = "local";

/// The models that the runner can ask, by provider id.
pub(crate) type Models = HashMap<String, Provided>;

/// A provider that is ready.
#[derive(Clone)]
pub(crate) struct Provided {
    /// How it is asked with each of its keys; never empty.
    pub(crate) keys: Vec<Arc<dyn Model>>,
    /// The models that may be asked for; empty means any.
    pub(crate) names: Arc<[String]>,
}

impl Provided {
    /// What is known of one of its models.
    pub(crate) fn profile(&self, _model: &str) -> Arc<Profile> {
        Arc::default()
    }
}

/// One provider, checked.
pub(super) struct Provider {
    kind: Kind,
    names: Arc<[String]>,
}

enum Kind {
    Openai { endpoint: Url, headers: HeaderMap },
    Local(LocalFiles),
}

/// Where the embedded model's weights may be.
#[cfg_attr(not(feature = "local-model"), expect(dead_code, reason = "only the embedded model has weights"))]
struct LocalFiles {
    configured: Option<PathBuf>,
    cache_dir: PathBuf,
}

/// One provider, as configured.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Section {
    base_url: String,
    api_key: String,
    api: Api,
    headers: BTreeMap<String, String>,
    models: Vec<ListedModel>,
    /// Where the weights of a local model are.
    path: Option<PathBuf>,
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

impl Provider {
    fn has_key(&self) -> bool {
        matches!(&self.kind, Kind::Openai { headers, .. } if headers.contains_key(AUTHORIZATION))
    }
}

impl fmt::Debug for Provider {
    /// Leaves out what may be secret: the headers.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Provider").field("names", &self.names).finish_non_exhaustive()
    }
}

/// Reads `models.providers`, and adds what the environment and this build give: `openai` for `OPENAI_API_KEY` or
/// `OPENAI_BASE_URL`, and the embedded model.
pub(super) fn load(document: &Document, environment: &Environment) -> Result<BTreeMap<String, Provider>, Error> {
    let mut sections: BTreeMap<String, Section> = document.section("models.providers")?;
    let (api_key, base_url) = (environment.get("OPENAI_API_KEY"), environment.get("OPENAI_BASE_URL"));
    if api_key.is_some() || base_url.is_some() {
        sections.entry(OPENAI.to_owned()).or_insert_with(|| Section {
            base_url: base_url.unwrap_or(OPENAI_BASE_URL).to_owned(),
            api_key: api_key.unwrap_or_default().to_owned(),
            ..Section::default()
        });
    }
    if cfg!(feature = "local-model") {
        sections.entry(LOCAL.to_owned()).or_insert_with(|| Section { api: Api::Local, ..Section::default() });
    }
    let check = |(id, section): (String, Section)| Ok((id.clone(), section.check(&id, environment)?));
    sections.into_iter().map(check).collect()
}

/// The model of agents that name none: OpenAI's if there is a key, else the first that a provider lists, in the order of
/// the providers' ids, else the embedded one.
pub(super) fn default_model(providers: &BTreeMap<String, Provider>) -> Result<ModelName, Error> {
    let named = |provider: &str, model: &str| ModelName { provider: provider.to_owned(), model: model.to_owned() };
    if providers.get(OPENAI).is_some_and(|openai| openai.has_key() && openai.names.is_empty()) {
        return Ok(named(OPENAI, OPENAI_DEFAULT_MODEL));
    }
    if let Some(first) = providers.get(OPENAI).and_then(|openai| openai.names.first()) {
        return Ok(named(OPENAI, first));
    }
    let first = providers.iter().find_map(|(id, provider)| Some(named(id, provider.names.first()?)));
    if let Some(first) = first {
        return Ok(first);
    }
    if providers.contains_key(OPENAI) {
        return Err(Error::Invalid {
            key: "agents.defaults.model".to_owned(),
            reason: "OPENAI_BASE_URL names a server, but nothing names its model; set CLAWDBOT_MODEL=openai/<name>"
                .to_owned(),
        });
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
    for (id, Provider { kind, names }) in providers {
        let model: Arc<dyn Model> = match kind {
            Kind::Openai { endpoint, headers } => Arc::new(openai::OpenAi::new(&id, endpoint, headers, idle_timeout)?),
            Kind::Local(files) if wanted.contains(&id) => local(&id, files).await?,
            Kind::Local(_) => continue,
        };
        models.insert(id, Provided { keys: vec![model], names });
    }
    Ok(models)
}

#[cfg(feature = "local-model")]
async fn local(_: &str, files: LocalFiles) -> Result<Arc<dyn Model>, Error> {
    let places = weights::Places { configured: files.configured, cache_dir: files.cache_dir };
    let path = weights::find_or_fetch(&places).await?;
    let loading = tokio::task::spawn_blocking(move || LocalModel::load(&path));
    Ok(Arc::new(loading.await.expect("loading does not panic")?))
}

#[cfg(not(feature = "local-model"))]
fn local(id: &str, _: LocalFiles) -> std::future::Ready<Result<Arc<dyn Model>, Error>> {
    std::future::ready(Err(needs_feature(id)))
}

fn needs_feature(id: &str) -> Error {
    invalid(id, "api", "`local` needs a build with the feature `local-model`")
}

impl Section {
    fn check(self, id: &str, environment: &Environment) -> Result<Provider, Error> {
        let names = self.models.iter().map(|model| model.id.clone()).collect();
        let kind = match self.api {
            Api::OpenaiCompletions => self.openai(id)?,
            Api::Local if cfg!(not(feature = "local-model")) => return Err(needs_feature(id)),
            Api::Local => Kind::Local(LocalFiles { configured: self.path, cache_dir: cache_dir(environment) }),
        };
        Ok(Provider { kind, names })
    }

    fn openai(self, id: &str) -> Result<Kind, Error> {
        if self.base_url.is_empty() {
            return Err(invalid(id, "baseUrl", "is needed, for example http://127.0.0.1:11434/v1"));
        }
        let endpoint = openai::endpoint(&self.base_url)
            .map_err(|error| invalid(id, "baseUrl", &format!("`{}` is no http(s) URL: {error}", self.base_url)))?;
        let headers = openai::headers(&self.api_key, &self.headers)
            .map_err(|name| invalid(id, &name, "holds what no HTTP header may"))?;
        Ok(Kind::Openai { endpoint, headers })
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
