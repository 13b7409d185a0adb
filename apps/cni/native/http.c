/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 POST over a unix socket. The request asks to close, so the answer ends with the connection. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include "cni.h"

static int connect_socket(const char *path, int timeout_ms)
{
	struct timeval timeout = { .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
		return -1;
	strcpy(address.sun_path, path);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

static bool send_all(int fd, const char *bytes, size_t length)
{
	while (length > 0) {
		ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);

		if (sent <= 0)
			return false;
		bytes += sent;
		length -= sent;
	}
	return true;
}

/* -1 where the head names no length */
static long content_length(const char *head, const char *end)
{
	for (const char *line = strstr(head, "\r\n"); line && line < end; line = strstr(line + 2, "\r\n"))
		if (strncasecmp(line + 2, "content-length:", 15) == 0)
			return atol(line + 17);
	return -1;
}

static struct http_answer parse_answer(struct buffer *received)
{
	struct http_answer answer = { 0 };
	char *end = received->bytes ? strstr(received->bytes, "\r\n\r\n") : NULL;
	long length;

	if (!end || sscanf(received->bytes, "HTTP/1.%*d %d", &answer.status) != 1)
		return (struct http_answer){ 0 };
	length = content_length(received->bytes, end);
	answer.body = end + 4;
	answer.length = received->length - (answer.body - received->bytes);
	if (length < 0 || answer.length < (size_t)length)
		return (struct http_answer){ 0 };
	answer.length = length;
	return answer;
}

struct http_answer http_post(const char *socket_path, const char *path, const struct buffer *body, int timeout_ms)
{
	struct buffer received = { 0 };
	char head[256], chunk[16384];
	ssize_t count;
	int fd = connect_socket(socket_path, timeout_ms);

	if (fd < 0)
		return (struct http_answer){ 0 };
	snprintf(head, sizeof(head),
		 "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
		 "Content-Length: %zu\r\nConnection: close\r\n\r\n", path, body->length);
	if (!send_all(fd, head, strlen(head)) || !send_all(fd, body->bytes, body->length)) {
		close(fd);
		return (struct http_answer){ 0 };
	}
	while ((count = recv(fd, chunk, sizeof(chunk), 0)) > 0)
		buffer_add(&received, chunk, count);
	close(fd);
	return parse_answer(&received);
}
