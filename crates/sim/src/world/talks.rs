//! Questions and answers without a connection: datagrams of UDP and pings, most of them longer than
//! what a line takes, so that they travel in fragments.
//!
//! Nothing is promised of one that is sent while lines are bad, but that what is read is what was
//! sent. Once lines are healed a question asked again and again has an answer: each line on the way can
//! take one of them for telling how narrow it is. A question to a port where nobody listens is refused.
//! Where a line goes on losing what is as long as a question, and says nothing, there may be no answer ever:
//! who sends datagrams is not told, and does not search (RFC 4821 8).

use std::net::SocketAddr;

use stack::{Error, PingId, UdpId};
use wire::time::{Duration, Instant};

use super::host::{self, Host};
use super::scenario::Scenario;

/// The first talk's ports, of its client and its server; each talk has one of either to itself.
const CLIENT_PORT: u16 = 30_000;
const SERVER_PORT: u16 = 40_000;
/// A second between two questions.
const INTERVAL: Duration = Duration::from_secs(1);
/// How many questions after the healing may stay without an answer: for each of two lines there, and
/// two back, one that finds out how narrow it is, and as many that were under way.
const PATIENCE: u32 = 12;
/// The headers of IP, of a fragment and of UDP or ICMP, at most.
const HEADERS: usize = 40 + 8 + 8;
/// The longest ICMP error (RFC 4443 2.4, RFC 1812 4.3.2.3): a refusal that quotes all of a question.
const LONGEST_ERROR: usize = 1280;

/// What one talk is like.
#[derive(Clone, Debug)]
pub struct Talk {
    /// Who asks.
    pub client: usize,
    /// Who is asked.
    pub server: usize,
    /// How many bytes a question has, and its answer.
    pub length: usize,
    /// What it is.
    pub kind: Kind,
}

/// What a talk is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Datagrams, which a program sends back.
    Datagrams,
    /// Datagrams to a port where nobody listens.
    Refused,
    /// ICMP echo.
    Pings,
}

/// All talks of a world.
#[derive(Debug)]
pub struct Talks {
    talks: Vec<Talking>,
    /// When lines heal.
    heals: Instant,
    /// Some line damages packets: what two damaged fragments make can pass a checksum.
    corrupts: bool,
}

#[derive(Debug)]
struct Talking {
    plan: Talk,
    addresses: [SocketAddr; 2],
    ends: Ends,
    /// The number of the next question.
    next: u32,
    due: Instant,
    /// How many questions were asked after the healing.
    asked: u32,
    /// A question that is asked after the healing arrives, and so does its answer.
    promised: bool,
    done: bool,
}

#[derive(Clone, Copy, Debug)]
enum Ends {
    Sockets { client: UdpId, server: Option<UdpId> },
    Ping(PingId),
}

impl Talks {
    /// The talks of a world, before the first word: every socket is open.
    ///
    /// # Panics
    /// When a fresh host does not open a socket.
    #[must_use]
    pub fn new(scenario: &Scenario, hosts: &mut [Host]) -> Self {
        let talking = |(number, plan): (usize, &Talk)| {
            let address = |host, port: u16| {
                let number = u16::try_from(number).unwrap_or(u16::MAX);
                SocketAddr::new(host::address(scenario.family, host), port.saturating_add(number))
            };
            let addresses = [address(plan.client, CLIENT_PORT), address(plan.server, SERVER_PORT)];
            let ends = open(plan, addresses, hosts).expect("a fresh host opens a socket");
            let promised = is_promised(scenario, plan);
            let (plan, due) = (plan.clone(), Instant::from_millis(1));
            Talking { plan, addresses, ends, next: 0, due, asked: 0, promised, done: false }
        };
        let impairments = scenario.lines.iter().flat_map(|line| {
            line.changes.iter().map(|(_, impairment)| impairment).chain([&line.impairment])
        });
        let corrupts = impairments.into_iter().any(|impairment| impairment.corrupt > 0.0);
        let talks = scenario.talks.iter().enumerate().map(talking).collect();
        Self { talks, heals: scenario.heals.unwrap_or(Instant::FAR_FUTURE), corrupts }
    }

    /// When the last word is spoken at the latest, after the lines healed.
    #[must_use]
    pub fn longest() -> Duration {
        INTERVAL * (PATIENCE + 1)
    }

    /// When the next question is asked.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        self.talks.iter().filter(|talk| !talk.done).map(|talk| talk.due).min()
    }

    /// The host of a question that is due.
    #[must_use]
    pub fn due_host(&self, now: Instant) -> Option<usize> {
        let due = self.talks.iter().find(|talk| !talk.done && talk.due <= now)?;
        Some(due.plan.client)
    }

    /// Whether everything was said.
    #[must_use]
    pub fn are_done(&self) -> bool {
        self.talks.iter().all(|talk| talk.done)
    }

    /// Lets the talks of a host go on.
    ///
    /// # Errors
    /// When something is read that was not sent, when a call fails that must not, or when nothing comes
    /// back long after the lines healed.
    pub fn run(&mut self, number: usize, host: &mut Host, now: Instant) -> Result<(), String> {
        let healed = now >= self.heals;
        for (index, talk) in self.talks.iter_mut().enumerate() {
            let Talk { client, server, .. } = talk.plan;
            if client != number && server != number {
                continue;
            }
            if server == number {
                talk.answers(host, now);
            }
            if client == number {
                let heard = talk.hears(host, self.corrupts);
                talk.done |= heard.map_err(|what| format!("talk {index}: {what}"))? && healed;
                talk.asks(host, now, healed).map_err(|what| format!("talk {index}: {what}"))?;
            }
        }
        Ok(())
    }
}

