//! Reads TOML tables key by key: what is asked for is known, what is left over is a mistake.

use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::Mistake;
use super::{slip, value};

/// What is wrong with a value: what it is, and what to write instead.
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) help: String,
}

impl Wrong {
    pub(super) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into() }
    }

    pub(super) fn at(self, span: Range<usize>) -> Mistake {
        Mistake::new(span, self.message, self.help)
    }
}

/// The outcome of reading one value.
pub(super) type Read<T> = Result<T, Wrong>;

/// A table being read.
pub(super) struct Table<'d, 'm> {
    /// Where to point when a key is missing.
    header: Range<usize>,
    entries: &'d DeTable<'d>,
    asked: Vec<&'static str>,
    mistakes: &'m mut Vec<Mistake>,
}

impl<'d, 'm> Table<'d, 'm> {
    pub(super) fn new(
        header: Range<usize>,
        entries: &'d DeTable<'d>,
        mistakes: &'m mut Vec<Mistake>,
    ) -> Self {
        Self { header, entries, asked: Vec::new(), mistakes }
    }

    /// The value of `key`, if it is there and `read` likes it.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&DeValue<'_>) -> Read<T>,
    ) -> Option<Spanned<T>> {
        self.asked.push(key);
        let value = self.entries.get(key)?;
        self.keep(value.span(), read(value.get_ref()))
    }

    /// As [`optional`](Self::optional); that the key is missing is a mistake, and `example` is what to write.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl Fn(&DeValue<'_>) -> Read<T>,
    ) -> Option<Spanned<T>> {
        if !self.entries.contains_key(key) {
            let message = format!("`{key}` is missing");
            self.mistakes.push(Mistake::new(self.header.clone(), message, format!("write {example}")));
        }
        self.optional(key, read)
    }

    /// The elements of the list `key` that `read` likes; `None` if there is no such key.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&DeValue<'_>) -> Read<T>,
    ) -> Option<Spanned<Vec<Spanned<T>>>> {
        self.asked.push(key);
        let value = self.entries.get(key)?;
        let Some(elements) = value.get_ref().as_array() else {
            let wrong = Wrong::new(format!("`{key}` is a list"), format!("write {key} = [ … ]"));
            return self.keep(value.span(), Err(wrong));
        };
        let list = elements.iter().filter_map(|element| self.keep(element.span(), read(element.get_ref())));
        Some(Spanned::new(value.span(), list.collect()))
    }

    /// The tables in the table `key`: each with its name and contents. None if there is no such key.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<(Spanned<String>, &'d DeTable<'d>)> {
        self.asked.push(key);
        let Some(value) = self.entries.get(key) else { return Vec::new() };
        let Some(entries) = value.get_ref().as_table() else {
            let message = format!("this is {}, not sections named {key}.NAME", kind(value.get_ref()));
            self.mistakes.push(Mistake::new(
                value.span(),
                message,
                "write a section for each, and its keys below",
            ));
            return Vec::new();
        };
        let named = |(name, value): (&Spanned<_>, &'d Spanned<DeValue<'d>>)| {
            let name: Spanned<String> = Spanned::new(name.span(), ToString::to_string(name.get_ref()));
            if let Err(wrong) = value::name(name.get_ref()) {
                self.mistakes.push(wrong.at(name.span()));
            }
            match value.get_ref().as_table() {
                Some(entries) => Some((name, entries)),
                None => {
                    let message = format!(
                        "this is {}, not the section {key}.{}",
                        kind(value.get_ref()),
                        name.get_ref()
                    );
                    let help = "write a section with this name, and its keys below";
                    self.mistakes.push(Mistake::new(value.span(), message, help));
                    None
                }
            }
        };
        entries.iter().filter_map(named).collect()
    }

    /// The table `key` and where it begins, if it is there.
    pub(super) fn table(&mut self, key: &'static str) -> Option<(Range<usize>, &'d DeTable<'d>)> {
        self.asked.push(key);
        let (name, value) = self.entries.get_key_value(key)?;
        let table = value.get_ref().as_table().map(|entries| (name.span(), entries));
        let wrong = || {
            let message = format!("this is {}, not the section {key}", kind(value.get_ref()));
            Wrong::new(message, "write a section with this name, and its keys below")
        };
        self.keep(value.span(), table.ok_or_else(wrong)).map(Spanned::into_inner)
    }

    /// Every key that nobody asked for is a mistake.
    pub(super) fn finish(self) {
        for name in self.entries.keys() {
            let key: &str = name.get_ref();
            if !self.asked.contains(&key) {
                let message = format!("unknown key `{key}`");
                self.mistakes.push(Mistake::new(name.span(), message, suggestion(key, &self.asked)));
            }
        }
    }

    fn keep<T>(&mut self, span: Range<usize>, read: Read<T>) -> Option<Spanned<T>> {
        match read {
            Ok(value) => Some(Spanned::new(span, value)),
            Err(wrong) => {
                self.mistakes.push(wrong.at(span));
                None
            }
        }
    }
}

/// Reads a text with `parse`.
pub(super) fn text<T>(parse: impl Fn(&str) -> Read<T>) -> impl Fn(&DeValue<'_>) -> Read<T> {
    move |value| match value.as_str() {
        Some(text) => parse(text).map_err(|wrong| match slip::lookalike(text) {
            Some(help) => Wrong { help, ..wrong },
            None => wrong,
        }),
        None => Err(Wrong::new(format!("this is {}, not a text", kind(value)), "write it in quotes")),
    }
}

/// Reads a text that is one of `choices`.
pub(super) fn choice<T: Copy>(choices: &'static [(&'static str, T)]) -> impl Fn(&DeValue<'_>) -> Read<T> {
    text(move |text| match choices.iter().find(|(name, _)| *name == text) {
        Some(&(_, choice)) => Ok(choice),
        None => {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            Err(Wrong::new(format!("`{text}` is not one of the choices"), suggestion(text, &names)))
        }
    })
}

/// Reads `true` or `false`.
pub(super) fn boolean(value: &DeValue<'_>) -> Read<bool> {
    let wrong = || Wrong::new(format!("this is {}, not true or false", kind(value)), "write true or false");
    value.as_bool().ok_or_else(wrong)
}

/// Reads a number of `unit` in `range`.
pub(super) fn number(range: RangeInclusive<u32>, unit: &str) -> impl Fn(&DeValue<'_>) -> Read<u32> {
    move |value| {
        let (low, high) = (range.start(), range.end());
        let help = || format!("write a number of {unit} from {low} to {high}, without quotes");
        let Some(number) = value.as_integer() else {
            return Err(Wrong::new(format!("this is {}, not a number", kind(value)), help()));
        };
        match u32::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => Err(Wrong::new(format!("`{}` is out of range", number.as_str()), help())),
        }
    }
}

/// What `value` is, for messages.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The one of `names` that is nearest to `wrong`, or all of them where none is near.
pub(crate) fn suggestion(wrong: &str, names: &[&str]) -> String {
    let near = |name: &&&str| edit_distance(wrong, name);
    match names.iter().min_by_key(near) {
        Some(name) if edit_distance(wrong, name) <= name.len().div_ceil(3) => format!("write `{name}`"),
        _ => format!("write one of: {}", names.join(", ")),
    }
}

/// Insertions, deletions and replacements that make `b` of `a`. `a` is cut, so that the cost has a bound.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, byte) in a.bytes().take(64).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(byte != other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
