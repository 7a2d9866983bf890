/* What the small programs and the probe share: sockets on the loopback in few words. */
#ifndef SOCKETS_H
#define SOCKETS_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Ends the program when a call that the test only prepares with fails. */
#define must(call) must_be((call), #call, __FILE__, __LINE__)

static inline long must_be(long result, const char *call, const char *file, int line) {
    if (result < 0) {
        const char *base = strrchr(file, '/');
        printf("%s:%d: %s: %s", base ? base + 1 : file, line, call, strerrorname_np(errno));
        fflush(stdout);
        _exit(99);
    }
    return result;
}

/* A call's result as a number, or the name of its error. */
static inline const char *is(long result) {
    static char texts[16][24];
    static int next;
    char *text = texts[next++ % 16];
    if (result < 0) {
        const char *name = strerrorname_np(errno);
        snprintf(text, sizeof texts[0], "%s", name ? name : "an unknown error");
    } else {
        snprintf(text, sizeof texts[0], "%ld", result);
    }
    return text;
}

static inline int tcp(void) { return must(socket(AF_INET, SOCK_STREAM, 0)); }
static inline int udp(void) { return must(socket(AF_INET, SOCK_DGRAM, 0)); }

static inline struct sockaddr_in loopback(in_port_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = port};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/* The local port, in network order. */
static inline in_port_t port_of(int socket) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    must(getsockname(socket, (struct sockaddr *)&address, &length));
    /* The port is at the same place in both families. */
    return ((struct sockaddr_in *)&address)->sin_port;
}

static inline int connect_to(int socket, in_port_t port) {
    struct sockaddr_in address = loopback(port);
    return connect(socket, (struct sockaddr *)&address, sizeof address);
}

static inline int bind_to(int socket, in_port_t port) {
    struct sockaddr_in address = loopback(port);
    return bind(socket, (struct sockaddr *)&address, sizeof address);
}

/* A listener on a port that the system chooses. */
static inline int listening(int backlog) {
    int listener = tcp();
    must(bind_to(listener, 0));
    must(listen(listener, backlog));
    return listener;
}

/* Waits until one of `events` has happened, at most two seconds; what has. */
static inline short happens_within(int socket, short events) {
    struct pollfd wait = {.fd = socket, .events = events};
    must(poll(&wait, 1, 2000));
    return wait.revents;
}

struct ends {
    int client, server;
};

/* Both ends of one connection; its listener is gone. */
static inline struct ends connected(void) {
    int listener = listening(8);
    struct ends ends = {.client = tcp()};
    must(connect_to(ends.client, port_of(listener)));
    ends.server = must(accept(listener, NULL, NULL));
    close(listener);
    return ends;
}

/* A port that answers nothing: its listener's queue is full, so that SYNs are dropped. */
struct silence {
    int listener, first;
    in_port_t port;
};

static inline struct silence silent(void) {
    struct silence silence = {.listener = listening(0), .first = tcp()};
    silence.port = port_of(silence.listener);
    must(connect_to(silence.first, silence.port));
    /* Its handshake's last segment has to be there. */
    happens_within(silence.listener, POLLIN);
    return silence;
}

/* A child that dies with its parent. */
static inline pid_t fork_mortal(void) {
    pid_t child = must(fork());
    if (child == 0) must(prctl(PR_SET_PDEATHSIG, SIGKILL));
    return child;
}

/* A port that was free a moment ago. */
static inline in_port_t nobodys_port(void) {
    int socket = tcp();
    must(bind_to(socket, 0));
    in_port_t port = port_of(socket);
    close(socket);
    return port;
}
#endif
