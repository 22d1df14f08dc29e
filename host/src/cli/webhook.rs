//! `webhook`: deliveries that came in, one of them again, and headers for a delivery by hand.

use super::args::Paging;
use super::client::segment;
use super::problem::{Exit, Problem};
use super::{Session, lookup, secret};
use crate::clock::{self, Clock};
use crate::signature::{self, NAMES, shipped};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use std::io::Read as _;

const BODY_BYTES_MAX: u64 = 16 << 20;

#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// Deliveries, the newest first
    List {
        #[arg(long)]
        org: Option<String>,
        /// Connector id
        #[arg(long)]
        connector: Option<String>,
        /// `accepted`, `duplicate`, `badSignature`, `replayed`, `rateLimited`, `tooLarge`, `unknownOrganization` or
        /// `unknownEvent`
        #[arg(long)]
        verdict: Option<String>,
        /// Only deliveries since this time (RFC 3339)
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// One delivery with its events and the runs that it asked for
    Show { id: String },
    /// Process a delivery once more
    Replay { id: String },
    /// Where to point a remote system, and whether its deliveries can be taken
    Address {
        /// Connector id or name
        connector: String,
    },
    /// Sign a body as a remote system would: headers for a delivery by hand. Needs no server
    Sign(SignArgs),
}

#[derive(Args, Debug)]
pub(super) struct SignArgs {
    /// File of the body; `-` reads standard input
    #[arg(value_name = "FILE")]
    body: String,
    /// Name of the scheme, as in `config.webhookScheme`
    #[arg(long)]
    scheme: String,
    /// File of the webhook secret
    #[arg(long, value_name = "FILE")]
    secret_file: String,
    /// Id of the delivery, where the scheme signs one; made of the time if absent
    #[arg(long)]
    id: Option<String>,
    /// File to write the body to: some schemes put the signature inside
    #[arg(long, short, value_name = "FILE")]
    output: Option<std::path::PathBuf>,
}

pub(super) async fn run(verb: Verb, session: &mut Session<'_>) -> Result<Exit, Problem> {
    let json = session.json;
    match verb {
        Verb::List { org, connector, verdict, since, paging } => {
            let [limit, cursor] = paging.query();
            let query = [
                ("organization", org),
                ("connector", connector),
                ("verdict", verdict),
                ("since", since),
                limit,
                cursor,
            ];
            let answer = session.client()?.get("/webhooks/deliveries", &query).await?;
            let columns = [
                ("ID", "id"),
                ("CONNECTOR", "connectorId"),
                ("VERDICT", "verdict"),
                ("STATUS", "status"),
                ("EXTERNAL IDS", "externalIds"),
                ("RECEIVED", "receivedAt"),
                ("ANSWERED MS", "acknowledgedMs"),
                ("PROCESSED MS", "processedMs"),
            ];
            session.io.list(json, &answer, &columns)?;
        }
        Verb::Show { id } => {
            let answer = session.client()?.get(&path(&id), &[]).await?;
            session.io.object(json, &answer)?;
        }
        Verb::Replay { id } => {
            let client = session.client()?;
            let answer = client.post(&format!("{}/replay", path(&id)), &json!({})).await?;
            session.io.object(json, &answer)?;
        }
        Verb::Address { connector } => {
            let client = session.client()?;
            let id = lookup::connector(&client, &connector).await?;
            let answer = client.get(&format!("/connectors/{}/webhooks", segment(&id)), &[]).await?;
            session.io.object(json, &answer)?;
        }
        Verb::Sign(args) => sign(&args, session)?,
    }
    Ok(Exit::Ok)
}

fn path(id: &str) -> String {
    format!("/webhooks/deliveries/{}", segment(id))
}

fn sign(args: &SignArgs, session: &mut Session<'_>) -> Result<(), Problem> {
    let verifier = shipped(&args.scheme).ok_or_else(|| {
        Problem::usage(format!("there is no scheme `{}`", args.scheme))
            .hint(format!("known are {}", NAMES.join(", ")))
    })?;
    let secret = secret::from_file(&args.secret_file, &mut *session.io.input)?;
    let body = body(&args.body, session)?;
    let now = clock::to_millis(Clock::system().now());
    let id = args.id.clone().unwrap_or_else(|| format!("msg_{now}"));
    let signed = signature::sign(&verifier, &secret, &id, now, &body)
        .map_err(|fault| Problem::usage(fault.to_string()))?;
    if let Some(file) = &args.output {
        std::fs::write(file, &signed.body).map_err(|error| {
            Problem::failed(format!("cannot write {}", file.display())).caused_by(&error)
        })?;
    }
    if session.json {
        let headers: Map<String, Value> =
            signed.headers.into_iter().map(|(name, value)| (name, value.into())).collect();
        let body = String::from_utf8_lossy(&signed.body).into_owned();
        return session.io.json(&json!({ "headers": headers, "body": body }));
    }
    for (name, value) in &signed.headers {
        session.io.line(&format!("{name}: {value}"))?;
    }
    if args.output.is_none() {
        session.io.line("")?;
        session.io.bytes(&signed.body)?;
        session.io.line("")?;
    }
    Ok(())
}

fn body(name: &str, session: &mut Session<'_>) -> Result<Vec<u8>, Problem> {
    let unreadable =
        |error: std::io::Error| Problem::failed(format!("cannot read {name}")).caused_by(&error);
    let mut bytes = Vec::new();
    let limit = BODY_BYTES_MAX + 1;
    if name == "-" {
        session.io.input.take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    } else {
        let file = std::fs::File::open(name).map_err(unreadable)?;
        file.take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    }
    if bytes.len() as u64 > BODY_BYTES_MAX {
        return Err(Problem::usage(format!("{name} is larger than {BODY_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}
