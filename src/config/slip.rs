//! What the TOML parser stumbles over, in the words of whoever wrote the file. The commonest slips are quotes that are
//! missing, typographic or not closed.

use crate::mistake::Mistake;
use std::ops::Range;

/// The mistakes that `errors`, the parser's, stand for: it may stumble over one slip several times.
pub(super) fn mistakes(text: &str, errors: &[toml::de::Error]) -> Vec<Mistake> {
    let explain = |error: &toml::de::Error| {
        let place = Place::new(text, error.span().unwrap_or(text.len()..text.len()));
        (place.explain(error.message()), place, is_one_of(error.message(), ECHOES))
    };
    let mut explained: Vec<_> = errors.iter().map(explain).collect();
    explained.sort_by_key(|(mistake, ..)| mistake.span.start);
    let mut mistakes: Vec<Mistake> = Vec::new();
    let mut told_line = 0..0;
    for (mistake, place, is_echo) in explained {
        let is_in_last = mistakes.last().is_some_and(|last| last.span.contains(&mistake.span.start));
        if is_in_last || is_echo && told_line.contains(&mistake.span.start) {
            continue;
        }
        told_line = place.line.start..place.line.end + 1;
        mistakes.push(mistake);
    }
    mistakes
}

/// Where an error is: the value, key or header it is in, and the line.
struct Place<'a> {
    text: &'a str,
    span: Range<usize>,
    line: Range<usize>,
    /// What stands between the delimiters around the error.
    token: Range<usize>,
}

impl<'a> Place<'a> {
    fn new(text: &'a str, span: Range<usize>) -> Self {
        let start = text.floor_char_boundary(span.start);
        let end = text.ceil_char_boundary(span.end).max(start);
        let window = text.floor_char_boundary(start.saturating_sub(WINDOW))
            ..text.ceil_char_boundary(end.saturating_add(WINDOW));
        let (before, behind) = (&text[window.start..start], &text[end..window.end]);
        let line_start = before.rfind('\n').map_or(window.start, |newline| window.start + newline + 1);
        let line_end = behind.find('\n').map_or(window.end, |newline| end + newline);
        let token_start =
            before.rfind(['=', '[', '{', ',', '\n']).map_or(line_start, |at| window.start + at + 1);
        let token_end = behind.find([',', ']', '}', '#', '\r', '\n']).map_or(line_end, |at| end + at);
        let token = &text[token_start..token_end];
        let token_start = token_end - token.trim_start_matches(PLAIN_BLANKS).len();
        Self {
            text,
            span: start..end,
            line: line_start..line_end,
            token: token_start..token_start + token.trim_matches(PLAIN_BLANKS).len(),
        }
    }

    fn explain(&self, message: &str) -> Mistake {
        let is = |beginnings| is_one_of(message, beginnings);
        let slip = self.typographic().or_else(|| match message {
            _ if is(VALUES) => Some(self.unquoted()),
            _ if is(&["invalid basic string, expected `\"`", "invalid literal string, expected `'`"]) => {
                Some(self.unclosed())
            }
            _ if is(&["key with no value", "invalid unquoted key"]) => self.key(),
            _ => None,
        });
        slip.unwrap_or_else(|| {
            let help = HELPS.iter().find(|(beginning, _)| message.starts_with(beginning));
            Mistake::new(self.span.clone(), message, help.map_or("", |(_, help)| help))
        })
    }

