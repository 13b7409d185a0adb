/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of the CNI binary: text buffers, HTTP over the agent's socket, the deletion queue. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct buffer {
	char *bytes;
	size_t length;
	size_t capacity;
};

void buffer_add(struct buffer *buffer, const char *bytes, size_t length);
void buffer_text(struct buffer *buffer, const char *text);
/* Adds a JSON string with its quotes. */
void buffer_json(struct buffer *buffer, const char *text, size_t length);

struct http_answer {
	int status;		/* 0: the agent could not be reached or broke off */
	char *body;
	size_t length;
};

/* One POST on a fresh connection; timeout for connecting and for each read. */
struct http_answer http_post(const char *socket_path, const char *path, const struct buffer *body, int timeout_ms);

enum queue_result {
	QUEUE_WRITTEN,
	QUEUE_FULL,
	QUEUE_BUSY,		/* the agent is replaying: ask it again */
	QUEUE_FAILED,
};

/* Keeps a deletion for the agent's next start. */
enum queue_result queue_deletion(const char *run_dir, const char *container, const char *interface,
				 const struct buffer *request);
