/*
 * Connections under a shower of signals: the client and the server are interrupted every 100
 * microseconds, with SA_RESTART, and no call may say that it was, nor any connection be lost.
 */
#include <sys/time.h>
#include <sys/wait.h>

#include "../sockets.h"

enum { CONNECTIONS = 3000 };

static volatile sig_atomic_t signals;

static void count(int signal) {
    (void)signal;
    signals++;
}

static void shower(void) {
    must(sigaction(SIGALRM, &(struct sigaction){.sa_handler = count, .sa_flags = SA_RESTART}, NULL));
    struct itimerval often = {.it_interval.tv_usec = 100, .it_value.tv_usec = 100};
    must(setitimer(ITIMER_REAL, &often, NULL));
}

static int open_descriptors(void) {
    int number = 0;
    for (int descriptor = 0; descriptor < 1024; descriptor++) number += fcntl(descriptor, F_GETFD) >= 0;
    return number;
}

int main(void) {
    int listener = listening(64);
    pid_t server = fork_mortal();
    if (server == 0) {
        shower();
        for (;;) {
            int connection = must(accept(listener, NULL, NULL));
            char byte;
            if (must(read(connection, &byte, 1)) == 1) must(write(connection, &byte, 1));
            close(connection);
        }
    }
    int before = open_descriptors(), whole = 0;
    shower();
    for (int i = 0; i < CONNECTIONS; i++) {
        int socket = tcp(), yes = 1;
        must(setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes));
        must(connect_to(socket, port_of(listener)));
        char byte = 'a' + i % 26, answer = 0;
        must(write(socket, &byte, 1));
        must(read(socket, &answer, 1));
        whole += answer == byte;
        must(shutdown(socket, SHUT_WR));
        must(read(socket, &answer, 1));
        close(socket);
    }
    must(setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL));
    kill(server, SIGKILL);
    printf("%d whole, %s signals, %d descriptors more\n", whole, signals > 100 ? "many" : "few",
           open_descriptors() - before);
    return whole == CONNECTIONS ? 0 : 1;
}
