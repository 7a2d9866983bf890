/* Options of TCP that change when a program is told, and what of. */
#include "probe.h"

#include <sys/resource.h>

/* linux/tcp.h cannot be included beside netinet/tcp.h. */
enum { NOTSENT_LOWAT = 25 };

static const char *sets(int socket, int option, int value) {
    return is(setsockopt(socket, IPPROTO_TCP, option, &value, sizeof value));
}
static const char *gets(int socket, int option) {
    int value = -1;
    if (getsockopt(socket, IPPROTO_TCP, option, &value, &(socklen_t){sizeof value}) < 0) return is(-1);
    return is(value);
}

CHECK("tuning: TCP_DEFER_ACCEPT waits for data") {
    int listener = listening(3), client = tcp();
    note("%s", sets(listener, TCP_DEFER_ACCEPT, 5));
    note("%s", gets(listener, TCP_DEFER_ACCEPT));
    must(connect_to(client, port_of(listener)));
    note("%s", happens(listener));
    must(send(client, "x", 1, 0));
    note("%s", happens(listener));
    char byte;
    int server = must(accept(listener, NULL, NULL));
    happens_within(server, POLLIN);
    note("%s", is(recv(server, &byte, 1, MSG_DONTWAIT)));
}
CHECK("tuning: TCP_DEFER_ACCEPT, data is there with the connection") {
    int listener = listening(64), missing = 0;
    sets(listener, TCP_DEFER_ACCEPT, 5);
    for (int i = 0; i < 200; i++) {
        int client = tcp();
        char byte;
        must(connect_to(client, port_of(listener)));
        must(send(client, "x", 1, 0));
        int server = must(accept4(listener, NULL, NULL, i % 2 ? SOCK_NONBLOCK : 0));
        missing += recv(server, &byte, 1, MSG_DONTWAIT) != 1;
        must(close(server));
        must(close(client));
    }
    note("%d of 200 have none", missing);
}
CHECK("tuning: TCP_DEFER_ACCEPT, the end is there with the data") {
    int listener = listening(8), client = tcp();
    sets(listener, TCP_DEFER_ACCEPT, 5);
    must(connect_to(client, port_of(listener)));
    must(send(client, "abc", 3, 0));
    must(shutdown(client, SHUT_WR));
    settle();
    int server = must(accept4(listener, NULL, NULL, SOCK_NONBLOCK));
    char bytes[9];
    note("%s", is(recv(server, bytes, sizeof bytes, 0)));
    note("%s", is(recv(server, bytes, sizeof bytes, 0)));
}
CHECK("tuning: TCP_DEFER_ACCEPT, accept with no descriptor left") {
    int listener = listening(8), client = tcp();
    sets(listener, TCP_DEFER_ACCEPT, 5);
    must(connect_to(client, port_of(listener)));
    must(send(client, "abc", 3, 0));
    settle();
    struct rlimit limit, none;
    must(getrlimit(RLIMIT_NOFILE, &limit));
    none = limit;
    none.rlim_cur = client + 1;
    must(setrlimit(RLIMIT_NOFILE, &none));
    note("%s", is(accept(listener, NULL, NULL)));
    note("%s", happens(listener));
    must(setrlimit(RLIMIT_NOFILE, &limit));
    struct sockaddr_in from;
    int server = accept4(listener, (struct sockaddr *)&from, &(socklen_t){sizeof from}, SOCK_NONBLOCK);
    note("%s", server < 0 ? is(-1) : inet_ntoa(from.sin_addr));
    char bytes[9];
    note("%s", is(recv(server, bytes, sizeof bytes, 0)));
    note("%s", is(send(server, "ok", 2, 0)));
    happens_within(client, POLLIN);
    note("%s", is(recv(client, bytes, sizeof bytes, MSG_DONTWAIT)));
    note("%s", fcntl(server, F_GETFL) & O_NONBLOCK ? "non-blocking" : "blocking");
}
CHECK("tuning: TCP_DEFER_ACCEPT is over") {
    int listener = listening(3), client = tcp();
    note("%s", sets(listener, TCP_DEFER_ACCEPT, 1));
    must(connect_to(client, port_of(listener)));
    note("%s", happens(listener));
    nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 500 * 1000 * 1000}, NULL);
    note("%s", happens(listener));
}
CHECK("tuning: TCP_DEFER_ACCEPT by the numbers") {
    int listener = tcp();
    for (int seconds = -1; seconds <= 8; seconds++) {
        sets(listener, TCP_DEFER_ACCEPT, seconds);
        note("%s", gets(listener, TCP_DEFER_ACCEPT));
    }
}
CHECK("tuning: TCP_SYNCNT out of range") {
    int socket = tcp();
    note("%s", sets(socket, TCP_SYNCNT, 0));
    note("%s", sets(socket, TCP_SYNCNT, 127));
    note("%s", sets(socket, TCP_SYNCNT, 128));
    note("%s", gets(socket, TCP_SYNCNT));
}
CHECK("tuning: TCP_LINGER2 by the numbers") {
    int socket = tcp();
    note("%s", sets(socket, TCP_LINGER2, 500));
    note("%s", gets(socket, TCP_LINGER2));
    note("%s", sets(socket, TCP_LINGER2, 0));
    note("%s", gets(socket, TCP_LINGER2));
}
CHECK("tuning: TCP_WINDOW_CLAMP is its listener's") {
    struct ends ends;
    int listener = listening(1);
    note("%s", sets(listener, TCP_WINDOW_CLAMP, 8000));
    ends.client = tcp();
    must(connect_to(ends.client, port_of(listener)));
    ends.server = must(accept(listener, NULL, NULL));
    note("%s", gets(ends.server, TCP_WINDOW_CLAMP));
    note("to none %s", sets(ends.server, TCP_WINDOW_CLAMP, 0));
}
CHECK("tuning: NOTSENT_LOWAT leaves little behind") {
    struct ends ends = connected();
    note("%s", sets(ends.client, NOTSENT_LOWAT, 8192));
    note("%s", gets(ends.client, NOTSENT_LOWAT));
    note("%s", sets(ends.client, NOTSENT_LOWAT, 0));
    note("%s", gets(ends.client, NOTSENT_LOWAT));
    note("%s", sets(ends.client, NOTSENT_LOWAT, 4096));
    static char bytes[100000];
    non_blocking(ends.client);
    ssize_t count = must(write(ends.client, bytes, sizeof bytes));
    note("%s", count > 0 ? "some" : "none");
    happens_within(ends.server, POLLIN);
    note("%s", drain(ends.server) == count ? "all came" : "some are lost");
    note("%s", happens(ends.client));
}
CHECK("tuning: bind without a port, then connect") {
    int listener = listening(1), client = tcp();
    must(setsockopt(client, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){1}, sizeof(int)));
    note("%s", is(bind_to(client, 0)));
    note("port %s", port_of(client) ? "given" : "0");
    note("again %s", is(bind_to(client, 0)));
    note("%s", is(connect_to(client, port_of(listener))));
    note("port %s", port_of(client) ? "given" : "0");
}
CHECK("tuning: bind without a port, then listen") {
    int listener = tcp(), client = tcp();
    must(setsockopt(listener, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){1}, sizeof(int)));
    note("%s", is(bind_to(listener, 0)));
    note("%s", is(listen(listener, 1)));
    note("port %s", port_of(listener) ? "given" : "0");
    note("%s", is(connect_to(client, port_of(listener))));
}
CHECK("tuning: a listener that was shut connects") {
    int listener = listening(1), other = listening(1);
    note("%s", is(shutdown(listener, SHUT_RDWR)));
    note("%s", is(connect_to(listener, port_of(other))));
    note("%s", is(send(listener, "x", 1, MSG_NOSIGNAL)));
    int server = must(accept(other, NULL, NULL));
    char byte;
    note("%s", is(recv(server, &byte, 1, 0)));
}
CHECK("tuning: a listener that was shut listens") {
    int listener = listening(1), client = tcp();
    note("%s", is(shutdown(listener, SHUT_RDWR)));
    note("%s", is(listen(listener, 1)));
    note("%s", is(connect_to(client, port_of(listener))));
    note("%s", happens(listener));
    note("%s", is(accept(listener, NULL, NULL) < 0 ? -1 : 0));
    note("%s", is(send(listener, "x", 1, MSG_NOSIGNAL)));
}
