//! How many turns a database takes: `BeginTurn` and `CommitTurn` through the generated client and server, in memory.
//!
//! Prints, for each database, turns per second and the time of one turn with 1, 16 and 128 sessions at a time, and then
//! how a turn's time grows with the length of its session. The databases are on the disk that `target` is on, and the
//! benchmark shares the machine's cores with them, so figures of different machines don't compare; ratios do.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and one that cannot go on has failed"
)]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use proto::session::v1::{
    BeginTurnRequest, CommitTurnRequest, Message, Part, Role, Usage, part::Kind,
    session_store_client::SessionStoreClient,
};
use session_store::{Config, Service, SessionConfig};
use shared::transport::{self, MAX_MESSAGE_BYTES, Transport};
use tokio::task::JoinSet;

/// How long each number of sessions is measured.
const MEASURED: Duration = Duration::from_secs(5);
/// Messages of the transcript that a turn begins with, so that short and long sessions read the same.
const WINDOW: u32 = 10;
/// Sessions of each length, all at a time.
const OF_EACH_LENGTH: usize = 4;
const LENGTHS: [usize; 3] = [10, 1_000, 100_000];
/// The lengths take turns in so many rounds of so many turns per session, so that all see the same machine.
const ROUNDS: usize = 20;
const TURNS_PER_ROUND: usize = 25;

type Client = SessionStoreClient<Transport>;

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        bench("SQLite", &sqlite(folder.path())).await;
        bench("PostgreSQL", &postgres().await).await;
    });
}

fn sqlite(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("sessions.db").display())
}

/// A new database at the server that the recipe has started.
#[expect(clippy::disallowed_methods, reason = "nobody hands a benchmark its environment")]
async fn postgres() -> String {
    let server = std::env::var("CLAWDBOT_TEST_POSTGRES").expect("run `just bench-store`, which starts PostgreSQL");
    let (client, connection) = tokio_postgres::connect(&server, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let name = format!("bench_{}", uuid::Uuid::new_v4().simple());
    client.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    let (address, _) = server.rsplit_once('/').expect("the URL names a database");
    format!("{address}/{name}")
}

async fn bench(name: &str, url: &str) {
    let service = open(url).await;
    println!("\n{name}: turns with two messages, {WINDOW} messages read");
    println!("{:>16} {:>12} {:>10} {:>10}", "sessions", "turns/s", "p50 ms", "p99 ms");
    for sessions in [1, 16, 128] {
        let began = Instant::now();
        let mut times = at_a_time(&service, sessions, &format!("{sessions}-at-a-time"), Until::Elapsed(MEASURED)).await;
        print_row(&sessions.to_string(), &mut times, began.elapsed());
    }
    lengths(&service).await;
    service.shutdown().await;
}

async fn lengths(service: &Service) {
    for length in LENGTHS {
        fill(service, length).await;
    }
    println!("{:>16} {:>12} {:>10} {:>10}", "messages", "turns/s", "p50 ms", "p99 ms");
    let mut times = LENGTHS.map(|_| Vec::new());
    let mut elapsed = LENGTHS.map(|_| Duration::ZERO);
    for _ in 0..ROUNDS {
        for (index, length) in LENGTHS.into_iter().enumerate() {
            let began = Instant::now();
            let until = Until::Turns(TURNS_PER_ROUND);
            times[index].extend(at_a_time(service, OF_EACH_LENGTH, &format!("length-{length}"), until).await);
            elapsed[index] += began.elapsed();
        }
    }
    let medians: Vec<f64> = (0..LENGTHS.len())
        .map(|index| print_row(&LENGTHS[index].to_string(), &mut times[index], elapsed[index]))
        .collect();
    let longest = medians.iter().copied().fold(f64::MIN, f64::max);
    let shortest = medians.iter().copied().fold(f64::MAX, f64::min);
    println!("{:>16} {:>12.2}", "p50 ratio", longest / shortest);
}

/// Makes the sessions of one length.
async fn fill(service: &Service, length: usize) {
    const AT_ONCE: usize = 1000;
    for session in 0..OF_EACH_LENGTH {
        let mut client = client(service);
        for (number, start) in (0..length).step_by(AT_ONCE).enumerate() {
            let messages = (start..length.min(start + AT_ONCE)).map(|_| message(Role::User, 200)).collect();
            turn(&mut client, &format!("length-{length}-{session}"), &format!("fill-{number}"), messages).await;
        }
    }
}

#[derive(Clone, Copy)]
enum Until {
    Elapsed(Duration),
    Turns(usize),
}

/// Takes turns in as many sessions at a time; returns how long each turn took.
async fn at_a_time(service: &Service, sessions: usize, name: &str, until: Until) -> Vec<Duration> {
    let mut tasks = JoinSet::new();
    for session in 0..sessions {
        let (mut client, session_key) = (client(service), format!("{name}-{session}"));
        tasks.spawn(async move {
            let began = Instant::now();
            let mut times = Vec::new();
            while match until {
                Until::Elapsed(limit) => began.elapsed() < limit,
                Until::Turns(turns) => times.len() < turns,
            } {
                let messages = vec![message(Role::User, 100), message(Role::Assistant, 400)];
                let run_id = uuid::Uuid::new_v4().to_string();
                let began = Instant::now();
                turn(&mut client, &session_key, &run_id, messages).await;
                times.push(began.elapsed());
            }
            times
        });
    }
    tasks.join_all().await.concat()
}

async fn turn(client: &mut Client, session_key: &str, run_id: &str, messages: Vec<Message>) {
    let request = BeginTurnRequest {
        session_key: session_key.to_owned(),
        agent_id: "main".to_owned(),
        run_id: run_id.to_owned(),
        window_messages: WINDOW,
        wait_ms: 60_000,
        ..BeginTurnRequest::default()
    };
    let begun = client.begin_turn(request).await.unwrap().into_inner();
    let usage = Usage { prompt_tokens: 100, completion_tokens: 50, ..Usage::default() };
    let commit = CommitTurnRequest {
        lease: begun.lease,
        run_id: run_id.to_owned(),
        messages,
        usage: Some(usage),
        ..CommitTurnRequest::default()
    };
    client.commit_turn(commit).await.unwrap();
}

async fn open(url: &str) -> Service {
    let session = SessionConfig { max_messages: 0, ..SessionConfig::default() };
    let config = Config::new(url.parse().unwrap(), session);
    config.build().await.unwrap()
}

fn client(service: &Service) -> Client {
    SessionStoreClient::new(transport::local(service.server()))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

fn message(role: Role, bytes: usize) -> Message {
    let part = Part { kind: Some(Kind::Text("x".repeat(bytes))) };
    Message { role: role.into(), parts: vec![part], ..Message::default() }
}

/// Returns the median in milliseconds.
fn print_row(label: &str, times: &mut [Duration], elapsed: Duration) -> f64 {
    times.sort_unstable();
    let at = |share: f64| {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            clippy::cast_possible_truncation,
            reason = "an index"
        )]
        let index = ((times.len() - 1) as f64 * share) as usize;
        times[index].as_secs_f64() * 1000.0
    };
    #[expect(clippy::cast_precision_loss, reason = "far fewer turns than that")]
    let per_second = times.len() as f64 / elapsed.as_secs_f64();
    println!("{label:>16} {per_second:>12.0} {:>10.2} {:>10.2}", at(0.5), at(0.99));
    at(0.5)
}