    /// What a word processor or a web page makes of plain quotes and blanks.
    fn typographic(&self) -> Option<Mistake> {
        let token = &self.text[self.token.clone()];
        let found = |set: &'static [char]| {
            let (at, found) = token.char_indices().find(|(_, char)| set.contains(char))?;
            let start = self.token.start + at;
            Some((start..start + found.len_utf8(), found))
        };
        if let Some((span, quote)) = found(QUOTES) {
            let straight = cut(&token.replace(QUOTES, "\""));
            let key = self.key_of_value().map(|key| format!("{key} = ")).unwrap_or_default();
            let help = format!("write straight ones: {key}{straight}");
            return Some(Mistake::new(span, format!("`{quote}` is a typographic quote"), help));
        }
        let (span, blank) =
            found(BLANKS).filter(|(span, _)| (self.span.start..=self.span.end).contains(&span.start))?;
        let message = format!("here is no plain blank, but the character U+{:04X}", u32::from(blank));
        Some(Mistake::new(span, message, "write a plain blank, or none"))
    }

    /// A value that is neither a number nor one of TOML's other words.
    fn unquoted(&self) -> Mistake {
        let token = &self.text[self.token.clone()];
        if token.is_empty() {
            let message = match self.key_of_value() {
                Some(key) => format!("`{key}` has no value"),
                None => "a value is missing".to_owned(),
            };
            return Mistake::new(self.span.clone(), message, format!("write {}", self.example("…")));
        }
        let value = token.trim_matches(is_quote);
        let word = value.to_ascii_lowercase();
        let digits = value.trim_start_matches(|char: char| char.is_ascii_digit());
        let has_unit = digits.len() < value.len() && digits.bytes().all(|byte| byte.is_ascii_alphabetic());
        let help = match word.as_str() {
            "true" | "false" => format!("write it in small letters: {word}"),
            "yes" | "no" | "on" | "off" => {
                format!("write true or false, or a text in quotes: {}", self.example(value))
            }
            _ if has_unit => format!("write a number alone, or a text in quotes: {}", self.example(value)),
            _ => format!("write the value in quotes: {}", self.example(value)),
        };
        Mistake::new(self.token.clone(), format!("`{}` is a text without quotes", cut(value)), help)
    }

    /// A text whose closing quote is missing.
    fn unclosed(&self) -> Mistake {
        let token = &self.text[self.token.clone()];
        let value = token.trim_matches(is_quote);
        let help = format!("write a quote at its end: {}", self.example(value));
        Mistake::new(self.token.clone(), "this text has no closing quote", help)
    }

    /// A key without `=`; `None` if it is something else.
    fn key(&self) -> Option<Mistake> {
        let line = self.text[self.line.clone()].trim_start();
        let start = self.line.end - line.len();
        let is_bare = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
        let len = line.find(|char| !is_bare(char)).unwrap_or(line.len());
        let (key, rest) = (&line[..len], line[len..].trim());
        let rest = rest.split('#').next().unwrap_or_default().trim_end();
        if key.is_empty() {
            return None;
        }
        let span = start..start + len;
        if let Some(value) = rest.strip_prefix(':') {
            let help = format!("write {key} = {}", cut(value.trim_start()));
            return Some(Mistake::new(span, format!("behind `{key}` stands a colon, not `=`"), help));
        }
        Some(match rest {
            "" => Mistake::new(span, format!("`{key}` has no value"), format!("write {key} = …")),
            rest if rest.contains('=') => {
                let help = "write it as one word, such as lease-time";
                Mistake::new(
                    span,
                    format!("there is a blank or another foreign character behind `{key}`"),
                    help,
                )
            }
            rest => {
                let help = format!("write {key} = {}", cut(rest));
                Mistake::new(span, format!("behind `{key}` is no `=`"), help)
            }
        })
    }

    /// `value` in quotes, behind its key if it has one of its own.
    fn example(&self, value: &str) -> String {
        let value = toml::Value::from(cut(value)).to_string();
        self.key_of_value().map_or(value.clone(), |key| format!("{key} = {value}"))
    }

    /// The key that the token is the value of.
    fn key_of_value(&self) -> Option<&'a str> {
        let before = self.text.get(self.line.start..self.token.start)?.trim_end().strip_suffix('=')?;
        let key = before.rsplit(['{', ',', '=']).next()?.trim();
        (!key.is_empty()).then_some(key)
    }
}

/// What to write where `value`, a text that isn't understood, has a character that only looks like the right one.
pub(super) fn lookalike(value: &str) -> Option<String> {
    let help = |char: char| match char {
        _ if QUOTES.contains(&char) => Some(format!("write a straight quote in place of `{char}`, or none")),
        _ if DASHES.contains(&char) => Some(format!("write a plain hyphen in place of `{char}`")),
        _ if BLANKS.contains(&char) => Some(format!("remove the character U+{:04X}", u32::from(char))),
        _ => None,
    };
    value.chars().find_map(help)
}

fn is_one_of(message: &str, beginnings: &[&str]) -> bool {
    beginnings.iter().any(|beginning| message.starts_with(beginning))
}

fn is_quote(char: char) -> bool {
    "\"'`".contains(char) || QUOTES.contains(&char) || char.is_whitespace()
}

/// For messages: not longer than a line.
fn cut(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// How the parser begins when what stands for a value is none.
const VALUES: &[&str] = &[
    "string values must be quoted",
    "missing opening quote",
    "invalid float",
    "invalid integer",
    "invalid boolean",
    "invalid date",
    "invalid time",
    "invalid hexadecimal",
    "invalid octal",
    "invalid binary",
    "`_` may only go between digits",
    "unexpected sign",
    "integers with a radix cannot be signed",
    "redundant ",
    "invalid mantissa",
    "invalid fraction",
    "invalid exponent",
];

/// How the parser begins when it goes on behind an error in the same line.
const ECHOES: &[&str] =
    &["key with no value", "unexpected key or value", "invalid unquoted key", "carriage return"];

/// What to write where the parser's own words say what is wrong.
const HELPS: &[(&str, &str)] = &[
    ("duplicate key", "remove one of the two"),
    ("unclosed table", "write the closing bracket of the section's name"),
    ("unclosed array", "write the closing bracket of the list"),
    (
        "unexpected key or value",
        "write one key in a line, nothing behind its value, and `#` before a comment",
    ),
    ("missing comma between array elements", "write a comma between the two"),
    ("extra `=`", "remove one of the two"),
    (
        "invalid unquoted key",
        "write only letters, digits, hyphens and underscores, or put the name in quotes",
    ),
    ("unexpected leading zero", "write the number without it, or a text in quotes"),
    ("radix must be lowercase", "write it in small letters"),
    ("missing escaped value", "write \\\\ for a backslash, or '…' around the text"),
    ("carriage return must be followed by newline", "end the lines by LF, or by CR and LF"),
];

/// Quotes that only people read.
const QUOTES: &[char] = &['“', '”', '„', '‟', '‘', '’', '‚', '‛', '«', '»', '‹', '›', '″', '′', '＂', '＇'];

/// What word processors make of hyphens.
const DASHES: &[char] = &['\u{2010}', '\u{2011}', '\u{2012}', '–', '—', '−'];

/// What looks like a blank, or like nothing.
const BLANKS: &[char] = &[
    '\u{a0}', '\u{2007}', '\u{2009}', '\u{200b}', '\u{200e}', '\u{202f}', '\u{2060}', '\u{3000}', '\u{feff}',
];

const PLAIN_BLANKS: &[char] = &[' ', '\t', '\r'];

/// How far around an error is looked, in bytes: a file of junk may be one line.
const WINDOW: usize = 300;
