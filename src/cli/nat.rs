//! `tapswitch nat`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::show::Form;
use super::{Control, Failure, tell, wrong};
use crate::control::{self, Request, What};
use crate::mistake::{Mistake, Mistakes};
use crate::rules::{self, Interfaces};

#[derive(Subcommand, Debug)]
pub(super) enum Nat {
    /// Add a rule, such as -A POSTROUTING -s 192.168.3.0/24 -o wan -j MASQUERADE, or with -I one in between
    Add(Line),
    /// Delete a rule: CHAIN NUMBER, as `nat list --line-numbers` shows it, or -D with the whole rule
    Del(Line),
    /// List the rules and how often each decided, as `iptables -t nat -L -nv` does
    List {
        #[command(flatten)]
        form: Form,
        /// Number the rules, for `nat del CHAIN NUMBER`
        #[arg(long)]
        line_numbers: bool,
        #[command(flatten)]
        control: Control,
    },
    /// Save the connections now, to the file that the configuration names as `state`, while packets flow
    #[command(
        after_help = "A switch that starts with that configuration goes on with them. One that ends by \
        SIGTERM or SIGINT saves them by itself."
    )]
    Save(Control),
}

#[derive(Args, Debug)]
pub(super) struct Line {
    /// The line, as iptables has it; quotes around the whole may be there or not
    #[arg(value_name = "RULE", allow_hyphen_values = true, trailing_var_arg = true, required = true)]
    words: Vec<String>,
    #[command(flatten)]
    control: Control,
}

impl Nat {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Add(line) => line.change(true),
            Self::Del(line) => line.change(false),
            Self::Save(control) => tell(&control, Request::NatSave),
            Self::List { form, line_numbers, control } => {
                let show = Request::show(What::Nat, control::DEFAULT_LIMIT);
                form.show(&control, show, line_numbers)
            }
        }
    }
}

impl Line {
    fn change(mut self, adds: bool) -> Result<(), Failure> {
        self.take_control()?;
        let line = line(&self.words, adds);
        let place = match rules::parse(&line, &Interfaces::Any) {
            Ok(parsed) if parsed.edit.adds() == adds => None,
            Ok(_) if adds => Some(("`nat add` adds a rule", "write -A or -I, or `nat del`")),
            Ok(_) => Some(("`nat del` deletes a rule", "write -D, or `nat add`")),
            Err(mistake) => return Err(wrong(&Mistakes::new("rule", &line, vec![mistake]))),
        };
        if let Some((message, help)) = place {
            let mistake = Mistake::new(0..2.min(line.len()), message, help);
            return Err(wrong(&Mistakes::new("rule", &line, vec![mistake])));
        }
        tell(&self.control, Request::Nat { line })
    }

    /// All that stands behind the first word of a rule is the rule's, says clap; our one option is not.
    fn take_control(&mut self) -> Result<(), Failure> {
        let Some(place) = self.words.iter().position(|word| word == "--control") else {
            let given = self.words.iter().position(|word| word.starts_with("--control="));
            if let Some(place) = given {
                self.control.path = PathBuf::from(&self.words.remove(place)["--control=".len()..]);
            }
            return Ok(());
        };
        self.words.remove(place);
        if place >= self.words.len() {
            return Err(Failure::wrong("--control has no value; write --control PATH"));
        }
        self.control.path = PathBuf::from(self.words.remove(place));
        Ok(())
    }
}

/// One line of what the shell has cut into words. A chain alone says what the command says.
fn line(words: &[String], adds: bool) -> String {
    let mut line = String::new();
    for (index, word) in words.iter().enumerate() {
        let is_comment = index > 0 && words[index - 1] == "--comment";
        let gap = if index == 0 { "" } else { " " };
        line += gap;
        line += &if is_comment { rules::quoted(word) } else { word.clone() };
    }
    let is_chain = |name: &str| line.split_whitespace().next() == Some(name);
    if is_chain("PREROUTING") || is_chain("POSTROUTING") {
        line.insert_str(0, if adds { "-A " } else { "-D " });
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(words: &[&str], adds: bool) -> String {
        line(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>(), adds)
    }

    #[test]
    fn a_rule_in_words_is_the_rule_in_quotes() {
        let rule = "-A POSTROUTING -s 10.0.0.0/8 ! -d 10.0.0.0/8 -j MASQUERADE";
        assert_eq!(joined(&[rule], true), rule);
        assert_eq!(joined(&rule.split(' ').collect::<Vec<_>>(), true), rule);
        let commented =
            ["-A", "POSTROUTING", "-m", "comment", "--comment", "the \"web\" server", "-j", "ACCEPT"];
        let expected = r#"-A POSTROUTING -m comment --comment "the \"web\" server" -j ACCEPT"#;
        assert_eq!(joined(&commented, true), expected);
    }

    #[test]
    fn a_chain_alone_says_what_the_command_says() {
        assert_eq!(joined(&["PREROUTING", "3"], false), "-D PREROUTING 3");
        assert_eq!(joined(&["PREROUTING -j ACCEPT"], true), "-A PREROUTING -j ACCEPT");
    }
}
