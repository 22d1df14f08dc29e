use super::*;
use crate::test_seed;
use proptest::prelude::*;

const TYPES: [FieldType; 9] = [
    FieldType::Text,
    FieldType::Email,
    FieldType::Phone,
    FieldType::Date,
    FieldType::Instant,
    FieldType::Decimal,
    FieldType::Integer,
    FieldType::Boolean,
    FieldType::Json,
];

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn json(text: &str) -> Value {
    Value::Json(text.to_owned())
}

#[track_caller]
fn check(field_type: FieldType, left: Value, right: Value, equal: bool) {
    let normalizer = Normalizer::new("IE");
    for (a, b) in [(&left, &right), (&right, &left)] {
        assert_eq!(normalizer.equal(field_type, a, b), equal, "{field_type:?}: {a:?} and {b:?}");
    }
}

#[track_caller]
fn check_text(field_type: FieldType, left: &str, right: &str, equal: bool) {
    check(field_type, text(left), text(right), equal);
}

#[test]
fn blanks_are_one_value() {
    let blanks = [Value::Absent, Value::Null, text(""), text(" \t"), json("null"), json("")];
    for field_type in TYPES {
        for left in &blanks {
            for right in &blanks {
                check(field_type, left.clone(), right.clone(), true);
            }
            check(field_type, left.clone(), text("x"), false);
            check(field_type, left.clone(), Value::Int(0), false);
            check(field_type, left.clone(), Value::Bool(false), false);
        }
    }
}

#[test]
fn text_is_trimmed_and_composed_and_keeps_case_and_inner_space() {
    check_text(FieldType::Text, " Sinéad ", "Sine\u{301}ad", true);
    check_text(FieldType::Text, "Sinéad", "sinéad", false);
    check_text(FieldType::Text, "Sinéad", "Sinead", false);
    check_text(FieldType::Text, "Mary  Ann", "Mary Ann", false);
    check(FieldType::Text, text("12"), Value::Int(12), true);
    check(FieldType::Text, text("012"), Value::Int(12), false);
}

#[test]
fn email_ignores_case() {
    check_text(FieldType::Email, "Aoife@Example.IE", " aoife@example.ie", true);
    check_text(FieldType::Email, "aoife@example.ie", "aoife@example.com", false);
}

#[test]
fn phones_meet_in_e164() {
    for form in [
        "087 123 4567",
        "(087) 123-4567",
        "+353 87 123 4567",
        "+353 (0)87 123 4567",
        "00353871234567",
        "353871234567",
        "871234567",
    ] {
        check_text(FieldType::Phone, form, "+353871234567", true);
    }
    check(FieldType::Phone, text("871234567"), Value::Int(871_234_567), true);
    check_text(FieldType::Phone, "+44 20 7946 0958", "020 7946 0958", false);
    check_text(FieldType::Phone, "+44 20 7946 0958", "0044 (0)20 7946 0958", true);
    check_text(FieldType::Phone, "+1 202 555 0143", "(202) 555-0143", false);
    check_text(FieldType::Phone, "01 234 5678 ext. 12", "01 234 5678", false);
    check_text(FieldType::Phone, "not-a-phone-number", "not-a-phone-number ", true);
    check_text(FieldType::Phone, "not-a-phone-number", "", false);
    check_text(FieldType::Phone, "no phone", "none", false);
    check_text(FieldType::Phone, "1-2", "12", true);
    check_text(FieldType::Phone, "12", "13", false);
}

#[test]
fn the_region_decides_what_a_national_number_means() {
    let irish = Normalizer::new("IE");
    let british = Normalizer::new("GB");
    let nowhere = Normalizer::new("??");
    let (national, full) = (text("020 7946 0958"), text("+44 20 7946 0958"));
    assert!(british.equal(FieldType::Phone, &national, &full));
    assert!(!irish.equal(FieldType::Phone, &national, &full));
    assert!(!nowhere.equal(FieldType::Phone, &national, &full));
    assert!(nowhere.equal(FieldType::Phone, &full, &text("+442079460958")));
    assert!(nowhere.equal(FieldType::Phone, &national, &text("02079460958")));
    assert!(is_region("IE") && is_region("GB"));
    assert!(!is_region("??") && !is_region("") && !is_region("Ireland"));
}

