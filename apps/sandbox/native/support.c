/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int fail_fd = 2;

static void fail_with(const char *text, int number)
{
	char line[2048];
	int size = number ? snprintf(line, sizeof(line), "%s: %s", text, strerror(number))
			  : snprintf(line, sizeof(line), "%s", text);
	if (size >= (int)sizeof(line))
		size = sizeof(line) - 1;
	write_all(fail_fd, line, (size_t)size);
	if (fail_fd == 2)
		write_all(2, "\n", 1);
	_exit(1);
}

void die(const char *format, ...)
{
	char text[1900];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	fail_with(text, 0);
	_exit(1);
}

void die_errno(const char *format, ...)
{
	int number = errno;
	char text[1900];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	fail_with(text, number);
	_exit(1);
}

void write_all(int fd, const void *data, size_t size)
{
	const char *at = data;
	while (size > 0) {
		ssize_t done = write(fd, at, size);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return;
		at += done;
		size -= (size_t)done;
	}
}

void strings_add(struct strings *list, char *value)
{
	list->at = realloc(list->at, (list->count + 2) * sizeof(char *));
	if (!list->at)
		die("out of memory");
	list->at[list->count++] = value;
	list->at[list->count] = NULL;
}

void spec_read(struct spec *spec, int fd)
{
	size_t size = 0, room = 65536;
	memset(spec, 0, sizeof(*spec));
	spec->bytes = malloc(room + 1);
	for (;;) {
		if (!spec->bytes)
			die("out of memory");
		ssize_t got = read(fd, spec->bytes + size, room - size);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			die_errno("read specification");
		if (got == 0)
			break;
		size += (size_t)got;
		if (size == room) {
			room *= 2;
			spec->bytes = realloc(spec->bytes, room + 1);
		}
	}
	spec->bytes[size] = 0;
	for (size_t at = 0; at < size; at += strlen(spec->bytes + at) + 1) {
		/* The value's length is taken before the key is cut, so that the loop steps over the whole record. */
		char *record = spec->bytes + at;
		char *equals = strchr(record, '=');
		if (!equals)
			die("specification record without '=': %.80s", record);
		size_t rest = strlen(equals + 1);
		strings_add(&spec->keys, strndup(record, (size_t)(equals - record)));
		strings_add(&spec->values, strndup(equals + 1, rest));
	}
}

const char *spec_get(const struct spec *spec, const char *key)
{
	for (size_t i = 0; i < spec->keys.count; i++)
		if (strcmp(spec->keys.at[i], key) == 0)
			return spec->values.at[i];
	return NULL;
}

const char *spec_need(const struct spec *spec, const char *key)
{
	const char *value = spec_get(spec, key);
	if (!value)
		die("specification lacks '%s'", key);
	return value;
}

long spec_number(const struct spec *spec, const char *key, long fallback)
{
	const char *value = spec_get(spec, key);
	return value ? strtol(value, NULL, 0) : fallback;
}

bool spec_flag(const struct spec *spec, const char *key)
{
	const char *value = spec_get(spec, key);
	return value && strcmp(value, "1") == 0;
}

void spec_all(const struct spec *spec, const char *key, struct strings *into)
{
	for (size_t i = 0; i < spec->keys.count; i++)
		if (strcmp(spec->keys.at[i], key) == 0)
			strings_add(into, spec->values.at[i]);
}

void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		die_errno("open %s", path);
	if (write(fd, text, strlen(text)) < 0)
		die_errno("write '%s' to %s", text, path);
	close(fd);
}

void join_cgroup(const char *dir)
{
	char path[PATH_MAX];
	make_dirs(dir, 0755);
	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	write_file(path, "0");
}

void make_dirs(const char *path, mode_t mode)
{
	char part[PATH_MAX];
	if (snprintf(part, sizeof(part), "%s", path) >= (int)sizeof(part))
		die("path too long: %.100s", path);
	for (char *slash = part + 1; *slash; slash++) {
		if (*slash != '/')
			continue;
		*slash = 0;
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			die_errno("mkdir %s", part);
		*slash = '/';
	}
	if (mkdir(part, mode) < 0 && errno != EEXIST)
		die_errno("mkdir %s", part);
}

void detach_stdio(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		die_errno("open /dev/null");
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	/* Whatever else was inherited would keep the starter's pipes open. */
	close_range(3, ~0U, 0);
}

int pidfd_of(long pid)
{
	int fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
	if (fd < 0)
		die_errno("process %ld is gone", pid);
	return fd;
}

int ns_of(long pid, const char *kind)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%ld/ns/%s", pid, kind);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die_errno("open %s", path);
	return fd;
}

void enter_ns(int fd, int kind, const char *what)
{
	if (setns(fd, kind) < 0)
		die_errno("enter namespaces of %s", what);
}

/* The root directory of a process, to be taken before entering its mount namespace. */
int root_of(long pid)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%ld/root", pid);
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		die_errno("open %s", path);
	return fd;
}

/*
 * Entering a mount namespace leads to the root of the whole namespace. Where we live in a changed root (a machine image
 * on another machine), that is not the root of the process whose namespace it is.
 */
void enter_root(int fd, const char *what)
{
	if (fchdir(fd) < 0 || chroot(".") < 0)
		die_errno("enter the root of %s", what);
	close(fd);
}
