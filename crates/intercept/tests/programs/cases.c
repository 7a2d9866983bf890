/*
 * What programs rely on, one case for each: `cases NAME`. Each but the last, which a filter is to refuse,
 * behaves alike on the kernel's sockets.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(what)                                                                        \
    do {                                                                                   \
        if (!(what)) {                                                                     \
            fprintf(stderr, "line %d: %s (%s)\n", __LINE__, #what, strerror(errno));       \
            exit(1);                                                                       \
        }                                                                                  \
    } while (0)
#define FAILS(call, number) CHECK((call) == -1 && errno == (number))

static struct sockaddr_in local(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static int port_of(int fd) {
    struct sockaddr_in a;
    socklen_t n = sizeof a;
    CHECK(getsockname(fd, (struct sockaddr *)&a, &n) == 0);
    return ntohs(a.sin_port);
}

static int listener(int backlog, int flags) {
    struct sockaddr_in a = local(0);
    int fd = socket(AF_INET, SOCK_STREAM | flags, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0);
    CHECK(listen(fd, backlog) == 0);
    return fd;
}

static int connect_to(int port) {
    struct sockaddr_in a = local(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0);
    CHECK(connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
    return fd;
}

static void pair(int *client, int *server) {
    int l = listener(8, 0);
    *client = connect_to(port_of(l));
    CHECK((*server = accept(l, 0, 0)) >= 0);
    close(l);
}

static int events(int fd, int wanted, int timeout) {
    struct pollfd p = {.fd = fd, .events = wanted};
    CHECK(poll(&p, 1, timeout) >= 0);
    return p.revents;
}

static int so_error(int fd) {
    int error = -1;
    socklen_t n = sizeof error;
    CHECK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) == 0);
    return error;
}

static void bind_only(void) {
    struct sockaddr_in a = local(0);
    int fd = socket(AF_INET, SOCK_STREAM, 0), other = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(fd, (struct sockaddr *)&a, sizeof a) == 0);
    a = local(port_of(fd));
    CHECK(ntohs(a.sin_port) != 0);
    FAILS(bind(other, (struct sockaddr *)&a, sizeof a), EADDRINUSE);
    FAILS(connect(other, (struct sockaddr *)&a, sizeof a), ECONNREFUSED);
    CHECK(listen(fd, 1) == 0);
    close(other);
    close(connect_to(ntohs(a.sin_port)));
    FAILS(bind(fd, (struct sockaddr *)&a, sizeof a), EINVAL);
    a.sin_addr.s_addr = inet_addr("192.0.2.1");
    a.sin_port = 0;
    other = socket(AF_INET, SOCK_STREAM, 0);
    FAILS(bind(other, (struct sockaddr *)&a, sizeof a), EADDRNOTAVAIL);
}

static void accept_in_child(void) {
    int l = listener(8, 0), port = port_of(l), status;
    char text[8] = {0};
    pid_t child = fork();
    if (child == 0) {
        int fd = accept(l, 0, 0);
        CHECK(fd >= 0 && read(fd, text, 5) == 5 && write(fd, text, 5) == 5);
        _exit(0);
    }
    close(l);
    int fd = connect_to(port);
    CHECK(write(fd, "hello", 5) == 5 && read(fd, text, 5) == 5 && !strcmp(text, "hello"));
    CHECK(read(fd, text, 5) == 0);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void nonblocking(void) {
    int l = listener(8, 0);
    struct sockaddr_in a = local(port_of(l));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    FAILS(connect(fd, (struct sockaddr *)&a, sizeof a), EINPROGRESS);
    CHECK(events(fd, POLLOUT, 5000) == POLLOUT && so_error(fd) == 0);
    CHECK(connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
    FAILS(connect(fd, (struct sockaddr *)&a, sizeof a), EISCONN);
    int peer = accept(l, 0, 0);
    char text[4];
    FAILS(read(fd, text, 4), EAGAIN);
    CHECK(write(fd, "abcd", 4) == 4 && read(peer, text, 4) == 4 && !memcmp(text, "abcd", 4));
    close(l);
    close(fd);
    /* Nobody listens: the socket is in error, once. */
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    FAILS(connect(fd, (struct sockaddr *)&a, sizeof a), EINPROGRESS);
    CHECK((events(fd, POLLOUT, 5000) & (POLLERR | POLLHUP)) == (POLLERR | POLLHUP));
    CHECK(so_error(fd) == ECONNREFUSED && so_error(fd) == 0);
}

