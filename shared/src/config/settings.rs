//! The one table of settings: their keys, environment variables, types and defaults.

use serde_json::Value;

use super::path::KeyPath;

/// One setting of ours.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its place; `<id>` stands for any name and `[]` for any index.
    pub key: &'static str,
    /// The environment variable that beats the file.
    pub environment: Option<&'static str>,
    /// What its value is.
    pub kind: Kind,
    /// The default in words; empty when there is none.
    pub default: &'static str,
    /// What it is for.
    pub help: &'static str,
    /// Whether a process that runs keeps the value it started with.
    pub needs_restart: bool,
}

/// What the value of a setting is, which decides how the text of a variable or flag is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// Text that no message and no `Debug` output may show.
    Secret,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// A value with a shape of its own, checked by the crate that reads it.
    Structure,
}

impl Kind {
    /// Reads text from outside the file; nothing when it is not of this kind.
    pub(super) fn read(self, text: &str) -> Option<Value> {
        match self {
            Self::Text | Self::Secret | Self::Structure => Some(text.into()),
            Self::Integer => {
                let unsigned = text.parse::<u64>().map(Value::from);
                unsigned.or_else(|_| text.parse::<i64>().map(Value::from)).ok()
            }
            Self::Boolean => text.parse::<bool>().map(Value::from).ok(),
        }
    }

    /// Returns the kind with its article, for messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Text | Self::Secret => "a string",
            Self::Integer => "an integer",
            Self::Boolean => "true or false",
            Self::Structure => "a value",
        }
    }
}

/// Returns the setting at a place.
pub(super) fn find(path: &KeyPath) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| path.matches(setting.key))
}

/// Whether a place is a secret's or lies within one.
pub(super) fn is_secret(path: &KeyPath) -> bool {
    let secret = |setting: &&Setting| setting.kind == Kind::Secret;
    let mut secrets = SETTINGS.iter().filter(secret);
    secrets.any(|setting| path.is_within_pattern(setting.key))
}

