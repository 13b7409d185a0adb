// SPDX-License-Identifier: Apache-2.0
// Maps: single elements (positional arguments, hot), creation, information and mmap.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "map.h"

static bool is_per_cpu(uint32_t type)
{
	return type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_ARRAY ||
	       type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

bool map_shape(int fd, struct map_shape *shape, struct failure *failure)
{
	struct bpf_map_info info = { 0 };
	uint32_t length = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &length)) {
		fail(failure, errno, "bpf(BPF_OBJ_GET_INFO_BY_FD)", "map fd %d", fd);
		return false;
	}
	shape->type = info.type;
	shape->key_size = info.key_size;
	shape->value_size = info.value_size;
	shape->max_entries = info.max_entries;
	shape->flags = info.map_flags;
	shape->id = info.id;
	snprintf(shape->name, sizeof(shape->name), "%s", info.name);
	shape->stored_size = info.value_size;
	if (is_per_cpu(info.type))
		shape->stored_size = ((info.value_size + 7u) & ~7u) * (size_t)libbpf_num_possible_cpus();
	return true;
}

// ---- single elements: mapLookup(fd, key, value), mapUpdate(fd, key, value, flags), mapDelete(fd, key), mapNextKey(fd, key, next)

struct element {
	int32_t fd;
	struct bytes key, value;
	uint32_t flags;
};

static bool element_arguments(napi_env env, napi_callback_info info, struct element *element, bool need_value)
{
	napi_value arguments[4];
	napi_valuetype type = napi_undefined;
	size_t count = 4;

	napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
	if (napi_get_value_int32(env, arguments[0], &element->fd) != napi_ok) {
		napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "argument `fd`: expected a number");
		return false;
	}
	napi_typeof(env, arguments[1], &type);
	if (type != napi_null && !value_bytes(env, arguments[1], "key", &element->key))
		return false;
	if (need_value && !value_bytes(env, arguments[2], "value", &element->value))
		return false;
	if (count > 3)
		napi_get_value_uint32(env, arguments[3], &element->flags);
	return true;
}

static napi_value element_failure(napi_env env, const char *call, int fd)
{
	int error = errno;
	struct failure failure = { 0 }, ignored = { 0 };
	struct map_shape shape = { 0 };

	if (map_shape(fd, &shape, &ignored))
		fail(&failure, error, call, "map %s (key %u, value %zu bytes, %u entries at most)", shape.name,
		     shape.key_size, shape.stored_size, shape.max_entries);
	else
		fail(&failure, error, call, "map fd %d", fd);
	throw_failure(env, &failure);
	return NULL;
}

// The kernel reads and writes as many bytes as the map says, whatever the buffer's length. BpfMap compares the sizes of
// its codecs with the map once, when it is made, and always passes buffers of that size; nobody else calls these four.
static napi_value map_lookup(napi_env env, napi_callback_info info)
{
	struct element element = { 0 };

	if (!element_arguments(env, info, &element, true))
		return NULL;
	if (bpf_map_lookup_elem(element.fd, element.key.data, element.value.data) == 0)
		return make_bool(env, true);
	if (errno == ENOENT)
		return make_bool(env, false);
	return element_failure(env, "bpf(BPF_MAP_LOOKUP_ELEM)", element.fd);
}

static napi_value map_update(napi_env env, napi_callback_info info)
{
	struct element element = { 0 };

	if (!element_arguments(env, info, &element, true))
		return NULL;
	if (bpf_map_update_elem(element.fd, element.key.data, element.value.data, element.flags) == 0)
		return make_undefined(env);
	return element_failure(env, "bpf(BPF_MAP_UPDATE_ELEM)", element.fd);
}

static napi_value map_delete(napi_env env, napi_callback_info info)
{
	struct element element = { 0 };

	if (!element_arguments(env, info, &element, false))
		return NULL;
	if (bpf_map_delete_elem(element.fd, element.key.data) == 0)
		return make_bool(env, true);
	if (errno == ENOENT)
		return make_bool(env, false);
	return element_failure(env, "bpf(BPF_MAP_DELETE_ELEM)", element.fd);
}

static napi_value map_next_key(napi_env env, napi_callback_info info)
{
	struct element element = { 0 };

	if (!element_arguments(env, info, &element, true))
		return NULL;
	if (bpf_map_get_next_key(element.fd, element.key.data, element.value.data) == 0)
		return make_bool(env, true);
	if (errno == ENOENT)
		return make_bool(env, false);
	return element_failure(env, "bpf(BPF_MAP_GET_NEXT_KEY)", element.fd);
}

// ---- mapCreate({type, name, keySize, valueSize, maxEntries, flags?, innerFd?}) -> fd

struct create_op {
	struct op op;
	uint32_t type, key_size, value_size, max_entries, flags;
	int32_t inner_fd;
	char *name;
	int fd;
};

