//! The vocabulary of transforms: what each makes of a value, and where a template may not use it.

use super::{check_issues, check_transforms, map_row, transforming};
use serde_json::{Value as Json, json};

const WRONG: &str = "<wrong>";

/// A field of this type, made by these transforms, from each of these inputs; `WRONG` where it cannot be.
#[track_caller]
fn check(field_type: &str, transforms: Json, cases: &[(Json, Json)]) {
    for (input, expected) in cases {
        let expected =
            if *expected == WRONG { json!({"code": "transform"}) } else { expected.clone() };
        check_transforms(field_type, transforms.clone(), input.clone(), expected);
    }
}

#[test]
fn blank_values_pass_every_transform_but_default_and_const() {
    for transform in [
        json!("trim"),
        json!("title"),
        json!("stripHtml"),
        json!("gender"),
        json!("country"),
        json!("email"),
        json!("parseDate"),
        json!({"phone": {"region": "IE"}}),
        json!({"regex": {"pattern": "a"}}),
        json!({"parseDecimal": {}}),
        json!("parseInteger"),
        json!({"parseBoolean": {}}),
        json!({"split": {"sep": ","}}),
        json!({"addressPart": "town"}),
        json!({"parseDateAs": "%d/%m/%Y"}),
        json!({"dateInZone": "Europe/Dublin"}),
    ] {
        let field_type = match transform.as_object().and_then(|object| object.keys().next()) {
            Some(name) if name == "parseBoolean" => "boolean",
            Some(name) if name == "split" => "json",
            _ => "text",
        };
        check(
            field_type,
            json!([transform]),
            &[(json!(null), json!(null)), (json!(""), json!(""))],
        );
    }
}

#[test]
fn titles_never_touch_text_in_both_cases() {
    check(
        "text",
        json!(["title"]),
        &[
            (json!("ó SÚILLEABHÁIN"), json!("ó SÚILLEABHÁIN")),
            (json!("Ó SÚILLEABHÁIN"), json!("Ó Súilleabháin")),
            (json!("mary-ann o'brien"), json!("Mary-Ann O'Brien")),
            (json!("McCarthy"), json!("McCarthy")),
            (json!("don't"), json!("Don't")),
        ],
    );
}

#[test]
fn mark_up_becomes_text() {
    check(
        "text",
        json!(["stripHtml"]),
        &[
            (json!("<p>One</p><p>two&nbsp;&amp;  three</p>"), json!("One two & three")),
            (json!("a < b &lt; c &#x41;&#66; &unknown; &"), json!("a < b < c AB &unknown; &")),
            (json!("x<script>if (a<b) {}</script>y"), json!("x y")),
            (json!("<a title='>'>link</a>"), json!("link")),
            (json!("open <b"), json!("open")),
            (json!("<style>never closed"), json!("")),
            (json!("plain"), json!("plain")),
            (json!("é<ß> ñ"), json!("é<ß> ñ")),
        ],
    );
}

#[test]
fn addresses_are_split_by_their_commas() {
    let part = |part: &str| json!([{"addressPart": part}]);
    let four = json!("1 Main St, Naas, Kildare, W91 X2Y3");
    check(
        "text",
        part("street"),
        &[(four.clone(), json!("1 Main St")), (json!("The Mill"), json!("The Mill"))],
    );
    check("text", part("town"), &[(four.clone(), json!("Naas")), (json!("The Mill"), json!(null))]);
    check(
        "text",
        part("region"),
        &[(four.clone(), json!("Kildare")), (json!("a, b"), json!(null))],
    );
    check("text", part("postcode"), &[(four, json!("W91 X2Y3")), (json!("a, b, c"), json!(null))]);
    check(
        "text",
        part("street"),
        &[(json!("Flat 2, 1 Main St, Naas, Kildare, W91"), json!("Flat 2, 1 Main St"))],
    );
    check("text", part("street"), &[(json!(" , , "), json!(""))]);
}

