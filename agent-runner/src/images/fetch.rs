//! Fetching the pictures that are only named: from the public web, within bounds.

use std::time::Duration;

use reqwest::{
    Response,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderValue},
};

use super::{
    Reason,
    settings::{Each, Settings},
};
use crate::web::{Error, Reach, Web};

/// Fetches pictures.
pub(super) struct Fetcher {
    settings: Each,
    web: Web,
}

impl Fetcher {
    pub(super) fn public(settings: &Settings) -> Self {
        Self::with(settings, Reach::public())
    }

    pub(super) fn with(settings: &Settings, reach: Reach) -> Self {
        let headers = HeaderMap::from_iter([
            (ACCEPT, HeaderValue::from_static("image/*")),
            (ACCEPT_ENCODING, HeaderValue::from_static("identity")),
        ]);
        Self { settings: settings.images.clone(), web: Web::new(reach, headers) }
    }

    /// The bytes at a URL; `take` is asked for room for them as they come.
    pub(super) async fn fetch(&self, url: &str, take: impl Fn(usize) -> Result<(), Reason>) -> Result<Vec<u8>, Reason> {
        let timeout = Duration::from_millis(self.settings.timeout_ms);
        let fetching = async {
            let (_, response) = self.web.get(url, self.settings.max_redirects, |url| self.settings.allows(url)).await?;
            self.read(response, take).await
        };
        tokio::time::timeout(timeout, fetching).await.unwrap_or_else(|_| {
            let milliseconds = timeout.as_millis();
            let setting = "gateway.http.endpoints.chatCompletions.images.timeoutMs";
            Err(Reason::Fetch(format!("it did not come within {milliseconds} ms (`{setting}`)")))
        })
    }

    async fn read(
        &self,
        mut response: Response,
        take: impl Fn(usize) -> Result<(), Reason>,
    ) -> Result<Vec<u8>, Reason> {
        let refused = |reason: String| Err(Reason::Fetch(reason));
        let status = response.status();
        if !status.is_success() {
            return refused(format!("its server answered with status {}", status.as_u16()));
        }
        let is_packed = response.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity");
        if is_packed {
            return refused("its server packed it in a way that was not asked for".to_owned());
        }
        let max_bytes = self.settings.max_bytes;
        if response.content_length().is_some_and(|length| length > max_bytes as u64) {
            return Err(Reason::TooLarge(max_bytes));
        }
        let mut bytes = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if bytes.len() + chunk.len() > max_bytes => return Err(Reason::TooLarge(max_bytes)),
                Ok(Some(chunk)) => {
                    take(chunk.len())?;
                    bytes.extend_from_slice(&chunk);
                }
                Ok(None) => return Ok(bytes),
                Err(_) => return refused("it broke off".to_owned()),
            }
        }
    }
}

impl From<Error> for Reason {
    /// Leaves addresses out: where a redirect leads is not for the client to know.
    fn from(error: Error) -> Self {
        let reason = match error {
            Error::TooLong
            | Error::Malformed(_)
            | Error::OtherScheme(_)
            | Error::Downgrade
            | Error::WithUser
            | Error::BadRedirect
            | Error::Client => error.to_string(),
            Error::NotPublic(_) => "it is not on the public internet".to_owned(),
            Error::OtherHost(_) => {
                let setting = "gateway.http.endpoints.chatCompletions.images.urlAllowlist";
                format!("its host is not one of `{setting}`")
            }
            Error::TooManyRedirects(_) => {
                let setting = "gateway.http.endpoints.chatCompletions.images.maxRedirects";
                format!("it has too many redirects (`{setting}`)")
            }
            Error::Unreachable(_) => "its server cannot be reached".to_owned(),
            Error::NotHttp(_) => "its server did not answer as HTTP has it".to_owned(),
        };
        Self::Fetch(reason)
    }
}
