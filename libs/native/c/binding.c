// SPDX-License-Identifier: Apache-2.0
// Registration of the add-on and the libbpf log capture.
#include "binding.h"

#include <bpf/libbpf.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CAPTURE_LIMIT = 16384 };

static __thread char *capture_text;
static __thread size_t capture_length;
static __thread bool capturing;

// Keeps the last CAPTURE_LIMIT characters: the end of a verifier log is what explains the refusal.
static void capture_append(const char *text, size_t length)
{
	if (length > CAPTURE_LIMIT) {
		text += length - CAPTURE_LIMIT;
		length = CAPTURE_LIMIT;
	}
	if (capture_length + length > CAPTURE_LIMIT) {
		size_t excess = capture_length + length - CAPTURE_LIMIT;
		memmove(capture_text, capture_text + excess, capture_length - excess);
		capture_length -= excess;
	}
	memcpy(capture_text + capture_length, text, length);
	capture_length += length;
	capture_text[capture_length] = 0;
}

static int print_libbpf(enum libbpf_print_level level, const char *format, va_list arguments)
{
	char *text = NULL;
	int length;

	if (level == LIBBPF_DEBUG || !capturing || !capture_text)
		return 0;
	length = vasprintf(&text, format, arguments);
	if (length > 0)
		capture_append(text, (size_t)length);
	free(text);
	return 0;
}

void capture_begin(void)
{
	capture_text = calloc(1, CAPTURE_LIMIT + 1);
	capture_length = 0;
	capturing = true;
}

char *capture_end(void)
{
	char *text = capture_text;

	capturing = false;
	capture_text = NULL;
	if (text && text[0] == 0) {
		free(text);
		return NULL;
	}
	return text;
}

NAPI_MODULE_INIT()
{
	libbpf_set_print(print_libbpf);
	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	register_object(env, exports);
	register_map(env, exports);
	register_program(env, exports);
	register_link(env, exports);
	register_ring(env, exports);
	register_netns(env, exports);
	register_netlink(env, exports);
	register_system(env, exports);
	return exports;
}
