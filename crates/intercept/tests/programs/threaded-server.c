/* An echo server of threads that all block in accept on one socket. Usage: threaded-server ADDRESS PORT. */
#include <pthread.h>

#include "sockets.h"

enum { THREADS = 8 };

static void *serve(void *argument) {
    int listener = *(int *)argument;
    char buffer[65536];
    for (;;) {
        int connection = must(accept(listener, NULL, NULL));
        ssize_t count;
        while ((count = recv(connection, buffer, sizeof buffer, 0)) > 0) {
            for (ssize_t sent = 0; sent < count;) {
                sent += must(send(connection, buffer + sent, count - sent, MSG_NOSIGNAL));
            }
        }
        close(connection);
    }
    return NULL;
}

int main(int count, char **arguments) {
    if (count != 3) return 2;
    int listener = tcp(), yes = 1;
    must(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[2]))};
    if (inet_pton(AF_INET, arguments[1], &address.sin_addr) != 1) return 2;
    must(bind(listener, (struct sockaddr *)&address, sizeof address));
    must(listen(listener, 64));
    pthread_t threads[THREADS];
    for (int thread = 0; thread < THREADS; thread++) {
        if (pthread_create(&threads[thread], NULL, serve, &listener) != 0) return 1;
    }
    for (;;) pause();
}