impl Setting {
    const fn new(key: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Self {
        Self { key, environment: None, kind, default, help, needs_restart: false }
    }

    const fn or_environment(self, name: &'static str) -> Self {
        Self { environment: Some(name), ..self }
    }

    const fn needs_restart(self) -> Self {
        Self { needs_restart: true, ..self }
    }
}

/// Every setting there is.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    Setting::new("gateway.port", Kind::Integer, "18789", "port for HTTP").or_environment("CLAWDBOT_GATEWAY_PORT").needs_restart(),
    Setting::new("gateway.bind", Kind::Text, "loopback", "address to listen on: `loopback`, `lan` or an IP address").or_environment("CLAWDBOT_GATEWAY_BIND").needs_restart(),
    Setting::new("gateway.auth.mode", Kind::Text, "follows which secret is set", "`token`, `password`, `trusted-proxy` or `none`"),
    Setting::new("gateway.auth.token", Kind::Secret, "made at the first start on loopback", "secret of token mode").or_environment("CLAWDBOT_GATEWAY_TOKEN"),
    Setting::new("gateway.auth.tokenFile", Kind::Text, "", "file with the secret of token mode, in its place; read again when it changes"),
    Setting::new("gateway.auth.password", Kind::Secret, "", "secret of password mode").or_environment("CLAWDBOT_GATEWAY_PASSWORD"),
    Setting::new("gateway.auth.tokens[].name", Kind::Text, "", "name of a token, and of the namespace its sessions are in"),
    Setting::new("gateway.auth.tokens[].token", Kind::Secret, "", "secret of a token"),
    Setting::new("gateway.auth.tokens[].tokenFile", Kind::Text, "", "file with the secret of a token, in its place; read again when it changes"),
    Setting::new("gateway.auth.tokens[].agents", Kind::Structure, "every agent", "list of the agents that a token may use"),
    Setting::new("gateway.auth.tokens[].limits.requestsPerMinute", Kind::Integer, "gateway.limits.requestsPerMinute", "requests that a token may make in a minute; 0 for any number"),
    Setting::new("gateway.auth.tokens[].limits.requestBurst", Kind::Integer, "its requestsPerMinute", "of these, how many at once"),
    Setting::new("gateway.auth.tokens[].limits.maxRuns", Kind::Integer, "gateway.limits.maxRunsPerToken", "runs that a token may have in flight; 0 for any number"),
    Setting::new("gateway.auth.tokens[].limits.maxStreams", Kind::Integer, "gateway.limits.maxStreamsPerToken", "of these, how many streams"),
    Setting::new("gateway.auth.trustedProxy.userHeader", Kind::Text, "", "header in which a trusted proxy names the user"),
    Setting::new("gateway.auth.trustedProxy.requiredHeaders", Kind::Structure, "none", "list of headers that the proxy must send too"),
    Setting::new("gateway.auth.trustedProxy.allowUsers", Kind::Structure, "all", "list of the users that may come in"),
    Setting::new("gateway.auth.trustedProxy.allowLoopback", Kind::Boolean, "false", "whether the proxy may be on the same machine"),
    Setting::new("gateway.auth.rateLimit.maxAttempts", Kind::Integer, "10", "wrong secrets that a client may show within the window; 0 for any number"),
    Setting::new("gateway.auth.rateLimit.windowMs", Kind::Integer, "60000", "the window"),
    Setting::new("gateway.auth.rateLimit.lockoutMs", Kind::Integer, "300000", "time for which a client is refused that showed as many"),
    Setting::new("gateway.auth.rateLimit.exemptLoopback", Kind::Boolean, "true", "whether clients on the same machine are answered later and later instead"),
    Setting::new("gateway.trustedProxies", Kind::Structure, "none", "list of proxies, by IP address or CIDR, whose `X-Forwarded-For` is believed"),
    Setting::new("gateway.limits.maxConnections", Kind::Integer, "4096", "open connections; more are closed at once"),
    Setting::new("gateway.limits.maxHeaderBytes", Kind::Integer, "32768", "largest head of a request"),
    Setting::new("gateway.limits.maxHeaders", Kind::Integer, "80", "most headers of a request"),
    Setting::new("gateway.limits.maxBodyBytesInFlight", Kind::Integer, "134217728", "bytes of all requests that are held until their models begin to answer, each of which takes two or three times that in memory; more are refused").needs_restart(),
    Setting::new("gateway.limits.maxConcurrentRequests", Kind::Integer, "200", "requests in flight over one HTTP/2 connection"),
    Setting::new("gateway.limits.requestsPerMinute", Kind::Integer, "0", "requests that each token, user or, where no secret is needed, address may make in a minute; 0 for any number"),
    Setting::new("gateway.limits.requestBurst", Kind::Integer, "requestsPerMinute", "of these, how many at once"),
    Setting::new("gateway.limits.maxRunsPerToken", Kind::Integer, "0", "runs that each of them may have in flight; 0 for any number"),
    Setting::new("gateway.limits.maxStreamsPerToken", Kind::Integer, "0", "of these, how many streams; 0 for any number"),
    Setting::new("gateway.tls.enabled", Kind::Boolean, "false", "whether clients speak TLS").needs_restart(),
    Setting::new("gateway.tls.certPath", Kind::Text, "`<state>/gateway/tls/gateway-cert.pem`", "certificate with its chain, in PEM; read again when it changes").needs_restart(),
    Setting::new("gateway.tls.keyPath", Kind::Text, "`<state>/gateway/tls/gateway-key.pem`", "its private key, likewise").needs_restart(),
    Setting::new("gateway.tls.autoGenerate", Kind::Boolean, "true, unless `certPath` is set", "whether a certificate that signs itself is made where there is none").needs_restart(),
    Setting::new("gateway.tls.handshakeTimeoutMs", Kind::Integer, "10000", "time for a TLS handshake").needs_restart(),
    Setting::new("gateway.drainMs", Kind::Integer, "30000", "time for open requests to end at shutdown"),
    Setting::new("gateway.http.maxBodyBytes", Kind::Integer, "20971520", "largest request body"),
    Setting::new("gateway.http.bodyTimeoutMs", Kind::Integer, "30000", "time for a request body to arrive"),
    Setting::new("gateway.http.headTimeoutMs", Kind::Integer, "30000", "time for a request's head to arrive, also of the next one over a connection"),
    Setting::new("gateway.http.keepAliveMs", Kind::Integer, "15000", "pause after which an idle stream gets a comment"),
    Setting::new("gateway.http.sessionHeaders", Kind::Structure, "none", "list of headers of which the first that is there names the conversation that a request belongs to"),
    Setting::new("gateway.http.onDisconnect", Kind::Text, "cancel", "what becomes of a run whose client hangs up: `cancel` or `continue`"),
    Setting::new("gateway.http.cors.origins", Kind::Structure, "none", "list of the origins whose pages may use the gateway, such as `https://example.com`, or `*`"),
    Setting::new("gateway.http.cors.maxAgeSeconds", Kind::Integer, "600", "time for which a browser may keep what it was told of them"),
    Setting::new("gateway.http.strictTransportSecurity", Kind::Text, "", "value of `Strict-Transport-Security`, sent with every answer"),
    Setting::new("gateway.http.endpoints.chatCompletions.enabled", Kind::Boolean, "true", "whether `/v1/chat/completions` is served"),
    Setting::new("gateway.http.endpoints.chatCompletions.images.allowUrl", Kind::Boolean, "false", "whether pictures at http(s) URLs are fetched, only from the public internet"),
    Setting::new("gateway.http.endpoints.chatCompletions.images.urlAllowlist", Kind::Structure, "every host", "list of the hosts that they are fetched from: `example.com`, `*.example.com`"),
    Setting::new("gateway.http.endpoints.chatCompletions.images.allowedMimes", Kind::Structure, "image/jpeg, image/png, image/gif, image/webp, image/heic, image/heif", "list of the types of pictures that are taken, told by their first bytes"),
    Setting::new("gateway.http.endpoints.chatCompletions.images.maxBytes", Kind::Integer, "10485760", "largest picture"),
    Setting::new("gateway.http.endpoints.chatCompletions.images.maxRedirects", Kind::Integer, "3", "redirects that are followed to a picture"),
    Setting::new("gateway.http.endpoints.chatCompletions.images.timeoutMs", Kind::Integer, "10000", "time to fetch a picture"),
    Setting::new("gateway.http.endpoints.chatCompletions.maxImageParts", Kind::Integer, "8", "pictures that a model is shown at most; more new ones are refused, of earlier ones the newest are shown"),
    Setting::new("gateway.http.endpoints.chatCompletions.maxTotalImageBytes", Kind::Integer, "20971520", "bytes that they may have together, likewise"),
    Setting::new("gateway.http.endpoints.responses.enabled", Kind::Boolean, "true", "whether `/v1/responses` is served"),
    Setting::new("gateway.http.endpoints.embeddings.enabled", Kind::Boolean, "true", "whether `/v1/embeddings` is served"),
    Setting::new("gateway.http.endpoints.embeddings.maxInputs", Kind::Integer, "128", "texts of one request"),
    Setting::new("gateway.http.endpoints.embeddings.maxInputChars", Kind::Integer, "8192", "characters of one text"),
    Setting::new("gateway.http.endpoints.embeddings.maxTotalChars", Kind::Integer, "65536", "characters of all texts of a request"),

