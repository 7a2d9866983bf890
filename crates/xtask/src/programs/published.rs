//! A server that this machine reaches: `--publish`.

use std::net::{Ipv4Addr, UdpSocket};

use anyhow::Result;

use super::Stage;
use super::conversation::V4;
use crate::interop::Case;
use crate::interop::bench::Bench;

pub(super) fn cases() -> Vec<Case> {
    vec![Case::new("published-names", 30, names).over(V4)]
}

/// A name server is asked by two clients in datagrams, and over a connection, before it listens.
fn names(bench: &Bench) -> Result<()> {
    bench.write("ask.py", ASK)?;
    let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let link = bench.way.options().join(" ");
    let script = format!(
        "estab run {link} --publish {port}:53/udp --publish {port}:53 -- \
             sh -c 'sleep 0.5; exec dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv \
                 --no-hosts --no-ping --pid-file= --user= --group= --port=53 --bind-interfaces \
                 --listen-address=10.77.0.2 --local=/test/ --host-record=www.estab.test,192.0.2.7' &
         status=0; python3 ask.py {port} || status=$?
         kill $!; wait $! || test $? -eq 143
         exit $status"
    );
    bench.finish(Stage::get()?.as_user(bench, &["bash", "-euc", &script])?)?.success()?;
    Ok(())
}

const ASK: &str = r"
import socket, struct, sys, time

at = ('127.0.0.1', int(sys.argv[1]))
question = b'\1\0\0\1\0\0\0\0\0\0\3www\5estab\4test\0\0\1\0\1'

def check(number, answer):
    assert answer[:2] == struct.pack('!H', number) and answer[-4:] == bytes([192, 0, 2, 7]), answer

def connect():
    for attempt in range(100):
        try:
            return socket.create_connection(at, timeout=15)
        except ConnectionRefusedError:
            time.sleep(0.05)
    sys.exit('nobody listens')

# The run has taken both ports.
connection = connect()
clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for n in range(2)]
for number, client in enumerate(clients):
    client.settimeout(15)
    client.sendto(struct.pack('!H', number) + question, at)
for number, client in reversed(list(enumerate(clients))):
    answer, source = client.recvfrom(2000)
    assert source == at, source
    check(number, answer)
asked = struct.pack('!H', 7) + question
connection.sendall(struct.pack('!H', len(asked)) + asked)
whole = connection.makefile('rb')
length, = struct.unpack('!H', whole.read(2))
check(7, whole.read(length))
";
