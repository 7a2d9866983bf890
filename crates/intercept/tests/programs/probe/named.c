/* What is sent on a connection with a name beside it, which is nothing to TCP; and flags that it may have. */
#include "probe.h"

#ifndef MSG_FASTOPEN
#define MSG_FASTOPEN 0x20000000
#endif

enum { MUCH = 3000000 };
static char much[MUCH];

static ssize_t send_named(int socket, const void *bytes, size_t length, int flags) {
    struct sockaddr_in name = loopback(htons(9));
    return sendto(socket, bytes, length, flags, (struct sockaddr *)&name, sizeof name);
}
static ssize_t send_message_named(int socket, const void *bytes, size_t length, int flags) {
    struct sockaddr_in name = loopback(htons(9));
    struct iovec pieces[] = {{(void *)bytes, length / 3}, {(char *)bytes + length / 3, length - length / 3}};
    struct msghdr message = {.msg_name = &name, .msg_namelen = sizeof name, .msg_iov = pieces, .msg_iovlen = 2};
    return sendmsg(socket, &message, flags);
}
static void fill_much(void) {
    for (size_t i = 0; i < MUCH; i++) much[i] = (char)(i * 31 + i / 257);
}
/* Reads all of it, and says whether it came as it was sent. */
static void read_much(int socket) {
    static char bytes[MUCH];
    size_t total = 0;
    ssize_t count;
    fill_much();
    while ((count = read(socket, bytes + total, sizeof bytes - total)) > 0) total += count;
    printf(", %zu %s", total, memcmp(bytes, much, total) ? "with other bytes" : "as sent");
    fflush(stdout);
}

