//! Pages of records: field names once, then rows of values by position.

use crate::rows::Rows;
use crate::value::Cell;
use crate::{Error, Result, Value};
use std::borrow::Cow;

/// One page of a listing, as [`PageBuilder::build`] makes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    pub(crate) rows: Rows,
    pub fields: Vec<String>,
    /// Where the next page begins; `None` ends the listing. At most 4 KiB.
    pub next: Option<String>,
    /// A resumable token of the remote, kept only when the run commits.
    pub checkpoint: Option<String>,
    /// How many records the remote claims in all.
    pub total: Option<u64>,
    pub rejects: Vec<Reject>,
}

impl Page {
    /// The rows, unpacked: for tests, and for the rare page that is changed after it was built.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        self.rows.unpack(self.fields.len())
    }

    /// Replaces the rows. Fails unless each has a value for each field.
    pub fn set_rows(&mut self, rows: Vec<Row>) -> Result<()> {
        let mut builder = PageBuilder { page: Page { rows: Rows::default(), ..self.clone() } };
        for row in rows {
            let mut new = builder.row(row.id).updated_at(row.updated_at).version(row.version);
            for (kind, value) in row.aliases {
                new = new.alias(kind, value);
            }
            new.deleted(row.deleted).values(row.values)?;
        }
        *self = builder.build();
        Ok(())
    }
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// The remote's id of it: never empty.
    pub id: String,
    /// Other ids under which a local record may know it: (kind, value).
    pub aliases: Vec<(String, String)>,
    /// When the remote changed it last, RFC 3339.
    pub updated_at: Option<String>,
    /// The remote's version of it (an etag, a sync token).
    pub version: Option<String>,
    /// The remote says that it is gone.
    pub deleted: bool,
    /// As many as the page has fields, in their order.
    pub values: Vec<Value>,
}

/// A record that could not be read: the host quarantines it, and the others proceed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    pub id: Option<String>,
    /// A sentence for people.
    pub reason: String,
    /// The record as it came, cut to [`Reject::RAW_BYTES_MAX`].
    pub raw: String,
}

impl Reject {
    /// Longest `raw` text, in bytes.
    pub const RAW_BYTES_MAX: usize = 2048;
}

/// Builds a [`Page`].
///
/// ```
/// use syncline_plugin_sdk::{PageBuilder, Value};
///
/// let mut page = PageBuilder::new(&["firstName", "email"]);
/// page.row("GAA-001").alias("membershipNumber", "123-45678-901").values(vec!["Aoife".into(), Value::Null])?;
/// page.reject(None, "the record has no memberId", "{}");
/// let page = page.next("2".to_owned()).build();
/// assert_eq!(page.rows().len(), 1);
/// # Ok::<(), syncline_plugin_sdk::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct PageBuilder {
    page: Page,
}

impl PageBuilder {
    /// An empty page whose rows will have these fields.
    #[must_use]
    pub fn new(fields: &[&str]) -> Self {
        let fields = fields.iter().map(|&field| field.to_owned()).collect();
        Self { page: Page { fields, ..Page::default() } }
    }

    /// Begins a row; [`RowBuilder::values`] or [`RowBuilder::cells`] ends it.
    pub fn row<'a>(&mut self, id: impl Into<Cow<'a, str>>) -> RowBuilder<'_, 'a> {
        RowBuilder {
            page: &mut self.page,
            id: id.into(),
            updated_at: None,
            version: None,
            deleted: false,
            aliases: Vec::new(),
        }
    }

    /// Sets a record aside that could not be read. `raw` is cut to [`Reject::RAW_BYTES_MAX`].
    pub fn reject(
        &mut self,
        id: Option<String>,
        reason: impl Into<String>,
        raw: impl Into<String>,
    ) {
        let mut raw = raw.into();
        raw.truncate(raw.floor_char_boundary(Reject::RAW_BYTES_MAX));
        self.page.rejects.push(Reject { id, reason: reason.into(), raw });
    }

    /// Where the next page begins. Without it this page is the last.
    #[must_use]
    pub fn next(mut self, cursor: impl Into<Option<String>>) -> Self {
        self.page.next = cursor.into();
        self
    }

    /// A resumable token of the remote.
    #[must_use]
    pub fn checkpoint(mut self, checkpoint: impl Into<Option<String>>) -> Self {
        self.page.checkpoint = checkpoint.into();
        self
    }

    /// How many records the remote claims in all.
    #[must_use]
    pub fn total(mut self, total: impl Into<Option<u64>>) -> Self {
        self.page.total = total.into();
        self
    }

    #[must_use]
    pub fn build(self) -> Page {
        self.page
    }
}

/// A row that is being built.
#[derive(Debug)]
#[must_use = "a row is added by `values` or `cells`"]
pub struct RowBuilder<'p, 'a> {
    page: &'p mut Page,
    id: Cow<'a, str>,
    updated_at: Option<Cow<'a, str>>,
    version: Option<Cow<'a, str>>,
    deleted: bool,
    aliases: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> RowBuilder<'_, 'a> {
    /// Another id under which a local record may know this one; the first alias that finds a record wins.
    pub fn alias(mut self, kind: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) -> Self {
        self.aliases.push((kind.into(), value.into()));
        self
    }

    /// When the remote changed it last, RFC 3339.
    pub fn updated_at(mut self, instant: Option<impl Into<Cow<'a, str>>>) -> Self {
        self.updated_at = instant.map(Into::into);
        self
    }

    /// The remote's version of it.
    pub fn version(mut self, version: Option<impl Into<Cow<'a, str>>>) -> Self {
        self.version = version.map(Into::into);
        self
    }

    /// Whether the remote says that it is gone.
    pub fn deleted(mut self, deleted: bool) -> Self {
        self.deleted = deleted;
        self
    }

    /// Ends the row with its values, in the order of the page's fields. Fails unless there is one for each field.
    pub fn values(self, values: Vec<Value>) -> Result<()> {
        self.cells(values.iter().map(Cell::from))
    }

    /// As [`values`](Self::values), from values that are borrowed: a long listing then copies each text once.
    pub fn cells<'v>(self, cells: impl ExactSizeIterator<Item = Cell<'v>>) -> Result<()> {
        let (found, expected) = (cells.len(), self.page.fields.len());
        if found != expected {
            return Err(Error::Other(format!(
                "row {:?} has {found} values for {expected} fields",
                self.id
            )));
        }
        let rows = &mut self.page.rows;
        rows.make_room_for(&self.aliases, expected);
        rows.push(Cell::Text(&self.id));
        rows.push(self.updated_at.as_deref().map_or(Cell::Absent, Cell::Text));
        rows.push(self.version.as_deref().map_or(Cell::Absent, Cell::Text));
        rows.push(Cell::Boolean(self.deleted));
        rows.push_aliases(&self.aliases);
        cells.for_each(|cell| rows.push(cell));
        Ok(())
    }
}
