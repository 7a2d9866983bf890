/*
 * What does accept do? It takes a connection that the handshake has made already out of a queue. So
 * one process can bind and listen, and another accept; and a client is connected, and may even send,
 * before anybody accepts.
 */
#include <sys/wait.h>

#include "sockets.h"

int main(void) {
    int listener = listening(3);
    int client = tcp();
    must(connect_to(client, port_of(listener)));
    must(send(client, "before accept", 13, 0));
    printf("connected and sent before anybody accepts\n");
    fflush(stdout);

    pid_t child = must(fork());
    if (child == 0) {
        close(client);
        int connection = must(accept(listener, NULL, NULL));
        char text[64] = {0};
        must(read(connection, text, sizeof text - 1));
        printf("the child accepts and reads: %s\n", text);
        must(send(connection, "from the child", 14, 0));
        return 0;
    }
    close(listener);
    char text[64] = {0};
    must(recv(client, text, 14, MSG_WAITALL));
    int status;
    must(waitpid(child, &status, 0));
    printf("the parent's client reads: %s\n", text);
    return status;
}
