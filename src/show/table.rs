//! Columns under headings, without lines.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, Table};

/// A heading, and where its column's cells are aligned.
#[derive(Clone, Copy)]
pub(super) struct Column(&'static str, CellAlignment);

/// A column of words.
pub(super) const fn left(heading: &'static str) -> Column {
    Column(heading, CellAlignment::Left)
}

/// A column of numbers.
pub(super) const fn right(heading: &'static str) -> Column {
    Column(heading, CellAlignment::Right)
}

/// Headings and rows. Cells may come from a guest, so what would control a terminal is replaced.
pub(super) fn table<const N: usize>(
    columns: [Column; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(columns.map(|Column(heading, alignment)| Cell::new(heading).set_alignment(alignment)));
    for row in rows {
        let cells = row.iter().zip(&columns);
        table.add_row(cells.map(|(text, column)| Cell::new(printable(text)).set_alignment(column.1)));
    }
    let lines = table.lines().map(|line| format!("{}\n", line.trim_end()));
    lines.collect()
}

/// `text` without control characters.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
