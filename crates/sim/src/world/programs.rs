//! All the programs of a world: who runs when, and whether each got what it may expect.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;

use stack::{ConnectionId, Error, SocketId};
use wire::time::Instant;

use super::dice::Dice;
use super::host::Host;
use super::program::{Ending, Phase, Program, Turn, impatient};
use super::scenario::{Scenario, end_of};

/// Both ends of every flow: the client's at twice the flow's number, then the server's.
#[derive(Debug)]
pub struct Programs {
    programs: Vec<Program>,
    addresses: Vec<SocketAddr>,
    simultaneous: Vec<bool>,
    /// Whose a socket is, by its host.
    owners: HashMap<(usize, ConnectionId), usize>,
    /// When programs want to run without an event; some entries are not true any more.
    wakes: BinaryHeap<Reverse<(Instant, usize)>>,
    cookies: bool,
    scratch: Vec<u8>,
    /// Who ran since somebody asked.
    ran: Vec<usize>,
}

impl Programs {
    /// The programs of a world, before any ran.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Self {
        let cookies = scenario.has_cookies();
        let mut all = Self {
            programs: Vec::new(),
            addresses: Vec::new(),
            simultaneous: Vec::new(),
            owners: HashMap::new(),
            wakes: BinaryHeap::new(),
            cookies,
            scratch: Vec::new(),
            ran: Vec::new(),
        };
        for (number, flow) in scenario.flows.iter().enumerate() {
            let (a, b) = (number as u64 * 2, number as u64 * 2 + 1);
            let mut client = Program::new(flow.client, flow.plans[0].clone(), a, b);
            let mut server = Program::new(flow.server, flow.plans[1].clone(), b, a);
            if flow.absent {
                (client.phase, server.phase) = (Phase::Done, Phase::Done);
            } else {
                client.starts = Some(flow.start);
                server.starts = flow.simultaneous.then_some(flow.start);
            }
            for mut program in [client, server] {
                if cookies {
                    program.plan.options.keepalive = Some(impatient());
                }
                all.programs.push(program);
                all.note_wake(all.programs.len() - 1);
            }
            all.addresses.extend(scenario.addresses(number).into_iter().flatten());
            all.simultaneous.push(flow.simultaneous);
        }
        all
    }

    /// The program at an end: twice the flow's number, and one more for its server.
    #[must_use]
    pub fn get(&self, end: usize) -> Option<&Program> {
        self.programs.get(end)
    }

    /// When the next program wants to run without an event.
    pub fn next_wake(&mut self) -> Option<Instant> {
        while let Some(Reverse((at, end))) = self.wakes.peek() {
            if self.programs[*end].wake() == Some(*at) {
                return Some(*at);
            }
            self.wakes.pop();
        }
        None
    }

    /// Whether every program has closed its socket, or will never get one.
    #[must_use]
    pub fn are_done(&self) -> bool {
        self.pairs().all(|(client, server)| {
            let promised = !self.cookies && client.plan.is_graceful() && server.plan.is_graceful();
            let never = server.phase == Phase::Waiting && !promised;
            client.phase == Phase::Done && (server.phase == Phase::Done || never)
        })
    }

    /// How many bytes were read in all.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.programs.iter().map(|program| program.received).sum()
    }

    /// What programs are not done, one a line.
    #[must_use]
    pub fn leftovers(&self) -> Vec<String> {
        let open = |(_, (a, b)): &(usize, (&Program, &Program))| {
            a.phase != Phase::Done || b.phase != Phase::Done
        };
        let pairs = self.pairs().enumerate().filter(open);
        pairs.map(|(flow, (a, b))| format!("flow {flow}: client {a} server {b}")).collect()
    }

    /// Checks that both programs of each flow got what they may expect.
    ///
    /// # Errors
    /// When bytes are missing, or there was an error that nobody caused.
    pub fn check_end(&self) -> Result<(), String> {
        for (flow, (client, server)) in self.pairs().enumerate() {
            if !self.got_what_they_may_expect(client, server) {
                return Err(format!(
                    "not everything arrived: flow {flow}: client {client} server {server}"
                ));
            }
        }
        Ok(())
    }

    fn got_what_they_may_expect(&self, client: &Program, server: &Program) -> bool {
        let absent = client.starts.is_none();
        if self.cookies || absent {
            return true;
        }
        let closes = |program: &Program| program.plan.ending == Ending::ClosesAtOnce;
        let graceful = |program: &Program| program.plan.is_graceful();
        if graceful(client) && graceful(server) {
            client.is_complete(server) && server.is_complete(client)
        } else if closes(client) && server.plan.send == 0 && graceful(server) {
            // A close with nothing unread loses nothing, however much is in flight.
            server.is_complete(client)
        } else if closes(server) && client.plan.send == 0 && graceful(client) {
            client.is_complete(server)
        } else {
            true
        }
    }

    /// Runs the programs of a host that have a reason to: an event of their socket, or the time.
    /// Says whether any did.
    ///
    /// # Errors
    /// When a program reads other bytes than were sent, or a call fails that must not.
    pub fn run(
        &mut self,
        number: usize,
        host: &mut Host,
        now: Instant,
        dice: &mut Dice,
    ) -> Result<bool, String> {
        let mut ran = false;
        while let Some(event) = host.stack.poll_event() {
            ran = true;
            match event.socket {
                SocketId::Listener(_) => self.accept(number, host, now)?,
                SocketId::Connection(id) => {
                    if let Some(end) = self.owners.get(&(number, id)) {
                        self.turn(*end, host, now, dice)?;
                    }
                }
                _ => {}
            }
        }
        let mut others = Vec::new();
        while self.next_wake().is_some_and(|at| at <= now) {
            let Some(Reverse((at, end))) = self.wakes.pop() else { break };
            if self.programs[end].host == number {
                ran = true;
                self.turn(end, host, now, dice)?;
            } else {
                others.push(Reverse((at, end)));
            }
        }
        self.wakes.extend(others);
        Ok(ran)
    }

    /// A program that ran since it was asked for the last time.
    pub fn next_that_ran(&mut self) -> Option<usize> {
        self.ran.pop()
    }

    /// Whether a program of another host than those that ran wants to run at `now`.
    #[must_use]
    pub fn due_host(&mut self, now: Instant) -> Option<usize> {
        self.next_wake().filter(|at| *at <= now)?;
        self.wakes.peek().map(|Reverse((_, end))| self.programs[*end].host)
    }

    fn turn(
        &mut self,
        end: usize,
        host: &mut Host,
        now: Instant,
        dice: &mut Dice,
    ) -> Result<(), String> {
        let addresses = (self.addresses[end], self.addresses[end ^ 1]);
        let program = &mut self.programs[end];
        let mut turn = Turn { stack: &mut host.stack, now, dice, scratch: &mut self.scratch };
        if program.phase == Phase::Waiting {
            program.connect(&mut turn, addresses.0, addresses.1)?;
            if let Some(id) = program.socket() {
                self.owners.insert((program.host, id), end);
            }
        } else {
            program.run(&mut turn)?;
        }
        self.note_wake(end);
        self.ran.push(end);
        Ok(())
    }

    fn note_wake(&mut self, end: usize) {
        if let Some(at) = self.programs[end].wake() {
            self.wakes.push(Reverse((at, end)));
        }
    }

    /// Accepts what waits, and gives each connection to the server program of its client.
    fn accept(&mut self, number: usize, host: &mut Host, now: Instant) -> Result<(), String> {
        let Some(listener) = host.listener else { return Ok(()) };
        loop {
            let (id, remote) = match host.stack.accept(now, listener) {
                Err(Error::WouldBlock) => return Ok(()),
                Err(error) => return Err(format!("accept failed: {error}")),
                Ok(accepted) => accepted,
            };
            let end = self.server_of(remote).filter(|end| self.programs[*end].host == number);
            let Some(end) = end else {
                return Err(format!("accepted a connection of {remote}, which nobody made"));
            };
            let program = &mut self.programs[end];
            if program.phase != Phase::Waiting {
                if !self.cookies {
                    return Err(format!("accepted a second connection of {remote}"));
                }
                host.stack.close(now, id);
                continue;
            }
            // The peer may have reset it while it waited in the queue.
            let options = program.plan.options.clone();
            if let Err(error) = host.stack.set_tcp_options(now, id, options) {
                program.error = Some(error);
            }
            program.opened(id, now);
            self.owners.insert((number, id), end);
            self.note_wake(end);
        }
    }

    /// The server program for a client's address.
    fn server_of(&self, client: SocketAddr) -> Option<usize> {
        let (flow, 0) = end_of(client.port(), 0)? else { return None };
        let known = self.addresses.get(flow * 2).is_some_and(|a| *a == client);
        (known && !self.simultaneous[flow]).then_some(flow * 2 + 1)
    }

    fn pairs(&self) -> impl Iterator<Item = (&Program, &Program)> {
        self.programs.chunks_exact(2).map(|pair| (&pair[0], &pair[1]))
    }
}
