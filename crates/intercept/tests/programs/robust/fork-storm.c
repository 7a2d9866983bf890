/*
 * A storm of processes: five hundred, twenty at a time, each connects, sends, reads and dies, half of
 * them with its socket open. All must have been answered.
 */
#include <sys/wait.h>

#include "../sockets.h"

enum { CHILDREN = 500, AT_A_TIME = 20 };

static void visit(in_port_t port, bool tidy) {
    int socket = tcp();
    must(connect_to(socket, port));
    must(send(socket, "x", 1, 0));
    char byte = 0;
    must(recv(socket, &byte, 1, 0));
    if (tidy) close(socket);
    _exit(byte == 'y' ? 0 : 1);
}

int main(void) {
    int listener = listening(256);
    pid_t server = fork_mortal();
    if (server == 0) {
        for (;;) {
            int connection = must(accept(listener, NULL, NULL));
            char byte;
            if (recv(connection, &byte, 1, 0) == 1) send(connection, "y", 1, MSG_NOSIGNAL);
            close(connection);
        }
    }
    int answered = 0, running = 0;
    for (int child = 0; child < CHILDREN || running > 0;) {
        if (child < CHILDREN && running < AT_A_TIME) {
            if (must(fork()) == 0) visit(port_of(listener), child % 2);
            child++;
            running++;
            continue;
        }
        int status;
        must(wait(&status));
        running--;
        answered += status == 0;
    }
    kill(server, SIGKILL);
    printf("%d answered\n", answered);
    return answered == CHILDREN ? 0 : 1;
}