static void retry_on_the_same_descriptor(void) {
    int l = listener(8, 0), port = port_of(l);
    struct sockaddr_in a = local(port);
    close(l);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    FAILS(connect(fd, (struct sockaddr *)&a, sizeof a), ECONNREFUSED);
    int other = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    FAILS(connect(other, (struct sockaddr *)&a, sizeof a), EINPROGRESS);
    CHECK(events(other, POLLOUT, 5000) & POLLERR);
    FAILS(connect(other, (struct sockaddr *)&a, sizeof a), ECONNREFUSED);
    l = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(l, (struct sockaddr *)&a, sizeof a) == 0 && listen(l, 8) == 0);
    CHECK(connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
    FAILS(connect(other, (struct sockaddr *)&a, sizeof a), EINPROGRESS);
    CHECK(events(other, POLLOUT, 5000) == POLLOUT);
    CHECK(fcntl(other, F_GETFD) == FD_CLOEXEC && (fcntl(other, F_GETFL) & O_NONBLOCK));
}

static void readiness(void) {
    int l = listener(8, SOCK_NONBLOCK), port = port_of(l);
    int e = epoll_create1(0);
    struct epoll_event one = {.events = EPOLLIN | EPOLLET}, got;
    CHECK(epoll_ctl(e, EPOLL_CTL_ADD, l, &one) == 0);
    CHECK(events(l, POLLIN, 0) == 0 && epoll_wait(e, &got, 1, 0) == 0);
    FAILS(accept(l, 0, 0), EAGAIN);
    int a = connect_to(port), b = connect_to(port);
    CHECK(events(l, POLLIN, 5000) == POLLIN && epoll_wait(e, &got, 1, 1000) == 1);
    CHECK(accept(l, 0, 0) >= 0);
    CHECK(events(l, POLLIN, 5000) == POLLIN);
    CHECK(accept(l, 0, 0) >= 0);
    CHECK(events(l, POLLIN, 0) == 0);
    FAILS(accept(l, 0, 0), EAGAIN);
    close(a);
    close(b);
    connect_to(port);
    CHECK(epoll_wait(e, &got, 1, 5000) == 1);
}

