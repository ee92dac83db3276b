//! Any order of calls, expiries and crashes, against a model of what has to come of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_oneof},
    test_runner::{Config, TestRunner},
};
use proto::session::v1::BeginTurnResponse;
use tokio::{runtime::Handle, task::spawn_blocking, time::timeout};
use tonic::Code;

use crate::database::{Beginning, Database, LONG_MS, Store, arrive, asks, asks_now, lease, refused, texts};

const CASES: u32 = 48;
const LONGEST: usize = 40;
/// How many runs there are at a time.
const RUNS: usize = 5;
/// Far longer than a turn that is free takes to reach who is first in line.
const SOON: Duration = Duration::from_secs(20);

/// What happens next. A number stands for one of what there is then.
#[derive(Clone, Copy, Debug)]
enum Event {
    Begin {
        run: usize,
        replica: usize,
    },
    BeginNow {
        run: usize,
        replica: usize,
    },
    BeginCommitted {
        run: usize,
        replica: usize,
    },
    Renew {
        lease: usize,
        replica: usize,
    },
    Commit {
        lease: usize,
        replica: usize,
        /// Whether there was a first call, whose caller did not live to hear of it.
        is_repeated: bool,
    },
    Abandon {
        lease: usize,
        replica: usize,
    },
    Expire,
    HangUp {
        waiting: usize,
    },
    Crash {
        replica: usize,
    },
    Reset {
        replica: usize,
    },
    /// Whoever is first in line looks, and takes what is free.
    Settle,
}

/// What should be, and what is under test.
struct World<'a> {
    database: &'a Database,
    replicas: Vec<Store>,
    session_key: String,
    exists: bool,
    transcript: Vec<String>,
    /// How many turns each run's predecessors of the same number have committed.
    generations: [usize; RUNS],
    leases: Vec<Seen>,
    /// The index of the lease that is the newest and not given back.
    holder: Option<usize>,
    has_expired: bool,
    line: Vec<Waiting>,
}

/// A lease that was given at some time.
struct Seen {
    begun: BeginTurnResponse,
    run: usize,
    run_id: String,
    /// The number of the last message, if its turn is committed and the transcript is still there.
    committed: Option<u64>,
}

struct Waiting {
    run: usize,
    replica: usize,
    beginning: Beginning,
}

pub(crate) async fn any_interleaving_leaves_what_the_model_says(database: Database) {
    let (database, number, runtime) = (Arc::new(database), AtomicUsize::new(0), Handle::current());
    let checking = spawn_blocking(move || {
        let config = Config { cases: CASES, failure_persistence: None, max_shrink_iters: 100, ..Config::default() };
        let checked = TestRunner::new(config).run(&vec(event(), 1..LONGEST), |events| {
            let session_key = format!("key-{}", number.fetch_add(1, Ordering::Relaxed));
            runtime.block_on(check(&database, session_key, &events));
            Ok(())
        });
        checked.unwrap_or_else(|failure| panic!("{failure}"));
    });
    checking.await.unwrap();
}

fn event() -> impl Strategy<Value = Event> {
    let number = || any::<usize>();
    prop_oneof![
        6 => (0..RUNS, number()).prop_map(|(run, replica)| Event::Begin { run, replica }),
        2 => (0..RUNS, number()).prop_map(|(run, replica)| Event::BeginNow { run, replica }),
        1 => (number(), number()).prop_map(|(run, replica)| Event::BeginCommitted { run, replica }),
        2 => (number(), number()).prop_map(|(lease, replica)| Event::Renew { lease, replica }),
        6 => (number(), number(), any::<bool>())
            .prop_map(|(lease, replica, is_repeated)| Event::Commit { lease, replica, is_repeated }),
        2 => (number(), number()).prop_map(|(lease, replica)| Event::Abandon { lease, replica }),
        1 => Just(Event::Expire),
        1 => number().prop_map(|waiting| Event::HangUp { waiting }),
        1 => number().prop_map(|replica| Event::Crash { replica }),
        1 => number().prop_map(|replica| Event::Reset { replica }),
        6 => Just(Event::Settle),
    ]
}

async fn check(database: &Database, session_key: String, events: &[Event]) {
    let mut replicas = Vec::new();
    for _ in 0..database.replicas() {
        replicas.push(database.open().await);
    }
    let mut world = World {
        database,
        replicas,
        session_key,
        exists: false,
        transcript: Vec::new(),
        generations: [0; RUNS],
        leases: Vec::new(),
        holder: None,
        has_expired: false,
        line: Vec::new(),
    };
    for event in events {
        world.apply(*event).await;
    }
    world.settle().await;
    if world.exists {
        assert_eq!(world.replicas[0].transcript(&world.session_key).await, world.transcript);
    }
    world.line.clear();
    for replica in world.replicas {
        replica.service.shutdown().await;
    }
}

