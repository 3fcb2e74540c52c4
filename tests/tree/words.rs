//! Source text as words: names, `::`, and single signs. Comments and literals are left out.

/// A name, `::`, or one sign.
pub type Word<'a> = &'a str;

/// All words, in order.
pub fn words(text: &str) -> Vec<Word<'_>> {
    let (mut words, mut at) = (Vec::new(), 0);
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let len = match first {
            _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => string(rest, 0),
            '\'' => character(rest),
            'r' | 'b' | 'c' if literal(rest).is_some() => literal(rest).unwrap_or(1),
            _ if is_of_name(first) => {
                let len = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
                words.push(&rest[..len]);
                len
            }
            _ if rest.starts_with("::") => {
                words.push("::");
                2
            }
            _ => {
                if !first.is_whitespace() {
                    words.push(&rest[..first.len_utf8()]);
                }
                first.len_utf8()
            }
        };
        at += len;
    }
    words
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of a literal with a prefix, such as `r#"…"#` or `b'x'`, if one begins here.
fn literal(text: &str) -> Option<usize> {
    let prefix = text.len() - text.trim_start_matches(['r', 'b', 'c']).len();
    let rest = &text[prefix..];
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    let is_raw = text[..prefix].contains('r');
    if rest[hashes..].starts_with('"') && (hashes == 0 || is_raw) && prefix <= 2 {
        if !is_raw {
            return Some(prefix + string(rest, 0));
        }
        let end = format!("\"{}", "#".repeat(hashes));
        let body = &rest[hashes + 1..];
        return Some(prefix + hashes + 1 + body.find(&end).map_or(body.len(), |at| at + end.len()));
    }
    (&text[..prefix] == "b" && rest.starts_with('\'')).then(|| prefix + character(rest))
}

/// The length of a string that begins with a quote.
fn string(text: &str, from: usize) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(from + 1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a character; of a lifetime, that of its quote.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, _))) => {
            let after = at + text[at..].chars().next().map_or(0, char::len_utf8);
            text[after..].find('\'').map_or(text.len(), |end| after + end + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

#[test]
fn comments_and_literals_are_no_words() {
    let text = "use a::b; // use c;\nlet x: &'a str = \"use d \\\" ;\"; /* e */ r#\"f\"\"#; '\\''; 'g'; b'h' b\"i\" r j";
    let expected =
        ["use", "a", "::", "b", ";", "let", "x", ":", "&", "a", "str", "=", ";", ";", ";", ";", "r", "j"];
    assert_eq!(words(text), expected);
}
