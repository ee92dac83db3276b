//! What the contract suite cannot see: query plans.

use std::env;

use tokio_postgres::Client;

use super::{Url, server::Server, sessions, transcript};
use crate::store::{Direction, SessionsPage};

#[expect(clippy::disallowed_methods, reason = "nobody hands a test its environment")]
async fn connect() -> Client {
    let url = env::var("CLAWDBOT_TEST_POSTGRES")
        .expect("CLAWDBOT_TEST_POSTGRES is not set: run `just test`, which starts a PostgreSQL server first");
    let server = Server::new(Url::parse(&url).unwrap(), 1).unwrap();
    let (mut client, connection) = server.connect().await.unwrap();
    // The connection ends with the client.
    tokio::spawn(connection);
    super::schema::migrate(&mut client).await.unwrap();
    client.batch_execute("SET plan_cache_mode = force_generic_plan").await.unwrap();
    client
}

/// The indexes by which a statement reads, whatever its parameters, outermost first.
async fn indexes(client: &Client, sql: &str, parameters: usize) -> Vec<String> {
    client.batch_execute(&format!("DEALLOCATE ALL; PREPARE statement AS {sql}")).await.unwrap();
    let nulls = vec!["NULL"; parameters].join(", ");
    let plan = client.query(&format!("EXPLAIN (COSTS OFF) EXECUTE statement({nulls})"), &[]).await.unwrap();
    let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    assert!(!plan.iter().any(|line| line.contains("Seq Scan")), "{plan:#?}");
    let index = |line: &String| Some(line.split_once(" using ")?.1.split(' ').next()?.to_owned());
    plan.iter().filter_map(index).collect()
}

#[tokio::test]
async fn what_is_read_is_searched_by_index() {
    let client = connect().await;
    for direction in [Direction::OldestFirst, Direction::NewestFirst] {
        let sql = transcript::list_sql(direction);
        assert_eq!(indexes(&client, &sql, 4).await, ["sessions_session_key_key", "messages_pkey"], "{sql}");

        let page = |namespace: Option<&str>, agent_id: Option<&str>| SessionsPage {
            namespace: namespace.map(str::to_owned),
            agent_id: agent_id.map(str::to_owned),
            limit: 20,
            direction,
            after: None,
        };
        for (page, expected) in [
            (page(None, None), "sessions_by_update"),
            (page(Some(""), None), "sessions_by_update"),
            (page(None, Some("main")), "sessions_by_agent"),
            (page(Some("bob"), None), "sessions_by_namespace"),
        ] {
            let sql = sessions::list_sql(&page);
            assert_eq!(indexes(&client, &sql, 5).await, [expected], "{sql}");
        }
    }
}
