//! The edge: packetdrill's table of functions, its pointers and its errno.
#![allow(unsafe_code, reason = "C calls us with pointers; everything else is in safe files")]

use std::ffi::{CStr, c_char, c_int, c_long, c_longlong, c_uint, c_ulong, c_void};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use libc::{epoll_event, iovec, msghdr, pollfd, sockaddr, sockaddr_in, socklen_t, timeval};
use wire::time::{Duration, Instant};

use crate::world::{Outcome, Witness, World};

type Data = *mut c_void;

/// `struct packetdrill_interface`: packetdrill's system calls, its network and its clock.
///
/// `fcntl` and `ioctl` are variadic in C; with the one more argument that packetdrill gives them,
/// the calling conventions of x86-64 and AArch64 on Linux are those of ordinary functions.
#[repr(C)]
#[expect(missing_docs, reason = "they are what the system calls of these names are")]
#[expect(missing_debug_implementations, reason = "a table of functions")]
pub struct Interface {
    pub userdata: Data,
    pub free: extern "C" fn(Data),
    pub socket: extern "C" fn(Data, c_int, c_int, c_int) -> c_int,
    pub bind: extern "C" fn(Data, c_int, *const sockaddr, socklen_t) -> c_int,
    pub listen: extern "C" fn(Data, c_int, c_int) -> c_int,
    pub accept: extern "C" fn(Data, c_int, *mut sockaddr, *mut socklen_t) -> c_int,
    pub connect: extern "C" fn(Data, c_int, *const sockaddr, socklen_t) -> c_int,
    pub read: extern "C" fn(Data, c_int, *mut c_void, usize) -> isize,
    pub readv: extern "C" fn(Data, c_int, *const iovec, c_int) -> isize,
    pub recv: extern "C" fn(Data, c_int, *mut c_void, usize, c_int) -> isize,
    pub recvfrom: extern "C" fn(
        Data,
        c_int,
        *mut c_void,
        usize,
        c_int,
        *mut sockaddr,
        *mut socklen_t,
    ) -> isize,
    pub recvmsg: extern "C" fn(Data, c_int, *mut msghdr, c_int) -> isize,
    pub write: extern "C" fn(Data, c_int, *const c_void, usize) -> isize,
    pub writev: extern "C" fn(Data, c_int, *const iovec, c_int) -> isize,
    pub send: extern "C" fn(Data, c_int, *const c_void, usize, c_int) -> isize,
    pub sendto: extern "C" fn(
        Data,
        c_int,
        *const c_void,
        usize,
        c_int,
        *const sockaddr,
        socklen_t,
    ) -> isize,
    pub sendmsg: extern "C" fn(Data, c_int, *const msghdr, c_int) -> isize,
    pub fcntl: extern "C" fn(Data, c_int, c_int, c_long) -> c_int,
    pub ioctl: extern "C" fn(Data, c_int, c_ulong, *mut c_int) -> c_int,
    pub close: extern "C" fn(Data, c_int) -> c_int,
    pub shutdown: extern "C" fn(Data, c_int, c_int) -> c_int,
    pub getsockopt: extern "C" fn(Data, c_int, c_int, c_int, *mut c_void, *mut socklen_t) -> c_int,
    pub setsockopt: extern "C" fn(Data, c_int, c_int, c_int, *const c_void, socklen_t) -> c_int,
    pub poll: extern "C" fn(Data, *mut pollfd, libc::nfds_t, c_int) -> c_int,
    pub netdev_send: extern "C" fn(Data, *const c_void, usize) -> c_int,
    pub netdev_receive: extern "C" fn(Data, *mut c_void, *mut usize, *mut c_longlong) -> c_int,
    pub usleep: extern "C" fn(Data, c_uint) -> c_int,
    pub gettimeofday: extern "C" fn(Data, *mut timeval, *mut c_void) -> c_int,
    pub epoll_create: extern "C" fn(Data, c_int) -> c_int,
    pub epoll_ctl: extern "C" fn(Data, c_int, c_int, c_int, *mut epoll_event) -> c_int,
    pub epoll_wait: extern "C" fn(Data, c_int, *mut epoll_event, c_int, c_int) -> c_int,
    pub pipe: extern "C" fn(Data, *mut c_int) -> c_int,
    pub splice: extern "C" fn(Data, c_int, *mut i64, c_int, *mut i64, usize, c_uint) -> isize,
}