#[test]
fn dates_are_calendar_dates() {
    check_text(FieldType::Date, "2010-02-28", "2010-02-28T00:00:00Z", true);
    check_text(FieldType::Date, "2010-02-28", "2010-02-28 23:59:00+01:00", true);
    check_text(FieldType::Date, "2010-02-28", "2010-03-01", false);
    check_text(FieldType::Date, "2010-02-31", "2010-02-31T00:00:00", false);
    check_text(FieldType::Date, "2010-02-28", "2010-02-28 or so", false);
    for (date, real) in [
        ("2024-02-29", true),
        ("2023-02-29", false),
        ("1900-02-29", false),
        ("2000-02-29", true),
        ("2010-02-31", false),
        ("2010-04-31", false),
        ("2010-00-10", false),
        ("2010-13-10", false),
        ("2010-10-00", false),
        ("0000-01-01", false),
        ("2010-1-01", false),
        ("28/02/2010", false),
        ("2010-02-28T00:00:00Z", false),
        ("+201-01-01", false),
        ("２010-01-1", false),
    ] {
        assert_eq!(time::is_date(date), real, "{date}");
    }
}

#[test]
fn instants_numbers_and_flags_compare_by_value() {
    check_text(FieldType::Instant, "2026-02-28T10:00:00Z", "2026-02-28T11:00:00.000+01:00", true);
    check_text(FieldType::Instant, "2026-02-28T10:00:00Z", "2026-02-28T10:00:00", false);
    for (left, right, equal) in [
        ("29.30", "29.3", true),
        ("+1", "1", true),
        ("-0.00", "0", true),
        (".5", "0.50", true),
        ("5.", "5", true),
        ("007", "7", true),
        ("-1", "1", false),
        ("1e3", "1000", false),
        ("1E3", "1e3", false),
        ("1,000", "1000", false),
        (".", "0", false),
        ("-", "0", false),
        ("1.2.3", "1.2", false),
        ("123456789012345678901234567890.10", "123456789012345678901234567890.1", true),
        ("123456789012345678901234567890", "123456789012345678901234567891", false),
    ] {
        check_text(FieldType::Decimal, left, right, equal);
    }
    check(FieldType::Decimal, text("29.00"), Value::Int(29), true);
    check(FieldType::Integer, text("1"), Value::Int(1), true);
    check(FieldType::Integer, text("+01"), Value::Int(1), true);
    check(FieldType::Integer, text("one"), Value::Int(1), false);
    check(FieldType::Boolean, text("TRUE"), Value::Bool(true), true);
    check(FieldType::Boolean, Value::Int(1), Value::Bool(true), true);
    check(FieldType::Boolean, text("no"), Value::Bool(false), true);
    check(FieldType::Boolean, text("maybe"), Value::Bool(false), false);
}

