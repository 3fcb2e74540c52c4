//! From a line's text to what it says. What isn't understood is pointed at; nothing is passed over.

use engine::report::Chain;
use nat_engine::{Condition, Match, PortList};
use packet::Protocol;

use super::target::{self, TargetWords};
use super::value;
use super::words::{Reader, Word, words};
use super::{Edit, Interfaces, Line, Rule};
use crate::mistake::{Mistake, suggestion};

/// What `text` says. `-i` and `-o` name one of `interfaces`.
///
/// # Errors
/// The first word that is wrong, with its bytes in `text`.
pub fn parse(text: &str, interfaces: &Interfaces) -> Result<Line, Mistake> {
    let words = words(text)?;
    let mut reader = Reader::new(&words, text.len());
    let (command, chain) = command(&mut reader)?;
    let edit = match (command, number(&mut reader)?) {
        (Command::Append, None) => Edit::Append(rule(&mut reader, chain, interfaces)?),
        (Command::Append, Some((_, place))) => {
            let help = "write `-I` for a rule in between";
            return Err(place.wrong("`-A` takes no number: it adds the last rule", help));
        }
        (Command::Insert, number) => {
            let number = number.map_or(1, |(number, _)| number);
            Edit::Insert(number, rule(&mut reader, chain, interfaces)?)
        }
        (Command::Delete, None) => Edit::Delete(rule(&mut reader, chain, interfaces)?),
        (Command::Delete, Some((number, _))) => match reader.next() {
            None => Edit::DeleteNumber(number),
            Some(word) => {
                return Err(word.wrong("nothing follows a rule's number", "remove the rest of the line"));
            }
        },
    };
    Ok(Line { chain, edit })
}

enum Command {
    Append,
    Insert,
    Delete,
}

/// `[-t nat] -A CHAIN`.
fn command(reader: &mut Reader<'_>) -> Result<(Command, Chain), Mistake> {
    const START: &str = "write `-A POSTROUTING` or `-A PREROUTING` first";
    let mut word = reader.next().ok_or_else(|| reader.missing("the line has no rule", START))?;
    if matches!(word.text.as_str(), "-t" | "--table") {
        let table = reader.value(word, "nat")?;
        if table.text != "nat" {
            return Err(table.wrong(format!("there is no table `{}` here", table.text), "write nat"));
        }
        word = reader.next().ok_or_else(|| reader.missing("the line has no rule", START))?;
    }
    let command = match word.text.as_str() {
        "-A" | "--append" => Command::Append,
        "-I" | "--insert" => Command::Insert,
        "-D" | "--delete" => Command::Delete,
        "iptables" => return Err(word.wrong("the line begins after `iptables -t nat`", START)),
        other => return Err(word.wrong(format!("`{other}` doesn't begin a rule"), START)),
    };
    let name = reader.value(word, "POSTROUTING")?;
    let chain = match name.text.as_str() {
        "PREROUTING" => Chain::Prerouting,
        "POSTROUTING" => Chain::Postrouting,
        "INPUT" | "OUTPUT" => {
            let message =
                format!("{} is for the host's own traffic, of which the switch has none", name.text);
            return Err(name.wrong(message, "write PREROUTING or POSTROUTING, or remove the rule"));
        }
        other => {
            let help = "write PREROUTING or POSTROUTING; rules of a chain of one's own go there too";
            return Err(name.wrong(format!("there is no chain `{other}`"), help));
        }
    };
    Ok((command, chain))
}

/// A rule's number and where it stands, if there is one.
fn number<'a>(reader: &mut Reader<'a>) -> Result<Option<(usize, &'a Word)>, Mistake> {
    let digits = |word: &&Word| word.text.bytes().all(|byte| byte.is_ascii_digit());
    let Some(word) = reader.peek().filter(digits) else { return Ok(None) };
    reader.next();
    match value::number(&word.text) {
        Some(number @ 1..) => Ok(Some((number as usize, word))),
        _ => Err(word.wrong(format!("`{}` is no rule's number", word.text), "write 1 for the first rule")),
    }
}

/// The rest of a line.
fn rule<'a>(reader: &mut Reader<'a>, chain: Chain, interfaces: &'a Interfaces) -> Result<Rule, Mistake> {
    let mut draft = Draft::new(chain, interfaces);
    while let Some(word) = reader.next() {
        if word.text == "!" {
            match reader.next() {
                Some(option) => draft.option(reader, option, Some(word))?,
                None => {
                    return Err(word.wrong("`!` stands before an option", "write for example `! -d ADDRESS`"));
                }
            }
        } else {
            draft.option(reader, word, None)?;
        }
    }
    draft.finish(reader)
}

/// A rule that is being read.
struct Draft<'a> {
    chain: Chain,
    interfaces: &'a Interfaces,
    input: Option<Condition<String>>,
    output: Option<Condition<String>>,
    matches: Match,
    /// The first option that TCP or UDP must have been named for.
    needs_ports: Option<&'a Word>,
    /// The values of `-m`.
    modules: Vec<&'a Word>,
    target: Option<&'a Word>,
    /// The target's option, and its value.
    to: Option<(&'a Word, &'a Word)>,
}

