//! `/keys`: how far the secrets are under the newest key, and its change. No key is ever shown.

use super::audit::Act;
use super::problem::Problem;
use super::schema;
use super::{Api, Caller};
use crate::clock;
use crate::secrets::{self, Status};
use crate::vault;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};

fn row(status: &Status) -> Value {
    json!({
        "keyId": status.master,
        "createdAt": status.created_at.map(clock::to_text),
        "source": status.source,
        "sealed": { "total": status.sealed, "underCurrent": status.under_current },
        "rotating": status.rotating,
        "spareKeys": status.spare,
    })
}

impl From<secrets::Error> for Problem {
    fn from(error: secrets::Error) -> Problem {
        let text = error.to_string();
        match error {
            secrets::Error::Busy => Problem::conflict("key.rotating", text),
            secrets::Error::Vault(vault::Error::NotOurs) => Problem::conflict("key.not-ours", text),
            secrets::Error::Vault(vault::Error::KeyFile { .. }) => {
                Problem::conflict("key.not-writable", text)
            }
            secrets::Error::Vault(_) | secrets::Error::Store(_) => Problem::internal(&text),
        }
    }
}

/// How far the secrets are under the newest key.
#[utoipa::path(
    get, path = "/keys", tag = "keys",
    responses((status = 200, body = schema::KeyStatus))
)]
pub(super) async fn status(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let keys = api.deps.keys.clone();
    api.read(move |_, store| Ok(Json(row(&secrets::status(store, &keys)?)))).await
}

async fn finish(api: Api) {
    match secrets::finish(&api.deps.store, &api.deps.keys, &api.deps.clock).await {
        Ok(()) => tracing::info!("the master key was changed"),
        Err(error) => tracing::error!(%error, "the change of the master key stopped"),
    }
}

/// Begins a change of the master key; what is sealed follows in the background.
#[utoipa::path(
    post, path = "/keys/rotate", tag = "keys",
    responses(
        (status = 202, body = schema::KeyStatus),
        (status = 409, description = "`key.rotating`, `key.not-ours`, `key.not-writable`"),
    )
)]
pub(super) async fn rotate(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let (inner, keys) = (api.clone(), api.deps.keys.clone());
    api.to_its_end(async move {
        let (store, keys, clock) = (&inner.deps.store, &inner.deps.keys, &inner.deps.clock);
        secrets::rotate(store, keys, clock).await?;
        let key = keys.master_id().map(|id| id.to_string()).unwrap_or_default();
        let logged = caller.log_alone(&inner, Act::new("rotateKey", key)).await;
        // Whatever became of the entry: what has begun is finished.
        tokio::spawn(clock.task(finish(inner.clone())));
        logged
    })
    .await?;
    let shown = api.read(move |_, store| Ok(row(&secrets::status(store, &keys)?))).await?;
    Ok((StatusCode::ACCEPTED, Json(shown)).into_response())
}