CHECK("named: sendto and sendmsg on a connection") {
    struct ends ends = connected();
    char bytes[64];
    note("%s", is(send_named(ends.client, "abc", 3, 0)));
    note("%s", is(send_message_named(ends.client, "defghi", 6, 0)));
    settle();
    ssize_t count = recv(ends.server, bytes, sizeof bytes, MSG_DONTWAIT);
    note("%.*s", (int)count, bytes);
}
CHECK("named: sendmmsg") {
    struct ends ends = connected();
    struct sockaddr_in name = loopback(htons(9));
    struct iovec pieces[] = {{"ab", 2}, {"cde", 3}};
    struct mmsghdr two[2] = {0};
    for (int i = 0; i < 2; i++) two[i].msg_hdr = (struct msghdr){.msg_name = &name, .msg_namelen = sizeof name, .msg_iov = &pieces[i], .msg_iovlen = 1};
    int sent = 0;
    while (sent < 2) sent += must(sendmmsg(ends.client, two + sent, 2 - sent, 0));
    note("%d and %d", two[0].msg_len, two[1].msg_len);
    settle();
    char bytes[64];
    note("%s", is(recv(ends.server, bytes, sizeof bytes, MSG_DONTWAIT)));
}
CHECK("named: a blocking sendto sends all") {
    struct ends ends = connected();
    fill_much();
    pid_t child = child_after(200, read_much, ends.server);
    close(ends.server);
    note("%s", is(send_named(ends.client, much, MUCH, 0)));
    must(shutdown(ends.client, SHUT_WR));
    must(waitpid(child, NULL, 0));
}
CHECK("named: a blocking sendmsg sends all") {
    struct ends ends = connected();
    fill_much();
    pid_t child = child_after(200, read_much, ends.server);
    close(ends.server);
    note("%s", is(send_message_named(ends.client, much, MUCH, 0)));
    must(shutdown(ends.client, SHUT_WR));
    must(waitpid(child, NULL, 0));
}
CHECK("named: a blocking sendto under signals sends all once") {
    struct ends ends = connected();
    count_signal(SIGALRM, SA_RESTART);
    fill_much();
    pid_t child = child_after(200, read_much, ends.server);
    close(ends.server);
    struct itimerval often = {{0, 1000}, {0, 1000}}, never = {0};
    must(setitimer(ITIMER_REAL, &often, NULL));
    size_t total = 0;
    while (total < MUCH) {
        ssize_t count = send_named(ends.client, much + total, MUCH - total, 0);
        if (count < 0 && errno != EINTR) break;
        if (count > 0) total += count;
    }
    must(setitimer(ITIMER_REAL, &never, NULL));
    note("%zu", total);
    must(shutdown(ends.client, SHUT_WR));
    must(waitpid(child, NULL, 0));
}
CHECK("named: sendto that does not wait") {
    struct ends ends = connected();
    fill(ends.client);
    note("%s", is(send_named(ends.client, much, MUCH, MSG_DONTWAIT)));
    note("%s", is(send_message_named(ends.client, much, MUCH, MSG_DONTWAIT)));
    non_blocking(ends.client);
    note("%s", is(send_named(ends.client, much, MUCH, 0)));
}
CHECK("named: sendto with SO_SNDTIMEO") {
    struct ends ends = connected();
    struct timeval limit = {.tv_usec = 200000};
    must(setsockopt(ends.client, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit));
    fill(ends.client);
    note("%s", is(send_named(ends.client, much, MUCH, 0)));
}
CHECK("named: sendto without a connection") {
    count_signal(SIGPIPE, 0);
    int fresh = tcp(), listener = listening(1);
    note("%s", is(send_named(fresh, "x", 1, 0)));
    note("signals %d", signals);
    note("%s", is(send_named(fresh, "x", 1, MSG_NOSIGNAL)));
    note("%s", is(send_named(listener, "x", 1, MSG_NOSIGNAL)));
    note("%s", is(send_message_named(fresh, "x", 1, MSG_NOSIGNAL)));
    note("signals %d", signals);
}
CHECK("named: sendto after shutdown") {
    struct ends ends = connected();
    count_signal(SIGPIPE, 0);
    must(shutdown(ends.client, SHUT_WR));
    note("%s", is(send_named(ends.client, "x", 1, 0)));
    settle();
    note("signals %d", signals);
}
CHECK("named: sendto without a handler of SIGPIPE") {
    struct ends ends = connected();
    must(shutdown(ends.client, SHUT_WR));
    pid_t child = must(fork());
    if (child == 0) {
        send_named(ends.client, "x", 1, 0);
        settle();
        _exit(0);
    }
    int status;
    must(waitpid(child, &status, 0));
    note("%s", WIFSIGNALED(status) ? sigabbrev_np(WTERMSIG(status)) : "it lives");
}
CHECK("named: sendto after a reset") {
    struct ends ends = connected();
    close_with_reset(ends.server);
    settle();
    note("%s", is(send_named(ends.client, "x", 1, MSG_NOSIGNAL)));
    note("%s", is(send_named(ends.client, "x", 1, MSG_NOSIGNAL)));
}
CHECK("named: nothing is sent") {
    struct ends ends = connected();
    note("%s", is(send_named(ends.client, NULL, 0, 0)));
    note("%s", is(send_named(ends.client, (void *)8, 5, 0)));
    note("%s", is(send_message_named(ends.client, (void *)8, 9, 0)));
    settle();
    char byte;
    note("%s", is(recv(ends.server, &byte, 1, MSG_DONTWAIT)));
}
CHECK("named: MSG_FASTOPEN, or connect and send") {
    int listener = listening(8), client = tcp();
    struct sockaddr_in name = loopback(port_of(listener));
    ssize_t count = sendto(client, "abc", 3, MSG_FASTOPEN, (struct sockaddr *)&name, sizeof name);
    if (count < 0 && errno == EOPNOTSUPP) {
        must(connect_to(client, port_of(listener)));
        count = send(client, "abc", 3, 0);
    }
    note("%s", is(count));
    int server = must(accept(listener, NULL, NULL));
    happens_within(server, POLLIN);
    char bytes[9];
    note("%s", is(recv(server, bytes, sizeof bytes, MSG_DONTWAIT)));
}
CHECK("named: TCP_FASTOPEN_CONNECT, or without") {
    int socket = tcp();
    int done = setsockopt(socket, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &(int){1}, sizeof(int));
    note("%s", done == 0 || errno == EOPNOTSUPP || errno == ENOPROTOOPT ? "as programs expect" : is(done));
}