/// Fills in packetdrill's table. `flags` is what `--so_flags` says, or null. Flags that make no
/// sense end the process with a line that says why: the interface has no way to refuse.
///
/// # Safety
/// `flags` is null or a C string, and `interface` points to a table of packetdrill's that is
/// writable. packetdrill calls the functions with pointers that are valid for their system calls,
/// and with nothing after `free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn packetdrill_interface_init(
    flags: *const c_char,
    interface: *mut Interface,
) {
    let flags = if flags.is_null() {
        ""
    } else {
        // SAFETY: the caller says that it is a C string.
        unsafe { CStr::from_ptr(flags) }.to_str().unwrap_or_default()
    };
    let witness = match Witness::new(flags) {
        Ok(witness) => witness,
        Err(error) => {
            eprintln!("witness: --so_flags: {error}");
            std::process::exit(2);
        }
    };
    let userdata = Box::into_raw(Box::new(witness)).cast::<c_void>();
    let table = Interface {
        userdata,
        free,
        socket,
        bind,
        listen,
        accept,
        connect,
        read,
        readv,
        recv,
        recvfrom,
        recvmsg,
        write,
        writev,
        send,
        sendto,
        sendmsg,
        fcntl,
        ioctl,
        close,
        shutdown,
        getsockopt,
        setsockopt,
        poll,
        netdev_send,
        netdev_receive,
        usleep,
        gettimeofday,
        epoll_create,
        epoll_ctl,
        epoll_wait,
        pipe,
        splice,
    };
    // SAFETY: the caller says that it is a writable table of this layout.
    unsafe { interface.write(table) };
}

/// The witness that `packetdrill_interface_init` made.
fn witness<'a>(data: Data) -> &'a Witness {
    // SAFETY: packetdrill gives back what it was given, and nothing after `free`.
    unsafe { &*data.cast::<Witness>() }
}

/// -1 and errno for an error, as system calls have it.
fn answer<T: TryFrom<i64> + From<i8>>(result: Result<i64, i32>) -> T {
    match result {
        Ok(value) => T::try_from(value).unwrap_or_else(|_| T::from(-1)),
        Err(errno) => {
            // SAFETY: the location of this thread's errno is always valid.
            unsafe { *libc::__errno_location() = errno };
            T::from(-1)
        }
    }
}

/// A call that never blocks.
fn at_once(data: Data, mut call: impl FnMut(&mut World) -> Result<i32, i32>) -> c_int {
    answer(witness(data).call(|world| Outcome::Over(call(world).map(i64::from))))
}

extern "C" fn free(data: Data) {
    // SAFETY: it is the box that `packetdrill_interface_init` leaked, freed once.
    drop(unsafe { Box::from_raw(data.cast::<Witness>()) });
}

extern "C" fn socket(data: Data, domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    at_once(data, |world| world.socket(domain, kind, protocol))
}

extern "C" fn bind(data: Data, fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    let address = address_at(address, length);
    at_once(data, |world| world.bind(fd, address?))
}

extern "C" fn listen(data: Data, fd: c_int, backlog: c_int) -> c_int {
    at_once(data, |world| world.listen(fd, backlog))
}

extern "C" fn accept(
    data: Data,
    fd: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
) -> c_int {
    let result = witness(data).call(|world| world.accept(fd));
    if let Ok((_, SocketAddr::V4(remote))) = result
        && !address.is_null()
        && !length.is_null()
    {
        // SAFETY: accept's caller gives room for `length` bytes, which packetdrill makes enough
        // for any address.
        unsafe {
            if *length as usize >= size_of::<sockaddr_in>() {
                address.cast::<sockaddr_in>().write_unaligned(to_c(remote));
                *length = size_of::<sockaddr_in>() as socklen_t;
            }
        }
    }
    answer(result.map(|(fd, _)| i64::from(fd)))
}

