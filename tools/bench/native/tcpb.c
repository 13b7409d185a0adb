// SPDX-License-Identifier: Apache-2.0
// TCP load for the pod benches: an echo server, and a client that measures request/response on one connection (rr) or a
// connection per request (crr). Each side enters a network namespace first and pins itself to one CPU, so that a
// transaction shows what it costs in all and no wake-up crosses CPUs.
//
//   tcpb server|rr|crr NETNS ADDRESS PORT CPU [COUNT [RATE]]
//
// With RATE a client begins that many transactions a second instead of one after the other. The server prints "ready" once it listens. A client prints {"rate": per second, "p50": us, "p99": us}.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE = 16, WARM_UP = 20, EVENTS = 64, TIMEOUT_S = 5 };

struct target {
	struct sockaddr_storage address;
	socklen_t length;
};

static void die(const char *what)
{
	fprintf(stderr, "tcpb: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void enter(const char *netns, int cpu)
{
	int fd = open(netns, O_RDONLY | O_CLOEXEC);
	cpu_set_t set;

	if (fd < 0 || setns(fd, CLONE_NEWNET))
		die(netns);
	close(fd);
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("sched_setaffinity");
}

static struct target parse_target(const char *address, int port)
{
	struct target target = { 0 };
	struct sockaddr_in *v4 = (struct sockaddr_in *)&target.address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&target.address;

	if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		target.length = sizeof(*v4);
	} else if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		target.length = sizeof(*v6);
	} else {
		errno = EINVAL;
		die(address);
	}
	return target;
}

static void no_delay(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static void accept_client(int epoll, int listener)
{
	struct epoll_event event = { .events = EPOLLIN };

	event.data.fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (event.data.fd < 0)
		return;
	no_delay(event.data.fd);
	epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event);
}

static void echo(int fd)
{
	char buffer[4096];
	ssize_t length = read(fd, buffer, sizeof(buffer));

	if (length < 0 && errno == EAGAIN)
		return;
	if (length <= 0 || write(fd, buffer, (size_t)length) != length)
		close(fd);
}

static void serve(const struct target *target)
{
	int listener = socket(target->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int epoll = epoll_create1(EPOLL_CLOEXEC), one = 1;
	struct epoll_event event = { .events = EPOLLIN, .data.fd = listener }, events[EVENTS];

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (const struct sockaddr *)&target->address, target->length) || listen(listener, 1024))
		die("bind");
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
	puts("ready");
	fflush(stdout);
	for (;;) {
		int count = epoll_wait(epoll, events, EVENTS, -1);
		for (int i = 0; i < count; i++) {
			if (events[i].data.fd == listener)
				accept_client(epoll, listener);
			else
				echo(events[i].data.fd);
		}
	}
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static int open_connection(const struct target *target)
{
	int fd = socket(target->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval timeout = { .tv_sec = TIMEOUT_S };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	if (connect(fd, (const struct sockaddr *)&target->address, target->length))
		die("connect");
	return fd;
}

static void exchange(int fd)
{
	char buffer[MESSAGE] = { 1 };
	size_t received = 0;

	if (write(fd, buffer, MESSAGE) != MESSAGE)
		die("write");
	while (received < MESSAGE) {
		ssize_t length = read(fd, buffer + received, MESSAGE - received);
		if (length <= 0)
			die("read");
		received += (size_t)length;
	}
}

// Closed by RST: no TIME_WAIT, so ports never run out.
static void one_connection(const struct target *target)
{
	struct linger reset = { .l_onoff = 1, .l_linger = 0 };
	int fd = open_connection(target);

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	exchange(fd);
	close(fd);
}

static int compare(const void *left, const void *right)
{
	double difference = *(const double *)left - *(const double *)right;

	return (difference > 0) - (difference < 0);
}

static void wait_until(double moment)
{
	double left = moment - now();

	if (left > 0)
		usleep((useconds_t)(left * 1e6));
}

static void measure(const struct target *target, int connection_each, long count, long rate)
{
	double *times = calloc((size_t)count, sizeof(*times));
	int fd = connection_each ? -1 : open_connection(target);
	double begin;

	if (!times)
		die("calloc");
	if (fd >= 0)
		no_delay(fd);
	for (int i = 0; i < WARM_UP; i++) {
		if (fd >= 0)
			exchange(fd);
		else
			one_connection(target);
	}
	begin = now();
	for (long i = 0; i < count; i++) {
		if (rate > 0)
			wait_until(begin + (double)i / (double)rate);
		double start = now();
		if (fd >= 0)
			exchange(fd);
		else
			one_connection(target);
		times[i] = now() - start;
	}
	begin = now() - begin;
	qsort(times, (size_t)count, sizeof(*times), compare);
	printf("{\"rate\": %.1f, \"p50\": %.2f, \"p99\": %.2f}\n", (double)count / begin, times[count / 2] * 1e6,
	       times[count * 99 / 100] * 1e6);
	free(times);
}

int main(int argc, char **argv)
{
	struct target target;
	long count = argc > 6 ? atol(argv[6]) : 1000, rate = argc > 7 ? atol(argv[7]) : 0;

	if (argc < 6 || count < 1) {
		fprintf(stderr, "usage: tcpb server|rr|crr NETNS ADDRESS PORT CPU [COUNT [RATE]]\n");
		return 2;
	}
	// A bench that is killed leaves no server behind.
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	enter(argv[2], atoi(argv[5]));
	target = parse_target(argv[3], atoi(argv[4]));
	if (strcmp(argv[1], "server") == 0)
		serve(&target);
	else
		measure(&target, strcmp(argv[1], "crr") == 0, count, rate);
	return 0;
}
