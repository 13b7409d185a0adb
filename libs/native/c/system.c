// SPDX-License-Identifier: Apache-2.0
// Mounts, file system facts, descriptors, CPU affinity, memory.
#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "binding.h"

// ---- mount({source, target, type, flags?, data?}), umount({target, flags?})

struct mount_op {
	struct op op;
	char *source, *target, *type, *data;
	uint32_t flags;
};

static bool mount_parse(napi_env env, napi_value arguments, struct op *base)
{
	struct mount_op *op = (struct mount_op *)base;

	return get_string(env, arguments, "source", &op->source) && get_string(env, arguments, "target", &op->target) &&
	       get_optional_string(env, arguments, "type", &op->type) &&
	       get_optional_string(env, arguments, "data", &op->data) &&
	       get_optional_u32(env, arguments, "flags", &op->flags);
}

static void mount_execute(struct op *base)
{
	struct mount_op *op = (struct mount_op *)base;

	if (mount(op->source, op->target, op->type, op->flags, op->data))
		fail(&base->failure, errno, "mount", "%s on %s (%s)", op->source, op->target, op->type ? op->type : "-");
}

static bool umount_parse(napi_env env, napi_value arguments, struct op *base)
{
	struct mount_op *op = (struct mount_op *)base;

	return get_string(env, arguments, "target", &op->target) && get_optional_u32(env, arguments, "flags", &op->flags);
}

static void umount_execute(struct op *base)
{
	struct mount_op *op = (struct mount_op *)base;

	if (umount2(op->target, (int)op->flags))
		fail(&base->failure, errno, "umount2", "%s", op->target);
}

static napi_value nothing(napi_env env, struct op *base)
{
	return make_undefined(env);
}

static void mount_destroy(struct op *base)
{
	struct mount_op *op = (struct mount_op *)base;

	free(op->source);
	free(op->target);
	free(op->type);
	free(op->data);
}

static napi_value path_call(napi_env env, napi_callback_info info, napi_value (*body)(napi_env, const char *))
{
	napi_value arguments[1], result;
	char *path = NULL;
	size_t count = 1;

	napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
	if (!get_string(env, arguments[0], "path", &path))
		return NULL;
	result = body(env, path);
	free(path);
	return result;
}

static napi_value path_failure(napi_env env, const char *call, const char *path)
{
	struct failure failure = { 0 };

	fail(&failure, errno, call, "%s", path);
	throw_failure(env, &failure);
	return NULL;
}

static napi_value magic_body(napi_env env, const char *path)
{
	struct statfs info;

	if (statfs(path, &info))
		return path_failure(env, "statfs", path);
	return make_u32(env, (uint32_t)info.f_type);
}

// filesystemMagic({path}): BPF_FS_MAGIC 0xcafe4a11, CGROUP2_SUPER_MAGIC 0x63677270 ...
static napi_value filesystem_magic(napi_env env, napi_callback_info info)
{
	return path_call(env, info, magic_body);
}

static napi_value cgroup_body(napi_env env, const char *path)
{
	union {
		struct file_handle handle;
		uint8_t room[sizeof(struct file_handle) + sizeof(uint64_t)];
	} buffer = { .handle.handle_bytes = sizeof(uint64_t) };
	napi_value result;
	uint64_t id;
	int mount_id;

	if (name_to_handle_at(AT_FDCWD, path, &buffer.handle, &mount_id, 0))
		return path_failure(env, "name_to_handle_at", path);
	memcpy(&id, buffer.room + offsetof(struct file_handle, f_handle), sizeof(id));
	napi_create_bigint_uint64(env, id, &result);
	return result;
}

// cgroupId({path}) -> bigint, as bpf_get_current_cgroup_id says it
static napi_value cgroup_id(napi_env env, napi_callback_info info)
{
	return path_call(env, info, cgroup_body);
}

static napi_value open_body(napi_env env, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? path_failure(env, "open", path) : make_u32(env, (uint32_t)fd);
}

// fdOpen({path}) -> fd, close on exec; for cgroup directories and namespaces
static napi_value fd_open(napi_env env, napi_callback_info info)
{
	return path_call(env, info, open_body);
}

static napi_value fd_call(napi_env env, napi_callback_info info, bool duplicate)
{
	struct failure failure = { 0 };
	napi_value arguments[1];
	size_t count = 1;
	int32_t fd;
	int result;

	napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
	if (!get_i32(env, arguments[0], "fd", &fd))
		return NULL;
	result = duplicate ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : close(fd);
	if (result < 0) {
		fail(&failure, errno, duplicate ? "fcntl(F_DUPFD_CLOEXEC)" : "close", "fd %d", fd);
		throw_failure(env, &failure);
		return NULL;
	}
	return duplicate ? make_u32(env, (uint32_t)result) : make_undefined(env);
}

static napi_value fd_close(napi_env env, napi_callback_info info)
{
	return fd_call(env, info, false);
}

static napi_value fd_duplicate(napi_env env, napi_callback_info info)
{
	return fd_call(env, info, true);
}

// setAffinity({pid, cpu?}): pid 0 = the calling thread; without cpu it may run anywhere again
static napi_value set_affinity(napi_env env, napi_callback_info info)
{
	struct failure failure = { 0 };
	napi_value arguments[1];
	size_t count = 1;
	cpu_set_t set;
	int32_t pid, cpu = -1;

	napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
	if (!get_i32(env, arguments[0], "pid", &pid) || !get_optional_i32(env, arguments[0], "cpu", &cpu))
		return NULL;
	CPU_ZERO(&set);
	for (int32_t i = 0; i < CPU_SETSIZE; i++)
		if (cpu < 0 || i == cpu)
			CPU_SET((size_t)i, &set);
	if (sched_setaffinity(pid, sizeof(set), &set)) {
		fail(&failure, errno, "sched_setaffinity", "pid %d, CPU %d", pid, cpu);
		throw_failure(env, &failure);
	}
	return make_undefined(env);
}

// memoryTrim() -> whether memory of free blocks went back to the kernel
struct trim_op {
	struct op op;
	bool given_back;
};

static bool trim_parse(napi_env env, napi_value arguments, struct op *base)
{
	return true;
}

static void trim_execute(struct op *base)
{
	((struct trim_op *)base)->given_back = malloc_trim(0) == 1;
}

static napi_value trim_complete(napi_env env, struct op *base)
{
	return make_bool(env, ((struct trim_op *)base)->given_back);
}

void register_system(napi_env env, napi_value exports)
{
	static const struct op_kind mount_kind = {
		"mount", sizeof(struct mount_op), mount_parse, mount_execute, nothing, mount_destroy, false,
	};
	static const struct op_kind umount_kind = {
		"umount", sizeof(struct mount_op), umount_parse, umount_execute, nothing, mount_destroy, false,
	};

	static const struct op_kind trim_kind = {
		"memoryTrim", sizeof(struct trim_op), trim_parse, trim_execute, trim_complete, NULL, false,
	};

	register_op(env, exports, &trim_kind);
	register_op(env, exports, &mount_kind);
	register_op(env, exports, &umount_kind);
	register_function(env, exports, "filesystemMagic", filesystem_magic);
	register_function(env, exports, "cgroupId", cgroup_id);
	register_function(env, exports, "fdOpen", fd_open);
	register_function(env, exports, "fdClose", fd_close);
	register_function(env, exports, "fdDuplicate", fd_duplicate);
	register_function(env, exports, "setAffinity", set_affinity);
}
