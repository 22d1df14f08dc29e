//! Settings: every knob of the house, its default, its range and where its value came from.
//!
//! Owns the one [`Config`] that others are handed. Order: built-in, then the file, then `SYNCLINE_*`
//! variables, then flags. Must not read the environment by itself, and nothing else may read it.
//! Byte counts, times and percentages are whole numbers with the unit last in the name.

mod keys;
mod load;
mod sections;
mod suggest;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::path::{Path, PathBuf};

pub use keys::{KEYS, Key};
pub use load::{Flag, Loaded, Origin, Row, Sources, load};
pub use sections::{
    Cli, Config, Egress, Limits, Log, LogFormat, LogLevel, Notify, Plugins, Server, Sync, Vault,
};

/// Name of the configuration file inside the data directory.
pub const FILE_NAME: &str = "syncline.toml";
/// Variable that names the configuration file, as `--config` does.
pub const CONFIG_VARIABLE: &str = "SYNCLINE_CONFIG";
/// Variable that names the data directory, as `--data-dir` does.
pub const DATA_DIR_VARIABLE: &str = "SYNCLINE_DATA_DIR";
/// Variable that may hold the master key. No setting: it is read by the vault and shown by nobody.
pub const MASTER_KEY_VARIABLE: &str = "SYNCLINE_MASTER_KEY";
/// A larger configuration file is refused unread.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why the settings cannot be used. Every case is the operator's to mend: exit code 78.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the configuration file {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the configuration file {} is larger than {FILE_BYTES_MAX} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("{}:{line}: {message}", path.display())]
    Syntax { path: PathBuf, line: usize, message: String },
    #[error("{origin}: unknown setting `{key}`")]
    UnknownKey { key: String, origin: Origin, suggestion: Option<String> },
    #[error("unknown variable `{name}` in the environment")]
    UnknownVariable { name: String, suggestion: Option<String> },
    #[error("{origin}: `{key}` is {found}, expected {expected}")]
    WrongValue { key: &'static str, origin: Origin, found: String, expected: String },
    #[error("`{lower}` ({lower_value}) is above `{upper}` ({upper_value})")]
    Contradiction { lower: &'static str, lower_value: u64, upper: &'static str, upper_value: u64 },
}

impl Error {
    /// What the operator can do next, where more can be said than the message does.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::UnknownKey { suggestion: Some(name), .. }
            | Error::UnknownVariable { suggestion: Some(name), .. } => {
                Some(format!("did you mean `{name}`?"))
            }
            Error::UnknownKey { .. } => {
                Some("`syncline check-config` lists every setting".to_owned())
            }
            Error::UnknownVariable { .. } => Some(
                "variables that start with SYNCLINE_ are settings; `syncline check-config` \
                 lists them"
                    .to_owned(),
            ),
            Error::Contradiction { lower, upper, .. } => {
                Some(format!("lower `{lower}` or raise `{upper}`"))
            }
            Error::Read { .. }
            | Error::TooLarge { .. }
            | Error::Syntax { .. }
            | Error::WrongValue { .. } => None,
        }
    }
}

impl Config {
    /// Where plugin files are looked for. A relative setting counts from the data directory.
    pub fn plugins_dir(&self, data_dir: &Path) -> PathBuf {
        let dir = self.plugins.dir.as_deref();
        data_dir.join(dir.unwrap_or_else(|| Path::new("plugins")))
    }

    /// The operator's own authorities, if any. A relative setting counts from the data directory.
    pub fn extra_ca_file(&self, data_dir: &Path) -> Option<PathBuf> {
        self.egress.extra_ca_file.as_deref().map(|file| data_dir.join(file))
    }

    /// Where the master key is kept. A relative setting counts from the data directory.
    pub fn key_file(&self, data_dir: &Path) -> PathBuf {
        let file = self.vault.key_file.as_deref();
        data_dir.join(file.unwrap_or_else(|| Path::new("master.key")))
    }
}