#[test]
fn words_for_gender_and_countries() {
    check(
        "text",
        json!(["gender"]),
        &[
            (json!("MALE"), json!("male")),
            (json!(" f "), json!("female")),
            (json!("X"), json!("other")),
            (json!("?"), json!(WRONG)),
        ],
    );
    check(
        "text",
        json!(["country"]),
        &[
            (json!("ie"), json!("IE")),
            (json!("IRL"), json!("IE")),
            (json!("Ireland"), json!("IE")),
            (json!("northern ireland"), json!("GB")),
            (json!("Côte d'Ivoire"), json!("CI")),
            (json!("Atlantis"), json!(WRONG)),
        ],
    );
}

#[test]
fn every_country_has_its_codes_once() {
    let lines: Vec<Vec<&str>> = include_str!("../transform/countries.txt")
        .lines()
        .map(|line| line.splitn(3, ' ').collect())
        .collect();
    assert_eq!(lines.len(), 249, "countries of ISO 3166-1");
    let mut names = std::collections::BTreeSet::new();
    for line in &lines {
        assert!(line[0].len() == 2 && line[1].len() == 3, "{line:?}");
        for name in line[2].split('|').chain([line[0], line[1]]) {
            assert!(names.insert(name.to_lowercase()), "{name} stands twice");
        }
    }
}

#[test]
fn phones_and_emails_are_checked() {
    check(
        "phone",
        json!([{"phone": {"region": "IE"}}]),
        &[
            (json!("087 123 4567"), json!("+353871234567")),
            (json!("+44 20 7946 0958"), json!("+442079460958")),
            (json!("0035387 1234567"), json!("+353871234567")),
            (json!("not a number"), json!(WRONG)),
        ],
    );
    check(
        "email",
        json!(["email", "lower"]),
        &[(json!(" A@B.ie "), json!("a@b.ie")), (json!("a@b"), json!(WRONG))],
    );
}

#[test]
fn patterns_pick_a_part() {
    let pick = json!([{"regex": {"pattern": r"(\d+)-(\d+)", "group": 2}}]);
    check("text", pick, &[(json!("no 12-34 x"), json!("34")), (json!("none"), json!(WRONG))]);
    let whole = json!([{"regex": {"pattern": r"^\d{3}"}}]);
    check("text", whole, &[(json!("12345"), json!("123")), (json!(98765), json!("987"))]);
    let optional = json!([{"regex": {"pattern": "a(b)?", "group": 1}}]);
    check("text", optional, &[(json!("ac"), json!(null))]);
}

#[test]
fn dates_and_instants_in_other_forms() {
    check(
        "date",
        json!([{"parseDateAs": "%m/%d/%Y"}]),
        &[
            (json!("02/03/2010"), json!("2010-02-03")),
            (json!("31/12/2010"), json!(WRONG)),
            (json!("02/30/2010"), json!(WRONG)),
        ],
    );
    check(
        "text",
        json!([{"parseDateAs": "%d %b %Y"}, {"formatDate": "%d.%m.%y"}]),
        &[(json!("28 Feb 2010"), json!("28.02.10"))],
    );
    check(
        "date",
        json!([{"dateInZone": "Europe/Dublin"}]),
        &[
            (json!("2010-06-30T23:30:00Z"), json!("2010-07-01")),
            (json!("2010-12-31T23:30:00Z"), json!("2010-12-31")),
            (json!("2010-12-31T23:30:00"), json!(WRONG)),
        ],
    );
    let local = json!([{"parseInstant": {"format": "%Y-%m-%d %H:%M", "zone": "Europe/Dublin"}}]);
    check(
        "instant",
        local,
        &[
            (json!("2010-07-01 10:00"), json!("2010-07-01T09:00:00Z")),
            (json!("2010-01-01 10:00"), json!("2010-01-01T10:00:00Z")),
            // The hour that summer time leaves out, and the one that it repeats.
            (json!("2010-03-28 01:30"), json!("2010-03-28T01:30:00Z")),
            (json!("2010-10-31 01:30"), json!("2010-10-31T00:30:00Z")),
            (json!("2010-07-01"), json!(WRONG)),
        ],
    );
    let offset = json!([{"parseInstant": {"format": "%Y-%m-%dT%H:%M:%S%z", "zone": "UTC"}}]);
    check("instant", offset, &[(json!("2010-07-01T10:00:00+0200"), json!("2010-07-01T08:00:00Z"))]);
}

