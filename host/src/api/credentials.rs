//! The destruction of credentials, on demand: of a connector, or of what a connection has of its own.

use super::audit::Act;
use super::etag::IfMatch;
use super::problem::Problem;
use super::{Api, Caller, connections, connectors, oauth};
use crate::credentials;
use crate::model::access::OrgKey;
use crate::model::oauth::Holder;
use crate::secrets;
use crate::store::{Txn, grants};
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};

/// Destroys the credentials of a connector and of its connections; `If-Match` is optional.
#[utoipa::path(
    delete, path = "/connectors/{id}/credentials", tag = "connectors",
    responses((status = 204, description = "Nothing can open them any more"))
)]
pub(super) async fn delete_of_connector(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let if_match = IfMatch::optional(&headers).unwrap_or(IfMatch::Any);
    let (found, grants) = api
        .read(move |read, _| {
            let found = connectors::find(read, &id)?;
            if_match.check(found.version)?;
            Ok((found.id, grants::of_connector(read, found.id)?))
        })
        .await?;
    let holders = grants.into_iter().map(|grant| grant.holder).collect();
    destroy(api, holders, move |txn| {
        credentials::delete_all(txn, found)?;
        caller.log(txn, Act::new("destroyCredentials", found))
    })
    .await
}

/// Destroys the credentials that a connection has of its own; `If-Match` is optional.
#[utoipa::path(
    delete, path = "/organizations/{org}/connections/{id}/credentials", tag = "connections",
    responses((status = 204, description = "Nothing can open them any more"))
)]
pub(super) async fn delete_of_connection(
    State(api): State<Api>,
    Path((org, id)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let if_match = IfMatch::optional(&headers).unwrap_or(IfMatch::Any);
    let row = api.read(move |read, _| connections::find(read, &org, &id)).await?;
    if_match.check(row.version)?;
    destroy(api, vec![oauth::of_connection(&row)], move |txn| {
        let whose = Some((row.organization.as_str(), row.id));
        credentials::delete(txn, row.connector_id, whose)?;
        let organization = OrgKey { id: row.organization.clone(), no: row.org_no };
        caller.log(txn, Act::new("destroyCredentials", row.id).of_key(Some(organization)))
    })
    .await
}

/// Tells the platforms, as long as there are credentials to tell them with.
async fn withdraw(api: &Api, holders: Vec<Holder>) -> Result<(), Problem> {
    let inner = api.clone();
    let detached = api.deps.store.write(move |txn| -> Result<Vec<_>, Problem> {
        let detached = holders.iter().map(|holder| oauth::detach(&inner, txn, holder));
        Ok(detached.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    });
    for detached in detached.await? {
        oauth::revoke(api, Some(detached));
    }
    Ok(())
}

/// Who is told that they are gone finds them gone; who does not wait for it, later.
async fn destroy(
    api: Api,
    holders: Vec<Holder>,
    delete: impl FnMut(&Txn) -> Result<(), Problem> + Send + 'static,
) -> Result<StatusCode, Problem> {
    let inner = api.clone();
    api.to_its_end(async move {
        withdraw(&inner, holders).await?;
        inner.deps.store.write(delete).await?;
        secrets::shred(&inner.deps.store, &inner.deps.keys, &inner.deps.clock).await?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
