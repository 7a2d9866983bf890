/* Options: what they are at first, what setting them says, and what they are then. */
#include "probe.h"

#include <linux/errqueue.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/ip.h>

#ifndef SO_BUSY_POLL
#define SO_BUSY_POLL 46
#endif
#ifndef SO_ZEROCOPY
#define SO_ZEROCOPY 60
#endif
/* linux/tcp.h cannot be included beside netinet/tcp.h. */
enum { NOTSENT_LOWAT = 25, ULP = 31 };

static const char *get(int socket, int level, int option) {
    int value = 0;
    socklen_t length = sizeof value;
    if (getsockopt(socket, level, option, &value, &length) < 0) return is(-1);
    return is(value);
}

/* Notes the first value, what setting says, and the value then. */
static void try_with(int socket, int level, int option, int value) {
    note("first %s", get(socket, level, option));
    note("set %s", is(setsockopt(socket, level, option, &value, sizeof value)));
    note("then %s", get(socket, level, option));
}

static int tcp6(void) { return must(socket(AF_INET6, SOCK_STREAM, 0)); }

#define OPTION(kind, level, option, value) \
    CHECK("option: " #option " of " #kind) { try_with(kind(), level, option, value); }

OPTION(tcp, SOL_SOCKET, SO_REUSEADDR, 1)
OPTION(tcp, SOL_SOCKET, SO_REUSEPORT, 1)
OPTION(tcp, SOL_SOCKET, SO_KEEPALIVE, 7)
OPTION(tcp, SOL_SOCKET, SO_BROADCAST, 1)
OPTION(tcp, SOL_SOCKET, SO_OOBINLINE, 1)
OPTION(tcp, SOL_SOCKET, SO_DONTROUTE, 1)
OPTION(tcp, SOL_SOCKET, SO_PRIORITY, 3)
OPTION(tcp, SOL_SOCKET, SO_RCVLOWAT, 10)
OPTION(tcp, SOL_SOCKET, SO_TIMESTAMP, 1)
OPTION(tcp, SOL_SOCKET, SO_ZEROCOPY, 1)
OPTION(tcp, SOL_SOCKET, SO_TYPE, 1)
OPTION(tcp, SOL_SOCKET, SO_DOMAIN, 1)
OPTION(tcp, SOL_SOCKET, SO_PROTOCOL, 1)
OPTION(tcp, SOL_SOCKET, SO_ACCEPTCONN, 1)
OPTION(tcp, SOL_SOCKET, SO_ERROR, 1)
OPTION(tcp, IPPROTO_TCP, TCP_NODELAY, 1)
OPTION(tcp, IPPROTO_TCP, TCP_CORK, 1)
OPTION(tcp, IPPROTO_TCP, TCP_MAXSEG, 1000)
OPTION(tcp, IPPROTO_TCP, TCP_KEEPIDLE, 60)
OPTION(tcp, IPPROTO_TCP, TCP_KEEPINTVL, 5)
OPTION(tcp, IPPROTO_TCP, TCP_KEEPCNT, 3)
OPTION(tcp, IPPROTO_TCP, TCP_SYNCNT, 2)
OPTION(tcp, IPPROTO_TCP, TCP_LINGER2, 10)
OPTION(tcp, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1)
OPTION(tcp, IPPROTO_TCP, TCP_WINDOW_CLAMP, 10000)
OPTION(tcp, IPPROTO_TCP, TCP_QUICKACK, 0)
OPTION(tcp, IPPROTO_TCP, TCP_USER_TIMEOUT, 5000)
OPTION(tcp, IPPROTO_TCP, TCP_FASTOPEN, 5)
OPTION(tcp, IPPROTO_TCP, NOTSENT_LOWAT, 16384)
OPTION(tcp, IPPROTO_IP, IP_TTL, 7)
OPTION(tcp, IPPROTO_IP, IP_TOS, 0x10)
OPTION(tcp, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
OPTION(tcp, IPPROTO_IP, IP_MTU, 1)
OPTION(tcp, IPPROTO_IP, IP_RECVERR, 1)
OPTION(tcp, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
OPTION(tcp, IPPROTO_IPV6, IPV6_V6ONLY, 1)
OPTION(tcp6, IPPROTO_IPV6, IPV6_V6ONLY, 1)
OPTION(tcp6, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 9)
OPTION(tcp6, IPPROTO_IPV6, IPV6_TCLASS, 0x20)
OPTION(tcp6, SOL_SOCKET, SO_DOMAIN, 1)
OPTION(udp, SOL_SOCKET, SO_BROADCAST, 1)
OPTION(udp, SOL_SOCKET, SO_REUSEADDR, 1)
OPTION(udp, SOL_SOCKET, SO_TYPE, 1)
OPTION(udp, SOL_SOCKET, SO_PROTOCOL, 1)
OPTION(udp, IPPROTO_IP, IP_TTL, 9)
OPTION(udp, IPPROTO_IP, IP_PKTINFO, 1)
OPTION(udp, IPPROTO_IP, IP_RECVTTL, 1)
OPTION(udp, IPPROTO_IP, IP_MULTICAST_TTL, 5)
OPTION(udp, IPPROTO_IP, IP_MULTICAST_LOOP, 0)
OPTION(udp, IPPROTO_TCP, TCP_NODELAY, 1)

CHECK("option: SO_ACCEPTCONN of a listener") {
    note("%s", get(listening(1), SOL_SOCKET, SO_ACCEPTCONN));
}
CHECK("option: SO_RCVBUF doubles") {
    int socket = tcp(), value = 20000;
    note("set %s", is(setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &value, sizeof value)));
    note("then %s", get(socket, SOL_SOCKET, SO_RCVBUF));
}
CHECK("option: SO_SNDBUF doubles") {
    int socket = tcp(), value = 20000;
    note("set %s", is(setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &value, sizeof value)));
    note("then %s", get(socket, SOL_SOCKET, SO_SNDBUF));
}
CHECK("option: SO_SNDBUF and SO_RCVBUF at first") {
    int socket = tcp();
    note("%s", get(socket, SOL_SOCKET, SO_SNDBUF));
    note("%s", get(socket, SOL_SOCKET, SO_RCVBUF));
}
CHECK("option: SO_LINGER") {
    int socket = tcp();
    struct linger linger = {.l_onoff = 9, .l_linger = 9};
    socklen_t length = sizeof linger;
    must(getsockopt(socket, SOL_SOCKET, SO_LINGER, &linger, &length));
    note("first %d %d", linger.l_onoff, linger.l_linger);
    linger = (struct linger){.l_onoff = 1, .l_linger = 7};
    note("set %s", is(setsockopt(socket, SOL_SOCKET, SO_LINGER, &linger, sizeof linger)));
    linger = (struct linger){0};
    must(getsockopt(socket, SOL_SOCKET, SO_LINGER, &linger, &length));
    note("then %d %d", linger.l_onoff, linger.l_linger);
    note("short %s", is(setsockopt(socket, SOL_SOCKET, SO_LINGER, &linger, 4)));
}
static void try_timeout(int option) {
    int socket = tcp();
    struct timeval time = {9, 9};
    socklen_t length = sizeof time;
    must(getsockopt(socket, SOL_SOCKET, option, &time, &length));
    note("first %ld.%06ld", time.tv_sec, time.tv_usec);
    time = (struct timeval){3, 500000};
    note("set %s", is(setsockopt(socket, SOL_SOCKET, option, &time, sizeof time)));
    must(getsockopt(socket, SOL_SOCKET, option, &time, &length));
    note("then %ld.%06ld", time.tv_sec, time.tv_usec);
    time = (struct timeval){0, 2000000};
    note("wrong %s", is(setsockopt(socket, SOL_SOCKET, option, &time, sizeof time)));
}
CHECK("option: SO_RCVTIMEO") { try_timeout(SO_RCVTIMEO); }
CHECK("option: SO_SNDTIMEO") { try_timeout(SO_SNDTIMEO); }
CHECK("option: TCP_CONGESTION") {
    int socket = tcp();
    char name[16] = {0};
    socklen_t length = sizeof name;
    must(getsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, name, &length));
    note("%s of %d bytes", *name ? "a name" : "nothing", (int)length);
    note("reno %s", is(setsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, "reno", 4)));
    memset(name, 0, length = sizeof name);
    must(getsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, name, &length));
    note("then %s", name);
    note("unknown %s", is(setsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, "hope", 4)));
}
CHECK("option: TCP_ULP of kTLS") {
    note("%s", is(setsockopt(connected().client, IPPROTO_TCP, ULP, "nothing", 7)));
}
CHECK("option: TCP_MAXSEG out of range") {
    int socket = tcp();
    note("%s", is(setsockopt(socket, IPPROTO_TCP, TCP_MAXSEG, &(int){10}, 4)));
    note("%s", is(setsockopt(socket, IPPROTO_TCP, TCP_MAXSEG, &(int){40000}, 4)));
}
CHECK("option: keep-alive out of range") {
    int socket = tcp();
    note("%s", is(setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &(int){0}, 4)));
    note("%s", is(setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &(int){40000}, 4)));
    note("%s", is(setsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT, &(int){200}, 4)));
}
CHECK("option: IP_TTL out of range") {
    note("%s", is(setsockopt(tcp(), IPPROTO_IP, IP_TTL, &(int){300}, 4)));
}
CHECK("option: IP_TTL taken back") {
    int sockets[] = {tcp(), udp()};
    for (int i = 0; i < 2; i++) {
        note("set %s", is(setsockopt(sockets[i], IPPROTO_IP, IP_TTL, &(int){9}, 4)));
        note("taken back %s", is(setsockopt(sockets[i], IPPROTO_IP, IP_TTL, &(int){-1}, 4)));
        note("then %s", get(sockets[i], IPPROTO_IP, IP_TTL));
    }
}
CHECK("option: unknown") {
    int socket = tcp();
    note("get %s", get(socket, SOL_SOCKET, 9999));
    note("set %s", is(setsockopt(socket, SOL_SOCKET, 9999, &(int){1}, 4)));
    note("of TCP %s", get(socket, IPPROTO_TCP, 9999));
    note("set %s", is(setsockopt(socket, IPPROTO_TCP, 9999, &(int){1}, 4)));
    note("of IP %s", get(socket, IPPROTO_IP, 9999));
    note("set %s", is(setsockopt(socket, IPPROTO_IP, 9999, &(int){1}, 4)));
    note("level %s", get(socket, 9999, 1));
    note("set %s", is(setsockopt(socket, 9999, 1, &(int){1}, 4)));
}
CHECK("option: lengths") {
    int socket = tcp();
    note("set short %s", is(setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, "x", 1)));
    note("set short %s", is(setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, "x", 1)));
    note("set negative %s", is(setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, "x", -1)));
    long value = 0x1111111111111111;
    socklen_t length = 8;
    must(getsockopt(socket, SOL_SOCKET, SO_TYPE, &value, &length));
    note("get long %d %lx", (int)length, value);
    value = 0x1111111111111111;
    length = 2;
    note("get short %s", is(getsockopt(socket, SOL_SOCKET, SO_TYPE, &value, &length)));
    note("%d %lx", (int)length, value);
    length = -1;
    note("get negative %s", is(getsockopt(socket, SOL_SOCKET, SO_TYPE, &value, &length)));
}
CHECK("option: an accepted connection has its listener's") {
    int listener = listening(1), client = tcp(), value = 1;
    must(setsockopt(listener, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof value));
    must(setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &value, sizeof value));
    value = 77;
    must(setsockopt(listener, IPPROTO_TCP, TCP_KEEPIDLE, &value, sizeof value));
    struct linger linger = {.l_onoff = 1, .l_linger = 7};
    must(setsockopt(listener, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    must(connect_to(client, port_of(listener)));
    int server = must(accept(listener, NULL, NULL));
    note("keep-alive %s", get(server, SOL_SOCKET, SO_KEEPALIVE));
    note("no delay %s", get(server, IPPROTO_TCP, TCP_NODELAY));
    note("idle %s", get(server, IPPROTO_TCP, TCP_KEEPIDLE));
    must(getsockopt(server, SOL_SOCKET, SO_LINGER, &linger, &(socklen_t){sizeof linger}));
    note("linger %d %d", linger.l_onoff, linger.l_linger);
    note("accepts %s", get(server, SOL_SOCKET, SO_ACCEPTCONN));
}
CHECK("option: set while connected") {
    struct ends ends = connected();
    int one = 1;
    note("no delay %s", is(setsockopt(ends.client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one)));
    note("keep-alive %s", is(setsockopt(ends.client, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one)));
    note("then %s", get(ends.client, SOL_SOCKET, SO_KEEPALIVE));
    note("reno %s", is(setsockopt(ends.client, IPPROTO_TCP, TCP_CONGESTION, "reno", 4)));
    note("reuse %s", is(setsockopt(ends.client, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one)));
    must(send(ends.client, "x", 1, 0));
    note("%s", names_of(happens_within(ends.server, POLLIN)));
}
CHECK("option: IPV6_V6ONLY after bind") {
    int socket = tcp6();
    struct sockaddr_in6 any = {.sin6_family = AF_INET6};
    must(bind(socket, (struct sockaddr *)&any, sizeof any));
    note("%s", is(setsockopt(socket, IPPROTO_IPV6, IPV6_V6ONLY, &(int){1}, 4)));
}
CHECK("option: SO_COOKIE") {
    unsigned long first = 0, second = 0;
    socklen_t length = sizeof first;
    must(getsockopt(tcp(), SOL_SOCKET, SO_COOKIE, &first, &length));
    must(getsockopt(tcp(), SOL_SOCKET, SO_COOKIE, &second, &length));
    note("%s", first && second && first != second ? "each its own" : "none");
}

static const char *state_of(int socket) {
    struct tcp_info info = {0};
    socklen_t length = sizeof info;
    if (getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &length) < 0) return is(-1);
    return is(info.tcpi_state);
}
CHECK("TCP_INFO: states") {
    note("fresh %s", state_of(tcp()));
    note("listening %s", state_of(listening(1)));
    struct ends ends = connected();
    note("connected %s", state_of(ends.client));
    must(shutdown(ends.client, SHUT_WR));
    settle();
    note("half closed %s", state_of(ends.client));
    note("the peer %s", state_of(ends.server));
    must(close(ends.server));
    settle();
    note("closed %s", state_of(ends.client));
}
CHECK("TCP_INFO: while connecting") {
    struct silence silence = silent();
    int socket = tcp();
    non_blocking(socket);
    note("%s", is(connect_to(socket, silence.port)));
    note("%s", state_of(socket));
}
CHECK("TCP_INFO: what is measured") {
    struct ends ends = connected();
    must(send(ends.client, "hello", 5, 0));
    happens_within(ends.server, POLLIN);
    struct tcp_info info = {0};
    socklen_t length = sizeof info;
    must(getsockopt(ends.client, IPPROTO_TCP, TCP_INFO, &info, &length));
    note("%s", length >= 104 ? "whole" : "short");
    note("options %s", info.tcpi_options & TCPI_OPT_SACK ? "sack" : "none");
    note("mss %s", info.tcpi_snd_mss >= 500 ? "some" : "none");
    note("cwnd %s", info.tcpi_snd_cwnd >= 10 ? "10 or more" : "small");
    note("rtt %s", info.tcpi_rtt > 0 ? "measured" : "none");
    note("rto %s", info.tcpi_rto >= 200000 ? "some" : "none");
}
CHECK("TCP_INFO: short buffer") {
    unsigned char first = 99;
    socklen_t length = 1;
    note("%s", is(getsockopt(connected().client, IPPROTO_TCP, TCP_INFO, &first, &length)));
    note("%d bytes, state %d", (int)length, first);
}
CHECK("TCP_INFO: of a datagram socket") { note("%s", state_of(udp())); }
CHECK("TCP_INFO: MSS and MTU of a connection") {
    struct ends ends = connected();
    note("MSS %s", atoi(get(ends.client, IPPROTO_TCP, TCP_MAXSEG)) >= 500 ? "some" : "none");
    note("MTU %s", atoi(get(ends.client, IPPROTO_IP, IP_MTU)) >= 576 ? "some" : "none");
}
CHECK("option: what is refused, and how") {
    int stream = tcp(), raw = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    struct tcp_md5sig key = {.tcpm_keylen = 3, .tcpm_key = "key"};
    struct sockaddr_in peer = loopback(htons(9));
    memcpy(&key.tcpm_addr, &peer, sizeof peer);
    char byte[8] = {1}, name[IFNAMSIZ] = "lo";
    struct ifreq record = {.ifr_name = "lo", .ifr_data = byte};
    note("raw %s", is(raw));
    note("MPTCP %s", socket(AF_INET, SOCK_STREAM, 262) < 0 ? is(-1) : "0");
    note("BINDTODEVICE %s", is(setsockopt(stream, SOL_SOCKET, SO_BINDTODEVICE, name, sizeof name)));
    note("MARK %s", is(setsockopt(stream, SOL_SOCKET, SO_MARK, &(int){1}, sizeof(int))));
    note("SNDBUFFORCE %s", is(setsockopt(stream, SOL_SOCKET, SO_SNDBUFFORCE, &(int){100000}, sizeof(int))));
    note("TIMESTAMPING %s", is(setsockopt(stream, SOL_SOCKET, SO_TIMESTAMPING, &(int){8}, sizeof(int))));
    note("MD5SIG %s", is(setsockopt(stream, IPPROTO_TCP, TCP_MD5SIG, &key, sizeof key)));
    note("FASTOPEN_CONNECT %s", is(setsockopt(stream, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &(int){1}, sizeof(int))));
    note("REPAIR %s", is(setsockopt(stream, IPPROTO_TCP, TCP_REPAIR, &(int){1}, sizeof(int))));
    note("ETHTOOL %s", is(ioctl(stream, SIOCETHTOOL, &record)));
    note("ERRQUEUE %s", is(recv(connected().client, byte, 1, MSG_ERRQUEUE)));
}
