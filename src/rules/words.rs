//! A line cut into words, as a shell does: blanks part them, quotes keep them together.

use std::ops::Range;
use std::slice::Iter;

use crate::mistake::Mistake;

/// A word without its quotes, and the bytes of the line that it is written in.
#[derive(Debug)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) span: Range<usize>,
}

impl Word {
    pub(super) fn wrong(&self, message: impl Into<String>, help: impl Into<String>) -> Mistake {
        Mistake::new(self.span.clone(), message, help)
    }
}

/// The words of `line`. In double quotes, a backslash keeps the character after it as it is; in single quotes
/// nothing is special.
pub(super) fn words(line: &str) -> Result<Vec<Word>, Mistake> {
    let mut words = Vec::new();
    let mut chars = line.char_indices().peekable();
    while let Some(&(start, first)) = chars.peek() {
        if first.is_ascii_whitespace() {
            chars.next();
            continue;
        }
        let (mut text, mut quote) = (String::new(), None);
        while let Some((place, c)) = chars.next_if(|(_, c)| quote.is_some() || !c.is_ascii_whitespace()) {
            match (c, quote) {
                ('"' | '\'', None) => quote = Some((c, place)),
                (_, Some((open, _))) if c == open => quote = None,
                ('\\', None | Some(('"', _))) => text.extend(chars.next().map(|(_, kept)| kept)),
                _ => text.push(c),
            }
        }
        if let Some((open, place)) = quote {
            return Err(Mistake::new(
                place..line.len(),
                "the quote doesn't end",
                format!("write {open} at the end"),
            ));
        }
        let end = chars.peek().map_or(line.len(), |&(end, _)| end);
        words.push(Word { text, span: start..end });
    }
    Ok(words)
}

/// The words that are still to be read.
pub(super) struct Reader<'a> {
    words: Iter<'a, Word>,
    /// The end of the line.
    end: usize,
}

impl<'a> Reader<'a> {
    /// All words of a line of `len` bytes.
    pub(super) fn new(words: &'a [Word], len: usize) -> Self {
        Self { words: words.iter(), end: len }
    }

    pub(super) fn peek(&self) -> Option<&'a Word> {
        self.words.as_slice().first()
    }

    pub(super) fn next(&mut self) -> Option<&'a Word> {
        self.words.next()
    }

    /// What stands behind `option`.
    pub(super) fn value(&mut self, option: &Word, example: &str) -> Result<&'a Word, Mistake> {
        match self.next() {
            // In quotes it is a value.
            Some(word) if word.text == "!" && word.span.len() == 1 => {
                let help = format!("write `! {} {example}`", option.text);
                Err(word.wrong(format!("`!` stands before `{}`", option.text), help))
            }
            Some(word) => Ok(word),
            None => {
                let message = format!("`{}` has no value", option.text);
                Err(option.wrong(message, format!("write `{} {example}`", option.text)))
            }
        }
    }

    /// Something is missing at the line's end.
    pub(super) fn missing(&self, message: &str, help: &str) -> Mistake {
        Mistake::new(self.end..self.end, message, help)
    }
}

/// `text` as one word: in double quotes if need be.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.,:/+=@".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    }
}
