/*
 * Visits a server that sends back what it gets, for some seconds, one visit after another, and prints how
 * many there were in a second. Usage: visits KIND ADDRESS PORT SECONDS, where a visit of the kind
 * `connect` is a connection of its own, and one of the kind `byte` a byte there and back on the same.
 */
#include <time.h>

#include "../sockets.h"

static double now(void) {
    struct timespec time;
    must(clock_gettime(CLOCK_MONOTONIC, &time));
    return time.tv_sec + time.tv_nsec / 1e9;
}

static int come(const struct sockaddr_in *address) {
    int socket = tcp(), yes = 1;
    must(setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes));
    must(connect(socket, (const struct sockaddr *)address, sizeof *address));
    return socket;
}

static void exchange(int socket) {
    char byte = 'x';
    must(send(socket, &byte, 1, 0));
    if (must(recv(socket, &byte, 1, 0)) != 1) exit(1);
}

int main(int count, char **arguments) {
    if (count != 5) return 2;
    bool connects = strcmp(arguments[1], "connect") == 0;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[3]))};
    if (inet_pton(AF_INET, arguments[2], &address.sin_addr) != 1) return 2;
    double begin = now(), end = begin + atof(arguments[4]);
    int visits = 0, socket = connects ? -1 : come(&address);
    while (now() < end) {
        if (connects) {
            socket = come(&address);
            exchange(socket);
            close(socket);
        } else {
            exchange(socket);
        }
        visits++;
    }
    printf("%.0f\n", visits / (now() - begin));
    return 0;
}
