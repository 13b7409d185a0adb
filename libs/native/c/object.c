// SPDX-License-Identifier: Apache-2.0
// BPF object files through libbpf: open, patch, load. Pins are the caller's business: libbpf's own pin paths are cleared.
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "binding.h"

struct object {
	struct bpf_object *bpf;
	char *path;
	bool busy;	// a load runs on another thread
};

static const napi_type_tag object_tag = { 0x63696c69756d6f62ULL, 0x6a65637468616e64ULL };

static void object_release(struct object *object)
{
	if (object->bpf)
		bpf_object__close(object->bpf);
	object->bpf = NULL;
}

static void object_finalize(napi_env env, void *data, void *hint)
{
	struct object *object = data;

	object_release(object);
	free(object->path);
	free(object);
}

static struct object *get_object(napi_env env, napi_value arguments)
{
	napi_value value;
	bool present = false, tagged = false;
	void *data = NULL;

	if (!get_property(env, arguments, "object", &value, &present))
		return NULL;
	if (present)
		napi_check_object_type_tag(env, value, &object_tag, &tagged);
	if (!tagged || napi_get_value_external(env, value, &data) != napi_ok) {
		napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "argument `object`: expected a handle of objectOpen");
		return NULL;
	}
	struct object *object = data;
	if (!object->bpf || object->busy) {
		struct failure failure = { 0 };
		fail(&failure, object->busy ? EBUSY : EBADF, "object", "%s", object->path);
		throw_failure(env, &failure);
		return NULL;
	}
	return object;
}

struct open_op {
	struct op op;
	char *path;
	struct bpf_object *bpf;
};

static bool open_parse(napi_env env, napi_value arguments, struct op *base)
{
	return get_string(env, arguments, "path", &((struct open_op *)base)->path);
}

static void open_execute(struct op *base)
{
	struct open_op *op = (struct open_op *)base;
	struct bpf_map *map;

	capture_begin();
	op->bpf = bpf_object__open_file(op->path, NULL);
	if (!op->bpf) {
		fail(&base->failure, errno, "open BPF object", "%s", op->path);
		base->failure.log = capture_end();
		return;
	}
	free(capture_end());
	bpf_object__for_each_map(map, op->bpf)
		bpf_map__set_pin_path(map, NULL);
}

static napi_value open_complete(napi_env env, struct op *base)
{
	struct open_op *op = (struct open_op *)base;
	struct object *object = calloc(1, sizeof(*object));
	napi_value handle = NULL;

	if (!object)
		return NULL;
	object->bpf = op->bpf;
	object->path = strdup(op->path);
	op->bpf = NULL;
	napi_create_external(env, object, object_finalize, NULL, &handle);
	napi_type_tag_object(env, handle, &object_tag);
	return handle;
}

static void open_destroy(struct op *base)
{
	struct open_op *op = (struct open_op *)base;

	if (op->bpf)
		bpf_object__close(op->bpf);
	free(op->path);
}

static napi_value describe_maps(napi_env env, struct bpf_object *bpf)
{
	struct bpf_map *map;
	napi_value list;
	uint32_t i = 0;

	napi_create_array(env, &list);
	bpf_object__for_each_map(map, bpf) {
		napi_value item;
		napi_create_object(env, &item);
		set_property(env, item, "name", make_string(env, bpf_map__name(map)));
		set_property(env, item, "type", make_u32(env, bpf_map__type(map)));
		set_property(env, item, "keySize", make_u32(env, bpf_map__key_size(map)));
		set_property(env, item, "valueSize", make_u32(env, bpf_map__value_size(map)));
		set_property(env, item, "maxEntries", make_u32(env, bpf_map__max_entries(map)));
		set_property(env, item, "flags", make_u32(env, bpf_map__map_flags(map)));
		set_property(env, item, "internal", make_bool(env, bpf_map__is_internal(map)));
		napi_set_element(env, list, i++, item);
	}
	return list;
}

static napi_value describe_programs(napi_env env, struct bpf_object *bpf)
{
	struct bpf_program *program;
	napi_value list;
	uint32_t i = 0;

	napi_create_array(env, &list);
	bpf_object__for_each_program(program, bpf) {
		napi_value item;
		napi_create_object(env, &item);
		set_property(env, item, "name", make_string(env, bpf_program__name(program)));
		set_property(env, item, "section", make_string(env, bpf_program__section_name(program)));
		set_property(env, item, "type", make_u32(env, bpf_program__type(program)));
		set_property(env, item, "expectedAttachType",
			     make_u32(env, bpf_program__expected_attach_type(program)));
		napi_set_element(env, list, i++, item);
	}
	return list;
}

// objectDescribe({object}) -> {maps, programs}
static napi_value describe(napi_env env, napi_callback_info info)
{
	napi_value arguments[1], result;
	struct object *object;
	size_t count = 1;

	napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
	object = get_object(env, arguments[0]);
	if (!object)
		return NULL;
	napi_create_object(env, &result);
	set_property(env, result, "maps", describe_maps(env, object->bpf));
	set_property(env, result, "programs", describe_programs(env, object->bpf));
	return result;
}

