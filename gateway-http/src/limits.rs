//! What one caller may take of the gateway: requests per minute, and runs and streams at a time.

mod counted_runs;
mod permit;
mod rate;
mod usage;

use std::num::NonZeroU32;

use shared::Namespace;

use crate::{Gateway, Settings, address::Block, caller::Caller, error::ApiError};

pub(crate) use counted_runs::CountedRuns;
pub(crate) use permit::Permit;
pub(crate) use rate::{Rate, RateReport};
pub(crate) use usage::Usages;

/// The limits of one caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallerLimits {
    pub(crate) rate: Option<Rate>,
    pub(crate) max_runs: Option<NonZeroU32>,
    pub(crate) max_streams: Option<NonZeroU32>,
}

/// Whose use is counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    /// Everybody with one secret, or one user of a trusted proxy; the main secret's namespace has no name.
    Token(Namespace),
    /// Everybody at one address who needed no secret; those without an address together.
    Address(Option<Block>),
    /// Everybody who came when there were too many to be told apart.
    Others,
}

impl Gateway {
    /// Counts a request of the caller's, and refuses it if it is one too many. `report` takes what the answer's headers
    /// say of it.
    pub(crate) fn count_request(
        &self,
        caller: &Caller,
        settings: &Settings,
        report: Option<&RateReport>,
    ) -> Result<(), ApiError> {
        let Some(rate) = caller.limits(settings).rate else { return Ok(()) };
        let (status, waits) = self.inner.usages.of(caller.holder()).count_request(rate);
        if let Some(report) = report {
            report.set(status);
        }
        waits.map_or(Ok(()), |wait| Err(ApiError::rate_limit_exceeded(rate.per_minute, wait)))
    }

    /// Lets the caller begin a run, unless it has as many as it may. The run counts for as long as the permit lives: give
    /// it the answer with [`Permit::hold`].
    pub(crate) fn admit(&self, caller: &Caller) -> Result<Permit, ApiError> {
        let limits = caller.limits(&self.settings());
        if limits.max_runs.is_none() && limits.max_streams.is_none() {
            return Ok(Permit::unlimited());
        }
        Permit::take_run(self.inner.usages.of(caller.holder()), limits)
    }

    /// The same of a run that has a name, and counts once however often it is asked for.
    pub(crate) fn admit_named(&self, caller: &Caller, run_id: &str) -> Result<Permit, ApiError> {
        let limits = caller.limits(&self.settings());
        if limits.max_runs.is_none() || !self.inner.counted_runs.contains(run_id) {
            return self.admit(caller);
        }
        Ok(Permit::of_counted_run(self.inner.usages.of(caller.holder()), limits))
    }

    /// Lets the caller have a stream that tells of a run, likewise.
    pub(crate) fn admit_stream(&self, caller: &Caller) -> Result<Permit, ApiError> {
        let limits = caller.limits(&self.settings());
        if limits.max_streams.is_none() {
            return Ok(Permit::unlimited());
        }
        Permit::of_counted_run(self.inner.usages.of(caller.holder()), limits).streamed()
    }
}
