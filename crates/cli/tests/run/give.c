/* Gives who comes 3,000,000 bytes, and is gone before they have arrived. */
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void) {
    static char bytes[3000000];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(8080)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), connection;
    size_t given = 0;

    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1))
        return 1;
    if ((connection = accept(listener, NULL, NULL)) < 0)
        return 2;
    while (given < sizeof bytes) {
        ssize_t count = write(connection, bytes + given, sizeof bytes - given);
        if (count <= 0)
            return 3;
        given += count;
    }
    _exit(7);
}
