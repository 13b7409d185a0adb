// SPDX-License-Identifier: Apache-2.0
// Values across the border: reading arguments, making results, turning failures into JavaScript errors.
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "binding.h"

void fail(struct failure *failure, int error, const char *call, const char *format, ...)
{
	va_list arguments;

	failure->error = error ? error : EIO;
	snprintf(failure->call, sizeof(failure->call), "%s", call);
	va_start(arguments, format);
	vsnprintf(failure->subject, sizeof(failure->subject), format, arguments);
	va_end(arguments);
}

void failure_clear(struct failure *failure)
{
	free(failure->log);
	memset(failure, 0, sizeof(*failure));
}

static const char *error_name(int error)
{
	const char *name = strerrorname_np(error);

	if (name)
		return name;
	return error == 524 ? "ENOTSUPP" : "EUNKNOWN";
}

napi_value failure_to_error(napi_env env, const struct failure *failure)
{
	const char *name = error_name(failure->error);
	const char *text = failure->error == 524 ? "Operation is not supported" : strerror(failure->error);
	napi_value error, code, message;
	char *full = NULL;

	if (asprintf(&full, "%s%s%s: %s (%s)%s%s", failure->call, failure->subject[0] ? " " : "", failure->subject, name,
		     text, failure->log ? "\n" : "", failure->log ? failure->log : "") < 0)
		full = NULL;
	code = make_string(env, name);
	message = make_string(env, full ? full : name);
	free(full);
	napi_create_error(env, code, message, &error);
	set_property(env, error, "errno", make_u32(env, (uint32_t)failure->error));
	set_property(env, error, "syscall", make_string(env, failure->call));
	set_property(env, error, "subject", make_string(env, failure->subject));
	if (failure->log)
		set_property(env, error, "log", make_string(env, failure->log));
	return error;
}

void throw_failure(napi_env env, struct failure *failure)
{
	napi_throw(env, failure_to_error(env, failure));
	failure_clear(failure);
}

static bool bad_argument(napi_env env, const char *name, const char *expected)
{
	char message[160];
	bool pending = false;

	napi_is_exception_pending(env, &pending);
	if (pending)
		return false;
	snprintf(message, sizeof(message), "argument `%s`: expected %s", name, expected);
	napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
	return false;
}

bool get_property(napi_env env, napi_value object, const char *name, napi_value *out, bool *present)
{
	napi_valuetype type;

	if (napi_typeof(env, object, &type) != napi_ok || type != napi_object)
		return bad_argument(env, "options", "an object");
	if (napi_get_named_property(env, object, name, out) != napi_ok || napi_typeof(env, *out, &type) != napi_ok)
		return false;
	*present = type != napi_undefined && type != napi_null;
	return true;
}

static bool get_number(napi_env env, napi_value object, const char *name, double low, double high, bool optional,
		       double *out)
{
	napi_value value;
	bool present;

	if (!get_property(env, object, name, &value, &present))
		return false;
	if (!present && optional)
		return true;
	if (!present || napi_get_value_double(env, value, out) != napi_ok || *out < low || *out > high ||
	    *out != floor(*out))
		return bad_argument(env, name, low < 0 ? "a 32-bit integer" : "an unsigned 32-bit integer");
	return true;
}

bool get_i32(napi_env env, napi_value object, const char *name, int32_t *out)
{
	double number = 0;

	if (!get_number(env, object, name, INT32_MIN, INT32_MAX, false, &number))
		return false;
	*out = (int32_t)number;
	return true;
}

bool get_u32(napi_env env, napi_value object, const char *name, uint32_t *out)
{
	double number = 0;

	if (!get_number(env, object, name, 0, UINT32_MAX, false, &number))
		return false;
	*out = (uint32_t)number;
	return true;
}

bool get_optional_u32(napi_env env, napi_value object, const char *name, uint32_t *out)
{
	double number = *out;

	if (!get_number(env, object, name, 0, UINT32_MAX, true, &number))
		return false;
	*out = (uint32_t)number;
	return true;
}

