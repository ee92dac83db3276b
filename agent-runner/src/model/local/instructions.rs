//! Instructions that were read before, so that each conversation need not read them again.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{CONTEXT_TOKENS, llama::Cache};

/// Tokens to keep in all; of this model one takes 45 KiB.
const KEPT_TOKENS: usize = CONTEXT_TOKENS;

/// Caches of instructions, the latest used last.
#[derive(Default)]
pub(super) struct Instructions {
    kept: Mutex<VecDeque<Arc<Kept>>>,
}

struct Kept {
    tokens: Vec<u32>,
    cache: Cache,
}

impl Instructions {
    /// A copy of the cache that has read the most of the beginning of these tokens, if any has.
    pub(super) fn read_of(&self, tokens: &[u32]) -> Option<Cache> {
        let (common, best) = {
            let mut kept = self.lock();
            let common = |kept: &Kept| kept.tokens.iter().zip(tokens).take_while(|(kept, token)| kept == token).count();
            let (index, length) = (0..).zip(kept.iter().map(|kept| common(kept))).max_by_key(|(_, length)| *length)?;
            let best = kept.remove(index)?;
            kept.push_back(Arc::clone(&best));
            (length, best)
        };
        (common > 0).then(|| best.cache.first(common))
    }

    /// Keeps what has read all of these tokens, in place of what was used longest ago.
    pub(super) fn keep(&self, tokens: &[u32], cache: Cache) {
        let mut kept = self.lock();
        kept.retain(|other| !tokens.starts_with(&other.tokens));
        kept.push_back(Arc::new(Kept { tokens: tokens.to_vec(), cache }));
        while kept.iter().map(|kept| kept.tokens.len()).sum::<usize>() > KEPT_TOKENS {
            kept.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Kept>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
