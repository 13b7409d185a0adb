/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deletions that came while the agent was down: one file each, replayed by the agent at its start. The agent holds
 * the lock exclusively while it replays and until its API answers; writers hold it shared.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "cni.h"

enum { FILES_MAX = 256, LOCK_TRIES = 15, LOCK_WAIT_MS = 100 };

static uint64_t hash(uint64_t value, const char *text)
{
	for (; *text; text++)
		value = (value ^ (unsigned char)*text) * 0x100000001b3ull;
	return value;
}

static int lock_shared(const char *dir)
{
	struct timespec wait = { .tv_nsec = LOCK_WAIT_MS * 1000000l };
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/lockfile", dir);
	fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
	for (int i = 0; fd >= 0 && i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_SH | LOCK_NB) == 0)
			return fd;
		nanosleep(&wait, NULL);
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

static int count_files(const char *dir)
{
	DIR *handle = opendir(dir);
	int count = 0;

	if (!handle)
		return 0;
	for (struct dirent *entry; (entry = readdir(handle));)
		count += strstr(entry->d_name, ".delete") != NULL;
	closedir(handle);
	return count;
}

static bool write_file(const char *path, const struct buffer *content)
{
	char temporary[600];
	int fd;
	bool written;

	snprintf(temporary, sizeof(temporary), "%s.%d.tmp", path, getpid());
	fd = open(temporary, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return false;
	written = write(fd, content->bytes, content->length) == (ssize_t)content->length;
	written = close(fd) == 0 && written;
	return written && rename(temporary, path) == 0;
}

enum queue_result queue_deletion(const char *run_dir, const char *container, const char *interface,
				 const struct buffer *request)
{
	char dir[256], path[512];
	enum queue_result result = QUEUE_FAILED;
	int lock;

	snprintf(dir, sizeof(dir), "%s/deleteQueue", run_dir);
	mkdir(run_dir, 0755);
	if (mkdir(dir, 0755) != 0 && errno != EEXIST)
		return QUEUE_FAILED;
	lock = lock_shared(dir);
	if (lock < 0)
		return QUEUE_BUSY;
	snprintf(path, sizeof(path), "%s/%016llx%016llx.delete", dir,
		 (unsigned long long)hash(0xcbf29ce484222325ull, container),
		 (unsigned long long)hash(hash(0x84222325cbf29ce4ull, interface), container));
	if (access(path, F_OK) != 0 && count_files(dir) >= FILES_MAX)
		result = QUEUE_FULL;
	else if (write_file(path, request))
		result = QUEUE_WRITTEN;
	close(lock);
	return result;
}
