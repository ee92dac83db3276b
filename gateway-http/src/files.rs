//! Files beside the configuration whose content may change while the gateway runs: secrets, and the certificate.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{Gateway, config};

/// The pause between two looks at the files.
const INTERVAL: Duration = Duration::from_secs(1);

impl Gateway {
    /// Takes over what the files hold, whenever that has changed, until `stop` is cancelled. What cannot be used is
    /// logged once, and what was read before stays.
    pub(crate) async fn watch_files(&self, stop: &CancellationToken) {
        let mut trouble = None;
        while stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
            if self.inner.tls.is_none() && !self.settings().secrets.has_files() {
                continue;
            }
            let gateway = self.clone();
            // Files can be slow.
            let read = tokio::task::spawn_blocking(move || gateway.read_files_again()).await;
            let found = read.unwrap_or(Ok(())).err().map(|error| error.to_string());
            if let Some(error) = found.as_ref().filter(|_| found != trouble) {
                tracing::error!(error, "a changed file cannot be used; what it held before stays");
            }
            trouble = found;
        }
    }

    /// Takes over what the files hold now.
    fn read_files_again(&self) -> Result<(), config::Error> {
        let settings = self.inner.settings.load();
        if let Some(changed) = settings.secrets.read_again()? {
            // Unless other settings have come meanwhile, which were made of what the files hold, too.
            self.inner.settings.compare_and_swap(&settings, Arc::new(changed));
            tracing::info!("the secrets have changed");
        }
        match &self.inner.tls {
            Some(tls) => tls.read_again(),
            None => Ok(()),
        }
    }
}
