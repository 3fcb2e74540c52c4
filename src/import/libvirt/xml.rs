//! XML, within bounds: what libvirt writes is small and flat.

use std::ops::Range;

use roxmltree::{Document, Node};

use crate::mistake::Mistake;

/// `text` as a document.
///
/// # Errors
/// It is no XML, or built to keep its reader busy.
pub(super) fn parse(text: &str) -> Result<Document<'_>, Mistake> {
    check_size(text)?;
    Document::parse(text).map_err(|error| {
        let place = byte_at(text, error.pos());
        Mistake::new(place..place, format!("this is no XML: {error}"), EXPECTED)
    })
}

/// The parser compares each attribute of a tag with each, and hands the namespaces of an element on to all within.
fn check_size(text: &str) -> Result<(), Mistake> {
    let wrong = |at: usize, what: &str| {
        Err(Mistake::new(at..at + 1, format!("{what} than a network of libvirt has"), EXPECTED))
    };
    if let Some((at, _)) = text.match_indices("xmlns").nth(MAX_NAMESPACES) {
        return wrong(at, "there are more namespaces");
    }
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(start) = text[at..].find('<').map(|found| at + found) {
        let rest = &text[start..];
        let markup = MARKUP.iter().find(|(begin, _)| rest.starts_with(begin));
        let end = match markup {
            Some((_, end)) => rest.find(end).map(|found| found + end.len()),
            None => tag_len(rest),
        };
        // The parser says what is wrong with a tag that doesn't end.
        let len = end.unwrap_or(rest.len());
        let tag = &rest[..len];
        if markup.is_none() {
            depth = match (tag.starts_with("</"), tag.ends_with("/>")) {
                (true, _) => depth.saturating_sub(1),
                (_, true) => depth,
                _ => depth + 1,
            };
            if len > MAX_TAG {
                return wrong(start, "this tag is longer");
            }
            if depth > MAX_DEPTH {
                return wrong(start, "this element is nested deeper");
            }
        }
        at = start + len;
    }
    Ok(())
}

/// To the `>` that is in no quotes.
fn tag_len(tag: &str) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in tag.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at + 1),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
    }
    None
}

/// The tag that a node begins with, without what is in it.
pub(super) fn opening(node: Node<'_, '_>) -> Range<usize> {
    let range = node.range();
    let text = &node.document().input_text()[range.clone()];
    range.start..range.start + tag_len(text).unwrap_or(text.len())
}

/// The elements within.
pub(super) fn elements<'a, 'input>(node: Node<'a, 'input>) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children().filter(Node::is_element)
}

/// The element `name` within, if it is of libvirt's own.
pub(super) fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    elements(node).find(|child| own_name(*child) == Some(name))
}

/// The name of an element that belongs to no namespace.
pub(super) fn own_name<'a>(node: Node<'a, '_>) -> Option<&'a str> {
    node.tag_name().namespace().is_none().then(|| node.tag_name().name())
}

/// An element, or an attribute's place, is shown to people by its name.
pub(super) fn element_name(node: Node<'_, '_>) -> String {
    let tag = &node.document().input_text()[node.range()];
    let name = tag.trim_start_matches('<').split(|c: char| c.is_whitespace() || "/>".contains(c)).next();
    name.unwrap_or_default().to_owned()
}

/// An element as it is written, with all that is in it, for people: on one line and not too long.
pub(super) fn shown(node: Node<'_, '_>) -> String {
    let text = &node.document().input_text()[node.range()];
    let text = &text[..text.floor_char_boundary(2 * SHOWN)];
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ").replace("> <", "><");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn byte_at(text: &str, place: roxmltree::TextPos) -> usize {
    let line =
        text.split_inclusive('\n').take(place.row.saturating_sub(1) as usize).map(str::len).sum::<usize>();
    let column =
        text.get(line..).unwrap_or_default().char_indices().nth(place.col.saturating_sub(1) as usize);
    line + column.map_or(0, |(byte, _)| byte)
}

/// Markup that is no tag: how it begins and ends.
const MARKUP: &[(&str, &str)] = &[("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>")];

pub(super) const EXPECTED: &str = "write what `virsh net-dumpxml` prints";

/// Characters of an element that is left out.
const SHOWN: usize = 400;

/// Bytes from `<` to `>`. The longest that libvirt writes has a few hundred.
const MAX_TAG: usize = 16 << 10;

/// libvirt's own elements are nested five deep; those of metadata may be anything.
const MAX_DEPTH: usize = 64;

/// libvirt has one, and those of metadata.
const MAX_NAMESPACES: usize = 64;
