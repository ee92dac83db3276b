//! Models behind HTTP, whatever the protocol.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use futures_util::{FutureExt, StreamExt, TryFutureExt, TryStreamExt, stream};
use proto::session::v1::{Part, part::Kind};
use reqwest::{
    Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue},
};
use serde::Deserialize;
use tracing::Span;

use super::{
    Connections, Embedded, Embedding, Error, Event, EventStream, Model, Profile, Request, Texts, anthropic,
    embeddings::Protocol,
    google,
    http::Body,
    openai,
    provider_error::{self, Secrets},
    responses,
    stream::Events,
    thoughts,
};
use crate::images;

/// The protocol that a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Api {
    /// OpenAI's Chat Completions; vLLM, Ollama, LM Studio, llama.cpp, OpenRouter and others speak it too.
    OpenaiCompletions,
    /// OpenAI's Responses.
    OpenaiResponses,
    /// Anthropic's Messages.
    AnthropicMessages,
    /// Google's Gemini API.
    GoogleGenerativeAi,
}

/// The key that a provider knows us by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    plain: HeaderValue,
    bearer: HeaderValue,
}

/// One provider, asked with one key.
#[derive(Debug)]
pub struct Remote {
    /// The protocol of models that have none of their own.
    pub api: Api,
    /// Shared with the provider's other keys.
    pub connections: Connections,
    /// Checked by [`base_url`].
    pub base_url: Url,
    /// `None` for servers that ask for none.
    pub api_key: Option<ApiKey>,
    /// Whether the key is sent as a bearer token too, for proxies that want it so.
    pub auth_header: bool,
    /// Sent with each request; they beat the protocol's own.
    pub headers: HeaderMap,
}

/// The address of a provider, like `https://api.openai.com/v1`.
pub fn base_url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        Ok(url) => Err(format!("its scheme is `{}`", url.scheme())),
        Err(error) => Err(error.to_string()),
    }
}

/// Headers, none of which is ever shown. Fails with the name of what cannot be one.
pub fn headers(texts: &BTreeMap<String, String>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in texts {
        let mut value = HeaderValue::try_from(value).map_err(|_| name.clone())?;
        value.set_sensitive(true);
        headers.insert(HeaderName::try_from(name).map_err(|_| name.clone())?, value);
    }
    Ok(headers)
}

impl ApiKey {
    /// Fails when the key cannot be sent in a header.
    pub fn new(key: &str) -> Result<Self, InvalidHeaderValue> {
        let sensitive = |text: &str| {
            let mut value = HeaderValue::try_from(text)?;
            value.set_sensitive(true);
            Ok(value)
        };
        Ok(Self { plain: sensitive(key)?, bearer: sensitive(&format!("Bearer {key}"))? })
    }

    #[cfg(test)]
    pub(crate) fn text(&self) -> &str {
        self.plain.to_str().expect("ASCII")
    }
}

