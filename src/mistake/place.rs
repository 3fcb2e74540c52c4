//! Where in the file a part of a text value stands.

use std::ops::Range;

/// The bytes of the file for the bytes `part` of the text that is written, quotes and all, at `value`. Escapes take
/// more bytes in the file than in the text.
pub(crate) fn of_part(file: &str, value: Range<usize>, part: Range<usize>) -> Range<usize> {
    let Some(written) = file.get(value.clone()) else { return value };
    let escapes = written.starts_with('"');
    let quotes = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quotes| written.starts_with(quotes));
    let Some(quotes) = quotes else { return value };
    let mut at = quotes.len();
    if quotes.len() == 3 {
        // The line's end right behind the quotes is not part of the text.
        at += ["\r\n", "\n"].into_iter().find(|end| written[at..].starts_with(end)).map_or(0, str::len);
    }
    let (mut read, mut start) = (0, at);
    while read < part.end {
        if read <= part.start {
            start = at;
        }
        let Some((written, text)) = unit(&written[at..], escapes) else { return value };
        (at, read) = (at + written, read + text);
    }
    if part.is_empty() {
        start = at;
    }
    value.start + start..value.start + at
}

/// How many bytes the next piece takes in the file, and in the text.
fn unit(written: &str, escapes: bool) -> Option<(usize, usize)> {
    let mut chars = written.chars();
    let first = chars.next()?;
    if !(escapes && first == '\\') {
        return Some((first.len_utf8(), first.len_utf8()));
    }
    let kind = chars.next()?;
    let digits = match kind {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        blank if blank.is_ascii_whitespace() => {
            // The line goes on after the blanks.
            let blanks = written[1..].len() - written[1..].trim_start().len();
            return Some((1 + blanks, 0));
        }
        _ => return Some((1 + kind.len_utf8(), 1)),
    };
    let code = written.get(2..2 + digits).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    Some((2 + digits, code.and_then(char::from_u32)?.len_utf8()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is pointed at when `part` of the text is meant.
    fn shown(written: &str, part: &str) -> String {
        let file = format!("rules = [ {written} ]");
        let value = toml::from_str::<toml::Table>(&file).unwrap();
        let text = value["rules"][0].as_str().unwrap();
        let start = text.find(part).unwrap();
        file[of_part(&file, 10..10 + written.len(), start..start + part.len())].to_owned()
    }

    #[test]
    fn a_part_of_a_text_is_found_however_the_text_is_written() {
        for written in [
            "'a -x b'",
            "\"a -x b\"",
            "'''a -x b'''",
            "\"\"\"\na -x\n b\"\"\"",
            "'é -x'",
            "\"\\u00e9 \\\"-x\\\"\"",
        ] {
            assert_eq!(shown(written, "-x"), "-x", "{written}");
        }
        assert_eq!(shown("\"a \\\"b\\\" c\"", "\"b\""), "\\\"b\\\"");
        assert_eq!(shown("\"\"\"a \\\n   b c\"\"\"", "b"), "b");
    }
}
