//! `POST /templates/{id}/preview` and `POST /templates/preview`: what a template would make of sample records. Reads
//! and changes nothing.

use super::access::Reach;
use super::body::{Members, kind, near, object};
use super::problem::{Fault, Problem};
use super::schema;
use super::{Api, Caller, templates};
use crate::mapping::{Given, Invalid, Mapped, Mapper, Room, Warning};
use crate::model::manifest::EntitySpec;
use crate::model::rows::Rows;
use crate::model::template::Template;
use crate::model::{Cell, FieldType, RemoteRow, Value as Datum};
use crate::normalize::Normalizer;
use crate::worker::setup;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde_json::{Map, Value, json};

/// How many sample records one preview maps.
const RECORDS_MAX: usize = 100;
/// The longest value of a sample record.
const VALUE_BYTES_MAX: usize = 64 << 10;
/// All that one preview answers: a template may show a value many times.
const ITEMS_BYTES_MAX: usize = 16 << 20;

/// What a body asks for.
struct Asked {
    entity: Option<String>,
    /// For the region of phone numbers in match keys.
    organization: Option<String>,
    records: Vec<Map<String, Value>>,
}

fn asked(members: &mut Members) -> Asked {
    let entity = members.text("entity");
    let organization = members.text("organizationId");
    members.require("records");
    let mut records = Vec::new();
    match members.take("records") {
        Some(Value::Array(items)) if !items.is_empty() && items.len() <= RECORDS_MAX => {
            for (at, item) in items.into_iter().enumerate() {
                match item {
                    Value::Object(record) => records.push(record),
                    other => {
                        let message =
                            format!("must be an object of source fields, not {}", kind(&other));
                        members.fault(&format!("records/{at}"), message);
                    }
                }
            }
        }
        Some(_) => {
            members.fault("records", format!("must be a list of 1 to {RECORDS_MAX} records"));
        }
        None => {}
    }
    Asked { entity, organization, records }
}

/// What a template would make of sample records.
#[utoipa::path(
    post, path = "/templates/{id}/preview", tag = "templates",
    request_body = schema::PreviewRequest,
    responses(
        (status = 200, body = schema::Preview),
        (status = 409, description = "`template.invalid`"),
    )
)]
pub(super) async fn stored(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Result<Json<Value>, Problem> {
    let found = api.read(move |read, _| templates::find(read, &id)).await?;
    let mut members = Members::new(object(&bytes)?);
    let asked = asked(&mut members);
    members.finish()?;
    preview(&api, caller.reach(), (found.plugin, found.template), asked).await
}

/// The same of a template that is not stored, or of the plugin's own.
#[utoipa::path(
    post, path = "/templates/preview", tag = "templates",
    request_body = schema::NewPreviewRequest,
    responses(
        (status = 200, body = schema::Preview),
        (status = 409, description = "`template.invalid`"),
    )
)]
pub(super) async fn unsaved(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Result<Json<Value>, Problem> {
    let mut members = Members::new(object(&bytes)?);
    let plugin = members.required("plugin");
    let entities = members.object("entities");
    let asked = asked(&mut members);
    members.finish()?;
    let (inner, named) = (api.clone(), plugin.clone());
    // Compiling takes a while.
    let template = api.read(move |_, _| match entities {
        Some(entities) => templates::entities(&inner, &named, entities),
        None => {
            let loaded = templates::connector_plugin(&inner, &named)?;
            let manifest = setup::connector_manifest(&loaded)
                .map_err(|failure| Problem::invalid_at("/plugin", failure.message))?;
            Ok(manifest.template.clone())
        }
    });
    let template = template.await?;
    preview(&api, caller.reach(), (plugin, template), asked).await
}

async fn preview(
    api: &Api,
    reach: Reach,
    (plugin, template): (String, Template),
    asked: Asked,
) -> Result<Json<Value>, Problem> {
    let loaded = templates::connector_plugin(api, &plugin)?;
    api.read(move |read, _| {
        let region = match &asked.organization {
            Some(id) => reach.organization(read, id)?.default_region,
            None => String::new(),
        };
        let manifest = setup::connector_manifest(&loaded)
            .map_err(|failure| Problem::conflict(&failure.code, failure.message))?;
        let entity = entity(&template, asked.entity.as_deref())?;
        let spec = manifest.entity(entity).ok_or_else(|| {
            let detail = format!("the plugin `{plugin}` has no entity `{entity}` any more");
            Problem::conflict("template.invalid", detail)
        })?;
        let mapping = template.entities.get(entity).cloned().unwrap_or_default();
        let mapper = Mapper::compile(&mapping, spec).map_err(|issues| {
            let words = issues.iter().map(|issue| format!("{}: {}", issue.pointer, issue.message));
            let detail = words.collect::<Vec<_>>().join("; ");
            Problem::conflict("template.invalid", detail)
        })?;
        check_samples(spec, &asked.records)?;
        let items = map(&mapper, spec, &Normalizer::new(&region), asked.records)?;
        let rejected = items.iter().filter(|item| item["outcome"] == "rejected").count();
        Ok(Json(json!({
            "entity": entity,
            "counts": { "mapped": items.len() - rejected, "rejected": rejected },
            "items": items,
        })))
    })
    .await
}

/// The entity that is meant: it may be left out where the template has only one.
fn entity<'a>(template: &'a Template, named: Option<&str>) -> Result<&'a str, Problem> {
    let mut known = template.entities.keys().map(String::as_str);
    let names = template.entities.keys().cloned().collect::<Vec<_>>().join(", ");
    match named {
        Some(named) => known.find(|known| *known == named).ok_or_else(|| {
            Problem::invalid_at("/entity", format!("is not mapped by the template: {names} are"))
        }),
        None => match (known.next(), known.next()) {
            (Some(only), None) => Ok(only),
            _ => Err(Problem::invalid_at("/entity", format!("is missing: choose one of {names}"))),
        },
    }
}

