//! What a plan would change in a record, in words: for whoever looks through a dry run or a held one.

use super::EntityPlan;
use crate::model::plan::Update;
use crate::model::{Record, Value};

/// Longer values are cut.
const VALUE_CHARS_MAX: usize = 100;
/// How many fields are told; further ones are counted.
const FIELDS_MAX: usize = 20;

/// Field by field what it is and what it would be; none where no field changes.
pub(super) fn changes(entity: &EntityPlan, record: &Record, update: &Update) -> Option<String> {
    let told = |(field, value): &(u16, Value)| {
        let name = entity.fields.get(usize::from(*field))?;
        Some(format!("{name}: {} -> {}", quoted(record.value(name)), quoted(value)))
    };
    let mut words: Vec<String> = update.changes.iter().take(FIELDS_MAX).filter_map(told).collect();
    let more = update.changes.len().saturating_sub(FIELDS_MAX);
    if more > 0 {
        words.push(format!("and {more} more"));
    }
    (!words.is_empty()).then(|| words.join("; "))
}

fn quoted(value: &Value) -> String {
    if value.is_blank() {
        return "nothing".to_owned();
    }
    let mut text = value.display();
    let cut = text.char_indices().nth(VALUE_CHARS_MAX).map(|(end, _)| end);
    if let Some(end) = cut {
        text.truncate(end);
    }
    let dots = if cut.is_some() { "..." } else { "" };
    format!("{text:?}{dots}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_and_long_ones_cut_at_a_letter() {
        let text = |text: &str| Value::Text(text.to_owned());
        assert_eq!(quoted(&text("Ó \"Sé\"")), r#""Ó \"Sé\"""#);
        assert_eq!(quoted(&Value::Int(7)), r#""7""#);
        assert_eq!(quoted(&Value::Null), "nothing");
        assert_eq!(quoted(&Value::Absent), "nothing");
        let long = "é".repeat(VALUE_CHARS_MAX);
        assert_eq!(quoted(&text(&long)), format!("{long:?}"));
        assert_eq!(quoted(&text(&format!("{long}x"))), format!("{long:?}..."));
    }
}