#[test]
fn json_compares_by_value() {
    check(
        FieldType::Json,
        json(r#"{"a":1,"b":[1.0,"x"]}"#),
        json(r#"{"b": [1, "x"], "a": 1}"#),
        true,
    );
    check(FieldType::Json, json(r#"[1,2]"#), json(r#"[2,1]"#), false);
    check(FieldType::Json, json(r#"{"a":null}"#), json("{}"), false);
    check(FieldType::Json, json(r#"{"a":1}"#), text(r#" {"a": 1}"#), true);
    check(FieldType::Json, json(r#"{"t":"29.30"}"#), json(r#"{"t":"29.3"}"#), false);
    check(FieldType::Json, json("{broken"), json("{broken "), true);
    let deep = "[".repeat(100_000);
    check(FieldType::Json, json(&deep), json("[]"), false);
}

#[test]
fn match_keys_ignore_case_and_spacing_and_refuse_blanks() {
    let normalizer = Normalizer::new("IE");
    let key = |first: &str, last: &str, born: &str| {
        let (first, last, born) = (text(first), text(last), text(born));
        normalizer.match_key([
            (FieldType::Text, &first),
            (FieldType::Text, &last),
            (FieldType::Date, &born),
        ])
    };
    let sinead = key("Sinéad", "Ó Súilleabháin", "2010-02-28");
    assert!(sinead.is_some());
    assert_eq!(sinead, key(" SINE\u{301}AD", "ó  súilleabháin ", "2010-02-28T00:00:00Z"));
    assert_ne!(sinead, key("Sinead", "Ó Súilleabháin", "2010-02-28"));
    assert_ne!(key("a", "bc", "2010-02-28"), key("ab", "c", "2010-02-28"));
    assert_ne!(key("1:a", "b", "2010-02-28"), key("1", "a1:b", "2010-02-28"));
    assert_eq!(key("Sinéad", " ", "2010-02-28"), None);
    assert_eq!(normalizer.match_key::<&Value>([]), None);
}

#[test]
fn every_letter_folds_to_a_stable_form() {
    let normalizer = Normalizer::new("IE");
    for letter in '\0'..=char::MAX {
        let value = text(&format!("a{letter}b"));
        for field_type in [FieldType::Text, FieldType::Email] {
            let once = normalizer.canonical(field_type, &value).unwrap().into_owned();
            let again = text(&once);
            assert_eq!(normalizer.canonical(field_type, &again).unwrap(), once, "{letter:?}");
        }
    }
}

#[test]
fn common_letters_fold_as_the_tables_say() {
    let (normalizer, mut simple) = (Normalizer::new("IE"), 0);
    let letters: Vec<char> = ('\0'..='\u{17f}').collect();
    for first in &letters {
        for second in &letters {
            let both = format!("{first}{second}");
            let folded = text::folded(Cow::from(&*both));
            assert_eq!(folded, text::folded_by_tables(&both), "{both:?}");
            let mut key = String::new();
            if text::push_simple(&both, &mut key) {
                simple += 1;
                let value = text(&both);
                let canonical = normalizer.canonical(FieldType::Text, &value).unwrap();
                assert_eq!(key, format!("{}:{canonical}", canonical.len()), "{both:?}");
            }
        }
    }
    assert!(simple > 128 * 128, "{simple} pairs");
}

fn any_value() -> impl Strategy<Value = Value> {
    let texts = prop_oneof![
        "[ ]?(Sinéad|Sine\u{301}ad|sinéad|O'Brien|Mary  Ann)[ ]?",
        "[ ]?[aA]oife@[eE]xample\\.(ie|IE|com)",
        "[+]?(353|00353|0|)[ ]?[(]?(0)?[)]?87[ -]?123[ -]?45(67|68)",
        "20(10|24)-0[0-3]-(28|29|30|31)(T00:00:00Z| 10:00:00[+]01:00)?",
        "[+-]?0?[0-2]?[.]?0?[0-5]?0?(e1)?",
        "(true|TRUE|yes|no|0|1)",
        r#"\{"a": ?[12](\.0)?(,"b":null)?\}"#,
        "\\PC{0,12}",
        "[0-9+() -]{0,18}",
    ]
    .prop_map(Value::Text);
    prop_oneof![
        1 => prop_oneof![Just(Value::Absent), Just(Value::Null), Just(text("")), Just(text(" "))],
        1 => any::<bool>().prop_map(Value::Bool),
        1 => (-2..3i64).prop_map(Value::Int),
        1 => r#"(\{"a":[12]\}|\{ "a":1\.0\}|\[\]|null|\{x)"#.prop_map(Value::Json),
        8 => texts,
    ]
}

fn any_type() -> impl Strategy<Value = FieldType> {
    proptest::sample::select(&TYPES[..])
}

#[test]
fn equal_is_an_equivalence_and_canonical_respects_it() {
    let normalizer = Normalizer::new("IE");
    let values = (any_type(), any_value(), any_value(), any_value());
    test_seed::check(20_000, &values, |(field_type, a, b, c)| {
        let equal = |x: &Value, y: &Value| normalizer.equal(field_type, x, y);
        prop_assert!(equal(&a, &a));
        prop_assert_eq!(equal(&a, &b), equal(&b, &a));
        if equal(&a, &b) && equal(&b, &c) {
            prop_assert!(equal(&a, &c));
        }
        if equal(&a, &b) {
            let (a, b) =
                (normalizer.canonical(field_type, &a), normalizer.canonical(field_type, &b));
            prop_assert_eq!(a, b);
        }
        Ok(())
    });
}

#[test]
fn forms_are_stable() {
    let normalizer = Normalizer::new("IE");
    test_seed::check(20_000, &(any_type(), any_value()), |(field_type, value)| {
        let Some(form) = normalizer.form(field_type, (&value).into()).map(Cow::into_owned) else {
            return Ok(());
        };
        let again = text(&form);
        prop_assert!(normalizer.equal(field_type, &value, &again), "{:?} -> {}", value, form);
        prop_assert_eq!(normalizer.form(field_type, (&again).into()).unwrap(), form.as_str());
        let key = text(&normalizer.canonical(field_type, &value).unwrap());
        prop_assert_eq!(normalizer.canonical(field_type, &key), Some(Cow::from(key.display())));
        Ok(())
    });
}