/// A name that the connector does not know would be ignored, and a typing error would look like a missing value.
fn check_samples(spec: &EntitySpec, records: &[Map<String, Value>]) -> Result<(), Problem> {
    let known = || spec.fields.iter().map(|field| field.name.as_str());
    let mut faults = Vec::new();
    for (at, record) in records.iter().enumerate() {
        for (name, _) in record.iter().filter(|(_, value)| length(value) > VALUE_BYTES_MAX) {
            let message = format!("a sample has at most {} KiB", VALUE_BYTES_MAX >> 10);
            let pointer = format!("/records/{at}/{}", super::body::escape(name));
            faults.push(Fault { pointer, message });
        }
        for name in record.keys().filter(|name| !known().any(|known| known == *name)) {
            let hint = near(name, known());
            let hint = hint.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            let message = format!("`{}` has no source field of this name{hint}", spec.name);
            let pointer = format!("/records/{at}/{}", super::body::escape(name));
            faults.push(Fault { pointer, message });
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Problem::invalid(faults)) }
}

fn length(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(_) | Value::Object(_) => value.to_string().len(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

fn map(
    mapper: &Mapper,
    spec: &EntitySpec,
    normalizer: &Normalizer,
    records: Vec<Map<String, Value>>,
) -> Result<Vec<Value>, Problem> {
    let columns: Vec<String> = spec.fields.iter().map(|field| field.name.clone()).collect();
    let bound = mapper.bind(&columns);
    let mut items = Vec::with_capacity(records.len());
    let mut bytes = 0;
    for record in records {
        let value = |name: &String| record.get(name).map_or(Datum::Absent, Datum::from_json);
        let id = record.get(&spec.key).map(|id| Datum::from_json(id).display());
        let row = RemoteRow {
            // A sample without an id is mapped all the same: what it is for is its fields.
            id: id.clone().filter(|id| !id.trim().is_empty()).unwrap_or_else(|| "-".to_owned()),
            values: columns.iter().map(value).collect(),
            ..RemoteRow::default()
        };
        let packed = Rows::of(&row);
        let Some(row) = packed.iter().next() else { continue };
        let item = match bound.map(row, &mut Room::default()) {
            Ok(mapped) => accepted(mapper, normalizer, id, &mapped),
            Err(invalid) => rejected(id, &invalid),
        };
        bytes += item.to_string().len();
        if bytes > ITEMS_BYTES_MAX {
            let mib = ITEMS_BYTES_MAX >> 20;
            let message = format!("would become more than {mib} MiB: send fewer or smaller ones");
            return Err(Problem::invalid_at("/records", message));
        }
        items.push(item);
    }
    Ok(items)
}

fn accepted(
    mapper: &Mapper,
    normalizer: &Normalizer,
    id: Option<String>,
    mapped: &Mapped<'_>,
) -> Value {
    let names = mapper.fields().iter().map(|field| field.name.to_string());
    let told = names.zip(mapped.values.iter().map(Given::cell));
    let told = told.filter(|(_, value)| *value != Cell::Absent);
    let fields: Map<String, Value> =
        told.map(|(name, value)| (name, value.to_value().to_json())).collect();
    json!({
        "externalId": id,
        "outcome": "mapped",
        "status": mapped.status,
        "fields": fields,
        "errors": [],
        "warnings": mapped.warnings.iter().map(warning).collect::<Vec<_>>(),
        "matchKeys": match_keys(mapper, normalizer, mapped),
    })
}

fn rejected(id: Option<String>, invalid: &Invalid) -> Value {
    let errors: Vec<Value> = invalid
        .reasons
        .iter()
        .map(|reason| {
            json!({ "field": &*reason.field, "code": reason.code, "message": reason.message })
        })
        .collect();
    json!({
        "externalId": id,
        "outcome": "rejected",
        "status": null,
        "fields": {},
        "errors": errors,
        "warnings": [],
        "matchKeys": [],
    })
}

fn warning(warning: &Warning) -> Value {
    json!({ "field": &*warning.field, "code": warning.code, "message": warning.message })
}

/// What each match rule would look for; a key is null where one of its fields is blank, so that the rule finds nobody.
fn match_keys(mapper: &Mapper, normalizer: &Normalizer, mapped: &Mapped<'_>) -> Vec<Value> {
    let rule = |positions: &Vec<usize>| {
        let fields = positions.iter().filter_map(|at| {
            let value = mapped.values.get(*at).map(Given::cell).unwrap_or_default();
            Some((mapper.fields().get(*at)?, value))
        });
        let fields: Vec<_> = fields.collect();
        let parts: Vec<_> =
            fields.iter().map(|(field, value)| (field.field_type, *value)).collect();
        let names: Vec<&str> = fields.iter().map(|(field, _)| &*field.name).collect();
        let canonical = |(field_type, value): &(FieldType, Cell<'_>)| {
            normalizer.canonical(*field_type, *value).map(std::borrow::Cow::into_owned)
        };
        let key: Option<Vec<String>> = parts.iter().map(canonical).collect();
        json!({ "fields": names, "key": key })
    };
    mapper.match_rules().iter().map(rule).collect()
}
