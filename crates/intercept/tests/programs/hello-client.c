/* The plainest client there is: connect to 127.0.0.1:8080, send, read and close. */
#include <arpa/inet.h>
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
    int connection = socket(AF_INET, SOCK_STREAM, 0);
    demand(connection, "socket");

    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(8080)};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    demand(connect(connection, (struct sockaddr *)&address, sizeof address), "connect");

    const char *question = "Hello from the client";
    demand(send(connection, question, strlen(question), 0), "send");
    char answer[1024] = {0};
    demand(read(connection, answer, sizeof answer - 1), "read");
    printf("%s\n", answer);
    close(connection);
    return 0;
}