    Setting::new("services.tls.certPath", Kind::Text, "", "certificate with its chain, in PEM, that this service shows to others; with it they speak TLS, and each shows one").or_environment("CLAWDBOT_SERVICES_TLS_CERT").needs_restart(),
    Setting::new("services.tls.keyPath", Kind::Text, "", "its private key").or_environment("CLAWDBOT_SERVICES_TLS_KEY").needs_restart(),
    Setting::new("services.tls.caPath", Kind::Text, "", "certificates of the authorities that have signed those of all services; all three files are read again when they change").or_environment("CLAWDBOT_SERVICES_TLS_CA").needs_restart(),
    Setting::new("services.tls.serverName", Kind::Text, "the host of the URL", "name that the certificates of the services are for").or_environment("CLAWDBOT_SERVICES_TLS_SERVER_NAME").needs_restart(),
    Setting::new("services.token", Kind::Secret, "", "secret that services show each other; of several, separated by commas, the first is shown and all are taken").or_environment("CLAWDBOT_SERVICES_TOKEN").needs_restart(),
    Setting::new("services.allowInsecure", Kind::Boolean, "false", "whether a runner or store may be reached from other machines without either").or_environment("CLAWDBOT_SERVICES_ALLOW_INSECURE").needs_restart(),
    Setting::new("services.agentRunner.url", Kind::Text, "http://127.0.0.1:18790, https with services.tls", "runners as seen by the gateway, separated by commas").or_environment("CLAWDBOT_AGENT_RUNNER_URL").needs_restart(),
    Setting::new("services.agentRunner.listen", Kind::Text, "127.0.0.1:18790", "address the runner listens on").or_environment("CLAWDBOT_AGENT_RUNNER_LISTEN").needs_restart(),
    Setting::new("services.agentRunner.maxConcurrentCalls", Kind::Integer, "4096", "calls at a time, runs included; more are refused").needs_restart(),
    Setting::new("services.agentRunner.drainMs", Kind::Integer, "30000", "time for open runs to end at shutdown").needs_restart(),
    Setting::new("services.agentRunner.advertiseUrl", Kind::Text, "that of `listen`", "URL at which other runners reach this one").or_environment("CLAWDBOT_AGENT_RUNNER_ADVERTISE_URL").needs_restart(),
    Setting::new("services.sessionStore.url", Kind::Text, "http://127.0.0.1:18791, likewise", "stores as seen by the runner and the gateway, separated by commas").or_environment("CLAWDBOT_SESSION_STORE_URL").needs_restart(),
    Setting::new("services.sessionStore.listen", Kind::Text, "127.0.0.1:18791", "address the store listens on").or_environment("CLAWDBOT_SESSION_STORE_LISTEN").needs_restart(),
    Setting::new("services.sessionStore.database", Kind::Secret, "`sqlite:<state>/sessions.db`", "where sessions are kept: a file, or `postgres://<user>:<password>@<host>:<port>/<database>`").or_environment("CLAWDBOT_SESSION_STORE_DATABASE").needs_restart(),
    Setting::new("services.sessionStore.maxConcurrentCalls", Kind::Integer, "1024", "calls at a time, more are refused").needs_restart(),
    Setting::new("services.sessionStore.maxConnections", Kind::Integer, "16", "connections of one store to PostgreSQL").needs_restart(),
    Setting::new("services.sessionStore.callTimeoutMs", Kind::Integer, "10000", "time for one call to the store").needs_restart(),

