//! Databases at the PostgreSQL server that the recipe `just test` starts.

use std::sync::Arc;

use session_store::{Config, SessionConfig};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};

/// The name of a database that has the newest layout and is copied for each test, which is faster than to make it anew.
static TEMPLATE: OnceCell<String> = OnceCell::const_new();

/// Makes an empty database; returns its URL.
pub(super) async fn database() -> String {
    let template = TEMPLATE.get_or_init(template).await;
    create(&format!(" TEMPLATE {template}")).await
}

/// Connects beside the store.
pub(super) async fn connect(url: &str) -> Arc<Client> {
    let mut config: tokio_postgres::Config = url.parse().unwrap();
    let (client, connection) = config.options("-c search_path=clawdbot").connect(NoTls).await.unwrap();
    // The connection ends with the client.
    tokio::spawn(connection);
    Arc::new(client)
}

#[expect(clippy::disallowed_methods, reason = "nobody hands a test its environment")]
fn server() -> String {
    std::env::var("CLAWDBOT_TEST_POSTGRES")
        .expect("CLAWDBOT_TEST_POSTGRES is not set: run `just test`, which starts a PostgreSQL server first")
}

fn url(database: &str) -> String {
    let server = server();
    let (address, _) = server.rsplit_once('/').expect("the URL names a database");
    format!("{address}/{database}")
}

async fn create(template: &str) -> String {
    let name = format!("test_{}", uuid::Uuid::new_v4().simple());
    connect(&server()).await.batch_execute(&format!("CREATE DATABASE {name}{template}")).await.unwrap();
    url(&name)
}

async fn template() -> String {
    let url = create("").await;
    let service = Config::new(url.parse().unwrap(), SessionConfig::default()).build().await.unwrap();
    service.shutdown().await;
    url.rsplit_once('/').unwrap().1.to_owned()
}
