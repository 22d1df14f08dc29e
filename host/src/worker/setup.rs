//! What a run needs before its first page: connector, plugin, mapping, policies, the way out.

use super::{Deps, Failure};
use crate::clock;
use crate::credentials;
use crate::egress::{Origin, RunSettings};
use crate::mapping::Mapper;
use crate::model::conflict::SourceOfTruth;
use crate::model::directory::{Connection, ConnectionEntity, Connector, Organization};
use crate::model::http::Outbound;
use crate::model::job::Job;
use crate::model::manifest::{ConnectorManifest, EntitySpec, Manifest};
use crate::model::record::Shape;
use crate::model::remote::CallContext;
use crate::model::run::{EntityRequest, PluginRef, Run};
use crate::model::template::Template;
use crate::model::{FieldType, RunStatus};
use crate::normalize::Normalizer;
use crate::plugin::{Kind, Loaded};
use crate::store::failures::Scope;
use crate::store::identity::{Rule, Rules};
use crate::store::{self, Store, directory, identity, names};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// One run, ready to start.
pub struct Setup {
    pub connection: Arc<Connection>,
    pub plugin: Arc<Loaded>,
    pub context: CallContext,
    pub outbound: Arc<dyn Outbound>,
    pub requests: RequestLog,
    pub entities: Vec<Arc<EntitySetup>>,
    /// The strategies that the policies name, each once; an [`EntitySetup`] refers to them by index.
    pub strategies: Vec<Strategy>,
    pub batch_records: u32,
}

#[derive(Clone)]
pub struct Strategy {
    /// As configured: an alias stays an alias in the history.
    pub name: String,
    pub plugin: Arc<Loaded>,
}

/// One entity of a run.
pub struct EntitySetup {
    pub store: Store,
    pub scope: Scope,
    pub request: EntityRequest,
    pub spec: EntitySpec,
    pub mapper: Mapper,
    pub fields: Shape,
    pub types: Arc<[FieldType]>,
    /// The number of `fields` in the store.
    pub fields_no: u32,
    pub normalizer: Normalizer,
    pub rules: Rules,
    /// By field: which strategy decides.
    pub strategies: Vec<usize>,
    pub source_of_truth: SourceOfTruth,
}

/// The lines that egress records, bounded.
#[derive(Clone, Default)]
pub struct RequestLog {
    lines: Arc<Mutex<(Vec<serde_json::Value>, u64)>>,
}

/// How many lines of one run are kept.
const REQUEST_LINES_MAX: usize = 5_000;

impl RequestLog {
    fn push(&self, line: &crate::model::http::RequestLine) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.0.len() < REQUEST_LINES_MAX {
            lines.0.extend(serde_json::to_value(line).ok());
        } else {
            lines.1 += 1;
        }
    }

    pub fn take(&self) -> Vec<serde_json::Value> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let more = std::mem::take(&mut lines.1);
        let mut taken = std::mem::take(&mut lines.0);
        if more > 0 {
            taken
                .push(serde_json::json!({ "note": format!("{more} more requests were left out") }));
        }
        taken
    }
}

/// Everything but the requests: what a job names, as it stands now.
pub struct Parties {
    pub organization: Organization,
    pub connection: Connection,
    pub connector: Connector,
}

pub fn parties(store: &Store, job: &Job) -> Result<Parties, Failure> {
    let read = store.read()?;
    let gone = |what: &str| Failure::new("run.gone", format!("the {what} was removed"));
    Ok(Parties {
        organization: directory::organization(&read, &job.organization)?
            .ok_or_else(|| gone("organization"))?,
        connection: directory::connection(&read, job.org_no, job.connection)?
            .ok_or_else(|| gone("connection"))?,
        connector: directory::connector(&read, job.connector)?.ok_or_else(|| gone("connector"))?,
    })
}

