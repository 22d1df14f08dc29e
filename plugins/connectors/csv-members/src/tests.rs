//! The connector against scripted files: every defect that a real export has.

use syncline_plugin_sdk::http::{Failure, Response};
use syncline_plugin_sdk::manifest::Manifest;
use syncline_plugin_sdk::testing::FakeHttp;
use syncline_plugin_sdk::{
    Connector, Context, Error, Filters, Mode, Page, PageRequest, Result, Value, serde_json,
};

use crate::file::File;
use crate::{Config, CsvMembers};

const URL: &str = "https://files.test/members.csv";

fn request(cursor: Option<&str>, records_max: u32) -> PageRequest<Config> {
    PageRequest {
        context: Context {
            endpoints: [("baseUrl".to_owned(), URL.to_owned())].into(),
            ..Context::default()
        },
        entity: "member".to_owned(),
        cursor: cursor.map(str::to_owned),
        records_max,
        ..PageRequest::default()
    }
}

fn read(file: impl Into<Vec<u8>>) -> Result<Page> {
    let fake = FakeHttp::new().answer(URL, 200, file);
    let page = CsvMembers::fetch_page(&request(None, 1000));
    fake.assert_done();
    page
}

/// Reads a file of one page and compares these fields of its rows.
#[track_caller]
fn check(file: impl Into<Vec<u8>>, fields: &[&str], expect: &[&[&str]]) -> Page {
    let page = read(file).unwrap();
    let cell = |row: &[Value], field: &str| {
        let column = page.fields.iter().position(|name| name == field).unwrap();
        match &row[column] {
            Value::Text(text) => text.clone(),
            other => format!("{other:?}"),
        }
    };
    let found: Vec<Vec<String>> = page
        .rows()
        .iter()
        .map(|row| fields.iter().map(|field| cell(&row.values, field)).collect())
        .collect();
    assert_eq!(found, expect);
    page
}

#[test]
fn reads_the_export_of_a_club() {
    let file = "identifier,Forename,Surname,DOB,gender,email,Mobile Number,Address1,Address2,Town,Postcode,\
        Membership Number,Irish Forename,Irish Surname,Membership Type\r\n\
        F-1,Sinéad,Ó Súilleabháin,02/01/2010,FEMALE,s@example.ie,(087) 1234567,1 Main St,,Cork,T12 AB34,\
        123-45678-901,Sinéad,Ní Shúilleabháin,Youth\r\n";
    let page = check(
        file,
        &[
            "memberId",
            "firstName",
            "lastName",
            "dateOfBirth",
            "gender",
            "email",
            "phone",
            "address",
        ],
        &[&[
            "F-1",
            "Sinéad",
            "Ó Súilleabháin",
            "02/01/2010",
            "FEMALE",
            "s@example.ie",
            "(087) 1234567",
            "1 Main St, Cork, T12 AB34",
        ]],
    );
    assert_eq!(page.rows()[0].id, "F-1");
    assert_eq!(
        page.rows()[0].aliases,
        [("membershipNumber".to_owned(), "123-45678-901".to_owned())]
    );
    assert_eq!((page.next, page.total), (None, None));
    check(
        file,
        &["irishLastName", "membershipType", "joinDate"],
        &[&["Ní Shúilleabháin", "Youth", "Absent"]],
    );
}

#[test]
fn reads_the_other_spelling_whatever_its_case_and_spaces() {
    let file = " membership number ;FIRST NAME;last_name;Date Of Birth;Phone;Address;Status;Joined\n\
        123-45678-901;Aoife;McCarthy;2009-12-31;087;\"1 Main St; Cork\";Active; \n";
    let page = check(
        file,
        &[
            "memberId",
            "membershipNumber",
            "lastName",
            "dateOfBirth",
            "address",
            "membershipStatus",
            "joinDate",
        ],
        &[&[
            "123-45678-901",
            "123-45678-901",
            "McCarthy",
            "2009-12-31",
            "1 Main St; Cork",
            "Active",
            "Null",
        ]],
    );
    assert_eq!(page.rows()[0].aliases.len(), 1);
}

