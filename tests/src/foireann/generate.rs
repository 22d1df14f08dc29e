//! Realistic Irish members, each a pure function of a seed and a number.
//!
//! Owns the name lists and the spelling habits of real exports: fadas, O' and Mc, telephone
//! numbers in several national forms, one-line addresses. It keeps no state, so that member
//! 999,999 costs as little as member 1.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::dice::Dice;

const FORENAMES: [(&str, Gender); 48] = {
    use Gender::{Female as F, Male as M};
    [
        ("Seán", M),
        ("Aoife", F),
        ("Oisín", M),
        ("Saoirse", F),
        ("Cian", M),
        ("Niamh", F),
        ("Pádraig", M),
        ("Caoimhe", F),
        ("Darragh", M),
        ("Róisín", F),
        ("Tadhg", M),
        ("Sinéad", F),
        ("Conor", M),
        ("Ciara", F),
        ("Fionn", M),
        ("Gráinne", F),
        ("Rory", M),
        ("Orla", F),
        ("Eoin", M),
        ("Clodagh", F),
        ("Ruairí", M),
        ("Éabha", F),
        ("Michael", M),
        ("Mary", F),
        ("Cathal", M),
        ("Bríd", F),
        ("Patrick", M),
        ("Síle", F),
        ("Jack", M),
        ("Emma", F),
        ("Dónal", M),
        ("Muireann", F),
        ("Liam", M),
        ("Áine", F),
        ("Colm", M),
        ("Deirdre", F),
        ("Shane", M),
        ("Laoise", F),
        ("Séamus", M),
        ("Fiadh", F),
        ("Brian", M),
        ("Méabh", F),
        ("Diarmuid", M),
        ("Anna-Marie", F),
        ("James", M),
        ("Kate", F),
        ("Éamonn", M),
        ("Gobnait", F),
    ]
};

/// For a man and for a woman: Irish surnames differ.
const SURNAMES: [(&str, &str); 40] = [
    ("Murphy", "Murphy"),
    ("O'Brien", "O'Brien"),
    ("Ó Súilleabháin", "Ní Shúilleabháin"),
    ("McCarthy", "McCarthy"),
    ("Kelly", "Kelly"),
    ("O'Sullivan", "O'Sullivan"),
    ("Walsh", "Walsh"),
    ("Mac Gearailt", "Nic Gearailt"),
    ("Byrne", "Byrne"),
    ("O'Connor", "O'Connor"),
    ("Ryan", "Ryan"),
    ("McLoughlin", "McLoughlin"),
    ("Ó Conaill", "Ní Chonaill"),
    ("Doyle", "Doyle"),
    ("MacNamara", "MacNamara"),
    ("Gallagher", "Gallagher"),
    ("O'Neill", "O'Neill"),
    ("Doherty", "Doherty"),
    ("Ó Sé", "Ní Shé"),
    ("Kennedy", "Kennedy"),
    ("Lynch", "Lynch"),
    ("McGrath", "McGrath"),
    ("Quinn", "Quinn"),
    ("Fitzgerald", "Fitzgerald"),
    ("O'Donnell", "O'Donnell"),
    ("Moran", "Moran"),
    ("de Búrca", "de Búrca"),
    ("Nolan", "Nolan"),
    ("McMahon", "McMahon"),
    ("Burke-Daly", "Burke-Daly"),
    ("O'Shea", "O'Shea"),
    ("Ó hUiginn", "Ní Uiginn"),
    ("Brennan", "Brennan"),
    ("Mac an Bhaird", "Nic an Bhaird"),
    ("Whelan", "Whelan"),
    ("McDonagh", "McDonagh"),
    ("Flaherty", "Flaherty"),
    ("Breathnach", "Breathnach"),
    ("Hanratty", "Hanratty"),
    ("Ó Dálaigh", "Ní Dhálaigh"),
];

const STREETS: [&str; 16] = [
    "Main Street",
    "Church Road",
    "The Square",
    "Chapel Lane",
    "Bóthar na Trá",
    "Castle Park",
    "Station Road",
    "Ard na Gréine",
    "Mill Street",
    "Cois Abhann",
    "St. Brigid's Terrace",
    "Priory Court",
    "Rath Mór",
    "Harbour View",
    "Green Lane",
    "Gleann na Coille",
];

