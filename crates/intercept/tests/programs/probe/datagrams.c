/* UDP: connected and not, names, sizes, errors and events. */
#include "probe.h"

#include <netinet/ip.h>

static char buffer[70000];

static int bound(void) {
    int socket = udp();
    must(bind_to(socket, 0));
    return socket;
}

static const char *sends_to(int socket, in_port_t port, size_t length) {
    struct sockaddr_in to = loopback(port);
    return is(sendto(socket, buffer, length, 0, (struct sockaddr *)&to, sizeof to));
}

static const char *receives(int socket) {
    happens_within(socket, POLLIN);
    return is(recv(socket, buffer, sizeof buffer, MSG_DONTWAIT));
}

/* Receives with the name; whose it is. */
static const char *source(int socket, int expected) {
    happens_within(socket, POLLIN);
    struct sockaddr_in from = {0};
    socklen_t length = sizeof from;
    if (recvfrom(socket, buffer, sizeof buffer, MSG_DONTWAIT, (struct sockaddr *)&from, &length) < 0) return is(-1);
    if (length != sizeof from) return "a name of another length";
    return from.sin_port == port_of(expected) ? "the sender" : "another";
}

CHECK("udp: there and back by name") {
    int one = bound(), two = bound();
    note("%s", sends_to(one, port_of(two), 5));
    note("from %s", source(two, one));
    note("%s", sends_to(two, port_of(one), 7));
    note("from %s", source(one, two));
}
CHECK("udp: several in order, with their names") {
    int one = bound(), two = bound(), here = bound();
    for (int i = 1; i <= 6; i++) must(atoi(sends_to(i % 2 ? one : two, port_of(here), i)) == i ? 0 : -1);
    for (int i = 1; i <= 6; i++) note("%s", source(here, i % 2 ? one : two));
}
CHECK("udp: with names and without, mixed") {
    int one = bound(), here = bound();
    for (int i = 1; i <= 4; i++) sends_to(one, port_of(here), i);
    note("%s", receives(here));
    note("%s", source(here, one));
    happens_within(here, POLLIN);
    note("%s", is(read(here, buffer, sizeof buffer)));
    note("%s", source(here, one));
}
CHECK("udp: connects to one after the other") {
    count_signal(SIGALRM, SA_RESTART); /* A program that no signal interrupts repeats no call either. */
    int here = udp(), peers[] = {bound(), bound(), bound()};
    struct sockaddr_in to = loopback(0);
    int ports[] = {port_of(peers[0]), port_of(peers[1]), port_of(peers[2])};
    for (int i = 0; i < 3; i++) {
        to.sin_port = ports[i];
        must(connect(here, (struct sockaddr *)&to, sizeof to));
    }
    must(send(here, "x", 1, 0));
    for (int i = 0; i < 3; i++) note("%d %s", i, receives(peers[i]));
}
CHECK("udp: sends before it is bound") {
    int one = udp(), two = bound();
    note("%s", sends_to(one, port_of(two), 5));
    note("port %s", port_of(one) ? "given" : "0");
    note("from %s", source(two, one));
}
CHECK("udp: send without a peer") {
    int socket = udp();
    note("%s", is(send(socket, "x", 1, 0)));
    note("%s", is(write(socket, "x", 1)));
    note("peer %s", is(getpeername(socket, (struct sockaddr *)buffer, &(socklen_t){16})));
    note("shutdown %s", is(shutdown(socket, SHUT_RDWR)));
}
CHECK("udp: connected") {
    int one = bound(), two = bound(), stranger = bound();
    note("%s", is(connect_to(one, port_of(two))));
    note("%s", is(send(one, "abc", 3, 0)));
    note("from %s", source(two, one));
    note("%s", is(connect_to(two, port_of(one))));
    note("%s", is(write(two, "abcd", 4)));
    note("%s", is(read(one, buffer, sizeof buffer)));
    sends_to(stranger, port_of(one), 9);
    note("a stranger's %s", happens(one));
}
CHECK("udp: connected, and another name beside") {
    int one = bound(), two = bound(), three = bound();
    must(connect_to(one, port_of(two)));
    note("%s", sends_to(one, port_of(three), 5));
    note("from %s", source(three, one));
}
CHECK("udp: disconnected with AF_UNSPEC") {
    int one = bound(), two = bound();
    must(connect_to(one, port_of(two)));
    struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    note("%s", is(connect(one, &nobody, sizeof nobody)));
    note("send %s", is(send(one, "x", 1, 0)));
    note("to %s", sends_to(one, port_of(two), 3));
}
CHECK("udp: connect again to another") {
    int one = bound(), two = bound(), three = bound();
    must(connect_to(one, port_of(two)));
    note("%s", is(connect_to(one, port_of(three))));
    must(send(one, "x", 1, 0));
    note("%s", receives(three));
}
CHECK("udp: nobody is there, connected") {
    int one = bound(), two = bound();
    must(connect_to(one, port_of(two)));
    must(close(two));
    note("%s", is(send(one, "x", 1, 0)));
    note("%s", happens(one));
    note("%s", is(recv(one, buffer, 9, MSG_DONTWAIT)));
    note("then %s", is(recv(one, buffer, 9, MSG_DONTWAIT)));
}
CHECK("udp: nobody is there, SO_ERROR tells") {
    int one = bound(), two = bound(), error;
    must(connect_to(one, port_of(two)));
    must(close(two));
    must(send(one, "x", 1, 0));
    settle();
    must(getsockopt(one, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error}));
    note("%s", error ? strerrorname_np(error) : "0");
}
CHECK("udp: nobody is there, send tells") {
    int one = bound(), two = bound();
    must(connect_to(one, port_of(two)));
    must(close(two));
    must(send(one, "x", 1, 0));
    settle();
    note("%s", is(send(one, "x", 1, 0)));
}
CHECK("udp: nobody is there, a blocked read is told") {
    int one = bound(), two = bound();
    must(connect_to(one, port_of(two)));
    must(close(two));
    count_signal(SIGALRM, 0);
    alarm_after(900);
    void send_one(int socket) { must(send(socket, "x", 1, 0)); }
    child_after(100, send_one, one);
    note("%s", is(read(one, buffer, 9)));
}
CHECK("udp: nobody is there, not connected") {
    int one = bound(), two = bound();
    in_port_t port = port_of(two);
    must(close(two));
    note("%s", sends_to(one, port, 1));
    note("%s", happens(one));
}
CHECK("udp: nothing in a datagram") {
    int one = bound(), two = bound();
    note("%s", sends_to(one, port_of(two), 0));
    note("%s", happens(two));
    note("%s", receives(two));
    note("%s", receives(two));
}
CHECK("udp: as long as can be") {
    int one = bound(), two = bound();
    must(setsockopt(two, SOL_SOCKET, SO_RCVBUF, &(int){200000}, sizeof(int)));
    note("%s", sends_to(one, port_of(two), 65507));
    note("%s", receives(two));
    note("longer %s", sends_to(one, port_of(two), 65508));
}
CHECK("udp: cut") {
    int one = bound(), two = bound();
    sends_to(one, port_of(two), 10);
    sends_to(one, port_of(two), 3);
    happens_within(two, POLLIN);
    note("%s", is(recv(two, buffer, 4, 0)));
    note("the rest is gone, next %s", receives(two));
}
CHECK("udp: MSG_TRUNC tells the length") {
    int one = bound(), two = bound();
    sends_to(one, port_of(two), 10);
    happens_within(two, POLLIN);
    note("%s", is(recv(two, buffer, 4, MSG_TRUNC)));
}
CHECK("udp: MSG_PEEK with names") {
    int one = bound(), two = bound();
    sends_to(one, port_of(two), 10);
    happens_within(two, POLLIN);
    struct sockaddr_in from = {0};
    socklen_t length = sizeof from;
    note("%s", is(recvfrom(two, buffer, 99, MSG_PEEK, (struct sockaddr *)&from, &length)));
    note("%s", from.sin_port == port_of(one) ? "the sender" : "another");
    note("from %s", source(two, one));
    note("%s", receives(two));
}
CHECK("udp: recvmsg") {
    int one = bound(), two = bound();
    sends_to(one, port_of(two), 10);
    happens_within(two, POLLIN);
    struct sockaddr_in from = {0};
    struct iovec place = {buffer, 4};
    struct msghdr in = {.msg_iov = &place, .msg_iovlen = 1, .msg_name = &from, .msg_namelen = sizeof from};
    note("%s", is(recvmsg(two, &in, 0)));
    note("name of %d bytes, %s", (int)in.msg_namelen, from.sin_port == port_of(one) ? "the sender" : "another");
    note("%s", in.msg_flags & MSG_TRUNC ? "cut" : "whole");
}
CHECK("udp: sendmsg gathers") {
    int one = bound(), two = bound();
    struct sockaddr_in to = loopback(port_of(two));
    struct iovec parts[2] = {{"abc", 3}, {"de", 2}};
    struct msghdr out = {.msg_iov = parts, .msg_iovlen = 2, .msg_name = &to, .msg_namelen = sizeof to};
    note("%s", is(sendmsg(one, &out, 0)));
    note("%s", receives(two));
    note("%.5s", buffer);
}
CHECK("udp: sendmmsg and recvmmsg") {
    int one = bound(), two = bound();
    struct sockaddr_in to = loopback(port_of(two)), from[3] = {0};
    struct iovec parts[3] = {{"abc", 3}, {"de", 2}, {"", 0}}, places[3];
    struct mmsghdr out[3] = {0}, in[3] = {0};
    for (int i = 0; i < 3; i++) {
        places[i] = (struct iovec){buffer + 100 * i, 100};
        out[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1, .msg_name = &to, .msg_namelen = sizeof to};
        in[i].msg_hdr = (struct msghdr){.msg_iov = &places[i], .msg_iovlen = 1, .msg_name = &from[i], .msg_namelen = sizeof from[i]};
    }
    note("%s", is(sendmmsg(one, out, 3, 0)));
    settle();
    note("%s", is(recvmmsg(two, in, 3, MSG_DONTWAIT, NULL)));
    for (int i = 0; i < 3; i++) note("%u %s", in[i].msg_len, from[i].sin_port == port_of(one) ? "the sender" : "another");
}
CHECK("udp: IP_PKTINFO") {
    int one = bound(), two = bound();
    if (setsockopt(two, IPPROTO_IP, IP_PKTINFO, &(int){1}, sizeof(int)) < 0) {
        note("%s", is(-1));
        return;
    }
    sends_to(one, port_of(two), 3);
    happens_within(two, POLLIN);
    char control[128];
    struct iovec place = {buffer, 99};
    struct msghdr in = {.msg_iov = &place, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    note("%s", is(recvmsg(two, &in, 0)));
    struct cmsghdr *header = CMSG_FIRSTHDR(&in);
    note("%s", header && header->cmsg_type == IP_PKTINFO ? "told" : "not told");
    if (header) note("%s", inet_ntoa(((struct in_pktinfo *)CMSG_DATA(header))->ipi_addr));
}
CHECK("udp: FIONREAD tells of the next") {
    int one = bound(), two = bound(), count;
    sends_to(one, port_of(two), 10);
    sends_to(one, port_of(two), 20);
    settle();
    must(ioctl(two, FIONREAD, &count));
    note("%d", count);
}
CHECK("udp: events") {
    int one = bound(), two = bound();
    note("fresh %s", happens(udp()));
    note("%s", happens(two));
    sends_to(one, port_of(two), 10);
    note("%s", happens(two));
    receives(two);
    note("%s", happens(two));
}
CHECK("udp: edge") {
    int one = bound(), two = bound(), watcher = must(epoll_create1(0));
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    must(epoll_ctl(watcher, EPOLL_CTL_ADD, two, &event));
    for (int i = 0; i < 2; i++) {
        sends_to(one, port_of(two), 10);
        settle();
        note("%d", epoll_wait(watcher, &event, 1, 0));
        note("%d", epoll_wait(watcher, &event, 1, 0));
    }
}
CHECK("udp: nothing to receive") {
    int socket = bound();
    struct sockaddr_in from;
    note("%s", is(recv(socket, buffer, 9, MSG_DONTWAIT)));
    note("%s", is(recvfrom(socket, buffer, 9, MSG_DONTWAIT, (struct sockaddr *)&from, &(socklen_t){16})));
}
CHECK("udp: a blocked recvfrom is woken") {
    int one = bound(), two = bound();
    must(connect_to(one, port_of(two)));
    void send_one(int socket) { must(send(socket, "x", 1, 0)); }
    child_after(100, send_one, one);
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    note("%s", is(recvfrom(two, buffer, 9, 0, (struct sockaddr *)&from, &length)));
    note("%s", from.sin_port == port_of(one) ? "the sender" : "another");
}
CHECK("udp: shut for reading") {
    int one = bound(), two = bound();
    must(connect_to(one, port_of(two)));
    note("%s", is(shutdown(one, SHUT_RD)));
    note("%s", is(recv(one, buffer, 9, 0)));
}
CHECK("udp: port in use") {
    int one = bound();
    note("%s", is(bind_to(udp(), port_of(one))));
    int two = udp();
    must(setsockopt(one, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)));
    must(setsockopt(two, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)));
    note("shared %s", is(bind_to(two, port_of(one))));
}
CHECK("udp: beside TCP on one port") {
    int stream = listening(1);
    note("%s", is(bind_to(udp(), port_of(stream))));
}
CHECK("udp: calls of streams") {
    int socket = bound();
    note("listen %s", is(listen(socket, 1)));
    note("accept %s", is(accept(socket, NULL, NULL)));
}
CHECK("udp: wrong addresses") {
    int socket = bound();
    struct sockaddr_in to = loopback(htons(9));
    note("short %s", is(sendto(socket, "x", 1, 0, (struct sockaddr *)&to, 8)));
    to.sin_family = AF_INET6;
    note("family %s", is(sendto(socket, "x", 1, 0, (struct sockaddr *)&to, sizeof to)));
    note("port 0 %s", sends_to(socket, 0, 1));
    note("pointer %s", is(sendto(socket, "x", 1, 0, (struct sockaddr *)8, 16)));
}
CHECK("udp: source-specific groups are joined from everybody") {
    struct ip_mreq group = {0};
    struct ipv6_mreq group6 = {0};
    inet_pton(AF_INET, "232.1.2.3", &group.imr_multiaddr);
    inet_pton(AF_INET6, "ff3e::1:2:3", &group6.ipv6mr_multiaddr);
    note("%s", is(setsockopt(bound(), IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group)));
    int six = must(socket(AF_INET6, SOCK_DGRAM, 0));
    note("%s", is(setsockopt(six, IPPROTO_IPV6, IPV6_JOIN_GROUP, &group6, sizeof group6)));
}
CHECK("udp: broadcast without leave") {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
    to.sin_addr.s_addr = INADDR_BROADCAST;
    note("%s", is(sendto(bound(), "x", 1, 0, (struct sockaddr *)&to, sizeof to)));
}
CHECK("udp: closed with datagrams that nobody read") {
    int one = bound(), two = bound();
    sends_to(one, port_of(two), 10);
    settle();
    in_port_t port = port_of(two);
    note("%s", is(close(two)));
    settle();
    note("bind %s", is(bind_to(udp(), port)));
}
CHECK("udp: over IPv6") {
    int one = must(socket(AF_INET6, SOCK_DGRAM, 0)), two = must(socket(AF_INET6, SOCK_DGRAM, 0));
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT}, from;
    must(bind(two, (struct sockaddr *)&to, sizeof to));
    to.sin6_port = port_of(two);
    note("%s", is(sendto(one, "abc", 3, 0, (struct sockaddr *)&to, sizeof to)));
    happens_within(two, POLLIN);
    socklen_t length = sizeof from;
    note("%s", is(recvfrom(two, buffer, 99, 0, (struct sockaddr *)&from, &length)));
    char text[INET6_ADDRSTRLEN];
    note("%s of %d bytes", inet_ntop(AF_INET6, &from.sin6_addr, text, sizeof text), (int)length);
}
CHECK("udp: IPv6 hears IPv4") {
    int one = bound(), two = must(socket(AF_INET6, SOCK_DGRAM, 0));
    struct sockaddr_in6 from = {.sin6_family = AF_INET6};
    must(bind(two, (struct sockaddr *)&from, sizeof from));
    note("%s", sends_to(one, port_of(two), 3));
    happens_within(two, POLLIN);
    socklen_t length = sizeof from;
    note("%s", is(recvfrom(two, buffer, 99, MSG_DONTWAIT, (struct sockaddr *)&from, &length)));
    char text[INET6_ADDRSTRLEN];
    note("%s", inet_ntop(AF_INET6, &from.sin6_addr, text, sizeof text));
}
CHECK("udp: a hundred back and forth") {
    int one = bound(), two = bound(), whole = 0;
    if (must(fork()) == 0) {
        for (;;) {
            struct sockaddr_in from;
            socklen_t length = sizeof from;
            ssize_t count = must(recvfrom(two, buffer, sizeof buffer, 0, (struct sockaddr *)&from, &length));
            must(sendto(two, buffer, count, 0, (struct sockaddr *)&from, length));
        }
    }
    for (int i = 1; i <= 100; i++) {
        sends_to(one, port_of(two), i * 14);
        whole += atoi(receives(one)) == i * 14;
    }
    note("%d", whole);
}
