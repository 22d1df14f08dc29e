//! The tree of commands and the flags that all of them share.

use super::problem::Problem;
use super::{
    audit, changes, check_config, conflict, connector, demo, doctor, failure, init, key, notify,
    org, plugin, record, runs, schedule, serve, shell, sync, template, token, user, webhook,
};
use crate::config::Flag;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Keeps an organization's records in agreement with the systems that they come from.
#[derive(Parser, Debug)]
#[command(name = "syncline", version, arg_required_else_help = true)]
#[command(max_term_width = 100, propagate_version = false)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Args, Debug)]
pub(super) struct Global {
    /// Address of the running server [default: http://127.0.0.1:8420]
    #[arg(long, global = true, value_name = "URL", help_heading = "Global options")]
    server: Option<String>,
    /// API token; SYNCLINE_TOKEN keeps it out of the list of processes
    #[arg(long, global = true, value_name = "TOKEN", help_heading = "Global options")]
    token: Option<String>,
    /// Configuration file instead of `syncline.toml` in the data directory
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub(super) config: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long, global = true, help_heading = "Global options")]
    pub(super) json: bool,
}

impl Global {
    /// The settings that the shared flags stand for.
    pub(super) fn flags(&self) -> Vec<Flag> {
        let server = self.server.clone().map(|value| ("--server", "cli.server", value));
        let token = self.token.clone().map(|value| ("--token", "cli.token", value));
        let given = server.into_iter().chain(token);
        given.map(|(flag, key, value)| Flag { flag, key, value }).collect()
    }
}

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Prepare a data directory: key file, stores, one API token, the first admin
    Init(init::InitArgs),
    /// Run the server
    Serve(serve::ServeArgs),
    /// Watch a built-in federation sync: two runs with conflicts, a summary, then a server to explore
    Demo(demo::DemoArgs),
    /// Print every setting with its origin
    CheckConfig(check_config::CheckConfigArgs),
    /// Look for what is wrong: data directory, keys, store, plugins, the running server
    Doctor(doctor::DoctorArgs),
    /// Print the version
    Version,
    /// Print the OpenAPI description of the HTTP API
    Openapi,
    /// Print what a shell needs to complete commands
    Completions(shell::CompletionsArgs),
    /// Print the manual page
    Man(shell::ManArgs),
    /// Plugins: the components that speak to federations and decide conflicts
    Plugin {
        #[command(subcommand)]
        verb: plugin::Verb,
    },
    /// Organizations and their connections
    Org {
        #[command(subcommand)]
        verb: org::Verb,
    },
    /// Connectors: configured uses of a plugin
    Connector {
        #[command(subcommand)]
        verb: connector::Verb,
    },
    /// Templates: which field of a federation becomes which local field
    Template {
        #[command(subcommand)]
        verb: template::Verb,
    },
    /// Ask for a run
    Sync(sync::SyncArgs),
    /// Schedules: when connections are synced by themselves
    Schedule {
        #[command(subcommand)]
        verb: schedule::Verb,
    },
    /// Runs, past and present
    Run {
        #[command(subcommand)]
        verb: runs::Verb,
    },
    /// Conflicts that wait for a person
    Conflict {
        #[command(subcommand)]
        verb: conflict::Verb,
    },
    /// Records that could not be synced
    Failure {
        #[command(subcommand)]
        verb: failure::Verb,
    },
    /// Deliveries that remote systems sent in
    Webhook {
        #[command(subcommand)]
        verb: webhook::Verb,
    },
    /// Channels by which people are told, and the log of what was told
    Notify {
        #[command(subcommand)]
        verb: notify::Verb,
    },
    /// The keys under which secrets are sealed
    Key {
        #[command(subcommand)]
        verb: key::Verb,
    },
    /// Local records
    Record {
        #[command(subcommand)]
        verb: record::Verb,
    },
    /// People who log in with a password
    User {
        #[command(subcommand)]
        verb: user::Verb,
    },
    /// API tokens of programs
    Token {
        #[command(subcommand)]
        verb: token::Verb,
    },
    /// Who changed what
    Audit {
        #[command(subcommand)]
        verb: audit::Verb,
    },
    /// The change feed of an organization
    Changes(changes::ChangesArgs),
}

impl Command {
    pub(super) fn data_dir(&self) -> Option<PathBuf> {
        match self {
            Command::Init(args) => args.data_dir.clone(),
            Command::Serve(args) => args.data_dir.clone(),
            Command::Demo(args) => args.data_dir.clone(),
            Command::CheckConfig(args) => args.data_dir.clone(),
            Command::Doctor(args) => args.data_dir.clone(),
            _ => None,
        }
    }

    /// The settings that this command's own flags stand for.
    pub(super) fn flags(&self) -> Result<Vec<Flag>, Problem> {
        match self {
            Command::Serve(args) => args.flags(),
            _ => Ok(Vec::new()),
        }
    }

    pub(super) fn serves(&self) -> bool {
        matches!(self, Command::Serve(_) | Command::Demo(_))
    }

    /// Whether the data directory of the environment is meant where none is named. The demo never takes it: it is
    /// somebody's real one.
    pub(super) fn takes_data_dir_of_environment(&self) -> bool {
        !matches!(self, Command::Demo(_))
    }
}

/// Flags of every verb that lists.
#[derive(Args, Debug)]
pub(super) struct Paging {
    /// Rows at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=200))]
    limit: u16,
    /// Continue after the page that showed this cursor
    #[arg(long)]
    cursor: Option<String>,
}

impl Paging {
    pub(super) fn query(&self) -> [(&'static str, Option<String>); 2] {
        [("limit", Some(self.limit.to_string())), ("cursor", self.cursor.clone())]
    }
}
