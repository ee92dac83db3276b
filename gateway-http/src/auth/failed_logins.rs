//! Guessing secrets is made slow: whoever shows too many wrong ones is not heard for a while.

use std::{
    num::NonZeroUsize,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lru::LruCache;
use tokio::time::Instant;

use crate::{address::Block, error::ApiError};

/// Clients that are remembered at most; the one that has been quiet for longest is forgotten first.
const MAX_CLIENTS: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");
/// The first delay of a client that is not locked out. Each further one is twice as long.
const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// How many wrong secrets a client may show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoginLimits {
    /// Wrong secrets within the window; zero for any number.
    pub(crate) max_attempts: u32,
    pub(crate) window: Duration,
    /// How long a client that showed as many is refused.
    pub(crate) lockout: Duration,
    /// Whether this machine's own clients are delayed instead.
    pub(crate) exempt_loopback: bool,
}

/// The clients that showed wrong secrets of late. Those whose address is unknown count as one.
pub(crate) struct FailedLogins {
    clients: Mutex<LruCache<Option<Block>, Failures>>,
    /// How many there are, to be looked at without the lock: mostly there are none.
    count: AtomicUsize,
}

struct Failures {
    since: Instant,
    count: u32,
    locked_until: Option<Instant>,
}

impl FailedLogins {
    pub(crate) fn new() -> Self {
        Self { clients: Mutex::new(LruCache::new(MAX_CLIENTS)), count: AtomicUsize::new(0) }
    }

    /// Refuses a client that is locked out.
    pub(crate) fn check(&self, client: Option<Block>, limits: &LoginLimits) -> Result<(), ApiError> {
        if self.is_empty() || !limits.lock_out(client) {
            return Ok(());
        }
        let locked_until = self.clients().peek(&client).and_then(|failures| failures.locked_until);
        match locked_until.and_then(|until| until.checked_duration_since(Instant::now())) {
            Some(left) if !left.is_zero() => Err(ApiError::too_many_failed_logins(left)),
            Some(_) | None => Ok(()),
        }
    }

    /// Notes a wrong secret; returns how long its answer is to be delayed.
    pub(crate) fn note(&self, client: Option<Block>, limits: &LoginLimits) -> Duration {
        if limits.max_attempts == 0 {
            return Duration::ZERO;
        }
        let now = Instant::now();
        let mut clients = self.clients();
        let failures = clients.get_or_insert_mut(client, || Failures { since: now, count: 0, locked_until: None });
        if now.duration_since(failures.since) >= limits.window {
            (failures.since, failures.count) = (now, 0);
        }
        failures.count = failures.count.saturating_add(1);
        let count = failures.count;
        if limits.lock_out(client) && count >= limits.max_attempts {
            failures.locked_until = Some(now + limits.lockout);
            failures.count = 0;
            tracing::warn!("a client showed too many wrong secrets and is locked out");
        }
        self.count.store(clients.len(), Ordering::Relaxed);
        drop(clients);
        if limits.lock_out(client) { Duration::ZERO } else { delay(count) }
    }

    /// Forgets what a client did that knows a secret after all.
    pub(crate) fn forget(&self, client: Option<Block>) {
        if self.is_empty() {
            return;
        }
        let mut clients = self.clients();
        clients.pop(&client);
        self.count.store(clients.len(), Ordering::Relaxed);
    }

    fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    fn clients(&self) -> MutexGuard<'_, LruCache<Option<Block>, Failures>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LoginLimits {
    /// Whether this client is locked out, rather than delayed.
    fn lock_out(&self, client: Option<Block>) -> bool {
        self.max_attempts > 0 && !(self.exempt_loopback && client.is_some_and(Block::is_loopback))
    }
}

/// The delay of the answer to a wrong secret, of which this many came in a row.
fn delay(count: u32) -> Duration {
    let factor = 1_u32.checked_shl(count.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_DELAY.saturating_mul(factor).min(LONGEST_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: LoginLimits = LoginLimits {
        max_attempts: 3,
        window: Duration::from_secs(60),
        lockout: Duration::from_secs(300),
        exempt_loopback: true,
    };

    fn client(address: &str) -> Block {
        Block::of(address.parse().expect("an address"))
    }

    fn fail(failed_logins: &FailedLogins, client: Option<Block>, times: u32) {
        for _ in 0..times {
            assert_eq!(failed_logins.note(client, &LIMITS), Duration::ZERO);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_locked_out_for_a_while() {
        let failed_logins = FailedLogins::new();
        let (mallory, alice) = (Some(client("192.0.2.1")), Some(client("192.0.2.2")));
        fail(&failed_logins, mallory, 2);
        assert_eq!(failed_logins.check(mallory, &LIMITS), Ok(()));
        fail(&failed_logins, mallory, 1);
        let refused = ApiError::too_many_failed_logins(LIMITS.lockout);
        assert_eq!(failed_logins.check(mallory, &LIMITS), Err(refused));
        assert_eq!(failed_logins.check(alice, &LIMITS), Ok(()));
        assert_eq!(failed_logins.check(None, &LIMITS), Ok(()));
        tokio::time::advance(LIMITS.lockout).await;
        assert_eq!(failed_logins.check(mallory, &LIMITS), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_secret_and_time_wipe_the_slate() {
        let failed_logins = FailedLogins::new();
        let alice = Some(client("192.0.2.2"));
        fail(&failed_logins, alice, 2);
        failed_logins.forget(alice);
        fail(&failed_logins, alice, 2);
        tokio::time::advance(LIMITS.window).await;
        fail(&failed_logins, alice, 2);
        assert_eq!(failed_logins.check(alice, &LIMITS), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn whose_address_is_unknown_counts_as_one() {
        let failed_logins = FailedLogins::new();
        fail(&failed_logins, None, 3);
        assert!(failed_logins.check(None, &LIMITS).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn this_machine_is_delayed_and_not_locked_out() {
        let failed_logins = FailedLogins::new();
        let here = Some(client("127.0.0.1"));
        let delays: Vec<_> = (0..7).map(|_| failed_logins.note(here, &LIMITS).as_millis()).collect();
        assert_eq!(delays, [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000]);
        assert_eq!(failed_logins.check(here, &LIMITS), Ok(()));
        let strict = LoginLimits { exempt_loopback: false, ..LIMITS };
        assert_eq!(failed_logins.note(here, &strict), Duration::ZERO);
        assert!(failed_logins.check(here, &strict).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_is_forgotten_when_there_are_too_many() {
        let failed_logins = FailedLogins::new();
        let number = |number: u32| Some(Block::of(std::net::Ipv4Addr::from_bits(number).into()));
        fail(&failed_logins, number(0), 3);
        for other in 1..=u32::try_from(MAX_CLIENTS.get()).expect("a small number") {
            fail(&failed_logins, number(other), 1);
        }
        assert_eq!(failed_logins.clients().len(), MAX_CLIENTS.get());
        assert_eq!(failed_logins.check(number(0), &LIMITS), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn no_attempts_to_count_are_no_limit() {
        let failed_logins = FailedLogins::new();
        let off = LoginLimits { max_attempts: 0, ..LIMITS };
        assert_eq!(failed_logins.note(Some(client("192.0.2.1")), &off), Duration::ZERO);
        assert_eq!(failed_logins.check(Some(client("192.0.2.1")), &off), Ok(()));
        assert!(failed_logins.is_empty());
    }
}
