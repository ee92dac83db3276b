//! Brings the database's layout up to date.

use tokio_postgres::Client;

use super::server::Failure;

/// The steps from an empty database to the newest layout; the table `layout` says how many it has seen.
const MIGRATIONS: [&str; 1] = [concat!(
    include_str!("migrations/1/tables.sql"),
    include_str!("migrations/1/line.sql"),
    include_str!("migrations/1/turns.sql"),
    include_str!("migrations/1/sessions.sql"),
)];
/// Names the lock that replicas which start at once take one by one: "clawdbot", in ASCII.
const LOCK: i64 = i64::from_be_bytes(*b"clawdbot");

/// Migrates what is not of the newest layout yet; one replica does it, and the others wait for it.
pub(super) async fn migrate(client: &mut Client) -> Result<(), Failure> {
    // A statement of a migration may take its time.
    client.batch_execute("SET statement_timeout = 0").await?;
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    // Asking first lets a user do without the right to make a schema, once somebody has made it.
    let has_schema: bool = transaction.query_one("SELECT to_regnamespace('clawdbot') IS NOT NULL", &[]).await?.get(0);
    if !has_schema {
        transaction.batch_execute("CREATE SCHEMA clawdbot").await?;
    }
    let has_layout: bool =
        transaction.query_one("SELECT to_regclass('clawdbot.layout') IS NOT NULL", &[]).await?.get(0);
    if !has_layout {
        let sql = "CREATE TABLE layout (version bigint NOT NULL); INSERT INTO layout VALUES (0)";
        transaction.batch_execute(sql).await?;
    }
    let found: i64 = transaction.query_one("SELECT version FROM layout", &[]).await?.get(0);
    let found = usize::try_from(found).unwrap_or(usize::MAX);
    let Some(missing) = MIGRATIONS.get(found..) else {
        return Err(Failure::NewerLayout { found, known: MIGRATIONS.len() });
    };
    if !missing.is_empty() {
        for migration in missing {
            transaction.batch_execute(migration).await?;
        }
        let known = i64::try_from(MIGRATIONS.len()).expect("there are few");
        transaction.execute("UPDATE layout SET version = $1", &[&known]).await?;
    }
    transaction.commit().await?;
    client.batch_execute("RESET statement_timeout").await?;
    Ok(())
}
