//! Layers the sources over the built-in values and remembers where each value came from.

use super::keys::{KEYS, Key, Raw};
use super::suggest::nearest;
use super::{
    CONFIG_VARIABLE, Config, DATA_DIR_VARIABLE, Error, FILE_BYTES_MAX, FILE_NAME,
    MASTER_KEY_VARIABLE,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// Where settings are looked for. The caller gathers the environment, so that tests need none.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A `syncline.toml` in it is read when `file` is absent.
    pub data_dir: Option<PathBuf>,
    /// Must exist when named.
    pub file: Option<PathBuf>,
    /// Variables of the process; those that do not start with `SYNCLINE_` are passed over.
    pub environment: Vec<(OsString, OsString)>,
    pub flags: Vec<Flag>,
}

/// A setting given on the command line.
#[derive(Clone, Debug)]
pub struct Flag {
    /// As typed, with its dashes.
    pub flag: &'static str,
    pub key: &'static str,
    pub value: String,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    BuiltIn,
    File { path: PathBuf, line: usize },
    Variable(String),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::BuiltIn => f.write_str("built-in"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Variable(name) => write!(f, "env {name}"),
            Origin::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// The settings in force, with the origin of each.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    origins: BTreeMap<&'static str, Origin>,
}

/// One setting in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub key: &'static str,
    /// Secrets are `"[set]"`, unset texts `null`.
    pub value: Value,
    pub origin: Origin,
}

impl Loaded {
    /// Every setting, in the order of [`KEYS`].
    pub fn rows(&self) -> Vec<Row> {
        KEYS.iter()
            .map(|key| Row {
                key: key.name,
                value: key.value(&self.config),
                origin: self.origins.get(key.name).cloned().unwrap_or(Origin::BuiltIn),
            })
            .collect()
    }

    fn set(&mut self, key: &'static Key, raw: &Raw, origin: Origin) -> Result<(), Error> {
        match key.set(&mut self.config, raw) {
            Ok(()) => {
                self.origins.insert(key.name, origin);
                Ok(())
            }
            Err(wrong) => Err(Error::WrongValue {
                key: key.name,
                origin,
                found: wrong.found,
                expected: wrong.expected,
            }),
        }
    }
}

/// Reads all sources. The first thing that is wrong is the error; nothing is ignored.
pub fn load(sources: &Sources) -> Result<Loaded, Error> {
    let mut loaded = Loaded { config: Config::default(), file: None, origins: BTreeMap::new() };
    if let Some(path) = file_path(sources) {
        read_file(&mut loaded, &path)?;
        loaded.file = Some(path);
    }
    read_environment(&mut loaded, &sources.environment)?;
    for flag in &sources.flags {
        let key = find(flag.key).ok_or_else(|| Error::UnknownKey {
            key: flag.key.to_owned(),
            origin: Origin::Flag(flag.flag),
            suggestion: None,
        })?;
        loaded.set(key, &Raw::Untyped(flag.value.clone()), Origin::Flag(flag.flag))?;
    }
    check_order(&loaded.config)?;
    Ok(loaded)
}

fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

fn file_path(sources: &Sources) -> Option<PathBuf> {
    let named = sources.file.clone();
    named.or_else(|| {
        let path = sources.data_dir.as_deref()?.join(FILE_NAME);
        path.exists().then_some(path)
    })
}

fn read_file(loaded: &mut Loaded, path: &Path) -> Result<(), Error> {
    let unreadable = |source| Error::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(Error::TooLarge { path: path.to_owned() });
    }
    let root = DeTable::parse(&text).map_err(|error| Error::Syntax {
        path: path.to_owned(),
        line: line_of(&text, error.span().map_or(0, |span| span.start)),
        message: error.message().to_owned(),
    })?;
    for (section, value) in root.get_ref() {
        let origin_at = |start| Origin::File { path: path.to_owned(), line: line_of(&text, start) };
        let origin = origin_at(section.span().start);
        let section: &str = section.get_ref();
        if !KEYS.iter().any(|key| section_of(key) == section) {
            let suggestion = suggest_section(section);
            return Err(Error::UnknownKey { key: section.to_owned(), origin, suggestion });
        }
        let DeValue::Table(table) = value.get_ref() else {
            return Err(Error::UnknownKey {
                key: section.to_owned(),
                origin,
                suggestion: Some(format!("[{section}]")),
            });
        };
        for (name, value) in table {
            let origin = origin_at(name.span().start);
            let full = format!("{section}.{}", name.get_ref());
            let Some(key) = find(&full) else {
                let suggestion = suggest_key(&full);
                return Err(Error::UnknownKey { key: full, origin, suggestion });
            };
            loaded.set(key, &raw(value.get_ref()), origin)?;
        }
    }
    Ok(())
}

