//! A stack of several shards against the kernel, over a TUN or TAP device with as many queues.
//!
//! The kernel steers a flow to the queue that wrote to it last, remembers 4096 flows for about three
//! seconds, and spreads what it does not know over all queues, anew when one comes or goes. Each of
//! these is provoked here, and every byte must arrive whatever the kernel does.
//!
//! It has no harness, because only a process with one thread can enter a user namespace.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use estab::Stack;
use estab::blocking::TcpStream;
use estab::link::namespace::{Namespace, unshare};
use estab::link::{Layer, Netlink, Tun, TunBuilder};
use estab::stack::reason::{Dropped, Sent};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const KERNEL: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const OURS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const ECHO: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(OURS), 7);
const PATIENCE: Duration = Duration::from_secs(20);
/// More than the 4096 that the kernel remembers.
const MANY: usize = 4600;
/// More than the three seconds for which it remembers, and the second by which it rounds up.
const LONG: Duration = Duration::from_millis(4500);

fn main() -> io::Result<()> {
    if std::env::args().any(|argument| argument == "--list") {
        println!("queues: test");
        return Ok(());
    }
    if let Err(error) = unshare(&[Namespace::User, Namespace::Network]) {
        println!("skipped: no namespaces here: {error}");
        return Ok(());
    }
    for (name, builder, queues) in [
        ("three queues of a TUN", TunBuilder::new(), 3),
        ("two queues without offload", TunBuilder::new().offload(false), 2),
        ("two queues of a TAP", TunBuilder::new().layer(Layer::Tap), 2),
    ] {
        match World::open(&builder.name("estab0").mtu(1500), queues) {
            Ok(world) => {
                replies_come_to_the_queue_that_asked(&world)?;
                every_shard_serves(&world)?;
                println!("ok: {name}");
            }
            Err(error) if is_forbidden(&error) => println!("skipped: {name}: {error}"),
            Err(error) => return Err(error),
        }
    }
    match World::open(&TunBuilder::new().name("estab0"), 2) {
        Ok(world) => {
            let mut clients = more_flows_than_the_kernel_remembers(&world)?;
            flows_that_the_kernel_forgot(&world, &mut clients)?;
            a_queue_that_comes_and_goes(&world, clients)
        }
        Err(error) if is_forbidden(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

fn is_forbidden(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::NotFound)
}

/// A stack that answers everything that is sent to port 7.
struct World {
    stack: Stack,
    device: TunBuilder,
    _server: tokio::runtime::Runtime,
}

impl World {
    fn open(device: &TunBuilder, queues: usize) -> io::Result<Self> {
        let queues: Vec<Tun> = device.open_queues(queues)?;
        let mut kernel = Netlink::open()?;
        kernel.add_address("estab0", KERNEL.into(), 24)?;
        kernel.set_up("estab0")?;
        let stack = Stack::builder().address(OURS, 24).start_queues(queues)?;
        let server = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
        let listener = server.block_on(estab::net::TcpListener::bind(&stack, ECHO))?;
        server.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(echo(stream));
            }
        });
        Ok(Self { stack, device: device.clone(), _server: server })
    }

    fn handed_over(&self) -> u64 {
        self.stack.counters().handed_over()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stack.stop();
    }
}

async fn echo(mut stream: estab::net::TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 1024];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}

fn connect() -> io::Result<std::net::TcpStream> {
    let client = std::net::TcpStream::connect_timeout(&ECHO, PATIENCE)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_nodelay(true)?;
    Ok(client)
}

/// Sends a message that is unlike the others, and reads it back.
fn exchange(mut client: impl Read + Write) -> io::Result<()> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let message = NUMBER.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    client.write_all(&message)?;
    let mut answer = [0; 8];
    client.read_exact(&mut answer)?;
    assert_eq!(answer, message);
    Ok(())
}

