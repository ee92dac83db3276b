//! The public web, as the tool `web_fetch` and pictures reach it: no address that only the runner can reach, not over
//! redirects either.

mod address;
#[cfg(test)]
pub(crate) mod fake;
mod reach;

use reqwest::{
    Client, Response, StatusCode, Url,
    header::{HeaderMap, LOCATION},
};
use tokio::sync::OnceCell;

pub(crate) use reach::Reach;

pub(crate) const MAX_URL_BYTES: usize = 4096;

/// What fetches from the public web.
pub(crate) struct Web {
    pub(crate) reach: Reach,
    /// Of each request.
    headers: HeaderMap,
    client: OnceCell<Client>,
}

/// Why nothing is fetched. The words are for whoever gave the URL, and name it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the URL is longer than {MAX_URL_BYTES} bytes")]
    TooLong,
    #[error("that is no URL: {0}")]
    Malformed(#[from] url::ParseError),
    #[error("only http and https can be fetched, not `{0}`")]
    OtherScheme(String),
    #[error("a redirect leads from https to http, which is not followed")]
    Downgrade,
    #[error("a URL with a user name or password is not fetched")]
    WithUser,
    #[error("`{0}` is not on the public internet, and nothing else is fetched")]
    NotPublic(Url),
    #[error("`{0}` is at a host that is not allowed")]
    OtherHost(Url),
    #[error("a redirect leads to what is no URL")]
    BadRedirect,
    #[error("`{0}` is one redirect too many")]
    TooManyRedirects(Url),
    #[error("`{0}` cannot be reached")]
    Unreachable(Url),
    #[error("`{0}` did not answer as HTTP has it")]
    NotHttp(Url),
    #[error("cannot make an HTTP client")]
    Client,
}

impl Web {
    pub(crate) fn new(reach: Reach, headers: HeaderMap) -> Self {
        Self { reach, headers, client: OnceCell::new() }
    }

    /// The answer at the end of all redirects, each of which is checked like the first address, and whence it came.
    pub(crate) async fn get(
        &self,
        url: &str,
        max_redirects: usize,
        is_allowed: impl Fn(&Url) -> bool,
    ) -> Result<(Url, Response), Error> {
        let check = |url: Url| if is_allowed(&url) { Ok(url) } else { Err(Error::OtherHost(url)) };
        let client = self.client().await?;
        let mut url = check(self.reach.check(url, None)?)?;
        for _ in 0..=max_redirects {
            let response = client.get(url.clone()).send().await.map_err(|error| reach::refusal(&url, &error))?;
            let Some(location) = redirect(response.status(), response.headers()) else { return Ok((url, response)) };
            url = check(self.reach.check(location?, Some(&url))?)?;
        }
        Err(Error::TooManyRedirects(url))
    }

    async fn client(&self) -> Result<&Client, Error> {
        let build = async || reach::build(&self.reach, self.headers.clone()).map_err(|_| Error::Client);
        self.client.get_or_try_init(build).await
    }
}

/// Where an answer sends on to, if it does.
fn redirect(status: StatusCode, headers: &HeaderMap) -> Option<Result<&str, Error>> {
    let location = headers.get(LOCATION).filter(|_| matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308))?;
    Some(location.to_str().map_err(|_| Error::BadRedirect))
}