#[test]
fn numbers_as_people_write_them() {
    check(
        "decimal",
        json!([{"parseDecimal": {}}]),
        &[
            (json!("1,234.50"), json!("1234.50")),
            (json!("€ -12"), json!("-12")),
            (json!("-$5.00"), json!("-5.00")),
            (json!("1 234 567"), json!("1234567")),
            (json!(".5"), json!("0.5")),
            (json!("1,23"), json!(WRONG)),
            (json!("1.2.3"), json!(WRONG)),
            (json!("12 apples"), json!(WRONG)),
            (json!("."), json!(WRONG)),
            (json!(7), json!(7)),
        ],
    );
    check(
        "decimal",
        json!([{"parseDecimal": {"decimal": ","}}]),
        &[(json!("1.234,50 €"), json!("1234.50")), (json!("1.5"), json!(WRONG))],
    );
    check(
        "integer",
        json!(["parseInteger"]),
        &[
            (json!("1,234"), json!(1234)),
            (json!("7.00"), json!(7)),
            (json!("7.5"), json!(WRONG)),
            (json!("123456789012345678901"), json!("123456789012345678901")),
        ],
    );
}

#[test]
fn rounding_is_by_digits() {
    let cases = [
        ("halfUp", ["2.35", "-2.35", "3", "0.01", "10.00", "0"]),
        ("halfEven", ["2.34", "-2.34", "3", "0.00", "10.00", "0"]),
        ("down", ["2.34", "-2.34", "3", "0.00", "9.99", "0"]),
        ("up", ["2.35", "-2.35", "3", "0.01", "10.00", "0"]),
    ];
    let inputs = ["2.345", "-2.345", "3", "0.005", "9.999", "0"];
    for (mode, expected) in cases {
        for (input, expected) in inputs.iter().zip(expected) {
            let round = json!([{"round": {"places": 2, "mode": mode}}]);
            check("decimal", round, &[(json!(input), json!(expected))]);
        }
    }
    check(
        "decimal",
        json!([{"round": {"places": 0}}]),
        &[(json!("0.5"), json!("1")), (json!("-0.4"), json!("0"))],
    );
    check(
        "decimal",
        json!([{"round": {"places": 1}}]),
        &[(json!("a"), json!(WRONG)), (json!("0.25"), json!("0.3"))],
    );
}

#[test]
fn words_for_true_and_false() {
    check(
        "boolean",
        json!([{"parseBoolean": {}}]),
        &[
            (json!("Yes"), json!(true)),
            (json!("off"), json!(false)),
            (json!(1), json!(true)),
            (json!(true), json!(true)),
            (json!("maybe"), json!(WRONG)),
        ],
    );
    let own = json!([{"parseBoolean": {"true": ["player"], "false": ["Social"]}}]);
    check(
        "boolean",
        own,
        &[
            (json!("PLAYER"), json!(true)),
            (json!("social"), json!(false)),
            (json!("yes"), json!(WRONG)),
        ],
    );
}

#[test]
fn lists_are_split_joined_and_picked_from() {
    check("json", json!([{"split": {"sep": ";"}}]), &[(json!("a; b ;;c"), json!(["a", "b", "c"]))]);
    check("text", json!([{"split": {"sep": ","}}, "first"]), &[(json!(" ,x,y"), json!("x"))]);
    check(
        "text",
        json!([{"split": {"sep": ","}}, {"join": {"sep": " / "}}]),
        &[(json!("a,b"), json!("a / b"))],
    );
}

