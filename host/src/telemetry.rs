//! Log lines: one per event, on standard error, as text for people or JSON for collectors.
//!
//! Owns the format and the escaping of control characters, so that nothing that a federation or a
//! plugin says can forge a line or steer a terminal. Must not decide what is worth a line.

use crate::clock::{self, Clock};
use crate::config::{Log, LogFormat, LogLevel};
use std::borrow::Cow;
use std::fmt;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormattedFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

/// Logging was already set up in this process.
#[derive(Debug, thiserror::Error)]
#[error("logging is already set up in this process")]
pub struct Error;

/// Sends the events of this process to standard error. `color` is the caller's verdict on the
/// terminal and `NO_COLOR`.
pub fn init(log: &Log, color: bool) -> Result<(), Error> {
    let subscriber = subscriber(log, color, Clock::system(), std::io::stderr);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| Error)
}

/// `text` with every control character, also line ends, as a visible escape such as `\u{1b}`.
/// Marks that turn the reading direction count as control characters.
pub fn escape_control(text: &str) -> Cow<'_, str> {
    if !text.chars().any(steers) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if steers(c) { escaped.extend(c.escape_default()) } else { escaped.push(c) }
    }
    Cow::Owned(escaped)
}

fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn subscriber<W>(log: &Log, color: bool, clock: Clock, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // Libraries speak when something is wrong; their chatter is not the operator's.
    let targets =
        Targets::new().with_target("syncline", level).with_default(level.min(LevelFilter::WARN));
    let lines = Lines { format: log.format, color, clock };
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
    tracing_subscriber::registry().with(targets).with(layer.event_format(lines))
}

struct Lines {
    format: LogFormat,
    color: bool,
    clock: Clock,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        match self.format {
            LogFormat::Json => self.json(context, &mut writer, event)?,
            LogFormat::Text => self.text(context, &mut writer, event)?,
        }
        writer.write_char('\n')
    }
}

impl Lines {
    fn now(&self) -> String {
        clock::to_text(clock::to_millis(self.clock.now()))
    }

    fn text<S, N>(
        &self,
        context: &FmtContext<'_, S, N>,
        writer: &mut Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
        N: for<'w> FormatFields<'w> + 'static,
    {
        let (level, paint) = match *event.metadata().level() {
            Level::ERROR => ("ERROR", "\u{1b}[31m"),
            Level::WARN => ("WARN ", "\u{1b}[33m"),
            Level::INFO => ("INFO ", "\u{1b}[32m"),
            Level::DEBUG => ("DEBUG", "\u{1b}[34m"),
            Level::TRACE => ("TRACE", "\u{1b}[35m"),
        };
        write!(writer, "{} ", self.now())?;
        if self.color {
            write!(writer, "{paint}{level}\u{1b}[0m ")?;
        } else {
            write!(writer, "{level} ")?;
        }
        let mut fields = String::new();
        context.format_fields(Writer::new(&mut fields), event)?;
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            let known = extensions.get::<FormattedFields<N>>();
            let known = known.map(|known| known.fields.as_str()).unwrap_or_default();
            write!(writer, "{}{{{}}}: ", span.name(), escape_control(known))?;
        }
        writer.write_str(&escape_control(&fields))
    }

    fn json<S, N>(
        &self,
        context: &FmtContext<'_, S, N>,
        writer: &mut Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
        N: for<'w> FormatFields<'w> + 'static,
    {
        let mut fields = Fields(serde_json::Map::new());
        fields.0.insert("time".to_owned(), self.now().into());
        fields.0.insert("level".to_owned(), event.metadata().level().as_str().into());
        fields.0.insert("target".to_owned(), event.metadata().target().into());
        event.record(&mut fields);
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            if let Some(known) = extensions.get::<FormattedFields<N>>() {
                fields.0.insert(span.name().to_owned(), known.fields.as_str().into());
            }
        }
        let line = serde_json::to_string(&fields.0).map_err(|_| fmt::Error)?;
        // The serializer escapes what JSON demands; the rest of the steering characters can only
        // stand inside strings, where the same notation is valid.
        for c in line.chars() {
            if steers(c) {
                write!(writer, "\\u{:04x}", u32::from(c))?
            } else {
                writer.write_char(c)?
            }
        }
        Ok(())
    }
}

/// The fields of an event by their names.
struct Fields(serde_json::Map<String, serde_json::Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<serde_json::Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn lines(level: LogLevel, format: LogFormat, color: bool, work: impl FnOnce()) -> String {
        let page = Page::default();
        let writer = page.clone();
        let clock = Clock::fixed("2026-03-01T10:00:00Z".parse().unwrap());
        let log = Log { level, format };
        let subscriber = subscriber(&log, color, clock, move || writer.clone());
        tracing::subscriber::with_default(subscriber, work);
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn control_characters_become_visible() {
        let cases = [
            ("plain fáda", "plain fáda"),
            ("a\nb", "a\\nb"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("a\u{202e}b\u{9b}c", "a\\u{202e}b\\u{9b}c"),
        ];
        for (text, expect) in cases {
            assert_eq!(escape_control(text), expect);
        }
    }

    #[test]
    fn text_lines_carry_span_and_fields_and_cannot_be_forged() {
        let text = lines(LogLevel::Info, LogFormat::Text, false, || {
            let span = tracing::info_span!("run", id = "run_1");
            let _entered = span.enter();
            tracing::info!(page = 3, said = "x\n2026 ERROR forged\u{1b}[2J", "fetched");
            tracing::debug!("not written");
        });
        assert_eq!(text.lines().count(), 1);
        assert!(text.starts_with("2026-03-01T10:00:00.000Z INFO  run{id=\"run_1\"}: fetched "));
        assert!(text.contains("page=3") && !text.contains('\u{1b}'), "{text:?}");
    }

    #[test]
    fn color_is_the_callers_choice() {
        let work = || tracing::warn!("careful");
        assert!(lines(LogLevel::Warn, LogFormat::Text, true, work).contains("\u{1b}[33mWARN"));
        assert!(!lines(LogLevel::Warn, LogFormat::Text, false, work).contains('\u{1b}'));
    }

    #[test]
    fn json_lines_parse_and_steer_nothing() {
        let text = lines(LogLevel::Debug, LogFormat::Json, true, || {
            let span = tracing::info_span!("run", id = "run_1");
            let _entered = span.enter();
            tracing::debug!(page = 3, said = "a\n\u{9b}b", "fetched");
        });
        assert_eq!(text.lines().count(), 1);
        assert!(!text.trim_end().chars().any(steers), "{text:?}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["time"], "2026-03-01T10:00:00.000Z");
        assert_eq!(line["level"], "DEBUG");
        assert_eq!(line["message"], "fetched");
        assert_eq!(line["page"], 3);
        assert_eq!(line["said"], "a\n\u{9b}b");
        assert_eq!(line["run"], "id=\"run_1\"");
    }

    #[test]
    fn libraries_only_speak_when_something_is_wrong() {
        let text = lines(LogLevel::Trace, LogFormat::Text, false, || {
            tracing::info!(target: "hyper::proto", "chatter");
            tracing::warn!(target: "hyper::proto", "trouble");
        });
        assert!(text.contains("trouble") && !text.contains("chatter"));
    }
}