/// Prepares a run; writes what the store has to know of its fields and match rules.
pub async fn prepare(
    deps: &Deps,
    job: &Job,
    run: &mut Run,
    requests: &[EntityRequest],
    cancel: &CancellationToken,
) -> Result<Setup, Failure> {
    let parties = parties(&deps.store, job)?;
    let plugin = connector_plugin(deps, &parties.connector)?;
    run.plugin = Some(PluginRef { name: plugin.name.clone(), sha256: plugin.sha256.clone() });
    let manifest = connector_manifest(&plugin)?;
    let template = template(&deps.store, &parties.connector, manifest)?;
    let mut strategies = Vec::new();
    let mut entities = Vec::new();
    for request in requests {
        let setup = entity(deps, &parties, manifest, &template, request, &mut strategies).await?;
        entities.push(Arc::new(setup));
    }
    run.strategies = strategies.iter().map(strategy_ref).collect();
    let requests = RequestLog::default();
    let started_at = clock::to_text(run.started_at.unwrap_or_default());
    Ok(Setup {
        context: context(&parties, manifest, started_at),
        outbound: outbound(deps, &parties, manifest, &requests, cancel)?,
        batch_records: batch_records(deps, &parties.connector, manifest),
        connection: Arc::new(parties.connection),
        plugin,
        requests,
        entities,
        strategies,
    })
}

fn strategy_ref(strategy: &Strategy) -> PluginRef {
    PluginRef { name: strategy.plugin.name.clone(), sha256: strategy.plugin.sha256.clone() }
}

pub fn connector_plugin(deps: &Deps, connector: &Connector) -> Result<Arc<Loaded>, Failure> {
    deps.plugins.connector(&connector.plugin).ok_or_else(|| {
        let name = &connector.plugin;
        Failure::new("plugin.missing", format!("the plugin `{name}` is not active: approve it"))
    })
}

pub fn connector_manifest(plugin: &Loaded) -> Result<&ConnectorManifest, Failure> {
    match &plugin.manifest {
        Manifest::Connector(manifest) => Ok(manifest),
        Manifest::Strategy(_) => {
            Err(Failure::new("plugin.kind", format!("`{}` is a strategy", plugin.name)))
        }
    }
}

fn template(
    store: &Store,
    connector: &Connector,
    manifest: &ConnectorManifest,
) -> Result<Template, Failure> {
    let Some(id) = connector.template_id else {
        return Ok(manifest.template.clone());
    };
    let stored = directory::template(&store.read()?, id)?;
    let missing = || Failure::new("template.missing", format!("the template {id} was removed"));
    Ok(stored.ok_or_else(missing)?.template)
}

async fn entity(
    deps: &Deps,
    parties: &Parties,
    manifest: &ConnectorManifest,
    template: &Template,
    request: &EntityRequest,
    strategies: &mut Vec<Strategy>,
) -> Result<EntitySetup, Failure> {
    let name = &request.entity;
    let unknown =
        || Failure::new("entity.unknown", format!("the connector has no entity `{name}`"));
    let spec = manifest.entity(name).ok_or_else(unknown)?;
    let mapping = template.entities.get(name).ok_or_else(|| {
        Failure::new("template.entity", format!("the template maps no entity `{name}`"))
    })?;
    let mapper = Mapper::compile(mapping, spec).map_err(|issues| {
        let words: Vec<String> =
            issues.iter().map(|issue| format!("{}: {}", issue.pointer, issue.message)).collect();
        Failure::new("template.invalid", words.join("; "))
    })?;
    let names: Vec<&str> = mapper.fields().iter().map(|field| &*field.name).collect();
    let (fields, types) = (names::shape(&names), Arc::from(mapper.types()));
    let region = parties.organization.default_region.clone();
    let rules = Rules { region: region.clone(), rules: rules(&mapper) };
    let (entity, fields_no) =
        intern(&deps.store, parties, name, fields.clone(), rules.clone()).await?;
    let policy = parties.connection.entities.get(name).cloned().unwrap_or_default();
    let of_field = |field: &str| policy_for(deps, parties, &policy, field);
    let chosen = names
        .iter()
        .map(|field| pick(deps, strategies, of_field(field)))
        .collect::<Result<_, _>>()?;
    Ok(EntitySetup {
        store: deps.store.clone(),
        scope: Scope {
            org: parties.organization.no,
            organization: parties.organization.id.clone(),
            connector: parties.connector.id,
            connection: parties.connection.id,
            entity,
            entity_name: name.clone(),
        },
        request: request.clone(),
        spec: spec.clone(),
        mapper,
        fields,
        types,
        fields_no,
        normalizer: Normalizer::new(&region),
        rules,
        strategies: chosen,
        source_of_truth: policy.source_of_truth,
    })
}

