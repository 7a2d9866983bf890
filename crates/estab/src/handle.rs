//! The handle of a running stack.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use stack::{Counters, InterfaceId, SocketEntry};

use crate::StackBuilder;
use crate::activity::Activity;
use crate::engine::{Engine, shutdown_all};
use crate::error::from_stack;
use crate::ping::{Pinger, Pong};
use crate::shared::{Shared, lock};

/// How often a graceful stop looks whether everything was delivered.
const DRAIN_POLL: Duration = Duration::from_millis(5);

/// A running stack: what `bind` and `connect` take as their first argument.
///
/// A handle is cheap to clone, and every clone and every socket keeps the stack running. It ends
///
/// - by [`stop`](Stack::stop) or [`stop_graceful`](Stack::stop_graceful), at once or nearly so;
/// - when the last handle and the last socket are dropped, in the background, as soon as what was
///   written is delivered (at most [`StackBuilder::drain`]);
/// - when a link is gone for good.
///
/// A call on a stack that has ended fails with [`io::ErrorKind::NetworkDown`].
#[derive(Clone)]
pub struct Stack {
    owner: Arc<Owner>,
}

impl Stack {
    /// Begins to describe a stack.
    pub fn builder() -> StackBuilder {
        StackBuilder::new()
    }

    /// Ends the stack: every connection is reset, every call that waits fails with
    /// [`io::ErrorKind::NetworkDown`], the links are closed and the thread is gone when this
    /// returns. Calling it again does nothing.
    ///
    /// Called by the trace's observer, which runs on the stack's own thread, it only begins that.
    pub fn stop(&self) {
        self.owner.stop();
    }

    /// Ends the stack when its work is done: listeners are closed, connections say that nothing
    /// follows (FIN), and what was written is delivered first, within `timeout`. True when all of
    /// it was acknowledged in time.
    ///
    /// What peers send meanwhile can still be read. A peer that has not closed its own half by then
    /// is reset, behind the end of the stream. Blocks; in asynchronous code use a blocking task.
    pub fn stop_graceful(&self, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        let begun = self.shared().call(|engine, now| shutdown_all(&mut engine.stack, now));
        let mut delivered = false;
        while begun.is_ok() && !delivered {
            match self.shared().call(|engine, _| !engine.is_undelivered()) {
                Ok(done) => delivered = done,
                Err(_) => break,
            }
            if !delivered {
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    break;
                }
                thread::sleep(DRAIN_POLL);
            }
        }
        self.stop();
        delivered
    }

    /// Why the stack has ended, or `None` while it runs.
    #[must_use]
    pub fn ended(&self) -> Option<io::Error> {
        self.shared().call(|_, _| ()).err()
    }

    /// Every socket, half-open connection and TIME-WAIT, as `ss` lists them. Empty after the end.
    #[must_use]
    pub fn sockets(&self) -> Vec<SocketEntry> {
        self.shared().call(|engine, _| engine.stack.sockets()).unwrap_or_default()
    }

    /// How often each reason to send, to hold back and to drop was given. Zero after the end.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared().call(|engine, _| engine.stack.counters().clone()).unwrap_or_default()
    }

    /// What carrying this stack's frames has cost so far. Zero after the end.
    #[must_use]
    pub fn activity(&self) -> Activity {
        self.shared().look(|engine| engine.activity).unwrap_or_default()
    }

    /// The time on the stack's clock, which the times in [`SocketEntry`], [`stack::TcpInfo`] and
    /// the trace are on. It starts near zero when the stack starts.
    #[must_use]
    pub fn now(&self) -> wire::time::Instant {
        self.shared().now()
    }

    /// Asks `address` for an echo (RFC 792) and waits for it, at most `timeout`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let (end, _other) = link::pair(link::PairConfig::ip(1500))?;
    /// # let stack = estab::Stack::builder().start(end)?;
    /// let pong = stack.ping([127, 0, 0, 1].into(), b"hello", Duration::from_secs(5))?;
    /// assert_eq!(pong.payload, b"hello");
    /// # stack.stop();
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// `TimedOut` when nothing comes, `HostUnreachable` and `NetworkUnreachable` when the network
    /// says so, `InvalidInput` when the payload is too long for one packet.
    pub fn ping(&self, address: IpAddr, payload: &[u8], timeout: Duration) -> io::Result<Pong> {
        let pinger = Pinger::open(self)?;
        pinger.send(address, 1, payload)?;
        pinger.receive(Some(timeout))
    }

    /// Gives one more address to the first link's interface, `prefix` bits of which are the
    /// network's.
    ///
    /// # Errors
    /// `InvalidInput` when it is no address for a host or the prefix is too long.
    pub fn add_address(&self, address: IpAddr, prefix: u8) -> io::Result<()> {
        self.command(|engine, interface| engine.stack.add_address(interface, address, prefix))
    }

    /// Sends what is for no network of ours to `gateway`, through the first link.
    ///
    /// # Errors
    /// `NetworkUnreachable` or `InvalidInput` when the gateway is in no network of ours.
    pub fn set_gateway(&self, gateway: IpAddr) -> io::Result<()> {
        self.command(|engine, interface| engine.stack.set_gateway(interface, gateway))
    }

    fn command(
        &self,
        f: impl FnOnce(&mut Engine, InterfaceId) -> Result<(), stack::Error>,
    ) -> io::Result<()> {
        let done = self.shared().call(|engine, _| {
            let interface = engine.first_interface().ok_or(stack::Error::InvalidInput)?;
            f(engine, interface)
        })?;
        done.map_err(from_stack)
    }

    pub(crate) fn new(shared: Arc<Shared>, driver: JoinHandle<()>) -> Self {
        let thread = driver.thread().id();
        Self { owner: Arc::new(Owner { shared, thread, driver: Mutex::new(Some(driver)) }) }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.owner.shared
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack").field("ended", &self.ended()).finish_non_exhaustive()
    }
}

/// What all handles and sockets hold together; the driver does not.
#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
    /// The driver's.
    thread: ThreadId,
    /// Until somebody has joined it.
    driver: Mutex<Option<JoinHandle<()>>>,
}

impl Owner {
    fn stop(&self) {
        self.shared.request_stop();
        if thread::current().id() == self.thread {
            return;
        }
        // Whoever comes second waits for the lock, and so until the thread is gone.
        if let Some(driver) = lock(&self.driver).take() {
            // It catches its own panics.
            let _ = driver.join();
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.abandon();
    }
}
