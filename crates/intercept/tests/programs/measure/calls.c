/*
 * Says what calls of sockets cost: for each, how many nanoseconds it takes, a name and a number in a line.
 * Both ends of every connection are its own.
 */
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <time.h>

#include "../sockets.h"

static const double SECONDS = 0.1;
static const int AT_ONCE = 16;

/* What the calls are about. */
static int listener, ours, theirs, pair[2], poller;
static struct sockaddr_in address;

static double now(void) {
    struct timespec time;
    must(clock_gettime(CLOCK_MONOTONIC, &time));
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void measure(const char *name, void (*call)(void)) {
    double begin = now(), end;
    long calls = 0;
    do {
        for (int i = 0; i < AT_ONCE; i++) call();
        calls += AT_ONCE;
        end = now();
    } while (end - begin < SECONDS);
    printf("%s %.0f\n", name, (end - begin) / calls * 1e9);
}

static void byte_through(int from, int to) {
    char byte = 'x';
    must(send(from, &byte, 1, 0));
    if (must(recv(to, &byte, 1, 0)) != 1) exit(1);
}

static void come(void) {
    int one = tcp();
    must(connect(one, (const struct sockaddr *)&address, sizeof address));
    int other = must(accept(listener, NULL, NULL));
    close(one);
    close(other);
}

static void make_socket(void) { close(tcp()); }

static void bind_anywhere(void) {
    struct sockaddr_in any = {.sin_family = AF_INET};
    int socket = tcp();
    must(bind(socket, (const struct sockaddr *)&any, sizeof any));
    close(socket);
}

static void set_option(void) {
    int yes = 1;
    must(setsockopt(ours, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes));
}

static void cork(void) {
    int no = 0;
    must(setsockopt(ours, IPPROTO_TCP, TCP_CORK, &no, sizeof no));
}

static void get_option(void) {
    int value;
    socklen_t length = sizeof value;
    must(getsockopt(ours, SOL_SOCKET, SO_TYPE, &value, &length));
}

static void get_name(void) {
    struct sockaddr_in name;
    socklen_t length = sizeof name;
    must(getsockname(ours, (struct sockaddr *)&name, &length));
}

static void look(void) {
    struct pollfd entry = {.fd = ours, .events = POLLIN};
    must(poll(&entry, 1, 0));
}

static void watch(void) {
    struct epoll_event event = {.events = EPOLLIN};
    must(epoll_ctl(poller, EPOLL_CTL_ADD, ours, &event));
    must(epoll_ctl(poller, EPOLL_CTL_DEL, ours, NULL));
}

static void there_and_back(void) {
    byte_through(ours, theirs);
    byte_through(theirs, ours);
}

static void send_to_unix(void) { byte_through(pair[0], pair[1]); }

static void message_to_unix(void) {
    char byte = 'x';
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    must(sendmsg(pair[0], &message, 0));
    must(recvmsg(pair[1], &message, 0));
}

int main(void) {
    socklen_t length = sizeof address;
    listener = tcp();
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    must(bind(listener, (const struct sockaddr *)&address, length));
    must(listen(listener, 16));
    must(getsockname(listener, (struct sockaddr *)&address, &length));
    ours = tcp();
    must(connect(ours, (const struct sockaddr *)&address, sizeof address));
    theirs = must(accept(listener, NULL, NULL));
    int yes = 1;
    must(setsockopt(ours, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes));
    must(setsockopt(theirs, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes));
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    poller = must(epoll_create1(0));

    measure("poll", look);
    measure("epoll", watch);
    measure("cork", cork);
    measure("unix", send_to_unix);
    measure("message", message_to_unix);
    measure("set", set_option);
    measure("get", get_option);
    measure("name", get_name);
    measure("socket", make_socket);
    measure("bind", bind_anywhere);
    measure("byte", there_and_back);
    measure("connection", come);
    return 0;
}
