//! `models.providers.<id>` as it is written, and what is wrong with it.

use std::{
    collections::BTreeMap,
    num::{NonZeroU32, NonZeroU64},
    path::PathBuf,
    sync::Arc,
};

use serde::Deserialize;
use shared::config::Environment;

use super::{Kind, LocalFiles, Profiles, Provider, RemoteParts, invalid, needs_feature};
use crate::{
    config::Error,
    model::{self, Api, ApiKey, Compat, MaxTokensField, Profile},
};

/// One provider, as configured.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Section {
    pub(super) base_url: String,
    pub(super) api_key: String,
    api_keys: Vec<String>,
    auth_header: bool,
    pub(super) api: Option<Protocol>,
    headers: BTreeMap<String, String>,
    models: Vec<ListedModel>,
    /// Where the weights of a local model are.
    path: Option<PathBuf>,
}

/// The protocol that a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Protocol {
    OpenaiCompletions,
    OpenaiResponses,
    AnthropicMessages,
    GoogleGenerativeAi,
    /// None: the model is embedded.
    Local,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListedModel {
    id: String,
    #[serde(default)]
    api: Option<Api>,
    #[serde(default)]
    reasoning: bool,
    #[serde(default)]
    input: Option<Vec<Input>>,
    #[serde(default)]
    context_window: Option<NonZeroU64>,
    #[serde(default)]
    max_tokens: Option<NonZeroU32>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    compat: ListedCompat,
}

/// What a model can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Input {
    Text,
    Image,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ListedCompat {
    max_tokens_field: Option<ListedMaxTokensField>,
    supports_developer_role: Option<bool>,
    supports_store: Option<bool>,
    supports_reasoning_effort: Option<bool>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ListedMaxTokensField {
    MaxTokens,
    MaxCompletionTokens,
}

impl Section {
    /// The embedded model, which needs nothing said of it.
    pub(super) fn local() -> Self {
        Self { api: Some(Protocol::Local), ..Self::default() }
    }

    pub(super) fn has_key(&self) -> bool {
        !self.api_key.is_empty() || self.api_keys.iter().any(|key| !key.is_empty())
    }

    pub(super) fn check(self, id: &str, environment: &Environment) -> Result<Provider, Error> {
        let names = self.models.iter().map(|model| model.id.clone()).collect();
        // Of other models it is not known that they do not.
        let usual = Profile { takes_images: self.api != Some(Protocol::Local), ..Profile::default() };
        let profiles = self.models.iter().enumerate().map(|(index, model)| {
            let at_fault = |field: &str| no_header(id, &format!("models[{index}].headers.{field}"));
            Ok((model.id.clone(), Arc::new(model.profile(&usual).map_err(|name| at_fault(&name))?)))
        });
        let listed = Arc::new(profiles.collect::<Result<_, Error>>()?);
        let profiles = Profiles { listed, usual: Arc::new(usual) };
        let kind = match self.api.unwrap_or(Protocol::OpenaiCompletions) {
            Protocol::OpenaiCompletions => Kind::Remote(self.remote(id, Api::OpenaiCompletions)?),
            Protocol::OpenaiResponses => Kind::Remote(self.remote(id, Api::OpenaiResponses)?),
            Protocol::AnthropicMessages => Kind::Remote(self.remote(id, Api::AnthropicMessages)?),
            Protocol::GoogleGenerativeAi => Kind::Remote(self.remote(id, Api::GoogleGenerativeAi)?),
            Protocol::Local if cfg!(not(feature = "local-model")) => return Err(needs_feature(id)),
            Protocol::Local => Kind::Local(self.local_files(id, environment)?),
        };
        Ok(Provider { kind, names, profiles })
    }

    fn remote(self, id: &str, api: Api) -> Result<RemoteParts, Error> {
        if self.base_url.is_empty() {
            return Err(invalid(id, "baseUrl", "is needed, for example http://127.0.0.1:11434/v1"));
        }
        let base_url = model::base_url(&self.base_url)
            .map_err(|error| invalid(id, "baseUrl", &format!("`{}` is no http(s) URL: {error}", self.base_url)))?;
        if self.path.is_some() {
            return Err(invalid(id, "path", "is for the api `local` alone"));
        }
        let listed = self.api_keys.iter().enumerate().map(|(index, key)| (format!("apiKeys[{index}]"), key));
        let keys = std::iter::once(("apiKey".to_owned(), &self.api_key)).chain(listed);
        let api_keys = keys
            .filter(|(_, key)| !key.is_empty())
            .map(|(field, key)| ApiKey::new(key).map_err(|_| no_header(id, &field)))
            .collect::<Result<Vec<_>, Error>>()?;
        if self.auth_header && api_keys.is_empty() {
            return Err(invalid(id, "authHeader", "needs an apiKey to send"));
        }
        let headers = model::headers(&self.headers).map_err(|name| no_header(id, &format!("headers.{name}")))?;
        Ok(RemoteParts { api, base_url, api_keys, auth_header: self.auth_header, headers })
    }

    fn local_files(self, id: &str, environment: &Environment) -> Result<LocalFiles, Error> {
        if let Some(index) = self.models.iter().position(|model| model.api.is_some()) {
            return Err(invalid(id, &format!("models[{index}].api"), "an embedded model speaks no protocol"));
        }
        Ok(LocalFiles { configured: self.path, cache_dir: cache_dir(environment) })
    }
}

impl ListedModel {
    /// Fails with the name of what cannot be a header.
    fn profile(&self, usual: &Profile) -> Result<Profile, String> {
        Ok(Profile {
            api: self.api,
            context_window: self.context_window.map_or(usual.context_window, NonZeroU64::get),
            max_tokens: self.max_tokens.map(NonZeroU32::get),
            reasoning: self.reasoning,
            takes_images: self.input.as_ref().map_or(usual.takes_images, |input| input.contains(&Input::Image)),
            compat: Compat {
                max_tokens_field: self.compat.max_tokens_field.map(|field| match field {
                    ListedMaxTokensField::MaxTokens => MaxTokensField::MaxTokens,
                    ListedMaxTokensField::MaxCompletionTokens => MaxTokensField::MaxCompletionTokens,
                }),
                supports_developer_role: self.compat.supports_developer_role,
                supports_store: self.compat.supports_store,
                supports_reasoning_effort: self.compat.supports_reasoning_effort,
            },
            headers: model::headers(&self.headers)?,
        })
    }
}

fn no_header(id: &str, field: &str) -> Error {
    invalid(id, field, "holds what no HTTP header may")
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
