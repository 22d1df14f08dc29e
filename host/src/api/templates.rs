//! `/templates`: field mappings of one's own. A connector without one uses its plugin's.

use super::Api;
use super::body::{Members, object};
use super::etag::{IfMatch, tagged};
use super::paging::{Query, page_of};
use super::problem::Problem;
use crate::clock;
use crate::mapping::Mapper;
use crate::model::directory::StoredTemplate;
use crate::model::ids::TemplateId;
use crate::model::template::Template;
use crate::store::{Read, directory};
use crate::worker::setup;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query as Parameters, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

fn row(template: &StoredTemplate) -> Value {
    json!({
        "id": template.id,
        "name": template.name,
        "plugin": template.plugin,
        "entities": template.template.entities,
        "createdAt": clock::to_text(template.created_at),
        "updatedAt": clock::to_text(template.updated_at),
        "version": template.version,
    })
}

fn find(read: &dyn Read, id: &str) -> Result<StoredTemplate, Problem> {
    let missing = || Problem::not_found(format!("there is no template {id:?}"));
    let id: TemplateId = id.parse().map_err(|_| missing())?;
    directory::template(read, id)?.ok_or_else(missing)
}

pub(super) async fn list(
    State(api): State<Api>,
    Parameters(parameters): Parameters<HashMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &[])?;
    let rows = api.read(|read, _| Ok(directory::templates(read)?)).await?;
    page_of(rows.iter().map(row).collect(), &query)
}

pub(super) async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let found = api.read(move |read, _| find(read, &id)).await?;
    Ok(tagged(found.version, row(&found)))
}

/// Reads a template and checks it against the plugin's entities.
fn wanted(api: &Api, bytes: &Bytes) -> Result<(String, String, Template), Problem> {
    let mut members = Members::new(object(bytes)?);
    let (name, plugin) = (members.required("name"), members.required("plugin"));
    let entities = members.object("entities");
    if entities.is_none() && members.faults.is_empty() {
        members.fault("entities", "is missing");
    }
    members.finish()?;
    let entities = Value::Object(entities.unwrap_or_default());
    let template: Template = serde_json::from_value(json!({ "entities": entities }))
        .map_err(|error| Problem::invalid_at("/entities", error.to_string()))?;
    let loaded = api.deps.plugins.connector(&plugin).ok_or_else(|| {
        Problem::invalid_at("/plugin", format!("there is no active connector plugin {plugin:?}"))
    })?;
    let manifest = setup::connector_manifest(&loaded)
        .map_err(|failure| Problem::invalid_at("/plugin", failure.message))?;
    let mut members = Members::new(Map::new());
    for (entity, mapping) in &template.entities {
        let at = format!("entities/{}", super::body::escape(entity));
        match manifest.entity(entity) {
            None => members.fault(&at, format!("the plugin `{plugin}` has no such entity")),
            Some(spec) => {
                for issue in Mapper::compile(mapping, spec).err().into_iter().flatten() {
                    members.fault(&format!("{at}{}", issue.pointer), issue.message);
                }
            }
        }
    }
    members.finish()?;
    Ok((name, plugin, template))
}

pub(super) async fn create(State(api): State<Api>, bytes: Bytes) -> Result<Response, Problem> {
    let (name, plugin, template) = wanted(&api, &bytes)?;
    let now = api.now();
    let created = api
        .deps
        .store
        .write(move |txn| -> Result<StoredTemplate, Problem> {
            let stored = StoredTemplate {
                id: directory::next_template_id(txn)?,
                name: name.clone(),
                plugin: plugin.clone(),
                template: template.clone(),
                created_at: now,
                updated_at: now,
                version: 1,
            };
            directory::put_template(txn, &stored)?;
            Ok(stored)
        })
        .await?;
    let mut response = tagged(created.version, row(&created));
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

pub(super) async fn replace(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let known = id.clone();
    api.read(move |read, _| find(read, &known)).await?;
    let if_match = IfMatch::required(&headers)?;
    let (name, plugin, template) = wanted(&api, &bytes)?;
    let now = api.now();
    let stored = api
        .deps
        .store
        .write(move |txn| -> Result<StoredTemplate, Problem> {
            let mut found = find(txn, &id)?;
            if_match.check(found.version)?;
            if found.plugin != plugin {
                let message = "a template stays with its plugin: make another one";
                return Err(Problem::invalid_at("/plugin", message));
            }
            found.name.clone_from(&name);
            found.template.clone_from(&template);
            found.updated_at = now;
            found.version += 1;
            directory::put_template(txn, &found)?;
            Ok(found)
        })
        .await?;
    Ok(tagged(stored.version, row(&stored)))
}

pub(super) async fn delete(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let known = id.clone();
    api.read(move |read, _| find(read, &known)).await?;
    let if_match = IfMatch::required(&headers)?;
    api.deps
        .store
        .write(move |txn| -> Result<(), Problem> {
            let found = find(txn, &id)?;
            if_match.check(found.version)?;
            let users = directory::connectors(txn)?;
            if let Some(user) = users.iter().find(|c| c.template_id == Some(found.id)) {
                let detail = format!("the connector {} uses it", user.id);
                return Err(Problem::conflict("template.in-use", detail));
            }
            Ok(directory::delete_template(txn, found.id)?)
        })
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
