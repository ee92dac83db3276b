//! The URL of a database at a PostgreSQL server.

use std::{path::PathBuf, time::Duration};

use tokio_postgres::config::{Host, SslMode};

/// Longest wait for a connection, and for the server to acknowledge what was sent.
const UNREACHABLE_AFTER: Duration = Duration::from_secs(5);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);
const KEEPALIVE_RETRIES: u32 = 3;

/// How every connection is set up. The schema is ours. A statement that takes that long is stuck. Whatever the tables
/// hold and whatever the server knows of it, each of our queries has an index that gives its rows in their order: a plan
/// made when a table was empty must still be right when it is not.
const OPTIONS: &str = "-c search_path=clawdbot -c statement_timeout=10s -c default_transaction_isolation=read\\ committed \
    -c default_transaction_read_only=off -c jit=off -c enable_seqscan=off -c enable_bitmapscan=off -c enable_sort=off \
    -c enable_hashjoin=off -c enable_mergejoin=off -c enable_material=off";

/// A database at a PostgreSQL server, and how its server is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub(super) config: tokio_postgres::Config,
    pub(super) trust: Trust,
}

/// Which servers are talked to where TLS is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Any: what is sent is encrypted, but who gets it is not checked.
    Any,
    /// The one that the URL names, as vouched for by an authority of the system's or of a file.
    Named { authorities: Option<PathBuf> },
}

impl Url {
    /// Reads the URL as `libpq` does. The reason why it is wrong does not repeat it, since it may hold a password.
    pub(crate) fn parse(url: &str) -> Result<Self, &'static str> {
        let (url, ssl) = SslParameters::take_from(url)?;
        let mut config: tokio_postgres::Config = url.parse().map_err(
            |_| "cannot be read; the special characters of a user, password or database name are written as %XX",
        )?;
        let is_local = !config.get_hosts().is_empty()
            && config.get_hostaddrs().is_empty()
            && config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err("names no host");
        }
        let (mode, trust) = ssl.meaning()?;
        config.ssl_mode(if is_local { SslMode::Disable } else { mode });
        let options = config.get_options().map_or_else(|| OPTIONS.to_owned(), |own| format!("{own} {OPTIONS}"));
        config.options(options);
        if config.get_application_name().is_none() {
            config.application_name("clawdbot session-store");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(UNREACHABLE_AFTER);
        }
        config
            .tcp_user_timeout(UNREACHABLE_AFTER)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_RETRIES);
        Ok(Self { config, trust })
    }
}

/// The parameters of the URL that the driver does not know in full.
#[derive(Default)]
struct SslParameters {
    mode: Option<String>,
    root_cert: Option<String>,
}

impl SslParameters {
    fn take_from(url: &str) -> Result<(String, Self), &'static str> {
        let mut parameters = Self::default();
        let Some((address, query)) = url.split_once('?') else { return Ok((url.to_owned(), parameters)) };
        let mut others = Vec::new();
        for parameter in query.split('&') {
            match parameter.split_once('=') {
                Some(("sslmode", mode)) => parameters.mode = Some(mode.to_owned()),
                Some(("sslrootcert", path)) => parameters.root_cert = Some(decode(path)?),
                Some(_) | None => others.push(parameter),
            }
        }
        let query = if others.is_empty() { String::new() } else { format!("?{}", others.join("&")) };
        Ok((format!("{address}{query}"), parameters))
    }

    fn meaning(self) -> Result<(SslMode, Trust), &'static str> {
        let authorities = self.root_cert.filter(|path| path != "system").map(PathBuf::from);
        match self.mode.as_deref() {
            Some("disable") => Ok((SslMode::Disable, Trust::Any)),
            None | Some("allow" | "prefer") => Ok((SslMode::Prefer, Trust::Any)),
            Some("require") if authorities.is_none() => Ok((SslMode::Require, Trust::Any)),
            // Checking the name too, where `libpq` would not, refuses more but trusts nothing more.
            Some("require" | "verify-ca" | "verify-full") => Ok((SslMode::Require, Trust::Named { authorities })),
            Some(_) => Err("has an sslmode other than disable, prefer, require, verify-ca and verify-full"),
        }
    }
}

/// Replaces `%XX`.
fn decode(text: &str) -> Result<String, &'static str> {
    const WRONG: &str = "has a % in sslrootcert that two hexadecimal digits don't follow";
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or(WRONG)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| WRONG)?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).map_err(|_| "has an sslrootcert that is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_as_the_url_says() {
        let check = |query: &str, expected: Result<(SslMode, Trust), &str>| {
            let url = Url::parse(&format!("postgres://alice:secret@db.example.com/sessions{query}"));
            assert_eq!(url.map(|url| (url.config.get_ssl_mode(), url.trust)), expected, "{query}");
        };
        let named = |path: &str| Trust::Named { authorities: Some(path.into()) };
        check("", Ok((SslMode::Prefer, Trust::Any)));
        check("?sslmode=disable", Ok((SslMode::Disable, Trust::Any)));
        check("?sslmode=require&connect_timeout=3", Ok((SslMode::Require, Trust::Any)));
        check("?sslmode=require&sslrootcert=/etc/ca.pem", Ok((SslMode::Require, named("/etc/ca.pem"))));
        check("?sslmode=verify-full", Ok((SslMode::Require, Trust::Named { authorities: None })));
        check("?sslmode=verify-full&sslrootcert=system", Ok((SslMode::Require, Trust::Named { authorities: None })));
        check("?sslmode=verify-full&sslrootcert=/etc/my%20ca.pem", Ok((SslMode::Require, named("/etc/my ca.pem"))));
        let wrong = "has an sslmode other than disable, prefer, require, verify-ca and verify-full";
        check("?sslmode=maybe", Err(wrong));
        check(
            "?sslmode=require&sslrootcert=%2",
            Err("has a % in sslrootcert that two hexadecimal digits don't follow"),
        );
    }

    #[test]
    fn a_socket_in_the_file_system_needs_no_tls() {
        let url = Url::parse("postgresql://alice@%2Fvar%2Frun%2Fpostgresql/sessions?sslmode=require").unwrap();
        assert_eq!(url.config.get_ssl_mode(), SslMode::Disable);
    }

    #[test]
    fn a_password_is_shown_nowhere() {
        let url = Url::parse("postgres://alice:hunter2@db.example.com/sessions").unwrap();
        assert!(!format!("{url:?}").contains("hunter2"));
    }
}
