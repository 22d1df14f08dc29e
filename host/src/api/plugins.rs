//! `/plugins`: what is installed, what waits for approval, uploads.

use super::body::{Members, object};
use super::paging::{Query, page_of};
use super::problem::Problem;
use super::{Api, Caller};
use crate::plugin::{Info, RegistryError};
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query as Parameters, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::Value;
use std::collections::HashMap;

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

pub(super) async fn list(
    State(api): State<Api>,
    Parameters(parameters): Parameters<HashMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let query = Query::new(parameters, &[])?;
    let rows = api.deps.plugins.list().iter().map(row).collect::<Result<Vec<_>, _>>()?;
    page_of(rows, &query)
}

pub(super) async fn install(
    State(api): State<Api>,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let bytes = bytes.map_err(|rejection| unread(&rejection, api.limits.component_bytes_max))?;
    let info = api.deps.plugins.install(bytes.to_vec()).await?;
    Ok((StatusCode::CREATED, Json(row(&info)?)).into_response())
}

fn unread(rejection: &BytesRejection, bytes_max: usize) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let detail =
            format!("the file is too large: a component may have at most {bytes_max} bytes");
        return Problem::new(422, "plugin.component-too-large", detail);
    }
    Problem::new(400, "bad-body", rejection.body_text())
}

pub(super) async fn approve(
    State(api): State<Api>,
    Path(name): Path<String>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Result<Json<Value>, Problem> {
    let mut members = Members::new(object(&bytes)?);
    let sha256 = members.text("sha256");
    members.finish()?;
    let info = api.deps.plugins.approve(&name, sha256.as_deref(), &caller.name).await?;
    Ok(Json(row(&info)?))
}

pub(super) async fn activate(
    State(api): State<Api>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Result<Json<Value>, Problem> {
    let mut members = Members::new(object(&bytes)?);
    let sha256 = members.required("sha256");
    members.finish()?;
    let info = api.deps.plugins.activate(&name, &sha256).await?;
    Ok(Json(row(&info)?))
}

pub(super) async fn reload(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    api.deps.plugins.reload().await?;
    let rows = api.deps.plugins.list().iter().map(row).collect::<Result<Vec<_>, _>>()?;
    Ok(Json(serde_json::json!({ "items": rows })))
}
