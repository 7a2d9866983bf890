/* What each call says in each state of a TCP socket. */
#include "probe.h"

static const char *accepts(int socket) { return is(accept(socket, NULL, NULL)); }

static const char *peer_of(int socket) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    return is(getpeername(socket, (struct sockaddr *)&address, &length));
}

static const char *sends(int socket) { return is(send(socket, "x", 1, MSG_NOSIGNAL)); }

static const char *receives(int socket) {
    char byte;
    return is(recv(socket, &byte, 1, MSG_DONTWAIT));
}

static const char *error_of(int socket) {
    int error;
    socklen_t length = sizeof error;
    must(getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &length));
    return error ? strerrorname_np(error) : "0";
}

/* A socket whose SYN nobody answers. */
static int connecting(void) {
    struct silence silence = silent();
    int socket = tcp();
    non_blocking(socket);
    if (connect_to(socket, silence.port) == 0 || errno != EINPROGRESS) note("not connecting");
    return socket;
}

CHECK("fresh: accept") { note("%s", accepts(tcp())); }
CHECK("fresh: getpeername") { note("%s", peer_of(tcp())); }
CHECK("fresh: shutdown") { note("%s", is(shutdown(tcp(), SHUT_WR))); }
CHECK("fresh: send") { note("%s", sends(tcp())); }
CHECK("fresh: recv") { note("%s", receives(tcp())); }
CHECK("fresh: write raises SIGPIPE") {
    count_signal(SIGPIPE, 0);
    note("%s", is(write(tcp(), "x", 1)));
    note("signals %d", (int)signals);
}
CHECK("fresh: read") {
    char byte;
    int socket = tcp();
    count_signal(SIGALRM, 0);
    alarm_after(500);
    note("%s", is(read(socket, &byte, 1)));
}
CHECK("fresh: name") {
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    note("%s", is(getsockname(tcp(), (struct sockaddr *)&address, &length)));
    note("family %d, length %d, port %d, address %x", address.sin_family, (int)length,
         address.sin_port, address.sin_addr.s_addr);
}
CHECK("fresh: SO_ERROR") { note("%s", error_of(tcp())); }
CHECK("fresh: listen binds to a port") {
    int socket = tcp();
    note("%s", is(listen(socket, 1)));
    note("port %s", port_of(socket) ? "given" : "0");
}

CHECK("connected: connect once more in the same words") {
    int listener = listening(1), socket = tcp();
    struct sockaddr_in address = loopback(port_of(listener));
    for (int i = 0; i < 2; i++) note("%s", is(connect(socket, (struct sockaddr *)&address, sizeof address)));
}
CHECK("bound: bind again") {
    int socket = tcp();
    must(bind_to(socket, 0));
    note("%s", is(bind_to(socket, 0)));
}
CHECK("bound: accept") {
    int socket = tcp();
    must(bind_to(socket, 0));
    note("%s", accepts(socket));
}
CHECK("bound: connect keeps the port") {
    int listener = listening(1), socket = tcp();
    must(bind_to(socket, 0));
    in_port_t port = port_of(socket);
    note("%s", is(connect_to(socket, port_of(listener))));
    note("%s", port == port_of(socket) ? "kept" : "another");
}
CHECK("bound: connect to itself") {
    int socket = tcp();
    must(bind_to(socket, 0));
    alarm_after(900);
    count_signal(SIGALRM, 0);
    int outcome = connect_to(socket, port_of(socket));
    note("%s", is(outcome));
    if (outcome < 0) return;
    note("send %s", sends(socket));
    happens_within(socket, POLLIN);
    note("recv %s", receives(socket));
}