static void half_close(void) {
    int c, s;
    char text[16];
    pair(&c, &s);
    CHECK(write(c, "last words", 10) == 10 && shutdown(c, SHUT_WR) == 0);
    CHECK(read(s, text, 16) == 10 && read(s, text, 16) == 0);
    CHECK(events(s, POLLIN | POLLRDHUP, 0) == (POLLIN | POLLRDHUP));
    CHECK(send(c, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
    CHECK(write(s, "answer", 6) == 6 && read(c, text, 16) == 6);
    close(s);
    CHECK(read(c, text, 16) == 0);
    FAILS(shutdown(socket(AF_INET, SOCK_STREAM, 0), SHUT_WR), ENOTCONN);
    FAILS(shutdown(c, 7), EINVAL);
}

static void resets(void) {
    struct linger hard = {1, 0};
    int c, s;
    char text[16];
    pair(&c, &s);
    CHECK(write(s, "unread", 6) == 6 && events(c, POLLIN, 5000) == POLLIN);
    close(c); /* With bytes unread. */
    CHECK(events(s, POLLIN, 5000) & POLLERR);
    FAILS(read(s, text, 16), ECONNRESET);
    CHECK(read(s, text, 16) == 0 && so_error(s) == 0);
    close(s);
    pair(&c, &s);
    CHECK(setsockopt(c, SOL_SOCKET, SO_LINGER, &hard, sizeof hard) == 0);
    close(c);
    CHECK(events(s, POLLIN, 5000) & POLLERR);
    CHECK(so_error(s) == ECONNRESET && so_error(s) == 0);
}

static void names(void) {
    int c, s;
    struct sockaddr_in a, b;
    socklen_t n = sizeof a;
    pair(&c, &s);
    CHECK(getpeername(c, (struct sockaddr *)&a, &n) == 0 && n == sizeof a);
    CHECK(getsockname(s, (struct sockaddr *)&b, &n) == 0);
    CHECK(a.sin_port == b.sin_port && a.sin_addr.s_addr == b.sin_addr.s_addr);
    char cut[2];
    n = 2;
    CHECK(getsockname(s, (struct sockaddr *)cut, &n) == 0 && n == sizeof a);
    FAILS(getsockname(s, (struct sockaddr *)8, &n), EFAULT);
    int fresh = socket(AF_INET, SOCK_STREAM, 0);
    n = sizeof a;
    FAILS(getpeername(fresh, (struct sockaddr *)&a, &n), ENOTCONN);
    CHECK(getsockname(fresh, (struct sockaddr *)&a, &n) == 0 && a.sin_port == 0);
    /* A socket for both families. */
    struct sockaddr_in6 any = {.sin6_family = AF_INET6}, from;
    int l = socket(AF_INET6, SOCK_STREAM, 0);
    CHECK(bind(l, (struct sockaddr *)&any, sizeof any) == 0 && listen(l, 4) == 0);
    c = connect_to(port_of(l));
    n = sizeof from;
    CHECK((s = accept(l, (struct sockaddr *)&from, &n)) >= 0 && n == sizeof from);
    CHECK(IN6_IS_ADDR_V4MAPPED(&from.sin6_addr) && ntohs(from.sin6_port) == port_of(c));
    n = sizeof from;
    CHECK(getsockname(s, (struct sockaddr *)&from, &n) == 0 && from.sin6_family == AF_INET6);
    CHECK(IN6_IS_ADDR_V4MAPPED(&from.sin6_addr));
    any.sin6_addr = in6addr_loopback;
    any.sin6_port = htons(port_of(l));
    c = socket(AF_INET6, SOCK_STREAM, 0);
    CHECK(connect(c, (struct sockaddr *)&any, sizeof any) == 0);
    n = sizeof from;
    CHECK(accept(l, (struct sockaddr *)&from, &n) >= 0 && IN6_IS_ADDR_LOOPBACK(&from.sin6_addr));
    inet_pton(AF_INET6, "::ffff:127.0.0.1", &any.sin6_addr);
    c = socket(AF_INET6, SOCK_STREAM, 0);
    CHECK(connect(c, (struct sockaddr *)&any, sizeof any) == 0);
}

static int get(int fd, int level, int name) {
    int value = -1;
    socklen_t n = sizeof value;
    CHECK(getsockopt(fd, level, name, &value, &n) == 0 && n == sizeof value);
    return value;
}

static void options(void) {
    int c, s, on = 1;
    pair(&c, &s);
    int fresh = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(get(c, SOL_SOCKET, SO_TYPE) == SOCK_STREAM && get(c, SOL_SOCKET, SO_DOMAIN) == AF_INET);
    CHECK(get(c, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_TCP);
    CHECK(get(c, SOL_SOCKET, SO_ACCEPTCONN) == 0);
    int flags[][2] = {{SOL_SOCKET, SO_REUSEADDR},  {SOL_SOCKET, SO_KEEPALIVE},
                      {IPPROTO_TCP, TCP_NODELAY},  {SOL_SOCKET, SO_REUSEPORT},
                      {IPPROTO_TCP, TCP_KEEPCNT}};
    for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
        CHECK(setsockopt(c, flags[i][0], flags[i][1], &on, sizeof on) == 0);
        CHECK(get(c, flags[i][0], flags[i][1]) == 1);
    }
    int seconds = 30;
    CHECK(setsockopt(c, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds) == 0);
    CHECK(get(c, IPPROTO_TCP, TCP_KEEPIDLE) == 30);
    int size = 50000;
    CHECK(setsockopt(fresh, SOL_SOCKET, SO_SNDBUF, &size, sizeof size) == 0);
    CHECK(get(fresh, SOL_SOCKET, SO_SNDBUF) == 100000);
    char name[16] = {0};
    socklen_t n = sizeof name;
    CHECK(getsockopt(c, IPPROTO_TCP, TCP_CONGESTION, name, &n) == 0 && name[0]);
    CHECK(setsockopt(c, IPPROTO_TCP, TCP_CONGESTION, "reno", 4) == 0);
    n = sizeof name;
    CHECK(getsockopt(c, IPPROTO_TCP, TCP_CONGESTION, name, &n) == 0 && !strcmp(name, "reno"));
    FAILS(setsockopt(c, IPPROTO_TCP, TCP_CONGESTION, "nobody", 6), ENOENT);
    struct tcp_info info;
    n = sizeof info;
    CHECK(getsockopt(c, IPPROTO_TCP, TCP_INFO, &info, &n) == 0 && info.tcpi_state == TCP_ESTABLISHED);
    CHECK(info.tcpi_snd_mss > 500 && info.tcpi_snd_cwnd >= 2);
    FAILS(setsockopt(c, SOL_SOCKET, 9999, &on, sizeof on), ENOPROTOOPT);
    FAILS(setsockopt(c, SOL_SOCKET, SO_REUSEADDR, (void *)8, sizeof on), EFAULT);
    FAILS(setsockopt(c, SOL_SOCKET, SO_REUSEADDR, &on, 2), EINVAL);
    FAILS(setsockopt(c, IPPROTO_TCP, TCP_ULP, "tls", 3), ENOENT);
    CHECK(setsockopt(c, IPPROTO_TCP, TCP_CORK, &on, sizeof on) == 0);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void timeouts(void) {
    struct timeval t = {0, 80000}, got;
    socklen_t n = sizeof got;
    int l = listener(4, 0), c, s;
    char text[4];
    CHECK(setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t) == 0);
    CHECK(getsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &got, &n) == 0 && got.tv_usec == 80000);
    double begin = now();
    FAILS(accept(l, 0, 0), EAGAIN);
    CHECK(now() - begin > 0.07 && now() - begin < 5);
    pair(&c, &s);
    CHECK(setsockopt(c, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t) == 0);
    begin = now();
    FAILS(read(c, text, 4), EAGAIN);
    CHECK(now() - begin > 0.07);
    struct sockaddr_in a = local(0), from;
    int u = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(bind(u, (struct sockaddr *)&a, sizeof a) == 0);
    CHECK(setsockopt(u, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t) == 0);
    n = sizeof from;
    begin = now();
    FAILS(recvfrom(u, text, 4, 0, (struct sockaddr *)&from, &n), EAGAIN);
    CHECK(now() - begin > 0.07);
}

static void udp(void) {
    struct sockaddr_in a = local(0), from;
    socklen_t n = sizeof from;
    char text[16], more[16];
    int s = socket(AF_INET, SOCK_DGRAM, 0), c = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(bind(s, (struct sockaddr *)&a, sizeof a) == 0);
    a = local(port_of(s));
    CHECK(sendto(c, "one", 3, 0, (struct sockaddr *)&a, sizeof a) == 3);
    CHECK(sendto(c, "", 0, 0, (struct sockaddr *)&a, sizeof a) == 0);
    CHECK(sendto(c, "three", 5, 0, (struct sockaddr *)&a, sizeof a) == 5);
    CHECK(recvfrom(s, text, 2, MSG_PEEK | MSG_TRUNC, (struct sockaddr *)&from, &n) == 3);
    CHECK(recvfrom(s, text, 16, 0, (struct sockaddr *)&from, &n) == 3 && !memcmp(text, "one", 3));
    CHECK(ntohs(from.sin_port) == port_of(c) && from.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
    CHECK(recvfrom(s, text, 16, 0, (struct sockaddr *)&from, &n) == 0);
    struct iovec io[2] = {{text, 2}, {more, 16}};
    struct msghdr m = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = io, .msg_iovlen = 2};
    CHECK(recvmsg(s, &m, 0) == 5 && m.msg_namelen == sizeof from && m.msg_flags == 0);
    CHECK(!memcmp(text, "th", 2) && !memcmp(more, "ree", 3));
    FAILS(recvfrom(s, text, 16, MSG_DONTWAIT, (struct sockaddr *)&from, &n), EAGAIN);
    /* Connected both ways: read and write. */
    CHECK(connect(c, (struct sockaddr *)&a, sizeof a) == 0);
    CHECK(connect(s, (struct sockaddr *)&from, sizeof from) == 0);
    CHECK(write(c, "four", 4) == 4 && read(s, text, 16) == 4);
    CHECK(send(s, "back", 4, 0) == 4 && recv(c, text, 16, 0) == 4 && !memcmp(text, "back", 4));
    struct mmsghdr many[2];
    memset(many, 0, sizeof many);
    struct iovec out[2] = {{"a", 1}, {"bc", 2}};
    for (int i = 0; i < 2; i++) {
        many[i].msg_hdr.msg_iov = &out[i];
        many[i].msg_hdr.msg_iovlen = 1;
    }
    CHECK(sendmmsg(c, many, 2, 0) == 2 && many[1].msg_len == 2);
    CHECK(events(s, POLLIN, 5000) == POLLIN && read(s, text, 16) == 1 && read(s, text, 16) == 2);
    /* A blocking call waits for what is sent later. */
    if (fork() == 0) {
        usleep(30000);
        CHECK(write(c, "late", 4) == 4);
        _exit(0);
    }
    n = sizeof from;
    CHECK(recvfrom(s, text, 16, 0, (struct sockaddr *)&from, &n) == 4);
    wait(0);
    static char big[60000];
    int e = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(connect(e, (struct sockaddr *)&a, sizeof a) == 0);
    FAILS(sendto(e, big, 70000, 0, (struct sockaddr *)&a, sizeof a), EMSGSIZE);
}

static void reuseport(void) {
    struct sockaddr_in a = local(0);
    int l[2], on = 1, got[2] = {0, 0}, c[64];
    for (int i = 0; i < 2; i++) {
        l[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        CHECK(setsockopt(l[i], SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0);
        CHECK(bind(l[i], (struct sockaddr *)&a, sizeof a) == 0 && listen(l[i], 128) == 0);
        a = local(port_of(l[0]));
    }
    for (int i = 0; i < 64; i++)
        c[i] = connect_to(ntohs(a.sin_port));
    for (int tries = 0; got[0] + got[1] < 64 && tries < 500; tries++) {
        for (int i = 0; i < 2; i++)
            while (accept(l[i], 0, 0) >= 0)
                got[i]++;
        usleep(1000);
    }
    CHECK(got[0] + got[1] == 64 && got[0] > 8 && got[1] > 8);
    close(l[0]); /* The other one has all of them now. */
    close(connect_to(ntohs(a.sin_port)));
    CHECK(events(l[1], POLLIN, 5000) == POLLIN && accept(l[1], 0, 0) >= 0);
    close(c[0]);
}

static volatile sig_atomic_t alarms;
static void on_alarm(int number) {
    (void)number;
    alarms++;
}

static void interrupted(void) {
    struct sigaction action = {.sa_handler = on_alarm};
    struct itimerval soon = {{0, 0}, {0, 30000}};
    sigaction(SIGALRM, &action, 0);
    int l = listener(4, 0);
    setitimer(ITIMER_REAL, &soon, 0);
    FAILS(accept(l, 0, 0), EINTR);
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, 0);
    setitimer(ITIMER_REAL, &soon, 0);
    if (fork() == 0) {
        usleep(80000);
        connect_to(port_of(l));
        _exit(0);
    }
    CHECK(accept(l, 0, 0) >= 0 && alarms == 2);
    wait(0);
}

/* Connections while a signal comes every 100 us. So many that a build without optimisation has time for them. */
enum { STORM = 1000 };

static void storm(void) {
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    struct itimerval often = {{0, 100}, {0, 100}}, never = {{0, 0}, {0, 0}};
    int l = listener(64, 0), port = port_of(l), status;
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < STORM; i++) {
            char c;
            int fd = accept(l, 0, 0);
            CHECK(fd >= 0);
            while (read(fd, &c, 1) == 1)
                CHECK(write(fd, &c, 1) == 1);
            close(fd);
        }
        _exit(0);
    }
    sigaction(SIGALRM, &action, 0);
    setitimer(ITIMER_REAL, &often, 0);
    int first = -1;
    for (int i = 0; i < STORM; i++) {
        char c = i;
        int fd = connect_to(port);
        if (first < 0)
            first = fd;
        CHECK(fd == first); /* Nothing leaks. */
        CHECK(write(fd, &c, 1) == 1 && read(fd, &c, 1) == 1 && c == (char)i);
        close(fd);
    }
    setitimer(ITIMER_REAL, &never, 0);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(alarms > 100);
}

