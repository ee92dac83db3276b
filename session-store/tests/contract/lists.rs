//! Sessions and transcripts in pages.

use proto::session::v1::{
    BeginTurnRequest, BeginTurnResponse, ListMessagesRequest, ListSessionsRequest, Order, TurnInFlight,
};
use tonic::Code;

use crate::database::{Database, Store, asks, refused};

async fn sessions(store: &Store, request: ListSessionsRequest) -> (Vec<String>, bool) {
    let page = store.client.clone().list_sessions(request).await.unwrap().into_inner();
    (page.sessions.into_iter().map(|session| session.session_key).collect(), page.has_more)
}

async fn messages(store: &Store, limit: u32, order: Order, after_seq: u64) -> (Vec<u64>, bool) {
    let request = ListMessagesRequest { session_key: "key".to_owned(), limit, order: order.into(), after_seq };
    let page = store.client.clone().list_messages(request).await.unwrap().into_inner();
    (page.messages.into_iter().map(|message| message.seq).collect(), page.has_more)
}

pub(crate) async fn sessions_come_in_pages_both_ways(database: Database) {
    let store = database.open().await;
    assert_eq!(sessions(&store, ListSessionsRequest::default()).await, (vec![], false));
    for key in ["a", "b", "c", "d", "e"] {
        store.turn(key, "run-1", &["one"]).await;
    }
    // The clock counts milliseconds, and those that share one stay in the order in which they were made.
    while store.get("a").await.unwrap().updated_at_ms <= store.get("e").await.unwrap().updated_at_ms {
        let run_id = format!("run-{}", store.get("a").await.unwrap().message_count + 1);
        store.turn("a", &run_id, &["again"]).await;
    }

    let check = async |limit, order: Order, after: &str, expected: &[&str], has_more| {
        let request = ListSessionsRequest { limit, order: order.into(), after: after.to_owned(), ..Default::default() };
        let expected = expected.iter().map(|&key| key.to_owned()).collect();
        assert_eq!(sessions(&store, request).await, (expected, has_more), "{limit} {order:?} after {after:?}");
    };
    check(0, Order::Unspecified, "", &["a", "e", "d", "c", "b"], false).await;
    check(2, Order::Descending, "", &["a", "e"], true).await;
    check(2, Order::Descending, "e", &["d", "c"], true).await;
    check(2, Order::Descending, "c", &["b"], false).await;
    check(3, Order::Ascending, "", &["b", "c", "d"], true).await;
    check(3, Order::Ascending, "d", &["e", "a"], false).await;
    check(5, Order::Ascending, "a", &[], false).await;
}

pub(crate) async fn sessions_of_one_agent_are_listed_alone(database: Database) {
    let store = database.open().await;
    for (key, agent_id) in [("a", "main"), ("b", "other"), ("c", "main"), ("d", "main")] {
        let mut request = asks(key, "run-1");
        request.agent_id = agent_id.to_owned();
        store.begin(request).await.unwrap();
    }
    let page = |agent_id: &str, after: &str| ListSessionsRequest {
        agent_id: agent_id.to_owned(),
        limit: 2,
        after: after.to_owned(),
        ..ListSessionsRequest::default()
    };
    assert_eq!(sessions(&store, page("main", "")).await, (vec!["d".to_owned(), "c".to_owned()], true));
    assert_eq!(sessions(&store, page("main", "c")).await, (vec!["a".to_owned()], false));
    assert_eq!(sessions(&store, page("other", "")).await, (vec!["b".to_owned()], false));
    assert_eq!(sessions(&store, page("nobody", "")).await, (vec![], false));

    // An agent keeps its session, whoever asks for the next turn.
    store.reset("b").await.unwrap();
    store.begin(asks("b", "run-2")).await.unwrap();
    assert_eq!(store.get("b").await.unwrap().agent_id, "other");
}

