//! Finds the organization, connector or connection that a person meant.

use super::client::{Client, segment};
use super::output::at;
use super::problem::{Exit, Problem};
use serde_json::Value;

/// Organizations that are looked through when none is named.
const ORGANIZATIONS_MAX: usize = 20;

/// The connection that a run is asked for.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) organization: String,
    pub(super) connector: String,
}

pub(super) fn items(answer: &Value) -> &[Value] {
    answer.get("items").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn text(row: &Value, path: &str) -> String {
    at(row, path).as_str().unwrap_or_default().to_owned()
}

/// All pages of a list.
pub(super) async fn all(client: &Client, path: &str) -> Result<Vec<Value>, Problem> {
    const PAGES_MAX: usize = 100;
    let mut rows = Vec::new();
    let mut cursor = None;
    for _ in 0..PAGES_MAX {
        let query = [("limit", Some("200".to_owned())), ("cursor", cursor)];
        let answer = client.get(path, &query).await?;
        rows.extend_from_slice(items(&answer));
        cursor = answer.get("nextCursor").and_then(Value::as_str).map(str::to_owned);
        if cursor.is_none() {
            return Ok(rows);
        }
    }
    Err(Problem::failed(format!("{path} has too many rows to look through")))
}

/// The id of a connector that is named by its id or its name.
pub(super) async fn connector(client: &Client, named: &str) -> Result<String, Problem> {
    let rows = all(client, "/connectors").await?;
    if rows.iter().any(|row| text(row, "id") == named) {
        return Ok(named.to_owned());
    }
    let ids: Vec<String> =
        rows.iter().filter(|row| text(row, "name") == named).map(|row| text(row, "id")).collect();
    match ids.as_slice() {
        [id] => Ok(id.clone()),
        [] => Err(Problem::new(Exit::NotFound, format!("there is no connector `{named}`"))
            .hint("`syncline connector list` shows them")),
        several => Err(Problem::usage(format!("several connectors have the name `{named}`"))
            .hint(format!("name one by its id: {}", several.join(", ")))),
    }
}

/// The named organization, or the only one.
pub(super) async fn organization(
    client: &Client,
    named: Option<String>,
) -> Result<String, Problem> {
    if let Some(named) = named {
        return Ok(named);
    }
    let rows = all(client, "/organizations").await?;
    match rows.as_slice() {
        [row] => Ok(text(row, "id")),
        [] => Err(Problem::new(Exit::NotFound, "there is no organization yet")
            .hint("make one with `syncline org create NAME`")),
        _ => Err(Problem::usage("there are several organizations")
            .hint("name one with --org; `syncline org list` shows them")),
    }
}

/// The only connection that fits what was named.
pub(super) async fn target(
    client: &Client,
    organization: Option<String>,
    named: Option<String>,
) -> Result<Target, Problem> {
    let wanted = match named {
        Some(named) => Some(connector(client, &named).await?),
        None => None,
    };
    if let (Some(organization), Some(connector)) = (&organization, &wanted) {
        let (organization, connector) = (organization.clone(), connector.clone());
        return Ok(Target { organization, connector });
    }
    let organizations = match organization {
        Some(organization) => vec![organization],
        None => {
            let rows = all(client, "/organizations").await?;
            rows.iter().map(|row| text(row, "id")).collect()
        }
    };
    if organizations.len() > ORGANIZATIONS_MAX {
        return Err(Problem::usage("there are many organizations").hint("name one with --org"));
    }
    let mut found = Vec::new();
    for organization in organizations {
        for row in all(client, &connections_path(&organization)).await? {
            let connector = text(&row, "connectorId");
            if wanted.as_ref().is_none_or(|wanted| *wanted == connector) {
                found.push(Target { organization: organization.clone(), connector });
            }
        }
    }
    if found.len() > 1 {
        let names: Vec<String> = found
            .iter()
            .map(|t| format!("--org {} --connector {}", t.organization, t.connector))
            .collect();
        return Err(Problem::usage("there are several connections")
            .hint(format!("choose one: {}", names.join(" | "))));
    }
    found.pop().ok_or_else(|| {
        Problem::new(Exit::NotFound, "there is no such connection")
            .hint("make one with `syncline org connect ORG CONNECTOR --federation-org-id ID`")
    })
}

pub(super) fn connections_path(organization: &str) -> String {
    format!("/organizations/{}/connections", segment(organization))
}

/// The id of the connection between an organization and a connector.
pub(super) async fn connection(
    client: &Client,
    organization: &str,
    named: &str,
) -> Result<String, Problem> {
    let connector = connector(client, named).await?;
    let rows = all(client, &connections_path(organization)).await?;
    let row = rows.iter().find(|row| text(row, "connectorId") == connector);
    row.map(|row| text(row, "id")).ok_or_else(|| {
        Problem::new(
            Exit::NotFound,
            format!("organization `{organization}` is not connected to `{named}`"),
        )
    })
}