const TOWNS: [(&str, &str, &str); 16] = [
    ("Castlebar", "Co. Mayo", "F23"),
    ("Dingle", "Co. Kerry", "V92"),
    ("Clonmel", "Co. Tipperary", "E91"),
    ("Ennis", "Co. Clare", "V95"),
    ("Navan", "Co. Meath", "C15"),
    ("Skibbereen", "Co. Cork", "P81"),
    ("Letterkenny", "Co. Donegal", "F92"),
    ("Thurles", "Co. Tipperary", "E41"),
    ("Dún Laoghaire", "Co. Dublin", "A96"),
    ("Athenry", "Co. Galway", "H65"),
    ("Carrickmacross", "Co. Monaghan", "A81"),
    ("Mullingar", "Co. Westmeath", "N91"),
    ("Tralee", "Co. Kerry", "V92"),
    ("Dungarvan", "Co. Waterford", "X35"),
    ("An Spidéal", "Co. Galway", "H91"),
    ("Portlaoise", "Co. Laois", "R32"),
];

const CONDITIONS: [&str; 4] = ["Asthma", "Type 1 diabetes", "Epilepsy", "Coeliac disease"];
const ALLERGIES: [&str; 4] = ["Penicillin", "Peanuts", "Bee stings", "Latex"];
const POSITIONS: [&str; 6] =
    ["Goalkeeper", "Full back", "Centre back", "Midfield", "Half forward", "Full forward"];