/// What a shard opens, it writes to first, and the kernel sends what follows to its queue.
fn replies_come_to_the_queue_that_asked(world: &World) -> io::Result<()> {
    let listener = std::net::TcpListener::bind((KERNEL, 0))?;
    let address = listener.local_addr()?;
    let server = thread::spawn(move || -> io::Result<()> {
        for _ in 0..30 {
            let (mut stream, _) = listener.accept()?;
            let mut message = [0; 8];
            stream.read_exact(&mut message)?;
            stream.write_all(&message)?;
        }
        Ok(())
    });
    let before = world.handed_over();
    for _ in 0..30 {
        exchange(TcpStream::connect_timeout(&world.stack, &address, PATIENCE)?)?;
    }
    server.join().expect("no panic")?;
    // The kernel answers a SYN before it notes which queue the SYN came from, so one frame of each
    // connection may come to another. On a TAP the shards tell one another what they hear by ARP.
    let handed_over = world.handed_over() - before;
    assert!(handed_over <= 45, "{handed_over} frames of 30 connections came to the wrong shard");
    for shard in world.stack.shard_counters() {
        assert!(shard.sent(Sent::ActiveOpen) >= 10, "each shard opens its part");
    }
    world.stack.ping(KERNEL.into(), b"kernel", PATIENCE)?;
    Ok(())
}

/// What the kernel opens comes to any queue at first, and to the owner's once that has answered: the
/// SYN and the ACK that the kernel answers our SYN-ACK with are not steered yet.
fn every_shard_serves(world: &World) -> io::Result<()> {
    let before = world.handed_over();
    let clients: Vec<_> = (0..60).map(|_| connect()).collect::<io::Result<_>>()?;
    for _ in 0..5 {
        clients.iter().try_for_each(exchange)?;
    }
    for shard in world.stack.shard_counters() {
        assert!(shard.sent(Sent::SynAccepted) > 0, "no shard is idle");
    }
    let handed_over = world.handed_over() - before;
    assert!(handed_over <= 150, "{handed_over} frames of 60 connections came to the wrong shard");
    Ok(())
}

/// The kernel has no room for all of them: some come to the wrong queue each time.
fn more_flows_than_the_kernel_remembers(world: &World) -> io::Result<Vec<std::net::TcpStream>> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, rustix::process::Rlimit { current: limit.maximum, ..limit })?;
    let clients: Vec<_> = (0..MANY).map(|_| connect()).collect::<io::Result<_>>()?;
    let before = world.handed_over();
    for _ in 0..2 {
        clients.iter().try_for_each(exchange)?;
    }
    let handed_over = world.handed_over() - before;
    assert!(handed_over > 0, "the kernel forgot none of {MANY} flows");
    println!("ok: {MANY} flows at once ({handed_over} frames handed over in two exchanges)");
    Ok(clients)
}

/// This waits in real time, because the time is the kernel's.
fn flows_that_the_kernel_forgot(
    world: &World,
    clients: &mut Vec<std::net::TcpStream>,
) -> io::Result<()> {
    clients.truncate(400);
    thread::sleep(LONG);
    let before = world.handed_over();
    clients.iter().try_for_each(exchange)?;
    let forgotten = world.handed_over() - before;
    assert!(forgotten > 100, "{forgotten} of 400 flows came to the wrong queue after {LONG:?}");
    clients.iter().try_for_each(exchange)?;
    let again = world.handed_over() - before - forgotten;
    assert!(again < forgotten / 10, "{again} still do after the owner has written");
    println!("ok: {LONG:?} of silence ({forgotten} of 400 flows were forgotten, then {again})");
    Ok(())
}

/// Flows that the kernel does not know go to other queues than before.
fn a_queue_that_comes_and_goes(world: &World, clients: Vec<std::net::TcpStream>) -> io::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let busy = {
        let stop = Arc::clone(&stop);
        thread::spawn(move || -> io::Result<u64> {
            let mut rounds = 0;
            while !stop.load(Ordering::Relaxed) {
                clients.iter().try_for_each(exchange)?;
                drop(connect()?);
                rounds += 1;
            }
            Ok(rounds)
        })
    };
    for _ in 0..3 {
        world.stack.attach_queue(world.device.open_queue()?)?;
        thread::sleep(Duration::from_millis(100));
        for _ in 0..40 {
            exchange(connect()?)?;
        }
        world.stack.detach_queue()?;
        thread::sleep(Duration::from_millis(100));
        for _ in 0..40 {
            exchange(connect()?)?;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let rounds = busy.join().expect("no panic")?;
    assert!(rounds > 0 && !busy_lost_anything(world), "{:?}", world.stack.counters());
    println!("ok: queues that come and go ({rounds} rounds of 400 flows meanwhile)");
    Ok(())
}

/// A reset for nobody would mean that a frame got to a shard that does not know its connection.
fn busy_lost_anything(world: &World) -> bool {
    let counters = world.stack.counters();
    counters.sent(Sent::ResetNobody) + counters.dropped(Dropped::ListenNothing) > 0
}
