//! Reads TOML tables key by key: what is asked for is known, what is left over is a mistake.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::read::{Read, Wrong, kind};
use super::value;
use crate::mistake::{Mistake, suggestion};

/// A value and its place, if the key is there.
pub(super) type Maybe<T> = Option<Spanned<T>>;

/// What a key says.
pub(super) trait Given<T> {
    /// The value, if the key is there.
    fn value(&self) -> Option<&T>;

    /// Where it stands.
    fn place(&self) -> Option<Range<usize>>;

    /// The value, or what holds without the key.
    fn value_or(&self, default: T) -> T
    where
        T: Clone,
    {
        self.value().cloned().unwrap_or(default)
    }
}

impl<T> Given<T> for Maybe<T> {
    fn value(&self) -> Option<&T> {
        self.as_ref().map(Spanned::get_ref)
    }

    fn place(&self) -> Option<Range<usize>> {
        self.as_ref().map(Spanned::span)
    }
}

/// What a list says.
pub(super) trait GivenList<T> {
    /// Its elements; none if the key isn't there.
    fn each<'a>(&'a self) -> impl Iterator<Item = &'a Spanned<T>>
    where
        T: 'a;

    /// Their values.
    fn values(&self) -> Vec<T>
    where
        T: Clone,
    {
        self.each().map(|element| element.get_ref().clone()).collect()
    }
}

impl<T> GivenList<T> for Maybe<Vec<Spanned<T>>> {
    fn each<'a>(&'a self) -> impl Iterator<Item = &'a Spanned<T>>
    where
        T: 'a,
    {
        self.iter().flat_map(Spanned::get_ref)
    }
}

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
    ) -> Maybe<T> {
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
    ) -> Maybe<T> {
        if !self.entries.contains_key(key) {
            let message = format!("`{key}` is missing");
            self.mistakes.push(Mistake::new(self.header.clone(), message, format!("write {example}")));
        }
        self.optional(key, read)
    }

    /// What stands at `place` is a mistake.
    pub(super) fn wrong(&mut self, place: Range<usize>, message: &str, help: &str) {
        self.mistakes.push(Mistake::new(place, message.to_owned(), help.to_owned()));
    }

    /// The elements of the list `key` that `read` likes; `None` if there is no such key.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&DeValue<'_>) -> Read<T>,
    ) -> Maybe<Vec<Spanned<T>>> {
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

    fn keep<T>(&mut self, span: Range<usize>, read: Read<T>) -> Maybe<T> {
        match read {
            Ok(value) => Some(Spanned::new(span, value)),
            Err(wrong) => {
                self.mistakes.push(wrong.at(span));
                None
            }
        }
    }
}