pub(crate) async fn sessions_of_one_namespace_are_listed_alone(database: Database) {
    let store = database.open().await;
    for (key, agent_id) in
        [("a", "main"), ("@bob:a", "main"), ("@bob:b", "other"), ("@eve:a", "main"), ("@bob:c", "main")]
    {
        store.begin(BeginTurnRequest { agent_id: agent_id.to_owned(), ..asks(key, "run-1") }).await.unwrap();
    }
    let check = async |namespace: &str, agent_id: &str, all_namespaces, expected: &[&str]| {
        let request = ListSessionsRequest {
            namespace: namespace.to_owned(),
            agent_id: agent_id.to_owned(),
            all_namespaces,
            ..ListSessionsRequest::default()
        };
        let expected = expected.iter().map(|&key| key.to_owned()).collect();
        assert_eq!(sessions(&store, request).await, (expected, false), "{namespace} {agent_id} {all_namespaces}");
    };
    check("", "", false, &["a"]).await;
    check("bob", "", false, &["@bob:c", "@bob:b", "@bob:a"]).await;
    check("bob", "main", false, &["@bob:c", "@bob:a"]).await;
    check("nobody", "", false, &[]).await;
    check("", "", true, &["@bob:c", "@eve:a", "@bob:b", "@bob:a", "a"]).await;
    check("", "main", true, &["@bob:c", "@eve:a", "@bob:a", "a"]).await;

    let after = |after: &str| ListSessionsRequest {
        namespace: "bob".to_owned(),
        limit: 1,
        after: after.to_owned(),
        ..ListSessionsRequest::default()
    };
    assert_eq!(sessions(&store, after("@bob:c")).await, (vec!["@bob:b".to_owned()], true));
    assert_eq!(sessions(&store, after("@bob:b")).await, (vec!["@bob:a".to_owned()], false));
    // A reset leaves the session in its namespace.
    store.reset("@bob:a").await.unwrap();
    assert_eq!(sessions(&store, after("")).await, (vec!["@bob:a".to_owned()], true));
}

pub(crate) async fn a_turn_in_flight_is_shown_until_it_is_over(database: Database) {
    let store = database.open().await;
    let request = BeginTurnRequest { runner: "http://runner.example.com".to_owned(), ..asks("key", "run-1") };
    let begun = store.begin(request.clone()).await.unwrap();
    let in_flight = |begun: &BeginTurnResponse| {
        let (run_id, runner) = ("run-1".to_owned(), "http://runner.example.com".to_owned());
        Some(TurnInFlight { lease: begun.lease.clone(), run_id, runner })
    };
    assert_eq!(store.get("key").await.unwrap().turn_in_flight, in_flight(&begun));
    let page = store.client.clone().list_sessions(ListSessionsRequest::default()).await.unwrap().into_inner();
    assert_eq!(page.sessions[0].turn_in_flight, in_flight(&begun));

    store.commit(&begun, "run-1", &["one"]).await.unwrap();
    assert_eq!(store.get("key").await.unwrap().turn_in_flight, None);
    let begun = store.begin(BeginTurnRequest { run_id: "run-2".to_owned(), ..request.clone() }).await.unwrap();
    store.abandon(&begun).await.unwrap();
    assert_eq!(store.get("key").await.unwrap().turn_in_flight, None);
    store.begin(BeginTurnRequest { run_id: "run-3".to_owned(), ..request }).await.unwrap();
    database.shell.execute("UPDATE sessions SET lease_expires_at_ms = 1").await;
    assert_eq!(store.get("key").await.unwrap().turn_in_flight, None);
}

pub(crate) async fn messages_come_in_pages_both_ways(database: Database) {
    let store = database.open().await;
    store.turn("other", "run-1", &["elsewhere"]).await;
    store.turn("key", "run-1", &["1", "2", "3"]).await;
    store.turn("key", "run-2", &["4", "5"]).await;

    let check = async |limit, order, after_seq, expected: &[u64], has_more| {
        let page = messages(&store, limit, order, after_seq).await;
        assert_eq!(page, (expected.to_vec(), has_more), "{limit} {order:?} after {after_seq}");
    };
    check(0, Order::Unspecified, 0, &[5, 4, 3, 2, 1], false).await;
    check(2, Order::Descending, 0, &[5, 4], true).await;
    check(2, Order::Descending, 4, &[3, 2], true).await;
    check(2, Order::Descending, 2, &[1], false).await;
    check(2, Order::Ascending, 0, &[1, 2], true).await;
    check(3, Order::Ascending, 2, &[3, 4, 5], false).await;
    check(3, Order::Ascending, 5, &[], false).await;

    let request = ListMessagesRequest { session_key: "key".to_owned(), limit: 1, ..Default::default() };
    let newest = store.client.clone().list_messages(request).await.unwrap().into_inner().messages.remove(0);
    assert_eq!(newest.run_id, "run-2");
    assert_eq!(newest.created_at_ms, store.get("key").await.unwrap().updated_at_ms);
}

pub(crate) async fn what_is_not_there_is_not_found(database: Database) {
    let store = database.open().await;
    refused(store.get("key").await, Code::NotFound);
    refused(store.reset("key").await, Code::NotFound);
    refused(store.delete("key").await, Code::NotFound);
    let request = ListMessagesRequest { session_key: "key".to_owned(), ..Default::default() };
    refused(store.client.clone().list_messages(request).await, Code::NotFound);
    let request = ListSessionsRequest { after: "key".to_owned(), ..Default::default() };
    refused(store.client.clone().list_sessions(request).await, Code::NotFound);
}
