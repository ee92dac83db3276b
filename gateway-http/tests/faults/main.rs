//! No turn is lost or doubled, whatever dies: two gateways, three runners and two session stores on one PostgreSQL,
//! while runners and stores are killed and PostgreSQL crashes.
//!
//! Run by `just test-faults`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on panics, and says on standard error what happened"
)]

mod chaos;
mod client;
mod ledger;
mod provider;
mod system;

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use client::Client;
use ledger::Ledger;
use system::System;

const SESSIONS: usize = 50;
/// How many clients talk in each session at a time.
const CLIENTS_PER_SESSION: usize = 2;
/// How long things go on dying.
const CHAOS: Duration = Duration::from_secs(40);
/// The system's lease time: nobody keeps a session from the others for longer than this.
const LEASE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_turn_that_a_client_saw_complete_is_kept_once_and_in_order() {
    let provider = provider::start().await;
    let system = System::start(&provider, LEASE).await;
    let ledgers = talk(&system).await;

    let mut checks = JoinSet::new();
    for (session, ledger) in ledgers.into_iter().enumerate() {
        let client = system.client(session);
        checks.spawn(async move { check(&client, session, ledger).await });
    }
    let counts = checks.join_all().await;
    let sum = |count: fn(&Counts) -> usize| counts.iter().map(count).sum::<usize>();
    let (complete, kept, failed) =
        (sum(|count| count.complete), sum(|count| count.kept), sum(|count| count.failed_tries));
    eprintln!("{complete} turns seen complete, {kept} kept, {failed} tries failed");
    assert!(complete > SESSIONS * 5, "too few turns for the test to mean anything");
    assert!(failed > 0, "nothing died in the middle of anything");
}

/// What a session's check has found.
struct Counts {
    complete: usize,
    kept: usize,
    failed_tries: usize,
}

/// Has all clients talk while things die, and takes one more turn in each session as soon as that is over, which has to
/// come within the lease time; returns what each session's clients saw.
async fn talk(system: &System) -> Vec<Ledger> {
    let stop = CancellationToken::new();
    let mut clients = JoinSet::new();
    for session in 0..SESSIONS {
        for number in 0..CLIENTS_PER_SESSION {
            let (client, stop) = (system.client(session + number), stop.clone());
            // Half of the clients make sure of each turn, and the others try once.
            let is_persistent = number % 2 == 0;
            clients.spawn(async move { (session, client.talk(session, number, is_persistent, stop).await) });
        }
    }
    chaos::reign(system, CHAOS).await;
    stop.cancel();
    for session in 0..SESSIONS {
        let client = system.client(session);
        clients.spawn(async move {
            let last = tokio::time::timeout(LEASE, client.take_last_turn(session)).await;
            (session, last.unwrap_or_else(|_| panic!("session {session} took no turn within the lease time")))
        });
    }
    let mut ledgers: Vec<Ledger> = (0..SESSIONS).map(|_| Ledger::default()).collect();
    for (session, seen) in clients.join_all().await {
        ledgers[session].merge(seen);
    }
    ledgers
}

/// Compares the transcript with what was seen.
async fn check(client: &Client, session: usize, ledger: Ledger) -> Counts {
    let transcript = client.transcript(session).await;
    ledger.assert_matches(&transcript);
    Counts { complete: ledger.complete(), kept: transcript.len() / 2, failed_tries: ledger.failed_tries() }
}
