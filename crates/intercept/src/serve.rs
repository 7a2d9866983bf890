//! One call: whose it is, what becomes of it, what it is answered.

use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::io::Errno;

use crate::process;
use crate::replay::LastReply;
use crate::request::{Outcome, Request};
use crate::send::{raises_sigpipe, sent};
use crate::supervisor::Supervisor;
use crate::sys::seccomp::Notification;
use crate::syscall::{Architecture, Call};
use crate::table::{Key, Kind, Tcp};

const MSG_TRUNC: i32 = 0x20;
const MSG_ERRQUEUE: i32 = 0x2000;

impl Supervisor {
    /// Answers a call, or keeps it.
    pub(crate) fn serve(&mut self, notification: Notification) {
        let call = Architecture::NATIVE.and_then(|native| native.call(notification.number));
        let Some(call) = call else {
            self.notifier.let_continue(notification.id);
            return;
        };
        let interrupted = self.held.forget_thread(notification.thread);
        let Notification { id, thread, instruction, arguments, .. } = notification;
        let mut request =
            Request { id, thread, call, instruction, arguments, done: 0, traced: None };
        if let Some(interrupted) = interrupted.filter(|held| held.request.is_again(&request)) {
            request.done = interrupted.request.done;
        }
        if call == Call::Socket {
            self.describe(&mut request, None);
            let outcome = self.create(&request);
            self.settle(&request, None, outcome);
            return;
        }
        match self.find(&request) {
            Ok(Some((key, descriptor))) => {
                self.describe(&mut request, Some(key));
                let outcome = self.carry_out(key, &request, descriptor);
                self.settle(&request, Some(key), outcome);
            }
            Err(Errno::BADF) => {
                self.notifier.answer(id, Err(Errno::BADF));
            }
            // Not ours, or not to be known.
            Ok(None) | Err(_) => {
                self.notifier.let_continue(id);
            }
        }
    }

    /// The socket that a call is about, if it is one of ours, with a duplicate of its descriptor.
    fn find(&mut self, request: &Request) -> Result<Option<(Key, OwnedFd)>, Errno> {
        let place = request.place();
        let descriptor = self.processes.fetch(place)?;
        let Some(key) = self.table.find(&descriptor) else { return Ok(None) };
        if let Some(socket) = self.table.get_mut(key) {
            socket.place = place;
        }
        Ok(Some((key, descriptor)))
    }

    fn carry_out(&mut self, key: Key, request: &Request, descriptor: OwnedFd) -> Outcome {
        if let Some(answer) = self.repeated(key, request) {
            return Outcome::Answer(answer);
        }
        let is_udp = matches!(self.table.get(key).map(|socket| &socket.kind), Some(Kind::Udp(_)));
        self.tell_before(key, request, is_udp);
        let outcome = self.carry_out_as(key, request, descriptor, is_udp);
        self.tell_after(key, request, is_udp, outcome);
        outcome
    }

    fn carry_out_as(
        &mut self,
        key: Key,
        request: &Request,
        descriptor: OwnedFd,
        is_udp: bool,
    ) -> Outcome {
        match request.call {
            Call::Socket => Outcome::Continue,
            Call::Ioctl => self.ask_of_interfaces(key, request),
            Call::GetSockName => self.get_sock_name(key, request),
            Call::GetPeerName => self.get_peer_name(key, request),
            Call::GetOption => self.get_option(key, request, &descriptor),
            Call::SetOption => self.set_option(key, request, &descriptor),
            _ if is_udp => self.carry_out_udp(key, request, &descriptor),
            Call::Bind => self.bind(key, request),
            Call::Listen => self.listen(key, request, &descriptor),
            Call::Accept | Call::Accept4 => self.accept(key, request, &descriptor),
            Call::Connect => self.connect(key, request, descriptor),
            Call::Shutdown => self.shutdown(key, request, &descriptor),
            Call::SendTo | Call::SendMessage | Call::SendMessages => {
                self.send_stream(key, request, &descriptor)
            }
            // A stream has no queue of errors, and a pair knows no such flag.
            Call::ReceiveFrom if request.int(3) & MSG_ERRQUEUE != 0 => Outcome::fail(Errno::AGAIN),
            Call::ReceiveMessage if request.int(2) & MSG_ERRQUEUE != 0 => {
                Outcome::fail(Errno::AGAIN)
            }
            Call::ReceiveFrom if request.int(3) & MSG_TRUNC != 0 && request.arguments[1] == 0 => {
                self.throw_away(key, request, &descriptor)
            }
            // Names are nothing to a stream (Linux leaves them alone, too); the pair does the rest.
            Call::ReceiveFrom | Call::ReceiveMessage | Call::ReceiveMessages => Outcome::Continue,
        }
    }