#[test]
fn nested_values_are_reached_and_mapped() {
    let spec = json!({
        "name": "thing", "title": "Things", "key": "id", "modes": ["full"],
        "fields": [{"name": "a", "type": "json"}],
    });
    let template = json!({"fields": [
        {"source": "a", "target": "city", "onError": "fail", "transforms": [{"pointer": "/address/city"}, "upper"]},
        {"source": "a", "target": "lines", "type": "json", "onError": "fail", "transforms": [
            {"pointer": "/lines"},
            {"each": {"fields": [
                {"source": "sku", "target": "sku"},
                {"source": "/price/amount", "target": "price", "transforms": [{"parseDecimal": {}}]},
                {"source": "sku", "target": "label", "transforms": [{"concat": {"with": ["name"], "sep": ": "}}]},
            ]}},
        ]},
        {"source": "a", "target": "tags", "onError": "skip", "transforms": [{"pointer": "/tags"}, {"join": {"sep": ", "}}]},
    ]});
    let mapper = super::Mapper::compile(
        &serde_json::from_value(template).unwrap(),
        &serde_json::from_value(spec).unwrap(),
    )
    .unwrap_or_else(|issues| panic!("{issues:?}"));
    let columns = ["a".to_owned()];
    let map = |input: Json| {
        let row = super::RemoteRow {
            id: "1".into(),
            values: vec![super::Value::from_json(&input)],
            ..super::RemoteRow::default()
        };
        map_row(&mapper.bind(&columns), &row)
    };
    let mapped = map(json!({
        "address": {"city": "Naas"}, "tags": ["x", null, 2],
        "lines": [{"sku": "A", "name": "Hat", "price": {"amount": "1,000.50"}}, {"sku": "B"}],
    }));
    let values: Vec<Json> = mapped.unwrap().values.iter().map(super::Value::to_json).collect();
    let lines = json!([
        {"sku": "A", "price": "1000.50", "label": "A: Hat"},
        {"sku": "B", "price": null, "label": "B"},
    ]);
    assert_eq!(values, [json!("NAAS"), lines, json!("x, 2")]);
    let invalid =
        map(json!({"lines": [{"price": {"amount": "dear"}}], "tags": [["deep"]]})).unwrap_err();
    assert_eq!((invalid.reasons.len(), &*invalid.reasons[0].field), (1, "lines"));
}

#[test]
fn a_default_takes_the_place_of_a_value_that_does_not_fit() {
    let default = json!({"default": "1900-01-01"});
    let (mapper, columns, row) =
        transforming("date", "fail", &json!(["parseDate"]), &json!("no date"));
    assert!(map_row(&mapper.bind(&columns), &row).is_err());
    let spec = json!({"name": "thing", "title": "Things", "key": "id", "modes": ["full"], "fields": [{"name": "a"}]});
    let template = json!({"fields": [{
        "source": "a", "target": "out", "type": "date", "required": true, "transforms": ["parseDate"], "onError": default,
    }]});
    let mapper = super::Mapper::compile(
        &serde_json::from_value(template).unwrap(),
        &serde_json::from_value(spec).unwrap(),
    )
    .unwrap();
    for (input, expected, warnings) in [("no date", "1900-01-01", 1), ("1/2/2003", "2003-02-01", 0)]
    {
        let row = super::RemoteRow {
            id: "1".into(),
            values: vec![super::Value::Text(input.into())],
            ..super::RemoteRow::default()
        };
        let mapped = map_row(&mapper.bind(&["a".to_owned()]), &row).unwrap();
        assert_eq!(mapped.values[0].to_json(), expected);
        assert_eq!(mapped.warnings.len(), warnings, "{:?}", mapped.warnings);
    }
}

