/* SPDX-License-Identifier: Apache-2.0 */
/* Container output as CRI log lines: `<RFC 3339 time> stdout|stderr F|P <text>`, rotated once at 10 MiB. */
#include "runtime.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_LIMIT 16384
#define ROTATE_AT (10L * 1024 * 1024)

static int log_fd = -1;
static long log_size;
static char log_path[PATH_MAX];

void log_open(const char *path)
{
	snprintf(log_path, sizeof(log_path), "%s", path);
	log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	if (log_fd < 0)
		die_errno("open log %s", path);
	log_size = lseek(log_fd, 0, SEEK_END);
}

static void rotate(void)
{
	char old[PATH_MAX + 8];
	snprintf(old, sizeof(old), "%s.1", log_path);
	if (rename(log_path, old) < 0)
		return;
	close(log_fd);
	log_open(log_path);
}

static void write_line(const struct log_stream *stream, bool whole)
{
	char line[LINE_LIMIT + 128];
	struct timespec now;
	struct tm parts;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &parts);
	size_t at = strftime(line, 64, "%Y-%m-%dT%H:%M:%S", &parts);
	at += (size_t)snprintf(line + at, 64, ".%09ldZ %s %c ", now.tv_nsec, stream->name, whole ? 'F' : 'P');
	memcpy(line + at, stream->line, stream->used);
	at += stream->used;
	line[at++] = '\n';
	if (log_size > ROTATE_AT)
		rotate();
	write_all(log_fd, line, at);
	log_size += (long)at;
}

/* Moves what can be read now into the log. False: the stream has ended. */
bool log_pump(struct log_stream *stream)
{
	char data[65536];
	ssize_t got = read(stream->fd, data, sizeof(data));
	if (got < 0)
		return errno == EAGAIN || errno == EINTR;
	if (got == 0)
		return false;
	if (!stream->line)
		stream->line = malloc(LINE_LIMIT);
	for (ssize_t i = 0; i < got; i++) {
		if (data[i] == '\n') {
			write_line(stream, true);
			stream->used = 0;
			continue;
		}
		if (stream->used == LINE_LIMIT) {
			write_line(stream, false);
			stream->used = 0;
		}
		stream->line[stream->used++] = data[i];
	}
	return true;
}

/* A last line without a newline still is a line. */
void log_flush(struct log_stream *stream)
{
	if (stream->used > 0)
		write_line(stream, true);
	stream->used = 0;
}
