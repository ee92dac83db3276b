//! The parameters of a list: which part of it is asked for.

use proto::session::v1::Order;
use shared::AgentId;

use crate::error::ApiError;

const DEFAULT_LIMIT: u32 = 20;
const MAX_LIMIT: u32 = 1000;

/// A part of a list. Parameters that are not named here are accepted and have no effect.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) limit: u32,
    order: Option<Order>,
    /// The id of the item after which the page starts.
    pub(super) after: Option<String>,
    /// Only this agent's; of sessions only.
    pub(super) agent_id: Option<AgentId>,
}

impl Page {
    /// Fails with a 400 that names the parameter at fault.
    pub(super) fn parse(query: Option<&str>) -> Result<Self, ApiError> {
        let mut page = Self { limit: DEFAULT_LIMIT, order: None, after: None, agent_id: None };
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*name {
                "limit" => page.limit = limit(&value)?,
                "order" => page.order = Some(order(&value)?),
                "after" => page.after = Some(value.into_owned()).filter(|after| !after.is_empty()),
                "agent" => {
                    let agent_id: Result<AgentId, _> = value.parse();
                    page.agent_id = Some(agent_id.map_err(|error| ApiError::invalid_value(name, &error.to_string()))?);
                }
                _ => {}
            }
        }
        Ok(page)
    }

    /// The order that is asked for, or the list's own.
    pub(super) fn order(&self, default: Order) -> Order {
        self.order.unwrap_or(default)
    }
}

fn limit(value: &str) -> Result<u32, ApiError> {
    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| ApiError::invalid_value("limit", &format!("must be a whole number from 1 to {MAX_LIMIT}")))
}

fn order(value: &str) -> Result<Order, ApiError> {
    match value {
        "asc" => Ok(Order::Ascending),
        "desc" => Ok(Order::Descending),
        _ => Err(ApiError::invalid_value("order", "must be `asc` or `desc`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_and_others_ignored() {
        let check = |query, expected: Page| assert_eq!(Page::parse(query), Ok(expected), "{query:?}");
        let default = || Page { limit: 20, order: None, after: None, agent_id: None };
        check(None, default());
        check(Some(""), default());
        check(Some("after=&before=x&limit=1000"), Page { limit: 1000, ..default() });
        check(Some("order=asc"), Page { order: Some(Order::Ascending), ..default() });
        check(
            Some("after=agent%3Amain%3Aa%2Fb+%C3%A9&agent=Beta&order=desc"),
            Page {
                order: Some(Order::Descending),
                after: Some("agent:main:a/b é".to_owned()),
                agent_id: "beta".parse().ok(),
                ..default()
            },
        );
    }

    #[test]
    fn a_bad_parameter_is_named() {
        for query in ["limit=0", "limit=1001", "limit=-1", "limit=", "limit=many", "order=", "order=up", "agent=a+b"] {
            let error = Page::parse(Some(query)).expect_err(query).to_json();
            let (name, _) = query.split_once('=').expect("a parameter");
            assert!(error.contains(&format!(r#""param":"{name}""#)), "{query}: {error}");
        }
    }
}
