//! Who may do what: tokens, users, logins, the audit log, and the matrix of routes and roles.

mod audit;
mod limits;
mod matrix;
mod mutations;
mod sessions;
mod tokens;
mod users;
pub(crate) mod world;
