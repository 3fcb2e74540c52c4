//! Columns under headings, without lines.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, Table};

/// A heading, where the column's cells are aligned, and what is in them.
pub(super) struct Column<T> {
    heading: &'static str,
    alignment: CellAlignment,
    cell: fn(&T) -> String,
}

/// A column of words.
pub(super) const fn left<T>(heading: &'static str, cell: fn(&T) -> String) -> Column<T> {
    Column { heading, alignment: CellAlignment::Left, cell }
}

/// A column of numbers.
pub(super) const fn right<T>(heading: &'static str, cell: fn(&T) -> String) -> Column<T> {
    Column { heading, alignment: CellAlignment::Right, cell }
}

/// Headings and rows. Cells may come from a guest, so what would control a terminal is replaced.
pub(super) fn table<T>(columns: &[Column<T>], rows: &[T]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(columns.iter().map(|column| Cell::new(column.heading).set_alignment(column.alignment)));
    for row in rows {
        let cell =
            |column: &Column<T>| Cell::new(printable(&(column.cell)(row))).set_alignment(column.alignment);
        table.add_row(columns.iter().map(cell));
    }
    let lines = table.lines().map(|line| format!("{}\n", line.trim_end()));
    lines.collect()
}

/// `text` without control characters.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A span with its two largest units: `2h 4m`.
pub(super) fn time(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86400, seconds % 86400 / 3600),
    }
}
