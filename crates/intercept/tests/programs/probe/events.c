/* What poll, select and epoll say, and when. */
#include "probe.h"

#include <sys/select.h>

static int watch(int socket, uint32_t events) {
    int watcher = must(epoll_create1(EPOLL_CLOEXEC));
    must(epoll_ctl(watcher, EPOLL_CTL_ADD, socket, &(struct epoll_event){.events = events}));
    return watcher;
}

/* What epoll says once the network has come to rest. */
static const char *tells(int watcher) {
    settle();
    struct epoll_event event = {0};
    must(epoll_wait(watcher, &event, 1, 0));
    /* The names of epoll's events are numbers of poll's. */
    return names_of((short)event.events);
}

CHECK("poll: fresh socket") { note("%s", happens(tcp())); }
CHECK("poll: bound socket") {
    int socket = tcp();
    must(bind_to(socket, 0));
    note("%s", happens(socket));
}
CHECK("poll: idle connection") { note("%s", happens(connected().client)); }
CHECK("poll: connection over IPv6") { note("%s", happens(connected6().client)); }
CHECK("poll: data") {
    struct ends ends = connected();
    must(send(ends.server, "x", 1, 0));
    note("%s", happens(ends.client));
    drain(ends.client);
    note("read %s", happens(ends.client));
}
CHECK("poll: the peer's end") {
    struct ends ends = connected();
    must(shutdown(ends.server, SHUT_WR));
    note("%s", happens(ends.client));
    note("its own %s", happens(ends.server));
}
CHECK("poll: data and the peer's end") {
    struct ends ends = connected();
    must(send(ends.server, "x", 1, 0));
    must(shutdown(ends.server, SHUT_WR));
    note("%s", happens(ends.client));
}
CHECK("poll: both ends") {
    struct ends ends = connected();
    must(shutdown(ends.server, SHUT_WR));
    must(shutdown(ends.client, SHUT_WR));
    note("%s", happens(ends.client));
    note("%s", happens(ends.server));
}
CHECK("poll: shut for reading") {
    struct ends ends = connected();
    must(shutdown(ends.client, SHUT_RD));
    note("%s", happens(ends.client));
}
CHECK("poll: shut both ways") {
    struct ends ends = connected();
    must(shutdown(ends.client, SHUT_RDWR));
    note("%s", happens(ends.client));
    note("the peer %s", happens(ends.server));
}
CHECK("poll: the peer closed") {
    struct ends ends = connected();
    must(close(ends.server));
    note("%s", happens(ends.client));
}
CHECK("poll: reset") {
    struct ends ends = connected();
    close_with_reset(ends.server);
    note("%s", happens(ends.client));
}
CHECK("poll: reset, and the error taken") {
    struct ends ends = connected();
    close_with_reset(ends.server);
    settle();
    int error;
    must(getsockopt(ends.client, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error}));
    note("%s", strerrorname_np(error));
    note("%s", happens(ends.client));
}
CHECK("poll: full, and with room again") {
    struct ends ends = connected();
    fill(ends.client);
    note("%s", happens(ends.client));
    drain(ends.server);
    note("%s", happens(ends.client));
}
CHECK("poll: urgent data") {
    struct ends ends = connected();
    note("send %s", is(send(ends.server, "!", 1, MSG_OOB)));
    note("%s", happens(ends.client));
}
CHECK("poll: listener") {
    int listener = listening(4);
    note("%s", happens(listener));
    int first = tcp(), second = tcp();
    must(connect_to(first, port_of(listener)));
    must(connect_to(second, port_of(listener)));
    note("two wait %s", happens(listener));
    must(accept(listener, NULL, NULL));
    note("one waits %s", happens(listener));
    must(accept(listener, NULL, NULL));
    note("none %s", happens(listener));
}
CHECK("poll: listener that was shut") {
    int listener = listening(4);
    must(shutdown(listener, SHUT_RD));
    note("%s", happens(listener));
}
CHECK("poll: connecting, then connected") {
    struct silence silence = silent();
    int socket = tcp();
    non_blocking(socket);
    note("%s", is(connect_to(socket, silence.port)));
    note("%s", happens(socket));
    must(accept(silence.listener, NULL, NULL));
    struct pollfd wait = {.fd = socket, .events = POLLOUT | POLLIN | POLLRDHUP};
    /* The SYN is sent again after a second. */
    must(poll(&wait, 1, 5000));
    note("%s", names_of(wait.revents));
}
CHECK("poll: bad descriptor") { note("%s", happens(900)); }
CHECK("poll: nothing asked, reset told") {
    struct ends ends = connected();
    close_with_reset(ends.server);
    settle();
    struct pollfd wait = {.fd = ends.client};
    note("%d", poll(&wait, 1, 0));
    note("%s", names_of(wait.revents));
}
CHECK("poll: woken by data") {
    struct ends ends = connected();
    void write_one(int socket) { must(send(socket, "x", 1, 0)); }
    child_after(100, write_one, ends.server);
    note("%s", names_of(happens_within(ends.client, POLLIN)));
}
CHECK("poll: woken by the peer's death") {
    struct ends ends = connected();
    void die(int socket) { (void)socket; raise(SIGKILL); }
    child_after(100, die, ends.server);
    close(ends.server);
    note("%s", names_of(happens_within(ends.client, POLLIN | POLLRDHUP)));
}