    Setting::new("admin.listen", Kind::Text, "off", "address for `/metrics`, `/healthz` and `/readyz`").or_environment("CLAWDBOT_ADMIN_LISTEN").needs_restart(),
    Setting::new("admin.maxConnections", Kind::Integer, "64", "connections there at a time; more wait").needs_restart(),

    Setting::new("log.format", Kind::Text, "`text` on a terminal, `json` otherwise", "how log lines look").or_environment("CLAWDBOT_LOG_FORMAT").needs_restart(),

    Setting::new("models.providers.<id>.api", Kind::Text, "openai-completions; their own for `anthropic` and `google`", "protocol of the provider: `openai-completions`, `openai-responses`, `anthropic-messages`, `google-generative-ai` or `local`"),
    Setting::new("models.providers.<id>.baseUrl", Kind::Text, "the environment's or its own for `anthropic`, `openai` and `google`", "address of the provider"),
    Setting::new("models.providers.<id>.path", Kind::Text, "", "file of a local model's weights"),
    Setting::new("models.providers.<id>.apiKey", Kind::Secret, "the environment's for those three, without a `baseUrl`", "key for the provider"),
    Setting::new("models.providers.<id>.apiKeys[]", Kind::Secret, "", "more keys for the provider"),
    Setting::new("models.providers.<id>.authHeader", Kind::Boolean, "false", "whether the key is also sent as `Authorization: Bearer`, where the protocol has another header for it"),
    Setting::new("models.providers.<id>.headers.<name>", Kind::Secret, "", "header for each request to the provider"),
    Setting::new("models.providers.<id>.models[].id", Kind::Text, "", "name of a model at the provider"),
    Setting::new("models.providers.<id>.models[].api", Kind::Text, "that of the provider", "protocol of a model"),
    Setting::new("models.providers.<id>.models[].reasoning", Kind::Boolean, "false", "whether a model can think before it answers"),
    Setting::new("models.providers.<id>.models[].input", Kind::Structure, "text and pictures", "list of what a model can be shown: `text`, `image`"),
    Setting::new("models.providers.<id>.models[].contextWindow", Kind::Integer, "200000", "most tokens of prompt and answer together"),
    Setting::new("models.providers.<id>.models[].maxTokens", Kind::Integer, "the request's; 8192 where the protocol needs one", "most tokens of an answer"),
    Setting::new("models.providers.<id>.models[].headers.<name>", Kind::Secret, "", "header for each request for a model"),
    Setting::new("models.providers.<id>.models[].compat", Kind::Structure, "follows from the address", "where a server deviates: `maxTokensField`, `supportsDeveloperRole`, `supportsStore`, `supportsReasoningEffort`"),

