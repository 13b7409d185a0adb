// SPDX-License-Identifier: Apache-2.0
// Takes the place of a CNI plugin and times it: runs "<itself>.real" with its own environment, input and output, and adds
// "MILLISECONDS COMMAND CNI_ARGS" to "<itself>.times", from before the fork until the plugin has ended.
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value ? value : "";
}

// One write, so that lines of plugins that run side by side do not mix.
static void note(const char *path, double ms)
{
	char line[4096];
	int length = snprintf(line, sizeof(line), "%.2f %s %s\n", ms, variable("CNI_COMMAND"), variable("CNI_ARGS"));
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0 || length >= (int)sizeof(line) || write(fd, line, length) != length)
		fprintf(stderr, "cnitime: cannot write %s\n", path);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	char self[PATH_MAX - 8] = "", real[PATH_MAX], times[PATH_MAX];
	double started;
	int status;
	pid_t child;

	(void)argc;
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return 1;
	snprintf(real, sizeof(real), "%s.real", self);
	snprintf(times, sizeof(times), "%s.times", self);
	started = now_ms();
	child = vfork();
	if (child < 0)
		return 1;
	if (child == 0) {
		execv(real, argv);
		_exit(127);
	}
	if (waitpid(child, &status, 0) < 0)
		return 1;
	note(times, now_ms() - started);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
