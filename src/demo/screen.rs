//! What the demo prints: headings, indented text, and a line for each step with its mark.

use std::fmt::Display;
use std::io::{self, Write};

use crate::terminal;

/// Where the demo prints to. Colours only for people.
pub struct Screen<W> {
    out: W,
    colour: bool,
}

impl Screen<io::Stdout> {
    /// Standard output.
    pub fn stdout() -> Self {
        let out = io::stdout();
        Self { colour: terminal::takes_colours(&out), out }
    }
}

impl<W: Write> Screen<W> {
    /// A heading.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub fn heading(&mut self, text: &str) -> io::Result<()> {
        let text = self.styled(BOLD, text);
        writeln!(self.out, "\n {text}\n")
    }

    /// Lines of text, indented.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        let mut lines = text.trim_matches('\n').lines();
        lines.try_for_each(|line| writeln!(self.out, "{}", format!("   {line}").trim_end()))
    }

    /// A step's line: what was to be seen, and what was.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub fn step(&mut self, what: &str, seen: &Result<String, impl Display>) -> io::Result<()> {
        let mark = self.mark(seen.is_ok());
        match seen {
            Ok(seen) => writeln!(self.out, " {mark} {what:<WIDTH$} {seen}"),
            Err(error) => writeln!(self.out, " {mark} {what:<WIDTH$} {error}"),
        }
    }

    fn mark(&self, good: bool) -> String {
        if good { self.styled(GREEN, "✓") } else { self.styled(RED, "✗") }
    }

    fn styled(&self, style: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// ECMA-48, select graphic rendition.
const BOLD: &str = "1";
const RED: &str = "31";
const GREEN: &str = "32";
/// The column of what was seen.
const WIDTH: usize = 46;

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(colour: bool, print: impl FnOnce(&mut Screen<Vec<u8>>) -> io::Result<()>) -> String {
        let mut screen = Screen { out: Vec::new(), colour };
        print(&mut screen).unwrap();
        String::from_utf8(screen.out).unwrap()
    }

    #[test]
    fn steps_are_aligned_whether_they_work_or_not() {
        let good = printed(false, |s| s.step("short", &Ok::<_, io::Error>("seen".into())));
        let bad = printed(false, |s| s.step("a longer one", &Err(io::Error::other("seen"))));
        assert!(good.starts_with(" ✓ short") && bad.starts_with(" ✗ a longer one"));
        assert_eq!(good.find("seen"), bad.find("seen"));
    }

    #[test]
    fn only_a_terminal_gets_escape_codes() {
        assert!(!printed(false, |s| s.heading("title")).contains('\x1b'));
        assert!(printed(true, |s| s.heading("title")).contains("\x1b[1mtitle\x1b[0m"));
    }
}
