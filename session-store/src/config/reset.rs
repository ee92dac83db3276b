//! When a session begins anew by itself: upstream's policy, off unless it is configured.

use jiff::{Timestamp, tz::TimeZone};
use serde::Deserialize;

const MINUTE_MS: u64 = 60 * 1000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// The section `session.reset`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResetConfig {
    /// What a session has to outlive to begin anew.
    pub mode: ResetMode,
    /// The hour of the day, in this process's time zone, at which the day begins for `daily`.
    #[serde(default = "default_hour")]
    pub at_hour: Hour,
    /// How many minutes without a turn are too many; in `daily` mode none unless it is said.
    pub idle_minutes: Option<u32>,
}

/// What a session has to outlive to begin anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResetMode {
    /// The day of its last turn, or the idle time if one is given.
    Daily,
    /// The idle time.
    Idle,
}

/// An hour of the day, 0 to 23.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u8")]
pub struct Hour(u8);

/// The policy at one time, reduced to arithmetic on the database's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reset {
    /// How long after its last turn a session begins anew.
    pub(crate) idle_ms: Option<u64>,
    /// How long after the beginning of a UTC day a session of before begins anew.
    pub(crate) daily_ms: Option<u64>,
}

impl ResetConfig {
    /// What upstream takes for an idle time where none is given.
    const DEFAULT_IDLE_MINUTES: u32 = 60;

    /// The policy as it is now: the offset of the time zone changes with the season.
    pub(crate) fn now(&self) -> Reset {
        let offset = TimeZone::system().to_offset(Timestamp::now());
        self.at_offset(i64::from(offset.seconds()) * 1000)
    }

    fn at_offset(&self, offset_ms: i64) -> Reset {
        let Hour(hour) = self.at_hour;
        let at_ms = i64::from(hour) * HOUR_MS.cast_signed() - offset_ms;
        let idle_minutes = match self.mode {
            ResetMode::Daily => self.idle_minutes,
            ResetMode::Idle => Some(self.idle_minutes.unwrap_or(Self::DEFAULT_IDLE_MINUTES)),
        };
        Reset {
            idle_ms: idle_minutes.map(|minutes| u64::from(minutes) * MINUTE_MS),
            daily_ms: (self.mode == ResetMode::Daily).then(|| at_ms.rem_euclid(DAY_MS.cast_signed()).unsigned_abs()),
        }
    }
}

impl Reset {
    pub(crate) const NEVER: Self = Self { idle_ms: None, daily_ms: None };

    /// The time before which a session's last turn is too long ago.
    pub(crate) fn due_before_ms(self, now_ms: u64) -> u64 {
        let idle = self.idle_ms.map(|idle_ms| now_ms.saturating_sub(idle_ms));
        let daily = self.daily_ms.map(|at_ms| (now_ms + DAY_MS - at_ms) / DAY_MS * DAY_MS + at_ms - DAY_MS);
        idle.max(daily).unwrap_or(0)
    }
}

fn default_hour() -> Hour {
    Hour(4)
}

impl TryFrom<u8> for Hour {
    type Error = &'static str;

    fn try_from(hour: u8) -> Result<Self, &'static str> {
        if hour < 24 { Ok(Self(hour)) } else { Err("expected an hour, 0 to 23") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1970-01-11, at this hour by UTC.
    fn at(hours: u64) -> u64 {
        10 * DAY_MS + hours * HOUR_MS
    }

    #[test]
    fn a_day_begins_at_its_hour_in_the_time_zone() {
        let check = |at_hour, offset_hours: i64, now_hours, expected_hours| {
            let config = ResetConfig { mode: ResetMode::Daily, at_hour: Hour(at_hour), idle_minutes: None };
            let reset = config.at_offset(offset_hours * HOUR_MS.cast_signed());
            let expected = (10 * DAY_MS).checked_add_signed(expected_hours * HOUR_MS.cast_signed());
            assert_eq!(Some(reset.due_before_ms(at(now_hours))), expected, "{at_hour} {offset_hours} {now_hours}");
        };
        check(4, 0, 5, 4);
        check(4, 0, 4, 4);
        check(4, 0, 3, -20);
        check(4, 2, 2, 2);
        check(4, 2, 1, -22);
        check(0, -8, 9, 8);
        check(0, -8, 7, -16);
        check(1, 2, 0, -1);
    }

    #[test]
    fn an_idle_time_holds_in_both_modes() {
        let due = |mode, idle_minutes| {
            let config = ResetConfig { mode, at_hour: default_hour(), idle_minutes };
            config.at_offset(0).due_before_ms(at(12))
        };
        assert_eq!(due(ResetMode::Idle, Some(30)), at(12) - 30 * MINUTE_MS);
        assert_eq!(due(ResetMode::Idle, None), at(11));
        assert_eq!(due(ResetMode::Daily, Some(30)), at(12) - 30 * MINUTE_MS);
        assert_eq!(due(ResetMode::Daily, None), at(4));
        assert_eq!(Reset::NEVER.due_before_ms(at(12)), 0);
    }
}
