//! A connector whose remote keeps the books of many companies and tells of all of them at one address. It asks nobody:
//! every customer that somebody names exists, and is called after its company and id.

#![deny(unsafe_code)]

use serde::Deserialize;
use syncline_plugin_sdk::manifest::{
    Auth, Endpoint, Entity, EntityTemplate, Field, FieldMapping, FieldType, Limits, OnError,
    Template, Webhook as Signed,
};
use syncline_plugin_sdk::{
    Connector, ConnectorManifest, Context, Delivery, Event, Fetch, Page, PageBuilder, PageRequest,
    Result, Webhook, notifications, serde_json,
};

const ENTITY: &str = "customer";

#[derive(Debug)]
pub struct Books;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}

impl Connector for Books {
    type Config = Config;

    fn manifest() -> ConnectorManifest {
        let field = |name: &'static str| Field {
            name,
            kind: FieldType::Text,
            required: true,
            read_only: name == "id",
            ..Field::default()
        };
        let mapping = FieldMapping {
            source: "name",
            target: "name",
            kind: FieldType::Text,
            required: true,
            transforms: Vec::new(),
            on_error: OnError::Fail,
        };
        let template = EntityTemplate { fields: vec![mapping], ..EntityTemplate::default() };
        ConnectorManifest {
            id: "books",
            version: env!("CARGO_PKG_VERSION"),
            title: "Books",
            config_schema: serde_json::json!({"type": "object", "additionalProperties": false}),
            hosts: vec!["{baseUrl}"],
            methods: vec!["GET"],
            auth: vec![Auth::None],
            endpoints: vec![Endpoint {
                name: "baseUrl",
                title: "Nobody is asked there",
                required: true,
                default: None,
            }],
            entities: vec![Entity {
                name: ENTITY,
                title: "Customer",
                key: "id",
                modes: vec!["full", "ids"],
                fields: vec![field("id"), field("name")],
                ..Entity::default()
            }],
            template: Template { entities: [(ENTITY, template)].into() },
            webhook: Some(Signed { scheme: "intuit", signature: None }),
            limits: Limits::default(),
        }
    }

    fn check(_: &Context<Config>) -> Result<()> {
        Ok(())
    }

    fn fetch_page(_: &PageRequest<Config>) -> Result<Page> {
        Ok(PageBuilder::new(&["id", "name"]).build())
    }
}

impl Fetch for Books {
    fn by_ids(context: &Context<Config>, _entity: &str, ids: &[String]) -> Result<Page> {
        let company = context.organization.as_deref().unwrap_or_default();
        let mut page = PageBuilder::new(&["id", "name"]);
        for id in ids {
            let name = format!("{id} of {company}");
            page.row(id.as_str()).values(vec![id.as_str().into(), name.into()])?;
        }
        Ok(page.build())
    }
}

impl Webhook for Books {
    fn parse(delivery: &Delivery<Config>) -> Result<Vec<Event>> {
        notifications(&delivery.body, |name| (name == ENTITY).then(|| ENTITY.to_owned()))
    }
}

syncline_plugin_sdk::export_connector!(Books with fetch, webhook);
