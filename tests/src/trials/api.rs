//! JSON over the HTTP API of one server, each request on a connection of its own: the server may end at any time.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::http::{Connection, Request};

/// What a list answers at most.
const PAGE_ROWS: usize = 200;

/// One caller of one server.
#[derive(Debug, Clone)]
pub struct Api {
    pub address: SocketAddr,
    pub token: String,
}

impl Api {
    /// Any request below `/api/v1`: the status and the body. An error is a connection that broke.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> anyhow::Result<(u16, Value)> {
        let target = format!("/api/v1{path}");
        let authorization = format!("Bearer {}", self.token);
        let mut all =
            vec![("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        all.extend(headers);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = Request { method, target: &target, headers: &all, body: body.as_bytes() };
        let answer = Connection::open(self.address)
            .and_then(|mut connection| connection.send(&request))
            .with_context(|| format!("{method} {target}"))?;
        let body = if answer.body.is_empty() { &b"null"[..] } else { &answer.body };
        let body = serde_json::from_slice(body).with_context(|| format!("{method} {target}"))?;
        Ok((answer.status, body))
    }

    /// A request that must succeed.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        let (status, answer) = self.send(method, path, &[("If-Match", "*")], body)?;
        if !(200..300).contains(&status) {
            bail!("{method} {path} answers {status}: {answer}");
        }
        Ok(answer)
    }

    pub fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call("GET", path, &Value::Null)
    }

    /// All items of a list.
    pub fn list(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let first = format!("{path}{joint}limit={PAGE_ROWS}");
        let (mut items, mut next) = (Vec::new(), first.clone());
        loop {
            let mut page = self.get(&next)?;
            items.append(page["items"].as_array_mut().context("no items")?);
            match page["nextCursor"].as_str() {
                Some(cursor) => next = format!("{first}&cursor={cursor}"),
                None => return Ok(items),
            }
        }
    }
}

/// A member of an answer that must be a text.
pub fn text(answer: &Value, name: &str) -> anyhow::Result<String> {
    let value = answer[name].as_str().with_context(|| format!("no {name:?} in {answer}"))?;
    Ok(value.to_owned())
}
