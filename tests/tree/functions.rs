//! Functions of a file and their length, by the indentation that rustfmt gives them.

/// A function with a body of more than one line.
#[derive(PartialEq, Eq, Debug)]
pub struct Function<'a> {
    pub name: &'a str,
    /// Where its name is. From 1.
    pub line: usize,
    /// From its name to its last brace.
    pub lines: usize,
}

/// All functions, those inside others among them.
pub fn all(text: &str) -> Vec<Function<'_>> {
    let lines: Vec<&str> = text.lines().collect();
    let function = |(at, line): (usize, &&'_ str)| -> Option<Function<'_>> {
        let line: &str = lines.get(at).filter(|other| *other == line)?;
        let (indent, name) = (line.len() - line.trim_start().len(), name(line.trim_start())?);
        // A declaration, or all in one line, ends before the next line of the same indentation.
        let end = lines[at..].iter().position(|other| closes(other, indent))?;
        let declared = lines[at..at + end].iter().any(|other| other.ends_with(';') && is_at(other, indent));
        (!declared && !line.ends_with('}')).then_some(Function { name, line: at + 1, lines: end + 1 })
    };
    lines.iter().enumerate().filter_map(function).collect()
}

/// Whether the line is the last brace of something that starts at this indentation.
fn closes(line: &str, indent: usize) -> bool {
    is_at(line, indent) && line.trim_start() == "}"
}

fn is_at(line: &str, indent: usize) -> bool {
    line.len() - line.trim_start().len() == indent
}

/// The name of the function that this line begins.
fn name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let words = |word: &str| {
        ["const", "async", "unsafe", "extern", "\"C\"", "\"system\""].contains(&word)
            || word.starts_with("pub")
    };
    let is_one = before.split(' ').filter(|word| !word.is_empty()).all(|word| words(word) || word == "in");
    let end = after.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    (is_one && end > 0).then_some(&after[..end])
}

#[test]
fn functions_are_measured_from_name_to_last_brace() {
    let text = "\
pub(crate) const fn one(a: u8) -> u8 { a }

impl A {
    /// Says what fn does.
    pub fn three(&self) {
        call();
    }

    fn six(
        &self,
        b: u8,
    ) {
        if b > 0 {
        }
    }
}

trait T {
    fn declared(&self) -> u8;
    fn also(
        &self,
    );

    unsafe fn four() {
        fn inner() {
        }
    }
}
";
    let found: Vec<_> = all(text).into_iter().map(|f| (f.name, f.line, f.lines)).collect();
    assert_eq!(found, [("three", 5, 3), ("six", 9, 7), ("four", 24, 4), ("inner", 25, 2)]);
}
