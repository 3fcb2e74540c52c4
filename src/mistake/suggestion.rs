//! What somebody may have meant.

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
