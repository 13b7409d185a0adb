// SPDX-License-Identifier: Apache-2.0
// Shared by all files of the add-on: failures, argument readers and operations that run either at once or on a thread.
#pragma once
#include <errno.h>
#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// What went wrong, filled without touching JavaScript so that worker threads can use it.
struct failure {
	int error;		// errno, 0 = success
	char call[64];		// system call and command
	char subject[192];	// map, program, device or path concerned
	char *log;		// last lines of the verifier or libbpf, owned, may be NULL
};

void fail(struct failure *failure, int error, const char *call, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
napi_value failure_to_error(napi_env env, const struct failure *failure);
void throw_failure(napi_env env, struct failure *failure);
void failure_clear(struct failure *failure);

// Readers of properties of the argument object. They throw a TypeError naming the property and return false.
bool get_i32(napi_env env, napi_value object, const char *name, int32_t *out);
bool get_u32(napi_env env, napi_value object, const char *name, uint32_t *out);
bool get_optional_u32(napi_env env, napi_value object, const char *name, uint32_t *out);
bool get_optional_i32(napi_env env, napi_value object, const char *name, int32_t *out);
bool get_optional_bool(napi_env env, napi_value object, const char *name, bool *out);
bool get_string(napi_env env, napi_value object, const char *name, char **out);
bool get_optional_string(napi_env env, napi_value object, const char *name, char **out);
bool get_property(napi_env env, napi_value object, const char *name, napi_value *out, bool *present);

// Bytes of a Uint8Array (or any view) or an ArrayBuffer.
struct bytes {
	uint8_t *data;
	size_t length;
};
bool value_bytes(napi_env env, napi_value value, const char *name, struct bytes *out);

napi_value make_u32(napi_env env, uint32_t value);
napi_value make_double(napi_env env, double value);
napi_value make_bool(napi_env env, bool value);
napi_value make_undefined(napi_env env);
napi_value make_string(napi_env env, const char *value);
napi_value make_bytes(napi_env env, const void *data, size_t length);
// Takes over memory from malloc: freed when JavaScript lets go of the buffer.
napi_value make_owned_bytes(napi_env env, void *data, size_t length);
void set_property(napi_env env, napi_value object, const char *name, napi_value value);

// One unit of work: `parse` and `complete` run on the JavaScript thread, `execute` on any thread.
struct op;
struct op_kind {
	const char *name;	// the asynchronous form is called name + "Async"
	size_t size;		// of the struct that begins with struct op
	bool (*parse)(napi_env env, napi_value arguments, struct op *op);
	void (*execute)(struct op *op);
	napi_value (*complete)(napi_env env, struct op *op);
	void (*destroy)(struct op *op);
	bool in_netns;		// honours the property `netns` (path or fd)
};

enum { OP_REFERENCES = 6 };
struct op {
	const struct op_kind *kind;
	struct failure failure;
	char *netns_path;
	int32_t netns_fd;
	bool async;
	napi_ref references[OP_REFERENCES];	// keeps buffers alive while a thread reads them
	unsigned int reference_count;
	napi_deferred deferred;
	napi_async_work work;
};

bool op_bytes(napi_env env, struct op *op, napi_value object, const char *name, struct bytes *out);
bool op_optional_bytes(napi_env env, struct op *op, napi_value object, const char *name, struct bytes *out);
bool op_keep(napi_env env, struct op *op, napi_value value);
void register_op(napi_env env, napi_value exports, const struct op_kind *kind);
void register_function(napi_env env, napi_value exports, const char *name, napi_callback callback);

// Runs `body` on a thread of its own inside a network namespace; the caller waits. netns_path may be NULL where
// netns_fd >= 0; with neither, body runs right here.
void run_in_netns(const char *netns_path, int netns_fd, struct failure *failure, void (*body)(void *), void *argument);
// Runs `body` on a thread of its own, all signals blocked.
bool run_on_thread(struct failure *failure, void (*body)(void *), void *argument);

// Lines that libbpf printed on this thread since capture_begin(); caller frees. NULL when nothing came.
void capture_begin(void);
char *capture_end(void);

void register_object(napi_env env, napi_value exports);
void register_map(napi_env env, napi_value exports);
void register_program(napi_env env, napi_value exports);
void register_link(napi_env env, napi_value exports);
void register_ring(napi_env env, napi_value exports);
void register_netns(napi_env env, napi_value exports);
void register_netlink(napi_env env, napi_value exports);
void register_system(napi_env env, napi_value exports);
