//! The generated bindings, one module for each world.
//!
//! The worlds export disjoint interfaces: the generated export macros of one crate share a name for each interface. A
//! component gets the union of the worlds whose macros its plugin calls. All share the types of `connector`.

#![allow(unsafe_code, missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]

pub mod connector {
    wit_bindgen::generate!({
        path: "../wit",
        world: "connector",
        pub_export_macro: true,
        export_macro_name: "export_connector_world",
        default_bindings_module: "::syncline_plugin_sdk::guest::connector",
        runtime_path: "::syncline_plugin_sdk::guest::rt",
    });
}

pub mod fetch {
    wit_bindgen::generate!({
        path: "../wit",
        world: "fetch-ability",
        pub_export_macro: true,
        export_macro_name: "export_fetch_world",
        default_bindings_module: "::syncline_plugin_sdk::guest::fetch",
        runtime_path: "::syncline_plugin_sdk::guest::rt",
        with: { "syncline:plugin/types@0.1.0": crate::guest::connector::syncline::plugin::types },
    });
}

pub mod webhook {
    wit_bindgen::generate!({
        path: "../wit",
        world: "webhook-ability",
        pub_export_macro: true,
        export_macro_name: "export_webhook_world",
        default_bindings_module: "::syncline_plugin_sdk::guest::webhook",
        runtime_path: "::syncline_plugin_sdk::guest::rt",
        with: { "syncline:plugin/types@0.1.0": crate::guest::connector::syncline::plugin::types },
    });
}

pub mod strategy {
    wit_bindgen::generate!({
        path: "../wit",
        world: "strategy",
        pub_export_macro: true,
        export_macro_name: "export_strategy_world",
        default_bindings_module: "::syncline_plugin_sdk::guest::strategy",
        runtime_path: "::syncline_plugin_sdk::guest::rt",
        with: { "syncline:plugin/types@0.1.0": crate::guest::connector::syncline::plugin::types },
    });
}
