//! The session store as a process of its own.

use std::{env, path::PathBuf, time::Duration};

use anyhow::Context;
use clap::Parser;
use shared::{
    admin::{Admin, Readiness},
    config::{Document, Environment, Sources},
    grpc,
    process::Process,
    transport::Trust,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long calls in flight have to finish once the process is asked to end.
const DRAIN: Duration = Duration::from_secs(30);

/// What this process reads of the configuration.
const SECTIONS: &[&str] =
    &["session", "services.sessionStore", "services.tls", "services.token", "services.allowInsecure", "admin", "log"];

/// Keeps the sessions of the agents: serves `clawdbot.session.v1.SessionStore`
#[derive(Debug, Parser)]
#[command(version)]
#[expect(clippy::doc_markdown, reason = "this is the text of --help")]
struct Arguments {
    /// The configuration file (JSON5) [default: ~/.clawdbot/clawdbot.json if present]
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Where to listen [env: CLAWDBOT_SESSION_STORE_LISTEN] [default: 127.0.0.1:18791]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// The database [env: CLAWDBOT_SESSION_STORE_DATABASE] [default: sqlite:<state>/sessions.db]
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Where to serve /metrics, /healthz and /readyz [env: CLAWDBOT_ADMIN_LISTEN] [default: nowhere]
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
}

impl Arguments {
    fn into_sources(self) -> Sources {
        let flags = [
            ("services.sessionStore.listen", self.listen),
            ("services.sessionStore.database", self.database),
            ("admin.listen", self.admin_listen),
        ];
        Sources::new(Environment::new(env::vars_os()), self.config, flags)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let sources = Arguments::parse().into_sources();
    let process = Process::start("session-store", "info", sources)?;
    let served = Box::pin(serve(&process)).await;
    process.finish();
    served
}

async fn serve(process: &Process) -> anyhow::Result<()> {
    let config = session_store::Config::load(&process.document)?;
    let admin = Admin::start(&process.document, &process.shutdown).await?;
    let trust = Trust::load(&process.document)?;
    let listener = grpc::listen(config.listen, &trust).await.context("services.sessionStore.listen")?;
    let store = config.build().await.context("cannot open the session store")?;
    tracing::info!(address = %listener.local_addr()?, "the session store is listening");
    admin.serves(|| Readiness::Ready);
    let shutdown = process.shutdown.clone();
    let serving = Box::pin(grpc::serve(listener, store.server(), proto::DESCRIPTORS, shutdown, DRAIN, async {}));
    // Turns that wait in line would hold the process up, and can wait elsewhere.
    let draining = async {
        process.shutdown.cancelled().await;
        store.drain();
        std::future::pending().await
    };
    let work = async {
        tokio::select! {
            served = serving => served,
            served = draining => served,
        }
    };
    let apply = async |document: &Document| {
        store.reload(session_store::Config::load(document).map_err(|error| error.to_string())?);
        Ok(())
    };
    let served = process.watching_config(SECTIONS, apply, work).await;
    store.shutdown().await;
    admin.shutdown().await;
    Ok(served?)
}