static bool create_parse(napi_env env, napi_value arguments, struct op *base)
{
	struct create_op *op = (struct create_op *)base;

	op->inner_fd = -1;
	return get_u32(env, arguments, "type", &op->type) && get_string(env, arguments, "name", &op->name) &&
	       get_u32(env, arguments, "keySize", &op->key_size) &&
	       get_u32(env, arguments, "valueSize", &op->value_size) &&
	       get_u32(env, arguments, "maxEntries", &op->max_entries) &&
	       get_optional_u32(env, arguments, "flags", &op->flags) &&
	       get_optional_i32(env, arguments, "innerFd", &op->inner_fd);
}

static void create_execute(struct op *base)
{
	struct create_op *op = (struct create_op *)base;
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = op->flags);
	char name[16];

	if (op->inner_fd >= 0)
		options.inner_map_fd = (uint32_t)op->inner_fd;
	snprintf(name, sizeof(name), "%s", op->name);
	op->fd = bpf_map_create((enum bpf_map_type)op->type, name, op->key_size, op->value_size, op->max_entries, &options);
	if (op->fd < 0)
		fail(&base->failure, errno, "bpf(BPF_MAP_CREATE)", "map %s (type %u, key %u, value %u bytes, %u entries)",
		     op->name, op->type, op->key_size, op->value_size, op->max_entries);
}

static napi_value create_complete(napi_env env, struct op *base)
{
	return make_u32(env, (uint32_t)((struct create_op *)base)->fd);
}

static void create_destroy(struct op *base)
{
	free(((struct create_op *)base)->name);
}

// ---- mapInfo({fd})

static napi_value map_info(napi_env env, napi_callback_info info)
{
	struct failure failure = { 0 };
	struct map_shape shape;
	napi_value arguments[1], result;
	size_t count = 1;
	int32_t fd;

	napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
	if (!get_i32(env, arguments[0], "fd", &fd))
		return NULL;
	if (!map_shape(fd, &shape, &failure)) {
		throw_failure(env, &failure);
		return NULL;
	}
	napi_create_object(env, &result);
	set_property(env, result, "id", make_u32(env, shape.id));
	set_property(env, result, "name", make_string(env, shape.name));
	set_property(env, result, "type", make_u32(env, shape.type));
	set_property(env, result, "keySize", make_u32(env, shape.key_size));
	set_property(env, result, "valueSize", make_u32(env, shape.value_size));
	set_property(env, result, "storedSize", make_u32(env, (uint32_t)shape.stored_size));
	set_property(env, result, "maxEntries", make_u32(env, shape.max_entries));
	set_property(env, result, "flags", make_u32(env, shape.flags));
	return result;
}

// ---- mapMmap({fd, length}) -> ArrayBuffer on the map's own memory (BPF_F_MMAPABLE arrays)

static void unmap(napi_env env, void *data, void *hint)
{
	munmap(data, (size_t)hint);
}

static napi_value map_mmap(napi_env env, napi_callback_info info)
{
	struct failure failure = { 0 };
	napi_value arguments[1], result = NULL;
	uint32_t length;
	size_t count = 1;
	int32_t fd;
	void *memory;

	napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
	if (!get_i32(env, arguments[0], "fd", &fd) || !get_u32(env, arguments[0], "length", &length))
		return NULL;
	memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED) {
		fail(&failure, errno, "mmap", "map fd %d, %u bytes", fd, length);
		throw_failure(env, &failure);
		return NULL;
	}
	if (napi_create_external_arraybuffer(env, memory, length, unmap, (void *)(size_t)length, &result) != napi_ok)
		munmap(memory, length);
	return result;
}

// mapOpenId({id}) -> fd
static napi_value map_open_id(napi_env env, napi_callback_info info)
{
	struct failure failure = { 0 };
	napi_value arguments[1];
	size_t count = 1;
	uint32_t id;
	int fd;

	napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
	if (!get_u32(env, arguments[0], "id", &id))
		return NULL;
	fd = bpf_map_get_fd_by_id(id);
	if (fd < 0) {
		fail(&failure, errno, "bpf(BPF_MAP_GET_FD_BY_ID)", "map id %u", id);
		throw_failure(env, &failure);
		return NULL;
	}
	return make_u32(env, (uint32_t)fd);
}

static napi_value possible_cpus(napi_env env, napi_callback_info info)
{
	return make_u32(env, (uint32_t)libbpf_num_possible_cpus());
}

void register_map(napi_env env, napi_value exports)
{
	static const struct op_kind create_kind = {
		"mapCreate", sizeof(struct create_op), create_parse, create_execute, create_complete, create_destroy, false,
	};

	register_op(env, exports, &create_kind);
	register_map_batches(env, exports);
	register_function(env, exports, "mapLookup", map_lookup);
	register_function(env, exports, "mapUpdate", map_update);
	register_function(env, exports, "mapDelete", map_delete);
	register_function(env, exports, "mapNextKey", map_next_key);
	register_function(env, exports, "mapInfo", map_info);
	register_function(env, exports, "mapMmap", map_mmap);
	register_function(env, exports, "mapOpenId", map_open_id);
	register_function(env, exports, "possibleCpus", possible_cpus);
}