fn rules(mapper: &Mapper) -> Vec<Rule> {
    let field = |at: &usize| {
        let field = mapper.fields().get(*at)?;
        Some((field.name.to_string(), field.field_type))
    };
    let rule =
        |positions: &Vec<usize>| Rule { fields: positions.iter().filter_map(field).collect() };
    mapper.match_rules().iter().map(rule).collect()
}

async fn intern(
    store: &Store,
    parties: &Parties,
    entity: &str,
    fields: Shape,
    rules: Rules,
) -> Result<(crate::model::ids::EntityNo, u32), Failure> {
    let (inner, org, name) = (store.clone(), parties.organization.no, entity.to_owned());
    let known = store.entity(entity).zip(store.shapes().number(&fields));
    if let Some((entity, number)) = known
        && identity::rules(&store.read()?, org, entity)? == rules
    {
        return Ok((entity, number));
    }
    let interned = store.write(move |txn| -> Result<_, store::Error> {
        let entity = inner.intern_entity(txn, &name)?;
        identity::ensure_rules(txn, &inner, org, entity, &rules)?;
        Ok((entity, inner.shapes().intern(txn, &fields)?))
    });
    Ok(interned.await?)
}

/// Field before entity before connection before connector before the default.
fn policy_for<'a>(
    deps: &'a Deps,
    parties: &'a Parties,
    entity: &'a ConnectionEntity,
    field: &str,
) -> &'a str {
    let of_field = entity.fields.get(field).map(|policy| policy.strategy.as_str());
    of_field
        .or(entity.strategy.as_deref())
        .or(parties.connection.strategy.as_deref())
        .or(parties.connector.sync_config.conflict_strategy.as_deref())
        .unwrap_or(&deps.options.strategy_default)
}

fn pick(deps: &Deps, strategies: &mut Vec<Strategy>, name: &str) -> Result<usize, Failure> {
    if let Some(known) = strategies.iter().position(|strategy| strategy.name == name) {
        return Ok(known);
    }
    let plugin = deps.plugins.strategy(name).filter(|plugin| plugin.kind == Kind::Strategy);
    let plugin = plugin.ok_or_else(|| {
        Failure::new("strategy.missing", format!("the strategy `{name}` is not active"))
    })?;
    strategies.push(Strategy { name: name.to_owned(), plugin });
    Ok(strategies.len() - 1)
}

/// Keys of `config` that belong to the host and are taken out before the plugin sees it.
pub const HOST_KEYS: [&str; 4] = ["requestsPerMinute", "authIn", "webhookScheme", "batchRecords"];

/// The connector's config without the host's keys.
pub fn plugin_config(config: &serde_json::Value) -> serde_json::Value {
    let mut config = config.clone();
    if let Some(object) = config.as_object_mut() {
        object.retain(|key, _| !HOST_KEYS.contains(&key.as_str()));
    }
    config
}

pub fn context(parties: &Parties, manifest: &ConnectorManifest, started_at: String) -> CallContext {
    CallContext {
        config: plugin_config(&parties.connector.config).to_string(),
        endpoints: endpoints(&parties.connector, manifest),
        organization: Some(parties.connection.federation_org_id.clone())
            .filter(|id| !id.is_empty()),
        started_at,
        extras: Vec::new(),
    }
}

