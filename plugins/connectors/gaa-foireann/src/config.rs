//! The connector's settings.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Most records that one page may be asked for.
pub(crate) const PAGE_SIZE_MAX: u32 = 1000;

/// See the manifest's schema for what each setting means.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Config {
    pub(crate) page_size: u32,
    pub(crate) page_param: String,
    pub(crate) limit_param: String,
    pub(crate) list_pointer: String,
    pub(crate) detail_pointer: String,
    pub(crate) total_pointer: String,
    pub(crate) more_pointer: String,
    /// Remote name to our name.
    pub(crate) field_map: BTreeMap<String, String>,
    pub(crate) include_health_data: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            page_size: 100,
            page_param: "page".to_owned(),
            limit_param: "limit".to_owned(),
            list_pointer: "/members".to_owned(),
            detail_pointer: "/member".to_owned(),
            total_pointer: "/totalCount".to_owned(),
            more_pointer: "/hasMore".to_owned(),
            field_map: BTreeMap::new(),
            include_health_data: false,
        }
    }
}
