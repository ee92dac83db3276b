//! The HTTP gateway as a process of its own, in front of a remote runner and a remote store.

use std::{env, path::PathBuf};

use anyhow::Context;
use clap::Parser;
use serde::Deserialize;
use shared::{
    admin::Admin,
    config::{Document, Environment, Sources},
    process::Process,
    transport::{self, Transport, Trust},
};
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What this process reads of the configuration.
const SECTIONS: &[&str] = &[
    "gateway",
    "services.agentRunner.url",
    "services.sessionStore.url",
    "services.tls",
    "services.token",
    "admin",
    "log",
];

/// Serves the agents to OpenAI clients, over HTTP.
#[derive(Debug, Parser)]
#[command(version)]
#[expect(clippy::doc_markdown, reason = "this is the text of --help")]
struct Arguments {
    /// The configuration file (JSON5) [default: ~/.clawdbot/clawdbot.json if present]
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// The port to listen on [env: CLAWDBOT_GATEWAY_PORT] [default: 18789]
    #[arg(long)]
    port: Option<String>,
    /// Who can reach it: loopback, lan, or an IP address [env: CLAWDBOT_GATEWAY_BIND] [default: loopback]
    #[arg(long)]
    bind: Option<String>,
    /// Where the agent runner is [env: CLAWDBOT_AGENT_RUNNER_URL] [default: http://127.0.0.1:18790]
    #[arg(long, value_name = "URL")]
    agent_runner: Option<String>,
    /// Where the session store is [env: CLAWDBOT_SESSION_STORE_URL] [default: http://127.0.0.1:18791]
    #[arg(long, value_name = "URL")]
    session_store: Option<String>,
    /// Where to serve /metrics, /healthz and /readyz [env: CLAWDBOT_ADMIN_LISTEN] [default: nowhere]
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
}

/// A service that is called.
#[derive(Deserialize)]
struct ServiceSection {
    url: Option<String>,
}

impl Arguments {
    fn into_sources(self) -> Sources {
        let flags = [
            ("gateway.port", self.port),
            ("gateway.bind", self.bind),
            ("services.agentRunner.url", self.agent_runner),
            ("services.sessionStore.url", self.session_store),
            ("admin.listen", self.admin_listen),
        ];
        Sources::new(Environment::new(env::vars_os()), self.config, flags)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let sources = Arguments::parse().into_sources();
    let process = Process::start("gateway-http", "info", sources)?;
    let served = serve(&process).await;
    process.finish();
    served
}

async fn serve(process: &Process) -> anyhow::Result<()> {
    let trust = Trust::load(&process.document)?;
    let runner = way(process, &trust, "services.agentRunner", 18790)?;
    let store = way(process, &trust, "services.sessionStore", 18791)?;
    let config = gateway_http::Config::load(&process.document)?;
    let admin = Admin::start(&process.document, &process.shutdown).await?;
    let listener =
        TcpListener::bind(config.listen()).await.with_context(|| format!("cannot listen on {}", config.listen()))?;
    tracing::info!(address = %listener.local_addr()?, "the gateway is listening");
    let gateway = config.build(runner, store)?;
    let of_admin = gateway.clone();
    admin.serves(move || of_admin.readiness());
    let apply = async |document: &Document| {
        gateway.reload(gateway_http::Config::load(document).map_err(|error| error.to_string())?);
        Ok(())
    };
    let serving = gateway_http::serve(gateway.clone(), listener, process.shutdown.clone());
    process.watching_config(SECTIONS, apply, serving).await;
    admin.shutdown().await;
    Ok(())
}

/// The way to a service, which by default is on this machine.
fn way(process: &Process, trust: &Trust, section: &str, port: u16) -> anyhow::Result<Transport> {
    let ServiceSection { url } = process.document.section(section)?;
    let url = url.unwrap_or_else(|| format!("{}://127.0.0.1:{port}", trust.scheme()));
    transport::remote(&url, trust).with_context(|| format!("{section}.url"))
}
