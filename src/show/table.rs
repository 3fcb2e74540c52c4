//! Columns under headings, without lines, and no wider than they may be.

use std::fmt::Write;

use crate::terminal::{printable, short_bytes};

/// How people want to see an answer.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Characters of a line.
    pub width: usize,
    /// Every byte, instead of `3.4 GB`.
    pub exact_bytes: bool,
    /// NAT rules with their numbers.
    pub line_numbers: bool,
}

impl Style {
    /// As wide as need be, and otherwise as most want it.
    pub const WIDE: Self = Self { width: usize::MAX, exact_bytes: false, line_numbers: false };

    pub(super) fn bytes(&self, bytes: u64) -> String {
        if self.exact_bytes { bytes.to_string() } else { short_bytes(bytes) }
    }
}

/// A heading, where the column's cells are aligned, and what is in them.
pub(super) struct Column<T> {
    heading: &'static str,
    is_right: bool,
    cell: fn(&T, &Style) -> String,
    /// 0: always there. Where a table is too wide, the columns with the highest number go first.
    rank: u8,
    /// Long texts go on in the next line.
    wraps: bool,
}

/// A column of words.
pub(super) const fn left<T>(heading: &'static str, cell: fn(&T, &Style) -> String) -> Column<T> {
    Column { heading, is_right: false, cell, rank: 0, wraps: false }
}

/// A column of numbers.
pub(super) const fn right<T>(heading: &'static str, cell: fn(&T, &Style) -> String) -> Column<T> {
    Column { heading, is_right: true, cell, rank: 0, wraps: false }
}

impl<T> Column<T> {
    /// The column goes where there is no room, before those with a lower rank.
    pub(super) const fn rank(self, rank: u8) -> Self {
        Self { rank, ..self }
    }

    /// The column takes what the others leave.
    pub(super) const fn wrapped(self) -> Self {
        Self { wraps: true, ..self }
    }
}

/// Headings and rows, and a line about the columns that there was no room for. Cells may come from a guest: what would
/// control a terminal is replaced.
pub(super) fn table<T>(columns: &[Column<T>], rows: &[T], style: &Style) -> String {
    let mut cells: Vec<Cells<'_, T>> = columns.iter().map(|column| Cells::new(column, rows, style)).collect();
    let mut left_out = Vec::new();
    while width_of(&cells) > style.width {
        let dearest = (0..cells.len()).rev().max_by_key(|&index| cells[index].column.rank);
        match dearest {
            Some(index) if cells[index].column.rank > 0 => left_out.push(cells.remove(index).column.heading),
            _ => break,
        }
    }
    let excess = width_of(&cells).saturating_sub(style.width);
    cells.iter_mut().filter(|cells| cells.column.wraps).for_each(|cells| cells.wrap(excess));
    let mut text = String::new();
    line(&mut text, cells.iter().map(|cells| (cells, cells.column.heading)));
    for row in 0..rows.len() {
        let height = cells.iter().map(|cells| cells.texts[row].lines().count()).max().unwrap_or(0);
        for nth in 0..height {
            line(
                &mut text,
                cells.iter().map(|cells| (cells, cells.texts[row].lines().nth(nth).unwrap_or(""))),
            );
        }
    }
    if !left_out.is_empty() {
        let note = format!("no room for {}: see all with --wide", left_out.join(", "));
        text += &format!("{}\n", wrapped(&note, style.width));
    }
    text
}

/// Whether all columns have room.
pub(super) fn fits<T>(columns: &[Column<T>], rows: &[T], style: &Style) -> bool {
    let cells: Vec<Cells<'_, T>> = columns.iter().map(|column| Cells::new(column, rows, style)).collect();
    width_of(&cells) <= style.width
}

/// The cells of one column.
struct Cells<'a, T> {
    column: &'a Column<T>,
    texts: Vec<String>,
    width: usize,
}

impl<'a, T> Cells<'a, T> {
    fn new(column: &'a Column<T>, rows: &[T], style: &Style) -> Self {
        let texts: Vec<String> = rows.iter().map(|row| printable(&(column.cell)(row, style))).collect();
        let longest = texts.iter().map(|text| text.chars().count()).max().unwrap_or(0);
        Self { column, width: longest.max(column.heading.len()), texts }
    }

    /// Makes the column narrower by `excess`, if it is wide enough for that.
    fn wrap(&mut self, excess: usize) {
        self.width =
            self.width.saturating_sub(excess).max(self.column.heading.len().max(NARROWEST).min(self.width));
        self.texts.iter_mut().for_each(|text| *text = wrapped(text, self.width));
    }
}

fn width_of<T>(cells: &[Cells<'_, T>]) -> usize {
    let gaps = 2 * cells.len().saturating_sub(1);
    gaps + cells.iter().map(|cells| cells.width).sum::<usize>()
}

fn line<'a, T: 'a>(text: &mut String, cells: impl Iterator<Item = (&'a Cells<'a, T>, &'a str)>) {
    for (index, (Cells { column, width, .. }, cell)) in cells.enumerate() {
        let gap = if index == 0 { "" } else { "  " };
        // Writing to a string can't fail.
        let _ = match column.is_right {
            true => write!(text, "{gap}{cell:>width$}"),
            false => write!(text, "{gap}{cell:<width$}"),
        };
    }
    text.truncate(text.trim_end_matches(' ').len());
    text.push('\n');
}

/// `text` in lines of at most `width` characters, parted at blanks where there are any.
pub(super) fn wrapped(text: &str, width: usize) -> String {
    let (mut lines, mut used) = (String::new(), 0);
    for word in text.split(' ') {
        let len = word.chars().count();
        if used > 0 && used + 1 + len <= width {
            lines.push(' ');
            used += 1;
        } else if used > 0 {
            lines.push('\n');
            used = 0;
        }
        for c in word.chars() {
            if used == width {
                lines.push('\n');
                used = 0;
            }
            lines.push(c);
            used += 1;
        }
    }
    lines
}

/// A column that wraps keeps so much.
const NARROWEST: usize = 12;

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
