//! A line of the language that NAT rules are written in.
//!
//! Input: the line.

use packet::NetworkId;
use tapswitch::rules::{Edit, Interfaces, Rule, parse};

/// Panics if something is wrong.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let known = Interfaces::new(["default", "lab"].into_iter(), [("wan", "eth0")].into_iter());
    for interfaces in [known, Interfaces::Any] {
        match parse(text, &interfaces) {
            Ok(line) => {
                let printed = line.to_string();
                assert_eq!(parse(&printed, &interfaces).as_ref(), Ok(&line), "{printed}");
                if let Edit::Append(rule) | Edit::Insert(_, rule) | Edit::Delete(rule) = &line.edit {
                    bound(rule);
                }
            }
            Err(mistake) => {
                assert!(text.get(mistake.span.clone()).is_some(), "{mistake:?}");
                assert!(!mistake.message.is_empty() && !mistake.help.is_empty(), "{mistake:?}");
            }
        }
    }
}

/// With numbers for names, and names again, it is the same rule.
fn bound(rule: &Rule) {
    let names = std::cell::RefCell::new(Vec::new());
    let number = |name: &str| {
        names.borrow_mut().push(name.to_owned());
        Some(NetworkId::new(names.borrow().len() as u16 - 1))
    };
    let bound = rule.bind(number).expect("every name has a number");
    assert_eq!(Rule::of(&bound, |id| names.borrow()[id.index()].clone()), *rule);
}
