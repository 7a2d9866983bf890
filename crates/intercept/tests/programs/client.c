/* The article's client: socket, connect to 127.0.0.1:8080, send, read, close. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(8080)};
    char text[1024] = {0};
    int descriptor = socket(AF_INET, SOCK_STREAM, 0);

    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    if (descriptor < 0 || connect(descriptor, (struct sockaddr *)&address, sizeof address) < 0) {
        perror("connect");
        return 1;
    }
    send(descriptor, "Hello from client", 17, 0);
    if (read(descriptor, text, sizeof text - 1) < 0) {
        perror("read");
        return 1;
    }
    puts(text);
    close(descriptor);
    return 0;
}
