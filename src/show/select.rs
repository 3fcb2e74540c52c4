//! Which rows of a table are shown, and in what order: by the fields that its JSON has, or by the headings that people see.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::net::Ipv4Addr;

use packet::Ipv4Cidr;
use serde::Serialize;
use serde_json::Value;

use crate::mistake::suggestion;

/// Keys and what their values must be. A row is meant if all hold.
pub type Filter = BTreeMap<String, String>;

/// What is wanted of a table.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selection {
    /// The column to sort by, with `-` in front for the largest first; rows that are equal stay in their order.
    pub sort: Option<String>,
    /// Which rows.
    pub filter: Filter,
}

/// Why nothing can be selected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SelectError(String);

impl fmt::Display for SelectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for SelectError {}

impl SelectError {
    /// What was asked for has no rows.
    pub(super) fn no_table() -> Self {
        Self("this is no table: it can't be sorted or filtered; leave --sort and --filter away".to_owned())
    }
}

impl Selection {
    /// Whether all rows are wanted, as they come.
    pub fn is_all(&self) -> bool {
        self.sort.is_none() && self.filter.is_empty()
    }

    /// How many rows must be there to show so many: whoever wants some, or another order, has them chosen from all.
    pub fn limit(&self, shown: usize) -> usize {
        if self.is_all() { shown } else { usize::MAX }
    }

    /// The rows that are wanted, in the order that is wanted.
    pub(super) fn apply<T: Serialize + Default>(&self, rows: Vec<T>) -> Result<Vec<T>, SelectError> {
        let mut columns: BTreeSet<String> = Fields::of(&T::default()).0.into_keys().collect();
        let mut rows: Vec<(Fields, T)> = rows.into_iter().map(|row| (Fields::of(&row), row)).collect();
        columns.extend(rows.iter().flat_map(|(fields, _)| fields.0.keys().cloned()));
        for (key, wanted) in &self.filter {
            let column = Column::find(key, &columns)?;
            rows.retain(|(fields, _)| column.of(fields).any(|field| fields.has(field, wanted)));
        }
        if let Some(sort) = &self.sort {
            let (name, falls) = sort.strip_prefix('-').map_or((sort.as_str(), false), |name| (name, true));
            let column = Column::find(name, &columns)?;
            rows.sort_by_cached_key(|(fields, _)| Key::of(column.of(fields), falls));
        }
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }
}

/// The fields of a row by their names; those inside of others have the name of these in front, with a dot.
struct Fields(BTreeMap<String, Value>);

impl Fields {
    fn of(row: &impl Serialize) -> Self {
        let mut fields = BTreeMap::new();
        // Rows are made of names, texts and numbers: JSON has them all.
        flatten(String::new(), serde_json::to_value(row).unwrap_or_default(), &mut fields);
        Self(fields)
    }

    /// Whether this field of the row is what is `wanted`: its text, an address with or without a port, one of a subnet, or
    /// a port with its network.
    fn has(&self, field: &Value, wanted: &str) -> bool {
        let text = match field {
            Value::Bool(true) if ["up", "yes"].contains(&wanted) => return true,
            Value::Bool(false) if ["down", "no"].contains(&wanted) => return true,
            Value::Null => return ["null", "-"].contains(&wanted),
            Value::Array(list) => return list.iter().any(|element| self.has(element, wanted)),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let address = text.split([':', '/']).next().and_then(|address| address.parse::<Ipv4Addr>().ok());
        let is_in = |address| wanted.parse().is_ok_and(|subnet: Ipv4Cidr| subnet.contains(address));
        let network = self.0.get("network").and_then(Value::as_str);
        text.eq_ignore_ascii_case(wanted)
            || address.is_some_and(|address| wanted.parse() == Ok(address) || is_in(address))
            || network.zip(wanted.split_once('/')).is_some_and(|(network, place)| place == (network, &text))
    }
}

fn flatten(name: String, value: Value, fields: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(inner) if !inner.is_empty() => {
            for (key, value) in inner {
                let name = if name.is_empty() { key } else { format!("{name}.{key}") };
                flatten(name, value, fields);
            }
        }
        Value::Object(_) => drop(fields.insert(name, Value::Null)),
        leaf => drop(fields.insert(name, leaf)),
    }
}

