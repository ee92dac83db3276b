//! The configuration section `gateway.limits`, and a token's own limits.

use std::num::NonZeroU32;

use serde::Deserialize;

use super::Error;
use crate::limits::{CallerLimits, Rate};

/// hyper takes no smaller buffer for a request's head.
const MIN_HEADER_BYTES: usize = 8 * 1024;

/// What clients may take of the gateway; zero is no limit for what is counted of each caller.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct LimitsSection {
    pub(super) max_connections: usize,
    pub(super) max_header_bytes: usize,
    pub(super) max_headers: usize,
    pub(super) max_concurrent_requests: u32,
    pub(super) max_body_bytes_in_flight: usize,
    requests_per_minute: u32,
    request_burst: Option<u32>,
    max_runs_per_token: u32,
    max_streams_per_token: u32,
}

/// The limits of one token, each in place of the general one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct TokenLimits {
    requests_per_minute: Option<u32>,
    request_burst: Option<u32>,
    max_runs: Option<u32>,
    max_streams: Option<u32>,
}

impl LimitsSection {
    /// The limits of a caller that has none of its own.
    pub(super) fn callers(&self) -> Result<CallerLimits, Error> {
        let one_at_least = [("maxConnections", self.max_connections), ("maxHeaders", self.max_headers)]
            .into_iter()
            .chain([("maxConcurrentRequests", usize::try_from(self.max_concurrent_requests).unwrap_or(usize::MAX))]);
        for (key, value) in one_at_least {
            if value == 0 {
                return Err(Error::value(format!("gateway.limits.{key}"), "must be 1 at least"));
            }
        }
        if self.max_header_bytes < MIN_HEADER_BYTES {
            let reason = format!("must be {MIN_HEADER_BYTES} at least");
            return Err(Error::value("gateway.limits.maxHeaderBytes", reason));
        }
        Ok(CallerLimits {
            rate: rate(self.requests_per_minute, self.request_burst)
                .map_err(|reason| Error::value("gateway.limits.requestBurst", reason))?,
            max_runs: NonZeroU32::new(self.max_runs_per_token),
            max_streams: NonZeroU32::new(self.max_streams_per_token),
        })
    }
}

impl TokenLimits {
    /// The token's limits, where it has any of its own. A message is about `limits.requestBurst`.
    pub(super) fn over(&self, general: &CallerLimits) -> Result<Option<CallerLimits>, String> {
        let Self { requests_per_minute, request_burst, max_runs, max_streams } = *self;
        let has_none =
            requests_per_minute.is_none() && request_burst.is_none() && max_runs.is_none() && max_streams.is_none();
        if has_none {
            return Ok(None);
        }
        let rate = match (requests_per_minute, request_burst) {
            (None, None) => general.rate,
            (None, burst) => rate(general.rate.map_or(0, |rate| rate.per_minute.get()), burst)?,
            (Some(per_minute), burst) => rate(per_minute, burst)?,
        };
        Ok(Some(CallerLimits {
            rate,
            max_runs: max_runs.map_or(general.max_runs, NonZeroU32::new),
            max_streams: max_streams.map_or(general.max_streams, NonZeroU32::new),
        }))
    }
}

fn rate(per_minute: u32, burst: Option<u32>) -> Result<Option<Rate>, String> {
    let Some(per_minute) = NonZeroU32::new(per_minute) else { return Ok(None) };
    let burst = burst.map_or(Some(per_minute), NonZeroU32::new).filter(|burst| *burst <= per_minute);
    let burst = burst.ok_or_else(|| format!("must be from 1 to the {per_minute} of requestsPerMinute"))?;
    Ok(Some(Rate { per_minute, burst }))
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self {
            max_connections: 4_096,
            max_header_bytes: 32 * 1024,
            max_headers: 80,
            max_concurrent_requests: 200,
            max_body_bytes_in_flight: 128 * 1024 * 1024,
            requests_per_minute: 0,
            request_burst: None,
            max_runs_per_token: 0,
            max_streams_per_token: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use shared::config;

    use super::*;

    fn general(section: Value) -> Result<CallerLimits, String> {
        let section: LimitsSection = serde_json::from_value(section).expect("a valid section");
        section.callers().map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let section = LimitsSection::default();
        let check = |key: &str, value: &dyn ToString| {
            let key = format!("gateway.limits.{key}");
            assert_eq!(config::documented_default(&key), Some(value.to_string().as_str()), "{key}");
        };
        check("maxConnections", &section.max_connections);
        check("maxHeaderBytes", &section.max_header_bytes);
        check("maxHeaders", &section.max_headers);
        check("maxConcurrentRequests", &section.max_concurrent_requests);
        check("maxBodyBytesInFlight", &section.max_body_bytes_in_flight);
        check("requestsPerMinute", &section.requests_per_minute);
        check("maxRunsPerToken", &section.max_runs_per_token);
        check("maxStreamsPerToken", &section.max_streams_per_token);
    }

    #[test]
    fn a_tokens_own_limits_beat_the_general_ones() {
        let limits = |rate: Option<(u32, u32)>, max_runs, max_streams| CallerLimits {
            rate: rate.map(|(per_minute, burst)| Rate {
                per_minute: NonZeroU32::new(per_minute).expect("not zero"),
                burst: NonZeroU32::new(burst).expect("not zero"),
            }),
            max_runs: NonZeroU32::new(max_runs),
            max_streams: NonZeroU32::new(max_streams),
        };
        let general =
            general(json!({"requestsPerMinute": 10, "requestBurst": 5, "maxRunsPerToken": 3})).expect("valid");
        assert_eq!(general, limits(Some((10, 5)), 3, 0));
        let check = |own: Value, expected: Option<CallerLimits>| {
            let own: TokenLimits = serde_json::from_value(own).expect("a valid section");
            assert_eq!(own.over(&general), Ok(expected));
        };
        check(json!({}), None);
        check(json!({"maxRuns": 0, "maxStreams": 1}), Some(limits(Some((10, 5)), 0, 1)));
        check(json!({"requestsPerMinute": 20}), Some(limits(Some((20, 20)), 3, 0)));
        check(json!({"requestBurst": 2}), Some(limits(Some((10, 2)), 3, 0)));
        check(json!({"requestsPerMinute": 0}), Some(limits(None, 3, 0)));
    }

    #[test]
    fn a_limit_that_makes_no_sense_is_refused_by_its_key() {
        let check = |section: Value, expected: &str| assert_eq!(general(section), Err(expected.to_owned()));
        check(json!({"maxConnections": 0}), "gateway.limits.maxConnections: must be 1 at least");
        check(json!({"maxHeaders": 0}), "gateway.limits.maxHeaders: must be 1 at least");
        check(json!({"maxConcurrentRequests": 0}), "gateway.limits.maxConcurrentRequests: must be 1 at least");
        check(json!({"maxHeaderBytes": 100}), "gateway.limits.maxHeaderBytes: must be 8192 at least");
        let expected = "gateway.limits.requestBurst: must be from 1 to the 5 of requestsPerMinute";
        check(json!({"requestsPerMinute": 5, "requestBurst": 6}), expected);
        check(json!({"requestsPerMinute": 5, "requestBurst": 0}), expected);
    }
}
