//! The states of both ends of every connection, as the stacks' traces tell them.

use stack::tcp::state::Event as StateEvent;
use stack::{FourTuple, State};

use super::scenario::end_of;

/// One end.
#[derive(Clone, Copy, Debug, Default)]
struct End {
    state: Option<State>,
    /// An old SYN that came again opened what had been closed. The other end will reset it, and may
    /// be anywhere.
    haunted: bool,
}

/// What state each end of each flow is in.
#[derive(Debug)]
pub struct States {
    ends: Vec<End>,
    /// The server answers with SYN cookies: an old ACK may open its connection again, while the
    /// other end is in any state.
    cookies: bool,
}

impl States {
    /// For a world of so many flows.
    #[must_use]
    pub fn new(flows: usize, cookies: bool) -> Self {
        Self { ends: vec![End::default(); flows * 2], cookies }
    }

    /// One end goes from one state to another.
    ///
    /// # Errors
    /// When the change is not an arrow of the figure, or the two ends cannot be in these states
    /// (RFC 9293 3.3.2).
    pub fn change(
        &mut self,
        tuple: FourTuple,
        from: State,
        to: State,
        cause: StateEvent,
    ) -> Result<(), String> {
        if from.on(cause) != Some(to) {
            return Err(format!("{tuple}: {from} to {to} by {cause} is no arrow of the figure"));
        }
        let Some((flow, side)) = end_of(tuple.local.port(), tuple.remote.port()) else {
            return Ok(());
        };
        let Some(end) = self.ends.get_mut(flow * 2 + side) else { return Ok(()) };
        let before = end.state.replace(to);
        end.haunted |= from == State::Listen && before.is_some();
        let continues = match before {
            // A connection that a SYN cookie proves begins in SYN-RECEIVED.
            None | Some(State::Closed) => {
                matches!(from, State::Closed | State::Listen | State::SynReceived)
            }
            Some(known) => known == from || (known == State::TimeWait && from == State::Listen),
        };
        if !continues {
            return Err(format!("{tuple}: was {before:?}, now goes from {from} to {to}"));
        }
        let both = [self.ends[flow * 2 + side], self.ends[flow * 2 + (1 - side)]];
        if let Some(other) = both[1].state
            && !self.cookies
            && !both.iter().any(|end| end.haunted)
            && (!fit(to, other) || !fit(other, to))
        {
            return Err(format!("{tuple} is {to} while the other end is {other}"));
        }
        Ok(())
    }
}

/// Whether one end can be in `state` while the other is in `other`: what the first must have heard
/// from the second decides.
fn fit(state: State, other: State) -> bool {
    use State::*;
    match (state, other) {
        // Gone, or not there yet; or a new connection meets the rest of an old one.
        (Closed | Listen | SynSent | SynReceived, _) | (_, Closed | Listen | SynSent) => true,
        // Our FIN is not out: nobody can have seen it.
        (Established, CloseWait | LastAck | Closing | TimeWait | FinWait2) => false,
        // We saw their FIN: they must have sent it.
        (CloseWait | LastAck | Closing | TimeWait, Established | CloseWait | SynReceived) => false,
        // They sent FIN before they could see ours.
        (CloseWait, Closing | LastAck | TimeWait) => false,
        (LastAck, Closing | LastAck) => false,
        (Closing, LastAck) => false,
        // They acknowledged our FIN, and we did not see theirs.
        (FinWait2, Established | FinWait1 | SynReceived | FinWait2) => false,
        // They saw our FIN.
        (TimeWait, FinWait2) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_fit_or_do_not() {
        use State::*;
        assert!(
            fit(Established, SynReceived) && fit(FinWait2, CloseWait) && fit(Closing, TimeWait)
        );
        assert!(
            !fit(Established, CloseWait) && !fit(FinWait2, FinWait2) && !fit(CloseWait, CloseWait)
        );
    }
}
