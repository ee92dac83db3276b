//! The order in which one question is put to models and keys: decided here, carried out by the run.

use std::time::Duration;

use super::{Candidate, Failover, cooldown::Severity};
use crate::{
    failure::Failure,
    metrics,
    model::{self, Class},
};

const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Asks the next model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// Which of the candidates.
    pub(crate) candidate: usize,
    /// Which of its provider's keys.
    pub(crate) key: usize,
    /// How long to wait before.
    pub(crate) pause: Duration,
}

/// One question's way through the candidates.
pub(crate) struct Plan<'a> {
    failover: &'a Failover,
    candidates: &'a [Candidate],
    current: Attempt,
    /// The keys of the current candidate that have failed.
    spent: Vec<usize>,
    retries: u32,
    /// Whether everything is cooling down, so that one is asked all the same.
    is_last_resort: bool,
    failures: Vec<(usize, model::Error)>,
}

impl<'a> Plan<'a> {
    /// The first attempt: the first candidate that is not cooling down. When all are, the first one all the same, with
    /// the key that is ready soonest: nobody is refused an answer without anybody having been asked.
    ///
    /// # Panics
    /// When there is no candidate.
    pub(crate) fn new(failover: &'a Failover, candidates: &'a [Candidate]) -> (Self, Attempt) {
        let start = Attempt { candidate: 0, key: 0, pause: Duration::ZERO };
        let (spent, failures) = (Vec::new(), Vec::new());
        let mut plan =
            Self { failover, candidates, current: start, spent, retries: 0, is_last_resort: false, failures };
        let first = plan.next_candidate(0).unwrap_or_else(|| {
            plan.is_last_resort = true;
            Attempt { key: plan.soonest_key(0), ..start }
        });
        plan.current = first;
        (plan, first)
    }

    /// The current attempt gave its answer.
    pub(crate) fn answered(&self) {
        self.failover.provider(self.provider()).answered(self.current.key);
    }

    /// The current attempt failed after it had given some of its answer, so that nothing can be done about it. What says
    /// of itself that it should be left alone is; a connection may break once.
    pub(crate) fn broke_off(&mut self, error: &model::Error) {
        match error.class() {
            class @ (Class::RateLimit | Class::Auth | Class::Billing | Class::Overloaded) => {
                self.cool_down(class, error.retry_after());
            }
            Class::Network | Class::Timeout | Class::ContextOverflow | Class::BadRequest => {}
        }
    }

    /// What to do after the current attempt has failed without giving any text; nothing when all has been tried.
    pub(crate) fn failed(&mut self, error: model::Error) -> Option<Attempt> {
        let (class, asked_for) = (error.class(), error.retry_after());
        let attempt = self.same_key(class, asked_for).or_else(|| {
            self.cool_down(class, asked_for);
            self.retries = 0;
            self.other_key(class).or_else(|| self.next_candidate(self.current.candidate + 1))
        });
        let candidate = self.current.candidate;
        if let Some(next) = attempt {
            tracing::warn!(
                gen_ai.provider.name = self.provider(),
                gen_ai.request.model = self.candidates[candidate].name.model,
                error.type = class.name(),
                next.model = %self.candidates[next.candidate].name,
                next.pause_ms = u64::try_from(next.pause.as_millis()).unwrap_or(u64::MAX),
                "a model did not answer; asking again or another"
            );
            if next.candidate != candidate {
                metrics::failed_over(self.provider(), class);
                self.spent.clear();
            }
            self.current = next;
        }
        self.failures.push((candidate, error));
        attempt
    }

    /// Why nobody answered: the first model's reason, and all of them in words when several were asked.
    ///
    /// # Panics
    /// When nothing has failed.
    pub(crate) fn failure(self) -> Failure {
        // Of a model that was asked again the last reason counts.
        let mut failures: Vec<(usize, model::Error)> = Vec::new();
        for (candidate, error) in self.failures {
            match failures.last_mut() {
                Some((last, reason)) if *last == candidate => *reason = error,
                Some(_) | None => failures.push((candidate, error)),
            }
        }
        let reasons: Vec<String> =
            failures.iter().map(|(index, error)| format!("{}: {error}", self.candidates[*index].name)).collect();
        let is_single = failures.len() == 1;
        let (_, first) = failures.into_iter().next().expect("only a failed plan has a failure");
        if is_single { Failure::Model(first) } else { Failure::AllModels { first, reasons: reasons.join("; ") } }
    }

