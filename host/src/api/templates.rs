//! `/templates`: field mappings of one's own. A connector without one uses its plugin's.

use super::access::Reach;
use super::answer::Answer;
use super::audit::Act;
use super::body::{self, Members, escape, object};
use super::etag::{IfMatch, tagged};
use super::paging::{Parameters, Query};
use super::problem::{Fault, Problem};
use super::schema;
use super::{Api, Caller, connectors};
use crate::clock;
use crate::mapping::Mapper;
use crate::model::directory::{Connector, StoredTemplate};
use crate::model::ids::TemplateId;
use crate::model::template::{EntityTemplate, Template};
use crate::plugin::Loaded;
use crate::store::lookup::{self, By};
use crate::store::{Read, directory};
use crate::worker::{self, Failure, setup};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Map, Value, json};
use std::sync::Arc;

const NAME_CHARS_MAX: usize = 200;
/// How many connectors an answer names.
const USERS_NAMED_MAX: usize = 10;

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

pub(super) fn missing(id: &str) -> Problem {
    Problem::not_found(format!("there is no template {id:?}"))
}

pub(super) fn find(read: &dyn Read, id: &str) -> Result<StoredTemplate, Problem> {
    let number: TemplateId = id.parse().map_err(|_| missing(id))?;
    directory::template(read, number)?.ok_or_else(|| missing(id))
}

/// Field mappings of one's own.
#[utoipa::path(
    get, path = "/templates", tag = "templates",
    params(schema::Paging),
    responses((status = 200, body = schema::Page<schema::Template>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &[])?;
    let (limit, after) = (query.limit()?, query.cursor::<TemplateId>()?);
    let rows = api
        .read(move |read, _| match caller.reach() {
            Reach::All => Ok(lookup::templates(read, after, limit + 1)?),
            // A caller of one organization sees the templates of the connectors that it sees.
            Reach::One(own) => {
                let used = lookup::connectors_of_organization(read, own, None)?;
                let ids = used.iter().filter_map(|connector| connector.template_id);
                let mut ids: Vec<TemplateId> = ids.filter(|id| Some(*id) > after).collect();
                ids.sort();
                ids.dedup();
                let found = ids.into_iter().map(|id| directory::template(read, id));
                Ok(found.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
            }
        })
        .await?;
    query.page_behind(rows, limit, |found| found.id.to_string(), |found| Ok(row(found)))
}

/// One template.
#[utoipa::path(
    get, path = "/templates/{id}", tag = "templates",
    responses((status = 200, body = schema::Template))
)]
pub(super) async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let found = api.read(move |read, _| find(read, &id)).await?;
    Ok(tagged(found.version, row(&found)))
}

/// The mapping that the runs of a connector use.
#[utoipa::path(
    get, path = "/connectors/{id}/template", tag = "connectors", operation_id = "template",
    responses(
        (status = 200, body = schema::UsedTemplate),
        (status = 409, description = "`plugin.missing`, `template.missing`"),
    )
)]
pub(super) async fn of_connector(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let inner = api.clone();
    api.read(move |read, _| {
        let connector = connectors::find(read, &id)?;
        let conflict = |failure: Failure| Problem::conflict(&failure.code, failure.message);
        let plugin = setup::connector_plugin(&inner.deps, &connector).map_err(conflict)?;
        let (template, source) =
            worker::template::of_connector(read, &connector, &plugin).map_err(conflict)?;
        Ok(Json(json!({
            "templateId": source.id,
            "version": source.version,
            "name": source.name,
            "plugin": connector.plugin,
            "entities": template.entities,
        })))
    })
    .await
}