extern "C" fn connect(data: Data, fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    let address = match address_at(address, length) {
        Ok(address) => address,
        Err(errno) => return answer(Err(errno)),
    };
    answer(witness(data).call(|world| world.connect(fd, address)).map(i64::from))
}

/// Receives into the buffers, which come one after another.
fn receive(data: Data, fd: c_int, into: &[iovec], flags: c_int) -> isize {
    if into.iter().any(|buffer| buffer.iov_base.is_null() && buffer.iov_len > 0) {
        return answer(Err(libc::EFAULT));
    }
    let room = into.iter().fold(0usize, |sum, buffer| sum.saturating_add(buffer.iov_len));
    let result = witness(data).call(|world| world.receive(fd, room, flags));
    if let Ok(bytes) = &result {
        let mut rest = &bytes[..];
        for buffer in into {
            let (now, later) = rest.split_at(rest.len().min(buffer.iov_len));
            // SAFETY: the caller says that the buffer has `iov_len` writable bytes.
            unsafe { buffer.iov_base.cast::<u8>().copy_from(now.as_ptr(), now.len()) };
            rest = later;
        }
    }
    answer(result.map(|bytes| bytes.len() as i64))
}

/// Sends what is in the buffers.
fn transmit(data: Data, fd: c_int, from: &[iovec], flags: c_int) -> isize {
    let mut bytes = Vec::new();
    for buffer in from {
        if buffer.iov_len == 0 {
            continue;
        }
        if buffer.iov_base.is_null() {
            return answer(Err(libc::EFAULT));
        }
        // SAFETY: the caller says that the buffer has `iov_len` readable bytes.
        bytes.extend(unsafe {
            std::slice::from_raw_parts(buffer.iov_base.cast::<u8>(), buffer.iov_len)
        });
    }
    answer(witness(data).call(|world| world.send(fd, &bytes, flags)).map(|count| count as i64))
}

/// The buffers of a vector.
fn vector<'a>(buffers: *const iovec, count: usize) -> &'a [iovec] {
    if buffers.is_null() {
        return &[];
    }
    // SAFETY: the caller of a vectored system call gives `count` buffers.
    unsafe { std::slice::from_raw_parts(buffers, count) }
}

fn one(base: *const c_void, length: usize) -> [iovec; 1] {
    [iovec { iov_base: base.cast_mut(), iov_len: length }]
}

extern "C" fn read(data: Data, fd: c_int, into: *mut c_void, length: usize) -> isize {
    receive(data, fd, &one(into, length), 0)
}

extern "C" fn readv(data: Data, fd: c_int, into: *const iovec, count: c_int) -> isize {
    receive(data, fd, vector(into, usize::try_from(count).unwrap_or(0)), 0)
}

extern "C" fn recv(data: Data, fd: c_int, into: *mut c_void, len: usize, flags: c_int) -> isize {
    receive(data, fd, &one(into, len), flags)
}

extern "C" fn recvfrom(
    data: Data,
    fd: c_int,
    into: *mut c_void,
    length: usize,
    flags: c_int,
    _address: *mut sockaddr,
    _address_length: *mut socklen_t,
) -> isize {
    receive(data, fd, &one(into, length), flags)
}

extern "C" fn recvmsg(data: Data, fd: c_int, message: *mut msghdr, flags: c_int) -> isize {
    // SAFETY: recvmsg's caller gives a message.
    let Some(message) = (unsafe { message.as_mut() }) else { return answer(Err(libc::EFAULT)) };
    message.msg_flags = 0;
    message.msg_controllen = 0;
    receive(data, fd, vector(message.msg_iov, message.msg_iovlen), flags)
}

extern "C" fn write(data: Data, fd: c_int, from: *const c_void, length: usize) -> isize {
    transmit(data, fd, &one(from, length), 0)
}

extern "C" fn writev(data: Data, fd: c_int, from: *const iovec, count: c_int) -> isize {
    transmit(data, fd, vector(from, usize::try_from(count).unwrap_or(0)), 0)
}

