//! What a reload did.

use serde::{Deserialize, Serialize};

use super::Answer;
use crate::config::Action;
use crate::terminal::count;

/// What a reload did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Reloaded {
    /// Ports opened.
    pub opened: u64,
    /// Ports closed.
    pub closed: u64,
    /// Ports that stay, with other settings.
    pub reconfigured: u64,
}

/// A line.
pub(super) fn text(reloaded: &Reloaded) -> String {
    let Reloaded { opened, closed, reconfigured } = reloaded;
    format!("reloaded: {} opened, {closed} closed, {reconfigured} changed\n", count(*opened, "port"))
}

/// To `reload`, which took these actions.
pub fn answer(actions: &[Action]) -> Answer {
    let mut answer = Reloaded::default();
    for action in actions {
        match action {
            Action::Open(..) => answer.opened += 1,
            Action::Close(_) => answer.closed += 1,
            Action::Reconfigure(..) => answer.reconfigured += 1,
        }
    }
    Answer::Reloaded(answer)
}