CHECK("select: three sets") {
    struct ends ends = connected();
    int listener = listening(1);
    must(connect_to(tcp(), port_of(listener)));
    must(send(ends.server, "x", 1, 0));
    settle();
    fd_set reads = {0}, writes = {0}, errors = {0};
    int most = ends.client > listener ? ends.client : listener;
    FD_SET(ends.client, &reads), FD_SET(ends.client, &writes), FD_SET(ends.client, &errors);
    FD_SET(listener, &reads), FD_SET(listener, &writes), FD_SET(listener, &errors);
    note("%d", select(most + 1, &reads, &writes, &errors, &(struct timeval){0}));
    note("connection %d%d%d", !!FD_ISSET(ends.client, &reads), !!FD_ISSET(ends.client, &writes),
         !!FD_ISSET(ends.client, &errors));
    note("listener %d%d%d", !!FD_ISSET(listener, &reads), !!FD_ISSET(listener, &writes),
         !!FD_ISSET(listener, &errors));
}
CHECK("select: refused connect is readable and writable") {
    int socket = tcp();
    in_port_t port = nobodys_port();
    non_blocking(socket);
    note("%s", is(connect_to(socket, port)));
    settle();
    fd_set reads = {0}, writes = {0};
    FD_SET(socket, &reads), FD_SET(socket, &writes);
    note("%d", select(socket + 1, &reads, &writes, NULL, &(struct timeval){0}));
}

CHECK("epoll: level") {
    struct ends ends = connected();
    int watcher = watch(ends.client, EPOLLIN | EPOLLOUT);
    note("%s", tells(watcher));
    must(send(ends.server, "xy", 2, 0));
    note("%s", tells(watcher));
    note("%s", tells(watcher));
}
CHECK("epoll: edge, reading") {
    struct ends ends = connected();
    int watcher = watch(ends.client, EPOLLIN | EPOLLRDHUP | EPOLLET);
    note("%s", tells(watcher));
    must(send(ends.server, "x", 1, 0));
    note("%s", tells(watcher));
    note("unread %s", tells(watcher));
    must(send(ends.server, "y", 1, 0));
    note("more %s", tells(watcher));
    drain(ends.client);
    must(send(ends.server, "z", 1, 0));
    note("again %s", tells(watcher));
    must(close(ends.server));
    note("end %s", tells(watcher));
    note("%s", tells(watcher));
}
CHECK("epoll: edge, writing") {
    struct ends ends = connected();
    int watcher = watch(ends.client, EPOLLOUT | EPOLLET);
    note("%s", tells(watcher));
    note("%s", tells(watcher));
    fill(ends.client);
    tells(watcher);
    drain(ends.server);
    note("room %s", tells(watcher));
    note("%s", tells(watcher));
}
CHECK("epoll: edge, connecting") {
    int listener = listening(1), socket = tcp();
    non_blocking(socket);
    int watcher = watch(socket, EPOLLIN | EPOLLOUT | EPOLLET);
    tells(watcher);
    note("%s", is(connect_to(socket, port_of(listener))));
    note("%s", tells(watcher));
    note("%s", tells(watcher));
}
CHECK("epoll: edge, refused") {
    int socket = tcp();
    in_port_t port = nobodys_port();
    non_blocking(socket);
    note("%s", is(connect_to(socket, port)));
    int watcher = watch(socket, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    note("%s", tells(watcher));
    note("%s", tells(watcher));
}
CHECK("epoll: edge, listener") {
    int listener = listening(4);
    int watcher = watch(listener, EPOLLIN | EPOLLET);
    note("%s", tells(watcher));
    for (int i = 0; i < 2; i++) {
        must(connect_to(tcp(), port_of(listener)));
        note("%s", tells(watcher));
    }
    note("%s", tells(watcher));
    must(accept(listener, NULL, NULL));
    note("one taken %s", tells(watcher));
}
CHECK("epoll: once") {
    struct ends ends = connected();
    int watcher = watch(ends.client, EPOLLIN | EPOLLONESHOT);
    must(send(ends.server, "x", 1, 0));
    note("%s", tells(watcher));
    note("%s", tells(watcher));
    struct epoll_event again = {.events = EPOLLIN | EPOLLONESHOT};
    must(epoll_ctl(watcher, EPOLL_CTL_MOD, ends.client, &again));
    note("asked again %s", tells(watcher));
}
CHECK("epoll: a duplicate keeps it registered") {
    struct ends ends = connected();
    int watcher = watch(ends.client, EPOLLIN);
    int other = must(dup(ends.client));
    must(close(ends.client));
    must(send(ends.server, "x", 1, 0));
    note("%s", tells(watcher));
    must(close(other));
    note("closed %s", tells(watcher));
}
CHECK("epoll: reset without being asked") {
    struct ends ends = connected();
    int watcher = watch(ends.client, 0);
    close_with_reset(ends.server);
    note("%s", tells(watcher));
}
CHECK("epoll: within epoll") {
    struct ends ends = connected();
    int outer = watch(watch(ends.client, EPOLLIN), EPOLLIN);
    note("%s", tells(outer));
    must(send(ends.server, "x", 1, 0));
    note("%s", tells(outer));
}
CHECK("epoll: exclusive, one connection wakes one of two") {
    int listener = listening(4), counter[2];
    must(pipe(counter));
    for (int i = 0; i < 2; i++) {
        if (must(fork()) == 0) {
            int watcher = watch(listener, EPOLLIN | EPOLLEXCLUSIVE);
            struct epoll_event event;
            if (epoll_wait(watcher, &event, 1, 700) == 1) must(write(counter[1], "x", 1));
            _exit(0);
        }
    }
    settle(), settle();
    must(connect_to(tcp(), port_of(listener)));
    while (wait(NULL) > 0) continue;
    int count;
    must(ioctl(counter[0], FIONREAD, &count));
    note("%s", count >= 1 ? "woken" : "nobody");
}
