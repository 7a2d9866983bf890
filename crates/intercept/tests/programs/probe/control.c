/* What goes beside datagrams: control data of both families, the path's MTU, errors. */
#include "probe.h"

#include <netinet/ip.h>
#include <netinet/udp.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

static char buffer[70000];
static char control[256];

static int bound(int family) {
    int socket_ = must(socket(family, SOCK_DGRAM, 0));
    struct sockaddr_storage any = {.ss_family = family};
    must(bind(socket_, (struct sockaddr *)&any, sizeof any));
    return socket_;
}

static struct sockaddr_in6 loopback6(in_port_t port) {
    return (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = port, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
}

/* Sends three bytes over the family of `to`, beside which goes one thing. */
static const char *says(int socket, struct sockaddr *to, socklen_t length, int level, int kind, const void *data, size_t size) {
    struct iovec place = {"abc", 3};
    struct msghdr out = {.msg_name = to, .msg_namelen = length, .msg_iov = &place, .msg_iovlen = 1};
    memset(control, 0, sizeof control);
    if (size) {
        out.msg_control = control;
        out.msg_controllen = CMSG_SPACE(size);
        struct cmsghdr *header = CMSG_FIRSTHDR(&out);
        header->cmsg_level = level;
        header->cmsg_type = kind;
        header->cmsg_len = CMSG_LEN(size);
        memcpy(CMSG_DATA(header), data, size);
    }
    return is(sendmsg(socket, &out, 0));
}
static const char *says4(int socket, int to, int level, int kind, const void *data, size_t size) {
    struct sockaddr_in name = loopback(port_of(to));
    return says(socket, (struct sockaddr *)&name, sizeof name, level, kind, data, size);
}
static const char *says6(int socket, int to, int level, int kind, const void *data, size_t size) {
    struct sockaddr_in6 name = loopback6(port_of(to));
    return says(socket, (struct sockaddr *)&name, sizeof name, level, kind, data, size);
}

/* Receives, and notes the kinds, lengths and small values of all that came beside it. */
static void hears(int socket, size_t room) {
    happens_within(socket, POLLIN);
    struct iovec place = {buffer, sizeof buffer};
    struct msghdr in = {.msg_iov = &place, .msg_iovlen = 1, .msg_control = control, .msg_controllen = room};
    note("%s", is(recvmsg(socket, &in, MSG_DONTWAIT)));
    for (struct cmsghdr *it = CMSG_FIRSTHDR(&in); it; it = CMSG_NXTHDR(&in, it)) {
        size_t length = it->cmsg_len - CMSG_LEN(0);
        note("%d/%d of %zu", it->cmsg_level, it->cmsg_type, length);
        if (length == 1) note("= %d", *CMSG_DATA(it));
        if (length == 4) note("= %d", *(int *)CMSG_DATA(it));
    }
    if (in.msg_flags & MSG_CTRUNC) note("cut");
}
static void wants(int socket, int level, int option) {
    note("%s", is(setsockopt(socket, level, option, &(int){1}, sizeof(int))));
}

CHECK("control: nothing is asked for") {
    int one = bound(AF_INET), two = bound(AF_INET);
    says4(one, two, 0, 0, NULL, 0);
    hears(two, sizeof control);
}
CHECK("control: TTL and TOS of the sender's socket") {
    int one = bound(AF_INET), two = bound(AF_INET);
    wants(two, IPPROTO_IP, IP_RECVTTL);
    wants(two, IPPROTO_IP, IP_RECVTOS);
    must(setsockopt(one, IPPROTO_IP, IP_TTL, &(int){9}, sizeof(int)));
    must(setsockopt(one, IPPROTO_IP, IP_TOS, &(int){0x2e}, sizeof(int)));
    note("%s", says4(one, two, 0, 0, NULL, 0));
    hears(two, sizeof control);
}
CHECK("control: TTL and TOS of one datagram") {
    int one = bound(AF_INET), two = bound(AF_INET);
    wants(two, IPPROTO_IP, IP_RECVTTL);
    wants(two, IPPROTO_IP, IP_RECVTOS);
    note("%s", says4(one, two, IPPROTO_IP, IP_TTL, &(int){7}, sizeof(int)));
    hears(two, sizeof control);
    note("%s", says4(one, two, IPPROTO_IP, IP_TOS, &(int){0xb8}, sizeof(int)));
    hears(two, sizeof control);
    note("%s", says4(one, two, IPPROTO_IP, IP_TOS, &(char){2}, 1));
    hears(two, sizeof control);
}
CHECK("control: IP_PKTINFO, and an answer from there") {
    int one = bound(AF_INET), two = bound(AF_INET);
    wants(two, IPPROTO_IP, IP_PKTINFO);
    says4(one, two, 0, 0, NULL, 0);
    hears(two, sizeof control);
    struct in_pktinfo info;
    memcpy(&info, CMSG_DATA((struct cmsghdr *)control), sizeof info);
    note("interface %d, from %s", info.ipi_ifindex, inet_ntoa(info.ipi_spec_dst));
    note("to %s", inet_ntoa(info.ipi_addr));
    struct sockaddr_in from = {0};
    note("%s", says4(two, one, IPPROTO_IP, IP_PKTINFO, &info, sizeof info));
    happens_within(one, POLLIN);
    must(recvfrom(one, buffer, 9, MSG_DONTWAIT, (struct sockaddr *)&from, &(socklen_t){sizeof from}));
    note("from %s", inet_ntoa(from.sin_addr));
}
CHECK("control: IP_PKTINFO of what is not there") {
    int one = bound(AF_INET), two = bound(AF_INET);
    struct in_pktinfo info = {.ipi_ifindex = 77};
    note("%s", says4(one, two, IPPROTO_IP, IP_PKTINFO, &info, sizeof info));
}
CHECK("control: IPv6, address, hops and class") {
    int one = bound(AF_INET6), two = bound(AF_INET6);
    wants(two, IPPROTO_IPV6, IPV6_RECVPKTINFO);
    wants(two, IPPROTO_IPV6, IPV6_RECVHOPLIMIT);
    wants(two, IPPROTO_IPV6, IPV6_RECVTCLASS);
    must(setsockopt(one, IPPROTO_IPV6, IPV6_TCLASS, &(int){0x21}, sizeof(int)));
    note("%s", says6(one, two, 0, 0, NULL, 0));
    hears(two, sizeof control);
    note("%s", says6(one, two, IPPROTO_IPV6, IPV6_HOPLIMIT, &(int){5}, sizeof(int)));
    hears(two, sizeof control);
    note("%s", says6(one, two, IPPROTO_IPV6, IPV6_HOPLIMIT, &(int){-1}, sizeof(int)));
    hears(two, sizeof control);
    struct in6_pktinfo info = {.ipi6_addr = IN6ADDR_LOOPBACK_INIT};
    note("%s", says6(one, two, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info));
    hears(two, sizeof control);
}
CHECK("control: IPv4 at a socket of IPv6") {
    int one = bound(AF_INET), two = bound(AF_INET6);
    wants(two, IPPROTO_IPV6, IPV6_RECVPKTINFO);
    wants(two, IPPROTO_IPV6, IPV6_RECVHOPLIMIT);
    wants(two, IPPROTO_IP, IP_RECVTTL);
    note("%s", says4(one, two, 0, 0, NULL, 0));
    hears(two, sizeof control);
}
CHECK("control: when it came") {
    int one = bound(AF_INET), two = bound(AF_INET);
    wants(two, SOL_SOCKET, SO_TIMESTAMP);
    says4(one, two, 0, 0, NULL, 0);
    hears(two, sizeof control);
    struct timeval *at = (struct timeval *)CMSG_DATA((struct cmsghdr *)control);
    note("%s", labs(time(NULL) - at->tv_sec) < 5 ? "now" : "another time");
    wants(two, SOL_SOCKET, SO_TIMESTAMPNS);
    says4(one, two, 0, 0, NULL, 0);
    hears(two, sizeof control);
}
CHECK("control: no room") {
    int one = bound(AF_INET), two = bound(AF_INET);
    wants(two, IPPROTO_IP, IP_PKTINFO);
    wants(two, IPPROTO_IP, IP_RECVTTL);
    for (size_t room = 0; room <= 56; room += 8) {
        says4(one, two, 0, 0, NULL, 0);
        hears(two, room);
    }
}
CHECK("control: what cannot be said") {
    int one = bound(AF_INET), two = bound(AF_INET);
    note("%s", says4(one, two, IPPROTO_IP, IP_TTL, &(int){0}, sizeof(int)));
    note("%s", says4(one, two, IPPROTO_IP, IP_TTL, &(int){256}, sizeof(int)));
    note("%s", says4(one, two, IPPROTO_IP, IP_TTL, "x", 1));
    note("%s", says4(one, two, IPPROTO_IP, 99, "x", 1));
    note("%s", says4(one, two, IPPROTO_TCP, 1, &(int){1}, sizeof(int)));
    note("%s", says4(one, two, SOL_SOCKET, SCM_RIGHTS, &one, sizeof one));
}
/* Receives, and notes the options of IPv4 that came beside it. */
static void hears_options(int socket) {
    happens_within(socket, POLLIN);
    struct iovec place = {buffer, sizeof buffer};
    struct msghdr in = {.msg_iov = &place, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    note("%s", is(recvmsg(socket, &in, MSG_DONTWAIT)));
    struct cmsghdr *header = CMSG_FIRSTHDR(&in);
    if (!header) {
        note("nothing beside");
        return;
    }
    note("%d/%d:", header->cmsg_level, header->cmsg_type);
    for (size_t i = 0; i < header->cmsg_len - CMSG_LEN(0); i++) note("%d", CMSG_DATA(header)[i]);
}
CHECK("control: options of IPv4 are sent and heard") {
    int one = bound(AF_INET), two = bound(AF_INET);
    unsigned char record[] = {7, 7, 4, 0, 0, 0, 0, 0}, back[40];
    socklen_t length = sizeof back;
    wants(two, IPPROTO_IP, IP_RECVOPTS);
    says4(one, two, 0, 0, NULL, 0);
    hears_options(two);
    note("%s", is(setsockopt(one, IPPROTO_IP, IP_OPTIONS, record, sizeof record)));
    must(getsockopt(one, IPPROTO_IP, IP_OPTIONS, back, &length));
    note("%d bytes", (int)length);
    says4(one, two, 0, 0, NULL, 0);
    hears_options(two);
    note("%s", is(setsockopt(one, IPPROTO_IP, IP_OPTIONS, NULL, 0)));
    says4(one, two, 0, 0, NULL, 0);
    hears_options(two);
}
CHECK("control: options of IPv4 of one datagram") {
    int one = bound(AF_INET), two = bound(AF_INET);
    wants(two, IPPROTO_IP, IP_RECVOPTS);
    note("%s", says4(one, two, IPPROTO_IP, IP_RETOPTS, "\x01\x01\x01\x01", 4));
    hears_options(two);
    says4(one, two, 0, 0, NULL, 0);
    hears_options(two);
}
CHECK("control: options of IPv4 that are none") {
    int one = bound(AF_INET);
    unsigned char long_[44] = {1};
    note("cut %s", is(setsockopt(one, IPPROTO_IP, IP_OPTIONS, "\x07\x09\x04\x00", 4)));
    note("without a length %s", is(setsockopt(one, IPPROTO_IP, IP_OPTIONS, "\x07", 1)));
    note("too long %s", is(setsockopt(one, IPPROTO_IP, IP_OPTIONS, long_, sizeof long_)));
    note("none of a stream %s", is(setsockopt(tcp(), IPPROTO_IP, IP_OPTIONS, NULL, 0)));
}
CHECK("control: options of IPv4 that nobody takes on the way") {
    int one = bound(AF_INET);
    note("a source route %s", is(setsockopt(one, IPPROTO_IP, IP_OPTIONS, "\x83\x07\x04\x7f\x00\x00\x01\x00", 8)));
    note("of a stream %s", is(setsockopt(tcp(), IPPROTO_IP, IP_OPTIONS, "\x01\x01\x01\x01", 4)));
}
CHECK("control: UDP_SEGMENT cuts") {
    int one = bound(AF_INET), two = bound(AF_INET);
    struct sockaddr_in to = loopback(port_of(two));
    note("%s", is(setsockopt(one, IPPROTO_UDP, UDP_SEGMENT, &(int){1000}, sizeof(int))));
    note("%s", is(sendto(one, buffer, 2500, 0, (struct sockaddr *)&to, sizeof to)));
    for (int i = 0; i < 4; i++) {
        settle();
        note("%s", is(recv(two, buffer, sizeof buffer, MSG_DONTWAIT)));
    }
    must(setsockopt(one, IPPROTO_UDP, UDP_SEGMENT, &(int){0}, sizeof(int)));
    note("%s", says4(one, two, IPPROTO_UDP, UDP_SEGMENT, &(unsigned short){2}, 2));
    hears(two, sizeof control);
    hears(two, sizeof control);
}

static struct sockaddr_in beyond(void) {
    struct sockaddr_in far = {.sin_family = AF_INET, .sin_port = htons(9)};
    inet_pton(AF_INET, "10.77.0.1", &far.sin_addr);
    return far;
}
CHECK("control: IP_MTU_DISCOVER of udp") {
    int one = bound(AF_INET);
    struct sockaddr_in far = beyond();
    for (int mode = -1; mode <= 6; mode++) {
        note("%d %s", mode, is(setsockopt(one, IPPROTO_IP, IP_MTU_DISCOVER, &mode, sizeof mode)));
        note("1472 %s", is(sendto(one, buffer, 1472, 0, (struct sockaddr *)&far, sizeof far)));
        note("1473 %s", is(sendto(one, buffer, 1473, 0, (struct sockaddr *)&far, sizeof far)));
    }
}
CHECK("control: IP_MTU of udp") {
    int one = bound(AF_INET), mtu = 0;
    note("%s", is(getsockopt(one, IPPROTO_IP, IP_MTU, &mtu, &(socklen_t){sizeof mtu})));
    struct sockaddr_in far = beyond();
    must(connect(one, (struct sockaddr *)&far, sizeof far));
    note("%s", is(getsockopt(one, IPPROTO_IP, IP_MTU, &mtu, &(socklen_t){sizeof mtu})));
    note("%d", mtu);
}

static int refused(int family) {
    int one = bound(family), two = bound(family);
    struct sockaddr_in to = loopback(port_of(two));
    struct sockaddr_in6 to6 = loopback6(port_of(two));
    must(family == AF_INET ? connect(one, (struct sockaddr *)&to, sizeof to) : connect(one, (struct sockaddr *)&to6, sizeof to6));
    must(close(two));
    must(send(one, "x", 1, 0));
    settle();
    return one;
}
CHECK("control: an error is told to recvfrom, once") {
    for (int family = AF_INET; family; family = family == AF_INET ? AF_INET6 : 0) {
        int one = refused(family);
        struct sockaddr_storage from;
        for (int i = 0; i < 2; i++) {
            socklen_t length = sizeof from;
            note("%s", is(recvfrom(one, buffer, 9, MSG_DONTWAIT, (struct sockaddr *)&from, &length)));
        }
        note("%s", happens(one));
    }
}
CHECK("control: an error is told to recvmsg that waits") {
    int one = bound(AF_INET), two = bound(AF_INET);
    must(connect_to(one, port_of(two)));
    must(close(two));
    void send_one(int socket) { must(send(socket, "x", 1, 0)); }
    child_after(100, send_one, one);
    struct iovec place = {buffer, 9};
    struct msghdr in = {.msg_iov = &place, .msg_iovlen = 1};
    note("%s", is(recvmsg(one, &in, 0)));
}
CHECK("control: an error wakes who waits for something to read") {
    int one = refused(AF_INET);
    struct pollfd wait = {.fd = one, .events = POLLIN};
    note("%s", is(poll(&wait, 1, 1000)));
    note("%s", is(recvfrom(one, buffer, 9, MSG_DONTWAIT, (struct sockaddr *)buffer, &(socklen_t){16})));
}
CHECK("control: one error after another wakes") {
    int one = refused(AF_INET);
    char byte;
    for (int i = 0; i < 3; i++) {
        struct pollfd wait = {.fd = one, .events = POLLIN};
        note("%s", is(poll(&wait, 1, 1000)));
        recv(one, &byte, 1, MSG_DONTWAIT);
        must(send(one, "x", 1, 0));
        settle();
    }
}
CHECK("control: after an error datagrams come") {
    int one = refused(AF_INET);
    struct sockaddr_in from = {0}, here = loopback(port_of(one));
    note("%s", is(recvfrom(one, buffer, 9, MSG_DONTWAIT, (struct sockaddr *)&from, &(socklen_t){sizeof from})));
    int two = bound(AF_INET);
    must(connect_to(one, port_of(two)));
    must(sendto(two, "", 0, 0, (struct sockaddr *)&here, sizeof here));
    must(sendto(two, "ab", 2, 0, (struct sockaddr *)&here, sizeof here));
    settle();
    for (int i = 0; i < 3; i++) {
        note("%s", is(recvfrom(one, buffer, 9, MSG_DONTWAIT, (struct sockaddr *)&from, &(socklen_t){sizeof from})));
    }
}
CHECK("control: IP_RECVERR tells a socket without a peer") {
    int one = bound(AF_INET), two = bound(AF_INET);
    in_port_t port = port_of(two);
    must(close(two));
    wants(one, IPPROTO_IP, IP_RECVERR);
    struct sockaddr_in to = loopback(port);
    note("%s", is(sendto(one, "x", 1, 0, (struct sockaddr *)&to, sizeof to)));
    settle();
    note("%s", is(recvfrom(one, buffer, 9, MSG_DONTWAIT, (struct sockaddr *)&to, &(socklen_t){sizeof to})));
}