static void take_long(int number) {
    (void)number;
    alarms++;
    usleep(12000);
}

/* What was sent while a signal came is not sent again when its handler is over at last. */
static void handlers_take_long(void) {
    enum { TIMES = 200 };
    struct sigaction action = {.sa_handler = take_long, .sa_flags = SA_RESTART};
    int c, s, got = 0;
    char text[64];
    pair(&c, &s);
    struct sockaddr_in a = local(port_of(s));
    sigaction(SIGALRM, &action, 0);
    for (int i = 0; i < TIMES; i++) {
        struct itimerval soon = {{0, 0}, {0, 1 + i % 50}};
        setitimer(ITIMER_REAL, &soon, 0);
        CHECK(sendto(c, "x", 1, 0, (struct sockaddr *)&a, sizeof a) == 1);
    }
    close(c);
    for (ssize_t n; (n = read(s, text, sizeof text)) != 0; got += n)
        CHECK(n > 0);
    CHECK(got == TIMES);
    CHECK(alarms > 0);
}

static void descriptors_run_out(void) {
    int l = listener(64, SOCK_NONBLOCK), port = port_of(l), fd, last = -1;
    int client = connect_to(port);
    struct rlimit few = {32, 32};
    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
    while ((fd = socket(AF_INET, SOCK_STREAM, 0)) >= 0)
        last = fd;
    CHECK(errno == EMFILE && last > 0);
    FAILS(accept(l, 0, 0), EMFILE);
    FAILS(accept(l, 0, 0), EMFILE);
    close(last);
    CHECK(events(l, POLLIN, 0) == POLLIN);
    CHECK((fd = accept(l, 0, 0)) >= 0); /* It was not lost. */
    char c;
    CHECK(write(client, "x", 1) == 1 && read(fd, &c, 1) == 1 && c == 'x');
}