/// The fields that a name means: one, or several that belong together, such as the bytes of both directions.
struct Column(Vec<String>);

impl Column {
    fn find(wanted: &str, columns: &BTreeSet<String>) -> Result<Self, SelectError> {
        let name = wanted.to_lowercase().replace([' ', '-'], "_");
        let with = |is_meant: &dyn Fn(&str) -> bool| -> Vec<String> {
            columns.iter().filter(|column| is_meant(column)).cloned().collect()
        };
        let named = |name: &str| {
            with(&|column| {
                column == name
                    || column.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))
                    || column.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'))
            })
        };
        let heading = HEADINGS.iter().find(|(heading, _)| *heading == name).map(|(_, field)| *field);
        let begun = || Some(with(&|column| column.starts_with(&name))).filter(|begun| begun.len() == 1);
        let found = Some(named(&name))
            .filter(|found| !found.is_empty())
            .or_else(|| heading.map(named).filter(|found| !found.is_empty()))
            .or_else(|| Some(()).filter(|()| !name.is_empty()).and_then(|()| begun()));
        found.map(Self).ok_or_else(|| {
            let names: Vec<&str> = columns.iter().map(String::as_str).collect();
            let help = suggestion(wanted, &names);
            let all = if help.starts_with("write one of") {
                String::new()
            } else {
                format!(" (there are: {})", names.join(", "))
            };
            SelectError(format!("there is no column `{}`; {help}{all}", wanted.escape_default()))
        })
    }

    fn of<'a>(&'a self, fields: &'a Fields) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter_map(|name| fields.0.get(name))
    }
}

/// What a row is sorted by. Numbers go by their value, those of texts too, so 10.0.0.9 is before 10.0.0.10; what has no
/// value is last.
#[derive(PartialEq, Eq)]
struct Key {
    /// The sum, where the column has numbers.
    number: Option<u128>,
    text: Vec<Part>,
    falls: bool,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u128),
    Text(String),
}

impl Key {
    fn of<'a>(fields: impl Iterator<Item = &'a Value>, falls: bool) -> Self {
        let (mut number, mut text) = (None, Vec::new());
        for field in fields {
            match field {
                Value::Null => {}
                Value::Bool(is) => number = Some(number.unwrap_or(0) + u128::from(*is)),
                Value::Number(count) => {
                    number = Some(number.unwrap_or(0) + u128::from(count.as_u64().unwrap_or(0)));
                }
                Value::String(field) => text.extend(parts(field)),
                other => text.extend(parts(&other.to_string())),
            }
        }
        // Of what has both, people read the text.
        let number = number.filter(|_| text.is_empty());
        Self { number, text, falls }
    }

    fn has_value(&self) -> bool {
        self.number.is_some() || !self.text.is_empty()
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        let values = (self.number, &self.text).cmp(&(other.number, &other.text));
        let values = if self.falls { values.reverse() } else { values };
        other.has_value().cmp(&self.has_value()).then(values)
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Runs of digits as numbers, and what is between them.
fn parts(text: &str) -> Vec<Part> {
    let is_digit = |c: char| c.is_ascii_digit();
    let mut rest = text;
    let mut parts = Vec::new();
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c: char| is_digit(c) != is_digit(first)).unwrap_or(rest.len());
        let (part, behind) = rest.split_at(end);
        let number = part.parse().ok().filter(|_| is_digit(first));
        parts.push(number.map_or_else(|| Part::Text(part.to_owned()), Part::Number));
        rest = behind;
    }
    parts
}

