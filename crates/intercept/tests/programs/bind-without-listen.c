/*
 * What does bind do? It takes the port, so that nobody else can have it, and no more: who connects is
 * refused until listen is called.
 */
#include "sockets.h"

static const char *try_to_connect(in_port_t port) {
    int client = tcp();
    const char *outcome = is(connect_to(client, port));
    close(client);
    return outcome;
}

int main(void) {
    int bound = tcp();
    struct sockaddr_in address = loopback(0);
    must(bind(bound, (struct sockaddr *)&address, sizeof address));
    in_port_t port = port_of(bound);
    printf("bound, not listening: connect says %s\n", try_to_connect(port));

    int other = tcp();
    address = loopback(port);
    printf("another socket on the port: bind says %s\n",
           is(bind(other, (struct sockaddr *)&address, sizeof address)));

    must(listen(bound, 3));
    printf("listening: connect says %s\n", try_to_connect(port));
    return 0;
}
