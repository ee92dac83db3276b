//! What a configuration makes of a runner. A run takes it once, at its start, and keeps to it.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    agents::Agents,
    config::{Models, Ready},
    model::Model,
    run::Shared,
};

/// Everything that another configuration changes, for the runs that begin after it.
pub(crate) struct Configured {
    pub(crate) agents: Agents,
    pub(crate) models: Models,
    pub(crate) shared: Arc<Shared>,
    /// What the next configuration may go on with.
    pub(crate) ready: Ready,
    /// What the operator was told.
    pub(crate) warnings: Vec<String>,
}

/// Models of the caller's own in the place of configured providers, by the providers' ids.
pub(crate) type Own = BTreeMap<String, Arc<dyn Model>>;