/// What tables call fields.
const HEADINGS: [(&str, &str); 8] = [
    ("port", "name"),
    ("uplink", "name"),
    ("macs", "learned"),
    ("used_by", "networks"),
    ("vlan", "vid"),
    ("pkts", "packets"),
    ("failed", "failures"),
    ("admitted", "flows_admitted"),
];

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    #[derive(Serialize, Default, Clone)]
    struct Row {
        network: String,
        name: String,
        address: String,
        link: bool,
        idle_ms: Option<u64>,
        reply: Direction,
        original: Direction,
    }

    #[derive(Serialize, Default, Clone)]
    struct Direction {
        bytes: u64,
    }

    fn rows() -> Vec<Row> {
        let row = |name: &str, address: &str, link, idle_ms, bytes: [u64; 2]| Row {
            network: "lan".into(),
            name: name.into(),
            address: address.into(),
            link,
            idle_ms,
            original: Direction { bytes: bytes[0] },
            reply: Direction { bytes: bytes[1] },
        };
        vec![
            row("p10", "10.0.0.10:443", true, Some(900), [100, 0]),
            row("p9", "10.0.0.9:80", false, None, [0, 9]),
            row("p1", "10.0.1.1", true, Some(1000), [50, 51]),
            row("P2", "192.168.0.1/24", true, Some(900), [0, 9]),
        ]
    }

    fn selected(sort: Option<&str>, filter: &[(&str, &str)]) -> String {
        let filter = filter.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        let selection = Selection { sort: sort.map(str::to_owned), filter };
        let names: Vec<String> = match selection.apply(rows()) {
            Ok(rows) => rows.into_iter().map(|row| row.name).collect(),
            Err(error) => return error.to_string(),
        };
        names.join(" ")
    }

    #[test]
    fn rows_are_sorted_by_numbers_and_by_numbers_in_texts_and_equal_ones_stay_in_order() {
        for (column, expected) in [
            ("bytes", "p9 P2 p10 p1"),
            ("-bytes", "p1 p10 p9 P2"),
            ("original.bytes", "p9 P2 p1 p10"),
            ("idle", "p10 P2 p1 p9"),
            ("-idle_ms", "p1 p10 P2 p9"),
            ("address", "p9 p10 p1 P2"),
            ("port", "P2 p1 p9 p10"),
            ("link", "p9 p10 p1 P2"),
        ] {
            assert_eq!(selected(Some(column), &[]), expected, "{column}");
        }
    }

    #[test]
    fn a_row_is_shown_if_all_filters_hold() {
        for (filter, expected) in [
            (&[("network", "lan")][..], "p10 p9 p1 P2"),
            (&[("link", "up")], "p10 p1 P2"),
            (&[("link", "true"), ("idle", "900")], "p10 P2"),
            (&[("idle", "-")], "p9"),
            (&[("name", "p2")], "P2"),
            (&[("port", "lan/p1")], "p1"),
            (&[("port", "wan/p1")], ""),
            (&[("address", "10.0.0.0/24")], "p10 p9"),
            (&[("address", "10.0.0.9")], "p9"),
            (&[("address", "10.0.0.9:81")], ""),
            (&[("bytes", "9")], "p9 P2"),
            (&[("network", "lan"), ("link", "down")], "p9"),
        ] {
            assert_eq!(selected(None, filter), expected, "{filter:?}");
        }
        assert_eq!(selected(Some("-address"), &[("link", "up")]), "P2 p1 p10");
    }

    #[test]
    fn a_column_that_is_not_there_is_answered_with_those_that_are() {
        for (sort, filter) in
            [(Some("byte5"), &[][..]), (None, &[("adress", "x")]), (Some(""), &[]), (Some("-"), &[])]
        {
            let said = selected(sort, filter);
            assert!(said.contains("there is no column") && said.contains("reply.bytes"), "{said}");
        }
        assert!(selected(None, &[("adress", "x")]).contains("write `address`"));
        let none: Result<Vec<Row>, _> =
            Selection { sort: Some("x".into()), ..Selection::default() }.apply(Vec::new());
        assert!(none.is_err_and(|error| error.to_string().contains("idle_ms")));
    }
}
