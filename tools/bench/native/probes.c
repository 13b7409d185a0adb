// SPDX-License-Identifier: Apache-2.0
// Says when packets between two pods begin and cease to arrive. One process owns both ends of every pair: a UDP socket in
// the client's network namespace sends numbered packets to one in the server's, so one clock dates them all.
//
//   probes INTERVAL_US (CLIENT_NETNS SERVER_NETNS ADDRESS PORT)...
//
// Prints "PAIR 1 NS" when packets begin to arrive and "PAIR 0 NS" when they cease; NS is CLOCK_MONOTONIC at the sending of
// the first packet that arrived, or of the first of PATIENCE packets in a row that did not.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_PAIRS = 16, HISTORY = 1 << 16, PATIENCE = 4, WORDS_PER_PAIR = 4 };

struct pair {
	struct sockaddr_in target;
	int sender, receiver;
	uint64_t next, arrived; // numbers begin at 1; arrived is the highest seen
	int state; // -1 unknown, 0 refused, 1 let through
	int64_t sent[HISTORY];
};

static struct pair pairs[MAX_PAIRS];

static void die(const char *what)
{
	fprintf(stderr, "probes: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static int socket_in(const char *netns)
{
	int space = open(netns, O_RDONLY | O_CLOEXEC), fd;

	if (space < 0 || setns(space, CLONE_NEWNET))
		die(netns);
	close(space);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		die("socket");
	return fd;
}

static void prepare(struct pair *pair, char **words)
{
	pair->state = -1;
	pair->next = 1;
	pair->target.sin_family = AF_INET;
	pair->target.sin_port = htons((uint16_t)atoi(words[3]));
	if (inet_pton(AF_INET, words[2], &pair->target.sin_addr) != 1) {
		errno = EINVAL;
		die(words[2]);
	}
	pair->sender = socket_in(words[0]);
	pair->receiver = socket_in(words[1]);
	if (bind(pair->receiver, (const struct sockaddr *)&pair->target, sizeof(pair->target)))
		die("bind");
}

static void become(struct pair *pair, int state, uint64_t number)
{
	if (pair->state == state)
		return;
	pair->state = state;
	printf("%d %d %lld\n", (int)(pair - pairs), state, (long long)pair->sent[number % HISTORY]);
	fflush(stdout);
}

static void drain(struct pair *pair)
{
	uint64_t number;

	while (recv(pair->receiver, &number, sizeof(number), 0) == sizeof(number)) {
		if (number <= pair->arrived || number >= pair->next)
			continue;
		pair->arrived = number;
		become(pair, 1, number);
	}
}

// A packet that the policy refuses may fail the call or vanish: both are seen by its absence.
static void step(struct pair *pair)
{
	drain(pair);
	if (pair->next - pair->arrived > PATIENCE)
		become(pair, 0, pair->arrived + 1);
	pair->sent[pair->next % HISTORY] = now();
	pair->next++;
	uint64_t number = pair->next - 1;
	if (sendto(pair->sender, &number, sizeof(number), 0, (const struct sockaddr *)&pair->target,
		   sizeof(pair->target)) < 0 && errno == EBADF)
		die("sendto");
	drain(pair);
}

int main(int argc, char **argv)
{
	int count = (argc - 2) / WORDS_PER_PAIR;
	int64_t interval = argc > 1 ? atoll(argv[1]) * 1000 : 0, due;

	if (interval <= 0 || count < 1 || count > MAX_PAIRS || (argc - 2) % WORDS_PER_PAIR) {
		fprintf(stderr, "usage: probes INTERVAL_US (CLIENT_NETNS SERVER_NETNS ADDRESS PORT)...\n");
		return 2;
	}
	// A bench that is killed leaves no prober behind.
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < count; i++)
		prepare(&pairs[i], argv + 2 + i * WORDS_PER_PAIR);
	for (due = now();; due += interval) {
		struct timespec time = { .tv_sec = due / 1000000000, .tv_nsec = due % 1000000000 };
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
		for (int i = 0; i < count; i++)
			step(&pairs[i]);
	}
}