    Setting::new("agents.defaults.model", Kind::Structure, "Anthropic's or OpenAI's if there is a key, else the first that is listed, else Google's if there is a key, else the embedded one", "`provider/model`, or an object with it as `primary`").or_environment("CLAWDBOT_MODEL"),
    Setting::new("agents.defaults.model.primary", Kind::Text, "", "`provider/model`"),
    Setting::new("agents.defaults.model.fallbacks", Kind::Structure, "none", "list of models, `provider/model`, that are asked in this order when that one does not answer"),
    Setting::new("agents.defaults.systemPrompt", Kind::Text, "", "start of every prompt"),
    Setting::new("agents.defaults.timeoutSeconds", Kind::Integer, "600", "time for one run"),
    Setting::new("agents.defaults.idleTimeoutSeconds", Kind::Integer, "120", "longest silence of a provider"),
    Setting::new("agents.defaults.maxConcurrent", Kind::Integer, "1024", "runs of one runner at a time"),
    Setting::new("agents.defaults.maxQueued", Kind::Integer, "1024", "runs that wait for one of those to end; more are refused"),
    Setting::new("agents.defaults.maxModelCalls", Kind::Integer, "32", "questions to a model in one run; the last one offers no tools"),
    Setting::new("agents.defaults.maxToolCalls", Kind::Integer, "128", "calls of the agent's own tools in one run"),
    Setting::new("agents.defaults.maxParallelTools", Kind::Integer, "8", "calls of one answer that go on at a time"),
    Setting::new("agents.defaults.toolTimeoutSeconds", Kind::Integer, "60", "time for one call of a tool"),
    Setting::new("agents.defaults.toolOutputMaxChars", Kind::Integer, "50000", "characters of a tool's result that reach the model; the middle of a longer one is left out"),
    Setting::new("agents.defaults.modelRetries", Kind::Integer, "2", "times that a model is asked again after a failure that may pass"),
    Setting::new("agents.defaults.modelRetryMaxDelayMs", Kind::Integer, "5000", "longest pause before that; a provider that asks for more is given up"),
    Setting::new("agents.defaults.compaction.reserveTokensFloor", Kind::Integer, "20000", "tokens of a model's context, at most a quarter of it, that a prompt leaves free: before it would take them, the oldest messages are summed up"),
    Setting::new("agents.defaults.compaction.keepRecentTokens", Kind::Integer, "20000", "tokens of the newest messages, at most a quarter of the context, that are never summed up"),
    Setting::new("agents.defaults.workspace", Kind::Text, "`~/clawd`", "folder of the default agent; a relative one is in the configuration file's folder"),
    Setting::new("agents.defaults.bootstrapMaxChars", Kind::Integer, "20000", "characters of such a file that a prompt takes; from a longer one the middle is left out"),
    Setting::new("agents.defaults.userTimezone", Kind::Text, "UTC", "time zone of the date in prompts, such as `Europe/Rome`"),
    Setting::new("agents.defaults.memorySearch.provider", Kind::Text, "openai", "provider of the model that makes embeddings"),
    Setting::new("agents.defaults.memorySearch.model", Kind::Text, "text-embedding-3-small; gemini-embedding-001 for `google`", "name of that model at its provider"),
    Setting::new("agents.list[].id", Kind::Text, "main", "name of an agent"),
    Setting::new("agents.list[].default", Kind::Boolean, "the first agent", "whether requests that name no agent go to it"),
    Setting::new("agents.list[].name", Kind::Text, "", "name for people"),
    Setting::new("agents.list[].model", Kind::Structure, "agents.defaults.model", "as there"),
    Setting::new("agents.list[].model.primary", Kind::Text, "", "`provider/model`"),
    Setting::new("agents.list[].model.fallbacks", Kind::Structure, "agents.defaults.model.fallbacks", "as there"),
    Setting::new("agents.list[].systemPrompt", Kind::Text, "agents.defaults.systemPrompt", "start of an agent's prompt"),
    Setting::new("agents.list[].workspace", Kind::Text, "`~/clawd-<id>`, the default agent's as above", "folder of an agent, likewise"),
    Setting::new("agents.list[].memorySearch.provider", Kind::Text, "agents.defaults.memorySearch.provider", "as there, for one agent"),
    Setting::new("agents.list[].memorySearch.model", Kind::Text, "agents.defaults.memorySearch.model", "as there, for one agent"),
    Setting::new("skills.limits.maxSkillsInPrompt", Kind::Integer, "150", "skills of a workspace that a prompt lists"),
    Setting::new("agents.list[].tools.profile", Kind::Text, "tools.profile", "as there, for one agent"),
    Setting::new("agents.list[].tools.alsoAllow", Kind::Structure, "tools.alsoAllow", "as there, instead of it"),
    Setting::new("agents.list[].tools.allow", Kind::Structure, "all", "list of the tools that the agent may use; it only takes away"),
    Setting::new("agents.list[].tools.deny", Kind::Structure, "", "list of tools that it may not"),
    Setting::new("agents.list[].tools.exec.security", Kind::Text, "tools.exec.security", "as there or stricter, for one agent"),
    Setting::new("agents.list[].tools.byProvider.<id>.profile", Kind::Text, "", "as in `tools.byProvider`, for one agent"),
    Setting::new("agents.list[].tools.byProvider.<id>.alsoAllow", Kind::Structure, "", "as in `tools.byProvider`, for one agent"),
    Setting::new("agents.list[].tools.byProvider.<id>.allow", Kind::Structure, "all", "as in `tools.byProvider`, for one agent"),
    Setting::new("agents.list[].tools.byProvider.<id>.deny", Kind::Structure, "", "as in `tools.byProvider`, for one agent"),

