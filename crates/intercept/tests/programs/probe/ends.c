/* How connections end: half and whole, in order and by reset. */
#include "probe.h"

static char buffer[65536];

static const char *sends(int socket) { return is(send(socket, "x", 1, MSG_NOSIGNAL)); }
static const char *receives(int socket) { return is(recv(socket, buffer, sizeof buffer, MSG_DONTWAIT)); }

/* Waits for what is to come, and receives. */
static const char *then_receives(int socket) {
    happens_within(socket, POLLIN);
    return receives(socket);
}

static const char *error_of(int socket) {
    int error;
    must(getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error}));
    return error ? strerrorname_np(error) : "0";
}

CHECK("end: read again and again") {
    struct ends ends = connected();
    must(close(ends.server));
    note("%s", then_receives(ends.client));
    note("%s", receives(ends.client));
}
CHECK("end: behind data") {
    struct ends ends = connected();
    must(send(ends.server, "abc", 3, 0));
    must(close(ends.server));
    note("%s", then_receives(ends.client));
    note("%s", then_receives(ends.client));
}
CHECK("half: the other way stays open") {
    struct ends ends = connected();
    must(shutdown(ends.client, SHUT_WR));
    note("server reads %s", then_receives(ends.server));
    note("sends %s", sends(ends.server));
    note("client reads %s", then_receives(ends.client));
    note("client sends %s", sends(ends.client));
    must(close(ends.server));
    note("client reads %s", then_receives(ends.client));
}
CHECK("half: write raises SIGPIPE") {
    struct ends ends = connected();
    count_signal(SIGPIPE, 0);
    must(shutdown(ends.client, SHUT_WR));
    note("%s", is(write(ends.client, "x", 1)));
    note("signals %d", (int)signals);
    note("without %s", sends(ends.client));
    note("signals %d", (int)signals);
}
CHECK("half: megabytes after the peer's end") {
    struct ends ends = connected();
    must(shutdown(ends.client, SHUT_WR));
    pid_t child = must(fork());
    if (child == 0) {
        for (int i = 0; i < 64; i++) must(send(ends.server, buffer, sizeof buffer, 0));
        _exit(0);
    }
    close(ends.server);
    size_t total = 0;
    for (ssize_t count; (count = must(read(ends.client, buffer, sizeof buffer))) > 0;) total += count;
    note("%zu", total);
}
CHECK("shutdown: for reading") {
    struct ends ends = connected();
    note("%s", is(shutdown(ends.client, SHUT_RD)));
    note("reads %s", receives(ends.client));
    note("peer sends %s", sends(ends.server));
    settle();
    note("sends %s", sends(ends.client));
    note("peer reads %s", then_receives(ends.server));
}
CHECK("shutdown: for reading, data is there") {
    struct ends ends = connected();
    must(send(ends.server, "abc", 3, 0));
    settle();
    note("%s", is(shutdown(ends.client, SHUT_RD)));
    note("reads %s", receives(ends.client));
    note("then %s", receives(ends.client));
}
CHECK("shutdown: both ways") {
    struct ends ends = connected();
    note("%s", is(shutdown(ends.client, SHUT_RDWR)));
    note("reads %s", receives(ends.client));
    note("sends %s", sends(ends.client));
    note("peer reads %s", then_receives(ends.server));
    note("again %s", is(shutdown(ends.client, SHUT_RDWR)));
}
CHECK("shutdown: twice") {
    struct ends ends = connected();
    note("%s", is(shutdown(ends.client, SHUT_WR)));
    note("%s", is(shutdown(ends.client, SHUT_WR)));
}
CHECK("shutdown: after both ends are closed") {
    struct ends ends = connected();
    must(shutdown(ends.server, SHUT_WR));
    must(shutdown(ends.client, SHUT_WR));
    settle();
    note("%s", is(shutdown(ends.client, SHUT_RDWR)));
    note("%s", is(shutdown(ends.server, SHUT_WR)));
}
CHECK("shutdown: unknown way") { note("%s", is(shutdown(connected().client, 3))); }
CHECK("shutdown: through a duplicate") {
    struct ends ends = connected();
    must(shutdown(must(dup(ends.client)), SHUT_WR));
    note("peer reads %s", then_receives(ends.server));
    note("sends %s", sends(ends.client));
}
CHECK("shutdown: wakes a blocked read") {
    struct ends ends = connected();
    void shut(int socket) { must(shutdown(socket, SHUT_RD)); }
    child_after(100, shut, ends.client);
    note("%s", is(read(ends.client, buffer, 1)));
}
CHECK("peer closed: first write, then the reset") {
    struct ends ends = connected();
    must(close(ends.server));
    settle();
    note("%s", sends(ends.client));
    settle();
    note("%s", sends(ends.client));
    note("SO_ERROR %s", error_of(ends.client));
    note("%s", receives(ends.client));
}
CHECK("peer closed with unread data") {
    struct ends ends = connected();
    must(send(ends.client, "x", 1, 0));
    settle();
    must(close(ends.server));
    note("%s", then_receives(ends.client));
    note("%s", receives(ends.client));
    note("sends %s", sends(ends.client));
}
CHECK("reset: read") {
    struct ends ends = connected();
    close_with_reset(ends.server);
    note("%s", then_receives(ends.client));
    note("%s", receives(ends.client));
    note("SO_ERROR %s", error_of(ends.client));
}
CHECK("reset: write") {
    struct ends ends = connected();
    count_signal(SIGPIPE, 0);
    close_with_reset(ends.server);
    settle();
    note("%s", is(write(ends.client, "x", 1)));
    note("signals %d", (int)signals);
    note("%s", is(write(ends.client, "x", 1)));
    note("signals %d", (int)signals);
}
CHECK("reset: behind data that was not read") {
    struct ends ends = connected();
    must(send(ends.server, "abc", 3, 0));
    settle();
    close_with_reset(ends.server);
    settle();
    note("%s", receives(ends.client));
    note("%s", receives(ends.client));
}
CHECK("reset: SO_ERROR once") {
    struct ends ends = connected();
    close_with_reset(ends.server);
    settle();
    note("%s", error_of(ends.client));
    note("%s", error_of(ends.client));
    note("reads %s", receives(ends.client));
}
CHECK("reset: names after it") {
    struct ends ends = connected();
    close_with_reset(ends.server);
    settle();
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    note("peer %s", is(getpeername(ends.client, (struct sockaddr *)&address, &length)));
    note("own port %s", port_of(ends.client) ? "given" : "0");
    note("shutdown %s", is(shutdown(ends.client, SHUT_RDWR)));
}
CHECK("reset: wakes a blocked read") {
    struct ends ends = connected();
    child_after(100, close_with_reset, ends.server);
    close(ends.server);
    alarm_after(900);
    count_signal(SIGALRM, 0);
    /* Only who has the last descriptor ends the connection: that is the child. */
    note("%s", is(read(ends.client, buffer, 1)));
}
CHECK("reset: wakes a blocked write") {
    struct ends ends = connected();
    fill(ends.client);
    child_after(100, close_with_reset, ends.server);
    close(ends.server);
    note("%s", is(send(ends.client, buffer, sizeof buffer, MSG_NOSIGNAL)));
}
CHECK("reset: over IPv6") {
    struct ends ends = connected6();
    close_with_reset(ends.server);
    note("%s", then_receives(ends.client));
}
CHECK("close: data still goes out") {
    struct ends ends = connected();
    pid_t child = must(fork());
    if (child == 0) {
        close(ends.client);
        for (int i = 0; i < 16; i++) must(send(ends.server, buffer, sizeof buffer, 0));
        _exit(0);
    }
    close(ends.server);
    must(waitpid(child, NULL, WNOHANG));
    settle();
    size_t total = 0;
    for (ssize_t count; (count = must(read(ends.client, buffer, sizeof buffer))) > 0;) total += count;
    note("%zu", total);
}
CHECK("close: after SO_LINGER of 2 seconds, all was read") {
    struct ends ends = connected();
    struct linger two = {.l_onoff = 1, .l_linger = 2};
    must(setsockopt(ends.client, SOL_SOCKET, SO_LINGER, &two, sizeof two));
    must(send(ends.client, "abc", 3, 0));
    note("%s", is(close(ends.client)));
    note("%s", then_receives(ends.server));
    note("%s", then_receives(ends.server));
}
CHECK("close: another descriptor keeps it open") {
    struct ends ends = connected();
    int other = must(dup(ends.server));
    must(close(ends.server));
    note("%s", happens(ends.client));
    must(send(other, "x", 1, 0));
    note("%s", then_receives(ends.client));
    must(close(other));
    note("%s", then_receives(ends.client));
}
CHECK("close: a killed process closes") {
    struct ends ends = connected();
    void wait_for_death(int socket) { (void)socket; pause(); }
    pid_t child = child_after(0, wait_for_death, 0);
    close(ends.server);
    note("%s", happens(ends.client));
    must(kill(child, SIGKILL));
    note("%s", then_receives(ends.client));
}
CHECK("close: while connecting") {
    struct silence silence = silent();
    int socket = tcp();
    non_blocking(socket);
    note("%s", is(connect_to(socket, silence.port)));
    note("%s", is(close(socket)));
}
CHECK("close: a listener resets who waits") {
    int listener = listening(4), client = tcp();
    must(connect_to(client, port_of(listener)));
    settle();
    must(close(listener));
    note("%s", then_receives(client));
    note("connect %s", is(connect_to(tcp(), port_of(client))));
}