bool get_optional_i32(napi_env env, napi_value object, const char *name, int32_t *out)
{
	double number = *out;

	if (!get_number(env, object, name, INT32_MIN, INT32_MAX, true, &number))
		return false;
	*out = (int32_t)number;
	return true;
}

bool get_optional_bool(napi_env env, napi_value object, const char *name, bool *out)
{
	napi_value value;
	bool present;

	if (!get_property(env, object, name, &value, &present))
		return false;
	if (present && napi_get_value_bool(env, value, out) != napi_ok)
		return bad_argument(env, name, "a boolean");
	return true;
}

bool get_optional_string(napi_env env, napi_value object, const char *name, char **out)
{
	napi_value value;
	size_t length;
	bool present;

	if (!get_property(env, object, name, &value, &present))
		return false;
	if (!present)
		return true;
	if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok)
		return bad_argument(env, name, "a string");
	*out = malloc(length + 1);
	if (!*out)
		return bad_argument(env, name, "memory");
	napi_get_value_string_utf8(env, value, *out, length + 1, &length);
	if (strlen(*out) != length) {
		free(*out);
		*out = NULL;
		return bad_argument(env, name, "a string without a zero byte");
	}
	return true;
}

bool get_string(napi_env env, napi_value object, const char *name, char **out)
{
	if (!get_optional_string(env, object, name, out))
		return false;
	return *out ? true : bad_argument(env, name, "a string");
}

bool value_bytes(napi_env env, napi_value value, const char *name, struct bytes *out)
{
	static const uint8_t widths[] = { 1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8 };
	napi_typedarray_type type;
	void *data = NULL;
	bool is;

	if (napi_is_typedarray(env, value, &is) == napi_ok && is) {
		napi_get_typedarray_info(env, value, &type, &out->length, &data, NULL, NULL);
		out->length *= (size_t)type < sizeof(widths) ? widths[type] : 1;
		out->data = data;
		return true;
	}
	if (napi_is_arraybuffer(env, value, &is) == napi_ok && is) {
		napi_get_arraybuffer_info(env, value, &data, &out->length);
		out->data = data;
		return true;
	}
	if (napi_is_dataview(env, value, &is) == napi_ok && is) {
		napi_get_dataview_info(env, value, &out->length, &data, NULL, NULL);
		out->data = data;
		return true;
	}
	return bad_argument(env, name, "a Uint8Array or ArrayBuffer");
}

napi_value make_u32(napi_env env, uint32_t value)
{
	napi_value result = NULL;

	napi_create_uint32(env, value, &result);
	return result;
}

napi_value make_double(napi_env env, double value)
{
	napi_value result = NULL;

	napi_create_double(env, value, &result);
	return result;
}

napi_value make_bool(napi_env env, bool value)
{
	napi_value result = NULL;

	napi_get_boolean(env, value, &result);
	return result;
}

napi_value make_undefined(napi_env env)
{
	napi_value result = NULL;

	napi_get_undefined(env, &result);
	return result;
}

napi_value make_string(napi_env env, const char *value)
{
	napi_value result = NULL;

	napi_create_string_utf8(env, value, NAPI_AUTO_LENGTH, &result);
	return result;
}

napi_value make_bytes(napi_env env, const void *data, size_t length)
{
	napi_value buffer, result = NULL;
	void *memory;

	if (napi_create_arraybuffer(env, length, &memory, &buffer) != napi_ok)
		return NULL;
	if (length)
		memcpy(memory, data, length);
	napi_create_typedarray(env, napi_uint8_array, length, buffer, 0, &result);
	return result;
}

static void free_bytes(napi_env env, void *data, void *hint)
{
	free(data);
}

napi_value make_owned_bytes(napi_env env, void *data, size_t length)
{
	napi_value buffer, result = NULL;

	if (length == 0 || napi_create_external_arraybuffer(env, data, length, free_bytes, NULL, &buffer) != napi_ok) {
		result = make_bytes(env, data, length);
		free(data);
		return result;
	}
	napi_create_typedarray(env, napi_uint8_array, length, buffer, 0, &result);
	return result;
}

void set_property(napi_env env, napi_value object, const char *name, napi_value value)
{
	napi_set_named_property(env, object, name, value);
}