extern "C" fn send(data: Data, fd: c_int, from: *const c_void, len: usize, flags: c_int) -> isize {
    transmit(data, fd, &one(from, len), flags)
}

extern "C" fn sendto(
    data: Data,
    fd: c_int,
    from: *const c_void,
    length: usize,
    flags: c_int,
    _address: *const sockaddr,
    _address_length: socklen_t,
) -> isize {
    transmit(data, fd, &one(from, length), flags)
}

extern "C" fn sendmsg(data: Data, fd: c_int, message: *const msghdr, flags: c_int) -> isize {
    // SAFETY: sendmsg's caller gives a message.
    let Some(message) = (unsafe { message.as_ref() }) else { return answer(Err(libc::EFAULT)) };
    transmit(data, fd, vector(message.msg_iov, message.msg_iovlen), flags)
}

extern "C" fn fcntl(data: Data, fd: c_int, command: c_int, argument: c_long) -> c_int {
    at_once(data, |world| world.fcntl(fd, command, c_int::try_from(argument).unwrap_or(0)))
}

extern "C" fn ioctl(data: Data, fd: c_int, request: c_ulong, answer_to: *mut c_int) -> c_int {
    at_once(data, |world| {
        let count = world.ioctl(fd, request)?;
        if answer_to.is_null() {
            return Err(libc::EFAULT);
        }
        // SAFETY: the caller of these requests gives an int to be written.
        unsafe { answer_to.write(count) };
        Ok(0)
    })
}

extern "C" fn close(data: Data, fd: c_int) -> c_int {
    at_once(data, |world| world.close(fd))
}

extern "C" fn shutdown(data: Data, fd: c_int, how: c_int) -> c_int {
    at_once(data, |world| world.shutdown(fd, how))
}

extern "C" fn getsockopt(
    data: Data,
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    length: *mut socklen_t,
) -> c_int {
    at_once(data, |world| {
        let bytes = world.get_option(fd, level, name)?;
        if value.is_null() || length.is_null() {
            return Err(libc::EFAULT);
        }
        // SAFETY: the caller gives room for `length` bytes at `value`.
        unsafe {
            let count = bytes.len().min(*length as usize);
            value.cast::<u8>().copy_from(bytes.as_ptr(), count);
            *length = count as socklen_t;
        }
        Ok(0)
    })
}

extern "C" fn setsockopt(
    data: Data,
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    length: socklen_t,
) -> c_int {
    if value.is_null() {
        return answer(Err(libc::EFAULT));
    }
    // SAFETY: the caller gives `length` bytes at `value`.
    let value = unsafe { std::slice::from_raw_parts(value.cast::<u8>(), length as usize) };
    at_once(data, |world| world.set_option(fd, level, name, value))
}

extern "C" fn poll(data: Data, fds: *mut pollfd, count: libc::nfds_t, timeout: c_int) -> c_int {
    let Ok(count) = usize::try_from(count) else { return answer(Err(libc::EINVAL)) };
    if fds.is_null() {
        return answer(Err(libc::EFAULT));
    }
    // SAFETY: the caller gives `count` entries.
    let entries = unsafe { std::slice::from_raw_parts_mut(fds, count) };
    let watched: Vec<(c_int, i16)> = entries.iter().map(|e| (e.fd, e.events)).collect();
    let mut began = None;
    let result = witness(data).call(|world| {
        let began: Instant = *began.get_or_insert(world.now);
        world.poll(&watched, timeout, began)
    });
    answer(result.map(|found| {
        for (entry, bits) in entries.iter_mut().zip(&found) {
            entry.revents = *bits;
        }
        found.iter().filter(|bits| **bits != 0).count() as i64
    }))
}

extern "C" fn netdev_send(data: Data, packet: *const c_void, length: usize) -> c_int {
    if packet.is_null() {
        return answer(Err(libc::EFAULT));
    }
    // SAFETY: packetdrill gives a packet of `length` bytes.
    let bytes = unsafe { std::slice::from_raw_parts(packet.cast::<u8>(), length) };
    witness(data).inject(bytes.to_vec());
    0
}

