//! The shape of files: a purpose in the first line, a length that a person can hold, nothing unfinished, nothing of
//! the machine that it was written on.

use super::report;
use super::source::{self, File};

const LINES_MAX: usize = 450;
const PRODUCT: [&str; 3] = ["host/src", "plugin-sdk/src", "plugins"];
const UNFINISHED: [&str; 3] = ["todo", "unimplemented", "dbg"];
/// Where homes and work trees are. Written in two parts, because this file is searched too.
const MACHINE: [&str; 4] =
    [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")];
const SEARCHED: [&str; 9] = [".rs", ".md", ".toml", ".wit", ".json", ".py", ".sh", ".yml", "/run"];

fn product() -> Vec<File> {
    let mut files: Vec<File> =
        PRODUCT.iter().flat_map(|folder| source::files(folder, &[".rs"])).collect();
    files.extend(source::files("host", &["host/build.rs"]));
    files.retain(|file| !file.is_test());
    files
}

#[test]
fn files_open_with_their_purpose_and_stay_short() {
    let mut complaints = Vec::new();
    for file in product() {
        if !file.text.starts_with("//!") {
            complaints.push(format!("{}: does not open with `//!`", file.path));
        }
        let lines = file.text.lines().count();
        if lines >= LINES_MAX {
            complaints.push(format!(
                "{}: {lines} lines, at most {} are allowed",
                file.path,
                LINES_MAX - 1
            ));
        }
    }
    report("a file of the product has one purpose, says it first and stays short:", &complaints);
}

#[test]
fn nothing_is_left_unfinished() {
    let mut complaints = Vec::new();
    for file in source::files("", &[".rs"]) {
        let tokens = source::tokens(&file.text);
        for pair in tokens.windows(2) {
            if pair[1].is_sign("!") && UNFINISHED.iter().any(|name| pair[0].is_word(name)) {
                complaints.push(format!("{}:{}: `{}!`", file.path, pair[0].line, pair[0].text));
            }
        }
    }
    report("nothing is left for later in the code:", &complaints);
}

#[test]
fn no_path_of_a_machine_is_written_down() {
    let mut complaints = Vec::new();
    for file in source::files("", &SEARCHED) {
        for (number, line) in file.text.lines().enumerate() {
            if MACHINE.iter().any(|path| line.contains(path)) {
                complaints.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    report("a path of one machine means nothing on another:", &complaints);
}

#[test]
fn links_of_documents_lead_somewhere() {
    let mut complaints = Vec::new();
    for file in source::files("", &[".md"]) {
        let folder =
            source::root().join(&file.path).parent().map(ToOwned::to_owned).unwrap_or_default();
        for (number, line) in file.text.lines().enumerate() {
            for link in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let path = link.split('#').next().unwrap_or_default();
                if !path.is_empty() && !link.contains("://") && !folder.join(path).exists() {
                    complaints.push(format!("{}:{}: {link}", file.path, number + 1));
                }
            }
        }
    }
    report("a link of a document leads to a file that is there:", &complaints);
}
