// SPDX-License-Identifier: Apache-2.0
// Operations: the same code called at once or on a libuv worker; and threads that enter a network namespace.
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "binding.h"

struct thread_call {
	void (*body)(void *);
	void *argument;
	int netns_fd;
	int error;
};

static void *thread_main(void *data)
{
	struct thread_call *call = data;

	if (call->netns_fd >= 0 && setns(call->netns_fd, CLONE_NEWNET)) {
		call->error = errno;
		return NULL;
	}
	call->body(call->argument);
	return NULL;
}

// The thread ends after one body, so the namespace it entered can never leak into other work.
static int start_and_join(struct thread_call *call)
{
	pthread_t thread;
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&thread, NULL, thread_main, call);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!error)
		pthread_join(thread, NULL);
	return error;
}

bool run_on_thread(struct failure *failure, void (*body)(void *), void *argument)
{
	struct thread_call call = { .body = body, .argument = argument, .netns_fd = -1 };
	int error = start_and_join(&call);

	if (error)
		fail(failure, error, "pthread_create", "%s", "");
	return !error;
}

void run_in_netns(const char *netns_path, int netns_fd, struct failure *failure, void (*body)(void *), void *argument)
{
	struct thread_call call = { .body = body, .argument = argument, .netns_fd = netns_fd };
	int opened = -1, error;

	if (!netns_path && netns_fd < 0) {
		body(argument);
		return;
	}
	if (netns_path) {
		opened = open(netns_path, O_RDONLY | O_CLOEXEC);
		if (opened < 0) {
			fail(failure, errno, "open", "network namespace %s", netns_path);
			return;
		}
		call.netns_fd = opened;
	}
	error = start_and_join(&call);
	if (error)
		fail(failure, error, "pthread_create", "%s", "");
	else if (call.error)
		fail(failure, call.error, "setns", "network namespace %s", netns_path ? netns_path : "fd");
	if (opened >= 0)
		close(opened);
}

bool op_keep(napi_env env, struct op *op, napi_value value)
{
	if (!op->async)
		return true;
	if (op->reference_count == OP_REFERENCES)
		return false;
	return napi_create_reference(env, value, 1, &op->references[op->reference_count++]) == napi_ok;
}

bool op_optional_bytes(napi_env env, struct op *op, napi_value object, const char *name, struct bytes *out)
{
	napi_value value;
	bool present;

	if (!get_property(env, object, name, &value, &present))
		return false;
	if (!present)
		return true;
	return value_bytes(env, value, name, out) && op_keep(env, op, value);
}

bool op_bytes(napi_env env, struct op *op, napi_value object, const char *name, struct bytes *out)
{
	napi_value value;
	bool present;

	if (!get_property(env, object, name, &value, &present))
		return false;
	return value_bytes(env, value, name, out) && op_keep(env, op, value);
}

static void op_free(napi_env env, struct op *op)
{
	for (unsigned int i = 0; i < op->reference_count; i++)
		napi_delete_reference(env, op->references[i]);
	if (op->kind->destroy)
		op->kind->destroy(op);
	failure_clear(&op->failure);
	free(op->netns_path);
	free(op);
}

static bool parse_netns(napi_env env, napi_value arguments, struct op *op)
{
	napi_valuetype type;
	napi_value value;
	bool present;

	if (!op->kind->in_netns)
		return true;
	if (!get_property(env, arguments, "netns", &value, &present))
		return false;
	if (!present)
		return true;
	napi_typeof(env, value, &type);
	if (type == napi_number)
		return get_i32(env, arguments, "netns", &op->netns_fd);
	return get_string(env, arguments, "netns", &op->netns_path);
}

static void execute_body(void *data)
{
	struct op *op = data;

	op->kind->execute(op);
}

static void op_execute(struct op *op)
{
	run_in_netns(op->netns_path, op->netns_fd, &op->failure, execute_body, op);
}

static struct op *op_new(napi_env env, napi_callback_info info, bool async)
{
	const struct op_kind *kind;
	napi_value arguments[1];
	size_t count = 1;
	struct op *op;
	void *data;

	napi_get_cb_info(env, info, &count, arguments, NULL, &data);
	kind = data;
	op = calloc(1, kind->size);
	if (!op) {
		napi_throw_error(env, "ENOMEM", "out of memory");
		return NULL;
	}
	op->kind = kind;
	op->async = async;
	op->netns_fd = -1;
	if (!parse_netns(env, arguments[0], op) || !kind->parse(env, arguments[0], op)) {
		op_free(env, op);
		return NULL;
	}
	return op;
}

static napi_value call_now(napi_env env, napi_callback_info info)
{
	struct op *op = op_new(env, info, false);
	napi_value result = NULL;

	if (!op)
		return NULL;
	op_execute(op);
	if (op->failure.error)
		throw_failure(env, &op->failure);
	else
		result = op->kind->complete(env, op);
	op_free(env, op);
	return result;
}

static void work_execute(napi_env env, void *data)
{
	op_execute(data);
}

static void work_complete(napi_env env, napi_status status, void *data)
{
	struct op *op = data;
	napi_deferred deferred = op->deferred;

	if (status != napi_ok && !op->failure.error)
		fail(&op->failure, ECANCELED, op->kind->name, "%s", "");
	if (op->failure.error) {
		napi_reject_deferred(env, deferred, failure_to_error(env, &op->failure));
	} else {
		napi_value result = op->kind->complete(env, op);
		napi_value exception;
		bool pending = false;

		napi_is_exception_pending(env, &pending);
		if (pending) {
			napi_get_and_clear_last_exception(env, &exception);
			napi_reject_deferred(env, deferred, exception);
		} else {
			napi_resolve_deferred(env, deferred, result ? result : make_undefined(env));
		}
	}
	napi_delete_async_work(env, op->work);
	op_free(env, op);
}

static napi_value call_later(napi_env env, napi_callback_info info)
{
	struct op *op = op_new(env, info, true);
	napi_value promise = NULL;

	if (!op)
		return NULL;
	napi_create_promise(env, &op->deferred, &promise);
	napi_create_async_work(env, NULL, make_string(env, op->kind->name), work_execute, work_complete, op, &op->work);
	napi_queue_async_work(env, op->work);
	return promise;
}

static void register_with_data(napi_env env, napi_value exports, const char *name, napi_callback callback, void *data)
{
	napi_value function;

	napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, data, &function);
	set_property(env, exports, name, function);
}

void register_op(napi_env env, napi_value exports, const struct op_kind *kind)
{
	char name[64];

	register_with_data(env, exports, kind->name, call_now, (void *)kind);
	snprintf(name, sizeof(name), "%sAsync", kind->name);
	register_with_data(env, exports, name, call_later, (void *)kind);
}

void register_function(napi_env env, napi_value exports, const char *name, napi_callback callback)
{
	register_with_data(env, exports, name, callback, NULL);
}
