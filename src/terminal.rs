//! What is printed for people: whether in colour, how wide, and that nothing in it controls the terminal.

use std::io::{self, IsTerminal};

/// Whether `stream` takes colours: a terminal that can, of a user who wants them. <https://no-color.org>
pub fn takes_colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && wants_colours(|name| std::env::var_os(name).map(|value| value.into_string()))
}

fn wants_colours<E>(variable: impl Fn(&str) -> Option<Result<String, E>>) -> bool {
    let is = |name, value| matches!(variable(name), Some(Ok(text)) if text == value);
    let no_color = variable("NO_COLOR").is_some() && !is("NO_COLOR", "");
    !no_color && !is("TERM", "dumb")
}

/// The columns of standard output: what `COLUMNS` says, else what the terminal has; `None`: it is no terminal.
pub fn width() -> Option<usize> {
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let of_terminal = || {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        (size.ws_col > 0).then_some(size.ws_col.into())
    };
    told.filter(|&columns: &usize| columns > 0).or_else(of_terminal)
}

/// `text` without characters that would control a terminal or the reading direction. Guests choose names.
pub fn printable(text: &str) -> String {
    text.replace(controls, "\u{fffd}")
}

/// As [`printable`], of a text of several lines.
pub fn printable_lines(text: &str) -> String {
    text.replace(|c| c != '\n' && controls(c), "\u{fffd}")
}

/// Control characters; and what turns the rest of a line round, or hides. Unicode 9.0, 23.2.
fn controls(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// `1 port`, `2 ports`.
pub fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// `bytes` in at most three digits and a unit of 1000: `3.4 GB`.
pub fn short_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    // What would be rounded to 1000 has the next unit.
    while value >= 999.5 {
        (value, unit) = (value / 1000.0, units.next().unwrap_or("EB"));
    }
    if unit == "B" || value >= 9.95 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_those_who_want_them() {
        let wants = |set: &'static [(&str, &str)]| {
            wants_colours(|name| {
                let found = set.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| Ok::<_, ()>((*value).to_owned()))
            })
        };
        assert!(wants(&[]) && wants(&[("NO_COLOR", ""), ("TERM", "xterm")]));
        assert!(!wants(&[("NO_COLOR", "1")]) && !wants(&[("TERM", "dumb")]) && !wants(&[("NO_COLOR", "0")]));
    }

    #[test]
    fn bytes_have_three_digits_at_most_and_their_unit() {
        let shown = [0, 999, 1000, 9_949, 9_950, 999_499, 999_500, 3_400_000_000, u64::MAX].map(short_bytes);
        assert_eq!(
            shown,
            ["0 B", "999 B", "1.0 kB", "9.9 kB", "10 kB", "999 kB", "1.0 MB", "3.4 GB", "18 EB"]
        );
    }

    #[test]
    fn one_is_singular() {
        assert_eq!([0, 1, 2].map(|n| count(n, "port")), ["0 ports", "1 port", "2 ports"]);
    }

    #[test]
    fn nothing_printable_controls_the_terminal() {
        assert_eq!(printable("a\x1b[2J\u{9b}\n\u{202e}z"), "a\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}z");
        assert_eq!(printable_lines("a\nb\rc"), "a\nb\u{fffd}c");
    }
}
