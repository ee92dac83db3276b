//! The runner and the store of one process.

use std::time::Duration;

use anyhow::Context;
use proto::session::v1::session_store_client::SessionStoreClient;
use shared::{
    config::{Document, Environment},
    transport::{self, MAX_MESSAGE_BYTES, Transport},
};
use uuid::Uuid;

/// Everything behind the gateway.
pub(crate) struct Stack {
    store: session_store::Service,
    runner: agent_runner::Service,
    drain: Duration,
}

impl Stack {
    /// Opens the database and makes the models ready, which may fetch the embedded model first.
    pub(crate) async fn build(document: &Document, environment: &Environment) -> anyhow::Result<Self> {
        let runner = agent_runner::Config::load(document, environment)?;
        let store = session_store::Config::load(document)?.build().await.context("cannot open the session store")?;
        let client = SessionStoreClient::new(transport::local(store.server()))
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        // Nobody else can reach this runner, or take it for another one.
        let name = format!("process:{}", Uuid::new_v4());
        Ok(Self { drain: runner.drain(), runner: runner.build(client, &name).await?, store })
    }

    /// Has both follow another configuration, or neither.
    pub(crate) async fn reload(&self, document: &Document, environment: &Environment) -> anyhow::Result<()> {
        let runner = agent_runner::Config::load(document, environment)?;
        let store = session_store::Config::load(document)?;
        // The only step that can fail is the first.
        self.runner.reload(runner).await?;
        self.store.reload(store);
        Ok(())
    }

    /// The way to the runner.
    pub(crate) fn runner(&self) -> Transport {
        transport::local(self.runner.server())
    }

    /// The way to the store.
    pub(crate) fn store(&self) -> Transport {
        transport::local(self.store.server())
    }

    /// Has the runs that are left end, then the store, so that nothing that was taken is lost. The callers are gone, but
    /// some runs go on without them, and have their time.
    pub(crate) async fn shutdown(self) {
        // Runs that wait in a session's line are sent away first: they could hold the process up for long.
        self.store.drain();
        self.runner.drain(self.drain).await;
        self.runner.shutdown().await;
        self.store.shutdown().await;
    }
}