    Setting::new("tools.profile", Kind::Text, "minimal", "tools to start from: `minimal`, `coding`, `messaging` or `full`; without any `tools` block an agent has no tools"),
    Setting::new("tools.alsoAllow", Kind::Structure, "", "list of tools beside those of the profile: names, `group:<name>` and `*` wildcards"),
    Setting::new("tools.allow", Kind::Structure, "all", "list of the tools that may be used, likewise"),
    Setting::new("tools.deny", Kind::Structure, "", "list of tools that may not, likewise; it beats every other list"),
    Setting::new("tools.byProvider.<id>.profile", Kind::Text, "", "`minimal`, `coding`, `messaging` or `full`, for a provider's models or for one `provider/model`; it only takes away"),
    Setting::new("tools.byProvider.<id>.alsoAllow", Kind::Structure, "", "list of tools beside those of that profile"),
    Setting::new("tools.byProvider.<id>.allow", Kind::Structure, "all", "list of the tools that those models may use"),
    Setting::new("tools.byProvider.<id>.deny", Kind::Structure, "", "list of the tools that they may not"),
    Setting::new("tools.mcp.servers.<name>.enabled", Kind::Boolean, "true", "whether an MCP server is used"),
    Setting::new("tools.mcp.servers.<name>.command", Kind::Text, "", "program that is the server, spoken to over its standard input and output"),
    Setting::new("tools.mcp.servers.<name>.args", Kind::Structure, "", "list of the program's arguments"),
    Setting::new("tools.mcp.servers.<name>.env.<name>", Kind::Secret, "", "variable for the program, which has few of ours"),
    Setting::new("tools.mcp.servers.<name>.cwd", Kind::Text, "that of the runner", "folder the program runs in"),
    Setting::new("tools.mcp.servers.<name>.url", Kind::Secret, "", "address of a server that is reached by streamable HTTP instead"),
    Setting::new("tools.mcp.servers.<name>.headers.<name>", Kind::Secret, "", "header for each request to it"),
    Setting::new("tools.mcp.servers.<name>.startTimeoutSeconds", Kind::Integer, "30", "time for the server to start and to list its tools"),

