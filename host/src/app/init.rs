//! Makes a data directory. One whose making was cut off is made to the end, and no other is touched.

use super::{Error, options};
use crate::api;
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::model::access::{Grant, Token, User};
use crate::model::ids::UserId;
use crate::store::{self, Store, accounts, meta};
use crate::vault::{self, Keyring, Secret, TokenHash};
use std::path::{Path, PathBuf};

/// What `init` made. The token is shown once and stored as a hash.
pub struct Initialised {
    pub data_dir: PathBuf,
    pub key_file: PathBuf,
    pub token: String,
}

/// A person who may do everything, to begin with.
pub struct FirstAdmin {
    pub email: String,
    pub password: Secret<String>,
}

/// Makes a data directory: key file, stores, one API token, and the first admin where one is named.
pub async fn init(
    config: &Config,
    data_dir: &Path,
    admin: Option<FirstAdmin>,
) -> Result<Initialised, Error> {
    let admin = admin.map(first_user).transpose()?;
    let directory = |source| Error::Directory { path: data_dir.to_owned(), source };
    std::fs::create_dir_all(data_dir).map_err(directory)?;
    let data_dir = data_dir.canonicalize().map_err(directory)?;
    let store_options = options::store_options(config);
    let begun = begun(&data_dir, &store_options)?;
    let key_file = config.key_file(&data_dir);
    let variable = |name: &str| std::env::var_os(name);
    let source = vault::locate(&key_file, variable);
    let keys = Keyring::create(source, &data_dir, variable)?;
    let store = begun.map_or_else(|| Store::create(&data_dir, &store_options), Ok)?;
    let (secret, hash) = TokenHash::generate()?;
    let now = clock::to_millis(Clock::system().now());
    let check = keys.check(now)?;
    let written = store.write(move |txn| -> Result<(), store::Error> {
        meta::put_key_checks(txn, std::slice::from_ref(&check))?;
        let token = Token::platform_admin("admin", false, now);
        accounts::add_token(txn, hash.as_bytes(), token)?;
        if let Some(user) = &admin {
            let user = User { id: accounts::next_user_id(txn)?, created_at: now, ..user.clone() };
            accounts::put_user(txn, None, &user)?;
        }
        Ok(())
    });
    written.await?;
    Ok(Initialised { data_dir, key_file, token: secret.expose().clone() })
}

/// What a making that was cut off has left; none where nothing was begun. The check value of the keys is among the first
/// rows: without it nobody ever used the directory.
fn begun(data_dir: &Path, options: &store::Options) -> Result<Option<Store>, Error> {
    if !data_dir.join("state.redb").exists() {
        return Ok(None);
    }
    let made = || Error::Initialised(data_dir.to_owned());
    // Opening writes: what can be told without is told before.
    let before = Store::peek(data_dir).map_err(|_| made())?;
    if before.is_some_and(|before| !matches!(meta::key_checks(&before), Ok(None))) {
        return Err(made());
    }
    let store = Store::open(data_dir, options)?;
    let checks = meta::key_checks(&store.read()?)?;
    if checks.is_some() { Err(made()) } else { Ok(Some(store)) }
}

/// The first admin as a row without id and time.
fn first_user(admin: FirstAdmin) -> Result<User, Error> {
    let FirstAdmin { email, password } = admin;
    if !api::is_email(&email) {
        return Err(Error::Admin(format!("{email:?} is no e-mail address")));
    }
    if let Some(fault) = vault::password_fault(password.expose()) {
        return Err(Error::Admin(format!("the password {fault}")));
    }
    Ok(User {
        id: UserId::default(),
        name: email.clone(),
        email,
        grant: Grant::platform_admin(),
        disabled: false,
        password_hash: vault::hash_password(password.expose())?,
        created_at: 0,
        last_login_at: None,
        version: 1,
    })
}
