// SPDX-License-Identifier: Apache-2.0
// Maps in bulk: batch update, batch delete and paged reading, with a fallback where a map type has no batch calls.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdlib.h>
#include <string.h>

#include "map.h"

enum { KERNEL_ENOTSUPP = 524 };

// ---- mapUpdateBatch({fd, keys, values, count, flags?}) and mapDeleteBatch({fd, keys, count}) -> elements done

struct batch_op {
	struct op op;
	int32_t fd;
	uint32_t count, done, flags;
	struct bytes keys, values;
};

static bool batch_parse(napi_env env, napi_value arguments, struct op *base, bool with_values)
{
	struct batch_op *op = (struct batch_op *)base;
	struct map_shape shape;

	if (!get_i32(env, arguments, "fd", &op->fd) || !get_u32(env, arguments, "count", &op->count) ||
	    !get_optional_u32(env, arguments, "flags", &op->flags) ||
	    !op_bytes(env, base, arguments, "keys", &op->keys) ||
	    (with_values && !op_bytes(env, base, arguments, "values", &op->values)))
		return false;
	if (!map_shape(op->fd, &shape, &base->failure)) {
		throw_failure(env, &base->failure);
		return false;
	}
	if (op->keys.length < (size_t)op->count * shape.key_size ||
	    (with_values && op->values.length < op->count * shape.stored_size)) {
		napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "`keys` or `values` hold fewer bytes than `count` elements");
		return false;
	}
	return true;
}

static bool update_parse(napi_env env, napi_value arguments, struct op *base)
{
	return batch_parse(env, arguments, base, true);
}

static bool delete_parse(napi_env env, napi_value arguments, struct op *base)
{
	return batch_parse(env, arguments, base, false);
}

static void batch_failure(struct batch_op *op, int error, const struct map_shape *shape, const char *call)
{
	fail(&op->op.failure, error, call, "map %s, element %u of %u (%u entries at most)", shape->name, op->done,
	     op->count, shape->max_entries);
}

static void update_execute(struct op *base)
{
	struct batch_op *op = (struct batch_op *)base;
	LIBBPF_OPTS(bpf_map_batch_opts, options, .elem_flags = op->flags);
	struct map_shape shape = { 0 };
	uint32_t count = op->count;

	if (!count || !map_shape(op->fd, &shape, &base->failure))
		return;
	if (bpf_map_update_batch(op->fd, op->keys.data, op->values.data, &count, &options) == 0) {
		op->done = count;
		return;
	}
	if (errno != KERNEL_ENOTSUPP) {
		int error = errno;
		op->done = count <= op->count ? count : 0;
		batch_failure(op, error, &shape, "bpf(BPF_MAP_UPDATE_BATCH)");
		return;
	}
	for (op->done = 0; op->done < op->count; op->done++) {
		if (bpf_map_update_elem(op->fd, op->keys.data + (size_t)op->done * shape.key_size,
					op->values.data + op->done * shape.stored_size, op->flags)) {
			batch_failure(op, errno, &shape, "bpf(BPF_MAP_UPDATE_ELEM)");
			return;
		}
	}
}

// Keys that are not there are skipped: the wanted state is reached. The kernel's batch stops at a missing key, so the
// rest goes on from the one behind it.
static void delete_execute(struct op *base)
{
	struct batch_op *op = (struct batch_op *)base;
	LIBBPF_OPTS(bpf_map_batch_opts, options);
	struct map_shape shape = { 0 };
	uint32_t next = 0;
	bool single = false;

	if (!map_shape(op->fd, &shape, &base->failure))
		return;
	while (next < op->count) {
		const uint8_t *key = op->keys.data + (size_t)next * shape.key_size;
		uint32_t count = single ? 1 : op->count - next;
		int error = 0;
		if (single) {
			error = bpf_map_delete_elem(op->fd, key) ? errno : 0;
			count = error ? 0 : 1;
		} else if (bpf_map_delete_batch(op->fd, key, &count, &options)) {
			error = errno;
		}
		if (error == KERNEL_ENOTSUPP && !single) {
			single = true;
			continue;
		}
		op->done += count;
		next += count + (error == ENOENT ? 1 : 0);
		if (error && error != ENOENT) {
			batch_failure(op, error, &shape, "bpf(BPF_MAP_DELETE_BATCH)");
			return;
		}
	}
}

static napi_value batch_complete(napi_env env, struct op *base)
{
	return make_u32(env, ((struct batch_op *)base)->done);
}

// ---- mapLookupBatch({fd, count, cursor?}) -> {keys, values, count, cursor?}