impl World<'_> {
    async fn apply(&mut self, event: Event) {
        match event {
            Event::Settle => self.settle().await,
            Event::Begin { run, replica } => self.begin(run, replica % self.replicas.len()).await,
            Event::BeginNow { run, replica } => {
                let outcome = self.replica(replica).begin(asks_now(&self.session_key, &self.run_id(run))).await;
                if self.may_begin(run) {
                    self.granted(outcome.unwrap(), run);
                } else {
                    refused(outcome, Code::ResourceExhausted);
                }
            }
            Event::BeginCommitted { run, replica } => {
                let committed: Vec<_> = self.leases.iter().filter(|seen| seen.committed.is_some()).collect();
                if let Some(seen) = pick(&committed, run) {
                    let request = asks(&self.session_key, &seen.run_id);
                    refused(self.replica(replica).begin(request).await, Code::AlreadyExists);
                }
            }
            Event::Renew { lease, replica } => {
                let Some(index) = lease.checked_rem(self.leases.len()) else { return };
                let outcome = self.replica(replica).renew(&self.leases[index].begun, LONG_MS).await;
                if self.holder == Some(index) {
                    outcome.unwrap();
                    self.has_expired = false;
                } else {
                    refused(outcome, Code::FailedPrecondition);
                }
            }
            Event::Commit { lease, replica, is_repeated } => self.commit(lease, replica, is_repeated).await,
            Event::Abandon { lease, replica } => {
                let Some(index) = lease.checked_rem(self.leases.len()) else { return };
                self.replica(replica).abandon(&self.leases[index].begun).await.unwrap();
                self.holder = self.holder.filter(|holder| *holder != index);
            }
            Event::Expire => {
                let key = &self.session_key;
                let sql = format!("UPDATE sessions SET lease_expires_at_ms = 1 WHERE session_key = '{key}'");
                // The table is there once a replica is.
                self.database.shell.execute(&sql).await;
                self.has_expired = true;
            }
            Event::HangUp { waiting } => {
                let Some(index) = waiting.checked_rem(self.line.len()) else { return };
                drop(self.line.remove(index));
                self.line_has_left().await;
            }
            Event::Crash { replica } => {
                let replica = replica % self.replicas.len();
                self.line.retain(|waiting| waiting.replica != replica);
                self.line_has_left().await;
                self.replicas[replica] = self.database.open().await;
            }
            Event::Reset { replica } => {
                let outcome = self.replica(replica).reset(&self.session_key).await;
                if !self.exists {
                    refused(outcome, Code::NotFound);
                    return;
                }
                outcome.unwrap();
                self.transcript.clear();
                self.holder = None;
                self.leases.iter_mut().for_each(|seen| seen.committed = None);
            }
        }
    }

    async fn begin(&mut self, run: usize, replica: usize) {
        if self.line.iter().any(|waiting| waiting.run == run) {
            return;
        }
        let request = asks(&self.session_key, &self.run_id(run));
        if self.may_begin(run) {
            let begun = self.replicas[replica].begin(request).await.unwrap();
            self.granted(begun, run);
        } else {
            let beginning = self.replicas[replica].begin_and_wait(request).await;
            self.line.push(Waiting { run, replica, beginning });
        }
    }

    async fn commit(&mut self, lease: usize, replica: usize, is_repeated: bool) {
        let Some(index) = lease.checked_rem(self.leases.len()) else { return };
        let Seen { begun, run, run_id, committed } = &self.leases[index];
        let texts = [format!("{run_id} asks"), format!("{run_id} gets an answer")];
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        if is_repeated {
            let mut unheard = Box::pin(self.replica(replica.wrapping_add(1)).commit(begun, run_id, &texts));
            let _ = arrive(&mut unheard).await;
        }
        let outcome = self.replica(replica).commit(begun, run_id, &texts).await;
        if self.holder == Some(index) {
            self.transcript.extend(texts.iter().map(|&text| text.to_owned()));
            assert_eq!(outcome.unwrap(), self.transcript.len() as u64);
            self.generations[*run] += 1;
            self.holder = None;
            self.leases[index].committed = Some(self.transcript.len() as u64);
        } else if let Some(last_seq) = committed {
            assert_eq!(outcome.unwrap(), *last_seq);
        } else {
            refused(outcome, Code::FailedPrecondition);
        }
    }

    /// A free lease reaches who is first in line, and nobody else.
    async fn settle(&mut self) {
        while self.is_free() && !self.line.is_empty() {
            let first = self.line.remove(0);
            let begun = timeout(SOON, first.beginning).await.expect("the first in line has its turn").unwrap();
            self.granted(begun, first.run);
        }
        if self.exists {
            let in_flight = self.replicas[0].get(&self.session_key).await.unwrap().turn_in_flight;
            let holder = self.holder.filter(|_| !self.has_expired).map(|holder| &self.leases[holder]);
            let expected = holder.map(|seen| (seen.begun.lease.clone(), seen.run_id.clone()));
            assert_eq!(in_flight.map(|turn| (turn.lease, turn.run_id)), expected);
        }
    }

    fn granted(&mut self, begun: BeginTurnResponse, run: usize) {
        if let Some(last) = self.leases.last() {
            assert!(lease(&begun).token > lease(&last.begun).token);
        }
        assert_eq!(texts(&begun.messages), self.transcript);
        self.exists = true;
        self.has_expired = false;
        self.holder = Some(self.leases.len());
        self.leases.push(Seen { begun, run, run_id: self.run_id(run), committed: None });
    }

    fn may_begin(&self, run: usize) -> bool {
        let is_own = self.holder.is_some_and(|holder| self.leases[holder].run_id == self.run_id(run));
        is_own || (self.is_free() && self.line.is_empty())
    }

    fn is_free(&self) -> bool {
        self.holder.is_none() || self.has_expired
    }

    /// Waits until those who hung up have left.
    async fn line_has_left(&self) {
        let length = i64::try_from(self.line.len()).unwrap();
        self.replicas[0].line_has(&self.session_key, length).await;
    }

    fn replica(&self, number: usize) -> &Store {
        &self.replicas[number % self.replicas.len()]
    }

    fn run_id(&self, run: usize) -> String {
        format!("run-{run}-{}", self.generations[run])
    }
}

fn pick<T>(all: &[T], number: usize) -> Option<&T> {
    number.checked_rem(all.len()).map(|index| &all[index])
}
