// SPDX-License-Identifier: Apache-2.0
// Programs: test runs, information, raw instructions for probing; and pins of any BPF descriptor.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "binding.h"

// ---- programTestRun({fd, data?, ctx?, repeat?, flags?, outSize?}) -> {retval, duration, data, ctx}

struct run_op {
	struct op op;
	int32_t fd;
	uint32_t repeat, flags, out_size;
	struct bytes data, ctx;
	struct bpf_test_run_opts options;
	uint8_t *data_out, *ctx_out;
};

static bool run_parse(napi_env env, napi_value arguments, struct op *base)
{
	struct run_op *op = (struct run_op *)base;

	op->repeat = 1;
	if (!get_i32(env, arguments, "fd", &op->fd) || !op_optional_bytes(env, base, arguments, "data", &op->data) ||
	    !op_optional_bytes(env, base, arguments, "ctx", &op->ctx) ||
	    !get_optional_u32(env, arguments, "repeat", &op->repeat) ||
	    !get_optional_u32(env, arguments, "flags", &op->flags))
		return false;
	op->out_size = op->data.length ? (uint32_t)op->data.length + 512 : 0;
	return get_optional_u32(env, arguments, "outSize", &op->out_size);
}

static void run_execute(struct op *base)
{
	struct run_op *op = (struct run_op *)base;
	struct bpf_test_run_opts *options = &op->options;

	options->sz = sizeof(*options);
	options->repeat = (int)op->repeat;
	options->flags = op->flags;
	if (op->data.length) {
		options->data_in = op->data.data;
		options->data_size_in = (uint32_t)op->data.length;
		op->data_out = calloc(1, op->out_size + 1);
		options->data_out = op->data_out;
		options->data_size_out = op->out_size;
	}
	if (op->ctx.length) {
		options->ctx_in = op->ctx.data;
		options->ctx_size_in = (uint32_t)op->ctx.length;
		op->ctx_out = calloc(1, op->ctx.length);
		options->ctx_out = op->ctx_out;
		options->ctx_size_out = (uint32_t)op->ctx.length;
	}
	if (bpf_prog_test_run_opts(op->fd, options))
		fail(&base->failure, errno, "bpf(BPF_PROG_TEST_RUN)", "program fd %d, %zu bytes of packet", op->fd,
		     op->data.length);
}

static napi_value run_complete(napi_env env, struct op *base)
{
	struct run_op *op = (struct run_op *)base;
	napi_value result;

	napi_create_object(env, &result);
	set_property(env, result, "retval", make_u32(env, op->options.retval));
	set_property(env, result, "duration", make_u32(env, op->options.duration));
	set_property(env, result, "data", make_bytes(env, op->data_out, op->data_out ? op->options.data_size_out : 0));
	set_property(env, result, "ctx", make_bytes(env, op->ctx_out, op->ctx_out ? op->options.ctx_size_out : 0));
	return result;
}

static void run_destroy(struct op *base)
{
	struct run_op *op = (struct run_op *)base;

	free(op->data_out);
	free(op->ctx_out);
}

// ---- programLoad({type, name, insns, expectedAttachType?}) -> fd

struct load_op {
	struct op op;
	uint32_t type, attach;
	char *name;
	struct bytes insns;
	int fd;
};

static bool load_parse(napi_env env, napi_value arguments, struct op *base)
{
	struct load_op *op = (struct load_op *)base;

	return get_u32(env, arguments, "type", &op->type) && get_string(env, arguments, "name", &op->name) &&
	       op_bytes(env, base, arguments, "insns", &op->insns) &&
	       get_optional_u32(env, arguments, "expectedAttachType", &op->attach);
}

enum { LOG_SIZE = 65536 };