static void fork_storm(void) {
    int l = listener(128, 0), port = port_of(l), status;
    for (int i = 0; i < 150; i++)
        if (fork() == 0) {
            char c = 'x';
            int fd = connect_to(port);
            CHECK(write(fd, &c, 1) == 1 && read(fd, &c, 1) == 1);
            _exit(0);
        }
    for (int i = 0; i < 150; i++) {
        int fd = accept(l, 0, 0);
        CHECK(fd >= 0);
        if (fork() == 0) {
            char c;
            CHECK(read(fd, &c, 1) == 1 && write(fd, &c, 1) == 1);
            _exit(0);
        }
        close(fd);
    }
    for (int i = 0; i < 300; i++)
        CHECK(wait(&status) > 0 && status == 0);
}

/* A peer that does not read stops the writer, and gets everything when it does. */
static void nobody_reads(void) {
    static char block[65536];
    int c, s;
    long written = 0, got = 0;
    pair(&c, &s);
    fcntl(c, F_SETFL, O_NONBLOCK);
    for (int idle = 0; idle < 20;) {
        ssize_t n = write(c, block, sizeof block);
        if (n > 0) {
            written += n;
            idle = 0;
        } else {
            CHECK(errno == EAGAIN);
            idle++;
            usleep(5000);
        }
        CHECK(written < 64 << 20);
    }
    CHECK(events(c, POLLOUT, 0) == 0);
    close(c);
    for (ssize_t n; (n = read(s, block, sizeof block)) != 0; got += n)
        CHECK(n > 0);
    CHECK(got == written);
}

