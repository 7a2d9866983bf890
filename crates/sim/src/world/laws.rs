//! What must be true of every connection's inside, as `TCP_INFO` shows it after each turn.
//!
//! | what | source |
//! |---|---|
//! | the congestion window is at least one segment | RFC 5681 3.1 |
//! | the threshold is at least two segments | RFC 5681 3.1 (4) |
//! | after a timeout the window is no larger than before | RFC 5681 3.1 |
//! | a window grows by no more than what was acknowledged | RFC 5681 3.1 (2) |
//! | without loss, no more is in flight than the window, and two segments more | RFC 3042 2 |
//! | the queues hold no more than the program allowed | |
//! | nothing is acknowledged or sent again that was not sent | |
//! | the retransmission timeout keeps within its limits | RFC 6298 2.4, 2.5 |
//! | no round trip is shorter than the path | RFC 6298 3 |
//! | who waits for an answer has a timer | RFC 6298 5.1, RFC 9293 3.8.6.1 |

use stack::info::Repair;
use stack::{SocketEntry, Stack, State, TcpInfo};
use wire::time::Duration;

use super::program::Program;

/// Timestamps have ticks of a millisecond (RFC 7323 5.4): a round trip may look one shorter at each
/// end.
const TICKS: Duration = Duration::from_millis(2);

/// What a send buffer that sizes itself holds at most (`Config::send_buffer`).
const LARGEST_SEND_BUFFER: usize = 4 << 20;

/// What was true of each end the last time.
#[derive(Debug)]
pub struct Laws {
    ends: Vec<Last>,
    /// The shortest that a round trip of each flow can be.
    shortest: Vec<Duration>,
}

#[derive(Clone, Debug, Default)]
struct Last {
    info: Option<TcpInfo>,
    /// The largest congestion window so far: what an undo may go back to.
    largest_window: u64,
    /// The retransmission timer fired since.
    timed_out: bool,
}

impl Laws {
    /// For flows whose round trips take at least so long.
    #[must_use]
    pub fn new(shortest: Vec<Duration>) -> Self {
        Self { ends: vec![Last::default(); shortest.len() * 2], shortest }
    }

    /// The retransmission timer of an end fired.
    pub fn timed_out(&mut self, end: usize) {
        if let Some(last) = self.ends.get_mut(end) {
            last.timed_out = true;
        }
    }

    /// Looks at an end after a turn.
    ///
    /// # Errors
    /// With the law that it breaks.
    pub fn check(&mut self, end: usize, program: &Program, info: TcpInfo) -> Result<(), String> {
        let Some(last) = self.ends.get_mut(end) else { return Ok(()) };
        check_window(last, &info)?;
        check_counts(last, program, &info)?;
        if let (Some(min), Some(shortest)) = (info.min_rtt, self.shortest.get(end / 2))
            && min + TICKS < *shortest
        {
            return Err(format!("a round trip of {min:?}, but the path takes {shortest:?}"));
        }
        last.largest_window = last.largest_window.max(info.snd_cwnd);
        last.timed_out = false;
        last.info = Some(info);
        Ok(())
    }
}

fn check_window(last: &Last, info: &TcpInfo) -> Result<(), String> {
    let (window, mss) = (info.snd_cwnd, u64::from(info.snd_mss));
    // In recovery it is what proportional rate reduction lets out (RFC 9937 6).
    if window < mss && info.repair != Repair::Recovery {
        return Err(format!("a congestion window of {window} with segments of {mss}"));
    }
    // BBR has no threshold that means the same.
    let by_loss = matches!(info.congestion, "reno" | "cubic");
    if by_loss && info.snd_ssthresh < 2 * mss {
        return Err(format!("a threshold of {} with segments of {mss}", info.snd_ssthresh));
    }
    let Some(before) = last.info.as_ref().filter(|before| before.snd_mss == info.snd_mss) else {
        return Ok(());
    };
    if last.timed_out && window > before.snd_cwnd.max(mss) {
        return Err(format!(
            "after a timeout the window went from {} to {window}",
            before.snd_cwnd
        ));
    }
    let delivered = info.delivered.saturating_sub(before.delivered);
    // While losses are repaired, the window follows what is in flight (RFC 9937 6); an undo goes
    // back to what was (RFC 4015 3.2).
    let repairs = [info.repair, before.repair]
        .iter()
        .any(|repair| matches!(repair, Repair::Recovery | Repair::Loss));
    let reached = if info.undone > before.undone { last.largest_window } else { 0 };
    let most = before.snd_cwnd.max(reached) + delivered + mss;
    if by_loss && !repairs && window > most {
        let before = before.snd_cwnd;
        return Err(format!("the window went from {before} to {window} for {delivered} bytes"));
    }
    // A window that shrank takes nothing back, and a tail loss probe is beyond it (RFC 8985 7.3).
    let allowed = window.max(before.snd_cwnd).max(pipe(before)) + 2 * mss + 1;
    if !repairs && pipe(info) > allowed {
        return Err(format!("{} in flight, but the window is {window}", pipe(info)));
    }
    Ok(())
}

/// What is in flight, as far as the sender knows (RFC 6675 4).
fn pipe(info: &TcpInfo) -> u64 {
    u64::from(info.unacked.saturating_sub(info.sacked.saturating_add(info.lost)))
}

fn check_counts(last: &Last, program: &Program, info: &TcpInfo) -> Result<(), String> {
    let held = u64::from(info.sacked) + u64::from(info.lost);
    if held > u64::from(info.unacked) {
        return Err(format!("{held} bytes sacked or lost, but {} in flight", info.unacked));
    }
    // SYN and FIN take a place each.
    if info.bytes_acked > info.bytes_sent + 2 || info.bytes_retrans > info.bytes_sent {
        return Err(format!("counts that cannot be: {info:?}"));
    }
    if let Some(before) = &last.info
        && (info.bytes_acked < before.bytes_acked || info.bytes_received < before.bytes_received)
    {
        return Err(format!("a count went back: {before:?}, now {info:?}"));
    }
    let limits = &program.plan.options.rto;
    if info.rto > limits.max || info.rto < limits.min.min(limits.initial) {
        return Err(format!("a retransmission timeout of {:?}", info.rto));
    }
    // What is sent again after a timeout counts in both.
    let queued = u64::from(info.unacked).max(info.notsent);
    let limit = program.plan.options.send_buffer.unwrap_or(LARGEST_SEND_BUFFER);
    if queued > limit as u64 + 2 {
        return Err(format!("{queued} bytes wait to be sent, more than the buffer holds"));
    }
    Ok(())
}

/// What the buffers of all connections pin is within the budget of the stack.
///
/// # Errors
/// With both numbers.
pub fn check_memory(stack: &Stack) -> Result<(), String> {
    let (used, limit) = (stack.memory_used(), stack.config().memory_limit);
    if used > limit {
        return Err(format!("the buffers pin {used} bytes, more than the {limit} of the budget"));
    }
    Ok(())
}

/// Looks at a host's sockets while nothing happens: who waits for an answer has a timer.
///
/// # Errors
/// With the socket that would wait for ever.
pub fn check_timers(sockets: &[SocketEntry]) -> Result<(), String> {
    for entry in sockets {
        let Some(info) = &entry.info else { continue };
        let waits = info.unacked > 0 || info.notsent > 0;
        let lives = !matches!(entry.state, State::Closed | State::Listen | State::TimeWait);
        if waits && lives && entry.timer.is_none() {
            return Err(format!("it waits without a timer: {entry:?}"));
        }
    }
    Ok(())
}
