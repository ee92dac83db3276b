//! Model providers: which there are, and how each becomes a [`Model`].

mod known;
mod section;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use reqwest::{Url, header::HeaderMap};
use shared::config::{Document, Environment};

use super::Error;
#[cfg(feature = "local-model")]
use crate::model::local::{LocalModel, weights};
use crate::{
    agents::ModelName,
    model::{Api, ApiKey, Connections, Model, Profile, Remote},
};
use known::{ANTHROPIC, GOOGLE, Known, OPENAI};
use section::Section;

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
    /// What is known of them.
    pub(crate) profiles: Profiles,
}

/// What is known of a provider's models.
#[derive(Clone, Default)]
pub(crate) struct Profiles {
    /// By the models' names.
    listed: Arc<HashMap<String, Arc<Profile>>>,
    /// Of one that is not listed.
    usual: Arc<Profile>,
}

impl Provided {
    /// A provider of which nothing is known but how to ask it.
    pub(crate) fn of(model: Arc<dyn Model>) -> Self {
        Self { keys: vec![model], names: Arc::default(), profiles: Profiles::default() }
    }

    /// What is known of one of its models; the usual of one that is not listed.
    pub(crate) fn profile(&self, model: &str) -> Arc<Profile> {
        Arc::clone(self.profiles.listed.get(model).unwrap_or(&self.profiles.usual))
    }
}

#[cfg(test)]
impl Profiles {
    /// What is known of all models alike.
    pub(crate) fn all(profile: Profile) -> Self {
        Self { listed: Arc::default(), usual: Arc::new(profile) }
    }
}

/// One provider, checked.
pub(super) struct Provider {
    kind: Kind,
    names: Arc<[String]>,
    profiles: Profiles,
}

#[derive(Clone, PartialEq)]
enum Kind {
    Remote(RemoteParts),
    Local(LocalFiles),
}

/// What makes a [`Remote`] of each key, but for the connections.
#[derive(Clone, PartialEq)]
struct RemoteParts {
    api: Api,
    base_url: Url,
    api_keys: Vec<ApiKey>,
    auth_header: bool,
    headers: HeaderMap,
}

/// Where the embedded model's weights may be.
#[derive(Clone, PartialEq)]
struct LocalFiles {
    configured: Option<PathBuf>,
    cache_dir: PathBuf,
}

impl Provider {
    fn has_key(&self) -> bool {
        matches!(&self.kind, Kind::Remote(RemoteParts { api_keys, .. }) if !api_keys.is_empty())
    }
}

impl fmt::Debug for Provider {
    /// Leaves out what may be secret: the keys and headers.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Provider").field("names", &self.names).finish_non_exhaustive()
    }
}

/// Reads `models.providers`, and adds what the environment and this build give: the known providers whose variables are
/// set, and the embedded model.
pub(super) fn load(document: &Document, environment: &Environment) -> Result<BTreeMap<String, Provider>, Error> {
    let mut sections: BTreeMap<String, Section> = document.section("models.providers")?;
    for known in Known::ALL {
        if let Some(section) = sections.get_mut(known.id) {
            known.complete(section, environment);
        } else if let Some(section) = known.section_from(environment) {
            sections.insert(known.id.to_owned(), section);
        }
    }
    if cfg!(feature = "local-model") {
        sections.entry(LOCAL.to_owned()).or_insert_with(Section::local);
    }
    let check = |(id, section): (String, Section)| Ok((id.clone(), section.check(&id, environment)?));
    sections.into_iter().map(check).collect()
}

