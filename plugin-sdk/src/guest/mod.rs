//! The border between the SDK's types and the component's binary interface. Only compiled for wasm; nothing here is
//! part of the SDK's promise to authors.

mod bindings;
mod convert;

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

pub use bindings::{connector, fetch, strategy, webhook};
use connector::exports::syncline::plugin::{connector_info, pull};
use connector::syncline::plugin::types as wire;
use strategy::exports::syncline::plugin::{resolve, strategy_info};
use webhook::exports::syncline::plugin::webhook as hook;
pub use wit_bindgen::rt;

use crate::{
    Connector, Context, Delivery, Error, Fetch, Filters, Mode, PageRequest, Strategy, Webhook,
    http, manifest,
};

/// What the generated exports call: translates for the plugin `T`.
pub struct Guest<T>(PhantomData<T>);

impl<T: Connector> connector_info::Guest for Guest<T> {
    fn describe() -> wire::Descriptor {
        wire::Descriptor { manifest: manifest::Manifest::Connector(T::manifest()).to_json() }
    }

    fn check(context: wire::Context) -> Result<(), wire::Error> {
        Ok(T::check(&context_of(context)?)?)
    }
}

impl<T: Connector> pull::Guest for Guest<T> {
    fn fetch_page(request: pull::PageRequest) -> Result<wire::Page, wire::Error> {
        let mode = match request.mode.as_str() {
            "full" => Mode::Full,
            "incremental" => Mode::Incremental,
            other => return Err(Error::Unsupported(format!("mode `{other}`")).into()),
        };
        let request = PageRequest {
            context: context_of(request.context)?,
            entity: request.entity,
            mode,
            since: request.since,
            checkpoint: request.checkpoint,
            filters: filters_of(request.filters.as_deref())?,
            cursor: request.cursor,
            records_max: request.records_max,
        };
        Ok(T::fetch_page(&request)?.into())
    }
}

impl<T: Fetch> fetch::exports::syncline::plugin::fetch::Guest for Guest<T> {
    fn by_ids(
        context: wire::Context,
        entity: String,
        ids: Vec<String>,
    ) -> Result<wire::Page, wire::Error> {
        Ok(T::by_ids(&context_of(context)?, &entity, &ids)?.into())
    }
}

impl<T: Webhook> hook::Guest for Guest<T> {
    fn parse(delivery: hook::Delivery) -> Result<Vec<hook::Event>, wire::Error> {
        let delivery = Delivery {
            config: config_of(&delivery.config)?,
            headers: delivery.headers,
            body: delivery.body,
        };
        Ok(T::parse(&delivery)?.into_iter().map(Into::into).collect())
    }
}

impl<T: Strategy> strategy_info::Guest for Guest<T> {
    fn describe() -> wire::Descriptor {
        wire::Descriptor { manifest: manifest::Manifest::Strategy(T::manifest()).to_json() }
    }
}

impl<T: Strategy> resolve::Guest for Guest<T> {
    fn decide(conflicts: Vec<resolve::Conflict>) -> Vec<resolve::Decision> {
        conflicts.into_iter().map(|conflict| T::decide(&conflict.into()).into()).collect()
    }
}

pub(crate) fn send(request: http::Request) -> Result<http::Response, http::Failure> {
    Ok(connector::syncline::plugin::http::send(&request.into())?.into())
}

pub(crate) fn prefetch(request: http::Request) {
    connector::syncline::plugin::http::prefetch(&request.into());
}

fn context_of<C: DeserializeOwned>(context: wire::Context) -> Result<Context<C>, Error> {
    Ok(Context {
        config: config_of(&context.config)?,
        endpoints: context.endpoints.into_iter().collect(),
        organization: context.organization,
        started_at: context.started_at,
        extras: context.extras.into_iter().collect(),
    })
}

fn config_of<C: DeserializeOwned>(config: &str) -> Result<C, Error> {
    let config = if config.trim().is_empty() { "{}" } else { config };
    serde_json::from_str(config).map_err(|error| Error::config("", error.to_string()))
}

fn filters_of(filters: Option<&str>) -> Result<Filters, Error> {
    filters.map_or(Ok(Filters::default()), |filters| {
        serde_json::from_str(filters)
            .map_err(|error| Error::Unsupported(format!("filter: {error}")))
    })
}
