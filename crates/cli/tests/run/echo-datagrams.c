/* Sends each datagram back to who sent it, behind the port that it came from. */
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

int main(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(8080)}, from;
    int here = socket(AF_INET, SOCK_DGRAM, 0);

    if (bind(here, (struct sockaddr *)&address, sizeof address))
        return 1;
    for (;;) {
        char text[1000], answer[1100];
        socklen_t size = sizeof from;
        ssize_t length = recvfrom(here, text, sizeof text, 0, (struct sockaddr *)&from, &size);
        if (length < 0)
            return 2;
        int all = sprintf(answer, "%d %.*s", ntohs(from.sin_port), (int)length, text);
        sendto(here, answer, all, 0, (struct sockaddr *)&from, size);
    }
}