/// Lines count from 1.
fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(integer) => Raw::Integer(
            i128::from_str_radix(integer.as_str(), integer.radix())
                .map_or_else(|_| integer.to_string(), |number| number.to_string()),
        ),
        DeValue::Array(items) => Raw::List(items.iter().map(|item| raw(item.get_ref())).collect()),
        DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Table(_) => {
            Raw::Other(value.type_str())
        }
    }
}

fn read_environment(
    loaded: &mut Loaded,
    environment: &[(OsString, OsString)],
) -> Result<(), Error> {
    for (name, value) in environment {
        let Some(name) = name.to_str().filter(|name| name.starts_with("SYNCLINE_")) else {
            continue;
        };
        if [CONFIG_VARIABLE, DATA_DIR_VARIABLE, MASTER_KEY_VARIABLE].contains(&name) {
            continue;
        }
        let Some(key) = KEYS.iter().find(|key| key.variable() == name) else {
            let variables: Vec<String> = KEYS.iter().map(Key::variable).collect();
            let suggestion = nearest(name, variables.iter().map(String::as_str));
            return Err(Error::UnknownVariable {
                name: name.to_owned(),
                suggestion: suggestion.map(str::to_owned),
            });
        };
        let origin = Origin::Variable(name.to_owned());
        let raw = match value.to_str() {
            Some(text) => Raw::Untyped(text.to_owned()),
            None => Raw::Other("text that is not UTF-8"),
        };
        loaded.set(key, &raw, origin)?;
    }
    Ok(())
}

fn section_of(key: &Key) -> &'static str {
    key.name.split_once('.').map_or("", |(section, _)| section)
}

fn name_in_section(key: &str) -> &str {
    key.split_once('.').map_or(key, |(_, name)| name)
}

/// The nearest section, or the setting that was written outside its section.
fn suggest_section(wrong: &str) -> Option<String> {
    let section = nearest(wrong, KEYS.iter().map(section_of)).map(|name| format!("[{name}]"));
    section.or_else(|| suggest_key(wrong))
}

/// The same name in another section, or the nearest full name.
fn suggest_key(wrong: &str) -> Option<String> {
    let own = name_in_section(wrong);
    let elsewhere = KEYS.iter().find(|key| name_in_section(key.name).eq_ignore_ascii_case(own));
    let near = || nearest(wrong, KEYS.iter().map(|key| key.name));
    elsewhere.map(|key| key.name).or_else(near).map(str::to_owned)
}

/// Pairs of which the first must not be above the second.
fn check_order(config: &Config) -> Result<(), Error> {
    let (sync, limits) = (&config.sync, &config.limits);
    let pairs = [
        (
            ("sync.partialPercentMin", sync.partial_percent_min),
            ("sync.completedPercentMin", sync.completed_percent_min),
        ),
        (
            ("limits.retryBackoffMillisMin", limits.retry_backoff_millis_min),
            ("limits.retryBackoffMillisMax", limits.retry_backoff_millis_max),
        ),
        (
            ("notify.retrySecondsMin", config.notify.retry_seconds_min),
            ("notify.retrySecondsMax", config.notify.retry_seconds_max),
        ),
    ];
    for ((lower, lower_value), (upper, upper_value)) in pairs {
        if lower_value > upper_value {
            return Err(Error::Contradiction { lower, lower_value, upper, upper_value });
        }
    }
    Ok(())
}
