//! Finds the local record of a remote one that has no link yet: secondary ids, then match rules, else a new record.
//! What is not certain is a failure to review, never a guess.

use super::seen::{self, TextSet};
use super::setup::EntitySetup;
use crate::mapping::Given;
use crate::model::plan::FirstLink;
use crate::model::{FieldType, Record, RecordId};
use crate::store::identity::{self, CANDIDATES_MAX, Rule};
use crate::store::{self, Read, counts, links, records};
use std::collections::HashSet;

pub(super) enum Match {
    New {
        /// (number of the match rule, key), for the index.
        match_keys: Vec<(u8, String)>,
    },
    Record(RecordId, FirstLink),
    Ambiguous(String),
}

pub(super) struct Matcher {
    store: store::Store,
    /// Without any record before the run there is nothing to look up.
    any_records: bool,
    /// By match rule: place and type of each of its fields.
    rules: Vec<Vec<(Option<usize>, FieldType)>>,
    /// Secondary ids of records that this run creates.
    created: TextSet,
    /// Those of the row at hand.
    keys: Vec<seen::Key>,
    /// Records that a row of this listing was matched with.
    claimed: HashSet<RecordId>,
}

impl Matcher {
    pub(super) fn new(read: &dyn Read, setup: &EntitySetup) -> Result<Matcher, store::Error> {
        let records = counts::get(read, setup.scope.org, None, setup.scope.entity)?.records;
        let place = |name: &str| setup.fields.iter().position(|field| **field == *name);
        let fields = |rule: &Rule| {
            rule.fields.iter().map(|(name, field_type)| (place(name), *field_type)).collect()
        };
        Ok(Matcher {
            store: setup.store.clone(),
            any_records: records > 0,
            rules: setup.rules.rules.iter().map(fields).collect(),
            created: TextSet::default(),
            keys: Vec::new(),
            claimed: HashSet::new(),
        })
    }

    /// Each record is the match of one row at most: that two rows fit it is nothing to choose by their order.
    pub(super) fn find(
        &mut self,
        read: &dyn Read,
        setup: &EntitySetup,
        aliases: &[(&str, &str)],
        values: &[Given<'_>],
    ) -> Result<Match, store::Error> {
        Ok(match self.look(read, setup, aliases, values)? {
            Match::Record(id, _) if !self.claimed.insert(id) => Match::Ambiguous(format!(
                "{id} was matched with another record of this listing already: link one of them by hand"
            )),
            other => other,
        })
    }

    /// Remembers the secondary ids of a record that the run creates.
    pub(super) fn creates(&mut self, aliases: &[(&str, &str)]) {
        for (kind, value) in aliases {
            self.created.insert(self.created.key(&[kind, value]));
        }
    }

    /// Remembers a record that a row of the listing was matched with.
    pub(super) fn claims(&mut self, id: RecordId) {
        self.claimed.insert(id);
    }

    fn look(
        &mut self,
        read: &dyn Read,
        setup: &EntitySetup,
        aliases: &[(&str, &str)],
        values: &[Given<'_>],
    ) -> Result<Match, store::Error> {
        let key = |(kind, value): &(&str, &str)| self.created.key(&[kind, value]);
        let mut keys = std::mem::take(&mut self.keys);
        keys.clear();
        keys.extend(aliases.iter().map(key));
        for ((kind, value), key) in aliases.iter().zip(&keys) {
            if self.created.contains(key) {
                return Ok(Match::Ambiguous(format!(
                    "another record of this listing has {kind} {value:?} too"
                )));
            }
            match self.by_alias(read, setup, kind, value)? {
                Some(found) => return Ok(found),
                None => continue,
            }
        }
        let mut match_keys = Vec::with_capacity(setup.rules.rules.len());
        for (number, (rule, fields)) in (0..).zip(setup.rules.rules.iter().zip(&self.rules)) {
            let parts = fields.iter().map(|(at, field_type)| {
                let value = at.and_then(|at| values.get(at)).map(Given::cell).unwrap_or_default();
                (*field_type, value)
            });
            let first = fields.first().and_then(|(at, _)| values.get((*at)?));
            let value = |_: &str| first.map(Given::cell).unwrap_or_default();
            let told = rule.is_told_by(aliases.iter().copied(), value);
            if told && !self.any_records {
                continue;
            }
            let Some(key) = setup.normalizer.match_key(parts) else { continue };
            if let Some(found) = self.by_rule(read, setup, rule, &key)? {
                return Ok(found);
            }
            if !told {
                match_keys.push((number, key));
            }
        }
        for key in &keys {
            self.created.insert(*key);
        }
        self.keys = keys;
        Ok(Match::New { match_keys })
    }

    fn by_alias(
        &self,
        read: &dyn Read,
        setup: &EntitySetup,
        kind: &str,
        value: &str,
    ) -> Result<Option<Match>, store::Error> {
        if !self.any_records {
            return Ok(None);
        }
        let scope = &setup.scope;
        let found = identity::find(read, scope.org, scope.entity, kind, value, 2)?;
        match found.as_slice() {
            [] => Ok(None),
            [id] => match records::get(read, &self.store, scope.org, *id)? {
                Some(record) if self.linked_elsewhere(read, setup, &record)? => {
                    Ok(Some(Match::Ambiguous(format!(
                        "{kind} {value:?} belongs to {id}, which is linked to another record of this connection"
                    ))))
                }
                Some(_) => Ok(Some(Match::Record(*id, FirstLink::Alias(kind.to_owned())))),
                None => Ok(None),
            },
            _ => Ok(Some(Match::Ambiguous(format!("several records have {kind} {value:?}")))),
        }
    }

    fn by_rule(
        &self,
        read: &dyn Read,
        setup: &EntitySetup,
        rule: &Rule,
        key: &str,
    ) -> Result<Option<Match>, store::Error> {
        if !self.any_records {
            return Ok(None);
        }
        let (scope, kind) = (&setup.scope, rule.kind());
        let fields = kind.trim_start_matches('=').replace('+', ", ");
        let mut free = Vec::new();
        for id in identity::find(read, scope.org, scope.entity, &kind, key, CANDIDATES_MAX)? {
            // A record that this connection knows under another id is another record.
            if let Some(record) = records::get(read, &self.store, scope.org, id)?
                && !record.is_linked_by(scope.connection)
            {
                free.push(id);
            }
        }
        match free.as_slice() {
            [] => Ok(None),
            [id] => Ok(Some(Match::Record(*id, FirstLink::Rule(fields)))),
            several => Ok(Some(Match::Ambiguous(format!(
                "{} local records agree on {fields}: link one of them by hand",
                several.len()
            )))),
        }
    }

    /// Whether the record has a link of this connection that is still alive.
    fn linked_elsewhere(
        &self,
        read: &dyn Read,
        setup: &EntitySetup,
        record: &Record,
    ) -> Result<bool, store::Error> {
        let scope = &setup.scope;
        for link in record.links.iter().filter(|link| link.connection == scope.connection) {
            let id = link.external_id.as_str();
            if links::get(read, scope.org, scope.connection, scope.entity, id)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