/// Fields that only the detail answer carries; the medical ones are health data.
pub const DETAIL_FIELDS: [&str; 6] = [
    "emergencyContactName",
    "emergencyContactPhone",
    "medicalConditions",
    "allergies",
    "playerPositions",
    "teams",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Gender {
    Male,
    Female,
}

/// `GAA-000001` for 1; more digits from a million on.
pub fn member_id(number: u64) -> String {
    format!("GAA-{number:06}")
}

/// The JSON text of member `number` as the list shows it (about 290 bytes).
///
/// One member in 25 has no e-mail, one in 20 no telephone; about 7 % are lapsed.
pub fn list_record(seed: u64, number: u64) -> String {
    let mut dice = Dice::new(seed, number);
    let person = Person::roll(&mut dice);
    let mut text = String::with_capacity(320);
    let _ = write!(
        text,
        r#"{{"memberId":"{}","firstName":"{}","lastName":"{}","dateOfBirth":"{}""#,
        member_id(number),
        person.first_name,
        person.last_name,
        date(&mut dice, 1950, 2019),
    );
    if !dice.percent(4) {
        let _ = write!(text, r#","email":"{}""#, email(&mut dice, &person, number));
    }
    if !dice.percent(5) {
        let _ = write!(text, r#","phone":"{}""#, phone(&mut dice));
    }
    let _ = write!(
        text,
        r#","address":"{}","membershipNumber":"{}","membershipStatus":"{}","joinDate":"{}"}}"#,
        address(&mut dice),
        membership_number(number),
        if dice.percent(7) { "Lapsed" } else { "Active" },
        date(&mut dice, 1998, 2025),
    );
    text
}

/// The fields that the detail answer adds to member `number`.
pub fn detail_fields(seed: u64, number: u64) -> Map<String, Value> {
    let mut dice = Dice::new(seed ^ 0xDE7A_11ED, number);
    let contact = Person::roll(&mut dice);
    let conditions = if dice.percent(8) { Some(*dice.pick(&CONDITIONS)) } else { None };
    let allergies = if dice.percent(10) { Some(*dice.pick(&ALLERGIES)) } else { None };
    let team = 1 + dice.below(9);
    let Value::Object(fields) = json!({
        "emergencyContactName": format!("{} {}", contact.first_name, contact.last_name),
        "emergencyContactPhone": phone(&mut dice),
        "medicalConditions": conditions,
        "allergies": allergies,
        "playerPositions": [*dice.pick(&POSITIONS)],
        "teams": [{
            "teamId": format!("team-{team}"),
            "teamName": format!("Team {team}"),
            "ageGroup": if dice.percent(60) { "Juvenile" } else { "Senior" },
        }],
    }) else {
        return Map::new();
    };
    fields
}

/// `MALE` or `FEMALE`, which only the CSV export knows; the same person as [`list_record`].
pub fn gender(seed: u64, number: u64) -> &'static str {
    match Person::roll(&mut Dice::new(seed, number)).gender {
        Gender::Male => "MALE",
        Gender::Female => "FEMALE",
    }
}

struct Person {
    first_name: &'static str,
    last_name: &'static str,
    gender: Gender,
}

impl Person {
    fn roll(dice: &mut Dice) -> Person {
        let (first_name, gender) = *dice.pick(&FORENAMES);
        let (his, hers) = *dice.pick(&SURNAMES);
        let last_name = if gender == Gender::Male { his } else { hers };
        Person { first_name, last_name, gender }
    }
}

fn date(dice: &mut Dice, from_year: u64, to_year: u64) -> String {
    let year = from_year + dice.below(to_year - from_year + 1);
    format!("{year}-{:02}-{:02}", 1 + dice.below(12), 1 + dice.below(28))
}

fn email(dice: &mut Dice, person: &Person, number: u64) -> String {
    let domain = dice.pick(&["example.ie", "example.com", "post.example.ie", "example.org"]);
    let plain = |name: &str| -> String {
        name.chars().map(without_fada).filter(char::is_ascii_alphabetic).collect()
    };
    let (first, last) = (plain(person.first_name), plain(person.last_name));
    match dice.below(3) {
        0 => format!("{first}.{last}{number}@{domain}"),
        1 => format!("{}{}.{number}@{domain}", first.to_lowercase(), last.to_lowercase()),
        _ => format!("{}_{number}@{domain}", last.to_lowercase()),
    }
}

fn without_fada(letter: char) -> char {
    match letter {
        'á' => 'a',
        'é' => 'e',
        'í' => 'i',
        'ó' => 'o',
        'ú' => 'u',
        'Á' => 'A',
        'É' => 'E',
        'Í' => 'I',
        'Ó' => 'O',
        'Ú' => 'U',
        other => other,
    }
}

/// The same kind of number as people really type it.
fn phone(dice: &mut Dice) -> String {
    let operator = dice.pick(&["83", "85", "86", "87", "89"]);
    let (a, b) = (100 + dice.below(900), 1000 + dice.below(9000));
    match dice.below(8) {
        0 => format!("+353 {operator} {a} {b}"),
        1 => format!("+353{operator}{a}{b}"),
        2 => format!("00353 {operator} {a} {b}"),
        3 => format!("0{operator}-{a}{b}"),
        4 => format!("(0{operator}) {a} {b}"),
        5 => format!("+353 (0){operator} {a} {b}"),
        6 => format!("028 9{a} {b}"),
        _ => format!("0{operator} {a} {b}"),
    }
}

fn address(dice: &mut Dice) -> String {
    let (town, county, routing) = *dice.pick(&TOWNS);
    let street = dice.pick(&STREETS);
    let house = 1 + dice.below(140);
    match dice.below(6) {
        0 => format!("{house} {street}, {town}"),
        1 => format!("{street}, {town}, {county}"),
        _ => {
            let letters = b"ACDEFHKNPRTVWXY";
            let letter = |dice: &mut Dice| char::from(*dice.pick(letters));
            let (l1, l2) = (letter(dice), letter(dice));
            let digits = 10 + dice.below(90);
            format!("{house} {street}, {town}, {county}, {routing} {l1}{digits}{l2}")
        }
    }
}

/// `ddd-ddddd-ddd`, unique for numbers below 10^8.
fn membership_number(number: u64) -> String {
    format!("{:03}-{:05}-{:03}", 100 + number / 100_000 % 900, number % 100_000, number * 7 % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_valid_json_and_repeatable() {
        for seed in [0, 1, 7] {
            for number in [1, 2, 999, 1_000_000] {
                let text = list_record(seed, number);
                let member: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(member["memberId"], member_id(number), "seed {seed}");
                assert_eq!(text, list_record(seed, number), "seed {seed}");
            }
        }
        assert_ne!(list_record(1, 1), list_record(2, 1));
    }

    #[test]
    fn a_thousand_members_show_every_habit() {
        let all: String = (1..=1000).map(|number| list_record(1, number)).collect();
        for wanted in ["Ní ", "O'", "Mc", "Mac ", "é", "+353 (0)", "00353", "Lapsed", "Active"] {
            assert!(all.contains(wanted), "no {wanted:?} among 1,000 members");
        }
        let mean = all.len() / 1000;
        assert!((260..=320).contains(&mean), "a record has {mean} bytes");
    }
}
