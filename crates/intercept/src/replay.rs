//! Calls that a signal interrupted while they were answered.
//!
//! The kernel may make a program's thread repeat a call although we have answered it, or after it has
//! told us that nobody waits for the answer. Reading options or making a socket twice does no harm; but
//! `bind`, `connect`, `shutdown`, the reading of `SO_ERROR`, and what was sent or received, have happened the
//! first time, and are answered as they were.

use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::request::Request;
use crate::syscall::Call;

const SOL_SOCKET: i32 = 1;
const SO_ERROR: i32 = 4;

/// Who repeats a call does it at once.
const SOON: Duration = Duration::from_millis(10);

/// Unless one signal after the other keeps the thread busy. What succeeded once and cannot succeed again is
/// known for a repeated call for as long, when the kernel took the answer.
const LATER: Duration = Duration::from_secs(1);

/// What a call was answered that has an effect.
#[derive(Clone, Debug)]
pub(crate) struct LastReply {
    call: Call,
    thread: u32,
    instruction: u64,
    arguments: [u64; 6],
    answer: Result<i64, Errno>,
    /// The kernel has said that nobody waits for it.
    pub(crate) lost: bool,
    at: Instant,
}

impl LastReply {
    /// Remembers an answer, if repeating the call would have another.
    pub(crate) fn of(
        request: &Request,
        answer: Result<i64, Errno>,
        lost: bool,
        at: Instant,
    ) -> Option<Self> {
        let matters = match request.call {
            Call::Bind | Call::Connect | Call::Shutdown => true,
            Call::GetOption => (request.int(1), request.int(2)) == (SOL_SOCKET, SO_ERROR),
            // What was sent or taken out is that for good.
            Call::SendTo | Call::SendMessage | Call::SendMessages => answer.is_ok(),
            Call::ReceiveFrom | Call::ReceiveMessage | Call::ReceiveMessages => answer.is_ok(),
            _ => false,
        };
        let Request { call, thread, instruction, arguments, .. } = *request;
        matters.then_some(Self { call, thread, instruction, arguments, answer, lost, at })
    }

    /// What `request` is answered, when it is the same call once more.
    ///
    /// A thread that was not told goes on where it was, and knows nothing of the answer, however late that is:
    /// handlers of signals take any time, and a thread to which signals come faster than it can handle them
    /// loses answer after answer. Only what it received is given up after a while, because the memory that it
    /// was written to may hold something else by then.
    ///
    /// `connects`: the socket is still where `connect` left it. `catches_signals`: the thread's process
    /// has handlers, without which no call is repeated.
    pub(crate) fn repeats(
        &self,
        request: &Request,
        connects: bool,
        now: Instant,
        catches_signals: impl FnOnce() -> bool,
    ) -> Option<Result<i64, Errno>> {
        let same = (self.call, self.thread, self.instruction, self.arguments)
            == (request.call, request.thread, request.instruction, request.arguments);
        if !same {
            return None;
        }
        let age = now.saturating_duration_since(self.at);
        if self.lost {
            use Call::{ReceiveFrom, ReceiveMessage, ReceiveMessages};
            let receives = matches!(self.call, ReceiveFrom | ReceiveMessage | ReceiveMessages);
            return (!receives || age <= SOON).then_some(self.answer);
        }
        // An answer that the kernel took may be lost all the same. Then it shows in what follows.
        let tells = match (self.call, self.answer) {
            (Call::Bind | Call::Connect | Call::Shutdown, Ok(_)) => age <= LATER,
            (Call::Connect, Err(Errno::INPROGRESS)) => connects && age <= SOON,
            _ => false,
        };
        (tells && catches_signals()).then_some(self.answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(call: Call, thread: u32) -> Request {
        Request { id: 1, thread, call, instruction: 7, arguments: [3; 6], done: 0, traced: None }
    }

    #[test]
    fn a_lost_answer_is_given_again_whenever_the_call_is_repeated() {
        let now = Instant::now();
        let shutdown = request(Call::Shutdown, 1);
        let lost = LastReply::of(&shutdown, Ok(0), true, now).unwrap();
        assert_eq!(lost.repeats(&shutdown, false, now, || true), Some(Ok(0)));
        assert_eq!(
            lost.repeats(&request(Call::Shutdown, 2), false, now, || true),
            None,
            "another thread"
        );
        assert_eq!(
            lost.repeats(&request(Call::Bind, 1), false, now, || true),
            None,
            "another call"
        );
        let much_later = now + Duration::from_secs(3600);
        assert_eq!(lost.repeats(&shutdown, false, much_later, || false), Some(Ok(0)));
        let heard = LastReply::of(&shutdown, Ok(0), false, now).unwrap();
        assert_eq!(heard.repeats(&shutdown, false, now, || true), Some(Ok(0)));
        assert_eq!(heard.repeats(&shutdown, false, now, || false), None, "it was meant");
        let in_a_second = now + Duration::from_secs(1);
        assert_eq!(heard.repeats(&shutdown, false, in_a_second, || true), Some(Ok(0)));
        let later = in_a_second + Duration::from_millis(1);
        assert_eq!(heard.repeats(&shutdown, false, later, || true), None, "it was meant");
        assert!(LastReply::of(&request(Call::GetSockName, 1), Ok(0), true, now).is_none());
    }

    #[test]
    fn what_was_sent_is_not_sent_again_when_the_answer_is_lost() {
        let now = Instant::now();
        let send = request(Call::SendTo, 1);
        let lost = LastReply::of(&send, Ok(5), true, now).unwrap();
        assert_eq!(lost.repeats(&send, false, now, || true), Some(Ok(5)));
        let heard = LastReply::of(&send, Ok(5), false, now).unwrap();
        assert_eq!(heard.repeats(&send, false, now, || true), None, "the same bytes once more");
        assert!(LastReply::of(&send, Err(Errno::AGAIN), true, now).is_none());
    }

    #[test]
    fn what_was_received_is_given_up_when_nobody_asks_again_soon() {
        let now = Instant::now();
        let receive = request(Call::ReceiveFrom, 1);
        let lost = LastReply::of(&receive, Ok(5), true, now).unwrap();
        let soon = now + SOON;
        assert_eq!(lost.repeats(&receive, false, soon, || true), Some(Ok(5)));
        let later = soon + Duration::from_millis(1);
        assert_eq!(lost.repeats(&receive, false, later, || true), None);
    }

    #[test]
    fn a_connection_under_way_answers_as_it_began() {
        let now = Instant::now();
        let connect = request(Call::Connect, 1);
        let begun = LastReply::of(&connect, Err(Errno::INPROGRESS), false, now).unwrap();
        assert_eq!(begun.repeats(&connect, true, now, || true), Some(Err(Errno::INPROGRESS)));
        assert_eq!(begun.repeats(&connect, false, now, || true), None);
        let later = now + Duration::from_millis(11);
        assert_eq!(begun.repeats(&connect, true, later, || true), None);
        assert_eq!(begun.repeats(&connect, true, now, || false), None, "it was meant");
        let refused = LastReply::of(&connect, Err(Errno::CONNREFUSED), false, now).unwrap();
        assert_eq!(refused.repeats(&connect, true, now, || true), None);
    }
}