const NAMES: &[&str] = &["memberId", "firstName", "lastName"];

#[test]
fn survives_byte_order_marks_line_ends_and_delimiters() {
    let expect: &[&[&str]] = &[&["1", "A", "B"], &["2", "C", "D"]];
    check("\u{feff}memberId,First Name,Last Name\n1,A,B\n2,C,D", NAMES, expect);
    check("\r\n\nmemberId,First Name,Last Name\r\n1,A,B\r2,C,D\n\n , ,\n", NAMES, expect);
    check("sep=;\r\nmemberId;First Name;Last Name\r\n1;A;B\r\n2;C;D\r\n", NAMES, expect);
    check("memberId\tFirst Name\tLast Name\n1\tA\tB\n2\tC\tD\n", NAMES, expect);
    check(
        "\"memberId\",\"First Name\",\"Last Name\"\n\"1\",\"A\",\"B\"\n\"2\",\"C\",\"D\"\n",
        NAMES,
        expect,
    );
    let utf16: Vec<u8> = "\u{feff}memberId\tForename\tSurname\n1\tA\tB\n2\tC\tD\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    check(utf16, NAMES, expect);
}

#[test]
fn survives_stray_quotes() {
    check(
        "identifier,Forename,Surname\n1,\"Mary,Murphy\n2,Tom \"Tomás\" ,\"O\"Brien\"\n3,\"Ann\nMarie\",Daly\n4,D\",E\n",
        NAMES,
        &[
            &["1", "Mary", "Murphy"],
            &["2", "Tom \"Tomás\" ", "O\"Brien"],
            &["3", "Ann\nMarie", "Daly"],
            &["4", "D\"", "E"],
        ],
    );
}

#[test]
fn reads_old_code_pages_and_says_so() {
    let fake = FakeHttp::new().answer(
        URL,
        200,
        b"identifier,Forename,Surname\n1,S\xEDle,O\x92Shea\n".to_vec(),
    );
    let page = CsvMembers::fetch_page(&request(None, 10)).unwrap();
    assert_eq!(page.rows()[0].values[1..3], ["Síle".into(), "O’Shea".into()]);
    assert!(
        fake.logs().iter().any(|(level, line)| level == "warn" && line.contains("Windows-1252"))
    );
}

#[test]
fn sets_rows_aside_that_are_nobody() {
    let page = check(
        "identifier,Forename,Surname\n,A,B\n2,C,D\n  ,E,F\n4,G,H,I\n5,J,K,,\n6,L\n",
        NAMES,
        &[&["2", "C", "D"], &["5", "J", "K"], &["6", "L", "Absent"]],
    );
    let rejects: Vec<(Option<&str>, &str, &str)> = page
        .rejects
        .iter()
        .map(|reject| (reject.id.as_deref(), reject.reason.as_str(), reject.raw.as_str()))
        .collect();
    assert_eq!(
        rejects,
        [
            (None, "the identifier is empty", ",A,B"),
            (None, "the identifier is empty", "  ,E,F"),
            (Some("4"), "the row has 4 cells for 3 columns", "4,G,H,I"),
        ]
    );
}

#[test]
fn unknown_and_repeated_columns_are_named_once() {
    let file = "identifier,Forename,Surname,Shoe Size,Email,E-mail,Player,\n1,A,B,44,a@b.ie,c@d.ie,x,y\n2,C,D,,,,,\n";
    let fake = FakeHttp::new().answer(URL, 200, file);
    let page = CsvMembers::fetch_page(&request(None, 1)).unwrap();
    assert_eq!(page.rows()[0].values[4], "a@b.ie".into());
    CsvMembers::fetch_page(&request(page.next.as_deref(), 1)).unwrap();
    let lines: Vec<String> = fake.logs().into_iter().map(|(_, line)| line).collect();
    assert_eq!(
        lines,
        [
            "columns that are not known are ignored: Shoe Size, Player",
            "columns that come twice are ignored after the first: E-mail",
        ]
    );
}

