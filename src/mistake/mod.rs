//! What is wrong with a text that people wrote, a configuration or a rule, and how it is shown.

mod place;
mod suggestion;

use std::error::Error;
use std::fmt;
use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};

pub(crate) use place::of_part;
pub(crate) use suggestion::suggestion;

/// The mistakes of one file, in the order of its lines. There is at least one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistakes {
    file: String,
    text: String,
    list: Vec<Mistake>,
}

/// One mistake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake {
    /// The bytes of the text that are wrong.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead; empty where the message says it.
    pub help: String,
}

impl Mistake {
    pub(crate) fn new(span: Range<usize>, message: impl Into<String>, help: impl Into<String>) -> Self {
        // Values are quoted in them, and a terminal must not obey them.
        let printable = |text: String| text.replace(char::is_control, "\u{fffd}");
        Self { span, message: printable(message.into()), help: printable(help.into()) }
    }
}

impl Mistakes {
    pub(crate) fn new(file: &str, text: &str, mut list: Vec<Mistake>) -> Self {
        list.sort_by_key(|mistake| (mistake.span.start, mistake.span.end));
        // The parser may stumble over one thing twice.
        list.dedup();
        Self { file: file.to_owned(), text: text.to_owned(), list }
    }

    /// The mistakes, in the order of the file's lines.
    pub fn list(&self) -> &[Mistake] {
        &self.list
    }

    /// The text for people, with the lines pointed at, and with colours if `styled`.
    pub fn render(&self, styled: bool) -> String {
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        let mut rendered: Vec<String> =
            self.list.iter().take(SHOWN).map(|mistake| renderer.render(&[self.group(mistake)])).collect();
        if self.list.len() > SHOWN {
            rendered.push(format!("error: and {} more in {}", self.list.len() - SHOWN, self.file));
        }
        rendered.join("\n\n")
    }

    /// Only the lines that the mistake is in: rendering takes time for each line it is given.
    fn group<'a>(&'a self, mistake: &'a Mistake) -> Group<'a> {
        let Range { start, end } = self.within_text(&mistake.span);
        let first = self.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let last = self.text[end..].find(['\r', '\n']).map_or(self.text.len(), |newline| end + newline);
        let title = Level::ERROR.primary_title(mistake.message.as_str());
        let group = if last - first > LONGEST_LINE {
            let (line, column) = self.line_and_column(start);
            title.element(Origin::path(self.file.as_str()).line(line).char_column(column))
        } else {
            title.element(self.snippet(first..last, start..end))
        };
        if mistake.help.is_empty() {
            group
        } else {
            group.element(Level::HELP.message(mistake.help.as_str()))
        }
    }

    /// A piece of the text, with a part of it pointed at.
    fn snippet(&self, piece: Range<usize>, part: Range<usize>) -> Snippet<'_, Annotation<'_>> {
        let first = piece.start;
        Snippet::source(&self.text[piece])
            .path(self.file.as_str())
            .line_start(self.line_and_column(first).0)
            .annotation(AnnotationKind::Primary.span(part.start - first..part.end - first))
    }

    /// The parser may point behind the last byte, and the renderer slices the text.
    fn within_text(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.text.floor_char_boundary(span.start);
        start..self.text.ceil_char_boundary(span.end).max(start)
    }

    /// Line and column of a byte, both from 1; the column counts characters.
    fn line_and_column(&self, byte: usize) -> (usize, usize) {
        let before = &self.text[..self.text.floor_char_boundary(byte)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// One line per mistake: `FILE:LINE:COLUMN: message; help`.
impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, mistake) in self.list.iter().take(SHOWN).enumerate() {
            let (line, column) = self.line_and_column(mistake.span.start);
            let newline = if n == 0 { "" } else { "\n" };
            write!(f, "{newline}{}:{line}:{column}: {}", self.file, mistake.message)?;
            if !mistake.help.is_empty() {
                write!(f, "; {}", mistake.help)?;
            }
        }
        Ok(())
    }
}

impl Error for Mistakes {}

/// Lines that are longer aren't shown, in bytes: the renderer looks at every character.
const LONGEST_LINE: usize = 10_000;

/// Mistakes shown at most: nobody reads on, and a file of junk has one per line.
const SHOWN: usize = 50;
