//! What a reload did.

use serde::{Deserialize, Serialize};

use crate::config::{Action, Change};

/// What a reload did.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Reloaded {
    /// Ports opened.
    pub opened: u64,
    /// Ports closed.
    pub closed: u64,
    /// Ports that stay, with other settings.
    pub reconfigured: u64,
    /// Everything that is different now.
    #[serde(default)]
    pub changes: Vec<Change>,
}

/// How many changes, and a line for each.
pub(super) fn text(reloaded: &Reloaded) -> String {
    let mut text = match reloaded.changes.len() {
        0 => "reloaded: nothing changed\n".to_owned(),
        1 => "reloaded: 1 change\n".to_owned(),
        many => format!("reloaded: {many} changes\n"),
    };
    for change in &reloaded.changes {
        text += &format!("  {change}\n");
    }
    text
}

impl Reloaded {
    /// What `actions` on devices and `changes` of settings come to.
    pub fn of(actions: &[Action], changes: Vec<Change>) -> Self {
        let mut reloaded = Self { changes, ..Self::default() };
        for action in actions {
            match action {
                Action::Open(..) => reloaded.opened += 1,
                Action::Close(_) => reloaded.closed += 1,
                Action::Reconfigure(..) => reloaded.reconfigured += 1,
            }
        }
        reloaded
    }
}
