/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CNI binary: hands environment and standard input to the agent and prints its answer. All work is the agent's;
 * what must happen without it is here: VERSION, errors, and the queue of deletions.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "cni.h"

enum cni_code {
	CNI_INVALID_ENVIRONMENT = 4,
	CNI_BAD_CONFIG = 7,
	CNI_TRY_AGAIN = 11,
	CNI_NOT_AVAILABLE = 50,
};

static const char *const VARIABLES[] = { "CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME",
					 "CNI_ARGS", "CNI_PATH", "CNI_NETNS_OVERRIDE" };

static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value ? value : "";
}

static int fail(enum cni_code code, const char *message, const char *details)
{
	struct buffer out = { 0 };
	char number[48];

	snprintf(number, sizeof(number), "{\"cniVersion\":\"1.1.0\",\"code\":%d,\"msg\":", code);
	buffer_text(&out, number);
	buffer_json(&out, message, strlen(message));
	buffer_text(&out, ",\"details\":");
	buffer_json(&out, details, strlen(details));
	buffer_text(&out, "}\n");
	fputs(out.bytes, stdout);
	return 1;
}

static int print_version(void)
{
	puts("{\"cniVersion\":\"1.1.0\",\"supportedVersions\":"
	     "[\"0.1.0\",\"0.2.0\",\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}");
	return 0;
}

static void read_input(struct buffer *input)
{
	char chunk[16384];
	ssize_t count;

	buffer_text(input, "");
	while ((count = read(STDIN_FILENO, chunk, sizeof(chunk))) > 0)
		buffer_add(input, chunk, count);
}

static void write_request(struct buffer *request, const struct buffer *input)
{
	buffer_text(request, "{\"env\":{");
	for (size_t i = 0; i < sizeof(VARIABLES) / sizeof(*VARIABLES); i++) {
		const char *value = variable(VARIABLES[i]);

		if (i > 0)
			buffer_text(request, ",");
		buffer_json(request, VARIABLES[i], strlen(VARIABLES[i]));
		buffer_text(request, ":");
		buffer_json(request, value, strlen(value));
	}
	buffer_text(request, "},\"config\":");
	buffer_json(request, input->bytes, input->length);
	buffer_text(request, "}");
}

static void sleep_ms(int milliseconds)
{
	struct timespec wait = { .tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000l };

	nanosleep(&wait, NULL);
}

static int print_answer(const struct http_answer *answer)
{
	fwrite(answer->body, 1, answer->length, stdout);
	return answer->status < 300 ? 0 : 1;
}

/* ADD waits for an agent that is starting; an answer that was cut off is never asked twice. */
static int add(const char *socket, const struct buffer *request)
{
	const int wait_ms = 250;
	int left_ms = atoi(variable("CILIUM_CNI_WAIT_MS")[0] ? variable("CILIUM_CNI_WAIT_MS") : "30000");

	for (;; left_ms -= wait_ms) {
		struct http_answer answer = http_post(socket, "/v1/cni", request, 90000);

		if (answer.status != 0 && answer.status != 503)
			return print_answer(&answer);
		if (left_ms <= 0)
			return fail(CNI_TRY_AGAIN, "the Cilium agent does not answer", socket);
		sleep_ms(wait_ms);
	}
}

/* DEL must not keep a node from getting rid of a pod: without an agent the deletion is queued. */
static int del(const char *run_dir, const char *socket, const struct buffer *request)
{
	for (int i = 0; i < 4; i++) {
		struct http_answer answer = http_post(socket, "/v1/cni", request, 30000);

		if (answer.status != 0 && answer.status != 503)
			return print_answer(&answer);
		switch (queue_deletion(run_dir, variable("CNI_CONTAINERID"), variable("CNI_IFNAME"), request)) {
		case QUEUE_WRITTEN:
			return 0;
		case QUEUE_FULL:
			return fail(CNI_TRY_AGAIN, "the Cilium agent is down and its deletion queue is full", run_dir);
		case QUEUE_FAILED:
			return fail(CNI_TRY_AGAIN, "the Cilium agent is down and the deletion cannot be queued", run_dir);
		case QUEUE_BUSY:
			break;
		}
	}
	return fail(CNI_TRY_AGAIN, "the Cilium agent is starting", socket);
}

static int ask(const char *socket, const struct buffer *request, enum cni_code down)
{
	struct http_answer answer = http_post(socket, "/v1/cni", request, 30000);

	if (answer.status == 0 || answer.status == 503)
		return fail(down, "the Cilium agent does not answer", socket);
	return print_answer(&answer);
}

int main(int argc, char **argv)
{
	const char *command = variable("CNI_COMMAND");
	const char *run_dir = getenv("CILIUM_RUN_DIR") ? getenv("CILIUM_RUN_DIR") : "/var/run/cilium";
	struct buffer input = { 0 }, request = { 0 }, socket = { 0 };

	if (argc > 1 && strcmp(argv[1], "--version") == 0)
		return print_version();
	if (strcmp(command, "VERSION") == 0)
		return print_version();
	read_input(&input);
	write_request(&request, &input);
	if (getenv("CILIUM_SOCK")) {
		buffer_text(&socket, getenv("CILIUM_SOCK"));
	} else {
		buffer_text(&socket, run_dir);
		buffer_text(&socket, "/cilium.sock");
	}
	if (!strstr(input.bytes, "{"))
		return fail(CNI_BAD_CONFIG, "no network configuration on standard input", "a JSON object is needed");
	if (strcmp(command, "ADD") == 0)
		return add(socket.bytes, &request);
	if (strcmp(command, "DEL") == 0)
		return del(run_dir, socket.bytes, &request);
	if (strcmp(command, "CHECK") == 0 || strcmp(command, "GC") == 0)
		return ask(socket.bytes, &request, CNI_TRY_AGAIN);
	if (strcmp(command, "STATUS") == 0)
		return ask(socket.bytes, &request, CNI_NOT_AVAILABLE);
	return fail(CNI_INVALID_ENVIRONMENT, "CNI_COMMAND must be ADD, DEL, CHECK, GC, STATUS or VERSION", command);
}
