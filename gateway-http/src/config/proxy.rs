//! The configuration section `gateway.auth.trustedProxy`: users that a proxy has logged in.

use http::HeaderName;
use serde::{Deserialize, Deserializer, de};

use super::Error;
use crate::{address::TrustedProxies, auth::ProxyAuth};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct TrustedProxySection {
    user_header: Option<Header>,
    required_headers: Vec<Header>,
    allow_users: Vec<String>,
    allow_loopback: bool,
}

/// A header's name, in any case.
#[derive(Clone, Debug)]
struct Header(HeaderName);

impl TrustedProxySection {
    pub(super) fn build(&self, proxies: &TrustedProxies) -> Result<ProxyAuth, Error> {
        if proxies.is_empty() {
            let reason = "is empty; the mode `trusted-proxy` needs the addresses of the proxies";
            return Err(Error::value("gateway.trustedProxies", reason));
        }
        let Some(Header(user_header)) = self.user_header.clone() else {
            let reason = "is missing; name the header in which the proxy names the user";
            return Err(Error::value("gateway.auth.trustedProxy.userHeader", reason));
        };
        Ok(ProxyAuth {
            proxies: proxies.clone(),
            user_header,
            required_headers: self.required_headers.iter().map(|header| header.0.clone()).collect(),
            allow_users: self.allow_users.iter().map(|user| user.trim().to_owned()).collect(),
            allow_loopback: self.allow_loopback,
        })
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let name = HeaderName::from_bytes(text.trim().as_bytes());
        name.map(Self).map_err(|_| de::Error::custom(format_args!("`{text}` is no header's name")))
    }
}