// Finds a variable of .rodata by its BTF name; NULL with a failure otherwise.
static uint8_t *find_constant(struct object *object, const char *name, size_t *size, struct failure *failure)
{
	struct btf *btf = bpf_object__btf(object->bpf);
	struct bpf_map *map;
	size_t area_size = 0;
	uint8_t *area = NULL;
	int id = btf ? btf__find_by_name_kind(btf, ".rodata", BTF_KIND_DATASEC) : -1;

	bpf_object__for_each_map(map, object->bpf) {
		const char *map_name = bpf_map__name(map);
		size_t length = strlen(map_name);
		if (bpf_map__is_internal(map) && length >= 7 && !strcmp(map_name + length - 7, ".rodata"))
			area = (uint8_t *)bpf_map__initial_value(map, &area_size);
	}
	if (id < 0 || !area) {
		fail(failure, ENOENT, "find constant", "%s: %s has no .rodata with BTF", name, object->path);
		return NULL;
	}
	const struct btf_type *section = btf__type_by_id(btf, (uint32_t)id);
	const struct btf_var_secinfo *variable = btf_var_secinfos(section);
	for (int i = 0; i < btf_vlen(section); i++, variable++) {
		const struct btf_type *type = btf__type_by_id(btf, variable->type);
		if (strcmp(btf__name_by_offset(btf, type->name_off), name) == 0 &&
		    variable->offset + variable->size <= area_size) {
			*size = variable->size;
			return area + variable->offset;
		}
	}
	fail(failure, ENOENT, "find constant", "%s in %s", name, object->path);
	return NULL;
}

// objectConstant({object, name, bytes?}) -> the constant's bytes; with `bytes` it is overwritten first (before load only)
static napi_value constant(napi_env env, napi_callback_info info)
{
	struct failure failure = { 0 };
	napi_value arguments[1], result = NULL;
	struct object *object;
	struct bytes bytes = { 0 };
	size_t count = 1, size = 0;
	char *name = NULL;
	struct op now = { 0 };

	napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
	object = get_object(env, arguments[0]);
	if (!object || !get_string(env, arguments[0], "name", &name) ||
	    !op_optional_bytes(env, &now, arguments[0], "bytes", &bytes)) {
		free(name);
		return NULL;
	}
	uint8_t *target = find_constant(object, name, &size, &failure);
	if (target && bytes.data && bytes.length != size) {
		fail(&failure, EINVAL, "patch constant", "%s of %s: %zu bytes given, %zu in the object", name,
		     object->path, bytes.length, size);
		target = NULL;
	}
	if (target) {
		if (bytes.data)
			memcpy(target, bytes.data, size);
		result = make_bytes(env, target, size);
	} else {
		throw_failure(env, &failure);
	}
	free(name);
	return result;
}

// objectSetMap({object, name, maxEntries?, reuseFd?})
static napi_value set_map(napi_env env, napi_callback_info info)
{
	struct failure failure = { 0 };
	napi_value arguments[1];
	struct object *object;
	uint32_t max_entries = 0;
	int32_t reuse = -1;
	char *name = NULL;
	size_t count = 1;
	int error = 0;

	napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
	object = get_object(env, arguments[0]);
	if (!object || !get_string(env, arguments[0], "name", &name) ||
	    !get_optional_u32(env, arguments[0], "maxEntries", &max_entries) ||
	    !get_optional_i32(env, arguments[0], "reuseFd", &reuse)) {
		free(name);
		return NULL;
	}
	struct bpf_map *map = bpf_object__find_map_by_name(object->bpf, name);
	if (!map)
		error = -ENOENT;
	else if (reuse >= 0)
		error = bpf_map__reuse_fd(map, reuse);
	else if (max_entries)
		error = bpf_map__set_max_entries(map, max_entries);
	if (error) {
		fail(&failure, -error, reuse >= 0 ? "reuse map" : "set map size", "%s of %s", name, object->path);
		throw_failure(env, &failure);
	}
	free(name);
	return make_undefined(env);
}

// objectSetProgram({object, name, autoload?, type?, expectedAttachType?})
static napi_value set_program(napi_env env, napi_callback_info info)
{
	struct failure failure = { 0 };
	napi_value arguments[1];
	struct object *object;
	uint32_t type = 0, attach = UINT32_MAX;
	bool autoload = true;
	char *name = NULL;
	size_t count = 1;
	int error = 0;

	napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
	object = get_object(env, arguments[0]);
	if (!object || !get_string(env, arguments[0], "name", &name) ||
	    !get_optional_bool(env, arguments[0], "autoload", &autoload) ||
	    !get_optional_u32(env, arguments[0], "type", &type) ||
	    !get_optional_u32(env, arguments[0], "expectedAttachType", &attach)) {
		free(name);
		return NULL;
	}
	struct bpf_program *program = bpf_object__find_program_by_name(object->bpf, name);
	if (!program)
		error = -ENOENT;
	else
		error = bpf_program__set_autoload(program, autoload);
	if (!error && type)
		error = bpf_program__set_type(program, (enum bpf_prog_type)type);
	if (!error && attach != UINT32_MAX)
		error = bpf_program__set_expected_attach_type(program, (enum bpf_attach_type)attach);
	if (error) {
		fail(&failure, -error, "set program", "%s of %s", name, object->path);
		throw_failure(env, &failure);
	}
	free(name);
	return make_undefined(env);
}

