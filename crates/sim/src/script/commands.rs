//! What stands between backticks. Nothing is ever given to a shell or executed.
//!
//! A text is split into commands as a shell would split it. Each is one of those that scripts use
//! to prepare Linux:
//!
//! * `sysctl [-q] [-w] [-e] name=value …`, `echo value > /proc/sys/…` and
//!   `…/set_sysctls.py /proc/sys/…=value …` name settings, which [`settings`](super::settings)
//!   knows or not;
//! * `…/defaults.sh` stands for [`DEFAULTS`], the settings that the scripts of packetdrill and of
//!   the Linux kernel begin with;
//! * commands about what does not exist here (queueing disciplines, offload of the device, caches
//!   of metrics, settings to be restored) do nothing: [`NOTHING`].
//!
//! Everything else is not supported.

use super::{Problem, not_supported};

/// What a command asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Sets what has this sysctl name (`net.ipv4.tcp_sack`) to a value.
    Set(String, String),
    /// Does nothing here.
    Nothing,
}

/// What `defaults.sh` sets, where it is not Linux's own default.
pub const DEFAULTS: &[(&str, &str)] = &[
    ("net.ipv4.tcp_rmem", "4096 540000 15728640"),
    ("net.ipv4.tcp_wmem", "4096 262144 4194304"),
    ("net.ipv4.tcp_timestamps", "1"),
    ("net.ipv4.tcp_syn_retries", "5"),
    ("net.ipv4.tcp_synack_retries", "5"),
    ("net.ipv4.tcp_sack", "1"),
    ("net.ipv4.tcp_congestion_control", "cubic"),
    ("net.ipv4.tcp_slow_start_after_idle", "0"),
    ("net.ipv4.tcp_ecn", "0"),
    ("net.ipv4.tcp_syncookies", "1"),
];

/// Commands that do nothing here, by their first words, and why.
pub const NOTHING: &[(&str, &str)] = &[
    ("true", "it does nothing anywhere"),
    (":", "it does nothing anywhere"),
    ("ip tcp_metrics flush", "the stack keeps no metrics of earlier connections"),
    ("ip tcp_metrics delete", "the stack keeps no metrics of earlier connections"),
    ("tc qdisc", "the link of a script has no queue"),
    ("ethtool", "the link of a script offers no offload"),
    ("nstat", "counters start at zero with the script"),
];

/// Splits `text` into commands and tells what each asks for.
pub(super) fn effects(text: &str) -> Result<Vec<Effect>, Problem> {
    let mut found = Vec::new();
    for command in split(text) {
        let words: Vec<&str> = command.words.iter().map(String::as_str).collect();
        let shown = || not_supported(format!("the command `{}`", words.join(" ")));
        if command.piped {
            return Err(shown());
        }
        let Some((program, arguments)) = words.split_first() else { continue };
        let program = program.rsplit('/').next().unwrap_or(program);
        match program {
            "sysctl" => settings(arguments, &mut found).ok_or_else(shown)?,
            "set_sysctls.py" => settings(arguments, &mut found).ok_or_else(shown)?,
            "defaults.sh" => found.extend(
                DEFAULTS.iter().map(|(n, v)| Effect::Set((*n).to_string(), (*v).to_string())),
            ),
            "echo" => match command.writes_to.as_deref() {
                Some(path) if path.starts_with("/proc/sys/") || path.starts_with("/sys/") => {
                    found.push(Effect::Set(name(path), arguments.join(" ")));
                }
                Some("/dev/null") | None => {}
                Some(_) => return Err(shown()),
            },
            _ if program.starts_with("sysctl_restore_") => found.push(Effect::Nothing),
            _ => {
                let line = words.join(" ");
                // A queue that paces is something else than none.
                let paces = words.contains(&"fq") || words.contains(&"fq_codel");
                let known = !paces
                    && NOTHING.iter().any(|(start, _)| {
                        line.strip_prefix(start).is_some_and(|r| r.is_empty() || r.starts_with(' '))
                    });
                if !known {
                    return Err(shown());
                }
                found.push(Effect::Nothing);
            }
        }
    }
    Ok(found)
}

/// The settings among the arguments of `sysctl`; `None` when something else is there.
fn settings(arguments: &[&str], found: &mut Vec<Effect>) -> Option<()> {
    for word in arguments {
        match word.split_once('=') {
            Some((path, value)) => found.push(Effect::Set(name(path), value.trim().to_string())),
            None if word.starts_with('-') => {}
            // A name alone prints its value.
            None if word.contains("tcp") || word.contains("net") => found.push(Effect::Nothing),
            None => return None,
        }
    }
    Some(())
}

