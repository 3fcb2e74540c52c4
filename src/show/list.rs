//! Tables that may be shown in part.

use serde::{Deserialize, Serialize};

use super::select::{SelectError, Selection};
use super::table::{Column, Style, table};

/// A table that may be shown in part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Listed<T> {
    /// Entries that there are.
    pub total: u64,
    /// The ones shown.
    pub entries: Vec<T>,
}

impl<T: Serialize + Default> Listed<T> {
    /// The entries that are wanted, and the first `limit` of them.
    pub(super) fn select(self, selection: &Selection, limit: usize) -> Result<Self, SelectError> {
        let mut entries = selection.apply(self.entries)?;
        let total = entries.len() as u64;
        entries.truncate(limit);
        Ok(Self { total, entries })
    }
}

impl<T> Listed<T> {
    /// A table, and a word about what was left out.
    pub(super) fn text(&self, columns: &[Column<T>], style: &Style) -> String {
        table(columns, &self.entries, style) + &self.left_out()
    }

    /// A line about what was left out.
    pub(super) fn left_out(&self) -> String {
        let shown = self.entries.len() as u64;
        if shown == self.total {
            return String::new();
        }
        format!("{shown} of {} shown; see more with --limit\n", self.total)
    }
}

/// The first `limit` of `reports`; the others are only counted.
pub(super) fn listed<R, T>(
    mut reports: impl Iterator<Item = R>,
    limit: usize,
    entry: impl Fn(R) -> T,
) -> Listed<T> {
    let entries: Vec<T> = reports.by_ref().take(limit).map(entry).collect();
    Listed { total: (entries.len() + reports.count()) as u64, entries }
}
