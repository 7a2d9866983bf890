//! The table of functions, used as packetdrill uses it, without packetdrill.
#![allow(unsafe_code, reason = "the interface is C's")]

use std::ffi::{c_int, c_void};
use std::mem::{MaybeUninit, size_of};
use std::ptr::{null, null_mut};

use sim::segment::{Flags, Segment, TcpOption};
use witness::{Interface, packetdrill_interface_init};

/// A loaded library.
struct Library(Interface);

// SAFETY: the library is made for two threads.
unsafe impl Sync for Library {}

impl Library {
    fn new() -> Self {
        let mut table = MaybeUninit::<Interface>::uninit();
        // SAFETY: no flags, and a table that is written before it is read.
        let table = unsafe {
            packetdrill_interface_init(null(), table.as_mut_ptr());
            table.assume_init()
        };
        Library(table)
    }

    fn listener(&self) -> c_int {
        let (table, data) = (&self.0, self.0.userdata);
        let fd = (table.socket)(data, libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_TCP);
        assert!(fd > 2, "a real descriptor");
        let address = libc::sockaddr_in {
            sin_family: libc::AF_INET as libc::sa_family_t,
            sin_port: 8080u16.to_be(),
            sin_addr: libc::in_addr { s_addr: 0 },
            sin_zero: [0; 8],
        };
        let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        assert_eq!((table.bind)(data, fd, (&raw const address).cast(), length), 0);
        assert_eq!((table.listen)(data, fd, 1), 0);
        fd
    }

    fn inject(&self, segment: &Segment) {
        let packet = segment.to_packet();
        (self.0.netdev_send)(self.0.userdata, packet.as_ptr().cast::<c_void>(), packet.len());
    }

    fn receive(&self) -> Option<Segment> {
        let mut packet = vec![0u8; 2000];
        let (mut count, mut time) = (packet.len(), 0);
        let into = packet.as_mut_ptr().cast::<c_void>();
        assert_eq!(
            (self.0.netdev_receive)(self.0.userdata, into, &raw mut count, &raw mut time),
            0
        );
        (count > 0).then(|| Segment::parse(&packet[..count]).unwrap())
    }

    fn micros(&self) -> i64 {
        let mut time = libc::timeval { tv_sec: 0, tv_usec: 0 };
        assert_eq!((self.0.gettimeofday)(self.0.userdata, &raw mut time, null_mut()), 0);
        time.tv_sec * 1_000_000 + time.tv_usec
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        (self.0.free)(self.0.userdata);
    }
}

fn segment(flags: Flags, seq: u32, ack: u32) -> Segment {
    let (source, destination) =
        ("192.0.2.1:5000".parse().unwrap(), "192.168.0.1:8080".parse().unwrap());
    Segment { flags, seq, ack, window: 5000, ..Segment::new(source, destination) }
}

#[test]
fn a_call_that_blocks_returns_at_the_moment_when_it_can() {
    let library = &Library::new();
    let listener = library.listener();
    let started = library.micros();
    std::thread::scope(|scope| {
        let (tell, thread) = std::sync::mpsc::channel();
        let accepting = scope.spawn(move || {
            // SAFETY: it only asks for this thread's number.
            tell.send(unsafe { libc::gettid() }).unwrap();
            let accept = library.0.accept;
            let fd = accept(library.0.userdata, listener, null_mut(), null_mut());
            (fd, library.micros())
        });
        until_it_sleeps(thread.recv().unwrap());
        let mut syn = segment(Flags::SYN, 0, 0);
        syn.options.push(TcpOption::Mss(1000));
        library.inject(&syn);
        let answer = library.receive().unwrap();
        assert_eq!(answer.flags, Flags::SYN.with(Flags::ACK));
        (library.0.usleep)(library.0.userdata, 100_000);
        library.inject(&segment(Flags::ACK, 1, answer.seq.wrapping_add(1)));
        (library.0.usleep)(library.0.userdata, 5_000_000);
        let (fd, ended) = accepting.join().unwrap();
        assert!(fd > 2);
        assert!((100_000..101_000).contains(&(ended - started)), "{} us", ended - started);
    });
}

/// Waits until a thread of this process waits, as packetdrill does: virtual time stands still.
fn until_it_sleeps(thread: libc::pid_t) {
    let stat = format!("/proc/self/task/{thread}/stat");
    while !std::fs::read_to_string(&stat).unwrap().contains(") S ") {
        std::thread::yield_now();
    }
}

#[test]
fn a_packet_that_can_never_come_is_empty() {
    let library = Library::new();
    library.listener();
    assert_eq!(library.receive(), None);
    library.inject(&segment(Flags::ACK, 1, 1));
    assert!(library.receive().unwrap().flags.has(Flags::RST));
    assert_eq!(library.receive(), None);
}

#[test]
fn errors_are_minus_one_and_errno() {
    let library = Library::new();
    let errno = || std::io::Error::last_os_error().raw_os_error();
    assert_eq!((library.0.close)(library.0.userdata, 999), -1);
    assert_eq!(errno(), Some(libc::EBADF));
    let six = (library.0.socket)(library.0.userdata, libc::AF_INET6, libc::SOCK_STREAM, 0);
    assert_eq!((six, errno()), (-1, Some(libc::EAFNOSUPPORT)));
}
