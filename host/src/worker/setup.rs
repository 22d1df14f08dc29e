//! What a run needs before its first page: connector, plugin, mapping, policies, the way out.

use super::requests::RequestLog;
use super::{Deps, Failure, outbound, template};
use crate::ask;
use crate::clock;
use crate::egress::RunClient;
use crate::mapping::Mapper;
use crate::model::conflict::SourceOfTruth;
use crate::model::directory::{
    Connection, ConnectionEntity, Connector, ConnectorStatus, Organization,
};
use crate::model::job::Job;
use crate::model::manifest::{ConnectorManifest, EntitySpec};
use crate::model::record::Shape;
use crate::model::remote::CallContext;
use crate::model::run::{EntityRequest, PluginRef, Run};
use crate::model::template::{EntityTemplate, Template};
use crate::model::{FieldType, RunStatus};
use crate::normalize::Normalizer;
use crate::plugin::{Kind, Loaded};
use crate::queue;
use crate::store::failures::Scope;
use crate::store::identity::{Rule, Rules};
use crate::store::{self, Store, directory, identity, names, runs};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// One run, ready to start.
pub struct Setup {
    pub connection: Arc<Connection>,
    pub plugin: Arc<Loaded>,
    pub context: CallContext,
    pub outbound: Arc<RunClient>,
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
    /// Of all that decides what the mapper makes of a row.
    pub mapping_digest: [u8; 32],
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
    check_wanted(&parties)?;
    let plugin = connector_plugin(deps, &parties.connector)?;
    run.plugin = Some(PluginRef { name: plugin.name.clone(), sha256: plugin.sha256.clone() });
    let manifest = connector_manifest(&plugin)?;
    let (template, template_ref) =
        template::of_connector(&deps.store.read()?, &parties.connector, &plugin)?;
    run.template = Some(template_ref);
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
        context: outbound::context(deps, &parties, manifest, started_at)?,
        outbound: outbound::outbound(deps, &parties, manifest, &requests, job.by_person, cancel)?,
        batch_records: batch_records(deps, &parties.connector, manifest),
        connection: Arc::new(parties.connection),
        plugin,
        requests,
        entities,
        strategies,
    })
}

/// Keeps by which plugin, template and strategies a run is done: everybody sees it while the run goes on, and it is there
/// too if nobody is left to tell how the run ended. `stored` is the run as the store has it.
pub(super) async fn keep_means(
    deps: &Deps,
    job: &Arc<Job>,
    stored: &Run,
    run: &Run,
) -> Result<(), Failure> {
    let means = |run: &Run| (run.plugin.clone(), run.template.clone(), run.strategies.clone());
    let (job, now) = (Arc::clone(job), means(run));
    if means(stored) == now {
        return Ok(());
    }
    let kept = deps.store.write(move |txn| -> Result<(), store::Error> {
        // Another worker may have the job meanwhile.
        let held = queue::holder(txn, &job)?;
        let row = held.map(|held| runs::get(txn, held.run)).transpose()?.flatten();
        let (plugin, template, strategies) = now.clone();
        let row = row.map(|row| Run { plugin, template, strategies, ..row });
        row.map_or(Ok(()), |row| runs::put(txn, job.org_no, &row))
    });
    Ok(kept.await?)
}

fn strategy_ref(strategy: &Strategy) -> PluginRef {
    PluginRef { name: strategy.plugin.name.clone(), sha256: strategy.plugin.sha256.clone() }
}

pub fn connector_plugin(deps: &Deps, connector: &Connector) -> Result<Arc<Loaded>, Failure> {
    Ok(ask::plugin(&deps.plugins, connector)?)
}

pub fn connector_manifest(plugin: &Loaded) -> Result<&ConnectorManifest, Failure> {
    Ok(ask::manifest(plugin)?)
}

/// A run that was asked for before its connector was switched off, or before its connection ended, does nothing.
fn check_wanted(parties: &Parties) -> Result<(), Failure> {
    let cancelled = |failure: Failure| Failure { status: RunStatus::Cancelled, ..failure };
    if parties.connector.status == ConnectorStatus::Inactive {
        let message = "the connector was switched off before the run began".to_owned();
        return Err(cancelled(Failure::new("connector.not-active", message)));
    }
    if parties.connection.disconnected_at.is_some() {
        let message = "the organization was disconnected before the run began".to_owned();
        return Err(cancelled(Failure::new("connection.ended", message)));
    }
    Ok(())
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
        mapping_digest: mapping_digest(mapping, spec, fields_no)?,
        fields,
        types,
        fields_no,
        normalizer: Normalizer::new(&region),
        rules,
        strategies: chosen,
        source_of_truth: policy.source_of_truth,
    })
}

fn mapping_digest(
    mapping: &EntityTemplate,
    spec: &EntitySpec,
    fields_no: u32,
) -> Result<[u8; 32], Failure> {
    let text = serde_json::to_vec(&(mapping, spec, fields_no, env!("CARGO_PKG_VERSION")))
        .map_err(|error| Failure::new("run.internal", error.to_string()))?;
    Ok(Sha256::digest(text).into())
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
pub fn batch_records(deps: &Deps, connector: &Connector, manifest: &ConnectorManifest) -> u32 {
    let configured = connector.config.get("batchRecords").and_then(serde_json::Value::as_u64);
    let wanted = configured.and_then(|wanted| u32::try_from(wanted).ok());
    let wanted = wanted.unwrap_or(deps.options.batch_records).max(1);
    wanted.min(manifest.limits.records_per_page_max.unwrap_or(u32::MAX))
}
