//! Which model is asked, with which key, and what next when it fails.

mod cooldown;
mod plan;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

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
    whole: Arc<Cooldown>,
    /// When a key is not taken, used up or limited.
    keys: Vec<Arc<Cooldown>>,
}

/// What a failover follows on.
#[derive(Clone, Copy)]
pub(crate) struct Before<'a> {
    pub(crate) failover: &'a Failover,
    /// The models that it is for.
    pub(crate) models: &'a Models,
}

impl Failover {
    /// Of a provider that is still asked in the same way, and of its keys, it knows what was known `before`.
    pub(crate) fn new(models: &Models, patience: Patience, before: Option<Before<'_>>) -> Self {
        let start = Instant::now();
        let state = |(id, provided): (&String, &Provided)| {
            let known = before.and_then(|before| Some((before.models.get(id)?, before.failover.providers.get(id)?)));
            (id.clone(), ProviderState::new(id, provided, known, start))
        };
        Self { patience, providers: models.iter().map(state).collect() }
    }

    fn provider(&self, id: &str) -> &ProviderState {
        self.providers.get(id).expect("candidates are of known providers")
    }
}

impl ProviderState {
    /// What asks with a key is made anew when the key or the way to ask has changed; what was known of it is of no more
    /// use then.
    fn new(id: &str, provided: &Provided, known: Option<(&Provided, &Self)>, start: Instant) -> Self {
        let known_key = |key: usize| {
            let (before, state) = known?;
            Arc::ptr_eq(before.keys.get(key)?, &provided.keys[key]).then(|| state.keys[key].clone())
        };
        let cooldown = |key: String| Arc::new(Cooldown::new(start, metrics::cooldown_until(id, key)));
        let keys = 0..provided.keys.len();
        let is_same = keys.clone().any(|key| known_key(key).is_some());
        let whole = known.filter(|_| is_same).map(|(_, state)| state.whole.clone());
        Self {
            whole: whole.unwrap_or_else(|| cooldown(metrics::ALL_KEYS.to_owned())),
            keys: keys.map(|key| known_key(key).unwrap_or_else(|| cooldown(key.to_string()))).collect(),
        }
    }

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