    fn provider(&self) -> &'a str {
        &self.candidates[self.current.candidate].name.provider
    }

    /// Asks the same key again when the trouble may pass soon.
    fn same_key(&mut self, class: Class, asked_for: Option<Duration>) -> Option<Attempt> {
        let may_pass = match class {
            Class::RateLimit => self.free_key().is_none(),
            Class::Overloaded | Class::Network => true,
            // Having waited that long once is enough.
            Class::Timeout | Class::Auth | Class::Billing | Class::ContextOverflow | Class::BadRequest => false,
        };
        let patience = self.failover.patience;
        if !may_pass || self.is_last_resort || self.retries >= patience.retries {
            return None;
        }
        let backoff = FIRST_PAUSE * 2_u32.saturating_pow(self.retries);
        // Half of it is chance, so that runs which failed together do not come back together.
        let backoff = backoff.mul_f64(0.5 + fastrand::f64() / 2.0);
        let pause = asked_for.unwrap_or_default().max(backoff);
        if pause > patience.longest_pause {
            return None;
        }
        self.retries += 1;
        Some(Attempt { pause, ..self.current })
    }

    /// Leaves what failed alone for a while: the key, or the whole provider.
    fn cool_down(&mut self, class: Class, retry_after: Option<Duration>) {
        let key = self.current.key;
        self.spent.push(key);
        let state = self.failover.provider(self.provider());
        let (cooldown, severity, what) = match class {
            Class::RateLimit => (&state.keys[key], Severity::Passing { retry_after }, "key"),
            Class::Auth => (&state.keys[key], Severity::Passing { retry_after: None }, "key"),
            Class::Billing => (&state.keys[key], Severity::Billing, "key"),
            Class::Overloaded | Class::Timeout | Class::Network => {
                (&state.whole, Severity::Passing { retry_after }, "provider")
            }
            // The request's fault, not theirs.
            Class::ContextOverflow | Class::BadRequest => return,
        };
        let is_new = cooldown.left().is_zero();
        let length = cooldown.begin(severity);
        if is_new {
            metrics::cooled_down(self.provider(), what, class);
        }
        tracing::warn!(
            gen_ai.provider.name = self.provider(),
            key.index = key,
            error.type = class.name(),
            cooldown.seconds = length.as_secs(),
            "a {what} of a model provider is cooling down"
        );
    }

    /// Another key of the same provider, where that can help.
    fn other_key(&self, class: Class) -> Option<Attempt> {
        let key = match class {
            Class::RateLimit | Class::Auth | Class::Billing => self.free_key()?,
            Class::Overloaded | Class::Timeout | Class::Network | Class::ContextOverflow | Class::BadRequest => {
                return None;
            }
        };
        Some(Attempt { key, pause: Duration::ZERO, ..self.current })
    }

    fn free_key(&self) -> Option<usize> {
        let candidate = &self.candidates[self.current.candidate];
        let state = self.failover.provider(&candidate.name.provider);
        (0..candidate.provided.keys.len())
            .find(|&key| key != self.current.key && !self.spent.contains(&key) && state.wait(key).is_zero())
    }

    /// The first candidate from here on that is not cooling down.
    fn next_candidate(&self, from: usize) -> Option<Attempt> {
        (from..self.candidates.len()).find_map(|candidate| {
            let Candidate { name, provided, .. } = &self.candidates[candidate];
            let state = self.failover.provider(&name.provider);
            let key = (0..provided.keys.len()).find(|&key| state.wait(key).is_zero())?;
            Some(Attempt { candidate, key, pause: Duration::ZERO })
        })
    }

    fn soonest_key(&self, candidate: usize) -> usize {
        let Candidate { name, provided, .. } = &self.candidates[candidate];
        let state = self.failover.provider(&name.provider);
        (0..provided.keys.len()).min_by_key(|&key| state.wait(key)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
