//! Reads one value of TOML, and says what is wrong with it.

use std::ops::{Range, RangeInclusive};

use toml::de::DeValue;

use super::slip;
use crate::mistake::{Mistake, suggestion};

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