CHECK("bind: port in use") {
    int first = listening(1);
    note("%s", is(bind_to(tcp(), port_of(first))));
}
CHECK("bind: SO_REUSEADDR beside a bound socket") {
    int first = tcp(), second = tcp(), yes = 1;
    must(setsockopt(first, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes));
    must(setsockopt(second, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes));
    must(bind_to(first, 0));
    note("%s", is(bind_to(second, port_of(first))));
    note("listen %s", is(listen(first, 1)));
    note("listen %s", is(listen(second, 1)));
}
CHECK("bind: SO_REUSEADDR beside a listener") {
    int first = tcp(), second = tcp(), yes = 1;
    must(setsockopt(first, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes));
    must(setsockopt(second, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes));
    must(bind_to(first, 0));
    must(listen(first, 1));
    note("%s", is(bind_to(second, port_of(first))));
}
CHECK("bind: SO_REUSEPORT on one of two") {
    int first = tcp(), second = tcp(), yes = 1;
    must(setsockopt(first, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes));
    must(bind_to(first, 0));
    note("%s", is(bind_to(second, port_of(first))));
}
CHECK("bind: SO_REUSEPORT on both") {
    int first = tcp(), second = tcp(), yes = 1;
    must(setsockopt(first, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes));
    must(setsockopt(second, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes));
    must(bind_to(first, 0));
    must(listen(first, 1));
    note("%s", is(bind_to(second, port_of(first))));
    note("listen %s", is(listen(second, 1)));
}
CHECK("bind: all addresses beside one of them") {
    int first = listening(1);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = port_of(first)};
    note("%s", is(bind(tcp(), (struct sockaddr *)&any, sizeof any)));
}
CHECK("bind: foreign address") {
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(0xc6336401); /* 198.51.100.1 (RFC 5737) */
    note("%s", is(bind(tcp(), (struct sockaddr *)&address, sizeof address)));
}
CHECK("bind: wrong family") {
    struct sockaddr_in address = loopback(0);
    address.sin_family = AF_INET6;
    note("%s", is(bind(tcp(), (struct sockaddr *)&address, sizeof address)));
    address.sin_family = AF_UNSPEC;
    note("unspecified %s", is(bind(tcp(), (struct sockaddr *)&address, sizeof address)));
    address.sin_addr.s_addr = 0;
    note("and any %s", is(bind(tcp(), (struct sockaddr *)&address, sizeof address)));
}
CHECK("bind: short address") {
    struct sockaddr_in address = loopback(0);
    note("%s", is(bind(tcp(), (struct sockaddr *)&address, 8)));
    note("%s", is(bind(tcp(), (struct sockaddr *)&address, 0)));
    note("too long %s", is(bind(tcp(), (struct sockaddr *)&address, 4096)));
}
CHECK("bind: the whole of 127/8") {
    struct sockaddr_in address = loopback(0);
    address.sin_addr.s_addr = htonl(0x7f010203);
    note("%s", is(bind(tcp(), (struct sockaddr *)&address, sizeof address)));
}
CHECK("bind: after a connection was closed here first") {
    int listener = tcp(), client = tcp(), yes = 1;
    must(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes));
    must(bind_to(listener, 0));
    must(listen(listener, 1));
    in_port_t port = port_of(listener);
    must(connect_to(client, port));
    int server = must(accept(listener, NULL, NULL));
    must(close(listener));
    must(close(server));
    settle();
    must(close(client));
    settle();
    int without = tcp(), again = tcp();
    note("%s", is(bind_to(without, port)));
    must(close(without));
    settle();
    must(setsockopt(again, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes));
    note("with SO_REUSEADDR %s", is(bind_to(again, port)));
    note("listen %s", is(listen(again, 1)));
}

CHECK("listening: connect") {
    int listener = listening(1);
    note("%s", is(connect_to(listener, port_of(listener))));
}
CHECK("listening: bind") { note("%s", is(bind_to(listening(1), 0))); }
CHECK("listening: listen again") { note("%s", is(listen(listening(1), 5))); }
CHECK("listening: send") { note("%s", sends(listening(1))); }
CHECK("listening: recv") { note("%s", receives(listening(1))); }
CHECK("listening: getpeername") { note("%s", peer_of(listening(1))); }
CHECK("listening: accept of nothing") {
    int listener = listening(1);
    non_blocking(listener);
    note("%s", accepts(listener));
}
CHECK("listening: shutdown for reading") {
    int listener = listening(1);
    in_port_t port = port_of(listener);
    note("%s", is(shutdown(listener, SHUT_RD)));
    note("accept %s", accepts(listener));
    note("connect %s", is(connect_to(tcp(), port)));
    note("listen %s", is(listen(listener, 1)));
}
CHECK("listening: shutdown for writing") {
    int listener = listening(1);
    note("%s", is(shutdown(listener, SHUT_WR)));
    note("connect %s", is(connect_to(tcp(), port_of(listener))));
}