impl Api {
    /// As it is configured.
    fn name(self) -> &'static str {
        match self {
            Self::OpenaiCompletions => "openai-completions",
            Self::OpenaiResponses => "openai-responses",
            Self::AnthropicMessages => "anthropic-messages",
            Self::GoogleGenerativeAi => "google-generative-ai",
        }
    }

    fn url(self, base_url: &Url, model: &str) -> Url {
        let mut url = base_url.clone();
        let has_version = base_url.path().trim_end_matches('/').ends_with("/v1");
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty();
            match self {
                Self::OpenaiCompletions => path.extend(["chat", "completions"]),
                Self::OpenaiResponses => path.push("responses"),
                Self::AnthropicMessages if has_version => path.push("messages"),
                Self::AnthropicMessages => path.extend(["v1", "messages"]),
                Self::GoogleGenerativeAi => path.extend(["models", &format!("{model}:streamGenerateContent")]),
            };
        }
        if self == Self::GoogleGenerativeAi {
            url.query_pairs_mut().append_pair("alt", "sse");
        }
        url
    }

    fn headers(self, api_key: Option<&ApiKey>, auth_header: bool) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self == Self::AnthropicMessages {
            headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
        }
        let Some(api_key) = api_key else { return headers };
        match self {
            Self::OpenaiCompletions | Self::OpenaiResponses => {
                headers.insert(AUTHORIZATION, api_key.bearer.clone());
            }
            Self::AnthropicMessages => {
                headers.insert("x-api-key", api_key.plain.clone());
            }
            Self::GoogleGenerativeAi => {
                headers.insert("x-goog-api-key", api_key.plain.clone());
            }
        }
        if auth_header {
            headers.insert(AUTHORIZATION, api_key.bearer.clone());
        }
        headers
    }

    fn body(self, request: &Request, base_url: &Url) -> Result<Vec<u8>, Error> {
        match self {
            Self::OpenaiCompletions => Ok(openai::body(request, base_url)),
            Self::OpenaiResponses => responses::body(request),
            Self::AnthropicMessages => anthropic::body(request),
            Self::GoogleGenerativeAi => google::body(request),
        }
    }

    /// The events of an answer, wherever its bytes are cut.
    pub fn decode(self, bytes: Body) -> EventStream {
        match self {
            Self::OpenaiCompletions => Events::new(bytes, openai::Answer::default()).boxed(),
            Self::OpenaiResponses => Events::new(bytes, responses::Answer::default()).boxed(),
            Self::AnthropicMessages => Events::new(bytes, anthropic::Answer::default()).boxed(),
            Self::GoogleGenerativeAi => Events::new(bytes, google::Answer::new(google::unique_prefix())).boxed(),
        }
    }
}

impl Model for Remote {
    fn stream(&self, request: &Request) -> EventStream {
        let api = request.profile.api.unwrap_or(self.api);
        let origin: Arc<str> = format!("{}/{}", self.connections.provider_id, api.name()).into();
        let request = thoughts::wanted_by(&origin, request);
        let request = without_images(request);
        let body = match api.body(&request, &self.base_url) {
            Ok(body) => body,
            Err(error) => return stream::once(std::future::ready(Err(error))).boxed(),
        };
        let headers = self.headers(api, &request.profile);
        let secrets = Secrets::of(&headers);
        let span = Span::current();
        span.record("server.address", self.base_url.host_str());
        span.record("server.port", self.base_url.port_or_known_default().map(i64::from));
        let question = Question {
            api,
            url: api.url(&self.base_url, &request.model),
            headers,
            connections: self.connections.clone(),
            base_url: self.base_url.clone(),
        };
        let answer = question.ask(body, thoughts::without(&request));
        let events = answer.map(move |answer| answer.map(|bytes| api.decode(bytes))).into_stream().try_flatten();
        let told = move |event| match event {
            Ok(event) => Ok(stamped(event, &origin)),
            Err(error) => Err(provider_error::for_client(error, &secrets)),
        };
        events.map(told).boxed()
    }

    fn embed(&self, texts: &Texts) -> Embedding {
        let api = texts.profile.api.unwrap_or(self.api);
        let Some(protocol) = Protocol::of(api) else {
            return std::future::ready(Err(Error::cannot_embed())).boxed();
        };
        let headers = self.headers(api, &texts.profile);
        let secrets = Secrets::of(&headers);
        let url = protocol.url(&self.base_url, &texts.model);
        let calls = texts.texts.chunks(protocol.most_texts()).map(|some| {
            let body = protocol.body(texts, some);
            (some.len(), self.connections.post_for_whole(url.clone(), headers.clone(), body))
        });
        let calls: Vec<_> = calls.collect();
        let asking = async move {
            let mut embedded = Embedded::default();
            for (count, call) in calls {
                embedded.add(protocol.read(&call.await?, count)?);
            }
            Ok(embedded)
        };
        asking.map_err(move |error| provider_error::for_client(error, &secrets)).boxed()
    }
}

impl Remote {
    /// The protocol's, then the provider's, then the model's own.
    fn headers(&self, api: Api, profile: &Profile) -> HeaderMap {
        let mut headers = api.headers(self.api_key.as_ref(), self.auth_header);
        for (name, value) in self.headers.iter().chain(&profile.headers) {
            headers.insert(name, value.clone());
        }
        headers
    }
}

/// What is to be sent, but for the body.
struct Question {
    api: Api,
    url: Url,
    headers: HeaderMap,
    connections: Connections,
    base_url: Url,
}

