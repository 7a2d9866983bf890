//! What is measured: programs that speak with each other, and single calls.

/// A server and a client that prints a number: how many in a second, or how much.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    pub(super) server: &'static str,
    pub(super) client: &'static str,
    /// It is the client that runs on our stack.
    pub(super) client_is_ours: bool,
}

const fn row(
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    server: &'static str,
    client: &'static str,
) -> Row {
    Row { name, title, unit, server, client, client_is_ours: false }
}

pub(super) const ROWS: &[Row] = &[
    row("nginx", "nginx, keep-alive, 32 connections", "requests/s", NGINX, KEEP_ALIVE),
    row("nginx-close", "nginx, a connection for each request", "requests/s", NGINX, CLOSE),
    row("redis", "redis GET, 20 clients", "requests/s", REDIS, GET),
    row(
        "redis-pipeline",
        "redis GET, 20 clients, 16 requests at once",
        "requests/s",
        REDIS,
        PIPELINE,
    ),
    row("iperf3-in", "iperf3 to our stack", "Gbit/s", IPERF3, TO_SERVER),
    row("iperf3-out", "iperf3 from our stack", "Gbit/s", IPERF3, FROM_SERVER),
    row("byte", "a byte there and back, server on our stack", "per s", ECHO, BYTES),
    row("accept", "connect, a byte, close, server on our stack", "per s", ECHO, CONNECTIONS),
    Row {
        client_is_ours: true,
        ..row("byte-client", "a byte there and back, client on our stack", "per s", ECHO, BYTES)
    },
    Row {
        client_is_ours: true,
        ..row("connect", "connect, a byte, close, client on our stack", "per s", ECHO, CONNECTIONS)
    },
];

/// A call that `calls.c` measures.
pub(super) struct Call {
    /// By which it is printed.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// Who carries it out under `estab run`.
    pub(super) by: &'static str,
}

const fn call(name: &'static str, title: &'static str, by: &'static str) -> Call {
    Call { name, title, by }
}

const KERNEL: &str = "the kernel";
const FILTER: &str = "the filter, which says that it is done";
const PASSED: &str = "the supervisor, which lets the kernel do it";
const SUPERVISOR: &str = "the supervisor";
const MOVED: &str = "the kernel, and the supervisor moves the bytes";

pub(super) const CALLS: &[Call] = &[
    call("poll", "`poll` without waiting", KERNEL),
    call("epoll", "`epoll_ctl` twice: there, and not any more", KERNEL),
    call("unix", "`send` and `recv` of a byte, Unix sockets", KERNEL),
    call("cork", "`setsockopt(TCP_CORK)`", FILTER),
    call("message", "`sendmsg` and `recvmsg` of a byte, Unix sockets", PASSED),
    call("set", "`setsockopt(SO_KEEPALIVE)`", SUPERVISOR),
    call("get", "`getsockopt(SO_TYPE)`", SUPERVISOR),
    call("name", "`getsockname`", SUPERVISOR),
    call("socket", "`socket` and `close`", SUPERVISOR),
    call("bind", "`socket`, `bind` and `close`", SUPERVISOR),
    call("byte", "a byte there and back to oneself: `send` and `recv` twice", MOVED),
    call("connection", "`socket`, `connect` to oneself, `accept`, `close` twice", SUPERVISOR),
];

const NGINX: &str = r#"
cat > nginx.conf <<END
daemon off;
pid nginx.pid;
events { worker_connections 512; }
http {
    access_log off;
    keepalive_requests 1000000;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server { listen $at:7000; root .; }
}
END
echo a page > page
exec nginx -p "$PWD/" -c nginx.conf -e error.log"#;

const KEEP_ALIVE: &str =
    "wrk -t 1 -c 32 -d 1s http://$at:7000/page | awk '/Requests.sec/ { print $2 }'";

const CLOSE: &str = "wrk -t 1 -c 16 -d 1s -H 'Connection: close' http://$at:7000/page |
    awk '/Requests.sec/ { print $2 }'";

const REDIS: &str = "exec redis-server --bind $at --port 7000 --protected-mode no --save '' > log";

const GET: &str = "redis-benchmark -h $at -p 7000 -t get -n 50000 -c 20 --csv 2> warnings |
    awk -F '\"' '/GET/ { print $4 }'";

const PIPELINE: &str =
    "redis-benchmark -h $at -p 7000 -t get -n 500000 -c 20 -P 16 --csv 2> warnings |
    awk -F '\"' '/GET/ { print $4 }'";

const IPERF3: &str = "exec iperf3 -s -p 7000 -B $at > log";

const TO_SERVER: &str = "ask_iperf3 -p 7000 -t 1 -f g; awk '/receiver/ { print $7 }' report";

const FROM_SERVER: &str = "ask_iperf3 -p 7000 -t 1 -R -f g; awk '/receiver/ { print $7 }' report";

const ECHO: &str = "exec threaded-server $at 7000";
const BYTES: &str = "visits byte $at 7000 1";
const CONNECTIONS: &str = "visits connect $at 7000 1";

/// The server in a network of its own, joined to the client's by a veth pair.
pub(super) const NATIVELY: &str = "ip link set lo up
    unshare -n bash -c 'until ip link show kernel1 > /dev/null 2>&1; do sleep 0.02; done
        ip link set lo up; ip address add 10.77.0.2/24 dev kernel1; ip link set kernel1 up
        exec bash server.sh' &
    sleep 0.2
    ip link add kernel0 type veth peer name kernel1 netns $!
    ip address add 10.77.0.1/24 dev kernel0
    ip link set kernel0 up
    bash client.sh; status=$?; kill $!; wait; exit $status";