    Setting::new("tools.exec.security", Kind::Text, "deny", "which programs `exec` may run: `deny` (there is no such tool), `allowlist` or `full`"),
    Setting::new("tools.exec.safeBins", Kind::Structure, "none", "list of the programs of `allowlist`: names that are looked up on the path, or absolute paths"),
    Setting::new("tools.exec.pathPrepend", Kind::Structure, "none", "list of folders in which programs are looked for first"),
    Setting::new("tools.exec.timeoutSec", Kind::Integer, "50", "longest time for one program; a second less than `agents.defaults.toolTimeoutSeconds` at most"),
    Setting::new("tools.exec.maxOutputBytes", Kind::Integer, "40000", "what is kept of a program's output, its beginning and its end"),
    Setting::new("tools.exec.env.<name>", Kind::Secret, "", "variable of the environment that programs get, which is else all but empty"),
    Setting::new("tools.web.fetch.enabled", Kind::Boolean, "true", "whether there is `web_fetch`"),
    Setting::new("tools.web.fetch.maxChars", Kind::Integer, "40000", "longest text of a page, in characters"),
    Setting::new("tools.web.fetch.maxResponseBytes", Kind::Integer, "2000000", "what is read of a page at most"),
    Setting::new("tools.web.fetch.timeoutSeconds", Kind::Integer, "30", "longest time for one page"),
    Setting::new("tools.web.fetch.maxRedirects", Kind::Integer, "5", "redirects that are followed"),
    Setting::new("tools.fs.maxReadBytes", Kind::Integer, "40000", "what one `read` returns at most"),
    Setting::new("tools.fs.maxReadLines", Kind::Integer, "2000", "the same in lines"),
    Setting::new("tools.fs.maxFileBytes", Kind::Integer, "10485760", "largest file that `write`, `edit` and `apply_patch` make or change"),
    Setting::new("tools.memory.maxFiles", Kind::Integer, "1000", "files that `memory_search` reads at most"),
    Setting::new("tools.memory.maxBytes", Kind::Integer, "8388608", "bytes that it reads at most"),
    Setting::new("tools.memory.maxConcurrent", Kind::Integer, "4", "searches of a runner that go on at a time; more wait"),

    Setting::new("session.leaseMs", Kind::Integer, "30000", "time without renewal after which a turn is given up"),
    Setting::new("session.waitMs", Kind::Integer, "30000", "time to wait for a session's turn"),
    Setting::new("session.windowMessages", Kind::Integer, "200", "messages of the transcript that reach the model"),
    Setting::new("session.ttl", Kind::Text, "30d", "time after its last turn for which a session is kept, such as `30d`, `12h`, `90m`, `10s` or `never`"),
    Setting::new("session.maxMessages", Kind::Integer, "100000", "messages that one session keeps, which each turn sees to; 0 keeps all"),
    Setting::new("session.runTtl", Kind::Text, "1d", "time for which what a kept run came to is kept, likewise"),
    Setting::new("session.pruneIntervalMs", Kind::Integer, "60000", "pause between two looks for what is past its time"),
    Setting::new("session.reset.mode", Kind::Text, "sessions go on", "`daily` or `idle`: when a session begins anew by itself"),
    Setting::new("session.reset.atHour", Kind::Integer, "4", "hour at which the day begins for `daily`, in the store's time zone"),
    Setting::new("session.reset.idleMinutes", Kind::Integer, "60 if idle, none if daily", "minutes without a turn after which a session begins anew"),
];

/// The documented default of a setting, so that a crate can check that its own is the same.
pub fn documented_default(key: &str) -> Option<&'static str> {
    SETTINGS.iter().find(|setting| setting.key == key).map(|setting| setting.default)
}