impl Question {
    /// Asks once more with the `bare` request when the provider refuses the thoughts in the body: they may have stood in
    /// another prompt, or belong to another account.
    fn ask(self, body: Vec<u8>, bare: Option<Request>) -> impl Future<Output = Result<Body, Error>> + Send + 'static {
        let span = Span::current();
        let asking = self.connections.post(self.url.clone(), self.headers.clone(), body);
        async move {
            let refusal = match asking.await {
                Err(error) if thoughts::may_be_refused(&error) => error,
                answer => return answer,
            };
            let Some(bare) = bare else { return Err(refusal) };
            tracing::warn!(
                gen_ai.provider.name = &*self.connections.provider_id,
                "a model provider may have refused its own thoughts; asking again without them"
            );
            let body = self.api.body(&bare, &self.base_url)?;
            span.in_scope(|| self.connections.post(self.url, self.headers, body)).await
        }
    }
}

/// An event that says whose it is, where that matters.
fn stamped(mut event: Event, ours: &Arc<str>) -> Event {
    match &mut event {
        Event::Thought { origin, .. } | Event::CallSignature { origin, .. } => *origin = Arc::clone(ours),
        Event::Text(_)
        | Event::Refusal(_)
        | Event::Logprobs(_)
        | Event::Reasoning(_)
        | Event::ToolCall(_)
        | Event::Usage(_)
        | Event::Finished(_) => {}
    }
    event
}

/// Tells a model that cannot see where the pictures of earlier turns were; whoever is shown a new one is another model.
fn without_images(request: Cow<'_, Request>) -> Cow<'_, Request> {
    let is_image = |part: &Part| matches!(part.kind, Some(Kind::Image(_)));
    if request.profile.takes_images || !request.messages.iter().flat_map(|message| &message.parts).any(is_image) {
        return request;
    }
    let mut request = request.into_owned();
    let parts = request.messages.iter_mut().flat_map(|message| &mut message.parts);
    parts.filter(|part| is_image(part)).for_each(|part| *part = images::note());
    Cow::Owned(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_follows_the_base_url_and_the_protocol() {
        let check = |api: Api, base: &str, expected: &str| {
            let base = base_url(base).expect("a base URL");
            assert_eq!(api.url(&base, "m/1").as_str(), expected);
        };
        check(Api::OpenaiCompletions, "https://example.com/v1", "https://example.com/v1/chat/completions");
        check(Api::OpenaiCompletions, "http://127.0.0.1:1/v1/", "http://127.0.0.1:1/v1/chat/completions");
        check(Api::OpenaiResponses, "https://example.com/v1?x=1", "https://example.com/v1/responses?x=1");
        check(Api::AnthropicMessages, "https://example.com", "https://example.com/v1/messages");
        check(Api::AnthropicMessages, "https://example.com/a/v1/", "https://example.com/a/v1/messages");
        let google = "https://example.com/v1beta/models/m%2F1:streamGenerateContent?alt=sse";
        check(Api::GoogleGenerativeAi, "https://example.com/v1beta", google);
        assert!(base_url("ftp://example.com").is_err());
        assert!(base_url("nonsense").is_err());
    }

    #[test]
    fn a_key_goes_where_the_protocol_wants_it() {
        let key = ApiKey::new("k").expect("a header");
        let check = |api: Api, auth_header: bool, expected: &[(&str, &str)]| {
            let mut headers = api.headers(Some(&key), auth_header);
            headers.remove(CONTENT_TYPE);
            let mut found: Vec<_> =
                headers.iter().map(|(name, value)| (name.as_str(), value.to_str().expect("ASCII"))).collect();
            found.sort_unstable();
            assert_eq!(found, expected, "{api:?}");
        };
        check(Api::OpenaiCompletions, false, &[("authorization", "Bearer k")]);
        check(Api::OpenaiResponses, true, &[("authorization", "Bearer k")]);
        check(Api::AnthropicMessages, false, &[("anthropic-version", "2023-06-01"), ("x-api-key", "k")]);
        check(Api::GoogleGenerativeAi, true, &[("authorization", "Bearer k"), ("x-goog-api-key", "k")]);
        assert_eq!(format!("{key:?}"), "ApiKey { plain: Sensitive, bearer: Sensitive }");
    }
}
