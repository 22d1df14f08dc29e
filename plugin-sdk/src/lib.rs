//! Write Syncline plugins in plain Rust.
//!
//! A *connector* implements [`Connector`] (and [`Fetch`] where the remote can be asked for single records, [`Webhook`]
//! where it calls back) and ends with [`export_connector!`]; a *strategy* implements [`Strategy`] and ends with
//! [`export_strategy!`]. Everything
//! compiles natively as well, where [`testing::FakeHttp`] answers the requests, so that a plugin's logic has plain
//! unit tests. `docs/plugin-author.md` is the guide.
//!
//! This crate owns the translation between these types and the component's binary interface. It must not contain
//! anything about a particular remote system.

#![deny(unsafe_code)]

// The export macros name this crate by its own name, also inside it.
extern crate self as syncline_plugin_sdk;

mod connector;
mod error;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod guest;
pub mod http;
mod instant;
pub mod log;
pub mod manifest;
mod notifications;
mod page;
mod rows;
mod strategy;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod value;

pub use connector::{
    Connector, Context, Delivery, Event, EventKind, Fetch, Filters, Mode, PageRequest, Webhook,
};
pub use error::{ConfigIssue, Error, Result};
pub use instant::Instant;
pub use manifest::{ConnectorManifest, StrategyManifest};
pub use notifications::notifications;
pub use page::{Page, PageBuilder, Reject, Row, RowBuilder};
pub use serde_json;
pub use strategy::{Author, Choice, Conflict, Decision, Side, SourceOfTruth, Strategy};
pub use value::{Cell, Value};

/// Exports a type that implements [`Connector`] as the component's connector.
///
/// `export_connector!(Shop)` exports what every connector has; `export_connector!(Shop with fetch, webhook)` adds the
/// abilities of [`Fetch`] and [`Webhook`], each where it is named. Call it once, at the end of the plugin's `lib.rs`;
/// natively it expands to nothing.
#[macro_export]
macro_rules! export_connector {
    ($plugin:ident $(with $($ability:ident),+)?) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            type Exported = $crate::guest::Guest<$plugin>;
            $crate::guest::connector::export_connector_world!(Exported);
        };
        $($($crate::export_ability!($plugin $ability);)+)?
    };
}

/// One ability of [`export_connector!`].
#[doc(hidden)]
#[macro_export]
macro_rules! export_ability {
    ($plugin:ident fetch) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            type Exported = $crate::guest::Guest<$plugin>;
            $crate::guest::fetch::export_fetch_world!(Exported);
        };
    };
    ($plugin:ident webhook) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            type Exported = $crate::guest::Guest<$plugin>;
            $crate::guest::webhook::export_webhook_world!(Exported);
        };
    };
}

/// Exports a type that implements [`Strategy`] as the component's strategy.
///
/// Call it once, at the end of the plugin's `lib.rs`; natively it expands to nothing.
#[macro_export]
macro_rules! export_strategy {
    ($plugin:ident) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            type Exported = $crate::guest::Guest<$plugin>;
            $crate::guest::strategy::export_strategy_world!(Exported);
        };
    };
}