/// The model of agents that name none: Anthropic's or OpenAI's if there is a key, else the first that a provider lists,
/// in the order of the providers' ids, else Google's if there is a key, else the embedded one.
pub(super) fn default_model(providers: &BTreeMap<String, Provider>) -> Result<ModelName, Error> {
    let named = |provider: &str, model: &str| ModelName { provider: provider.to_owned(), model: model.to_owned() };
    let of_known = |known: &Known| {
        let provider = providers.get(known.id)?;
        let by_key = provider.has_key().then_some(known.default_model);
        Some(named(known.id, provider.names.first().map(String::as_str).or(by_key)?))
    };
    let first_listed = || providers.iter().find_map(|(id, provider)| Some(named(id, provider.names.first()?)));
    let first = of_known(&ANTHROPIC).or_else(|| of_known(&OPENAI)).or_else(first_listed).or_else(|| of_known(&GOOGLE));
    if let Some(first) = first {
        return Ok(first);
    }
    if providers.contains_key(OPENAI.id) {
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
        reason:
            "no model is configured; set OPENAI_API_KEY, ANTHROPIC_API_KEY or GEMINI_API_KEY, or name a model here \
                 and its provider in models.providers, or build with the feature `local-model`"
                .to_owned(),
    })
}

/// Makes the providers ready; the embedded model only if an agent uses it, since it takes memory. What is configured as
/// `before` goes on: connections, and models in memory.
pub(super) async fn build(
    providers: BTreeMap<String, Provider>,
    wanted: &BTreeSet<String>,
    idle_timeout: Duration,
    before: &Ready,
) -> Result<(Models, Ready), Error> {
    let (mut models, mut ready) = (Models::new(), Ready::default());
    for (id, Provider { kind, names, profiles }) in providers {
        let before = before.0.get(&id);
        let provider = match kind {
            Kind::Remote(parts) => parts.build(&id, idle_timeout, before)?,
            Kind::Local(_) if !wanted.contains(&id) => continue,
            Kind::Local(files) => {
                let kind = Kind::Local(files.clone());
                let keys = match before.filter(|before| before.kind == kind) {
                    Some(before) => before.keys.clone(),
                    None => vec![local(&id, files).await?],
                };
                ReadyProvider { kind, connections: None, keys }
            }
        };
        models.insert(id.clone(), Provided { keys: provider.keys.clone(), names, profiles });
        ready.0.insert(id, provider);
    }
    Ok((models, ready))
}

/// The providers of a configuration as they are ready, for the next one.
#[derive(Default)]
pub(crate) struct Ready(HashMap<String, ReadyProvider>);

struct ReadyProvider {
    kind: Kind,
    /// Of a remote one.
    connections: Option<Connections>,
    keys: Vec<Arc<dyn Model>>,
}

impl RemoteParts {
    /// One model for each key, or one without. A key that is used as `before` keeps its model, and all share the
    /// connections that there are.
    fn build(self, id: &str, idle_timeout: Duration, before: Option<&ReadyProvider>) -> Result<ReadyProvider, Error> {
        let before = before.and_then(|before| match before {
            ReadyProvider { kind: Kind::Remote(parts), connections: Some(connections), keys }
                if parts.differs_only_in_keys(&self) && connections.idle_timeout() == idle_timeout =>
            {
                Some((parts.keys(), connections, keys))
            }
            ReadyProvider { .. } => None,
        });
        let connections = match before {
            Some((_, connections, _)) => connections.clone(),
            None => Connections::new(id, idle_timeout)?,
        };
        let model = |(index, api_key): (usize, Option<ApiKey>)| -> Arc<dyn Model> {
            let known = before.as_ref().filter(|(keys, _, _)| keys.get(index) == Some(&api_key));
            if let Some((_, _, models)) = known {
                return models[index].clone();
            }
            Arc::new(Remote {
                api: self.api,
                connections: connections.clone(),
                base_url: self.base_url.clone(),
                api_key,
                auth_header: self.auth_header,
                headers: self.headers.clone(),
            })
        };
        let keys = self.keys().into_iter().enumerate().map(model).collect();
        Ok(ReadyProvider { connections: Some(connections), kind: Kind::Remote(self), keys })
    }

    /// The keys to ask with: each, or none.
    fn keys(&self) -> Vec<Option<ApiKey>> {
        if self.api_keys.is_empty() { vec![None] } else { self.api_keys.iter().cloned().map(Some).collect() }
    }

    fn differs_only_in_keys(&self, other: &Self) -> bool {
        Self { api_keys: other.api_keys.clone(), ..self.clone() } == *other
    }
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

fn invalid(id: &str, field: &str, reason: &str) -> Error {
    Error::Invalid { key: format!("models.providers.{id}.{field}"), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