/// 60,000 times the same field, or members without end, are no mapping.
#[test]
fn what_makes_a_value_longer_is_bounded() {
    let long = "x".repeat(60 << 10);
    check(
        "text",
        json!([{"concat": {"with": ["b"], "sep": ""}}]),
        &[(json!(long), json!(format!("{long}Bee"))), (json!("x".repeat(64 << 10)), json!(WRONG))],
    );
    let longer = "X".repeat(70 << 10);
    check("text", json!(["lower"]), &[(json!(longer), json!(longer.to_lowercase()))]);
    let members: Vec<Json> =
        (0..100).map(|n| json!({"source": "a", "target": format!("a{n}")})).collect();
    let list = json!("x,".repeat(1_000));
    let each = json!([{"split": {"sep": ","}}, {"each": {"fields": members}}]);
    check("json", each, &[(list.clone(), json!(WRONG))]);
    let join = json!([{"split": {"sep": ","}}, {"join": {"sep": "-".repeat(100)}}]);
    check("text", join, &[(list, json!(WRONG))]);

    let one = |source_type: &str, transform: Json| {
        let field = json!({"source": "n", "transforms": [transform]});
        check_refused(source_type, field, &["/fields/0/transforms/0"]);
    };
    one("text", json!({"concat": {"with": vec!["n"; 60_000], "sep": ""}}));
    one("text", json!({"concat": {"with": ["n"], "sep": "-".repeat(101)}}));
    let member = |n: usize| json!({"source": "a", "target": format!("a{n}")});
    let members: Vec<Json> = (0..101).map(member).collect();
    let each =
        json!({"source": "n", "type": "json", "transforms": [{"each": {"fields": members}}]});
    check_refused("json", each, &["/fields/0/transforms/0"]);
    let default = json!({"source": "n", "onError": {"default": "x".repeat(1_001)}});
    check_refused("text", default, &["/fields/0/onError/default"]);
}

/// Each is small enough, all together are not; those behind the first that is too much are not built.
#[test]
fn the_patterns_of_a_template_are_bounded_together() {
    let fields = |pattern: &str| -> Vec<Json> {
        let field = |n: usize| {
            let transforms = vec![json!({"regex": {"pattern": pattern}}); 30];
            json!({"source": "n", "target": format!("t{n}"), "transforms": transforms})
        };
        (0..20).map(field).collect()
    };
    let compile = |pattern: &str| {
        let template = serde_json::from_value(json!({"fields": fields(pattern)})).unwrap();
        let spec = json!({"name": "thing", "title": "Things", "key": "id", "modes": ["full"], "fields": [{"name": "n"}]});
        super::Mapper::compile(&template, &serde_json::from_value(spec).unwrap())
    };
    compile("[0-9]{1,3}-[a-z]+").unwrap();
    let issues = compile(r"\w{10}").unwrap_err();
    assert!(issues.len() > 500, "{} issues", issues.len());
    let last = issues.last().unwrap();
    assert_eq!(last.pointer, "/fields/19/transforms/29/regex/pattern");
    assert!(last.message.contains("together"), "{}", last.message);
}

/// One field `t` made from `n` by these transforms: where the template is refused.
#[track_caller]
fn check_refused(source_type: &str, field: Json, pointers: &[&str]) {
    let mut mapping = json!({"target": "t"});
    mapping.as_object_mut().unwrap().extend(field.as_object().unwrap().clone());
    check_issues(
        json!({"fields": [mapping]}),
        json!([{"name": "n", "type": source_type}]),
        pointers,
    );
}

