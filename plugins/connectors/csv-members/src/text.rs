//! From the bytes of a file to text, whatever program wrote it.

/// How the bytes were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    Utf16,
    /// Not UTF-8: the bytes were read as the Western European code page of old spreadsheets.
    Windows1252,
}

/// The text without its byte order mark.
pub(crate) fn decode(bytes: Vec<u8>) -> (String, Encoding) {
    match bytes.as_slice() {
        [0xFF, 0xFE, rest @ ..] => return (utf16(rest, u16::from_le_bytes), Encoding::Utf16),
        [0xFE, 0xFF, rest @ ..] => return (utf16(rest, u16::from_be_bytes), Encoding::Utf16),
        _ => {}
    }
    match String::from_utf8(bytes) {
        Ok(mut text) => {
            if text.starts_with('\u{feff}') {
                text.drain(..'\u{feff}'.len_utf8());
            }
            (text, Encoding::Utf8)
        }
        Err(error) => {
            let bytes = error.as_bytes();
            let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
            (bytes.iter().map(|&byte| windows_1252(byte)).collect(), Encoding::Windows1252)
        }
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units = bytes.chunks_exact(2).map(|pair| match pair {
        [first, second] => unit([*first, *second]),
        _ => 0,
    });
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// Differs from Latin-1 between 0x80 and 0x9F, where Latin-1 has control characters.
fn windows_1252(byte: u8) -> char {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž',
        '\u{8f}', '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}',
        'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9F => HIGH[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

/// Lower case, letters and digits only: `Date of Birth`, `date_of_birth` and `DateOfBirth` are the same header.
pub(crate) fn normalized(header: &str) -> String {
    header.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expect: &str, encoding: Encoding) {
        assert_eq!(decode(bytes.to_vec()), (expect.to_owned(), encoding));
    }

    #[test]
    fn reads_any_encoding() {
        check("Síle".as_bytes(), "Síle", Encoding::Utf8);
        check(b"\xEF\xBB\xBFid", "id", Encoding::Utf8);
        check(b"S\xEDle \x92\x80\x81", "Síle ’€\u{81}", Encoding::Windows1252);
        check(b"\xFF\xFES\x00\xED\x00", "Sí", Encoding::Utf16);
        check(b"\xFE\xFF\x00S\x00\xED\xD8", "Sí", Encoding::Utf16);
        check(b"", "", Encoding::Utf8);
    }

    #[test]
    fn headers_are_compared_loosely() {
        for header in ["Date of Birth", "date_of_birth", " DATE-OF-BIRTH ", "dateOfBirth"] {
            assert_eq!(normalized(header), "dateofbirth");
        }
    }
}
