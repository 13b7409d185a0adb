// SPDX-License-Identifier: Apache-2.0
// Links by raw bpf(2): Debian's libbpf knows neither tcx nor netkit.
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "binding.h"

static long bpf(int command, union bpf_attr *attributes)
{
	return syscall(SYS_bpf, command, attributes, sizeof(*attributes));
}

// ---- linkCreate({program, attachType, target, flags?, netns?}) -> fd; target = ifindex or cgroup fd

struct create_op {
	struct op op;
	int32_t program;
	uint32_t attach_type, target, flags;
	int fd;
};

static bool create_parse(napi_env env, napi_value arguments, struct op *base)
{
	struct create_op *op = (struct create_op *)base;

	return get_i32(env, arguments, "program", &op->program) &&
	       get_u32(env, arguments, "attachType", &op->attach_type) &&
	       get_u32(env, arguments, "target", &op->target) && get_optional_u32(env, arguments, "flags", &op->flags);
}

static void create_execute(struct op *base)
{
	struct create_op *op = (struct create_op *)base;
	union bpf_attr attributes;

	memset(&attributes, 0, sizeof(attributes));
	attributes.link_create.prog_fd = (uint32_t)op->program;
	attributes.link_create.target_fd = op->target;	// shares its place with target_ifindex
	attributes.link_create.attach_type = op->attach_type;
	attributes.link_create.flags = op->flags;
	op->fd = (int)bpf(BPF_LINK_CREATE, &attributes);
	if (op->fd < 0)
		fail(&base->failure, errno, "bpf(BPF_LINK_CREATE)", "attach type %u, target %u", op->attach_type, op->target);
}

static napi_value create_complete(napi_env env, struct op *base)
{
	return make_u32(env, (uint32_t)((struct create_op *)base)->fd);
}

// ---- linkUpdate({link, program}), linkDetach({link})

struct change_op {
	struct op op;
	int32_t link, program;
};

static bool update_parse(napi_env env, napi_value arguments, struct op *base)
{
	struct change_op *op = (struct change_op *)base;

	return get_i32(env, arguments, "link", &op->link) && get_i32(env, arguments, "program", &op->program);
}

static void update_execute(struct op *base)
{
	struct change_op *op = (struct change_op *)base;
	union bpf_attr attributes;

	memset(&attributes, 0, sizeof(attributes));
	attributes.link_update.link_fd = (uint32_t)op->link;
	attributes.link_update.new_prog_fd = (uint32_t)op->program;
	if (bpf(BPF_LINK_UPDATE, &attributes))
		fail(&base->failure, errno, "bpf(BPF_LINK_UPDATE)", "link fd %d", op->link);
}

static bool detach_parse(napi_env env, napi_value arguments, struct op *base)
{
	return get_i32(env, arguments, "link", &((struct change_op *)base)->link);
}

static void detach_execute(struct op *base)
{
	struct change_op *op = (struct change_op *)base;
	union bpf_attr attributes;

	memset(&attributes, 0, sizeof(attributes));
	attributes.link_detach.link_fd = (uint32_t)op->link;
	if (bpf(BPF_LINK_DETACH, &attributes))
		fail(&base->failure, errno, "bpf(BPF_LINK_DETACH)", "link fd %d", op->link);
}

static napi_value change_complete(napi_env env, struct op *base)
{
	return make_undefined(env);
}

// ---- linkInfo({link}) -> {id, type, programId, ifindex?, attachType?, cgroupId?}

enum { LINK_TYPE_CGROUP = 3, LINK_TYPE_XDP = 6, LINK_TYPE_TCX = 11 };

// Newer than the headers: the part behind the fixed fields as plain words.
struct link_info {
	uint32_t type, id, program_id, pad;
	uint32_t words[14];
};

static napi_value link_info(napi_env env, napi_callback_info call)
{
	struct failure failure = { 0 };
	struct link_info info = { 0 };
	union bpf_attr attributes;
	napi_value arguments[1], result;
	size_t count = 1;
	int32_t fd;

	napi_get_cb_info(env, call, &count, arguments, NULL, NULL);
	if (!get_i32(env, arguments[0], "link", &fd))
		return NULL;
	memset(&attributes, 0, sizeof(attributes));
	attributes.info.bpf_fd = (uint32_t)fd;
	attributes.info.info_len = sizeof(info);
	attributes.info.info = (uint64_t)(uintptr_t)&info;
	if (bpf(BPF_OBJ_GET_INFO_BY_FD, &attributes)) {
		fail(&failure, errno, "bpf(BPF_OBJ_GET_INFO_BY_FD)", "link fd %d", fd);
		throw_failure(env, &failure);
		return NULL;
	}
	napi_create_object(env, &result);
	set_property(env, result, "id", make_u32(env, info.id));
	set_property(env, result, "type", make_u32(env, info.type));
	set_property(env, result, "programId", make_u32(env, info.program_id));
	if (info.type == LINK_TYPE_XDP || info.type == LINK_TYPE_TCX)
		set_property(env, result, "ifindex", make_u32(env, info.words[0]));
	if (info.type == LINK_TYPE_TCX)
		set_property(env, result, "attachType", make_u32(env, info.words[1]));
	if (info.type == LINK_TYPE_CGROUP) {
		set_property(env, result, "cgroupId",
			     make_double(env, (double)(((uint64_t)info.words[1] << 32) | info.words[0])));
		set_property(env, result, "attachType", make_u32(env, info.words[2]));
	}
	return result;
}

void register_link(napi_env env, napi_value exports)
{
	static const struct op_kind kinds[] = {
		{ "linkCreate", sizeof(struct create_op), create_parse, create_execute, create_complete, NULL, true },
		{ "linkUpdate", sizeof(struct change_op), update_parse, update_execute, change_complete, NULL, false },
		{ "linkDetach", sizeof(struct change_op), detach_parse, detach_execute, change_complete, NULL, false },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		register_op(env, exports, &kinds[i]);
	register_function(env, exports, "linkInfo", link_info);
}
