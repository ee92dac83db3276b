//! What each caller has in use. It outlives a change of the settings.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use dashmap::DashMap;

use super::{
    Holder,
    rate::{Bucket, Rate, RateStatus},
};

/// Callers that are told apart at most; when there are more at a time, those who come later count as one.
const MAX_HOLDERS: usize = 10_000;
/// After that a caller that does nothing is as good as a new one, because its bucket is full again.
const REST: Duration = Duration::from_secs(60);

/// What every caller has in use.
pub(crate) struct Usages {
    /// Sharded; what is counted is counted without a lock.
    holders: DashMap<Holder, Arc<Usage>>,
    began: Instant,
}

/// What one caller has in use.
#[derive(Default)]
pub(super) struct Usage {
    pub(super) runs: AtomicU32,
    pub(super) streams: AtomicU32,
    bucket: ArcSwapOption<Bucket>,
    /// When it was last looked at, in milliseconds since the gateway began.
    last_used_ms: AtomicU64,
}

impl Usages {
    pub(crate) fn new() -> Self {
        Self { holders: DashMap::new(), began: Instant::now() }
    }

    /// What this caller has in use.
    pub(super) fn of(&self, holder: Holder) -> Arc<Usage> {
        let usage = self.find(&holder).unwrap_or_else(|| self.add(holder));
        usage.last_used_ms.store(self.now_ms(), Ordering::Relaxed);
        usage
    }

    fn find(&self, holder: &Holder) -> Option<Arc<Usage>> {
        self.holders.get(holder).map(|usage| Arc::clone(&usage))
    }

    fn add(&self, holder: Holder) -> Arc<Usage> {
        let mut holder = holder;
        if self.holders.len() >= MAX_HOLDERS {
            self.forget_the_idle();
            if self.holders.len() >= MAX_HOLDERS {
                holder = Holder::Others;
            }
        }
        let usage = Usage { last_used_ms: AtomicU64::new(self.now_ms()), ..Usage::default() };
        Arc::clone(&self.holders.entry(holder).or_insert_with(|| Arc::new(usage)))
    }

    /// A caller is idle that has nothing in use and whose bucket is full.
    fn forget_the_idle(&self) {
        let rest_ms = u64::try_from(REST.as_millis()).expect("a minute");
        let now_ms = self.now_ms();
        self.holders.retain(|_, usage| {
            let idle_ms = now_ms.saturating_sub(usage.last_used_ms.load(Ordering::Relaxed));
            Arc::strong_count(usage) > 1 || idle_ms < rest_ms
        });
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Usage {
    /// Counts a request. If it is one too many, says how long the next has to wait.
    pub(super) fn count_request(&self, rate: Rate) -> (RateStatus, Option<Duration>) {
        let usable = |bucket: &Option<Arc<Bucket>>| bucket.clone().filter(|bucket| bucket.is_of(rate));
        let bucket = usable(&self.bucket.load()).unwrap_or_else(|| {
            // The first request, or the first after the rate was changed. Of several at once, one makes the bucket.
            let made = Arc::new(Bucket::new(rate));
            self.bucket.rcu(|bucket| Some(usable(bucket).unwrap_or_else(|| Arc::clone(&made))));
            usable(&self.bucket.load()).unwrap_or(made)
        });
        bucket.count_request()
    }
}

/// Takes one more, if there may be.
pub(super) fn take(count: &AtomicU32, limit: Option<NonZeroU32>) -> bool {
    let more = |count: u32| limit.is_none_or(|limit| count < limit.get()).then(|| count.saturating_add(1));
    count.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
}

/// Gives one back that was taken.
pub(super) fn give_back(count: &AtomicU32) {
    count.fetch_sub(1, Ordering::AcqRel);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Block;

    fn at(number: usize) -> Holder {
        let number = u32::try_from(number).expect("a small number");
        Holder::Address(Some(Block::of(std::net::Ipv4Addr::from_bits(number).into())))
    }

    #[test]
    fn there_are_only_so_many_callers_at_a_time() {
        let usages = Usages::new();
        for number in 0..MAX_HOLDERS {
            usages.of(at(number));
        }
        let late = usages.of(at(MAX_HOLDERS));
        let later = usages.of(at(MAX_HOLDERS + 1));
        assert!(Arc::ptr_eq(&late, &later));
        assert!(!Arc::ptr_eq(&late, &usages.of(at(0))));
        assert!(usages.holders.len() <= MAX_HOLDERS + 1);
    }

    #[test]
    fn a_changed_rate_counts_anew() {
        let usage = Usage::default();
        let rate = |number| {
            let number = NonZeroU32::new(number).expect("not zero");
            Rate { per_minute: number, burst: number }
        };
        assert_eq!(usage.count_request(rate(1)).1, None);
        assert!(usage.count_request(rate(1)).1.is_some());
        assert_eq!(usage.count_request(rate(2)).1, None);
    }
}
