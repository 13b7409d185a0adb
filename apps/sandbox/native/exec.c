/* SPDX-License-Identifier: Apache-2.0 */
/*
 * container-exec: a further program in a running container. Specification on descriptor 3, its standard streams
 * are ours; with `tty=1` it gets a terminal and descriptor 4 carries lines `ROWS COLUMNS`. Exits with its code.
 */
#include "runtime.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

/* Bytes under way in one direction. */
struct flow {
	int from, to;
	char data[65536];
	size_t start, end;
	bool ended;
};

static struct flow flows[3];

static void flow_stop(struct flow *flow, bool close_to)
{
	flow->ended = true;
	flow->start = flow->end = 0;
	if (close_to && flow->to >= 0) {
		close(flow->to);
		flow->to = -1;
	}
}

static void flow_read(struct flow *flow)
{
	ssize_t got = read(flow->from, flow->data, sizeof(flow->data));
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		flow->ended = true;
		return;
	}
	flow->start = 0;
	flow->end = (size_t)got;
}

static bool flow_write(struct flow *flow)
{
	ssize_t done = write(flow->to, flow->data + flow->start, flow->end - flow->start);
	if (done < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (done < 0)
		return false;
	flow->start += (size_t)done;
	return true;
}

static void resize(int control, int terminal)
{
	char text[256];
	ssize_t got = read(control, text, sizeof(text) - 1);
	unsigned rows, columns;
	if (got <= 0)
		return;
	text[got] = 0;
	/* Only the newest size counts. */
	char *line = text;
	for (char *at = text; (at = strchr(at, '\n')) != NULL && at[1]; at++)
		line = at + 1;
	if (sscanf(line, "%u %u", &rows, &columns) == 2) {
		struct winsize size = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns };
		ioctl(terminal, TIOCSWINSZ, &size);
	}
}

static int open_terminal(const struct spec *spec, int *slave)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
		die_errno("open a terminal");
	*slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (*slave < 0)
		die_errno("open %s", ptsname(master));
	struct winsize size = {
		.ws_row = (unsigned short)spec_number(spec, "rows", 24),
		.ws_col = (unsigned short)spec_number(spec, "columns", 80),
	};
	ioctl(master, TIOCSWINSZ, &size);
	return master;
}

static void run_child(const struct spec *spec, int in, int out, int err, bool terminal)
{
	setsid();
	if (terminal)
		ioctl(in, TIOCSCTTY, 0);
	dup2(in, 0);
	dup2(out, 1);
	dup2(err, 2);
	fail_fd = 2;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	exec_program(spec);
}

static void set_nonblocking(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* Polls one flow: waits for input when empty, for room when not. */
static void flow_poll(struct flow *flow, struct pollfd *poll)
{
	bool full = flow->start < flow->end;
	poll->fd = full ? flow->to : flow->ended ? -1 : flow->from;
	poll->events = full ? POLLOUT : POLLIN;
}

static void flow_step(struct flow *flow, const struct pollfd *poll, bool close_to)
{
	if (!poll->revents)
		return;
	if (poll->events & POLLOUT) {
		if (!flow_write(flow))
			flow_stop(flow, close_to);
	} else {
		flow_read(flow);
		if (flow->ended)
			flow_stop(flow, close_to);
		else if (flow->start < flow->end && !flow_write(flow))
			flow_stop(flow, close_to);
	}
}

static int pump(pid_t pid, int control, int terminal)
{
	sigset_t mask;
	int word = 0;
	bool running = true;
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	int child = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	for (;;) {
		struct pollfd polls[5];
		flow_poll(&flows[0], &polls[0]);
		flow_poll(&flows[1], &polls[1]);
		flow_poll(&flows[2], &polls[2]);
		polls[3] = (struct pollfd){ .fd = running ? child : -1, .events = POLLIN };
		polls[4] = (struct pollfd){ .fd = control, .events = POLLIN };
		bool output_done = flows[1].ended && flows[2].ended;
		if (!running && output_done)
			break;
		/*
		 * After the program's end only what it left in the pipes is wanted, not what its children may say.
		 * A reader that is slow to take what we hold already gets all the time it needs.
		 */
		bool holding = flows[1].start < flows[1].end || flows[2].start < flows[2].end;
		int ready = poll(polls, 5, running || holding ? -1 : 50);
		if (ready == 0)
			break;
		flow_step(&flows[0], &polls[0], terminal < 0);
		flow_step(&flows[1], &polls[1], false);
		flow_step(&flows[2], &polls[2], false);
		if (polls[4].revents & POLLIN)
			resize(control, terminal);
		else if (polls[4].revents)
			control = -1;
		if (polls[3].revents && waitpid(pid, &word, WNOHANG) == pid) {
			running = false;
			flows[0].ended = true;
			flows[0].start = flows[0].end = 0;
		}
	}
	return WIFSIGNALED(word) ? 128 + WTERMSIG(word) : WEXITSTATUS(word);
}

static void flow_init(struct flow *flow, int from, int to)
{
	flow->from = from;
	flow->to = to;
	flow->ended = from < 0;
	if (from >= 0)
		set_nonblocking(from);
	if (to >= 0)
		set_nonblocking(to);
}

int cmd_container_exec(int argc, char **argv)
{
	struct spec spec;
	sigset_t mask;
	int terminal = -1, in[2], out[2], err[2];
	(void)argc;
	(void)argv;
	spec_read(&spec, 3);
	close(3);
	/* A child of the program that lives on must not keep our starter's pipe open. */
	fcntl(4, F_SETFD, FD_CLOEXEC);
	bool tty = spec_flag(&spec, "tty"), input = spec_flag(&spec, "stdin");
	int pod = pidfd_of(spec_number(&spec, "pid", 0)), root = root_of(spec_number(&spec, "pid", 0));
	join_cgroup(spec_need(&spec, "cgroup"));
	enter_ns(pod, CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID, "the container");
	enter_root(root, "the container");
	close(pod);
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	if (tty) {
		int slave = -1;
		terminal = open_terminal(&spec, &slave);
		in[0] = out[1] = err[1] = slave;
		in[1] = out[0] = terminal;
		err[0] = -1;
	} else if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0) {
		die_errno("pipe");
	}
	pid_t pid = fork();
	if (pid < 0)
		die_errno("fork");
	if (pid == 0)
		run_child(&spec, in[0], out[1], err[1], tty);
	close(in[0]);
	if (!tty) {
		close(out[1]);
		close(err[1]);
	}
	if (!input && !tty) {
		close(in[1]);
		in[1] = -1;
	}
	flow_init(&flows[0], input ? 0 : -1, in[1]);
	flow_init(&flows[1], out[0], 1);
	flow_init(&flows[2], err[0], 2);
	return pump(pid, tty && argc > 0 ? 4 : -1, terminal);
}
