/* The article's server: socket, setsockopt, bind, listen, accept, read, send, close. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void die(const char *what) {
    perror(what);
    exit(1);
}

int main(int argc, char **argv) {
    int times = argc > 1 ? atoi(argv[1]) : 1;
    int one = 1, listener, connection;
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    char text[1024];

    if ((listener = socket(AF_INET, SOCK_STREAM, 0)) < 0)
        die("socket");
    if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR | SO_REUSEPORT, &one, sizeof one))
        die("setsockopt");
    address.sin_addr.s_addr = INADDR_ANY;
    address.sin_port = htons(8080);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0)
        die("bind");
    if (listen(listener, 3) < 0)
        die("listen");
    puts("listening");
    fflush(stdout);
    while (times-- > 0) {
        ssize_t count;
        if ((connection = accept(listener, (struct sockaddr *)&address, &length)) < 0)
            die("accept");
        if ((count = read(connection, text, sizeof text - 1)) < 0)
            die("read");
        text[count] = 0;
        printf("%s from %s\n", text, inet_ntoa(address.sin_addr));
        fflush(stdout);
        if (send(connection, "Hello from server", 17, 0) != 17)
            die("send");
        close(connection);
    }
    return 0;
}