    /// What the call is answered, when it is one that was answered already.
    fn repeated(&self, key: Key, request: &Request) -> Option<Result<i64, Errno>> {
        let socket = self.table.get(key)?;
        if request.call == Call::Connect && matches!(socket.kind, Kind::Udp(_)) {
            // It may well be for another peer; and once more for the same does no harm.
            return None;
        }
        let last = socket.last_reply.as_ref()?;
        let connects = matches!(socket.kind, Kind::Tcp(Tcp::Connecting(_)));
        let thread = request.thread;
        let catches_signals = || process::catches_signals(thread);
        last.repeats(request, connects, Instant::now(), catches_signals)
    }

    /// Gives the answer.
    pub(crate) fn settle(&mut self, request: &Request, key: Option<Key>, outcome: Outcome) {
        // The caller is gone, or was interrupted and calls again.
        if outcome == Outcome::fail(Errno::SRCH) {
            return;
        }
        if let Outcome::Answer(answer) = outcome
            && raises_sigpipe(request, answer)
        {
            process::raise_sigpipe(request.thread);
        }
        let heard = match outcome {
            Outcome::Answer(answer) => self.notifier.answer(request.id, answer),
            Outcome::Continue => self.notifier.let_continue(request.id),
            Outcome::Held | Outcome::Given(_) => true,
        };
        if let (Outcome::Answer(answer), Some(key)) = (outcome, key) {
            self.remember(request, key, answer, heard);
        }
        let result = match outcome {
            Outcome::Answer(answer) => answer,
            Outcome::Given(Some(descriptor)) => Ok(i64::from(descriptor)),
            Outcome::Continue | Outcome::Held | Outcome::Given(None) => return,
        };
        self.show(request, key, result);
    }

    /// Answers a call that was held. False when nobody waits for the answer any more.
    pub(crate) fn answer_held(
        &mut self,
        request: &Request,
        key: Key,
        answer: Result<i64, Errno>,
    ) -> bool {
        let heard = self.notifier.answer(request.id, answer);
        self.remember(request, key, answer, heard);
        if heard {
            self.show(request, Some(key), answer);
        }
        heard
    }

    /// Remembers an answer that a repeated call is to be given again. One that nobody heard is not forgotten for
    /// a call without effect, which may be a handler's.
    fn remember(&mut self, request: &Request, key: Key, answer: Result<i64, Errno>, heard: bool) {
        let Some(socket) = self.table.get_mut(key) else { return };
        if let Kind::Tcp(Tcp::Connected(connected)) = &mut socket.kind
            && request.call == Call::Connect
            && answer.is_ok()
            && heard
        {
            connected.unreported = false;
        }
        let reply = LastReply::of(request, answer, !heard, Instant::now());
        let waits = socket.last_reply.as_ref().is_some_and(|last| last.lost);
        if reply.is_some() || !waits {
            socket.last_reply = reply;
        }
    }

    /// Ends the calls that have waited for as long as they may.
    pub(crate) fn give_up_expired(&mut self) {
        if self.held.deadline().is_none() {
            return;
        }
        let now = Instant::now();
        while let Some(call) = self.held.take_expired(now) {
            // SO_SNDTIMEO and SO_RCVTIMEO, see socket(7).
            if call.request.done > 0 {
                // What was sent counts.
                let outcome = sent(&call.request, call.request.done);
                self.settle(&call.request, Some(call.key), outcome);
                continue;
            }
            let errno = match call.request.call {
                // Who waits once more is told so.
                Call::Connect if self.goes_on_alone(call.key) => Errno::ALREADY,
                Call::Connect => Errno::INPROGRESS,
                _ => Errno::AGAIN,
            };
            self.answer_held(&call.request, call.key, Err(errno));
        }
    }
}
