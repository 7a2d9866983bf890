/* The plainest server there is: a loop of accept, read, send and close on port 8080. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void demand(int result, const char *what) {
    if (result < 0) {
        perror(what);
        exit(EXIT_FAILURE);
    }
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    demand(listener, "socket");

    /* Two names in one number is a mistake that is often made: 2 | 15 is SO_REUSEPORT alone. */
    int yes = 1;
    demand(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR | SO_REUSEPORT, &yes, sizeof yes), "setsockopt");

    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(8080)};
    address.sin_addr.s_addr = INADDR_ANY;
    demand(bind(listener, (struct sockaddr *)&address, sizeof address), "bind");
    demand(listen(listener, 3), "listen");

    const char *answer = "Hello from the server";
    for (;;) {
        socklen_t length = sizeof address;
        int connection = accept(listener, (struct sockaddr *)&address, &length);
        demand(connection, "accept");
        char question[1024] = {0};
        demand(read(connection, question, sizeof question - 1), "read");
        printf("%s\n", question);
        demand(send(connection, answer, strlen(answer), 0), "send");
        close(connection);
    }
}