/// The next packet; an empty one when none can ever come, which packetdrill takes for an error.
extern "C" fn netdev_receive(
    data: Data,
    into: *mut c_void,
    count: *mut usize,
    time: *mut c_longlong,
) -> c_int {
    let (when, packet) = witness(data).next_packet().unwrap_or_default();
    // SAFETY: packetdrill gives room for `count` bytes at `into`, and a place for the time.
    unsafe {
        *count = packet.len().min(*count);
        into.cast::<u8>().copy_from(packet.as_ptr(), *count);
        *time = c_longlong::try_from(when.as_micros()).unwrap_or(0);
    }
    0
}

extern "C" fn usleep(data: Data, micros: c_uint) -> c_int {
    witness(data).sleep(Duration::from_micros(u64::from(micros)));
    0
}

extern "C" fn gettimeofday(data: Data, time: *mut timeval, _zone: *mut c_void) -> c_int {
    let micros = witness(data).look_at_clock();
    let seconds = libc::time_t::try_from(micros / 1_000_000).unwrap_or(0);
    let rest = libc::suseconds_t::try_from(micros % 1_000_000).unwrap_or(0);
    if time.is_null() {
        return answer(Err(libc::EFAULT));
    }
    // SAFETY: the caller gives a timeval to be written.
    unsafe { time.write(timeval { tv_sec: seconds, tv_usec: rest }) };
    0
}

extern "C" fn epoll_create(data: Data, _size: c_int) -> c_int {
    at_once(data, |world| world.sockets.open_epoll())
}

extern "C" fn epoll_ctl(
    data: Data,
    instance: c_int,
    operation: c_int,
    fd: c_int,
    event: *mut epoll_event,
) -> c_int {
    // SAFETY: the caller gives an event, or null where none is needed.
    let event = unsafe { event.as_ref() }.map(|event| (event.events, event.u64));
    at_once(data, |world| world.control_epoll(instance, operation, fd, event))
}

extern "C" fn epoll_wait(
    data: Data,
    instance: c_int,
    events: *mut epoll_event,
    most: c_int,
    timeout: c_int,
) -> c_int {
    if events.is_null() {
        return answer(Err(libc::EFAULT));
    }
    let most = usize::try_from(most).unwrap_or(0);
    let mut began = None;
    let result = witness(data).call(|world| {
        let began: Instant = *began.get_or_insert(world.now);
        world.wait_epoll(instance, most, timeout, began)
    });
    answer(result.map(|found| {
        for (index, (bits, value)) in found.iter().enumerate() {
            // SAFETY: the caller gives room for `most` events, and no more were found.
            unsafe { events.add(index).write(epoll_event { events: *bits, u64: *value }) };
        }
        found.len() as i64
    }))
}

extern "C" fn pipe(_data: Data, _fds: *mut c_int) -> c_int {
    answer(Err(libc::ENOSYS))
}

extern "C" fn splice(
    _data: Data,
    _from: c_int,
    _from_offset: *mut i64,
    _to: c_int,
    _to_offset: *mut i64,
    _length: usize,
    _flags: c_uint,
) -> isize {
    answer(Err(libc::ENOSYS))
}

/// The address at `address`, of `length` bytes.
fn address_at(address: *const sockaddr, length: socklen_t) -> Result<SocketAddrV4, i32> {
    if address.is_null() {
        return Err(libc::EFAULT);
    }
    if (length as usize) < size_of::<sockaddr_in>() {
        return Err(libc::EINVAL);
    }
    // SAFETY: the caller gives `length` bytes, which are enough.
    let address = unsafe { address.cast::<sockaddr_in>().read_unaligned() };
    if c_int::from(address.sin_family) != libc::AF_INET {
        return Err(libc::EAFNOSUPPORT);
    }
    let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
    Ok(SocketAddrV4::new(ip, u16::from_be(address.sin_port)))
}

fn to_c(address: SocketAddrV4) -> sockaddr_in {
    sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*address.ip()).to_be() },
        sin_zero: [0; 8],
    }
}