impl<'a> Draft<'a> {
    fn new(chain: Chain, interfaces: &'a Interfaces) -> Self {
        Self {
            chain,
            interfaces,
            input: None,
            output: None,
            matches: Match::default(),
            needs_ports: None,
            modules: Vec::new(),
            target: None,
            to: None,
        }
    }

    /// Reads what stands behind `option`, which may have a `!` before it.
    fn option(
        &mut self,
        reader: &mut Reader<'a>,
        option: &'a Word,
        not: Option<&'a Word>,
    ) -> Result<(), Mistake> {
        let negated = not.is_some();
        match option.text.as_str() {
            "-s" | "--source" | "--src" => {
                let value = value::network(reader.value(option, "ADDRESS")?)?;
                set(&mut self.matches.source, option, Condition { value, negated })
            }
            "-d" | "--destination" | "--dst" => {
                let value = value::network(reader.value(option, "ADDRESS")?)?;
                set(&mut self.matches.destination, option, Condition { value, negated })
            }
            "-i" | "--in-interface" => {
                let value = self.interface(option, reader.value(option, "NAME")?)?;
                set(&mut self.input, option, Condition { value, negated })
            }
            "-o" | "--out-interface" => {
                let value = self.interface(option, reader.value(option, "NAME")?)?;
                set(&mut self.output, option, Condition { value, negated })
            }
            "-p" | "--protocol" | "--proto" => {
                self.protocol(option, reader.value(option, "PROTOCOL")?, negated)
            }
            "--sport" | "--source-port" => {
                let value = value::ports(reader.value(option, "PORT")?)?;
                self.ports(option, Side::Source, Condition { value, negated })
            }
            "--dport" | "--destination-port" => {
                let value = value::ports(reader.value(option, "PORT")?)?;
                self.ports(option, Side::Destination, Condition { value, negated })
            }
            "--sports" | "--source-ports" => {
                let value = self.port_list(option, reader.value(option, "PORTS")?)?;
                self.ports(option, Side::Source, Condition { value, negated })
            }
            "--dports" | "--destination-ports" => {
                let value = self.port_list(option, reader.value(option, "PORTS")?)?;
                self.ports(option, Side::Destination, Condition { value, negated })
            }
            _ => match not {
                Some(not) => Err(not.wrong(format!("`{}` can't be negated", option.text), "remove the `!`")),
                None => self.plain_option(reader, option),
            },
        }
    }

    /// An option that has no opposite.
    fn plain_option(&mut self, reader: &mut Reader<'a>, option: &'a Word) -> Result<(), Mistake> {
        match option.text.as_str() {
            "-m" | "--match" => self.module(reader.value(option, "MODULE")?),
            "--comment" => self.comment(option, reader.value(option, "\"TEXT\"")?),
            "-j" | "--jump" => {
                let target = reader.value(option, "TARGET")?;
                set(&mut self.target, option, target)
            }
            "--to-source" | "--to-destination" | "--to" | "--to-ports" | "--to-port" => {
                let value = reader.value(option, "…")?;
                set(&mut self.to, option, (option, value))
            }
            "--ports" | "--port" => {
                let help = "write two rules, one with --sports and one with --dports";
                Err(option.wrong(format!("`{}`, of either side, is not supported", option.text), help))
            }
            "--random" | "--random-fully" | "--persistent" => {
                let message = format!("`{}` can't be chosen", option.text);
                let help = "remove it: a source port is kept where it is free, or else one that nobody can guess, and \
                            an inside address keeps its outside address";
                Err(option.wrong(message, help))
            }
            other => {
                let message = format!("`{other}` is not understood");
                Err(option.wrong(message, suggestion(other, OPTIONS)))
            }
        }
    }

    fn interface(&self, option: &Word, name: &Word) -> Result<String, Mistake> {
        match (self.chain, option.text.as_str()) {
            (Chain::Prerouting, "-o" | "--out-interface") => {
                let message = "PREROUTING comes before routing: nobody knows yet where the packet goes";
                return Err(option.wrong(message, "write `-d` or `-i`"));
            }
            (Chain::Postrouting, "-i" | "--in-interface") => {
                let message = "POSTROUTING rules look at where a packet goes";
                return Err(option.wrong(message, "write `-s` or `-o`"));
            }
            _ => {}
        }
        let Interfaces::Known(known) = self.interfaces else { return Ok(name.text.clone()) };
        let mut found = known.iter().filter(|(word, _)| *word == name.text);
        match (found.next(), found.next()) {
            (Some((_, name)), None) => Ok(name.clone()),
            (Some((_, first)), Some((_, second))) => {
                let message = format!("`{}` is the device of two uplinks", name.text);
                Err(name.wrong(message, format!("write the uplink's name: {first} or {second}")))
            }
            (None, _) => {
                let names: Vec<&str> = known.iter().map(|(word, _)| word.as_str()).take(NAMES).collect();
                let message = format!("there is no network or uplink `{}`", name.text);
                Err(name.wrong(message, suggestion(&name.text, &names)))
            }
        }
    }