CHECK("connecting: connect again") {
    struct silence silence = silent();
    int socket = tcp();
    non_blocking(socket);
    note("%s", is(connect_to(socket, silence.port)));
    note("%s", is(connect_to(socket, silence.port)));
}
CHECK("connecting: send and recv") {
    int socket = connecting();
    note("send %s", sends(socket));
    note("recv %s", receives(socket));
}
CHECK("connecting: names") {
    int socket = connecting();
    note("peer %s", peer_of(socket));
    note("port %s", port_of(socket) ? "given" : "0");
}
CHECK("connecting: SO_ERROR") {
    int socket = connecting();
    note("%s", error_of(socket));
}
CHECK("connecting: listen, accept, bind") {
    int socket = connecting();
    note("listen %s", is(listen(socket, 1)));
    note("accept %s", accepts(socket));
    note("bind %s", is(bind_to(socket, 0)));
}
CHECK("connecting: shutdown") {
    int socket = connecting();
    note("%s", is(shutdown(socket, SHUT_RDWR)));
    note("%s", happens(socket));
}

CHECK("connected: connect again") {
    struct ends ends = connected();
    note("%s", is(connect_to(ends.client, port_of(ends.server))));
}
CHECK("connected: accept, listen, bind") {
    struct ends ends = connected();
    note("accept %s", accepts(ends.client));
    note("listen %s", is(listen(ends.client, 1)));
    note("bind %s", is(bind_to(ends.client, 0)));
}
CHECK("connected: recv of nothing") {
    struct ends ends = connected();
    note("%s", receives(ends.client));
}
CHECK("connected: dissolved with AF_UNSPEC") {
    struct ends ends = connected();
    struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    note("%s", is(connect(ends.client, &nobody, sizeof nobody)));
    note("peer name %s", peer_of(ends.client));
    note("other end %s", happens(ends.server));
    int listener = listening(1);
    note("connect anew %s", is(connect_to(ends.client, port_of(listener))));
}

CHECK("refused: blocking") {
    int socket = tcp();
    note("%s", is(connect_to(socket, nobodys_port())));
    note("SO_ERROR %s", error_of(socket));
    note("peer %s", peer_of(socket));
}
CHECK("refused: and connected after") {
    int socket = tcp(), listener = listening(1);
    note("%s", is(connect_to(socket, nobodys_port())));
    note("%s", is(connect_to(socket, port_of(listener))));
    note("send %s", sends(socket));
}
CHECK("refused: non-blocking") {
    int socket = tcp();
    in_port_t port = nobodys_port();
    non_blocking(socket);
    note("%s", is(connect_to(socket, port)));
    note("%s", happens(socket));
    note("SO_ERROR %s", error_of(socket));
    note("then %s", error_of(socket));
}
CHECK("refused: non-blocking, connect again tells") {
    int socket = tcp();
    in_port_t port = nobodys_port();
    non_blocking(socket);
    note("%s", is(connect_to(socket, port)));
    settle();
    note("%s", is(connect_to(socket, port)));
    settle();
    note("%s", is(connect_to(socket, port)));
}
CHECK("refused: non-blocking, read tells") {
    int socket = tcp();
    in_port_t port = nobodys_port();
    non_blocking(socket);
    note("%s", is(connect_to(socket, port)));
    settle();
    note("recv %s", receives(socket));
    note("recv %s", receives(socket));
}
CHECK("refused: non-blocking, write tells") {
    int socket = tcp();
    in_port_t port = nobodys_port();
    non_blocking(socket);
    note("%s", is(connect_to(socket, port)));
    settle();
    note("send %s", sends(socket));
    note("send %s", sends(socket));
}
CHECK("refused: another try with the same socket") {
    int socket = tcp(), listener = listening(1);
    in_port_t port = nobodys_port();
    non_blocking(socket);
    note("%s", is(connect_to(socket, port)));
    settle();
    note("SO_ERROR %s", error_of(socket));
    note("%s", is(connect_to(socket, port_of(listener))));
    settle();
    note("%s", is(connect_to(socket, port_of(listener))));
    settle();
    note("%s", happens(socket));
}
CHECK("non-blocking connect: twice after success") {
    int socket = tcp(), listener = listening(1);
    non_blocking(socket);
    note("%s", is(connect_to(socket, port_of(listener))));
    note("%s", names_of(happens_within(socket, POLLOUT)));
    note("SO_ERROR %s", error_of(socket));
    note("%s", is(connect_to(socket, port_of(listener))));
    note("%s", is(connect_to(socket, port_of(listener))));
}

