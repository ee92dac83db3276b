//! Files beside the configuration whose content may change while the gateway runs: secrets, and the certificate.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    Gateway,
    config::{self, Reread},
};

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
            let found = read.unwrap_or_default().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            let found = (!found.is_empty()).then_some(found);
            if let Some(error) = found.as_ref().filter(|_| found != trouble) {
                tracing::error!(error, "a changed file cannot be used; what it held before stays");
            }
            trouble = found;
        }
    }

    /// Takes over what the files hold now, each as far as it can be used. Returns what is wrong with the others.
    fn read_files_again(&self) -> Vec<config::Error> {
        let settings = self.inner.settings.load();
        let mut trouble = match settings.secrets.read_again() {
            Ok(Reread { settings: changed, trouble }) => {
                if let Some(changed) = changed {
                    // Unless other settings have come meanwhile, which were made of what the files hold, too.
                    self.inner.settings.compare_and_swap(&settings, Arc::new(changed));
                    tracing::info!("the secrets have changed");
                }
                trouble
            }
            Err(error) => vec![error],
        };
        trouble.extend(self.inner.tls.as_ref().and_then(|tls| tls.read_again().err()));
        trouble
    }
}