/// Whether every line on the way there and back takes, once it is healed, a packet that holds the
/// question, and what answers it.
fn is_promised(scenario: &Scenario, plan: &Talk) -> bool {
    let question = plan.length + HEADERS;
    let answer = if plan.kind == Kind::Refused { LONGEST_ERROR } else { question };
    let ways = [
        ((plan.client, plan.server), question),
        ((plan.server, plan.client), answer.max(question)),
    ];
    ways.iter().all(|(way, length)| {
        let mut lines = scenario.routes.get(way).into_iter().flatten();
        lines.all(|line| {
            let line = &scenario.lines[*line];
            let last = line.changes.last().map_or(line.impairment, |(_, change)| *change);
            last.longest_packet.is_none_or(|longest| usize::from(longest.get()) >= *length)
        })
    })
}

/// The sockets of both ends.
fn open(plan: &Talk, addresses: [SocketAddr; 2], hosts: &mut [Host]) -> Result<Ends, Error> {
    let [here, there] = addresses;
    if plan.kind == Kind::Pings {
        return Ok(Ends::Ping(hosts[plan.client].stack.ping_open(Some(here.ip()))?));
    }
    let asks = &mut hosts[plan.client].stack;
    let client = asks.udp_bind(here)?;
    asks.udp_connect(client, there)?;
    let listens = plan.kind == Kind::Datagrams;
    let server = listens.then(|| hosts[plan.server].stack.udp_bind(there)).transpose()?;
    Ok(Ends::Sockets { client, server })
}

impl Talking {
    /// The question of a number: bytes that no other has.
    fn question(&self, number: u32) -> Vec<u8> {
        let own = number.wrapping_mul(0x9e37_79b9) ^ u32::from(self.addresses[0].port());
        let rest = (4..self.plan.length).map(|at| {
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            (own ^ at.wrapping_mul(0x85eb_ca6b)).to_be_bytes()[at as usize % 4]
        });
        number.to_be_bytes().into_iter().chain(rest).collect()
    }

    fn asks(&mut self, host: &mut Host, now: Instant, healed: bool) -> Result<(), String> {
        if self.done || self.due > now {
            return Ok(());
        }
        if self.asked > PATIENCE && !self.promised {
            self.done = true;
            return Ok(());
        }
        if self.asked > PATIENCE {
            return Err(format!("no answer, but {:?} were asked since lines healed", self.asked));
        }
        self.asked += u32::from(healed);
        self.due = now.after(INTERVAL);
        let question = self.question(self.next);
        self.next += 1;
        let sent = match self.ends {
            Ends::Sockets { client, .. } => host.stack.udp_send(now, client, &question).map(drop),
            Ends::Ping(id) => {
                let sequence = u16::try_from(self.next % 60_000).unwrap_or(0);
                host.stack.ping_send(now, id, self.addresses[1].ip(), sequence, &question)
            }
        };
        match sent {
            Ok(()) | Err(Error::WouldBlock) => Ok(()),
            Err(Error::ConnectionRefused) if self.plan.kind == Kind::Refused => {
                self.done |= healed;
                Ok(())
            }
            Err(error) => Err(format!("a question cannot be sent: {error}")),
        }
    }

    /// The server sends back what it reads.
    fn answers(&self, host: &mut Host, now: Instant) {
        let Ends::Sockets { server: Some(id), .. } = self.ends else { return };
        let mut buffer = vec![0; self.plan.length + 1];
        while let Ok((length, from)) = host.stack.udp_receive_from(id, &mut buffer) {
            let _ = host.stack.udp_send_to(now, id, &buffer[..length], from);
        }
    }

    /// Whether an answer came, or the refusal that was to come.
    fn hears(&self, host: &mut Host, corrupts: bool) -> Result<bool, String> {
        let mut heard = false;
        loop {
            let answer = match self.ends {
                Ends::Sockets { client, .. } => {
                    let mut buffer = vec![0; self.plan.length + 1];
                    let received = host.stack.udp_receive_from(client, &mut buffer);
                    received.map(|(length, _)| buffer[..length].to_vec())
                }
                Ends::Ping(id) => match host.stack.ping_receive(id) {
                    // What somebody on the way has to say is no answer.
                    Ok(reply) if reply.error.is_some() => continue,
                    other => other.map(|reply| reply.payload),
                },
            };
            match answer {
                Err(Error::WouldBlock) => return Ok(heard),
                Err(Error::ConnectionRefused) if self.plan.kind == Kind::Refused => heard = true,
                // Fragments did not all arrive in time, says the server's host (RFC 792).
                Err(Error::HostUnreachable) => {}
                // A datagram that is not cut was too long for the way: it is lost, and the next is cut.
                Err(Error::MessageTooBig) => {}
                Err(error) => return Err(format!("nothing to read but {error}")),
                Ok(answer) if self.is_question(&answer) => heard = true,
                Ok(_) if corrupts => {}
                Ok(answer) => {
                    let length = answer.len();
                    return Err(format!("{length} bytes that were never sent"));
                }
            }
        }
    }

    fn is_question(&self, answer: &[u8]) -> bool {
        let number = answer.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        number.is_some_and(|number| number < self.next && answer == self.question(number))
    }
}