static void passed_on(void) {
    int c, s, way[2];
    pair(&c, &s);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, way) == 0);
    char byte = 'x', control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec io = {&byte, 1};
    struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = control,
                       .msg_controllen = sizeof control};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(h), &s, sizeof(int));
    CHECK(sendmsg(way[0], &m, 0) == 1);
    close(s);
    if (fork() == 0) {
        int got;
        CHECK(recvmsg(way[1], &m, 0) == 1);
        memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof got);
        CHECK(get(got, SOL_SOCKET, SO_TYPE) == SOCK_STREAM && port_of(got) > 0);
        CHECK(write(got, "passed", 6) == 6);
        _exit(0);
    }
    close(way[1]);
    char text[8];
    CHECK(read(c, text, 8) == 6);
    wait(0);
    close(way[0]);
    CHECK(read(c, text, 8) == 0);
}

static void refused(void) {
    FAILS(socket(AF_INET, SOCK_STREAM, 132), EPROTONOSUPPORT); /* SCTP */
    int u = socket(AF_INET, SOCK_DGRAM, 0), s = socket(AF_INET, SOCK_STREAM, 0);
    FAILS(listen(u, 1), EOPNOTSUPP);
    FAILS(accept(s, 0, 0), EINVAL);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    FAILS(connect(s, (struct sockaddr *)&six, sizeof six), EAFNOSUPPORT);
    FAILS(connect(s, (struct sockaddr *)&six, 2), EINVAL);
    FAILS(connect(s, (struct sockaddr *)8, 16), EFAULT);
    FAILS(bind(99, (struct sockaddr *)&six, sizeof six), EBADF);
    int f = open("/dev/null", O_RDONLY);
    FAILS(listen(f, 1), ENOTSOCK);
    int way[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, way) == 0);
    CHECK(get(way[0], SOL_SOCKET, SO_DOMAIN) == AF_UNIX);
}

