/* SPDX-License-Identifier: Apache-2.0 */
/* TCP across namespaces: `dial` for probes and port-forward, `relay` for the way to the API server. */
#include "runtime.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* One way of a connection pair; a closed side is passed on as a half-close. */
struct way {
	int from, to;
	bool ended;
	size_t start, end;
	char data[65536];
};

static void finish_way(struct way *way)
{
	way->ended = true;
	way->start = way->end = 0;
	if (shutdown(way->to, SHUT_WR) < 0 && errno == ENOTSOCK)
		close(way->to);
}

static bool step(struct way *way, const struct pollfd *poll)
{
	if (!poll->revents || way->ended)
		return true;
	if (way->start == way->end) {
		ssize_t got = read(way->from, way->data, sizeof(way->data));
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return true;
		if (got < 0)
			return false;
		if (got == 0) {
			finish_way(way);
			return true;
		}
		way->start = 0;
		way->end = (size_t)got;
	}
	ssize_t done = write(way->to, way->data + way->start, way->end - way->start);
	if (done < 0)
		return errno == EAGAIN || errno == EINTR;
	way->start += (size_t)done;
	return true;
}

/* Moves bytes both ways until both have ended; `first_end` ends it with the answer's end. */
static void join_streams(int in, int out, int socket_fd, bool first_end)
{
	struct way *up = calloc(2, sizeof(struct way)), *down = up + 1;
	if (!up)
		return;
	*up = (struct way){ .from = in, .to = socket_fd };
	*down = (struct way){ .from = socket_fd, .to = out };
	int all[] = { in, out, socket_fd };
	for (int i = 0; i < 3; i++)
		fcntl(all[i], F_SETFL, fcntl(all[i], F_GETFL) | O_NONBLOCK);
	while (!(up->ended && down->ended) && !(first_end && down->ended)) {
		struct pollfd polls[2];
		struct way *ways[] = { up, down };
		for (int i = 0; i < 2; i++) {
			bool full = ways[i]->start < ways[i]->end;
			polls[i].fd = ways[i]->ended ? -1 : full ? ways[i]->to : ways[i]->from;
			polls[i].events = full ? POLLOUT : POLLIN;
		}
		if (poll(polls, 2, -1) < 0 && errno != EINTR)
			break;
		if (!step(up, &polls[0]) || !step(down, &polls[1]))
			break;
	}
	free(up);
}

static int open_socket(const char *host, const char *port, bool listening, int timeout_ms)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV }, *found = NULL;
	if (getaddrinfo(host, port, &hints, &found) != 0 || !found)
		die("not an address: %s port %s", host, port);
	int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | (listening ? 0 : SOCK_NONBLOCK), 0), on = 1;
	if (fd < 0)
		die_errno("socket");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (listening) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		setsockopt(fd, SOL_IP, IP_FREEBIND, &on, sizeof(on));
		if (bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, 128) < 0)
			die_errno("listen on %s port %s", host, port);
		freeaddrinfo(found);
		return fd;
	}
	int result = connect(fd, found->ai_addr, found->ai_addrlen);
	freeaddrinfo(found);
	if (result < 0 && errno == EINPROGRESS) {
		struct pollfd wait = { .fd = fd, .events = POLLOUT };
		socklen_t size = sizeof(errno);
		int error = ETIMEDOUT;
		if (poll(&wait, 1, timeout_ms) > 0)
			getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
		errno = error;
		result = error ? -1 : 0;
	}
	if (result < 0) {
		int error = errno;
		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

static void enter_netns(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die_errno("open %s", path);
	enter_ns(fd, CLONE_NEWNET, path);
	close(fd);
}

int cmd_dial(int argc, char **argv)
{
	if (argc < 4)
		die("dial: NETNS HOST PORT TIMEOUT_MS is needed");
	enter_netns(argv[0]);
	int fd = open_socket(argv[1], argv[2], false, atoi(argv[3]));
	if (fd < 0)
		die_errno("dial tcp %s port %s", argv[1], argv[2]);
	if (argc > 4)
		return 0;
	/* Only now is it known that somebody listens. */
	write_all(2, "connected\n", 10);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	join_streams(0, 1, fd, true);
	return 0;
}

struct relay_target {
	const char *host, *port;
	int listener;
};

struct relay_pair {
	struct relay_target *target;
	int client;
};

static void *relay_pair_run(void *argument)
{
	struct relay_pair *pair = argument;
	int server = open_socket(pair->target->host, pair->target->port, false, 10000), on = 1;
	if (server >= 0) {
		setsockopt(pair->client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		join_streams(pair->client, pair->client, server, false);
		close(server);
	}
	close(pair->client);
	free(pair);
	return NULL;
}

static void *relay_accept(void *argument)
{
	struct relay_target *target = argument;
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, 128 * 1024);
	for (;;) {
		int client = accept4(target->listener, NULL, NULL, SOCK_CLOEXEC);
		if (client < 0) {
			if (errno == EMFILE || errno == ENFILE)
				usleep(10000);
			continue;
		}
		struct relay_pair *pair = malloc(sizeof(*pair));
		pthread_t thread;
		if (!pair) {
			close(client);
			continue;
		}
		*pair = (struct relay_pair){ .target = target, .client = client };
		if (pthread_create(&thread, &attributes, relay_pair_run, pair) != 0) {
			close(client);
			free(pair);
		}
	}
	return NULL;
}

int cmd_relay(int argc, char **argv)
{
	if (argc < 5 || argc % 2 == 0)
		die("relay: NETNS TO_HOST TO_PORT LISTEN_HOST LISTEN_PORT... is needed");
	int here = ns_of(getpid(), "net");
	enter_netns(argv[0]);
	int count = (argc - 3) / 2;
	struct relay_target *targets = calloc((size_t)count, sizeof(*targets));
	for (int i = 0; i < count; i++)
		targets[i] = (struct relay_target){ argv[1], argv[2], open_socket(argv[3 + 2 * i], argv[4 + 2 * i], true, 0) };
	/* Sockets keep the namespace they were made in; new ones are made back in the machine's. */
	enter_ns(here, CLONE_NEWNET, "the machine");
	printf("listening\n");
	fflush(stdout);
	for (int i = 1; i < count; i++) {
		pthread_t thread;
		if (pthread_create(&thread, NULL, relay_accept, &targets[i]) != 0)
			die("relay: no thread");
	}
	relay_accept(&targets[0]);
	return 0;
}

int cmd_guard(int argc, char **argv)
{
	if (argc < 2)
		die("guard: CGROUP PROGRAM is needed");
	pid_t parent = getppid();
	join_cgroup(argv[0]);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		die_errno("prctl");
	if (getppid() != parent)
		return 1;
	signal(SIGPIPE, SIG_DFL);
	execvp(argv[1], argv + 1);
	die_errno("start %s", argv[1]);
}