#[test]
fn transforms_that_cannot_work_are_refused_where_they_stand() {
    let one = |transform: Json| json!({"source": "n", "transforms": [transform]});
    let at = "/fields/0/transforms/0";
    for transform in [
        json!({"truncate": 0}),
        json!({"split": {"sep": ""}}),
        json!("first"),
        json!({"join": {"sep": ""}}),
        json!({"pointer": "/a"}),
        json!({"each": {"fields": [{"source": "a", "target": "a"}]}}),
        json!({"parseDateAs": "%Y-%m"}),
        json!({"parseDateAs": "%Q%Q"}),
        json!({"formatDate": "%!"}),
        json!({"parseInstant": {"format": "%Y-%m-%d", "zone": "UTC"}}),
        json!({"parseBoolean": {}}),
        json!({"round": {"places": 21}}),
    ] {
        let mut mapping = one(transform.clone());
        mapping["target"] = json!("t");
        let template = serde_json::from_value(json!({"fields": [mapping]})).unwrap();
        let spec = json!({"name": "thing", "title": "Things", "key": "id", "modes": ["full"], "fields": [{"name": "n"}]});
        let issues = super::Mapper::compile(&template, &serde_json::from_value(spec).unwrap());
        let issues = issues.expect_err(&transform.to_string());
        assert!(
            issues.iter().any(|issue| issue.pointer.starts_with(at)),
            "{transform}: {issues:?}"
        );
    }
    let under = |path: &str| format!("{at}{path}");
    check_refused("text", one(json!({"regex": {"pattern": "("}})), &[&under("/regex/pattern")]);
    check_refused(
        "text",
        one(json!({"regex": {"pattern": r"(\w{1000}){1000}"}})),
        &[&under("/regex/pattern")],
    );
    check_refused(
        "text",
        one(json!({"regex": {"pattern": "a", "group": 1}})),
        &[&under("/regex/group")],
    );
    check_refused("text", one(json!({"phone": {"region": "Ireland"}})), &[&under("/phone/region")]);
    check_refused(
        "instant",
        one(json!({"dateInZone": "Europe/Kildare"})),
        &[&under("/dateInZone")],
    );
    let zone = json!({"parseInstant": {"format": "%Y-%m-%d %H:%M", "zone": "Mars"}});
    check_refused("text", one(zone), &[&under("/parseInstant/zone")]);
    check_refused("json", one(json!("upper")), &[at]);
    check_refused("json", one(json!({"pointer": "a"})), &[at]);
}

#[test]
fn types_that_never_meet_are_refused() {
    check_refused("json", json!({"source": "n"}), &["/fields/0/type"]);
    check_refused("boolean", json!({"source": "n", "type": "date"}), &["/fields/0/type"]);
    check_refused("instant", json!({"source": "n", "type": "date"}), &["/fields/0/type"]);
    check_refused(
        "text",
        json!({"source": "n", "type": "integer", "transforms": ["title"]}),
        &["/fields/0/transforms/0"],
    );
    check_refused(
        "text",
        json!({"source": "n", "transforms": [{"split": {"sep": ","}}]}),
        &["/fields/0/transforms"],
    );
    check_refused(
        "text",
        json!({"source": "n", "type": "date", "onError": {"default": "soon"}}),
        &["/fields/0/onError/default"],
    );
    check_refused("text", json!({}), &["/fields/0/source"]);
    check_refused("text", json!({"transforms": ["trim"]}), &["/fields/0/source"]);
}

#[test]
fn fields_can_be_computed() {
    let spec = json!({
        "name": "thing", "title": "Things", "key": "id", "modes": ["full"],
        "fields": [{"name": "first"}, {"name": "last", "sensitive": true}],
    });
    let template = json!({"fields": [
        {"target": "full", "transforms": [{"concat": {"with": ["first", "last"], "sep": " "}}]},
        {"target": "kind", "transforms": [{"const": "person"}], "required": true},
        {"source": "first", "target": "first"},
    ], "match": [["full"]]});
    let mapper = super::Mapper::compile(
        &serde_json::from_value(template).unwrap(),
        &serde_json::from_value(spec).unwrap(),
    )
    .unwrap_or_else(|issues| panic!("{issues:?}"));
    let columns = ["first".to_owned(), "last".to_owned()];
    let row = super::RemoteRow {
        id: "1".into(),
        values: vec![super::Value::Text("Aoife".into()), super::Value::Text("Byrne".into())],
        ..super::RemoteRow::default()
    };
    let mapped = map_row(&mapper.bind(&columns), &row).unwrap();
    let values: Vec<Json> = mapped.values.iter().map(super::Value::to_json).collect();
    assert_eq!(values, [json!("Aoife Byrne"), json!("person"), json!("Aoife")]);
    assert!(mapper.fields()[0].sensitive, "made of a sensitive field");
}