struct page_op {
	struct op op;
	int32_t fd;
	uint32_t count;
	struct bytes cursor;
	struct map_shape shape;
	uint8_t *keys, *values, *next;
	size_t next_size;
	bool more;
};

static bool page_parse(napi_env env, napi_value arguments, struct op *base)
{
	struct page_op *op = (struct page_op *)base;

	return get_i32(env, arguments, "fd", &op->fd) && get_u32(env, arguments, "count", &op->count) &&
	       op_optional_bytes(env, base, arguments, "cursor", &op->cursor);
}

static bool page_allocate(struct page_op *op, uint32_t count)
{
	free(op->keys);
	free(op->values);
	free(op->next);
	op->next_size = op->shape.key_size > 4 ? op->shape.key_size : 4;
	op->keys = malloc((size_t)count * op->shape.key_size + 1);
	op->values = malloc(count * op->shape.stored_size + 1);
	op->next = calloc(1, op->next_size);
	if (op->keys && op->values && op->next)
		return true;
	fail(&op->op.failure, ENOMEM, "read map", "%s", op->shape.name);
	return false;
}

// For map types without batch calls: the cursor is the last key read.
static void page_by_key(struct page_op *op)
{
	uint8_t *previous = op->cursor.length == op->shape.key_size ? op->cursor.data : NULL;
	uint32_t found = 0;

	op->more = true;
	while (found < op->count) {
		uint8_t *key = op->keys + (size_t)found * op->shape.key_size;
		if (bpf_map_get_next_key(op->fd, previous, key)) {
			op->more = false;
			if (errno != ENOENT)
				fail(&op->op.failure, errno, "bpf(BPF_MAP_GET_NEXT_KEY)", "map %s", op->shape.name);
			break;
		}
		previous = key;
		memcpy(op->next, key, op->shape.key_size);
		if (bpf_map_lookup_elem(op->fd, key, op->values + found * op->shape.stored_size) == 0)
			found++;
		else
			previous = op->next;
	}
	op->count = found;
}

static void page_execute(struct op *base)
{
	struct page_op *op = (struct page_op *)base;
	LIBBPF_OPTS(bpf_map_batch_opts, options);
	uint32_t room = op->count ? op->count : 1;

	if (!map_shape(op->fd, &op->shape, &base->failure))
		return;
	if (op->cursor.data && op->cursor.length != (op->shape.key_size > 4 ? op->shape.key_size : 4)) {
		fail(&base->failure, EINVAL, "read map", "%s: cursor of another map", op->shape.name);
		return;
	}
	for (;;) {
		uint32_t count = room;
		if (!page_allocate(op, room))
			return;
		if (bpf_map_lookup_batch(op->fd, op->cursor.data, op->next, op->keys, op->values, &count, &options) == 0) {
			op->count = count;
			op->more = true;
			return;
		}
		if (errno == ENOENT) {
			op->count = count;
			return;
		}
		if (errno == KERNEL_ENOTSUPP) {
			op->count = room;
			page_by_key(op);
			return;
		}
		// One hash bucket holds more elements than fit: make room and ask again.
		if (errno != ENOSPC || room > op->shape.max_entries) {
			fail(&base->failure, errno, "bpf(BPF_MAP_LOOKUP_BATCH)", "map %s", op->shape.name);
			return;
		}
		room *= 2;
	}
}

static napi_value page_complete(napi_env env, struct op *base)
{
	struct page_op *op = (struct page_op *)base;
	napi_value result;

	napi_create_object(env, &result);
	set_property(env, result, "keys", make_owned_bytes(env, op->keys, (size_t)op->count * op->shape.key_size));
	set_property(env, result, "values", make_owned_bytes(env, op->values, op->count * op->shape.stored_size));
	set_property(env, result, "count", make_u32(env, op->count));
	op->keys = op->values = NULL;
	if (op->more)
		set_property(env, result, "cursor", make_bytes(env, op->next, op->next_size));
	return result;
}

static void page_destroy(struct op *base)
{
	struct page_op *op = (struct page_op *)base;

	free(op->keys);
	free(op->values);
	free(op->next);
}

void register_map_batches(napi_env env, napi_value exports)
{
	static const struct op_kind kinds[] = {
		{ "mapUpdateBatch", sizeof(struct batch_op), update_parse, update_execute, batch_complete, NULL, false },
		{ "mapDeleteBatch", sizeof(struct batch_op), delete_parse, delete_execute, batch_complete, NULL, false },
		{ "mapLookupBatch", sizeof(struct page_op), page_parse, page_execute, page_complete, page_destroy, false },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		register_op(env, exports, &kinds[i]);
}
