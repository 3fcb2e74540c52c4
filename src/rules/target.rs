//! What stands behind `-j`.

use engine::report::Chain;
use nat_engine::{PortRange, Target};

use super::words::Word;
use super::{chain_name, value};
use crate::mistake::{Mistake, suggestion};

/// The words about a rule's target.
pub(super) struct TargetWords<'a> {
    pub(super) chain: Chain,
    /// The target's name.
    pub(super) name: &'a Word,
    /// The target's option, and its value.
    pub(super) to: Option<(&'a Word, &'a Word)>,
}

impl<'a> TargetWords<'a> {
    pub(super) fn read(&self) -> Result<Target, Mistake> {
        self.check_chain()?;
        match self.name.text.as_str() {
            "ACCEPT" => self.without_option(Target::Accept),
            "RETURN" => self.without_option(Target::Return),
            "MASQUERADE" => Ok(Target::Masquerade { ports: self.to_ports()? }),
            "REDIRECT" => Ok(Target::Redirect { ports: self.to_ports()? }),
            "SNAT" => {
                let word = self.to("--to-source", "ADDRESS")?;
                let (addresses, ports) = value::sockets(word, &word.text)?;
                Ok(Target::Snat { addresses, ports })
            }
            "DNAT" => {
                let (addresses, ports, base) = value::destination(self.to("--to-destination", "ADDRESS")?)?;
                Ok(Target::Dnat { addresses, ports, base })
            }
            "NETMAP" => Ok(Target::Netmap(value::network(self.to("--to", "NETWORK")?)?)),
            other => {
                Err(self.name.wrong(format!("there is no target `{other}`"), suggestion(other, TARGETS)))
            }
        }
    }

    fn check_chain(&self) -> Result<(), Mistake> {
        let name = self.name.text.as_str();
        let (changes, chain) = match name {
            "SNAT" | "MASQUERADE" => ("source", Chain::Postrouting),
            "DNAT" | "REDIRECT" => ("destination", Chain::Prerouting),
            _ => return Ok(()),
        };
        if chain == self.chain {
            return Ok(());
        }
        let chain = chain_name(chain);
        let message = format!("{name} changes the {changes}, which is for {chain}");
        Err(self.name.wrong(message, format!("write -A {chain}, or another target")))
    }

    /// The value of the option `option`, which the target must have.
    fn to(&self, option: &str, example: &str) -> Result<&'a Word, Mistake> {
        match self.to {
            // Short for it, as iptables' option parser has it.
            Some((word, value)) if word.text == option || word.text == "--to" => Ok(value),
            Some((word, _)) => Err(self.foreign(word, format!("write `{option}`"))),
            None => {
                let name = &self.name.text;
                let help = format!("write `-j {name} {option} {example}`");
                Err(self.name.wrong(format!("{name} doesn't say to what"), help))
            }
        }
    }

    fn to_ports(&self) -> Result<Option<PortRange>, Mistake> {
        match self.to {
            None => Ok(None),
            Some((word, value)) if matches!(word.text.as_str(), "--to-ports" | "--to-port") => {
                value::new_ports(value, &value.text).map(Some)
            }
            Some((word, _)) => Err(self.foreign(word, "write `--to-ports`, or remove it".to_owned())),
        }
    }

    fn without_option(&self, target: Target) -> Result<Target, Mistake> {
        match self.to {
            None => Ok(target),
            Some((word, _)) => Err(self.foreign(word, "remove it".to_owned())),
        }
    }

    /// `option` is another target's.
    fn foreign(&self, option: &Word, help: String) -> Mistake {
        option.wrong(format!("`{}` is no option of {}", option.text, self.name.text), help)
    }
}

/// Whether the target chooses ports.
pub(super) fn has_ports(target: &Target) -> bool {
    match target {
        Target::Masquerade { ports } | Target::Redirect { ports } => ports.is_some(),
        Target::Snat { ports, .. } | Target::Dnat { ports, .. } => ports.is_some(),
        Target::Accept | Target::Return | Target::Netmap(_) | Target::Balance(_) => false,
    }
}

const TARGETS: &[&str] = &["SNAT", "MASQUERADE", "DNAT", "REDIRECT", "NETMAP", "RETURN", "ACCEPT"];
