/*
 * What does close do? That depends on the state that it finds. Each paragraph brings a connection into
 * one and closes it; what the other end sees is printed. Beside a trace the segments can be seen, too.
 */
#include "sockets.h"

static void say(const char *state, const char *outcome) {
    printf("close in %s: %s\n", state, outcome);
    fflush(stdout);
}

/* What a read at `peer` says. */
static const char *read_at(int peer) {
    char byte;
    ssize_t count = read(peer, &byte, 1);
    return count == 0 ? "the peer reads the end" : is(count);
}

int main(void) {
    int fresh = tcp();
    say("CLOSED", is(close(fresh)));

    int listener = listening(3);
    in_port_t port = port_of(listener);
    int waiting = tcp();
    must(connect_to(waiting, port));
    say("LISTEN", is(close(listener)));
    printf("  who waited in its queue reads: %s\n", read_at(waiting));

    struct silence silence = silent();
    int connecting = tcp();
    must(fcntl(connecting, F_SETFL, O_NONBLOCK));
    const char *connects = is(connect_to(connecting, silence.port));
    printf("  a connect that nobody answers: %s\n", connects);
    say("SYN-SENT", is(close(connecting)));

    struct ends ends = connected();
    close(ends.client);
    say("ESTABLISHED (FIN, FIN-WAIT-1)", read_at(ends.server));

    /* The server is in CLOSE-WAIT now, and may send. */
    close(ends.server);
    say("CLOSE-WAIT (FIN, LAST-ACK)", "0");

    ends = connected();
    must(shutdown(ends.client, SHUT_WR));
    must(send(ends.server, "late", 4, 0));
    char late[4];
    must(recv(ends.client, late, sizeof late, MSG_WAITALL));
    must(close(ends.client));
    say("FIN-WAIT-2 (nothing is sent)", read_at(ends.server));

    ends = connected();
    must(send(ends.server, "unread", 6, 0));
    happens_within(ends.client, POLLIN);
    close(ends.client);
    happens_within(ends.server, POLLERR);
    say("ESTABLISHED with unread bytes (RST)", read_at(ends.server));
    return 0;
}