struct load_op {
	struct op op;
	struct object *object;
};

static bool load_parse(napi_env env, napi_value arguments, struct op *base)
{
	struct load_op *op = (struct load_op *)base;
	napi_value handle;
	bool present;
	struct object *object = get_object(env, arguments);

	if (!object || !get_property(env, arguments, "object", &handle, &present) || !op_keep(env, base, handle))
		return false;
	op->object = object;
	object->busy = true;
	return true;
}

// libbpf names the program or map it failed at only in its text.
static void name_culprit(struct failure *failure, const char *call)
{
	const char *keys[] = { "prog '", "map '" };

	for (size_t i = 0; failure->log && i < 2; i++) {
		const char *found = strstr(failure->log, keys[i]);
		const char *start = found ? found + strlen(keys[i]) : NULL;
		const char *end = start ? strchr(start, '\'') : NULL;
		if (end) {
			fail(failure, failure->error, call, "%s %.*s", i ? "map" : "program", (int)(end - start), start);
			return;
		}
	}
}

static void load_execute(struct op *base)
{
	struct load_op *op = (struct load_op *)base;
	int error;

	capture_begin();
	error = bpf_object__load(op->object->bpf);
	base->failure.log = capture_end();
	if (error) {
		fail(&base->failure, -error, "bpf(BPF_PROG_LOAD)", "%s", op->object->path);
		name_culprit(&base->failure, "bpf(BPF_PROG_LOAD)");
		if (strncmp(base->failure.subject, "map ", 4) == 0)
			strcpy(base->failure.call, "bpf(BPF_MAP_CREATE)");
	}
}

static napi_value load_complete(napi_env env, struct op *base)
{
	return make_undefined(env);
}

static void load_destroy(struct op *base)
{
	struct load_op *op = (struct load_op *)base;

	if (op->object)
		op->object->busy = false;
}

// A descriptor of its own: it outlives the object.
static napi_value duplicate(napi_env env, int fd, const char *what, const char *name, struct object *object)
{
	struct failure failure = { 0 };
	int copy = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;

	if (copy < 0) {
		fail(&failure, fd < 0 ? ENOENT : errno, what, "%s of %s", name, object->path);
		throw_failure(env, &failure);
		return NULL;
	}
	return make_u32(env, (uint32_t)copy);
}

static napi_value object_fd(napi_env env, napi_callback_info info, bool program)
{
	napi_value arguments[1], result;
	struct object *object;
	char *name = NULL;
	size_t count = 1;
	int fd;

	napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
	object = get_object(env, arguments[0]);
	if (!object || !get_string(env, arguments[0], "name", &name))
		return NULL;
	if (program) {
		struct bpf_program *found = bpf_object__find_program_by_name(object->bpf, name);
		fd = found ? bpf_program__fd(found) : -1;
	} else {
		fd = bpf_object__find_map_fd_by_name(object->bpf, name);
	}
	result = duplicate(env, fd, program ? "find program" : "find map", name, object);
	free(name);
	return result;
}

static napi_value map_fd(napi_env env, napi_callback_info info)
{
	return object_fd(env, info, false);
}

static napi_value program_fd(napi_env env, napi_callback_info info)
{
	return object_fd(env, info, true);
}

// objectClose({object}); descriptors handed out stay open
static napi_value close_object(napi_env env, napi_callback_info info)
{
	napi_value arguments[1];
	struct object *object;
	size_t count = 1;

	napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
	object = get_object(env, arguments[0]);
	if (!object)
		return NULL;
	object_release(object);
	return make_undefined(env);
}

void register_object(napi_env env, napi_value exports)
{
	static const struct op_kind open_kind = {
		"objectOpen", sizeof(struct open_op), open_parse, open_execute, open_complete, open_destroy, false,
	};
	static const struct op_kind load_kind = {
		"objectLoad", sizeof(struct load_op), load_parse, load_execute, load_complete, load_destroy, false,
	};

	register_op(env, exports, &open_kind);
	register_op(env, exports, &load_kind);
	register_function(env, exports, "objectDescribe", describe);
	register_function(env, exports, "objectConstant", constant);
	register_function(env, exports, "objectSetMap", set_map);
	register_function(env, exports, "objectSetProgram", set_program);
	register_function(env, exports, "objectMapFd", map_fd);
	register_function(env, exports, "objectProgramFd", program_fd);
	register_function(env, exports, "objectClose", close_object);
}
