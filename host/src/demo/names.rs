//! Names as people in Ireland bear them: fadas, O', Mc, and surnames that differ between women and men.

/// A first name, and whether a woman bears it.
const FIRST: [(&str, bool); 61] = [
    ("Aoife", true),
    ("Áine", true),
    ("Bríd", true),
    ("Caoimhe", true),
    ("Ciara", true),
    ("Clíona", true),
    ("Deirdre", true),
    ("Éabha", true),
    ("Eimear", true),
    ("Fionnuala", true),
    ("Gráinne", true),
    ("Íde", true),
    ("Laoise", true),
    ("Máire", true),
    ("Méabh", true),
    ("Muireann", true),
    ("Niamh", true),
    ("Nóra", true),
    ("Órla", true),
    ("Róisín", true),
    ("Sadhbh", true),
    ("Saoirse", true),
    ("Síle", true),
    ("Siobhán", true),
    ("Sinéad", true),
    ("Sorcha", true),
    ("Treasa", true),
    ("Úna", true),
    ("Aisling", true),
    ("Bláthnaid", true),
    ("Doireann", true),
    ("Aodhán", false),
    ("Breandán", false),
    ("Caoimhín", false),
    ("Cathal", false),
    ("Ciarán", false),
    ("Cillian", false),
    ("Colm", false),
    ("Conchúr", false),
    ("Cormac", false),
    ("Daithí", false),
    ("Darragh", false),
    ("Diarmuid", false),
    ("Dónal", false),
    ("Éamonn", false),
    ("Eoin", false),
    ("Fiachra", false),
    ("Fionn", false),
    ("Lorcán", false),
    ("Máirtín", false),
    ("Micheál", false),
    ("Niall", false),
    ("Oisín", false),
    ("Pádraig", false),
    ("Peadar", false),
    ("Proinsias", false),
    ("Rónán", false),
    ("Ruairí", false),
    ("Séamus", false),
    ("Seán", false),
    ("Tadhg", false),
];

/// A surname as a woman and as a man bears it.
const LAST: [(&str, &str); 59] = [
    ("Ní Bhriain", "Ó Briain"),
    ("Ní Cheallaigh", "Ó Ceallaigh"),
    ("Ní Chonaill", "Ó Conaill"),
    ("Ní Dhálaigh", "Ó Dálaigh"),
    ("Ní Dhomhnaill", "Ó Domhnaill"),
    ("Ní Fhlaithearta", "Ó Flaithearta"),
    ("Ní Ghallchóir", "Ó Gallchóir"),
    ("Ní Aodha", "Ó hAodha"),
    ("Ní Mháille", "Ó Máille"),
    ("Ní Mhurchú", "Ó Murchú"),
    ("Ní Néill", "Ó Néill"),
    ("Ní Riain", "Ó Riain"),
    ("Ní Shé", "Ó Sé"),
    ("Ní Shúilleabháin", "Ó Súilleabháin"),
    ("Ní Thuathail", "Ó Tuathail"),
    ("Nic Cárthaigh", "Mac Cárthaigh"),
    ("Nic Gearailt", "Mac Gearailt"),
    ("Nic Aodha", "Mac Aodha"),
    ("Nic Mhathúna", "Mac Mathúna"),
    ("de Búrca", "de Búrca"),
    ("O'Brien", "O'Brien"),
    ("O'Connor", "O'Connor"),
    ("O'Donoghue", "O'Donoghue"),
    ("O'Dowd", "O'Dowd"),
    ("O'Flaherty", "O'Flaherty"),
    ("O'Grady", "O'Grady"),
    ("O'Hara", "O'Hara"),
    ("O'Keeffe", "O'Keeffe"),
    ("O'Leary", "O'Leary"),
    ("O'Mahony", "O'Mahony"),
    ("O'Neill", "O'Neill"),
    ("O'Reilly", "O'Reilly"),
    ("O'Shea", "O'Shea"),
    ("O'Sullivan", "O'Sullivan"),
    ("O'Toole", "O'Toole"),
    ("McCarthy", "McCarthy"),
    ("McCormack", "McCormack"),
    ("McDonagh", "McDonagh"),
    ("McGrath", "McGrath"),
    ("McGuinness", "McGuinness"),
    ("McHugh", "McHugh"),
    ("McInerney", "McInerney"),
    ("McKenna", "McKenna"),
    ("McLoughlin", "McLoughlin"),
    ("McMahon", "McMahon"),
    ("McManus", "McManus"),
    ("McNamara", "McNamara"),
    ("McNulty", "McNulty"),
    ("Brosnan", "Brosnan"),
    ("Byrne", "Byrne"),
    ("Cassidy", "Cassidy"),
    ("Considine", "Considine"),
    ("Dempsey", "Dempsey"),
    ("Fitzgerald", "Fitzgerald"),
    ("Gilhooly", "Gilhooly"),
    ("Hanrahan", "Hanrahan"),
    ("Kinsella", "Kinsella"),
    ("Moriarty", "Moriarty"),
    ("Prendergast", "Prendergast"),
];

const STREETS: [&str; 11] = [
    "Bóthar na Trá, Salthill",
    "Sráid an Droichid, Dingle",
    "Cnoc na Cille, Spiddal",
    "Main Street, Oughterard",
    "Church Road, Athenry",
    "Sráid na Siopaí, Gaillimh",
    "The Square, Gort",
    "Station Road, Loughrea",
    "Bóthar an Choláiste, Carraroe",
    "Abbey Street, Tuam",
    "Quay Street, Kinvara",
];

pub(super) struct Name {
    pub(super) first: &'static str,
    pub(super) last: &'static str,
    pub(super) woman: bool,
}

/// The name of the person with this number. The steps are prime to the lengths, and these to each other, so that the
/// first 3,599 people have different names.
pub(super) fn name(number: u32) -> Name {
    let number = number as usize;
    let (first, woman) = FIRST.get(number * 17 % FIRST.len()).copied().unwrap_or_default();
    let (female, male) = LAST.get(number * 24 % LAST.len()).copied().unwrap_or_default();
    let last = if woman { female } else { male };
    Name { first, last, woman }
}

pub(super) fn street(number: u32) -> &'static str {
    STREETS.get(number as usize * 7 % STREETS.len()).copied().unwrap_or_default()
}

/// Lower-case ASCII letters of a name: what a mail address is made of.
pub(super) fn plain(name: &str) -> String {
    let plain = name.chars().filter_map(|letter| match letter {
        'á' | 'Á' => Some('a'),
        'é' | 'É' => Some('e'),
        'í' | 'Í' => Some('i'),
        'ó' | 'Ó' => Some('o'),
        'ú' | 'Ú' => Some('u'),
        letter if letter.is_ascii_alphabetic() => Some(letter.to_ascii_lowercase()),
        _ => None,
    });
    plain.collect()
}
