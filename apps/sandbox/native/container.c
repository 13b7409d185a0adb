/* SPDX-License-Identifier: Apache-2.0 */
/*
 * container-run: the process beside a container. It starts the container's program in the pod's namespaces,
 * writes its output to the log, and says on stdout `started PID`, then `exited CODE SIGNAL` (or `error TEXT`).
 */
#include "runtime.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void start_program(const struct spec *spec, const char *dir, const int out[2], const int err[2])
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	setsid();
	dup2(null, 0);
	dup2(out[1], 1);
	dup2(err[1], 2);
	finish_root(spec, dir);
	exec_program(spec);
}

/* Builds the container's root, then leaves a child of the shim in the pod's pid namespace. */
static void build_and_start(const struct spec *spec, int status, const int out[2], const int err[2])
{
	struct volumes volumes = { 0 };
	const char *dir = spec_need(spec, "dir");
	char line[32];
	fail_fd = status;
	int pod = pidfd_of(spec_number(spec, "pod_pid", 0));
	join_cgroup(spec_need(spec, "cgroup"));
	collect_volumes(spec, &volumes);
	enter_ns(pod, CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID, "the pod");
	if (unshare(CLONE_NEWNS) < 0)
		die_errno("unshare mount namespace");
	mount_or_die("", "/", "none", MS_SLAVE | MS_REC, NULL);
	build_root(spec, dir, &volumes);
	/* CLONE_PARENT: the program is the shim's child, although born in another pid namespace. */
	long pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
	if (pid < 0)
		die_errno("clone into the pod");
	if (pid == 0)
		start_program(spec, dir, out, err);
	int size = snprintf(line, sizeof(line), "P%ld\n", pid);
	write_all(status, line, (size_t)size);
	_exit(0);
}

/* Reads "P<pid>\n" and, if the start failed, the message behind it. Returns the pid, 0 on failure. */
static pid_t read_status(int fd)
{
	char text[2100];
	size_t used = 0;
	ssize_t got;
	while ((got = read(fd, text + used, sizeof(text) - 1 - used)) > 0 || (got < 0 && errno == EINTR))
		used += got > 0 ? (size_t)got : 0;
	text[used] = 0;
	/* The builder's line and the program's message come from two processes, so in any order. */
	char *mark = NULL;
	for (char *at = text; (at = strchr(at, 'P')) != NULL; at++) {
		char *end = NULL;
		if (strtol(at + 1, &end, 10) > 0 && end && *end == '\n') {
			mark = at;
			break;
		}
	}
	pid_t pid = mark ? (pid_t)strtol(mark + 1, NULL, 10) : 0;
	size_t rest = used;
	if (mark) {
		char *end = strchr(mark, '\n') + 1;
		memmove(mark, end, strlen(end) + 1);
		rest = strlen(text);
	}
	if (rest == 0 && pid > 0) {
		printf("started %d\n", pid);
		fflush(stdout);
		return pid;
	}
	printf("error %s\n", rest ? text : "container setup ended without a word");
	fflush(stdout);
	return 0;
}

static void kill_rest(const char *cgroup)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/cgroup.kill", cgroup);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		write_all(fd, "1", 1);
		close(fd);
	}
}

static int watch(pid_t pid, struct log_stream streams[2], const char *cgroup)
{
	sigset_t mask;
	int status = 0;
	bool running = true, open_out = true, open_err = true;
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	int child = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	while (running || open_out || open_err) {
		struct pollfd polls[3] = {
			{ .fd = open_out ? streams[0].fd : -1, .events = POLLIN },
			{ .fd = open_err ? streams[1].fd : -1, .events = POLLIN },
			{ .fd = running ? child : -1, .events = POLLIN },
		};
		/* Once the program is gone, descriptors that leaked elsewhere must not hold us for ever. */
		int ready = poll(polls, 3, running ? -1 : 1000);
		if (ready == 0)
			break;
		if (polls[0].revents)
			open_out = log_pump(&streams[0]);
		if (polls[1].revents)
			open_err = log_pump(&streams[1]);
		if (polls[2].revents) {
			struct signalfd_siginfo info;
			while (read(child, &info, sizeof(info)) > 0)
				;
			pid_t ended;
			int word;
			while ((ended = waitpid(-1, &word, WNOHANG)) > 0)
				if (ended == pid) {
					status = word;
					running = false;
					kill_rest(cgroup);
				}
		}
	}
	log_flush(&streams[0]);
	log_flush(&streams[1]);
	return status;
}

int cmd_container_run(int argc, char **argv)
{
	struct spec spec;
	int out[2], err[2], status[2];
	sigset_t mask;
	(void)argc;
	(void)argv;
	spec_read(&spec, 0);
	prctl(PR_SET_NAME, "cts-shim");
	setsid();
	join_cgroup(spec_need(&spec, "shim_cgroup"));
	log_open(spec_need(&spec, "log"));
	if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0 || pipe2(status, O_CLOEXEC) < 0)
		die_errno("pipe");
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	pid_t builder = fork();
	if (builder < 0)
		die_errno("fork");
	if (builder == 0)
		build_and_start(&spec, status[1], out, err);
	close(out[1]);
	close(err[1]);
	close(status[1]);
	pid_t pid = read_status(status[0]);
	close(status[0]);
	if (pid == 0) {
		kill_rest(spec_need(&spec, "cgroup"));
		return 1;
	}
	struct log_stream streams[2] = { { .fd = out[0], .name = "stdout" }, { .fd = err[0], .name = "stderr" } };
	int word = watch(pid, streams, spec_need(&spec, "cgroup"));
	if (WIFSIGNALED(word))
		printf("exited %d %d\n", 128 + WTERMSIG(word), WTERMSIG(word));
	else
		printf("exited %d 0\n", WEXITSTATUS(word));
	fflush(stdout);
	return 0;
}
