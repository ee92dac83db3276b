//! Which model is asked, with which key, and what next when it fails.

mod cooldown;
mod plan;

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::{
    agents::ModelName,
    config::{Models, Provided},
    metrics,
};
use cooldown::Cooldown;
pub(crate) use plan::Plan;

/// How patient a run is with one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// How often the same key is tried again after a failure that may pass.
    pub(crate) retries: u32,
    /// The longest pause before such a try; a provider that asks for more is not tried again.
    pub(crate) longest_pause: Duration,
}

/// A model that may answer.
#[derive(Clone)]
pub(crate) struct Candidate {
    pub(crate) name: ModelName,
    pub(crate) provided: Provided,
    /// Whether the configuration names the model, and not only a request.
    pub(crate) is_configured: bool,
}

/// What has failed lately, for all runs of a runner.
#[derive(Debug)]
pub(crate) struct Failover {
    pub(crate) patience: Patience,
    providers: BTreeMap<String, ProviderState>,
}

/// What has failed lately at one provider.
#[derive(Debug)]
struct ProviderState {
    /// When nobody there answers.
    whole: Cooldown,
    /// When a key is not taken, used up or limited.
    keys: Vec<Cooldown>,
}

impl Failover {
    pub(crate) fn new(models: &Models, patience: Patience) -> Self {
        let start = Instant::now();
        let state = |id: &str, provided: &Provided| {
            let cooldown = |key: String| Cooldown::new(start, metrics::cooldown_until(id, key));
            let keys = (0..provided.keys.len()).map(|key| cooldown(key.to_string()));
            ProviderState { whole: cooldown(metrics::ALL_KEYS.to_owned()), keys: keys.collect() }
        };
        let providers = models.iter().map(|(id, provided)| (id.clone(), state(id, provided))).collect();
        Self { patience, providers }
    }

    fn provider(&self, id: &str) -> &ProviderState {
        self.providers.get(id).expect("candidates are of known providers")
    }
}

impl ProviderState {
    /// How long until this key may be asked; zero when it may now.
    fn wait(&self, key: usize) -> Duration {
        self.whole.left().max(self.keys[key].left())
    }

    /// A question that was put to it then has its answer.
    fn answered(&self, key: usize, began: Instant) {
        self.whole.end(began);
        self.keys[key].end(began);
    }
}
