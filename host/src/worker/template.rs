//! Which field mapping the runs of a connector use. Compiles nothing and maps nothing.

use super::{Failure, setup};
use crate::model::directory::Connector;
use crate::model::run::TemplateRef;
use crate::model::template::Template;
use crate::plugin::Loaded;
use crate::store::{Read, directory};

/// The mapping that runs of a connector use: a stored one, or the plugin's own.
pub fn of_connector(
    read: &dyn Read,
    connector: &Connector,
    plugin: &Loaded,
) -> Result<(Template, TemplateRef), Failure> {
    let manifest = setup::connector_manifest(plugin)?;
    let Some(id) = connector.template_id else {
        let (id, version, name) = (None, None, plugin.name.clone());
        return Ok((manifest.template.clone(), TemplateRef { id, version, name }));
    };
    let stored = directory::template(read, id)?;
    let missing = || Failure::new("template.missing", format!("the template {id} was removed"));
    let stored = stored.ok_or_else(missing)?;
    let (id, version) = (Some(stored.id), Some(stored.version));
    Ok((stored.template, TemplateRef { id, version, name: stored.name }))
}
