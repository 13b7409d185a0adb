// SPDX-License-Identifier: Apache-2.0
// Work inside network namespaces: create and delete them, sockets, interface numbers, sysctl files.
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include "binding.h"

// ---- netnsCreate({path}): a new namespace bound to a file, its loopback up

struct create_op {
	struct op op;
	char *path;
};

static bool path_parse(napi_env env, napi_value arguments, struct op *base)
{
	return get_string(env, arguments, "path", &((struct create_op *)base)->path);
}

static void loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	ioctl(fd, SIOCSIFFLAGS, &request);
	close(fd);
}

static void create_body(void *data)
{
	struct create_op *op = data;
	int fd = open(op->path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);

	if (fd < 0) {
		fail(&op->op.failure, errno, "open", "network namespace %s", op->path);
		return;
	}
	close(fd);
	if (unshare(CLONE_NEWNET)) {
		fail(&op->op.failure, errno, "unshare", "network namespace %s", op->path);
		unlink(op->path);
		return;
	}
	loopback_up();
	if (mount("/proc/thread-self/ns/net", op->path, "none", MS_BIND, NULL)) {
		fail(&op->op.failure, errno, "mount", "network namespace %s", op->path);
		unlink(op->path);
	}
}

static void create_execute(struct op *base)
{
	run_on_thread(&base->failure, create_body, base);
}

static void delete_execute(struct op *base)
{
	struct create_op *op = (struct create_op *)base;

	if (umount2(op->path, MNT_DETACH) && errno != EINVAL)
		fail(&base->failure, errno, "umount2", "network namespace %s", op->path);
	else if (unlink(op->path))
		fail(&base->failure, errno, "unlink", "network namespace %s", op->path);
}

static napi_value nothing(napi_env env, struct op *base)
{
	return make_undefined(env);
}

static void path_destroy(struct op *base)
{
	free(((struct create_op *)base)->path);
}

// ---- interfaceIndex({name, netns?}) -> ifindex, 0 where there is none

struct index_op {
	struct op op;
	char *name;
	uint32_t index;
};

static bool index_parse(napi_env env, napi_value arguments, struct op *base)
{
	return get_string(env, arguments, "name", &((struct index_op *)base)->name);
}

static void index_execute(struct op *base)
{
	struct index_op *op = (struct index_op *)base;

	op->index = if_nametoindex(op->name);
}

static napi_value index_complete(napi_env env, struct op *base)
{
	return make_u32(env, ((struct index_op *)base)->index);
}

static void index_destroy(struct op *base)
{
	free(((struct index_op *)base)->name);
}

// ---- readFile({path, netns?}) -> string, writeFile({path, text, netns?}): /proc/sys/net shows the opening thread's namespace

struct file_op {
	struct op op;
	char *path, *text;
	char content[4096];
};

static bool read_parse(napi_env env, napi_value arguments, struct op *base)
{
	return get_string(env, arguments, "path", &((struct file_op *)base)->path);
}

static bool write_parse(napi_env env, napi_value arguments, struct op *base)
{
	return read_parse(env, arguments, base) && get_string(env, arguments, "text", &((struct file_op *)base)->text);
}

static void read_execute(struct op *base)
{
	struct file_op *op = (struct file_op *)base;
	int fd = open(op->path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, op->content, sizeof(op->content) - 1);

	if (length < 0)
		fail(&base->failure, errno, fd < 0 ? "open" : "read", "%s", op->path);
	if (fd >= 0)
		close(fd);
}

static void write_execute(struct op *base)
{
	struct file_op *op = (struct file_op *)base;
	int fd = open(op->path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, op->text, strlen(op->text)) < 0)
		fail(&base->failure, errno, fd < 0 ? "open" : "write", "%s (value %s)", op->path, op->text);
	if (fd >= 0)
		close(fd);
}

static napi_value read_complete(napi_env env, struct op *base)
{
	return make_string(env, ((struct file_op *)base)->content);
}

static void file_destroy(struct op *base)
{
	free(((struct file_op *)base)->path);
	free(((struct file_op *)base)->text);
}

// ---- socketOpen({kind, address, port, netns?, backlog?, timeoutMs?, transparent?}) -> fd
// kind: 'tcp-listen' | 'tcp-connect' | 'udp-bind' | 'udp-connect'; the descriptor is non-blocking

