//! What is looked at again in the transaction that sets a password.

use super::*;
use crate::api::access::Who;
use crate::model::access::{Grant, OrgKey, Session};
use crate::model::ids::TokenId;
use crate::store::{Error, Options, Store};

const SESSION: SessionId = SessionId(3);

fn grant(role: Role, organization: Option<u32>) -> Grant {
    let key = |no: u32| OrgKey { id: format!("org-{no}"), no: OrgNo(no) };
    Grant { role, organization: organization.map(key) }
}

fn caller(grant: Grant) -> Caller {
    Caller {
        who: Who::Token(TokenId::default()),
        name: "somebody".into(),
        machine: false,
        grant,
        address: None,
        at: 0,
        request: None,
    }
}

fn user(grant: Grant) -> User {
    User {
        id: UserId(7),
        email: "a@north.example".to_owned(),
        name: "A".to_owned(),
        grant,
        disabled: false,
        password_hash: "before".to_owned(),
        created_at: 0,
        last_login_at: None,
        version: 1,
    }
}

fn status(checked: Result<(), Problem>) -> u16 {
    checked.err().map_or(204, |problem| problem.status().as_u16())
}

/// A store in which the user is logged in once.
fn store(directory: &std::path::Path) -> Store {
    let store = Store::create(directory, &Options::default()).unwrap();
    let session =
        Session { id: SESSION, user: UserId(7), created_at: 0, seen_at: 0, address: None };
    let written: Result<(), Error> =
        store.write_blocking(move |txn| accounts::put_session(txn, &[1; 32], &session));
    written.unwrap();
    store
}

/// Promoted, or moved to another organization, while the password was hashed.
#[test]
fn a_user_who_came_under_others_gets_no_password() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    let read = store.read().unwrap();
    let admin = caller(grant(Role::OrgAdmin, Some(1)));
    let check = |role, organization| {
        status(Right::Manager.check(&read, &admin, &user(grant(role, organization))))
    };
    assert_eq!(check(Role::Viewer, Some(1)), 204);
    assert_eq!(check(Role::OrgAdmin, Some(1)), 403);
    assert_eq!(check(Role::PlatformAdmin, None), 403);
    assert_eq!(check(Role::Viewer, Some(2)), 403);
}

/// A reset by an admin ends the logins and gives another hash; a change of one's own that was under way loses.
#[test]
fn a_change_of_the_own_password_does_not_undo_a_reset() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    let me = caller(grant(Role::Viewer, Some(1)));
    let mut known = user(me.grant.clone());
    let right = Right::Own { session: SESSION, verified: known.password_hash.clone() };
    let other = Right::Own { session: SessionId(4), verified: known.password_hash.clone() };
    let read = store.read().unwrap();
    assert_eq!(status(right.check(&read, &me, &known)), 204);
    assert_eq!(status(other.check(&read, &me, &known)), 401);
    known.password_hash = "reset".to_owned();
    assert_eq!(status(right.check(&read, &me, &known)), 422);
    let ended: Result<usize, Error> =
        store.write_blocking(|txn| accounts::end_sessions(txn, UserId(7)));
    ended.unwrap();
    assert_eq!(status(right.check(&store.read().unwrap(), &me, &known)), 401);
}
