//! `/plugins`: what is installed, what waits for approval, uploads.

use super::audit::Act;
use super::body::{Members, object};
use super::paging::{Parameters, Query, page_of};
use super::problem::Problem;
use super::schema;
use super::{Api, Caller};
use crate::plugin::{Info, RegistryError, State as PluginState};
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Problem {
        let text = error.to_string();
        match error {
            RegistryError::Load(load) => Problem::new(422, load.code(), text),
            RegistryError::Unknown(_) => Problem::not_found(text),
            RegistryError::Ambiguous { .. } => Problem::conflict("plugin.ambiguous", text),
            RegistryError::NotApproved { .. } => Problem::conflict("plugin.not-approved", text),
            RegistryError::NoDirectory => Problem::conflict("plugin.no-directory", text),
            RegistryError::Lock(_) | RegistryError::Directory { .. } => Problem::internal(&text),
        }
    }
}

fn row(info: &Info) -> Result<Value, Problem> {
    serde_json::to_value(info).map_err(|error| Problem::internal(&error))
}

fn act(action: &'static str, row: &Value) -> Act {
    let name = row["name"].as_str().unwrap_or_default();
    Act::new(action, name).with(json!({ "version": row["version"], "sha256": row["sha256"] }))
}

/// Installed components, with what they ask for.
#[utoipa::path(
    get, path = "/plugins", tag = "plugins",
    params(schema::Paging),
    responses((status = 200, body = schema::Page<schema::Plugin>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &[])?;
    let rows = api.deps.plugins.list().iter().map(row).collect::<Result<Vec<_>, _>>()?;
    page_of(rows, &query)
}

/// One component: the active one of this name, else the last that waits; an active one with its manifest.
#[utoipa::path(
    get, path = "/plugins/{name}", tag = "plugins",
    responses((status = 200, body = schema::PluginDetail))
)]
pub(super) async fn show(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let named: Vec<Info> =
        api.deps.plugins.list().into_iter().filter(|info| info.name == name).collect();
    let active = named.iter().find(|info| info.state == PluginState::Active);
    let missing = || Problem::not_found(format!("there is no plugin {name:?}"));
    let info = active.or_else(|| named.last()).ok_or_else(missing)?;
    let plugins = &api.deps.plugins;
    let loaded = active.and_then(|_| plugins.connector(&name).or_else(|| plugins.strategy(&name)));
    let manifest = loaded.map(|loaded| serde_json::to_value(&loaded.manifest)).transpose();
    let mut row = row(info)?;
    if let Some(object) = row.as_object_mut() {
        let manifest = manifest.map_err(|error| Problem::internal(&error))?;
        object.insert("manifest".to_owned(), manifest.unwrap_or_default());
    }
    Ok(Json(row))
}

/// Installs a component from its bytes; it waits for approval.
#[utoipa::path(
    post, path = "/plugins", tag = "plugins",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 201, body = schema::Plugin),
        (status = 409, description = "`plugin.no-directory`"),
        (status = 422, description = "`plugin.not-wasm` and the other reasons why it cannot be loaded"),
    )
)]
pub(super) async fn install(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let bytes = bytes.map_err(|rejection| unread(&rejection, api.limits.component_bytes_max))?;
    let inner = api.clone();
    api.to_its_end(async move {
        let info = inner.deps.plugins.install(bytes.to_vec()).await?;
        let answer = row(&info)?;
        caller.log_alone(&inner, act("installPlugin", &answer)).await?;
        Ok((StatusCode::CREATED, Json(answer)).into_response())
    })
    .await
}

fn unread(rejection: &BytesRejection, bytes_max: usize) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let detail =
            format!("the file is too large: a component may have at most {bytes_max} bytes");
        return Problem::new(422, "plugin.component-too-large", detail);
    }
    Problem::new(400, "bad-body", rejection.body_text())
}

/// Lets a version run.
#[utoipa::path(
    post, path = "/plugins/{name}/approve", tag = "plugins",
    request_body = Option<schema::Approval>,
    responses(
        (status = 200, body = schema::Plugin),
        (status = 409, description = "`plugin.ambiguous`, `plugin.no-directory`"),
    )
)]
pub(super) async fn approve(
    State(api): State<Api>,
    Path(name): Path<String>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Result<Json<Value>, Problem> {
    let mut members = Members::new(object(&bytes)?);
    let sha256 = members.text("sha256");
    members.finish()?;
    let inner = api.clone();
    api.to_its_end(async move {
        let plugins = &inner.deps.plugins;
        let info = plugins.approve(&name, sha256.as_deref(), &caller.name).await?;
        let answer = row(&info)?;
        caller.log_alone(&inner, act("approvePlugin", &answer)).await?;
        Ok(Json(answer))
    })
    .await
}

/// Goes to another approved version.
#[utoipa::path(
    post, path = "/plugins/{name}/activate", tag = "plugins",
    request_body = schema::Activation,
    responses(
        (status = 200, body = schema::Plugin),
        (status = 409, description = "`plugin.not-approved`, `plugin.no-directory`"),
    )
)]
pub(super) async fn activate(
    State(api): State<Api>,
    Path(name): Path<String>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Result<Json<Value>, Problem> {
    let mut members = Members::new(object(&bytes)?);
    let sha256 = members.required("sha256");
    members.finish()?;
    let inner = api.clone();
    api.to_its_end(async move {
        let info = inner.deps.plugins.activate(&name, &sha256).await?;
        let answer = row(&info)?;
        caller.log_alone(&inner, act("activatePlugin", &answer)).await?;
        Ok(Json(answer))
    })
    .await
}

/// Reads the plugin directory again.
#[utoipa::path(
    post, path = "/plugins/reload", tag = "plugins",
    responses(
        (status = 200, body = schema::Plugins),
        (status = 409, description = "`plugin.no-directory`"),
    )
)]
pub(super) async fn reload(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>, Problem> {
    let inner = api.clone();
    api.to_its_end(async move {
        inner.deps.plugins.reload().await?;
        caller.log_alone(&inner, Act::new("reloadPlugins", "")).await
    })
    .await?;
    let rows = api.deps.plugins.list().iter().map(row).collect::<Result<Vec<_>, _>>()?;
    Ok(Json(json!({ "items": rows })))
}