static void load_execute(struct op *base)
{
	struct load_op *op = (struct load_op *)base;
	LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = (enum bpf_attach_type)op->attach);
	char *log = calloc(1, LOG_SIZE);
	int error;

	op->fd = bpf_prog_load((enum bpf_prog_type)op->type, op->name, "Dual BSD/GPL",
			       (const struct bpf_insn *)op->insns.data, op->insns.length / 8, &options);
	error = op->fd < 0 ? errno : 0;
	if (error && log) {
		options.log_buf = log;
		options.log_size = LOG_SIZE;
		options.log_level = 1;
		op->fd = bpf_prog_load((enum bpf_prog_type)op->type, op->name, "Dual BSD/GPL",
				       (const struct bpf_insn *)op->insns.data, op->insns.length / 8, &options);
	}
	if (op->fd < 0) {
		fail(&base->failure, error, "bpf(BPF_PROG_LOAD)", "program %s (type %u)", op->name, op->type);
		if (log && log[0]) {
			base->failure.log = log;
			log = NULL;
		}
	}
	free(log);
}

static napi_value load_complete(napi_env env, struct op *base)
{
	return make_u32(env, (uint32_t)((struct load_op *)base)->fd);
}

static void load_destroy(struct op *base)
{
	free(((struct load_op *)base)->name);
}

// ---- programInfo({fd})

static napi_value program_info(napi_env env, napi_callback_info call)
{
	struct failure failure = { 0 };
	struct bpf_prog_info info = { 0 };
	uint32_t length = sizeof(info);
	napi_value arguments[1], result;
	char tag[17];
	size_t count = 1;
	int32_t fd;

	napi_get_cb_info(env, call, &count, arguments, NULL, NULL);
	if (!get_i32(env, arguments[0], "fd", &fd))
		return NULL;
	if (bpf_obj_get_info_by_fd(fd, &info, &length)) {
		fail(&failure, errno, "bpf(BPF_OBJ_GET_INFO_BY_FD)", "program fd %d", fd);
		throw_failure(env, &failure);
		return NULL;
	}
	for (int i = 0; i < 8; i++)
		snprintf(tag + 2 * i, 3, "%02x", info.tag[i]);
	napi_create_object(env, &result);
	set_property(env, result, "id", make_u32(env, info.id));
	set_property(env, result, "name", make_string(env, info.name));
	set_property(env, result, "type", make_u32(env, info.type));
	set_property(env, result, "tag", make_string(env, tag));
	set_property(env, result, "translatedSize", make_u32(env, info.xlated_prog_len));
	set_property(env, result, "jitedSize", make_u32(env, info.jited_prog_len));
	set_property(env, result, "runCount", make_double(env, (double)info.run_cnt));
	set_property(env, result, "runTime", make_double(env, (double)info.run_time_ns));
	return result;
}

// ---- objectPin({fd, path}), objectGet({path}) -> fd

static napi_value pin(napi_env env, napi_callback_info info)
{
	struct failure failure = { 0 };
	napi_value arguments[1];
	char *path = NULL;
	size_t count = 1;
	int32_t fd;

	napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
	if (!get_i32(env, arguments[0], "fd", &fd) || !get_string(env, arguments[0], "path", &path))
		return NULL;
	if (bpf_obj_pin(fd, path)) {
		fail(&failure, errno, "bpf(BPF_OBJ_PIN)", "%s", path);
		throw_failure(env, &failure);
	}
	free(path);
	return make_undefined(env);
}

static napi_value get_pinned(napi_env env, napi_callback_info info)
{
	struct failure failure = { 0 };
	napi_value arguments[1];
	char *path = NULL;
	size_t count = 1;
	int fd;

	napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
	if (!get_string(env, arguments[0], "path", &path))
		return NULL;
	fd = bpf_obj_get(path);
	if (fd < 0) {
		fail(&failure, errno, "bpf(BPF_OBJ_GET)", "%s", path);
		throw_failure(env, &failure);
	}
	free(path);
	return fd < 0 ? NULL : make_u32(env, (uint32_t)fd);
}

void register_program(napi_env env, napi_value exports)
{
	static const struct op_kind run_kind = {
		"programTestRun", sizeof(struct run_op), run_parse, run_execute, run_complete, run_destroy, false,
	};
	static const struct op_kind load_kind = {
		"programLoad", sizeof(struct load_op), load_parse, load_execute, load_complete, load_destroy, false,
	};

	register_op(env, exports, &run_kind);
	register_op(env, exports, &load_kind);
	register_function(env, exports, "programInfo", program_info);
	register_function(env, exports, "bpfPin", pin);
	register_function(env, exports, "bpfGet", get_pinned);
}
