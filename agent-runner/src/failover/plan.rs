//! The order in which one question is put to models and keys: decided here, carried out by the run.

use std::{ops::Range, time::Duration};

use tokio::time::Instant;

use super::{Candidate, Failover, cooldown::Severity};
use crate::{
    failure::{self, Failure},
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
    /// When the current attempt begins.
    began: Instant,
    /// The keys that have failed, with their candidates.
    spent: Vec<(usize, usize)>,
    retries: u32,
    /// Whether everything that is left is cooling down, and is asked once all the same.
    is_last_resort: bool,
    failures: Vec<(usize, model::Error)>,
}

impl<'a> Plan<'a> {
    /// The first attempt: the first candidate that is not cooling down. When all are, the one that is ready soonest: nobody
    /// is refused an answer without anybody having been asked.
    ///
    /// # Panics
    /// When there is no candidate.
    pub(crate) fn new(failover: &'a Failover, candidates: &'a [Candidate]) -> (Self, Attempt) {
        let current = Attempt { candidate: 0, key: 0, pause: Duration::ZERO };
        let mut plan = Self {
            failover,
            candidates,
            current,
            began: Instant::now(),
            spent: Vec::new(),
            retries: 0,
            is_last_resort: false,
            failures: Vec::new(),
        };
        let first = plan.next_candidate(0).or_else(|| plan.last_resort()).expect("there is a candidate");
        plan.current = first;
        (plan, first)
    }

    /// The current attempt gave its answer.
    pub(crate) fn answered(&self) {
        self.failover.provider(self.provider()).answered(self.current.key, self.began);
    }

    /// The current attempt failed after it had given some of its answer, so that nothing can be done about it. What says
    /// of itself that it should be left alone is; a connection may break once.
    pub(crate) fn broke_off(&mut self, error: &model::Error) {
        match error.class() {
            class @ (Class::RateLimit | Class::Auth | Class::Billing | Class::Overloaded) => {
                self.cool_down(class, error.retry_after());
            }
            Class::Network | Class::Timeout | Class::Transient | Class::ContextOverflow | Class::BadRequest => {}
        }
    }

    /// What to do after the current attempt has failed without giving any text; nothing when all has been tried.
    pub(crate) fn failed(&mut self, error: model::Error) -> Option<Attempt> {
        let (class, asked_for) = (error.class(), error.retry_after());
        let attempt = self.same_key(class, asked_for).or_else(|| {
            self.cool_down(class, asked_for);
            self.retries = 0;
            self.other_key(class)
                .or_else(|| self.next_candidate(self.current.candidate + 1))
                .or_else(|| self.last_resort())
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
            }
            self.began = Instant::now() + next.pause;
            self.current = next;
        }
        self.failures.push((candidate, error));
        attempt
    }

    /// Why nobody answered: the first reason that may pass, else the first, and all of them in words when several models
    /// were asked.
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
        let decisive = failures.iter().position(|(_, error)| failure::is_retryable(error)).unwrap_or(0);
        let (_, decisive) = failures.swap_remove(decisive);
        if is_single { Failure::Model(decisive) } else { Failure::AllModels { decisive, reasons: reasons.join("; ") } }
    }

    fn provider(&self) -> &'a str {
        &self.candidates[self.current.candidate].name.provider
    }

    /// Asks the same key again when the trouble may pass soon.
    fn same_key(&mut self, class: Class, asked_for: Option<Duration>) -> Option<Attempt> {
        let may_pass = match class {
            Class::RateLimit => self.free_key().is_none(),
            Class::Overloaded | Class::Network | Class::Transient => true,
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
        self.spent.push((self.current.candidate, key));
        let state = self.failover.provider(self.provider());
        let (cooldown, severity, what) = match class {
            Class::RateLimit => (&state.keys[key], Severity::Passing { retry_after }, "key"),
            Class::Auth => (&state.keys[key], Severity::Passing { retry_after: None }, "key"),
            Class::Billing => (&state.keys[key], Severity::Billing, "key"),
            Class::Overloaded | Class::Timeout | Class::Network => {
                (&state.whole, Severity::Passing { retry_after }, "provider")
            }
            // The request's fault or ours, or the model's, and not theirs.
            Class::ContextOverflow | Class::BadRequest | Class::Transient => return,
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
            Class::Overloaded
            | Class::Timeout
            | Class::Network
            | Class::ContextOverflow
            | Class::BadRequest
            | Class::Transient => return None,
        };
        Some(Attempt { key, pause: Duration::ZERO, ..self.current })
    }

    fn free_key(&self) -> Option<usize> {
        let Attempt { candidate, key: current, .. } = self.current;
        let is_spent = |key: usize| key == current || self.spent.contains(&(candidate, key));
        self.keys(candidate).find(|&key| !is_spent(key) && self.wait(candidate, key).is_zero())
    }

    /// The first candidate from here on that is not cooling down.
    fn next_candidate(&self, from: usize) -> Option<Attempt> {
        self.untried().filter(|&candidate| candidate >= from).find_map(|candidate| {
            let key = self.keys(candidate).find(|&key| self.wait(candidate, key).is_zero())?;
            Some(Attempt { candidate, key, pause: Duration::ZERO })
        })
    }

    /// Of the candidates that are left, the one that is ready soonest, with its key that is.
    fn last_resort(&mut self) -> Option<Attempt> {
        self.is_last_resort = true;
        let keys = self.untried().flat_map(|candidate| self.keys(candidate).map(move |key| (candidate, key)));
        let (candidate, key) = keys.min_by_key(|&(candidate, key)| self.wait(candidate, key))?;
        Some(Attempt { candidate, key, pause: Duration::ZERO })
    }

    /// The candidates that this question has not failed with.
    fn untried(&self) -> impl Iterator<Item = usize> {
        (0..self.candidates.len()).filter(|candidate| self.spent.iter().all(|(spent, _)| spent != candidate))
    }

    fn keys(&self, candidate: usize) -> Range<usize> {
        0..self.candidates[candidate].provided.keys.len()
    }

    fn wait(&self, candidate: usize, key: usize) -> Duration {
        self.failover.provider(&self.candidates[candidate].name.provider).wait(key)
    }
}

#[cfg(test)]
mod tests;
