//! How long something is kept, as people write it.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

/// A whole number with a unit, such as `30d`, `12h`, `90m`, `10s` or `500ms`; or `never`, to keep it for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime(Option<u64>);

/// Why a text is not a lifetime.
#[derive(Debug, thiserror::Error)]
#[error("expected a time such as `30d`, `12h`, `90m`, `10s` or `500ms`, or `never`")]
pub struct InvalidLifetime;

impl Lifetime {
    pub(crate) const fn days(days: u64) -> Self {
        Self(Some(days * 24 * 60 * 60 * 1000))
    }

    /// The lifetime in milliseconds; `None` for one without an end.
    pub fn as_millis(self) -> Option<u64> {
        self.0
    }
}

impl FromStr for Lifetime {
    type Err = InvalidLifetime;

    fn from_str(text: &str) -> Result<Self, InvalidLifetime> {
        if text == "never" {
            return Ok(Self(None));
        }
        let unit = text.find(|character: char| !character.is_ascii_digit()).ok_or(InvalidLifetime)?;
        let (number, unit) = text.split_at(unit);
        let unit_ms: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60 * 1000,
            "h" => 60 * 60 * 1000,
            "d" => 24 * 60 * 60 * 1000,
            _ => return Err(InvalidLifetime),
        };
        let number: u64 = number.parse().map_err(|_| InvalidLifetime)?;
        let lifetime_ms = number.checked_mul(unit_ms).filter(|&ms| ms > 0 && i64::try_from(ms).is_ok());
        Ok(Self(Some(lifetime_ms.ok_or(InvalidLifetime)?)))
    }
}

impl<'de> Deserialize<'de> for Lifetime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_a_number_with_a_unit() {
        let check = |text: &str, expected: Option<Option<u64>>| {
            assert_eq!(text.parse().ok().map(Lifetime::as_millis), expected, "{text:?}");
        };
        check("30d", Some(Some(2_592_000_000)));
        check("12h", Some(Some(43_200_000)));
        check("90m", Some(Some(5_400_000)));
        check("10s", Some(Some(10_000)));
        check("500ms", Some(Some(500)));
        check("never", Some(None));
        for wrong in ["", "30", "d", "0d", "-1d", "1w", "1.5h", "99999999999999999999d", "9999999999999999d"] {
            check(wrong, None);
        }
    }
}
