/*
 * An echo server that is a process for each connection: the parent binds and listens, children accept,
 * and each of those forks again for every client. Usage: forking-server ADDRESS PORT.
 */
#include <signal.h>

#include "sockets.h"

enum { ACCEPTORS = 3 };

static void echo(int connection) {
    char buffer[65536];
    ssize_t count;
    while ((count = read(connection, buffer, sizeof buffer)) > 0) {
        for (ssize_t sent = 0; sent < count;) {
            sent += must(write(connection, buffer + sent, count - sent));
        }
    }
    must(count);
}

static void accept_for_ever(int listener) {
    for (;;) {
        int connection = must(accept(listener, NULL, NULL));
        if (must(fork()) == 0) {
            close(listener);
            echo(connection);
            _exit(0);
        }
        close(connection);
    }
}

int main(int count, char **arguments) {
    if (count != 3) return 2;
    signal(SIGCHLD, SIG_IGN);
    int listener = tcp(), yes = 1;
    must(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[2]))};
    if (inet_pton(AF_INET, arguments[1], &address.sin_addr) != 1) return 2;
    must(bind(listener, (struct sockaddr *)&address, sizeof address));
    must(listen(listener, 64));
    for (int child = 0; child < ACCEPTORS; child++) {
        if (must(fork()) == 0) accept_for_ever(listener);
    }
    close(listener);
    for (;;) pause();
}