/// Reads `entities` of a body: every fault of its form or its sense with its pointer.
pub(super) fn entities(
    api: &Api,
    plugin: &str,
    entities: Map<String, Value>,
) -> Result<Template, Problem> {
    let loaded = connector_plugin(api, plugin)?;
    let manifest = setup::connector_manifest(&loaded)
        .map_err(|failure| Problem::invalid_at("/plugin", failure.message))?;
    let mut faults = Vec::new();
    let mut template = Template::default();
    if entities.is_empty() {
        let message = format!("must map at least one entity of `{plugin}`");
        faults.push(Fault { pointer: "/entities".to_owned(), message });
    }
    for (name, mapping) in entities {
        let at = format!("/entities/{}", escape(&name));
        let Some(spec) = manifest.entity(&name) else {
            let known: Vec<&str> = manifest.entities.iter().map(|e| e.name.as_str()).collect();
            let message = format!("is no entity of `{plugin}`: known are {}", known.join(", "));
            faults.push(Fault { pointer: at, message });
            continue;
        };
        match serde_path_to_error::deserialize::<_, EntityTemplate>(mapping) {
            Err(error) => {
                let pointer = format!("{at}{}", body::pointer(error.path()));
                faults.push(Fault { pointer, message: error.into_inner().to_string() });
            }
            Ok(mapping) => {
                let issues = Mapper::compile(&mapping, spec).err().unwrap_or_default();
                faults.extend(issues.into_iter().map(|issue| Fault {
                    pointer: format!("{at}{}", issue.pointer),
                    message: issue.message,
                }));
                template.entities.insert(name, mapping);
            }
        }
    }
    if faults.is_empty() { Ok(template) } else { Err(Problem::invalid(faults)) }
}

pub(super) fn connector_plugin(api: &Api, plugin: &str) -> Result<Arc<Loaded>, Problem> {
    api.deps.plugins.connector(plugin).ok_or_else(|| {
        Problem::invalid_at("/plugin", format!("there is no active connector plugin {plugin:?}"))
    })
}

/// Reads a template and checks it against the plugin's entities.
async fn wanted(api: &Api, bytes: &Bytes) -> Result<(String, String, Template), Problem> {
    let mut members = Members::new(object(bytes)?);
    let name = members.name("name", true, NAME_CHARS_MAX).unwrap_or_default();
    let plugin = members.required("plugin");
    members.require("entities");
    let mappings = members.object("entities").unwrap_or_default();
    members.finish()?;
    let (inner, named) = (api.clone(), plugin.clone());
    // Compiling takes a while.
    let template = api.read(move |_, _| entities(&inner, &named, mappings)).await?;
    Ok((name, plugin, template))
}

/// Creates a template, checked against the plugin's entities.
#[utoipa::path(
    post, path = "/templates", tag = "templates",
    request_body = schema::NewTemplate,
    responses((status = 201, body = schema::Template))
)]
pub(super) async fn create(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Result<Answer, Problem> {
    let (name, plugin, template) = wanted(&api, &bytes).await?;
    let now = api.now();
    api.commit(move |txn| {
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
        caller.log(txn, Act::new("createTemplate", stored.id).with(row(&stored)))?;
        Ok(Answer::created(1, row(&stored)))
    })
    .await
}

/// Replaces a template.
#[utoipa::path(
    put, path = "/templates/{id}", tag = "templates",
    request_body = schema::NewTemplate,
    responses((status = 200, body = schema::Template))
)]
pub(super) async fn replace(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let known = id.clone();
    api.read(move |read, _| find(read, &known)).await?;
    let if_match = IfMatch::required(&headers)?;
    let (name, plugin, template) = wanted(&api, &bytes).await?;
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
            let before = row(&found);
            found.name.clone_from(&name);
            found.template.clone_from(&template);
            found.updated_at = now;
            found.version += 1;
            directory::put_template(txn, &found)?;
            let act = Act::new("replaceTemplate", found.id);
            caller.log(txn, act.changed(&before, &row(&found)))?;
            Ok(found)
        })
        .await?;
    Ok(tagged(stored.version, row(&stored)))
}

/// Deletes a template that no connector uses.
#[utoipa::path(
    delete, path = "/templates/{id}", tag = "templates",
    responses(
        (status = 204, description = "It is gone"),
        (status = 409, description = "`template.in-use`"),
    )
)]
pub(super) async fn delete(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
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
            let by = By::Template(found.id);
            let users = lookup::connectors(txn, Some(&by), None, USERS_NAMED_MAX + 1)?;
            if !users.is_empty() {
                let detail = format!("it is used by {}", named(&users));
                return Err(Problem::conflict("template.in-use", detail));
            }
            caller.log(txn, Act::new("deleteTemplate", found.id).removed(row(&found)))?;
            Ok(directory::delete_template(txn, found.id)?)
        })
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The connectors that use a template, in words.
fn named(users: &[Connector]) -> String {
    let shown = users.iter().take(USERS_NAMED_MAX);
    let mut names: Vec<String> = shown.map(|user| format!("{} ({})", user.name, user.id)).collect();
    if users.len() > USERS_NAMED_MAX {
        names.push("others".to_owned());
    }
    names.join(", ")
}