#[test]
fn a_file_without_the_columns_that_matter() {
    let message = |file: &str| match read(file) {
        Err(Error::BadResponse(message)) => message,
        other => panic!("{other:?}"),
    };
    let found = message("Team,Forename,Points\nA,B,1\n");
    assert!(
        found.contains("an id") && found.contains("a last name") && !found.contains("a first name"),
        "{found}"
    );
    assert!(found.ends_with("Team | Forename | Points"), "{found}");
    assert!(message("").contains("empty"));
    assert!(message("\n \r\n").contains("empty"));
    assert!(message("{\"members\":[]}").contains("{\"members\":[]}"));
    assert!(message(" <html><body>Log in</body></html>").contains("web page"));
}

/// All rows of a file, page by page; `fresh` forgets the file between pages.
fn pages(file: &str, records_max: u32, fresh: bool) -> (Vec<String>, usize) {
    let mut cursor = None;
    let (mut ids, mut downloads) = (Vec::new(), 0);
    loop {
        let fake = FakeHttp::new().answer(URL, 200, file);
        let page = CsvMembers::fetch_page(&request(cursor.as_deref(), records_max)).unwrap();
        downloads += fake.requests().len();
        assert!(page.rows().len() + page.rejects.len() <= records_max as usize);
        ids.extend(page.rows().into_iter().map(|row| row.id));
        ids.extend(page.rejects.into_iter().map(|reject| reject.raw));
        cursor = page.next;
        if cursor.is_none() {
            return (ids, downloads);
        }
        if fresh {
            File::forget();
        }
    }
}

#[test]
fn pages_are_the_same_on_a_fresh_instance() {
    let mut file = "identifier,Forename,Surname\r\n".to_owned();
    for row in 0..10 {
        file.push_str(&format!("{row},\"Ó\r\nX\",Y\r\n\r\n"));
    }
    file.push_str(",no,id\r\n\r\n");
    let (all, _) = pages(&file, 1000, true);
    assert_eq!(all.len(), 11);
    for records_max in [1, 2, 3, 10, 11, 12] {
        let count = 11_usize.div_ceil(records_max as usize);
        assert_eq!(pages(&file, records_max, true), (all.clone(), count), "{records_max}");
        assert_eq!(pages(&file, records_max, false), (all.clone(), 1), "{records_max}");
    }
    assert_eq!(pages("identifier,Forename,Surname\n", 5, true), (Vec::new(), 1));
}

#[test]
fn a_file_that_changed_between_pages_starts_over() {
    let file = "identifier,Forename,Surname\n1,A,B\n2,C,D\n";
    let _fake = FakeHttp::new().answer(URL, 200, file).answer(
        URL,
        200,
        "identifier,Forename,Surname\n0,Z,Z\n1,A,B\n",
    );
    let page = CsvMembers::fetch_page(&request(None, 1)).unwrap();
    File::forget();
    let next = CsvMembers::fetch_page(&request(page.next.as_deref(), 1));
    assert_eq!(next, Err(Error::CursorExpired));
}

#[test]
fn a_cursor_that_is_not_ours_is_no_cursor() {
    let file = "identifier,Forename,Surname\n1,É,B\n";
    let next = |cursor: &str| {
        let _fake = FakeHttp::new().answer(URL, 200, file);
        CsvMembers::fetch_page(&request(Some(cursor), 1))
    };
    for cursor in ["", "2", "zz:1", "1:-1", "0:0", ":"] {
        assert_eq!(next(cursor), Err(Error::CursorExpired), "{cursor}");
    }
    // The right hash, at the end of the file, beyond it, and inside a letter.
    let _fake = FakeHttp::new().answer(URL, 200, file);
    let hash = format!("{:016x}", File::download(&request(None, 1).context).unwrap().hash);
    assert_eq!(next(&format!("{hash}:{}", file.len())).unwrap().rows().len(), 0);
    assert_eq!(next(&format!("{hash}:{}", file.len() + 1)), Err(Error::CursorExpired));
    assert_eq!(next(&format!("{hash}:{}", file.find('É').unwrap() + 1)), Err(Error::CursorExpired));
}

