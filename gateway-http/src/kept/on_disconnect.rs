//! What becomes of a run whose client hangs up.

use http::HeaderMap;
use serde::Deserialize;

use crate::{brand, error::ApiError};

/// What becomes of a run whose client hangs up.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnDisconnect {
    /// It is cancelled.
    #[default]
    Cancel,
    /// It goes on, and is kept.
    Continue,
}

impl OnDisconnect {
    /// What the headers say, else what is said here.
    pub(crate) fn or_of(self, headers: &HeaderMap) -> Result<Self, ApiError> {
        match brand::header(headers, brand::ON_DISCONNECT)? {
            None => Ok(self),
            Some("cancel") => Ok(Self::Cancel),
            Some("continue") => Ok(Self::Continue),
            Some(_) => Err(ApiError::invalid_value(brand::ON_DISCONNECT[0], "must be `cancel` or `continue`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_goes_before_the_setting() {
        let check = |setting: OnDisconnect, header: Option<&'static str>, expected: Option<OnDisconnect>| {
            for name in brand::ON_DISCONNECT {
                let headers = header.map(|value| (name.parse().expect("a name"), value.parse().expect("a value")));
                assert_eq!(setting.or_of(&headers.into_iter().collect()).ok(), expected, "{setting:?} {header:?}");
            }
        };
        for setting in [OnDisconnect::Cancel, OnDisconnect::Continue] {
            check(setting, None, Some(setting));
            check(setting, Some(" "), Some(setting));
            check(setting, Some("cancel"), Some(OnDisconnect::Cancel));
            check(setting, Some("continue"), Some(OnDisconnect::Continue));
            check(setting, Some("detach"), None);
        }
    }
}
