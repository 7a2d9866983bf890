//! Happy Eyeballs, version 2 (RFC 8305): whoever answers first wins, and nobody waits long for a family
//! that is silent.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

/// How long answers of IPv6 are waited for when those of IPv4 came first (RFC 8305 8, Resolution Delay).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// How long one attempt is alone before the next begins (RFC 8305 8, Connection Attempt Delay).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Looks up the addresses of one family.
pub(super) type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Tries to connect to one address.
pub(super) type Attempt<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// Where IPv6 stands, and where IPv4.
const V6: usize = 0;
const V4: usize = 1;

/// The first connection to one of the addresses that `lookups` find, of IPv6 and of IPv4, in the order into which
/// `sort` puts them (RFC 8305 4). The others are given up.
pub(super) async fn race<T>(
    lookups: [Lookup; 2],
    sort: impl Fn(&mut [IpAddr]),
    connect: impl Fn(IpAddr) -> Attempt<T>,
) -> io::Result<T> {
    let mut race = Race {
        lookups: lookups.map(Some),
        found: [VecDeque::new(), VecDeque::new()],
        next: None,
        attempts: Vec::new(),
        delay: None,
        failure: io::Error::new(io::ErrorKind::NotFound, "the name has no address"),
    };
    poll_fn(|cx| race.poll(cx, &sort, &connect)).await
}

struct Race<T> {
    lookups: [Option<Lookup>; 2],
    /// Addresses that were not tried yet.
    found: [VecDeque<IpAddr>; 2],
    /// The family whose turn it is (RFC 8305 4: they alternate); `None` before the first attempt.
    next: Option<usize>,
    attempts: Vec<Attempt<T>>,
    /// No further attempt begins before.
    delay: Option<Pin<Box<Sleep>>>,
    /// Why the last one failed.
    failure: io::Error,
}