struct socket_op {
	struct op op;
	char *kind, *address;
	uint32_t port, backlog, timeout;
	bool transparent;
	int fd;
};

static bool socket_parse(napi_env env, napi_value arguments, struct op *base)
{
	struct socket_op *op = (struct socket_op *)base;

	op->fd = -1;
	op->backlog = 512;
	op->timeout = 5000;
	return get_string(env, arguments, "kind", &op->kind) && get_string(env, arguments, "address", &op->address) &&
	       get_u32(env, arguments, "port", &op->port) && get_optional_u32(env, arguments, "backlog", &op->backlog) &&
	       get_optional_u32(env, arguments, "timeoutMs", &op->timeout) &&
	       get_optional_bool(env, arguments, "transparent", &op->transparent);
}

static socklen_t socket_address(const struct socket_op *op, struct sockaddr_storage *out)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, op->address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)op->port);
		return sizeof(*v4);
	}
	if (inet_pton(AF_INET6, op->address, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)op->port);
		return sizeof(*v6);
	}
	return 0;
}

static int wait_connected(int fd, uint32_t timeout)
{
	struct pollfd entry = { .fd = fd, .events = POLLOUT };
	socklen_t length = sizeof(int);
	int error = 0, count = poll(&entry, 1, (int)timeout);

	if (count <= 0)
		return count == 0 ? ETIMEDOUT : errno;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
	return error;
}

static int socket_prepare(struct socket_op *op, const struct sockaddr *address, socklen_t length, const char **call)
{
	int one = 1;

	*call = "setsockopt";
	setsockopt(op->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (op->transparent && setsockopt(op->fd, SOL_IP, IP_TRANSPARENT, &one, sizeof(one)))
		return errno;
	if (strstr(op->kind, "-connect")) {
		*call = "connect";
		if (connect(op->fd, address, length) == 0)
			return 0;
		return errno == EINPROGRESS ? wait_connected(op->fd, op->timeout) : errno;
	}
	*call = "bind";
	if (address->sa_family == AF_INET6)
		setsockopt(op->fd, SOL_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(op->fd, address, length))
		return errno;
	*call = "listen";
	return strcmp(op->kind, "tcp-listen") == 0 && listen(op->fd, (int)op->backlog) ? errno : 0;
}

static void socket_execute(struct op *base)
{
	struct socket_op *op = (struct socket_op *)base;
	struct sockaddr_storage address;
	socklen_t length = socket_address(op, &address);
	const char *call = "socket";
	int error = EINVAL;
	bool tcp = strncmp(op->kind, "tcp-", 4) == 0;

	if (length && op->port <= 65535 && (tcp || strncmp(op->kind, "udp-", 4) == 0)) {
		op->fd = socket(address.ss_family, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		error = op->fd < 0 ? errno : socket_prepare(op, (struct sockaddr *)&address, length, &call);
	}
	if (!error)
		return;
	fail(&base->failure, error, call, "%s %s port %u", op->kind, op->address, op->port);
	if (op->fd >= 0)
		close(op->fd);
	op->fd = -1;
}

static napi_value socket_complete(napi_env env, struct op *base)
{
	return make_u32(env, (uint32_t)((struct socket_op *)base)->fd);
}

static void socket_destroy(struct op *base)
{
	free(((struct socket_op *)base)->kind);
	free(((struct socket_op *)base)->address);
}

void register_netns(napi_env env, napi_value exports)
{
	static const struct op_kind kinds[] = {
		{ "netnsCreate", sizeof(struct create_op), path_parse, create_execute, nothing, path_destroy, false },
		{ "netnsDelete", sizeof(struct create_op), path_parse, delete_execute, nothing, path_destroy, false },
		{ "interfaceIndex", sizeof(struct index_op), index_parse, index_execute, index_complete, index_destroy, true },
		{ "readFile", sizeof(struct file_op), read_parse, read_execute, read_complete, file_destroy, true },
		{ "writeFile", sizeof(struct file_op), write_parse, write_execute, nothing, file_destroy, true },
		{ "socketOpen", sizeof(struct socket_op), socket_parse, socket_execute, socket_complete, socket_destroy, true },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		register_op(env, exports, &kinds[i]);
}