#ifdef __x86_64__
/* A call by the table of 32-bit programs. */
static long of_32_bits(long number, long one, long two, long three) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(one), "c"(two), "d"(three) : "memory", "r8", "r9", "r10", "r11");
    return result;
}
#endif

/* The ways to a socket that no filter of these calls sees: rings, and calls of other architectures. */
static void past_the_filter(void) {
    char parameters[128] = {0};
    FAILS(syscall(425, 4, parameters), ENOSYS); /* io_uring_setup */
#ifdef __x86_64__
    FAILS(syscall(0x40000000 | 41, AF_INET, SOCK_STREAM, 0), ENOSYS); /* socket of x32 */
    if (fork() == 0) {
        /* A kernel without 32-bit programs ends this one here. */
        CHECK(of_32_bits(359, AF_INET, SOCK_STREAM, 0) == -ENOSYS); /* socket */
        CHECK(of_32_bits(102, 1, 0, 0) == -ENOSYS);                 /* socketcall */
        CHECK(of_32_bits(20, 0, 0, 0) == getpid());                 /* getpid */
        _exit(0);
    }
    int status;
    wait(&status);
    CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
#endif
}

#define CASE(name) {#name, name}
static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {CASE(bind_only),   CASE(accept_in_child), CASE(nonblocking),
             CASE(retry_on_the_same_descriptor),       CASE(readiness),
             CASE(half_close),  CASE(resets),          CASE(names),
             CASE(options),     CASE(timeouts),        CASE(udp),
             CASE(reuseport),   CASE(interrupted),     CASE(storm),
             CASE(handlers_take_long),                 CASE(descriptors_run_out),
             CASE(fork_storm),  CASE(nobody_reads),    CASE(passed_on),
             CASE(refused),     CASE(past_the_filter)};

int main(int argc, char **argv) {
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
        if (argc == 1)
            puts(cases[i].name);
        else if (!strcmp(argv[1], cases[i].name))
            return cases[i].run(), 0;
    return argc > 1;
}