impl<T> Race<T> {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        sort: &impl Fn(&mut [IpAddr]),
        connect: &impl Fn(IpAddr) -> Attempt<T>,
    ) -> Poll<io::Result<T>> {
        self.poll_lookups(cx, sort);
        loop {
            if let Some(winner) = self.poll_attempts(cx) {
                return Poll::Ready(Ok(winner));
            }
            let waits =
                self.delay.as_mut().is_some_and(|delay| delay.as_mut().poll(cx).is_pending());
            if !waits {
                self.delay = None;
            }
            let address = if waits { None } else { self.next_address(sort) };
            if let Some(address) = address {
                self.attempts.push(connect(address));
                self.delay = Some(Box::pin(tokio::time::sleep(ATTEMPT_DELAY)));
                continue;
            }
            let pending = self.lookups.iter().any(Option::is_some) || !self.attempts.is_empty();
            let untried = self.found.iter().any(|found| !found.is_empty());
            if pending || untried {
                return Poll::Pending;
            }
            let nothing = io::Error::from(io::ErrorKind::NotFound);
            return Poll::Ready(Err(std::mem::replace(&mut self.failure, nothing)));
        }
    }

    fn poll_lookups(&mut self, cx: &mut Context<'_>, sort: &impl Fn(&mut [IpAddr])) {
        for family in [V6, V4] {
            let Some(lookup) = &mut self.lookups[family] else { continue };
            let Poll::Ready(answer) = lookup.as_mut().poll(cx) else { continue };
            self.lookups[family] = None;
            match answer {
                Ok(mut addresses) => {
                    sort(&mut addresses);
                    self.found[family].extend(addresses);
                }
                // That one family has no address is no failure of an attempt.
                Err(error) if self.attempts.is_empty() => self.failure = error,
                Err(_) => {}
            }
            if self.attempts.is_empty() {
                // RFC 8305 3: IPv4 waits for a moment, IPv6 does not.
                let alone = family == V4 && self.lookups[V6].is_some();
                self.delay = alone.then(|| Box::pin(tokio::time::sleep(RESOLUTION_DELAY)));
            }
        }
    }

    /// The winner, if there is one. After a failure the next attempt begins at once (RFC 8305 5).
    fn poll_attempts(&mut self, cx: &mut Context<'_>) -> Option<T> {
        let mut place = 0;
        while let Some(attempt) = self.attempts.get_mut(place) {
            match attempt.as_mut().poll(cx) {
                Poll::Pending => place += 1,
                Poll::Ready(Ok(winner)) => return Some(winner),
                Poll::Ready(Err(error)) => {
                    // What was tried and dropped is gone; the order of the others stays.
                    drop(self.attempts.remove(place));
                    self.failure = error;
                    self.delay = None;
                }
            }
        }
        None
    }

    fn next_address(&mut self, sort: &impl Fn(&mut [IpAddr])) -> Option<IpAddr> {
        let next = self.next.unwrap_or_else(|| self.first_family(sort));
        let family = if self.found[next].is_empty() { V6 + V4 - next } else { next };
        let address = self.found[family].pop_front()?;
        self.next = Some(V6 + V4 - family);
        Some(address)
    }

    /// The family of the best address of all.
    fn first_family(&self, sort: &impl Fn(&mut [IpAddr])) -> usize {
        let best = |family: usize| self.found[family].front().copied();
        let (Some(v6), Some(v4)) = (best(V6), best(V4)) else { return V6 };
        let mut both = [v6, v4];
        sort(&mut both);
        if both[0] == v6 { V6 } else { V4 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use std::sync::{Arc, Mutex};
    use tokio::time::{Instant, sleep};

    const FIRST6: &str = "fd77::1";
    const SECOND6: &str = "fd77::2";
    const FIRST4: &str = "10.77.0.1";
    const SECOND4: &str = "10.77.0.2";
    /// What is sorted before all others.
    const BEST4: &str = "10.77.0.9";

    fn finds(millis: u64, addresses: &[&str]) -> Lookup {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Box::pin(async move {
            sleep(Duration::from_millis(millis)).await;
            Ok(addresses)
        })
    }

    fn silent() -> Lookup {
        Box::pin(pending())
    }

    /// What each address does: connects or fails after a time, or never answers.
    type Table = &'static [(&'static str, Option<(u64, bool)>)];

    /// Who wins, and which attempts began when, in milliseconds.
    async fn run(lookups: [Lookup; 2], table: Table) -> (io::Result<IpAddr>, Vec<(u128, String)>) {
        let (began, log) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
        let tried = Arc::clone(&log);
        let connect = move |address: IpAddr| -> Attempt<IpAddr> {
            let entry = (began.elapsed().as_millis(), address.to_string());
            tried.lock().unwrap().push(entry);
            let does = table.iter().find(|(text, _)| address == text.parse::<IpAddr>().unwrap());
            let does = does.and_then(|(_, does)| *does);
            Box::pin(async move {
                let Some((millis, connects)) = does else { return pending().await };
                sleep(Duration::from_millis(millis)).await;
                if connects { Ok(address) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
            })
        };
        let sort = |addresses: &mut [IpAddr]| {
            addresses.sort_by_key(|address| *address != BEST4.parse::<IpAddr>().unwrap());
        };
        let winner = race(lookups, sort, connect).await;
        let log = log.lock().unwrap().clone();
        (winner, log)
    }

    /// Runs in virtual time.
    fn paused<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(future)
    }

    #[test]
    fn a_silent_family_costs_a_quarter_of_a_second() {
        let lookups = [finds(10, &[FIRST6]), finds(10, &[FIRST4])];
        let (winner, log) = paused(run(lookups, &[(FIRST6, None), (FIRST4, Some((20, true)))]));
        assert_eq!(winner.unwrap().to_string(), FIRST4);
        assert_eq!(log, [(10, FIRST6.to_owned()), (260, FIRST4.to_owned())]);
    }

    #[test]
    fn who_fails_makes_way_at_once_and_families_alternate() {
        let lookups = [finds(0, &[FIRST6, SECOND6]), finds(0, &[FIRST4, SECOND4])];
        let table: Table =
            &[(FIRST6, Some((5, false))), (FIRST4, Some((5, false))), (SECOND6, Some((5, true)))];
        let (winner, log) = paused(run(lookups, table));
        assert_eq!(winner.unwrap().to_string(), SECOND6);
        let order: Vec<_> = log.iter().map(|(_, address)| address.as_str()).collect();
        assert_eq!(order, [FIRST6, FIRST4, SECOND6]);
        assert!(log[2].0 < 20, "{log:?}");
    }

    /// RFC 8305 4, RFC 6724 6: the best of all begins, and what is better comes first in its family.
    #[test]
    fn the_best_address_is_tried_first() {
        let lookups = [finds(0, &[FIRST6, SECOND6]), finds(0, &[FIRST4, BEST4])];
        const FAILS: Option<(u64, bool)> = Some((5, false));
        let table: Table =
            &[(FIRST6, FAILS), (FIRST4, FAILS), (SECOND6, Some((5, true))), (BEST4, FAILS)];
        let (winner, log) = paused(run(lookups, table));
        assert_eq!(winner.unwrap().to_string(), SECOND6);
        let order: Vec<_> = log.iter().map(|(_, address)| address.as_str()).collect();
        assert_eq!(order, [BEST4, FIRST6, FIRST4, SECOND6]);
    }

    /// RFC 8305 3: an answer for IPv4 waits 50 ms for that of IPv6, and not longer.
    #[test]
    fn a_silent_lookup_costs_fifty_milliseconds() {
        let lookups = [silent(), finds(10, &[FIRST4])];
        let (winner, log) = paused(run(lookups, &[(FIRST4, Some((0, true)))]));
        assert_eq!(winner.unwrap().to_string(), FIRST4);
        assert_eq!(log, [(60, FIRST4.to_owned())]);
        let lookups = [finds(40, &[FIRST6]), finds(10, &[FIRST4])];
        let (winner, log) = paused(run(lookups, &[(FIRST6, Some((0, true)))]));
        assert_eq!(winner.unwrap().to_string(), FIRST6);
        assert_eq!(log, [(40, FIRST6.to_owned())]);
    }

    #[test]
    fn the_first_that_answers_wins() {
        let lookups = [finds(0, &[FIRST6]), finds(0, &[FIRST4])];
        let table: Table = &[(FIRST6, Some((300, true))), (FIRST4, Some((10, true)))];
        assert_eq!(paused(run(lookups, table)).0.unwrap().to_string(), FIRST4);
    }

    #[test]
    fn when_all_fail_the_last_failure_is_told() {
        let lookups = [finds(0, &[FIRST6]), finds(0, &[FIRST4])];
        let table: Table = &[(FIRST6, Some((5, false))), (FIRST4, Some((5, false)))];
        let error = paused(run(lookups, table)).0.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let nothing = [finds(0, &[]), finds(0, &[])];
        assert_eq!(paused(run(nothing, &[])).0.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