#[test]
fn statuses_and_failures_say_what_the_host_does_next() {
    let status = |status: u16| {
        let headers = vec![("Retry-After".to_owned(), "9".to_owned())];
        let _fake = FakeHttp::new().respond(URL, Response { status, headers, body: Vec::new() });
        CsvMembers::fetch_page(&request(None, 1)).unwrap_err()
    };
    assert!(matches!(status(401), Error::Auth(_)));
    assert!(matches!(status(403), Error::Auth(_)));
    assert!(matches!(status(404), Error::NotFound(message) if message.contains("the file")));
    assert_eq!(status(429), Error::RateLimited(Some(9)));
    assert!(matches!(status(500), Error::Unavailable(_)));
    assert!(matches!(status(301), Error::BadResponse(_)));
    let _fake = FakeHttp::new().fail(URL, Failure::TooLarge(5)).fail(URL, Failure::Timeout);
    assert!(matches!(CsvMembers::fetch_page(&request(None, 1)), Err(Error::BadResponse(_))));
    assert!(matches!(CsvMembers::check(&request(None, 1).context), Err(Error::Unavailable(_))));
}

#[test]
fn what_it_cannot_do_it_says() {
    let _fake = FakeHttp::new();
    let unsupported = |request: PageRequest<Config>| {
        assert!(matches!(CsvMembers::fetch_page(&request), Err(Error::Unsupported(_))));
    };
    unsupported(PageRequest { mode: Mode::Incremental, ..request(None, 1) });
    unsupported(PageRequest { entity: "team".to_owned(), ..request(None, 1) });
    let filters = Filters { status: Some(Vec::new()), ..Filters::default() };
    unsupported(PageRequest { filters, ..request(None, 1) });
    let nowhere = PageRequest { context: Context::default(), ..request(None, 1) };
    assert!(matches!(CsvMembers::fetch_page(&nowhere), Err(Error::Config(_))));
}

#[test]
fn a_check_reads_the_header() {
    let fake = FakeHttp::new().answer(URL, 200, "id,Forename,Surname\n").answer(URL, 200, "a,b\n");
    CsvMembers::check(&request(None, 1).context).unwrap();
    assert!(matches!(CsvMembers::check(&request(None, 1).context), Err(Error::BadResponse(_))));
    fake.assert_done();
}

#[test]
fn the_manifest_is_true() {
    let manifest = Manifest::Connector(CsvMembers::manifest()).to_json();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let fields = manifest["entities"][0]["fields"].as_array().unwrap();
    let declared: Vec<&str> = fields.iter().map(|field| field["name"].as_str().unwrap()).collect();
    assert_eq!(read("id,Forename,Surname\n").unwrap().fields, declared);
    let mapped = manifest["template"]["entities"]["member"]["fields"].as_array().unwrap();
    let birth = mapped.iter().find(|field| field["source"] == "dateOfBirth").unwrap();
    assert_eq!(birth["transforms"], serde_json::json!(["trim", "parseDate"]));
    assert_eq!(
        (&birth["type"], &birth["required"], &birth["onError"]),
        (&"date".into(), &true.into(), &"fail".into())
    );
    let gender = mapped.iter().find(|field| field["source"] == "gender").unwrap();
    assert_eq!(gender["transforms"][1]["map"]["female"], "female");
    assert_eq!(manifest["webhook"], serde_json::Value::Null);
}
