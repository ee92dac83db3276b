//! Requests that break the contract.

use std::fmt::Debug;

use proto::session::v1::{
    AbandonTurnRequest, BeginTurnRequest, CommitTurnRequest, GetSessionRequest, Lease, ListMessagesRequest,
    ListSessionsRequest, Message, RenewLeaseRequest, Usage,
};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

use crate::database::{Database, asks, user};

#[track_caller]
fn check<T: Debug>(outcome: Result<Response<T>, Status>, field: &str) {
    let status = outcome.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert!(status.message().starts_with(field), "{status:?}");
    let violations = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations.into_iter().map(|violation| violation.field).collect::<Vec<_>>(), [field]);
}

pub(crate) async fn a_wrong_field_is_named(database: Database) {
    let mut client = database.open().await.client;

    let begin = |change: fn(&mut BeginTurnRequest)| {
        let mut request = asks("key", "run");
        change(&mut request);
        request
    };
    check(client.begin_turn(begin(|request| request.session_key.clear())).await, "session_key");
    check(client.begin_turn(begin(|request| request.session_key = "é".repeat(257))).await, "session_key");
    check(client.begin_turn(begin(|request| request.session_key = "k\0".into())).await, "session_key");
    check(client.begin_turn(begin(|request| request.run_id = "r\0".into())).await, "run_id");
    check(client.begin_turn(begin(|request| request.agent_id = "a\0".into())).await, "agent_id");
    check(client.begin_turn(begin(|request| request.runner = "r\0".into())).await, "runner");
    check(client.begin_turn(begin(|request| request.run_id.clear())).await, "run_id");
    check(client.begin_turn(begin(|request| request.run_id = "r".repeat(129))).await, "run_id");
    check(client.begin_turn(begin(|request| request.agent_id = "a".repeat(129))).await, "agent_id");
    let longest = begin(|request| {
        request.session_key = "é".repeat(256);
        request.run_id = "r".repeat(128);
        request.lease_ms = u64::MAX;
        request.wait_ms = u64::MAX;
        request.window_messages = u32::MAX;
    });
    let lease = client.begin_turn(longest).await.unwrap().into_inner().lease;

    check(client.renew_lease(RenewLeaseRequest::default()).await, "lease");
    check(client.abandon_turn(AbandonTurnRequest::default()).await, "lease");
    let not_a_uuid = Lease { session_id: "key".to_owned(), token: 1 };
    check(client.abandon_turn(AbandonTurnRequest { lease: Some(not_a_uuid) }).await, "lease.session_id");
    let no_token = lease.clone().map(|lease| Lease { token: 0, ..lease });
    check(client.abandon_turn(AbandonTurnRequest { lease: no_token }).await, "lease.token");

    let commit = |change: fn(&mut CommitTurnRequest)| {
        let messages = vec![user("hi"), user("there")];
        let mut request = CommitTurnRequest {
            lease: lease.clone(),
            run_id: "r".repeat(128),
            messages,
            ..CommitTurnRequest::default()
        };
        change(&mut request);
        request
    };
    check(client.commit_turn(commit(|request| request.lease = None)).await, "lease");
    check(client.commit_turn(commit(|request| request.run_id.clear())).await, "run_id");
    check(client.commit_turn(commit(|request| request.messages.clear())).await, "messages");
    let no_role = commit(|request| request.messages[1] = Message::default());
    check(client.commit_turn(no_role).await, "messages[1].role");
    let too_costly = commit(|request| request.usage = Some(Usage { prompt_tokens: 1 << 32, ..Usage::default() }));
    check(client.commit_turn(too_costly).await, "usage");

    check(client.get_session(GetSessionRequest::default()).await, "session_key");
    check(client.list_messages(ListMessagesRequest::default()).await, "session_key");
    let key = || "key".to_owned();
    let page = ListMessagesRequest { session_key: key(), limit: 1001, ..Default::default() };
    check(client.list_messages(page).await, "limit");
    let page = ListMessagesRequest { session_key: key(), after_seq: u64::MAX, ..Default::default() };
    check(client.list_messages(page).await, "after_seq");
    check(client.list_sessions(ListSessionsRequest { order: 7, ..Default::default() }).await, "order");
    check(client.list_sessions(ListSessionsRequest { after: "k".repeat(513), ..Default::default() }).await, "after");
}
