/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cni.h"

void buffer_add(struct buffer *buffer, const char *bytes, size_t length)
{
	if (buffer->length + length + 1 > buffer->capacity) {
		buffer->capacity = (buffer->length + length + 1) * 2;
		buffer->bytes = realloc(buffer->bytes, buffer->capacity);
		if (!buffer->bytes)
			abort();
	}
	memcpy(buffer->bytes + buffer->length, bytes, length);
	buffer->length += length;
	buffer->bytes[buffer->length] = 0;
}

void buffer_text(struct buffer *buffer, const char *text)
{
	buffer_add(buffer, text, strlen(text));
}

void buffer_json(struct buffer *buffer, const char *text, size_t length)
{
	char escape[8];

	buffer_text(buffer, "\"");
	for (size_t i = 0; i < length; i++) {
		unsigned char byte = text[i];

		if (byte == '"' || byte == '\\') {
			escape[0] = '\\';
			escape[1] = byte;
			buffer_add(buffer, escape, 2);
		} else if (byte < 0x20) {
			snprintf(escape, sizeof(escape), "\\u%04x", byte);
			buffer_add(buffer, escape, 6);
		} else {
			buffer_add(buffer, text + i, 1);
		}
	}
	buffer_text(buffer, "\"");
}
