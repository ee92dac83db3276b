//! `clawdbot gateway`.

use std::{
    io::{self, Write},
    net::SocketAddr,
};

use anyhow::Context;
use gateway_http::Gateway;
use shared::{
    admin::Admin,
    config::{Document, Environment},
    process::Process,
};
use tokio::net::TcpListener;

use crate::{stack::Stack, token::Token};

/// What this process reads of the configuration.
const SECTIONS: &[&str] = &["gateway", "agents", "models", "skills", "tools", "session", "services", "admin", "log"];

pub(crate) async fn serve(process: &Process, token: &Token) -> anyhow::Result<()> {
    let config = gateway_http::Config::load(&process.document)?;
    // First the port: another gateway on it is the likeliest trouble, and better known before a model is fetched.
    let listener =
        TcpListener::bind(config.listen()).await.with_context(|| format!("cannot listen on {}", config.listen()))?;
    let address = listener.local_addr()?;
    let admin = Admin::start(&process.document, &process.shutdown).await?;
    let stack = tokio::select! {
        stack = Stack::build(&process.document, &process.environment) => stack?,
        () = process.shutdown.cancelled() => return Ok(()),
    };
    tracing::info!(%address, "the gateway is listening");
    welcome(config.scheme(), address, token).context("cannot write to standard output")?;
    let gateway = config.build(stack.runner(), stack.store())?;
    let of_admin = gateway.clone();
    admin.serves(move || of_admin.readiness());
    let apply = async |document: &Document| {
        let reloaded = reload(&gateway, &stack, document, &process.environment).await;
        reloaded.map_err(|error| format!("{error:#}"))
    };
    let serving = gateway_http::serve(gateway.clone(), listener, process.shutdown.clone());
    process.watching_config(SECTIONS, apply, serving).await;
    stack.shutdown().await;
    admin.shutdown().await;
    Ok(())
}

/// Has everything follow another configuration, or nothing.
async fn reload(
    gateway: &Gateway,
    stack: &Stack,
    document: &Document,
    environment: &Environment,
) -> anyhow::Result<()> {
    let config = gateway_http::Config::load(document)?;
    stack.reload(document, environment).await?;
    gateway.reload(config);
    Ok(())
}

/// Says how to talk to the gateway.
fn welcome(scheme: &str, address: SocketAddr, token: &Token) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "Clawdbot is listening on {scheme}://{address}")?;
    let bearer = match token {
        Token::Configured => "YOUR_TOKEN".to_owned(),
        Token::Kept { path } => {
            writeln!(out, "Its token is in {}", path.display())?;
            format!("'\"$(cat {})\"'", path.display())
        }
        Token::Made { token, path } => {
            writeln!(out, "Its token, kept in {} and not shown again: {token}", path.display())?;
            token.clone()
        }
    };
    writeln!(
        out,
        "\nTry it:\n  curl -N {scheme}://{address}/v1/chat/completions -H 'Authorization: Bearer {bearer}' \
         -H 'Content-Type: application/json' \
         -d '{{\"model\": \"clawdbot\", \"stream\": true, \"messages\": [{{\"role\": \"user\", \"content\": \"hi\"}}]}}'"
    )?;
    out.flush()
}