/// The configured endpoints, and the defaults of those that are not.
fn endpoints(connector: &Connector, manifest: &ConnectorManifest) -> Vec<(String, String)> {
    let configured = connector.endpoints.iter().map(|(name, url)| (name.clone(), url.clone()));
    let default = manifest
        .endpoints
        .iter()
        .filter(|spec| !connector.endpoints.contains_key(&spec.name))
        .filter_map(|spec| Some((spec.name.clone(), spec.default.clone()?)));
    configured.chain(default).collect()
}

/// The run's way to the remote system, with credentials that the plugin never sees.
pub fn outbound(
    deps: &Deps,
    parties: &Parties,
    manifest: &ConnectorManifest,
    requests: &RequestLog,
    cancel: &CancellationToken,
) -> Result<Arc<dyn Outbound>, Failure> {
    let config = |message: String| Failure::new("connector.config", message);
    let endpoints = endpoints(&parties.connector, manifest);
    let endpoint = |name: &str| endpoints.iter().find(|(known, _)| known == name);
    let (_, base) = endpoint("baseUrl")
        .ok_or_else(|| config("the connector has no endpoint `baseUrl`".to_owned()))?;
    let base_url = base.parse::<url::Url>();
    let base_url = base_url.map_err(|error| config(format!("baseUrl {base:?}: {error}")))?;
    let mut granted = Vec::new();
    for host in &manifest.hosts {
        let placeholder = host.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let origin = match placeholder {
            None => host.parse::<Origin>().map_err(|error| config(error.to_string()))?,
            Some(name) => {
                let Some((_, url)) = endpoint(name) else { continue };
                let url: url::Url =
                    url.parse().map_err(|error| config(format!("{name} {url:?}: {error}")))?;
                Origin::of(&url).ok_or_else(|| config(format!("{name} {url} is no HTTP URL")))?
            }
        };
        granted.push(origin);
    }
    // A connector that is checked before it has any connection stands with number 0.
    let connection = Some((parties.connection.organization.as_str(), parties.connection.id));
    let connection = connection.filter(|(_, id)| id.0 != 0);
    let read = deps.store.read()?;
    let auth = credentials::auth(&read, &deps.key, &parties.connector, connection, &manifest.auth)
        .map_err(|error| Failure::new("connector.credentials", error.to_string()))?;
    let log = requests.clone();
    let client = deps.egress.run(RunSettings {
        base_url,
        granted,
        methods: manifest.methods.iter().filter_map(|method| method.parse().ok()).collect(),
        auth,
        limits: deps.egress.limits(),
        cancel: cancel.clone(),
        recorder: Arc::new(move |line| log.push(&line)),
    });
    Ok(Arc::new(client))
}

fn batch_records(deps: &Deps, connector: &Connector, manifest: &ConnectorManifest) -> u32 {
    let configured = connector.config.get("batchRecords").and_then(serde_json::Value::as_u64);
    let wanted = configured.and_then(|wanted| u32::try_from(wanted).ok());
    let wanted = wanted.unwrap_or(deps.options.batch_records).max(1);
    wanted.min(manifest.limits.records_per_page_max.unwrap_or(u32::MAX))
}

/// What the history says of the policies: names by scope.
pub fn policy_words(connector: &Connector, connection: &Connection, default: &str) -> String {
    let base = connection
        .strategy
        .as_deref()
        .or(connector.sync_config.conflict_strategy.as_deref())
        .unwrap_or(default);
    let mut words = vec![base.to_owned()];
    for (entity, policy) in &connection.entities {
        words.extend(policy.strategy.as_ref().map(|strategy| format!("{entity}: {strategy}")));
        let of_fields = policy.fields.iter();
        words.extend(of_fields.map(|(field, p)| format!("{entity}.{field}: {}", p.strategy)));
    }
    words.join(", ")
}

/// A login that a person has to renew is told apart from other refusals.
pub fn auth_status(connector: &Connector) -> RunStatus {
    match connector.auth_type {
        crate::model::directory::AuthType::OAuth2 => RunStatus::NeedsReauth,
        _ => RunStatus::Failed,
    }
}