    fn protocol(&mut self, option: &Word, word: &Word, negated: bool) -> Result<(), Mistake> {
        match value::protocol(word)? {
            Some(value) => set(&mut self.matches.protocol, option, Condition { value, negated }),
            None if negated => Err(word.wrong("no packet has none of all protocols", "write one protocol")),
            None => Ok(()),
        }
    }

    fn ports(&mut self, option: &'a Word, side: Side, ports: Condition<PortList>) -> Result<(), Mistake> {
        self.needs_ports.get_or_insert(option);
        match side {
            Side::Source => set(&mut self.matches.source_ports, option, ports),
            Side::Destination => set(&mut self.matches.destination_ports, option, ports),
        }
    }

    fn port_list(&self, option: &Word, list: &Word) -> Result<PortList, Mistake> {
        self.loaded(option, "multiport")?;
        value::port_list(list)
    }

    fn comment(&mut self, option: &Word, text: &Word) -> Result<(), Mistake> {
        self.loaded(option, "comment")?;
        if text.text.len() > MAX_COMMENT || text.text.contains(char::is_control) {
            let help = format!("write {MAX_COMMENT} bytes at most, on one line");
            return Err(text.wrong("this can't be a comment", help));
        }
        set(&mut self.matches.comment, option, text.text.clone())
    }

    /// `option` needs the module before it.
    fn loaded(&self, option: &Word, module: &str) -> Result<(), Mistake> {
        if self.modules.iter().any(|word| word.text == module) {
            return Ok(());
        }
        let message = format!("`{}` is an option of the match `{module}`", option.text);
        Err(option.wrong(message, format!("write `-m {module}` before it")))
    }

    fn module(&mut self, module: &'a Word) -> Result<(), Mistake> {
        if !MODULES.contains(&module.text.as_str()) {
            let message = format!("there is no match `{}`", module.text);
            return Err(module.wrong(message, suggestion(&module.text, MODULES)));
        }
        self.modules.push(module);
        Ok(())
    }

    fn finish(self, reader: &Reader<'a>) -> Result<Rule, Mistake> {
        let protocol =
            self.matches.protocol.filter(|protocol| !protocol.negated).map(|protocol| protocol.value);
        self.check_modules(protocol)?;
        let has_ports = protocol.is_some_and(Protocol::has_ports);
        if let Some(option) = self.needs_ports.filter(|_| !has_ports) {
            return Err(
                option.wrong("only TCP, UDP, DCCP and UDP-Lite have ports", "write `-p tcp` or `-p udp` too")
            );
        }
        let Some(name) = self.target else {
            let help = "write for example `-j MASQUERADE` at its end";
            return Err(reader.missing("the rule has no target", help));
        };
        let target = TargetWords { chain: self.chain, name, to: self.to }.read()?;
        match self.to {
            Some((_, value)) if !has_ports && target::has_ports(&target) => {
                let help = "write `-p tcp` or `-p udp` too, or no port";
                Err(value.wrong("only TCP, UDP, DCCP and UDP-Lite have ports", help))
            }
            _ => Ok(Rule { input: self.input, output: self.output, matches: self.matches, target }),
        }
    }

    /// `-m tcp` and its like say again what `-p` says.
    fn check_modules(&self, protocol: Option<Protocol>) -> Result<(), Mistake> {
        let named = protocol.map(|protocol| protocol.to_string());
        let is_wrong = |word: &&&Word| {
            ["tcp", "udp", "icmp", "dccp", "udplite"].contains(&word.text.as_str())
                && Some(&word.text) != named.as_ref()
        };
        match self.modules.iter().find(is_wrong) {
            Some(module) => {
                let help = format!("write `-p {}`, or remove `-m {}`", module.text, module.text);
                Err(module.wrong("the match needs its protocol", help))
            }
            None => Ok(()),
        }
    }
}

#[derive(Clone, Copy)]
enum Side {
    Source,
    Destination,
}

/// Sets what is not set yet.
fn set<T>(place: &mut Option<T>, option: &Word, value: T) -> Result<(), Mistake> {
    if place.is_some() {
        return Err(option.wrong("the rule says this already", "remove one of the two, or write two rules"));
    }
    *place = Some(value);
    Ok(())
}

const MODULES: &[&str] = &["tcp", "udp", "icmp", "dccp", "udplite", "multiport", "comment"];
const OPTIONS: &[&str] = &[
    "-s",
    "-d",
    "-i",
    "-o",
    "-p",
    "--sport",
    "--dport",
    "-m",
    "--sports",
    "--dports",
    "--comment",
    "-j",
    "--to-source",
    "--to-destination",
    "--to-ports",
    "--to",
];
/// Names that a misspelt one is compared with, and that are shown, at most.
const NAMES: usize = 50;
/// In bytes, as iptables has it.
const MAX_COMMENT: usize = 255;
