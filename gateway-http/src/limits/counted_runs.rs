//! The runs that count here though their client may be gone: who asks for one of them again has no second one.

use std::sync::Arc;

use dashmap::DashMap;

/// By their ids, how often each counts.
#[derive(Clone, Default)]
pub(crate) struct CountedRuns(Arc<DashMap<String, usize>>);

/// One of them, for as long as it lives.
pub(crate) struct CountedRun {
    runs: CountedRuns,
    run_id: String,
}

impl CountedRuns {
    pub(super) fn contains(&self, run_id: &str) -> bool {
        self.0.contains_key(run_id)
    }

    pub(crate) fn add(&self, run_id: &str) -> CountedRun {
        *self.0.entry(run_id.to_owned()).or_default() += 1;
        CountedRun { runs: self.clone(), run_id: run_id.to_owned() }
    }
}

impl Drop for CountedRun {
    fn drop(&mut self) {
        let mut left = 0;
        self.runs.0.alter(&self.run_id, |_, count| {
            left = count - 1;
            left
        });
        if left == 0 {
            self.runs.0.remove_if(&self.run_id, |_, count| *count == 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_counts_until_all_who_count_it_are_gone() {
        let runs = CountedRuns::default();
        let (one, other) = (runs.add("r1"), runs.add("r1"));
        assert!(runs.contains("r1") && !runs.contains("r2"));
        drop(one);
        assert!(runs.contains("r1"));
        drop(other);
        assert!(!runs.contains("r1") && runs.0.is_empty());
    }
}