/// `/proc/sys/net/ipv4/tcp_sack`, `net/ipv4/tcp_sack` and `net.ipv4.tcp_sack` are one.
fn name(path: &str) -> String {
    path.strip_prefix("/proc/sys/").unwrap_or(path).trim_start_matches('/').replace('/', ".")
}

/// One command of a line.
#[derive(Default, Debug)]
struct Command {
    words: Vec<String>,
    /// `> path`.
    writes_to: Option<String>,
    /// It reads from another command, or writes to one.
    piped: bool,
}

/// Splits at line ends, `;`, `&&` and `||`, with quotes and backslashes as a shell reads them.
fn split(text: &str) -> Vec<Command> {
    let mut splitter = Splitter::default();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (splitter.quote, c) {
            (Some(quote), c) if c == quote => splitter.quote = None,
            (Some('\''), c) => splitter.push(c),
            (_, '\\') => match chars.next() {
                Some('\n') | None => {}
                Some(c) => splitter.push(c),
            },
            (Some(_), c) => splitter.push(c),
            (None, '\'' | '"') => {
                splitter.quote = Some(c);
                splitter.in_word = true;
            }
            (None, '#') if !splitter.in_word => while chars.next_if(|c| *c != '\n').is_some() {},
            (None, '>') => splitter.redirect(),
            (None, '&' | '|') => {
                let twice = chars.next_if_eq(&c).is_some();
                // `2>&1` is a redirection, and `a | b` a pipe.
                if c == '&' && !twice && splitter.redirects {
                    splitter.push(c);
                } else {
                    splitter.end_command(!twice && c == '|');
                }
            }
            (None, '\n' | ';') => splitter.end_command(false),
            (None, c) if c.is_whitespace() => splitter.end_word(),
            (None, c) => splitter.push(c),
        }
    }
    splitter.end_command(false);
    splitter.commands
}

#[derive(Default)]
struct Splitter {
    commands: Vec<Command>,
    command: Command,
    word: String,
    in_word: bool,
    quote: Option<char>,
    /// The next word is where output goes.
    redirects: bool,
}

impl Splitter {
    fn push(&mut self, c: char) {
        self.word.push(c);
        self.in_word = true;
    }

    /// `>`: a number just before it says of which output, and is no word.
    fn redirect(&mut self) {
        if self.word.len() == 1 && self.word.starts_with(|c: char| c.is_ascii_digit()) {
            self.word.clear();
            self.in_word = false;
        }
        self.end_word();
        self.redirects = true;
    }

    fn end_word(&mut self) {
        if !self.in_word {
            return;
        }
        let word = std::mem::take(&mut self.word);
        self.in_word = false;
        if !std::mem::take(&mut self.redirects) {
            self.command.words.push(word);
        } else if !word.starts_with('&') && word != "/dev/null" {
            self.command.writes_to = Some(word);
        }
    }

    fn end_command(&mut self, piped: bool) {
        self.end_word();
        self.redirects = false;
        self.command.piped |= piped;
        let command = std::mem::take(&mut self.command);
        if !command.words.is_empty() {
            self.commands.push(command);
        }
        self.command.piped = piped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> Vec<String> {
        let effects = effects(text).unwrap();
        let shown = effects.into_iter().filter_map(|effect| match effect {
            Effect::Set(name, value) => Some(format!("{name}={value}")),
            Effect::Nothing => None,
        });
        shown.collect()
    }

    #[test]
    fn the_three_ways_to_set_something() {
        let one = ["net.ipv4.tcp_sack=0"];
        assert_eq!(set("sysctl -q -w net.ipv4.tcp_sack=0 > /dev/null 2>&1"), one);
        assert_eq!(set("sysctl -q net/ipv4/tcp_sack=0 # off"), one);
        assert_eq!(set("echo 0 > /proc/sys/net/ipv4/tcp_sack"), one);
        assert_eq!(set("../../common/set_sysctls.py \\\n /proc/sys/net/ipv4/tcp_sack=0"), one);
    }

    #[test]
    fn several_commands_with_quotes() {
        let text = "tc qdisc replace dev tun0 root pfifo\n\
            sysctl -q net.ipv4.tcp_wmem=\"4096 50000 4194304\"; sysctl a.net=1 && true || :\n";
        assert_eq!(set(text), ["net.ipv4.tcp_wmem=4096 50000 4194304", "a.net=1"]);
        assert_eq!(set("`../common/defaults.sh`".trim_matches('`')).len(), DEFAULTS.len());
    }

    #[test]
    fn nothing_else_is_let_pass() {
        for text in [
            "rm -rf /",
            "tc qdisc add dev tun0 root fq",
            "nstat | grep TcpExt",
            "echo 1 > /etc/passwd",
            "truely",
            "a | b",
        ] {
            assert!(effects(text).is_err(), "{text}");
        }
    }
}
