//! The agent runner as a process of its own.

use std::{env, path::PathBuf, process::ExitCode, time::Instant};

use agent_runner::{Config, Error, Service};
use anyhow::Context;
use clap::Parser;
use proto::session::v1::session_store_client::SessionStoreClient;
use serde::Deserialize;
use shared::{
    admin::{Admin, Readiness},
    config::{Document, Environment, Sources},
    grpc,
    process::Process,
    shutdown::TOLD_TWICE,
    transport::{self, MAX_MESSAGE_BYTES, Trust},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What this process reads of the configuration.
const SECTIONS: &[&str] = &[
    "agents",
    "models",
    "skills",
    "tools",
    "session",
    "gateway.http.endpoints.chatCompletions",
    "services",
    "admin",
    "log",
];

/// Runs the agents: serves `clawdbot.agent.v1.AgentRunner`.
#[derive(Debug, Parser)]
#[command(version)]
#[expect(clippy::doc_markdown, reason = "this is the text of --help")]
struct Arguments {
    /// The configuration file (JSON5) [default: ~/.clawdbot/clawdbot.json if present]
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Where to listen [env: CLAWDBOT_AGENT_RUNNER_LISTEN] [default: 127.0.0.1:18790]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where the session store is [env: CLAWDBOT_SESSION_STORE_URL] [default: http://127.0.0.1:18791]
    #[arg(long, value_name = "URL")]
    session_store: Option<String>,
    /// Where to serve /metrics, /healthz and /readyz [env: CLAWDBOT_ADMIN_LISTEN] [default: nowhere]
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
}

#[derive(Deserialize)]
struct StoreSection {
    url: Option<String>,
}

impl Arguments {
    fn into_sources(self) -> Sources {
        let flags = [
            ("services.agentRunner.listen", self.listen),
            ("services.sessionStore.url", self.session_store),
            ("admin.listen", self.admin_listen),
        ];
        Sources::new(Environment::new(env::vars_os()), self.config, flags)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let sources = Arguments::parse().into_sources();
    let process = Process::start("agent-runner", "info", sources)?;
    let Some(served) = process.unless_told_twice(Box::pin(serve(&process))).await else {
        return Ok(ExitCode::from(TOLD_TWICE));
    };
    process.finish();
    served.map(|()| ExitCode::SUCCESS)
}

async fn serve(process: &Process) -> anyhow::Result<()> {
    let config = Config::load(&process.document, &process.environment)?;
    let trust = Trust::load(&process.document)?;
    let config = config.trusting(trust.clone());
    let (listen, drain) = (config.listen(), config.drain());
    let name = config.url();
    let StoreSection { url } = process.document.section("services.sessionStore")?;
    let url = url.unwrap_or_else(|| format!("{}://127.0.0.1:18791", trust.scheme()));
    let store = transport::remote(&url, &trust).context("services.sessionStore.url")?;
    // What others would call it by.
    transport::remote(&name, &trust).context("services.agentRunner.advertiseUrl")?;
    let store = SessionStoreClient::new(store)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let admin = Admin::start(&process.document, &process.shutdown).await?;
    let runner = tokio::select! {
        runner = config.build(store, &name) => runner?,
        () = process.shutdown.cancelled() => return Ok(()),
    };
    let listener = grpc::listen(listen, &trust).await.context("services.agentRunner.listen")?;
    tracing::info!(address = %listener.local_addr()?, "the agent runner is listening");
    admin.serves(|| Readiness::Ready);
    let shutdown = process.shutdown.clone();
    let drained_by = async {
        shutdown.cancelled().await;
        Instant::now() + drain
    };
    let shutting_down = shutdown.clone();
    let end = runner.shutdown();
    let mut serving = Box::pin(grpc::serve(listener, runner.server(), proto::DESCRIPTORS, shutting_down, drain, end));
    let work = async {
        tokio::select! {
            served = &mut serving => served,
            drained_by = drained_by => {
                let served = serving.await;
                // Runs that nobody reads hold no call open.
                runner.drain(drained_by.saturating_duration_since(Instant::now())).await;
                served
            }
        }
    };
    let apply = async |document: &Document| {
        let reloaded = reload(&runner, document, &process.environment).await;
        reloaded.map_err(|error| format!("{:#}", anyhow::Error::from(error)))
    };
    let served = process.watching_config(SECTIONS, apply, work).await;
    runner.shutdown().await;
    admin.shutdown().await;
    Ok(served?)
}

async fn reload(runner: &Service, document: &Document, environment: &Environment) -> Result<(), Error> {
    runner.reload(Config::load(document, environment)?).await
}
