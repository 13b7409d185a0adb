/* SPDX-License-Identifier: Apache-2.0
 *
 * demo-server PORT [PORT...]: answers every HTTP/1.1 request with the pod's name and the client's address, and, for a
 * path /stream, a line every 100 ms until the client goes: a connection that lives long enough to watch a policy cut it.
 * One thread, poll(2), IPv4 and IPv6.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_SOCKETS = 4096, STREAM_INTERVAL_MS = 100, REQUEST_MAX = 8192 };

struct connection {
	int streaming;
	size_t length;
	char *request;
};

static struct pollfd sockets[MAX_SOCKETS];
static struct connection connections[MAX_SOCKETS];
static int count, listeners;
static char host[256];

static void fail(const char *what)
{
	fprintf(stderr, "demo-server: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void add(int fd)
{
	if (count == MAX_SOCKETS) {
		close(fd);
		return;
	}
	sockets[count] = (struct pollfd){ .fd = fd, .events = POLLIN };
	connections[count] = (struct connection){ 0 };
	count++;
}

static void drop(int i)
{
	close(sockets[i].fd);
	free(connections[i].request);
	count--;
	sockets[i] = sockets[count];
	connections[i] = connections[count];
}

static void serve_port(const char *text)
{
	char *end;
	long port = strtol(text, &end, 10);
	int one = 1, zero = 0, fd;
	struct sockaddr_in6 any = { .sin6_family = AF_INET6 };

	if (*end || port < 1 || port > 65535) {
		fprintf(stderr, "demo-server: bad port %s; allowed: 1 to 65535\n", text);
		exit(2);
	}
	any.sin6_port = htons(port);
	fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		fail("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
	if (bind(fd, (void *)&any, sizeof any) || listen(fd, 1024))
		fail("bind");
	add(fd);
}

static int send_text(int fd, const char *text, int length)
{
	return send(fd, text, length, MSG_NOSIGNAL | MSG_DONTWAIT) == length ? 0 : -1;
}

static int answer(int i)
{
	struct sockaddr_in6 peer = { 0 };
	socklen_t size = sizeof peer;
	char address[64] = "?", body[400], reply[700];
	int length;

	getpeername(sockets[i].fd, (void *)&peer, &size);
	inet_ntop(AF_INET6, &peer.sin6_addr, address, sizeof address);
	if (!strncmp(connections[i].request, "GET /stream", 11)) {
		static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n";
		connections[i].streaming = 1;
		return send_text(sockets[i].fd, head, sizeof head - 1);
	}
	length = snprintf(body, sizeof body, "hello from %s, you are %s\n", host,
			  strncmp(address, "::ffff:", 7) ? address : address + 7);
	length = snprintf(reply, sizeof reply,
			  "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", length, body);
	return send_text(sockets[i].fd, reply, length);
}

/* 0 = keep, -1 = drop */
static int receive(int i)
{
	struct connection *c = &connections[i];
	ssize_t n;
	char *end;

	if (!c->request && !(c->request = malloc(REQUEST_MAX + 1)))
		return -1;
	n = recv(sockets[i].fd, c->request + c->length, REQUEST_MAX - c->length, MSG_DONTWAIT);
	if (n <= 0)
		return n < 0 && errno == EAGAIN ? 0 : -1;
	c->length += n;
	c->request[c->length] = 0;
	while ((end = strstr(c->request, "\r\n\r\n"))) {
		size_t used = end + 4 - c->request;

		if (answer(i) || strcasestr(c->request, "\r\nConnection: close\r\n"))
			return -1;
		memmove(c->request, c->request + used, c->length - used + 1);
		c->length -= used;
	}
	return c->length == REQUEST_MAX ? -1 : 0;
}

static int stream_lines(void)
{
	int streaming = 0;
	static unsigned long line;
	char text[80];

	for (int i = count - 1; i >= listeners; i--) {
		int length;

		if (!connections[i].streaming)
			continue;
		length = snprintf(text, sizeof text, "line %lu\n", ++line);
		if (send(sockets[i].fd, text, length, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN)
			drop(i);
		else
			streaming = 1;
	}
	return streaming;
}

int main(int argc, char **argv)
{
	int streaming = 0;

	if (argc < 2) {
		fprintf(stderr, "usage: demo-server PORT [PORT...]\n");
		return 2;
	}
	signal(SIGTERM, SIG_DFL);
	gethostname(host, sizeof host - 1);
	for (int i = 1; i < argc; i++)
		serve_port(argv[i]);
	listeners = count;
	printf("serving on %d port(s) as %s\n", listeners, host);
	fflush(stdout);
	for (;;) {
		if (poll(sockets, count, streaming ? STREAM_INTERVAL_MS : 1000) < 0 && errno != EINTR)
			fail("poll");
		for (int i = count - 1; i >= 0; i--) {
			if (!sockets[i].revents)
				continue;
			if (i >= listeners) {
				if (receive(i))
					drop(i);
				continue;
			}
			for (int fd; (fd = accept4(sockets[i].fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;)
				add(fd);
		}
		streaming = stream_lines();
	}
}