CHECK("connect: wrong addresses") {
    struct sockaddr_in address = loopback(nobodys_port());
    note("short %s", is(connect(tcp(), (struct sockaddr *)&address, 8)));
    note("one byte %s", is(connect(tcp(), (struct sockaddr *)&address, 1)));
    address.sin_family = AF_INET6;
    note("family %s", is(connect(tcp(), (struct sockaddr *)&address, sizeof address)));
    note("port 0 %s", is(connect_to(tcp(), 0)));
    note("pointer %s", is(connect(tcp(), (struct sockaddr *)8, sizeof address)));
}
CHECK("connect: to 0.0.0.0") {
    int listener = listening(1);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = port_of(listener)};
    int socket = tcp();
    note("%s", is(connect(socket, (struct sockaddr *)&address, sizeof address)));
    socklen_t length = sizeof address;
    must(getpeername(socket, (struct sockaddr *)&address, &length));
    note("peer %s", inet_ntoa(address.sin_addr));
}
CHECK("connect: to broadcast and multicast") {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(9)};
    address.sin_addr.s_addr = htonl(INADDR_BROADCAST);
    note("%s", is(connect(tcp(), (struct sockaddr *)&address, sizeof address)));
    address.sin_addr.s_addr = htonl(0xe0000001);
    note("%s", is(connect(tcp(), (struct sockaddr *)&address, sizeof address)));
}
CHECK("pointers: that lead nowhere") {
    struct ends ends = connected();
    socklen_t length = 16;
    note("getsockname %s", is(getsockname(ends.client, (struct sockaddr *)8, &length)));
    note("its length %s", is(getsockname(ends.client, (struct sockaddr *)&ends, (socklen_t *)8)));
    note("bind %s", is(bind(tcp(), (struct sockaddr *)8, 16)));
    note("setsockopt %s", is(setsockopt(ends.client, SOL_SOCKET, SO_KEEPALIVE, (void *)8, 4)));
    note("getsockopt %s", is(getsockopt(ends.client, SOL_SOCKET, SO_TYPE, (void *)8, &length)));
    note("send %s", is(send(ends.client, (void *)8, 1, MSG_NOSIGNAL)));
    note("sendmsg %s", is(sendmsg(ends.client, (void *)8, 0)));
}
CHECK("descriptors: that are no sockets") {
    int file = must(open("/dev/null", O_RDWR));
    note("bind %s", is(bind_to(file, 0)));
    note("listen %s", is(listen(file, 1)));
    note("connect %s", is(connect_to(file, 80)));
    note("getsockopt %s", is(getsockopt(file, SOL_SOCKET, SO_TYPE, &(int){0}, &(socklen_t){4})));
    note("accept %s", accepts(file));
    note("closed %s", is(listen(900, 1)));
    note("closed %s", is(connect_to(900, 80)));
}
CHECK("socket: of other kinds") {
    note("protocol %s", is(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP)));
    note("type %s", is(socket(AF_INET, SOCK_SEQPACKET, 0)));
    note("unknown type %s", is(socket(AF_INET, 77, 0)));
    note("negative protocol %s", is(socket(AF_INET, SOCK_STREAM, -1)));
    note("family %s", is(socket(250, SOCK_STREAM, 0)));
    note("flags %s", is(socket(AF_INET, SOCK_STREAM | 0x100000, 0)));
    int both[2];
    note("pair %s", is(socketpair(AF_INET, SOCK_STREAM, 0, both)));
    note("unix pair %s", is(socketpair(AF_UNIX, SOCK_STREAM, 0, both)));
}
